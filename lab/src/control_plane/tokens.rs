//! The security token service on the same endpoint: AssumeRole and GetCallerIdentity.
//!
//! Its credentials are good for the lab until they expire. The lab has one account only: whoever assumes a role of another one
//! still works on this one. Source: API reference of the Security Token Service, API version 2011-06-15.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize, Serializer};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Ids;
use crate::control_plane::query::Node;
use crate::control_plane::validate::within;
use crate::control_plane::xml;

/// A role, and what its trust policy asks for. A role that the lab was not told of can be assumed by everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Such as `arn:aws:iam::111111111111:role/shift`.
    pub arn: String,
    /// The ExternalId that a caller must name; without it nothing is asked for.
    #[serde(default)]
    pub external_id: Option<String>,
}

/// What the service remembers.
#[derive(Debug)]
pub(crate) struct Tokens {
    account: String,
    ids: Ids,
    pub(crate) roles: Vec<Role>,
    sessions: BTreeMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    identity: Identity,
    expires: SystemTime,
}

/// The answer of GetCallerIdentity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    user_id: String,
    account: String,
    arn: String,
}

/// An operation of the service, from its parameters to the result element of the answer.
pub(crate) type Handler = fn(&Node, &mut Tokens, Option<&str>, SystemTime) -> Result<String, ApiError>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AssumeRole {
    role_arn: String,
    role_session_name: String,
    duration_seconds: Option<u32>,
    external_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetCallerIdentity {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRole {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    #[serde(serialize_with = "timestamp")]
    expiration: SystemTime,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

/// Finds an operation by its name.
pub(crate) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "AssumeRole" => |parameters, tokens, access_key, now| {
            let assumed = tokens.assume_role(parameters.read()?, access_key, now)?;
            Ok(xml::element("AssumeRoleResult", &assumed)?)
        },
        "GetCallerIdentity" => |parameters, tokens, access_key, _| {
            let GetCallerIdentity {} = parameters.read()?;
            Ok(xml::element("GetCallerIdentityResult", &tokens.identity(access_key))?)
        },
        _ => return None,
    })
}

impl Tokens {
    pub(crate) fn new(account: &str, seed: u64) -> Self {
        Self { account: account.to_owned(), ids: Ids::new(seed), roles: Vec::new(), sessions: BTreeMap::new() }
    }

    /// Makes a role known, or replaces what was known of it.
    pub(crate) fn add_role(&mut self, role: Role) -> Result<(), ApiError> {
        role_name(&role.arn)?;
        self.roles.retain(|known| known.arn != role.arn);
        self.roles.push(role);
        Ok(())
    }

    /// The refusal of a call that is signed with credentials of this service which have expired.
    pub(crate) fn expired(&self, access_key: Option<&str>, now: SystemTime) -> Option<ApiError> {
        let session = self.sessions.get(access_key?)?;
        (now >= session.expires).then(ApiError::expired_token)
    }

    /// The role that gave this access key, as `arn:aws:sts::<account>:assumed-role/<name>/<session>`.
    pub(crate) fn assumed_role(&self, access_key: Option<&str>) -> Option<&str> {
        self.sessions.get(access_key?).map(|session| session.identity.arn.as_str())
    }

    fn assume_role(
        &mut self,
        input: AssumeRole,
        access_key: Option<&str>,
        now: SystemTime,
    ) -> Result<AssumedRole, ApiError> {
        let (account, role) = role_name(&input.role_arn)?;
        let session = &input.role_session_name;
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !(2..=64).contains(&session.len()) || !session.bytes().all(is_sound) {
            return Err(ApiError::validation(format!("The role session name '{session}' is not valid")));
        }
        let seconds = input.duration_seconds.unwrap_or(3600);
        within("DurationSeconds", seconds, 900, 43_200)?;
        let asked_for =
            self.roles.iter().find(|known| known.arn == input.role_arn).and_then(|known| known.external_id.as_ref());
        if asked_for.is_some() && asked_for != input.external_id.as_ref() {
            let caller = self.identity(access_key).arn;
            return Err(ApiError::access_denied(format!(
                "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {}",
                input.role_arn
            )));
        }
        let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{session}");
        let assumed_role_id = format!("AROA{}:{session}", self.ids.next().to_uppercase());
        let access_key_id = format!("ASIA{}", self.ids.next().to_uppercase());
        let expires = now + Duration::from_secs(seconds.into());
        let identity = Identity { user_id: assumed_role_id.clone(), account: account.to_owned(), arn: arn.clone() };
        self.sessions.insert(access_key_id.clone(), Session { identity, expires });
        Ok(AssumedRole {
            credentials: Credentials {
                access_key_id,
                secret_access_key: self.ids.next(),
                session_token: self.ids.next(),
                expiration: expires,
            },
            assumed_role_user: AssumedRoleUser { assumed_role_id, arn },
        })
    }

