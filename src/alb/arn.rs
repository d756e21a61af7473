//! Names of load balancer resources, checked once when they come in.
//!
//! Shapes: AWS Service Authorization Reference, "Elastic Load Balancing V2", resource types.

use std::fmt;
use std::str::FromStr;

/// The ARN of a target group: `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetGroupArn(String);

/// The ARN of a listener's rule: `…:listener-rule/app/LOAD-BALANCER/ID/LISTENER-ID/RULE-ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleArn(String);

/// What is wrong with an ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// It is not of the shape that this resource has.
    #[error("`{given}` is not the ARN of a {wanted}; one looks like {example}")]
    Shape {
        /// What was given.
        given: String,
        /// The kind of resource.
        wanted: &'static str,
        /// An ARN of that kind.
        example: &'static str,
    },
    /// Its region is empty, so that no endpoint can be chosen.
    #[error("`{0}` names no region; copy the whole ARN from AWS, the region is its fourth part")]
    NoRegion(String),
}

const TARGET_GROUP_EXAMPLE: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067";
const RULE_EXAMPLE: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee";

/// The text of an ARN whose resource has `count` parts, the first of them `kind`.
fn checked(text: &str, kind: &str, count: usize, wrong: ArnError) -> Result<String, ArnError> {
    let mut fields = text.splitn(6, ':');
    let mut field = || fields.next().unwrap_or_default();
    let (prefix, partition, service, region, account, resource) =
        (field(), field(), field(), field(), field(), field());
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let part = |text: &str| !text.is_empty() && plain(text);
    let resource: Vec<&str> = resource.split('/').collect();
    let known = prefix == "arn" && partition.starts_with("aws") && service == "elasticloadbalancing";
    let whole = resource.len() == count && resource.first() == Some(&kind) && resource.iter().all(|text| part(text));
    if !(known && whole && part(account) && plain(region)) {
        return Err(wrong);
    }
    if region.is_empty() { Err(ArnError::NoRegion(text.to_owned())) } else { Ok(text.to_owned()) }
}

/// The region of an ARN that was checked when it was made.
fn region(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

impl TargetGroupArn {
    /// An ARN from AWS's own answer.
    pub(super) fn from_aws(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The ARN as AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The AWS region it lives in.
    #[must_use]
    pub fn region(&self) -> &str {
        region(&self.0)
    }
}

impl RuleArn {
    /// An ARN from AWS's own answer.
    pub(super) fn from_aws(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The ARN as AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The AWS region it lives in.
    #[must_use]
    pub fn region(&self) -> &str {
        region(&self.0)
    }

    /// The listener the rule belongs to: AWS builds a rule's ARN from its listener's.
    #[must_use]
    pub fn listener(&self) -> String {
        let listener = self.0.replacen(":listener-rule/", ":listener/", 1);
        listener.rsplit_once('/').map_or_else(|| listener.clone(), |(listener, _)| listener.to_owned())
    }
}

impl FromStr for TargetGroupArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let wrong = ArnError::Shape { given: text.to_owned(), wanted: "target group", example: TARGET_GROUP_EXAMPLE };
        checked(text, "targetgroup", 3, wrong).map(Self)
    }
}

impl FromStr for RuleArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let wrong = ArnError::Shape { given: text.to_owned(), wanted: "listener rule", example: RULE_EXAMPLE };
        checked(text, "listener-rule", 6, wrong).map(Self)
    }
}

impl fmt::Display for TargetGroupArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for RuleArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_every_partition_are_read() {
        for arn in [TARGET_GROUP_EXAMPLE, "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/a/b"] {
            assert_eq!(arn.parse::<TargetGroupArn>().unwrap().as_str(), arn);
        }
        let rule: RuleArn = RULE_EXAMPLE.parse().unwrap();
        assert_eq!(rule.region(), "eu-west-1");
        assert_eq!(
            rule.listener(),
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
        );
    }

    #[test]
    fn what_is_not_such_an_arn_is_named_with_an_example() {
        for text in
            ["", "web", RULE_EXAMPLE, "arn:aws:s3:::bucket", "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/"]
        {
            let error = text.parse::<TargetGroupArn>().unwrap_err().to_string();
            assert!(error.contains("is not the ARN of a target group; one looks like arn:aws:"), "{error}");
        }
        assert!(TARGET_GROUP_EXAMPLE.parse::<RuleArn>().unwrap_err().to_string().contains("listener rule"));
    }

    #[test]
    fn an_arn_without_a_region_says_so() {
        let error = "arn:aws:elasticloadbalancing::123456789012:targetgroup/a/b".parse::<TargetGroupArn>().unwrap_err();
        assert!(error.to_string().contains("names no region"), "{error}");
    }
}
