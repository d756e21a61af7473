//! Health checks of a target group. Source: API reference of CreateTargetGroup, ModifyTargetGroup and Matcher.

use std::ops::RangeInclusive;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Family;
use crate::control_plane::model::{Matcher, TargetGroup};
use crate::control_plane::validate::within;

/// What a request says about health checks. What it does not say stays as it is.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    pub(crate) enabled: Option<bool>,
    pub(crate) protocol: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) interval_seconds: Option<u16>,
    pub(crate) timeout_seconds: Option<u16>,
    pub(crate) healthy_threshold: Option<u16>,
    pub(crate) unhealthy_threshold: Option<u16>,
    pub(crate) matcher: Option<Matcher>,
}

impl HealthChecks {
    /// AWS's defaults for a group that has its own protocol, protocol version and type already.
    pub(crate) fn defaults(group: &TargetGroup) -> Self {
        let family = group.family();
        Self {
            enabled: Some(true),
            protocol: Some(if family == Family::Application { "HTTP" } else { "TCP" }.to_owned()),
            port: Some("traffic-port".to_owned()),
            path: None,
            interval_seconds: Some(30),
            timeout_seconds: Some(if group.protocol == "HTTP" { 6 } else { 10 }),
            healthy_threshold: Some(5),
            unhealthy_threshold: Some(2),
            matcher: None,
        }
    }

    /// Puts them into the group, if together with what is there they are possible.
    pub(crate) fn put_into(self, group: &mut TargetGroup) -> Result<(), ApiError> {
        if self.enabled == Some(false) {
            return Err(ApiError::validation(format!(
                "Health checks cannot be disabled for target type '{}'",
                group.target_type
            )));
        }
        group.health_check_enabled = true;
        set(&mut group.health_check_protocol, self.protocol);
        set(&mut group.health_check_port, self.port);
        set(&mut group.health_check_interval_seconds, self.interval_seconds);
        set(&mut group.health_check_timeout_seconds, self.timeout_seconds);
        set(&mut group.healthy_threshold_count, self.healthy_threshold);
        set(&mut group.unhealthy_threshold_count, self.unhealthy_threshold);
        let is_http = check_protocol(group)?;
        if is_http {
            set(&mut group.health_check_path, self.path);
            set(&mut group.matcher, self.matcher);
            fill_in_http(group);
        } else if self.path.is_some() || self.matcher.is_some() {
            return Err(ApiError::validation("A path and a matcher need health checks over HTTP or HTTPS"));
        } else {
            group.health_check_path.clear();
            group.matcher = Matcher::default();
        }
        check_port(&group.health_check_port)?;
        if is_http {
            within("the length of HealthCheckPath", group.health_check_path.len(), 1, 1024)?;
            if !group.health_check_path.starts_with('/') {
                return Err(ApiError::validation(format!(
                    "Health check path '{}' must begin with '/'",
                    group.health_check_path
                )));
            }
            check_matcher(group)?;
        }
        let (interval, timeout) = (group.health_check_interval_seconds, group.health_check_timeout_seconds);
        within("HealthCheckIntervalSeconds", interval, 5, 300)?;
        within("HealthCheckTimeoutSeconds", timeout, 2, 120)?;
        let (fits, how_much) = match group.family() {
            Family::Application => (timeout < interval, "smaller than"),
            Family::Network => (timeout <= interval, "smaller than or equal to"),
        };
        if !fits {
            return Err(ApiError::validation(format!(
                "Health check timeout '{timeout}' must be {how_much} the interval '{interval}'"
            )));
        }
        within("HealthyThresholdCount", group.healthy_threshold_count, 2, 10)?;
        within("UnhealthyThresholdCount", group.unhealthy_threshold_count, 2, 10)
    }
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

/// Whether the checks are over HTTP or HTTPS. TCP is for Network Load Balancers.
fn check_protocol(group: &TargetGroup) -> Result<bool, ApiError> {
    match group.health_check_protocol.as_str() {
        "HTTP" | "HTTPS" => Ok(true),
        "TCP" if group.family() == Family::Network => Ok(false),
        other => Err(ApiError::validation(format!(
            "Health check protocol '{other}' is not supported for target groups with the protocol '{}'",
            group.protocol
        ))),
    }
}

fn fill_in_http(group: &mut TargetGroup) {
    let is_grpc = group.protocol_version == "GRPC";
    if group.health_check_path.is_empty() {
        group.health_check_path = if is_grpc { "/AWS.ALB/healthcheck" } else { "/" }.to_owned();
    }
    if group.matcher == Matcher::default() {
        group.matcher = match (is_grpc, group.family()) {
            (true, _) => Matcher { http_code: None, grpc_code: Some("12".to_owned()) },
            (false, Family::Application) => Matcher { http_code: Some("200".to_owned()), grpc_code: None },
            (false, Family::Network) => Matcher { http_code: Some("200-399".to_owned()), grpc_code: None },
        };
    }
}

fn check_port(port: &str) -> Result<(), ApiError> {
    if port == "traffic-port" || port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(())
    } else {
        Err(ApiError::validation(format!("Health check port '{port}' is neither 1 to 65535 nor 'traffic-port'")))
    }
}