    /// Who signs with this access key. Keys that the service did not give out belong to the user `lab`.
    fn identity(&self, access_key: Option<&str>) -> Identity {
        match access_key.and_then(|key| self.sessions.get(key)) {
            Some(session) => session.identity.clone(),
            None => Identity {
                user_id: "AIDA0000000000000000".to_owned(),
                account: self.account.clone(),
                arn: format!("arn:aws:iam::{}:user/lab", self.account),
            },
        }
    }
}

/// The account and the name in the ARN of a role: `arn:aws:iam::<12 digits>:role/<path and name>`.
fn role_name(arn: &str) -> Result<(&str, &str), ApiError> {
    let refusal = || ApiError::validation(format!("'{arn}' is not the ARN of a role"));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return Err(refusal()) };
    let account_is_sound = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if partition.starts_with("aws") && account_is_sound && !name.is_empty() {
        Ok((account, name))
    } else {
        Err(refusal())
    }
}

fn timestamp<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111111111111:role/team/shift";

    fn assume(tokens: &mut Tokens, external_id: Option<&str>, seconds: u32) -> Result<AssumedRole, ApiError> {
        let input = AssumeRole {
            role_arn: ROLE.to_owned(),
            role_session_name: "plugin".to_owned(),
            duration_seconds: Some(seconds),
            external_id: external_id.map(str::to_owned),
        };
        tokens.assume_role(input, None, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn credentials_are_good_until_they_expire() {
        let mut tokens = Tokens::new("000000000000", 1);
        let assumed = assume(&mut tokens, None, 900).expect("everyone may");
        assert_eq!(assumed.assumed_role_user.arn, "arn:aws:sts::111111111111:assumed-role/shift/plugin");
        let key = Some(assumed.credentials.access_key_id.as_str());
        assert_eq!(tokens.identity(key).arn, assumed.assumed_role_user.arn);
        assert_eq!(tokens.assumed_role(key), Some(assumed.assumed_role_user.arn.as_str()));
        assert_eq!((tokens.assumed_role(Some("lab")), tokens.assumed_role(None)), (None, None));
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(tokens.expired(key, after(899)), None);
        let error = tokens.expired(key, after(900)).expect("expired");
        assert_eq!((error.status, &*error.code), (403, "ExpiredToken"));
        assert_eq!(tokens.expired(Some("lab"), after(900)), None, "a key of somebody else");
        assert_eq!(tokens.identity(Some("lab")).arn, "arn:aws:iam::000000000000:user/lab");
    }

    #[test]
    fn the_external_id_must_be_the_one_that_the_role_asks_for() {
        let mut tokens = Tokens::new("000000000000", 1);
        tokens.add_role(Role { arn: ROLE.to_owned(), external_id: Some("secret".to_owned()) }).expect("a role");
        for wrong in [None, Some("Secret")] {
            let error = assume(&mut tokens, wrong, 900).expect_err("must be refused");
            assert_eq!((error.status, &*error.code), (403, "AccessDenied"));
        }
        assume(&mut tokens, Some("secret"), 900).expect("the right one");
        tokens.add_role(Role { arn: ROLE.to_owned(), external_id: None }).expect("a role");
        assume(&mut tokens, None, 900).expect("nothing is asked for any more");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut tokens = Tokens::new("000000000000", 1);
        for seconds in [899, 43_201] {
            assert_eq!(assume(&mut tokens, None, seconds).expect_err("out of range").code, "ValidationError");
        }
        for arn in [
            "",
            "shift",
            "arn:aws:iam::1:role/a",
            "arn:aws:iam::111111111111:user/a",
            "arn:aws:iam::111111111111:role/",
        ] {
            let role = Role { arn: arn.to_owned(), external_id: None };
            assert_eq!(tokens.add_role(role).expect_err("no role").code, "ValidationError", "{arn}");
        }
    }
}
