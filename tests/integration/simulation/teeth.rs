//! The simulation finds harm when something that prevents it is switched off. Otherwise its silence would say nothing.

use super::case::Without;
use super::first_failure;

/// Seeds within which the harm shows.
const SEEDS: u64 = 300;

fn harm_without(what: Without) -> String {
    let found = first_failure(0..SEEDS, what);
    found.unwrap_or_else(|| panic!("{SEEDS} seeds without {what:?}, and no harm")).1.to_string()
}

#[test]
fn without_the_rising_gate_traffic_comes_before_the_pods() {
    harm_without(Without::RisingGate);
}

#[test]
fn without_the_promotion_gate_the_promoted_version_is_not_in_its_group() {
    harm_without(Without::PromotionGate);
}

#[test]
fn without_settling_pods_go_while_nodes_still_need_them() {
    let harm = harm_without(Without::Settle);
    assert!(harm.starts_with("LetGo"), "{harm}");
}

#[test]
fn without_the_echo_an_older_write_needs_pods_that_have_gone() {
    let harm = harm_without(Without::Echo);
    assert!(harm.contains("an older write"), "{harm}");
}

#[test]
fn without_the_lock_one_rollout_undoes_anothers_weights() {
    let harm = harm_without(Without::Lock);
    assert!(harm.starts_with("Untouched"), "{harm}");
}

#[test]
fn without_fresh_observations_weights_are_confirmed_that_nobody_shows() {
    harm_without(Without::Freshness);
}
