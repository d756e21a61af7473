//! Attributes of load balancers, target groups and listeners: which there are, what they may be, and AWS's defaults.
//!
//! Source: API reference of LoadBalancerAttribute, TargetGroupAttribute and ListenerAttribute. Those of Gateway Load Balancers and
//! Lambda targets are left out, as the lab has neither.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control_plane::model::arn::Family;
use crate::control_plane::model::{Listener, LoadBalancer, TargetGroup};

/// Attributes that were set, by key.
pub(crate) type Attributes = BTreeMap<String, String>;

/// An attribute on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Attribute {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// An attribute that a resource can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) key: &'static str,
    pub(crate) default: &'static str,
    pub(crate) values: Values,
}

/// What an attribute may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values {
    Text,
    OneOf(&'static [&'static str]),
    /// A whole number in one of the ranges, bounds included, or one of the words.
    Number(&'static [(u32, u32)], &'static [&'static str]),
}

use Values::{Number, OneOf, Text};

const BOOLEAN: Values = OneOf(&["true", "false"]);
const COUNT: &[(u32, u32)] = &[(1, u32::MAX)];
const PERCENTAGE: Values = Number(&[(1, 100)], &["off"]);
/// One second to one week.
const COOKIE_SECONDS: Values = Number(&[(1, 604_800)], &[]);

const fn known(key: &'static str, default: &'static str, values: Values) -> Known {
    Known { key, default, values }
}

const GROUP: &[Known] = &[
    known("deregistration_delay.timeout_seconds", "300", Number(&[(0, 3600)], &[])),
    known("stickiness.enabled", "false", BOOLEAN),
    known(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        OneOf(&["true", "false", "use_load_balancer_configuration"]),
    ),
    known("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Number(COUNT, &["off"])),
    known("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", PERCENTAGE),
    known("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Number(COUNT, &[])),
    known("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", PERCENTAGE),
];

const APPLICATION_GROUP: &[Known] = &[
    known("stickiness.type", "lb_cookie", OneOf(&["lb_cookie", "app_cookie"])),
    known("stickiness.lb_cookie.duration_seconds", "86400", COOKIE_SECONDS),
    known("stickiness.app_cookie.duration_seconds", "86400", COOKIE_SECONDS),
    known("stickiness.app_cookie.cookie_name", "", Text),
    known("slow_start.duration_seconds", "0", Number(&[(0, 0), (30, 900)], &[])),
    known(
        "load_balancing.algorithm.type",
        "round_robin",
        OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    known("load_balancing.algorithm.anomaly_mitigation", "off", OneOf(&["on", "off"])),
];

const NETWORK_GROUP: &[Known] = &[
    known("stickiness.type", "source_ip", OneOf(&["source_ip"])),
    known("deregistration_delay.connection_termination.enabled", "false", BOOLEAN),
    known("preserve_client_ip.enabled", "true", BOOLEAN),
    known("proxy_protocol_v2.enabled", "false", BOOLEAN),
    known("target_health_state.unhealthy.connection_termination.enabled", "true", BOOLEAN),
    known("target_health_state.unhealthy.draining_interval_seconds", "0", Number(&[(0, 360_000)], &[])),
];

const LOAD_BALANCER: &[Known] = &[
    known("deletion_protection.enabled", "false", BOOLEAN),
    known("access_logs.s3.enabled", "false", BOOLEAN),
    known("access_logs.s3.bucket", "", Text),
    known("access_logs.s3.prefix", "", Text),
    known("ipv6.deny_all_igw_traffic", "false", BOOLEAN),
    known("zonal_shift.config.enabled", "false", BOOLEAN),
];

const APPLICATION_LOAD_BALANCER: &[Known] = &[
    // "The default for Application Load Balancers is true, and can't be changed."
    known("load_balancing.cross_zone.enabled", "true", OneOf(&["true"])),
    known("idle_timeout.timeout_seconds", "60", Number(&[(1, 4000)], &[])),
    known("client_keep_alive.seconds", "3600", Number(&[(60, 604_800)], &[])),
    known("connection_logs.s3.enabled", "false", BOOLEAN),
    known("connection_logs.s3.bucket", "", Text),
    known("connection_logs.s3.prefix", "", Text),
    known("health_check_logs.s3.enabled", "false", BOOLEAN),
    known("health_check_logs.s3.bucket", "", Text),
    known("health_check_logs.s3.prefix", "", Text),
    known("routing.http.desync_mitigation_mode", "defensive", OneOf(&["monitor", "defensive", "strictest"])),
    known("routing.http.drop_invalid_header_fields.enabled", "false", BOOLEAN),
    known("routing.http.preserve_host_header.enabled", "false", BOOLEAN),
    known("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", BOOLEAN),
    known("routing.http.x_amzn_tls_kx.enabled", "false", BOOLEAN),
    known("routing.http.xff_client_port.enabled", "false", BOOLEAN),
    known("routing.http.xff_header_processing.mode", "append", OneOf(&["append", "preserve", "remove"])),
    known("routing.http2.enabled", "true", BOOLEAN),
    known("waf.fail_open.enabled", "false", BOOLEAN),
];

const NETWORK_LOAD_BALANCER: &[Known] = &[
    known("load_balancing.cross_zone.enabled", "false", BOOLEAN),
    known(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        OneOf(&["availability_zone_affinity", "partial_availability_zone_affinity", "any_availability_zone"]),
    ),
    known("secondary_ips.auto_assigned.per_subnet", "0", Number(&[(0, 7)], &[])),
];

const APPLICATION_LISTENER: &[Known] = &[
    known("routing.http.response.server.enabled", "true", BOOLEAN),
    known("routing.http.response.strict_transport_security.header_value", "", Text),
    known("routing.http.response.access_control_allow_origin.header_value", "", Text),
    known("routing.http.response.access_control_allow_methods.header_value", "", Text),
    known("routing.http.response.access_control_allow_headers.header_value", "", Text),
    known("routing.http.response.access_control_allow_credentials.header_value", "", Text),
    known("routing.http.response.access_control_expose_headers.header_value", "", Text),
    known("routing.http.response.access_control_max_age.header_value", "", Text),
    known("routing.http.response.content_security_policy.header_value", "", Text),
    known("routing.http.response.x_content_type_options.header_value", "", Text),
    known("routing.http.response.x_frame_options.header_value", "", Text),
];

const NETWORK_LISTENER: &[Known] = &[known("tcp.idle_timeout.seconds", "350", Number(&[(60, 6000)], &[]))];

impl Values {
    pub(crate) fn contain(self, value: &str) -> bool {
        match self {
            Text => true,
            OneOf(words) => words.contains(&value),
            Number(ranges, words) => {
                let number = value.parse::<u32>().ok();
                words.contains(&value)
                    || number
                        .is_some_and(|number| ranges.iter().any(|(least, most)| (*least..=*most).contains(&number)))
            }
        }
    }
}

/// A resource with attributes.
pub(crate) trait Attributed {
    /// The attributes that it can have.
    fn attributes_known(&self) -> impl Iterator<Item = &'static Known>;
    /// Those that were set.
    fn attributes_set(&self) -> &Attributes;

    /// The value of an attribute, set or AWS's default; empty if there is no such attribute.
    fn attribute(&self, key: &str) -> &str {
        match self.attributes_set().get(key) {
            Some(value) => value,
            None => self.attributes_known().find(|known| known.key == key).map_or("", |known| known.default),
        }
    }

    /// All attributes with their values.
    fn attributes_described(&self) -> Vec<Attribute> {
        let attribute =
            |known: &Known| Attribute { key: known.key.to_owned(), value: self.attribute(known.key).to_owned() };
        self.attributes_known().map(attribute).collect()
    }
}

impl Attributed for TargetGroup {
    fn attributes_known(&self) -> impl Iterator<Item = &'static Known> {
        GROUP.iter().chain(match self.family() {
            Family::Application => APPLICATION_GROUP,
            Family::Network => NETWORK_GROUP,
        })
    }

    fn attributes_set(&self) -> &Attributes {
        &self.attributes
    }
}

impl Attributed for LoadBalancer {
    fn attributes_known(&self) -> impl Iterator<Item = &'static Known> {
        LOAD_BALANCER.iter().chain(match self.family() {
            Family::Application => APPLICATION_LOAD_BALANCER,
            Family::Network => NETWORK_LOAD_BALANCER,
        })
    }

    fn attributes_set(&self) -> &Attributes {
        &self.attributes
    }
}

impl Attributed for Listener {
    fn attributes_known(&self) -> impl Iterator<Item = &'static Known> {
        match self.protocol.family() {
            Family::Application => APPLICATION_LISTENER,
            Family::Network => NETWORK_LISTENER,
        }
        .iter()
    }

    fn attributes_set(&self) -> &Attributes {
        &self.attributes
    }
}

impl TargetGroup {
    /// A cookie leads a client of an Application Load Balancer to the same target again.
    pub(crate) fn is_sticky(&self) -> bool {
        self.family() == Family::Application && self.attribute("stickiness.enabled") == "true"
    }

    /// How long a deregistered target drains: 0 to 3600 s, 300 s unless set.
    pub(crate) fn deregistration_delay(&self) -> Duration {
        let seconds = self.attribute("deregistration_delay.timeout_seconds").parse();
        Duration::from_secs(seconds.unwrap_or(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_possible_value_and_no_key_is_there_twice() {
        let families = [
            [GROUP, APPLICATION_GROUP],
            [GROUP, NETWORK_GROUP],
            [LOAD_BALANCER, APPLICATION_LOAD_BALANCER],
            [LOAD_BALANCER, NETWORK_LOAD_BALANCER],
            [&[], APPLICATION_LISTENER],
            [&[], NETWORK_LISTENER],
        ];
        for tables in families {
            let mut keys = std::collections::BTreeSet::new();
            for known in tables.into_iter().flatten() {
                assert!(known.values.contain(known.default), "{}", known.key);
                assert!(keys.insert(known.key), "{}", known.key);
            }
        }
    }

    #[test]
    fn values_have_bounds() {
        let slow_start = Number(&[(0, 0), (30, 900)], &[]);
        for (value, good) in
            [("0", true), ("1", false), ("30", true), ("900", true), ("901", false), ("-1", false), ("", false)]
        {
            assert_eq!(slow_start.contain(value), good, "{value}");
        }
        assert!(PERCENTAGE.contain("off") && PERCENTAGE.contain("100") && !PERCENTAGE.contain("101"));
        assert!(BOOLEAN.contain("true") && !BOOLEAN.contain("True"));
    }
}
