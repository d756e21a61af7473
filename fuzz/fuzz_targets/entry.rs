//! A plugin's entry, and the Rollout around it. What was true, and what cannot be understood, is so when asked again.

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
        let [stable_service, canary_service] = fuzz::SERVICES.map(str::to_owned);
        rollout.spec.strategy.canary =
            Some(Canary { stable_service, canary_service, traffic_routing, ..Canary::default() });
    }
    fuzz::run(async {
        let router = fuzz::router();
        let ask = async || router.set_weight(&rollout, weight, &[]).await.map_err(|error| error.to_string());
        let (first, second) = (ask().await, ask().await);
        // What was waited for may have come meanwhile.
        let is_final = first.as_ref().err().is_none_or(|error| error.contains("plugin entry "));
        if is_final {
            assert_eq!(second, first);
        }
        let _ = router.verify_weight(&rollout, weight, &[]).await;
    });
});
