use std::collections::BTreeMap;
use std::net::IpAddr;

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use super::*;
use crate::data_plane::fixture::{HOST, LONG, Shop, forward};
use crate::data_plane::health::FAILED;

const SECOND: Duration = Duration::from_secs(1);
const NONE: [u16; 0] = [];

/// A node beside a shop, with a clock of its own.
struct Stand {
    shop: Shop,
    node: Node,
    now: SystemTime,
    headers: HeaderMap,
}

impl Stand {
    /// Targets 127.0.0.1 and up, one port for each group.
    fn new(stable: u8, canary: u8, config: &DataPlaneConfig) -> Self {
        let shop = Shop::new();
        for number in 1..=stable {
            shop.register(&shop.stable, &format!("127.0.0.{number}"), 1);
        }
        for number in 1..=canary {
            shop.register(&shop.canary, &format!("127.0.0.{number}"), 2);
        }
        let now = shop.control_plane.now();
        let node = Node::new(config.seed, config, now, shop.account());
        Self { shop, node, now, headers: HeaderMap::new() }
    }

    /// All targets are healthy, and changes are followed at once.
    fn healthy(stable: u8, canary: u8) -> Self {
        let mut stand = Self::new(stable, canary, &at_once());
        stand.check(|_| Ok(()));
        stand
    }

    fn announce(&mut self) {
        self.node.announce(self.now, self.shop.account());
    }

    /// Carries out the checks that are due, and gives the ports that were checked.
    fn check(&mut self, result: impl Fn(&Probe) -> Result<(), Failure>) -> Vec<u16> {
        let probes = self.node.duties(self.now).probes;
        for probe in &probes {
            self.node.probed(probe, result(probe));
        }
        probes.iter().map(|probe| probe.port).collect()
    }

    fn decide(&mut self, host: &str) -> Decision {
        let head = RequestHead {
            listener_arn: &self.shop.listener,
            source: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host,
            path: "/",
            query: None,
            headers: &self.headers,
        };
        self.node.route(self.now, &head)
    }

    fn route(&mut self) -> Decision {
        self.decide(HOST)
    }

    /// Where the next request goes, such as `127.0.0.1:1`.
    fn target(&mut self) -> String {
        match self.route() {
            Decision::Forward(Forwarding { member: Member { target, .. }, .. }) => {
                format!("{}:{}", target.id, target.port)
            }
            other => format!("{other:?}"),
        }
    }

    fn targets(&mut self, requests: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for _ in 0..requests {
            *found.entry(self.target()).or_default() += 1;
        }
        found
    }
}

fn at_once() -> DataPlaneConfig {
    DataPlaneConfig { lag: Duration::ZERO..=Duration::ZERO, ..DataPlaneConfig::default() }
}

fn failed(_: &Probe) -> Result<(), Failure> {
    Err((FAILED, "no"))
}

#[test]
fn the_split_is_that_of_the_weights() {
    const PICKS: u32 = 100_000;
    let mut stand = Stand::healthy(1, 1);
    for ours in [0, 1, 50, 99, 100, 999] {
        for theirs in [0, 1, 100, 999] {
            if ours + theirs == 0 {
                continue;
            }
            stand.shop.weights(theirs, ours);
            stand.announce();
            let found = stand.targets(PICKS as usize).get("127.0.0.1:2").copied().unwrap_or_default();
            let share = f64::from(ours) / f64::from(ours + theirs);
            let expected = share * f64::from(PICKS);
            let error = (f64::from(PICKS) * share * (1.0 - share)).sqrt();
            let off = (found as f64 - expected).abs();
            // A share of 0 or 1 has no error at all.
            assert!(off <= 4.0 * error, "{ours}:{theirs}: {found} picks, expected {expected} ± {error}");
        }
    }
}

#[test]
fn all_weights_zero_is_503() {
    let mut stand = Stand::healthy(1, 1);
    stand.shop.weights(0, 0);
    stand.announce();
    assert_eq!(stand.route(), Decision::NoWeight);
}

