//! Names of resources, in AWS's own shapes.
//!
//! Source of the shapes: Service Authorization Reference, "Resource types defined by AWS Elastic Load Balancing V2".

use std::fmt::Write as _;

/// The kinds of resource that the lab keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    LoadBalancer,
    TargetGroup,
    Listener,
    Rule,
}

/// The types of load balancer that the lab keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Application,
    Network,
}

/// Account and region: the part that all names of one lab begin with.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) region: String,
    pub(crate) account: String,
}

/// Makes the 16 hex digits at the end of names. The same seed gives the same sequence, so output can be compared.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    seed: u64,
    made: u64,
}

impl Kind {
    /// The kind that a well-formed ARN names; `None` if it is not the ARN of a resource of Elastic Load Balancing v2.
    pub(crate) fn of(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let ("arn", partition, "elasticloadbalancing", region, account, resource) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?)
        else {
            return None;
        };
        let account_is_sound = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !partition.starts_with("aws") || region.is_empty() || !account_is_sound {
            return None;
        }
        let segments: Vec<&str> = resource.split('/').collect();
        match segments.as_slice() {
            ["loadbalancer", family, name, id] if is_family(family) && is_name(name) && is_id(id) => {
                Some(Self::LoadBalancer)
            }
            ["targetgroup", name, id] if is_name(name) && is_id(id) => Some(Self::TargetGroup),
            ["listener", family, name, ids @ ..]
                if ids.len() == 2 && is_family(family) && is_name(name) && all_ids(ids) =>
            {
                Some(Self::Listener)
            }
            ["listener-rule", family, name, ids @ ..]
                if ids.len() == 3 && is_family(family) && is_name(name) && all_ids(ids) =>
            {
                Some(Self::Rule)
            }
            _ => None,
        }
    }

    /// What AWS calls the kind in its sentences.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load balancer",
            Self::TargetGroup => "target group",
            Self::Listener => "listener",
            Self::Rule => "listener rule",
        }
    }
}

impl Home {
    pub(crate) fn load_balancer(&self, family: Family, name: &str, id: &str) -> String {
        let family = match family {
            Family::Application => "app",
            Family::Network => "net",
        };
        self.arn(&format!("loadbalancer/{family}/{name}/{id}"))
    }

    pub(crate) fn target_group(&self, name: &str, id: &str) -> String {
        self.arn(&format!("targetgroup/{name}/{id}"))
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:elasticloadbalancing:{}:{}:{resource}", self.region, self.account)
    }
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.made += 1;
        let mut id = String::with_capacity(16);
        let bits = scatter(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.made));
        write!(id, "{bits:016x}").expect("writing to a String cannot fail");
        id
    }
}

/// The ARN of what lies below a resource: a listener below its load balancer, a rule below its listener.
pub(crate) fn below(parent: &str, kind: Kind, id: &str) -> String {
    let resource = match kind {
        Kind::Listener => parent.replacen(":loadbalancer/", ":listener/", 1),
        _ => parent.replacen(":listener/", ":listener-rule/", 1),
    };
    format!("{resource}/{id}")
}

/// The finaliser of SplitMix64: neighbouring numbers become unlike ones, and no two become the same.
fn scatter(number: u64) -> u64 {
    let mut bits = number;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn is_family(text: &str) -> bool {
    matches!(text, "app" | "net" | "gwy")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn all_ids(ids: &[&str]) -> bool {
    ids.iter().all(|id| is_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_recognised() {
        let home = Home { region: "us-east-1".to_owned(), account: "000000000000".to_owned() };
        let mut ids = Ids::new(1);
        let load_balancer = home.load_balancer(Family::Application, "shop", &ids.next());
        let listener = below(&load_balancer, Kind::Listener, &ids.next());
        let rule = below(&listener, Kind::Rule, &ids.next());
        let target_group = home.target_group("shop-stable", &ids.next());
        assert_eq!(Kind::of(&load_balancer), Some(Kind::LoadBalancer), "{load_balancer}");
        assert_eq!(Kind::of(&listener), Some(Kind::Listener), "{listener}");
        assert_eq!(Kind::of(&rule), Some(Kind::Rule), "{rule}");
        assert_eq!(Kind::of(&target_group), Some(Kind::TargetGroup), "{target_group}");
        assert!(
            rule.starts_with("arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/shop/"),
            "{rule}"
        );
    }

    #[test]
    fn malformed_names_are_not() {
        for arn in [
            "",
            "shop",
            "arn:aws:elasticloadbalancing:us-east-1:000000000000",
            "arn:aws:ec2:us-east-1:000000000000:targetgroup/a/0123456789abcdef",
            "arn:aws:elasticloadbalancing:us-east-1:12:targetgroup/a/0123456789abcdef",
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/a/0123",
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/a/0123456789abcdef/0123456789abcdef",
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/a/0123456789abcdef",
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/a/0123456789abcdef/0123456789abcdef",
        ] {
            assert_eq!(Kind::of(arn), None, "{arn}");
        }
    }

    #[test]
    fn ids_repeat_with_the_seed_only() {
        let take = |seed| {
            let mut ids = Ids::new(seed);
            [ids.next(), ids.next(), ids.next()]
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        let mut ids = Ids::new(1);
        let many: std::collections::BTreeSet<String> = (0..1000).map(|_| ids.next()).collect();
        assert_eq!(many.len(), 1000);
    }
}