fn check_matcher(group: &TargetGroup) -> Result<(), ApiError> {
    let (codes, bounds) = match (&group.matcher.http_code, &group.matcher.grpc_code, group.family()) {
        (None, Some(codes), _) if group.protocol_version == "GRPC" => (codes, 0..=99),
        (Some(codes), None, Family::Application) if group.protocol_version != "GRPC" => (codes, 200..=499),
        (Some(codes), None, Family::Network) => (codes, 200..=599),
        _ => {
            return Err(ApiError::validation(
                "A matcher has GrpcCode for the protocol version GRPC, and HttpCode for every other",
            ));
        }
    };
    if codes.split(',').all(|part| is_code_or_range(part.trim(), &bounds)) {
        Ok(())
    } else {
        let (least, most) = (bounds.start(), bounds.end());
        Err(ApiError::validation(format!(
            "Health check matcher '{codes}' is not a list of codes and ranges between {least} and {most}"
        )))
    }
}

fn is_code_or_range(text: &str, bounds: &RangeInclusive<u16>) -> bool {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| bounds.contains(code));
    match text.split_once('-') {
        None => code(text).is_some(),
        Some((first, last)) => code(first).zip(code(last)).is_some_and(|(first, last)| first <= last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::fixture::Shop;
    use crate::control_plane::operations::CreateTargetGroup;

    fn group(
        protocol: &str,
        version: Option<&str>,
        change: impl FnOnce(&mut CreateTargetGroup),
    ) -> Result<TargetGroup, ApiError> {
        let mut input = CreateTargetGroup {
            name: "group".to_owned(),
            protocol: Some(protocol.to_owned()),
            protocol_version: version.map(str::to_owned),
            port: Some(80),
            vpc_id: Some("vpc-1".to_owned()),
            ..CreateTargetGroup::default()
        };
        change(&mut input);
        Ok(Shop::new().write(input)?.target_groups.remove(0))
    }

    type Change = fn(&mut CreateTargetGroup);

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn http_codes(codes: &str) -> Option<Matcher> {
        Some(Matcher { http_code: text(codes), grpc_code: None })
    }

    #[test]
    fn defaults_follow_the_protocol() {
        let plain = group("HTTP", None, |_| ()).expect("a group");
        assert_eq!((&*plain.health_check_path, plain.health_check_timeout_seconds), ("/", 6));
        assert_eq!(Some(plain.matcher), http_codes("200"));
        let grpc = group("HTTPS", Some("GRPC"), |_| ()).expect("a group");
        assert_eq!((&*grpc.health_check_path, grpc.health_check_timeout_seconds), ("/AWS.ALB/healthcheck", 10));
        assert_eq!(grpc.matcher.grpc_code.as_deref(), Some("12"));
        let tcp = group("TCP", None, |_| ()).expect("a group");
        assert_eq!((&*tcp.health_check_protocol, &*tcp.health_check_path), ("TCP", ""));
        assert!(tcp.matcher.is_empty());
        let checked_by_http = group("TCP", None, |input| input.health_check_protocol = text("HTTP")).expect("a group");
        assert_eq!(Some(checked_by_http.matcher), http_codes("200-399"));
    }

    #[test]
    fn codes_are_lists_of_codes_and_ranges_within_bounds() {
        for codes in ["200", "200,204", "200-299", "200-299,404", "499"] {
            group("HTTP", None, |input| input.matcher = http_codes(codes)).expect(codes);
        }
        for codes in ["", "199", "500", "299-200", "200-500", "200;204", "ok"] {
            let error = group("HTTP", None, |input| input.matcher = http_codes(codes)).expect_err(codes);
            assert_eq!(error.code, "ValidationError", "{codes}");
        }
        group("TCP", None, |input| {
            input.health_check_protocol = text("HTTP");
            input.matcher = http_codes("200-599");
        })
        .expect("Network Load Balancers take more");
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let cases: [(&str, Change); 9] = [
            ("no checks", |input| input.health_check_enabled = Some(false)),
            ("TCP for HTTP", |input| input.health_check_protocol = text("TCP")),
            ("port 0", |input| input.health_check_port = text("0")),
            ("a relative path", |input| input.health_check_path = text("health")),
            ("interval 4", |input| input.health_check_interval_seconds = Some(4)),
            ("timeout 121", |input| input.health_check_timeout_seconds = Some(121)),
            ("a timeout as long as the interval", |input| input.health_check_interval_seconds = Some(6)),
            ("threshold 1", |input| input.healthy_threshold_count = Some(1)),
            ("threshold 11", |input| input.unhealthy_threshold_count = Some(11)),
        ];
        for (what, change) in cases {
            assert_eq!(group("HTTP", None, change).expect_err(what).code, "ValidationError", "{what}");
        }
        let even = group("TCP", None, |input| input.health_check_interval_seconds = Some(10));
        even.expect("a Network Load Balancer takes a timeout as long as the interval");
        let path = group("TCP", None, |input| input.health_check_path = text("/")).expect_err("a path over TCP");
        assert_eq!(path.code, "ValidationError");
    }
}