#[test]
fn a_node_follows_after_its_lag_and_then_sends_nothing_to_weight_zero() {
    let config = DataPlaneConfig { lag: SECOND..=9 * SECOND, seed: 3, ..DataPlaneConfig::default() };
    let mut stand = Stand::new(1, 1, &config);
    stand.check(|_| Ok(()));
    stand.shop.weights(0, 100);
    stand.announce();
    let due = stand.node.view.due().expect("a change is coming");
    assert!(due >= stand.now + SECOND && due <= stand.now + 9 * SECOND);
    stand.now = due - Duration::from_nanos(1);
    assert_eq!(stand.targets(1000), BTreeMap::from([("127.0.0.1:1".to_owned(), 1000)]));
    stand.now = due;
    assert_eq!(stand.targets(100_000), BTreeMap::from([("127.0.0.1:2".to_owned(), 100_000)]));
}

#[test]
fn nodes_disagree_for_a_while_and_then_agree() {
    let config = DataPlaneConfig { lag: Duration::ZERO..=10 * SECOND, ..DataPlaneConfig::default() };
    let stand = Stand::new(1, 1, &config);
    let mut nodes: Vec<Node> = (0..8).map(|seed| Node::new(seed, &config, stand.now, stand.shop.account())).collect();
    stand.shop.weights(0, 100);
    for node in &mut nodes {
        node.announce(stand.now, stand.shop.account());
    }
    let mut followed = |after: Duration| {
        let now = stand.now + after;
        nodes.iter_mut().filter_map(|node| node.may_send_to(now, &stand.shop.canary)).count()
    };
    let (early, late, last) = (followed(SECOND), followed(7 * SECOND), followed(10 * SECOND));
    assert!(early < late && late < last && last == 8, "{early}, {late}, {last}");
}

