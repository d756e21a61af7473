//! Every situation that a host can be in, and how it is made to wait.

use super::*;

/// An update in its middle, with `dynamicStableScale` or without.
fn update(lets_stable_go: bool) -> Situation {
    Situation {
        promoted: false,
        aborted: false,
        lets_stable_go,
        maximum: false,
        has_steps: true,
        toward: Toward::Canary,
        stable_serves_all: false,
    }
}

fn promoted(stable_serves_all: bool) -> Situation {
    Situation { promoted: true, toward: Toward::Stable, stable_serves_all, ..update(true) }
}

/// The situations of a reconcile (`rollout/trafficrouting.go` of Argo Rollouts, `reconcileTrafficRouting`), each with what a
/// wait comes to.
#[test]
fn a_wait_ends_in_the_softest_way_that_is_safe() {
    use Answer::{BlockThenHard as Hard, BlockThenSoft as Soft};
    let down = |situation: Situation| Situation { toward: Toward::Stable, ..situation };
    let at_maximum = |situation: Situation| Situation { maximum: true, ..situation };
    let aborted = |situation: Situation| Situation { aborted: true, toward: Toward::Stable, ..situation };
    let unseen = |situation: Situation| Situation { toward: Toward::Nobody, ..situation };
    for (what, situation, expected) in [
        // With dynamicStableScale every success lets stable Pods go.
        ("a step up, dynamic", update(true), Hard),
        ("the last step, dynamic", at_maximum(update(true)), Hard),
        ("a step down, dynamic", down(update(true)), Hard),
        ("an abort, dynamic", aborted(update(true)), Hard),
        ("a rollback in mid-update, dynamic", down(update(true)), Hard),
        ("promote-full, dynamic", at_maximum(update(true)), Hard),
        // Without it a raise lets nobody go before the maximum.
        ("a step up", update(false), Soft),
        ("a step up whose rules nobody has seen", unseen(update(false)), Hard),
        ("the last step", at_maximum(update(false)), Hard),
        ("promote-full", at_maximum(update(false)), Hard),
        ("a step down: the canary is scaled down", down(update(false)), Hard),
        ("an abort: the canary is let go", aborted(update(false)), Hard),
        ("a new version while the canary group has the last one's weight", down(update(false)), Hard),
        // After a promotion nothing that stands for the stable version is let go.
        ("a promotion: the stable group waits for its pods", promoted(true), Soft),
        ("a promotion without dynamicStableScale", Situation { lets_stable_go: false, ..promoted(true) }, Soft),
        // With ping-pong the old version keeps its group and its Service until the weight has moved.
        ("ping-pong: roles have swapped and the old group still has weight", promoted(false), Hard),
        ("ping-pong: a rollback at weight 100", promoted(false), Hard),
        ("a promotion, and the next version has the canary Service already", promoted(false), Hard),
    ] {
        assert_eq!(set_weight(Stage::Underway, situation), expected, "{what}");
    }
}

#[test]
fn what_is_true_is_said_at_once_and_what_cannot_be_waited_for_too() {
    for situation in [update(true), update(false), promoted(true), promoted(false)] {
        assert_eq!(set_weight(Stage::Settled, situation), Answer::Success);
        // AWS does not answer: what was true and is still wished does not become an error for it.
        assert_eq!(set_weight(Stage::Unseen, situation), Answer::Success);
        assert_eq!(set_weight(Stage::Refused, situation), Answer::Failure);
        assert_eq!(set_weight(Stage::AwaitsHost, situation), Answer::Failure);
    }
}

#[test]
fn a_first_install_is_not_held_for_a_load_balancer_that_is_not_there() {
    assert_eq!(set_weight(Stage::NothingYet, promoted(true)), Answer::Soft);
    assert_eq!(set_weight(Stage::NothingYet, update(true)), Answer::Failure);
    assert_eq!(verify_weight(Stage::NothingYet, promoted(true)), Verification::NotVerified);
}

#[test]
fn verify_weight_says_no_only_where_the_host_survives_it_and_goes_on() {
    use Verification::{NotVerified, Unknown, Verified};
    let without_steps = Situation { has_steps: false, ..update(false) };
    let last = Situation { maximum: true, ..update(false) };
    let way_back = Situation { aborted: true, ..last };
    let rollback = Situation { toward: Toward::Stable, ..last };
    for (stage, situation, expected) in [
        (Stage::Settled, update(true), Verified),
        (Stage::Settled, without_steps, Verified),
        (Stage::Underway, update(false), NotVerified),
        (Stage::Underway, promoted(true), NotVerified),
        // It would dereference a step that is not there.
        (Stage::Underway, without_steps, Unknown),
        // A "no" at the maximum stops it before it scales: right for a raise, wrong where stable must grow.
        (Stage::Underway, last, NotVerified),
        (Stage::Underway, way_back, Unknown),
        (Stage::Underway, rollback, Unknown),
        // While AWS does not answer the last answer stands at rest, and no step ends on it.
        (Stage::Unseen, promoted(false), Verified),
        (Stage::Unseen, update(true), NotVerified),
    ] {
        assert_eq!(verify_weight(stage, situation), expected, "{stage:?} {situation:?}");
    }
}
