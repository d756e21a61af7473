//! The shapes of the API that go in and come out alike: actions, conditions, transforms, tags.
//!
//! Names and members are those of AWS's service model (API version 2015-12-01). What goes in is checked and filled up by
//! `validate` before it is kept, so what is kept is what AWS would return.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One action of a rule. Which of the configs is set follows from the type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Action {
    pub(crate) r#type: ActionType,
    /// Set for a forward to a single target group, and only then.
    pub(crate) target_group_arn: Option<String>,
    pub(crate) order: Option<u16>,
    pub(crate) forward_config: Option<ForwardConfig>,
    pub(crate) redirect_config: Option<RedirectConfig>,
    pub(crate) fixed_response_config: Option<FixedResponseConfig>,
    pub(crate) authenticate_oidc_config: Option<OidcConfig>,
    pub(crate) authenticate_cognito_config: Option<CognitoConfig>,
    pub(crate) jwt_validation_config: Option<JwtConfig>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActionType {
    #[default]
    Forward,
    Redirect,
    FixedResponse,
    AuthenticateOidc,
    AuthenticateCognito,
    JwtValidation,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ForwardConfig {
    #[serde(default)]
    pub(crate) target_groups: Vec<TargetGroupTuple>,
    pub(crate) target_group_stickiness_config: Option<StickinessConfig>,
}

/// A target group and its share; a weight is 0 to 999.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct TargetGroupTuple {
    pub(crate) target_group_arn: String,
    pub(crate) weight: Option<u16>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct StickinessConfig {
    pub(crate) enabled: Option<bool>,
    pub(crate) duration_seconds: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RedirectConfig {
    pub(crate) protocol: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) status_code: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct FixedResponseConfig {
    pub(crate) message_body: Option<String>,
    pub(crate) status_code: String,
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct OidcConfig {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) user_info_endpoint: String,
    pub(crate) client_id: String,
    /// Kept, but never given out: AWS leaves it out of every answer.
    #[serde(skip_serializing)]
    pub(crate) client_secret: Option<String>,
    pub(crate) session_cookie_name: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) session_timeout: Option<u64>,
    pub(crate) authentication_request_extra_params: Option<BTreeMap<String, String>>,
    pub(crate) on_unauthenticated_request: Option<OnUnauthenticated>,
    /// A word of the request; it is not part of what is kept.
    #[serde(skip_serializing)]
    pub(crate) use_existing_client_secret: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct CognitoConfig {
    pub(crate) user_pool_arn: String,
    pub(crate) user_pool_client_id: String,
    pub(crate) user_pool_domain: String,
    pub(crate) session_cookie_name: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) session_timeout: Option<u64>,
    pub(crate) authentication_request_extra_params: Option<BTreeMap<String, String>>,
    pub(crate) on_unauthenticated_request: Option<OnUnauthenticated>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnUnauthenticated {
    Deny,
    Allow,
    Authenticate,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct JwtConfig {
    pub(crate) jwks_endpoint: String,
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) additional_claims: Vec<JwtClaim>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct JwtClaim {
    pub(crate) format: JwtClaimFormat,
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JwtClaimFormat {
    SingleString,
    StringArray,
    SpaceSeparatedValues,
}

/// One condition of a rule. Which of the configs is set follows from the field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Condition {
    pub(crate) field: String,
    /// The older form, for host-header and path-pattern.
    pub(crate) values: Option<Vec<String>>,
    pub(crate) host_header_config: Option<PatternConfig>,
    pub(crate) path_pattern_config: Option<PatternConfig>,
    pub(crate) http_header_config: Option<HttpHeaderConfig>,
    pub(crate) query_string_config: Option<QueryStringConfig>,
    pub(crate) http_request_method_config: Option<ValuesConfig>,
    pub(crate) source_ip_config: Option<ValuesConfig>,
    pub(crate) regex_values: Option<Vec<String>>,
}

/// Of the host or the path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct PatternConfig {
    pub(crate) values: Option<Vec<String>>,
    pub(crate) regex_values: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct HttpHeaderConfig {
    pub(crate) http_header_name: Option<String>,
    pub(crate) values: Option<Vec<String>>,
    pub(crate) regex_values: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct QueryStringConfig {
    #[serde(default)]
    pub(crate) values: Vec<QueryStringPair>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct QueryStringPair {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

/// Of the request method or the source address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ValuesConfig {
    #[serde(default)]
    pub(crate) values: Vec<String>,
}

/// A change that a rule makes to a request before it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Transform {
    pub(crate) r#type: TransformType,
    pub(crate) host_header_rewrite_config: Option<RewriteConfig>,
    pub(crate) url_rewrite_config: Option<RewriteConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TransformType {
    HostHeaderRewrite,
    UrlRewrite,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RewriteConfig {
    #[serde(default)]
    pub(crate) rewrites: Vec<Rewrite>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Rewrite {
    pub(crate) regex: String,
    pub(crate) replace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

impl Action {
    /// The target groups of a forward action; none for any other.
    pub(crate) fn target_groups(&self) -> &[TargetGroupTuple] {
        self.forward_config.as_ref().map_or(&[], |config| &config.target_groups)
    }

    /// It forwards to the target group and to others, and a client may get another group each time.
    pub(crate) fn splits_without_stickiness(&self, target_group_arn: &str) -> bool {
        let stickiness = self.forward_config.as_ref().and_then(|config| config.target_group_stickiness_config.as_ref());
        let is_sticky = stickiness.is_some_and(|stickiness| stickiness.enabled == Some(true));
        let groups = self.target_groups();
        groups.len() > 1 && !is_sticky && groups.iter().any(|tuple| tuple.target_group_arn == target_group_arn)
    }
}

impl ActionType {
    /// The action decides where the request goes, and so must be the last one.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Forward | Self::Redirect | Self::FixedResponse)
    }

    /// The word on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Redirect => "redirect",
            Self::FixedResponse => "fixed-response",
            Self::AuthenticateOidc => "authenticate-oidc",
            Self::AuthenticateCognito => "authenticate-cognito",
            Self::JwtValidation => "jwt-validation",
        }
    }
}