#[test]
fn the_same_seed_repeats_lags_and_choices() {
    let run = |seed| {
        let config = DataPlaneConfig { lag: SECOND..=9 * SECOND, seed, ..DataPlaneConfig::default() };
        let mut stand = Stand::new(1, 1, &config);
        stand.check(|_| Ok(()));
        stand.shop.weights(1, 1);
        stand.announce();
        let lag = stand.node.view.due().expect("a change is coming").duration_since(stand.now).expect("later");
        stand.now += 9 * SECOND;
        (lag, (0..64).map(|_| stand.target()).collect::<Vec<_>>())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn rules_are_tried_by_priority_and_the_default_is_last() {
    let mut stand = Stand::healthy(1, 1);
    let Decision::Fixed(answer) = stand.decide("other.example.com") else { panic!("not the default rule") };
    assert_eq!(answer.status_code, "404");
    let canary = stand.shop.canary.clone();
    stand.shop.set(|account| {
        let mut rule = account.rules.iter().find(|rule| !rule.is_default).expect("a rule").clone();
        rule.arn.push('0');
        rule.priority = crate::control_plane::model::Priority::At(5);
        rule.actions = vec![forward(&[(&canary, 1)], None)];
        account.rules.push(rule);
    });
    stand.announce();
    assert_eq!(stand.targets(20), BTreeMap::from([("127.0.0.1:2".to_owned(), 20)]));
}

#[test]
fn a_listener_that_is_not_known_is_503() {
    let mut stand = Stand::healthy(1, 0);
    stand.shop.listener.push('0');
    assert_eq!(stand.route(), Decision::NoListener);
}

#[test]
fn targets_take_turns() {
    let mut stand = Stand::healthy(3, 0);
    let found = stand.targets(300);
    assert_eq!(found.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn a_group_without_targets_gets_no_help_from_its_sibling() {
    let mut stand = Stand::healthy(1, 0);
    stand.shop.weights(0, 100);
    stand.announce();
    assert_eq!(stand.route(), Decision::NoTargets(Arc::from(stand.shop.canary.as_str())));
}

#[test]
fn a_new_target_waits_for_its_first_passed_check() {
    let mut stand = Stand::new(1, 0, &at_once());
    let Decision::NoTargets(_) = stand.route() else { panic!("an initial target got a request") };
    let reports = stand.node.duties(stand.now).reports;
    assert!(reports.iter().all(|(_, health)| *health == NodeHealth::Initial) && reports.len() == 1);
    // The check that the duties above handed out is under way: nothing more is due before the interval is over.
    assert_eq!(stand.check(|_| Ok(())), NONE);
    stand.now += 30 * SECOND;
    assert_eq!(stand.check(|_| Ok(())), NONE, "the first check has not come back yet");
}

#[test]
fn checks_come_at_the_interval_and_change_what_is_routable() {
    let mut stand = Stand::new(2, 0, &at_once());
    assert_eq!(stand.node.due(), Some(stand.now));
    assert_eq!(stand.check(|_| Ok(())), [1, 1]);
    assert_eq!(stand.node.due(), Some(stand.now + 30 * SECOND));
    assert_eq!(stand.targets(4).len(), 2);
    let first_fails = |probe: &Probe| if probe.member.target.id == "127.0.0.1" { failed(probe) } else { Ok(()) };
    for expected in [2, 1] {
        stand.now += 30 * SECOND;
        stand.check(first_fails);
        assert_eq!(stand.targets(4).len(), expected, "the threshold is two checks in a row");
    }
    let reports = stand.node.duties(stand.now).reports;
    assert!(matches!(reports.as_slice(), [.., (_, NodeHealth::Unhealthy(FAILED, "no"))]), "{reports:?}");
    assert_eq!(stand.node.duties(stand.now).reports, [], "nothing is handed out twice");
    for expected in [1, 1, 1, 1, 2] {
        stand.now += 30 * SECOND;
        stand.check(|_| Ok(()));
        assert_eq!(stand.targets(4).len(), expected, "the threshold is five checks in a row");
    }
}

#[test]
fn a_group_with_unhealthy_targets_only_fails_open() {
    let mut stand = Stand::new(2, 0, &at_once());
    stand.check(failed);
    let Decision::NoTargets(_) = stand.route() else { panic!("one failed check is not enough to be unhealthy") };
    stand.now += 30 * SECOND;
    stand.check(failed);
    assert_eq!(stand.targets(4).len(), 2);
    let late = stand.shop.register_stable("127.0.0.9", 1);
    stand.announce();
    assert!(!stand.targets(9).contains_key("127.0.0.9:1"), "initial targets wait even then");
    stand.check(|_| Ok(()));
    assert_eq!(stand.targets(4), BTreeMap::from([(format!("{}:1", late.id), 4)]));
}

#[test]
fn the_registration_delay_comes_before_the_first_check() {
    let mut stand = Stand::new(0, 0, &DataPlaneConfig { registration_delay: 30 * SECOND, ..at_once() });
    stand.shop.register_stable("127.0.0.1", 1);
    stand.announce();
    stand.now += 29 * SECOND;
    assert_eq!(stand.check(|_| Ok(())), NONE);
    stand.now += SECOND;
    assert_eq!(stand.check(|_| Ok(())), [1]);
    assert_eq!(stand.target(), "127.0.0.1:1");
}

#[test]
fn an_interval_of_the_labs_own_replaces_that_of_the_group() {
    let tenth = Duration::from_millis(100);
    let mut stand = Stand::new(1, 0, &DataPlaneConfig { health_check_interval: Some(tenth), ..at_once() });
    let probes = stand.node.duties(stand.now).probes;
    assert_eq!(probes[0].timeout, 6 * SECOND, "the timeout is the group's");
    assert_eq!(stand.node.due(), None);
    stand.now += SECOND;
    assert_eq!(stand.check(|_| Ok(())), NONE, "the last check has not ended");
    stand.node.probed(&probes[0], Ok(()));
    assert_eq!(stand.check(|_| Ok(())), [1]);
    assert_eq!(stand.node.due(), Some(stand.now + tenth));
}

#[test]
fn a_deregistered_target_gets_nothing_new_and_is_cut_at_the_end_of_its_delay() {
    let mut stand = Stand::healthy(2, 0);
    stand.shop.drains_for(60);
    let target = Target { id: "127.0.0.1".to_owned(), port: 1 };
    stand.shop.deregister(&target);
    stand.announce();
    assert_eq!(stand.targets(10), BTreeMap::from([("127.0.0.2:1".to_owned(), 10)]));
    assert_eq!(stand.node.duties(stand.now).cuts, []);
    stand.now += LONG;
    let cuts = stand.node.duties(stand.now).cuts;
    assert_eq!(cuts.iter().map(|member| &member.target).collect::<Vec<_>>(), [&target]);
    assert_eq!(stand.node.duties(stand.now).cuts, []);
}

#[test]
fn a_target_that_comes_back_is_not_cut_but_begins_anew() {
    let mut stand = Stand::healthy(1, 0);
    let target = Target { id: "127.0.0.1".to_owned(), port: 1 };
    stand.shop.deregister(&target);
    stand.announce();
    let Decision::NoTargets(_) = stand.route() else { panic!("a draining target got a request") };
    stand.shop.register_stable("127.0.0.1", 1);
    stand.announce();
    let Decision::NoTargets(_) = stand.route() else { panic!("a new registration is initial") };
    let old = stand.node.duties(stand.now).probes.remove(0);
    // Registered once more while that check was under way: its result is about another registration.
    stand.shop.register_stable("127.0.0.1", 1);
    stand.announce();
    stand.node.follow(stand.now);
    stand.node.probed(&old, Ok(()));
    let Decision::NoTargets(_) = stand.route() else { panic!("an old check counted") };
    assert_eq!(stand.check(|_| Ok(())), [1]);
    assert_eq!(stand.target(), "127.0.0.1:1");
    stand.now += LONG;
    assert_eq!(stand.node.duties(stand.now).cuts, []);
}

#[test]
fn a_target_that_the_account_forgets_is_cut_at_once() {
    let mut stand = Stand::healthy(2, 0);
    let target = Target { id: "127.0.0.1".to_owned(), port: 1 };
    stand.shop.forget(&target);
    stand.announce();
    let cuts = stand.node.duties(stand.now).cuts;
    assert_eq!(cuts.len(), 1);
    assert_eq!(cuts[0].target, target);
}

#[test]
fn a_group_in_no_rule_is_neither_checked_nor_sent_to() {
    let mut stand = Stand::healthy(1, 1);
    let (stable, canary) = (stand.shop.stable.clone(), stand.shop.canary.clone());
    assert_eq!(stand.node.may_send_to(stand.now, &canary), None, "its weight is zero");
    stand.shop.set_rule(|rule| rule.actions = vec![forward(&[(&stable, 1)], None)]);
    stand.announce();
    stand.now += 30 * SECOND;
    assert_eq!(stand.check(|_| Ok(())), [1], "the canary is not checked");
    stand.shop.weights(50, 50);
    stand.announce();
    assert_eq!(stand.node.may_send_to(stand.now, &canary), Some(Vec::new()), "its target has to be checked anew");
    stand.check(|_| Ok(()));
    assert_eq!(stand.node.may_send_to(stand.now, &canary), Some(vec![Target { id: "127.0.0.1".to_owned(), port: 2 }]));
}

#[test]
fn a_cookie_leads_to_its_group_even_at_weight_zero_until_it_expires() {
    let mut stand = Stand::healthy(1, 1);
    let canary = stand.shop.canary.clone();
    stand.shop.sticky_weights(0, 100, 60);
    stand.announce();
    let Decision::Forward(Forwarding { cookie: Some(cookie), .. }) = stand.route() else { panic!("no cookie") };
    let [set, _] = cookie.headers();
    let pair = set.split(';').next().expect("a pair").to_owned();
    stand.shop.sticky_weights(100, 0, 60);
    stand.announce();
    assert_eq!(stand.target(), "127.0.0.1:1");
    assert_eq!(stand.node.may_send_to(stand.now, &canary).map(|targets| targets.len()), Some(1));
    stand.headers.insert(COOKIE, HeaderValue::from_str(&pair).expect("a sound header"));
    stand.now += 59 * SECOND;
    let Decision::Forward(forwarding) = stand.route() else { panic!("not forwarded") };
    assert_eq!((forwarding.member.target.port, forwarding.cookie), (2, None), "the cookie is obeyed, and not renewed");
    stand.now += SECOND;
    assert_eq!(stand.target(), "127.0.0.1:1");
    stand.now -= 2 * SECOND;
    stand.shop.weights(100, 0);
    stand.announce();
    assert_eq!(stand.target(), "127.0.0.1:1", "without stickiness cookies mean nothing");
}
