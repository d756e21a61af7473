//! The health of one target as one node sees it.
//!
//! Source: user guide for Application Load Balancers, "Health checks for target groups": one passed check makes a new target
//! healthy, whatever the threshold; after that, as many checks in a row as the thresholds say.

use std::time::{Duration, SystemTime};

use crate::control_plane::model::TargetGroup;
use crate::control_plane::model::targets::NodeHealth;
use crate::data_plane::table::Member;

/// The reasons of DescribeTargetHealth (API reference, TargetHealth).
pub(super) const FAILED: &str = "Target.FailedHealthChecks";
pub(super) const TIMED_OUT: &str = "Target.Timeout";
pub(super) const MISMATCH: &str = "Target.ResponseCodeMismatch";

/// Why a check failed: the reason of DescribeTargetHealth, and its sentence.
pub(super) type Failure = (&'static str, &'static str);

/// What a node remembers of its checks of a target.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) health: NodeHealth,
    /// When the target was registered: another registration is another target.
    pub(super) registered: SystemTime,
    /// Checks in a row that contradict the health.
    contradicting: u16,
    due: SystemTime,
    under_way: bool,
}

/// A check to be carried out.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) member: Member,
    pub(super) registered: SystemTime,
    pub(crate) port: u16,
    pub(crate) path: String,
    /// An answer later than this is none.
    pub(crate) timeout: Duration,
    /// The codes that pass, such as `200`, `200,204` or `200-299`.
    pub(crate) codes: String,
    /// The target speaks what the lab does not: HTTP/2.
    pub(crate) speaks_http2: bool,
}

impl Checks {
    /// Begins with a target that the node has just learnt of. The first check is due at `first`.
    pub(super) fn new(registered: SystemTime, first: SystemTime) -> Self {
        Self { health: NodeHealth::Initial, registered, contradicting: 0, due: first, under_way: false }
    }

    /// When the next check is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<SystemTime> {
        (!self.under_way).then_some(self.due)
    }

    /// Begins the check that is due.
    pub(super) fn begin(&mut self, now: SystemTime, interval: Duration) {
        self.under_way = true;
        self.due = now + interval;
    }

    /// Takes in how the check went. The answer is the health if it has changed.
    pub(super) fn end(&mut self, result: Result<(), Failure>, group: &TargetGroup) -> Option<NodeHealth> {
        self.under_way = false;
        let (found, needed) = match (result, self.health) {
            (Ok(()), NodeHealth::Initial) => (NodeHealth::Healthy, 1),
            (Ok(()), _) => (NodeHealth::Healthy, group.healthy_threshold_count),
            (Err((reason, sentence)), _) => (NodeHealth::Unhealthy(reason, sentence), group.unhealthy_threshold_count),
        };
        let confirms = matches!(
            (found, self.health),
            (NodeHealth::Healthy, NodeHealth::Healthy) | (NodeHealth::Unhealthy(..), NodeHealth::Unhealthy(..))
        );
        self.contradicting = if confirms { 0 } else { self.contradicting.saturating_add(1) };
        // An unhealthy target can become unhealthy for another reason at once.
        if found == self.health || (!confirms && self.contradicting < needed) {
            return None;
        }
        self.contradicting = 0;
        self.health = found;
        Some(found)
    }
}

impl Probe {
    pub(super) fn new(member: Member, registered: SystemTime, group: &TargetGroup) -> Self {
        Self {
            // `traffic-port` is no number.
            port: group.health_check_port.parse().unwrap_or(member.target.port),
            path: group.health_check_path.clone(),
            timeout: Duration::from_secs(group.health_check_timeout_seconds.into()),
            codes: group.matcher.http_code.clone().unwrap_or_default(),
            speaks_http2: group.protocol_version != "HTTP1",
            member,
            registered,
        }
    }

    /// The answer with this code passes.
    pub(super) fn accepts(&self, code: u16) -> bool {
        self.codes.split(',').any(|part| {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
                (Ok(first), Ok(last)) => (first..=last).contains(&code),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::control_plane::model::targets::Target;
    use crate::data_plane::fixture::Shop;

    const BAD: Result<(), Failure> = Err((FAILED, "no"));
    const UNHEALTHY: NodeHealth = NodeHealth::Unhealthy(FAILED, "no");

    /// Thresholds: healthy after 3, unhealthy after 2.
    fn group() -> TargetGroup {
        let shop = Shop::new();
        TargetGroup {
            healthy_threshold_count: 3,
            unhealthy_threshold_count: 2,
            ..shop.account().target_groups[0].clone()
        }
    }

    fn after(results: &[Result<(), Failure>]) -> (Vec<Option<NodeHealth>>, NodeHealth) {
        let group = group();
        let mut checks = Checks::new(UNIX_EPOCH, UNIX_EPOCH);
        let changes = results.iter().map(|result| checks.end(*result, &group)).collect();
        (changes, checks.health)
    }

    #[test]
    fn one_passed_check_makes_a_new_target_healthy() {
        assert_eq!(after(&[Ok(())]), (vec![Some(NodeHealth::Healthy)], NodeHealth::Healthy));
        assert_eq!(after(&[BAD, Ok(())]), (vec![None, Some(NodeHealth::Healthy)], NodeHealth::Healthy));
    }

    #[test]
    fn thresholds_count_checks_in_a_row() {
        let (changes, health) = after(&[Ok(()), BAD, Ok(()), BAD, BAD, BAD]);
        assert_eq!(changes, [Some(NodeHealth::Healthy), None, None, None, Some(UNHEALTHY), None]);
        assert_eq!(health, UNHEALTHY);
        let (changes, health) = after(&[BAD, BAD, Ok(()), Ok(()), BAD, Ok(()), Ok(()), Ok(())]);
        assert_eq!(
            changes,
            [None, Some(UNHEALTHY), None, None, None, None, None, Some(NodeHealth::Healthy)],
            "a failed check begins the count anew"
        );
        assert_eq!(health, NodeHealth::Healthy);
    }

    #[test]
    fn another_reason_is_news() {
        let other = NodeHealth::Unhealthy(TIMED_OUT, "late");
        let (changes, _) = after(&[BAD, BAD, Err((TIMED_OUT, "late"))]);
        assert_eq!(changes, [None, Some(UNHEALTHY), Some(other)]);
    }

    #[test]
    fn codes_are_numbers_lists_and_ranges() {
        let member = Member { group_arn: Arc::from("g"), target: Target { id: "127.0.0.1".to_owned(), port: 8080 } };
        let mut probe = Probe::new(member, UNIX_EPOCH, &group());
        assert_eq!((probe.port, probe.codes.as_str()), (8080, "200"));
        for (codes, code, passes) in [
            ("200", 200, true),
            ("200", 204, false),
            ("200,204", 204, true),
            ("200-299", 250, true),
            ("200-299, 302", 302, true),
            ("200-299", 300, false),
            ("", 200, false),
            ("all", 200, false),
        ] {
            probe.codes = codes.to_owned();
            assert_eq!(probe.accepts(code), passes, "{codes} and {code}");
        }
    }
}
