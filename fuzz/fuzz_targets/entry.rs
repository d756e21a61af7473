//! A plugin's entry, and the Rollout around it. Whatever they say, the answer is the same when asked twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trafficrouter_alb::rollout::{Canary, Rollout, TrafficRouting};

fuzz_target!(|input: (i64, Option<i32>, &[u8])| {
    let (weight, max_traffic_weight, bytes) = input;
    let mut rollout: Rollout = serde_json::from_slice(bytes).unwrap_or_default();
    if rollout.canary_routing().is_none() {
        rollout.metadata.namespace = fuzz::NAMESPACE.to_owned();
        let plugins = [("argoproj-labs/alb".to_owned(), bytes.to_vec())].into();
        let traffic_routing = Some(TrafficRouting { plugins, max_traffic_weight, ..TrafficRouting::default() });
        rollout.spec.strategy.canary = Some(Canary { traffic_routing, ..Canary::default() });
    }
    fuzz::run(async {
        let router = fuzz::router();
        let ask = async || router.set_weight(&rollout, weight, &[]).await.map_err(|error| error.to_string());
        let answer = ask().await;
        assert_eq!(ask().await, answer);
        let _ = router.verify_weight(&rollout, weight, &[]).await;
    });
});
