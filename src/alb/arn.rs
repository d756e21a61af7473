//! Names of load balancer resources, checked once when they come in.
//!
//! Shapes: AWS Service Authorization Reference, "Elastic Load Balancing V2", resource types.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// The ARN of a target group: `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
pub type TargetGroupArn = Arn<TargetGroup>;

/// The ARN of a listener's rule: `…:listener-rule/app/LOAD-BALANCER/ID/LISTENER-ID/RULE-ID`, or `net` instead of `app`. Where
/// DescribeRules shows no default rule, the listener's own ARN stands for its default action.
pub type RuleArn = Arn<ListenerRule>;

/// The ARN of a resource of the kind `R`. It always has a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn<R> {
    text: String,
    resource: PhantomData<R>,
}

/// A kind of resource, as its ARNs look.
pub trait Resource {
    /// What people call it.
    const NAME: &'static str;
    /// The first part of the ARN's resource.
    const KIND: &'static str;
    /// How many parts the resource has, the first included.
    const PARTS: usize;
    /// An ARN of this kind.
    const EXAMPLE: &'static str;
}

/// A target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetGroup {}

/// A listener's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerRule {}

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

impl Resource for TargetGroup {
    const NAME: &'static str = "target group";
    const KIND: &'static str = "targetgroup";
    const PARTS: usize = 3;
    const EXAMPLE: &'static str =
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067";
}

impl Resource for ListenerRule {
    const NAME: &'static str = "listener rule";
    const KIND: &'static str = "listener-rule";
    const PARTS: usize = 6;
    const EXAMPLE: &'static str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee";
}

impl<R> Arn<R> {
    /// An ARN from AWS's own answer.
    pub(super) fn from_aws(text: &str) -> Self {
        Self { text: text.to_owned(), resource: PhantomData }
    }

    /// The ARN as AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The AWS region it lives in.
    #[must_use]
    pub fn region(&self) -> &str {
        home(&self.text).0
    }
}

/// The region and the account of any ARN; empty where it names none.
pub(super) fn home(arn: &str) -> (&str, &str) {
    let mut fields = arn.split(':').skip(3);
    (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
}

impl RuleArn {
    /// The rule belongs to an Application Load Balancer, not to a Network Load Balancer (`net`).
    #[must_use]
    pub fn is_application(&self) -> bool {
        self.text.contains(":listener-rule/app/")
    }

    /// The listener the rule belongs to: AWS builds a rule's ARN from its listener's.
    #[must_use]
    pub fn listener(&self) -> String {
        if self.is_listener() {
            return self.text.clone();
        }
        parent(&self.text.replacen(":listener-rule/", ":listener/", 1))
    }

    /// The load balancer the rule belongs to: AWS builds a listener's ARN from its load balancer's.
    #[must_use]
    pub fn load_balancer(&self) -> String {
        parent(&self.listener().replacen(":listener/", ":loadbalancer/", 1))
    }

    /// It is a listener's own ARN, for the listener's default action.
    pub(super) fn is_listener(&self) -> bool {
        self.text.contains(":listener/")
    }
}

fn parent(arn: &str) -> String {
    arn.rsplit_once('/').map_or(arn, |(parent, _)| parent).to_owned()
}

impl<R: Resource> FromStr for Arn<R> {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let mut fields = text.splitn(6, ':');
        let mut field = || fields.next().unwrap_or_default();
        let (prefix, partition, service, region, account, resource) =
            (field(), field(), field(), field(), field(), field());
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let part = |text: &str| !text.is_empty() && plain(text);
        let resource: Vec<&str> = resource.split('/').collect();
        let known = prefix == "arn" && partition.starts_with("aws") && service == "elasticloadbalancing";
        let whole =
            resource.len() == R::PARTS && resource.first() == Some(&R::KIND) && resource.iter().all(|text| part(text));
        if !(known && whole && part(account) && plain(region)) {
            return Err(ArnError::Shape { given: text.to_owned(), wanted: R::NAME, example: R::EXAMPLE });
        }
        if region.is_empty() { Err(ArnError::NoRegion(text.to_owned())) } else { Ok(Self::from_aws(text)) }
    }
}

impl<R> AsRef<str> for Arn<R> {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl<R> fmt::Display for Arn<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_every_partition_are_read() {
        for arn in [TargetGroup::EXAMPLE, "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/a/b"] {
            assert_eq!(arn.parse::<TargetGroupArn>().unwrap().as_str(), arn);
        }
        let rule: RuleArn = ListenerRule::EXAMPLE.parse().unwrap();
        assert_eq!(rule.region(), "eu-west-1");
        assert_eq!(
            rule.listener(),
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
        );
        let balancer = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188";
        assert_eq!(rule.load_balancer(), balancer);
        let default_action = RuleArn::from_aws(&rule.listener());
        assert_eq!((default_action.listener(), default_action.load_balancer()), (rule.listener(), balancer.to_owned()));
    }

    #[test]
    fn what_is_not_such_an_arn_is_named_with_an_example() {
        for text in [
            "",
            "web",
            ListenerRule::EXAMPLE,
            "arn:aws:s3:::bucket",
            "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/",
        ] {
            let error = text.parse::<TargetGroupArn>().unwrap_err().to_string();
            assert!(error.contains("is not the ARN of a target group; one looks like arn:aws:"), "{error}");
        }
        assert!(TargetGroup::EXAMPLE.parse::<RuleArn>().unwrap_err().to_string().contains("listener rule"));
    }

    #[test]
    fn an_arn_without_a_region_says_so() {
        let error = "arn:aws:elasticloadbalancing::123456789012:targetgroup/a/b".parse::<TargetGroupArn>().unwrap_err();
        assert!(error.to_string().contains("names no region"), "{error}");
    }
}
