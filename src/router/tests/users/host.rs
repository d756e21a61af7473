//! The rollouts controller, as far as it decides who loses requests: what it does with the answers of one reconcile
//! (`reconcileTrafficRouting` in `rollout/trafficrouting.go` of Argo Rollouts), and which Pods it lets go by the weights that it
//! recorded.

use super::super::gates::{NEW, OLD, update};
use super::super::*;

/// How late a host asks again, at most (`utils/queue/queue.go`), and when it does after "not verified".
const ASKS_AGAIN: Duration = Duration::from_secs(10);

/// What a reconcile came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reconcile {
    /// SetWeight failed: nothing is recorded, and no Pod is scaled.
    Stopped(String),
    /// The maximum weight is not verified: the host stops there, too.
    StoppedAtTheEnd,
    /// The weights are recorded, and Pods are scaled by them. A step ends if they are verified, or if nothing is said.
    GoesOn(Verification),
}

/// One Rollout's host, with its plugin.
pub(super) struct Host {
    pub(super) fake: Arc<Fake>,
    pub(super) router: Router,
    pub(super) rollout: Rollout,
}

impl Host {
    pub(super) fn new(fake: &Arc<Fake>, rollout: Rollout) -> Self {
        let router = router_with(Settings { settle: super::SETTLE, ..settings() }, fake);
        let host = Self { fake: Arc::clone(fake), router, rollout };
        host.publish();
        host
    }

    /// One reconcile that wants this weight for the canary.
    pub(super) async fn reconcile(&mut self, weight: i32) -> Reconcile {
        let (stable, canary) = (&self.rollout.status.stable_rs, &self.rollout.status.current_pod_hash);
        if self.rollout.status.abort || stable == canary {
            self.router.remove_managed_routes(&self.rollout);
        }
        self.router.update_hash(&self.rollout, canary, stable);
        if let Err(error) = self.router.set_weight(&self.rollout, weight.into(), &[]).await {
            return Reconcile::Stopped(error.to_string());
        }
        let verification = self.router.verify_weight(&self.rollout, weight.into(), &[]).await;
        if weight == 100 && verification == Verification::NotVerified {
            return Reconcile::StoppedAtTheEnd;
        }
        self.record(weight, verification);
        Reconcile::GoesOn(verification)
    }

    /// Reconciles as often as the host would, until one goes on and is verified. What each of the others came to.
    pub(super) async fn reconcile_until_verified(&mut self, weight: i32) -> Vec<Reconcile> {
        let mut before = Vec::new();
        loop {
            match self.reconcile(weight).await {
                Reconcile::GoesOn(Verification::Verified) => return before,
                other => before.push(other),
            }
            assert!(before.len() < 1000, "it never ends: {:?}", before.last());
            tokio::time::sleep(ASKS_AGAIN).await;
        }
    }

    /// How many of stable's ten Pods the host keeps by the weights that it recorded: with dynamicStableScale no more than their
    /// share of the traffic.
    pub(super) fn stable_pods(&self) -> usize {
        let dynamic = self.rollout.spec.strategy.canary.as_ref().unwrap().dynamic_stable_scale;
        let recorded = self.rollout.status.canary.weights.as_ref().filter(|_| dynamic);
        let share = recorded.map_or(100, |weights| weights.stable.weight);
        OLD.len() * usize::try_from(share).unwrap() / 100
    }

    /// The weights of a reconcile that goes on.
    pub(super) fn record(&mut self, weight: i32, verification: Verification) {
        let status = &mut self.rollout.status;
        let verified = match verification {
            Verification::Verified => Some(true),
            Verification::NotVerified => Some(false),
            Verification::Unknown => None,
        };
        let weights = json!({
            "canary": {"weight": weight, "podTemplateHash": status.current_pod_hash},
            "stable": {"weight": 100 - weight, "podTemplateHash": status.stable_rs}, "verified": verified,
        });
        status.canary.weights = serde_json::from_value(weights).unwrap();
        self.publish();
    }

    /// The Rollout is changed, by the host or by a person.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Rollout)) {
        change(&mut self.rollout);
        self.publish();
    }

    fn publish(&self) {
        let mut now = self.rollout.clone();
        let before =
            self.fake.rollout.borrow().as_ref().map_or(0, |old| old.metadata.resource_version.parse().unwrap());
        now.metadata.resource_version = (before + 1_u64).to_string();
        self.fake.rollout.send_replace(Some(now));
    }
}

/// Puts these keys into the plugin entry.
pub(super) fn configure(rollout: &mut Rollout, keys: &serde_json::Value) {
    edit_entry(rollout, |entry| {
        let entry = entry.as_object_mut().unwrap();
        entry.extend(keys.as_object().unwrap().clone());
        entry.retain(|_, value| !value.is_null());
    });
}

/// As `gates::update`, with ping-pong: `old` is stable in `pong`, and `new` is tried in `ping`, with its Pods in place. The rule
/// holds `ping`, then `pong`.
pub(super) fn ping_pong(dynamic: bool) -> (Arc<Fake>, Rollout) {
    let (_, mut rollout) = update(dynamic);
    let fake = Fake::new(&[("http", &[("ping", 0), ("pong", 100)])]);
    fake.select("web-pong", "old", OLD);
    fake.register("pong", OLD);
    fake.select("web-ping", "new", NEW);
    fake.register("ping", NEW);
    let services = json!({"pingService": "web-ping", "pongService": "web-pong"});
    rollout.spec.strategy.canary.as_mut().unwrap().ping_pong = serde_json::from_value(services).unwrap();
    let groups = json!({
        "pingTargetGroupArn": group("ping").as_str(), "pongTargetGroupArn": group("pong").as_str(),
        "stableTargetGroupArn": null, "canaryTargetGroupArn": null,
    });
    configure(&mut rollout, &groups);
    (fake, rollout)
}

/// An update whose new Pods are healthy targets, on these rules beside `http`.
pub(super) fn ready(dynamic: bool, further_rules: &[&str]) -> (Arc<Fake>, Rollout) {
    let (fake, mut rollout) = update(dynamic);
    fake.register("canary", NEW);
    let mut rules = vec![arn("http").as_str().to_owned()];
    for rule in further_rules {
        fake.set(rule, &[("stable", 100), ("canary", 0)]);
        rules.push(arn(rule).as_str().to_owned());
    }
    configure(&mut rollout, &json!({"ruleArns": rules}));
    (fake, rollout)
}

/// Looks every second, so many times. Made for `join!`.
pub(super) async fn every_second(seconds: usize, mut look: impl FnMut(usize)) {
    for second in 0..seconds {
        look(second);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
