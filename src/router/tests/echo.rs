//! Beside somebody else who writes the same rules: announcements, the echo, the guard.

use super::gates::{NEW, update};
use super::*;

/// As [`update`], with ready Pods, on a rule that a load balancer controller keeps as the Ingress `web` says.
fn beside() -> (Arc<Fake>, Rollout, Router) {
    let (fake, mut rollout) = update(true);
    fake.register("canary", NEW);
    edit_entry(&mut rollout, |entry| entry["ingress"] = json!("web"));
    fake.rollout.send_replace(Some(rollout.clone()));
    let router = router_with(Settings { settle: Duration::from_secs(10), ..settings() }, &fake);
    (fake, rollout, router)
}

async fn follow_after(fake: &Fake, seconds: u64, weights: &[(&str, u32)]) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    fake.set("http", weights);
}

#[tokio::test(start_paused = true)]
async fn weights_are_announced_before_they_are_written_in_other_numbers_and_the_echo_is_awaited() {
    let (fake, rollout, router) = beside();
    let began = Instant::now();
    let ((), answer, written) = tokio::join!(
        follow_after(&fake, 20, &[("stable", 90), ("canary", 10)]),
        router.set_weight(&rollout, 10, &[]),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            fake.shares()
        }
    );
    answer.unwrap();
    assert_eq!((fake.announced(), written), (vec![vec![90, 10]], vec![("http", 180, 20)]));
    assert!((30..=33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let calls = fake.calls();
    let place = |wanted: &str| calls.iter().position(|call| call == wanted).unwrap();
    assert!(place("announce") < place("write http"), "{calls:?}");
    assert!(fake.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_write_that_comes_before_the_echo_is_put_back() {
    let (fake, rollout, router) = beside();
    let ((), answer) = tokio::join!(
        async {
            follow_after(&fake, 2, &[("stable", 100), ("canary", 0)]).await;
            follow_after(&fake, 20, &[("stable", 90), ("canary", 10)]).await;
        },
        router.set_weight(&rollout, 10, &[]),
    );
    answer.unwrap();
    assert_eq!((fake.shares(), fake.events()), (vec![("http", 90, 10)], vec!["WeightsPutBack"]));
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_was_there_first_is_not_waited_for() {
    let (fake, rollout, router) = beside();
    fake.put_back_after_write("http", &[("stable", 90), ("canary", 10)]);
    let began = Instant::now();
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(10), "the settle time alone");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_never_follows_ends_no_update() {
    let (fake, rollout, router) = beside();
    let began = Instant::now();
    let mut errors = Vec::new();
    while let Err(error) = router.set_weight(&rollout, 10, &[]).await {
        errors.push(error.to_string());
    }
    assert!((120..=124).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    errors.dedup();
    assert!(errors.len() == 1 && errors[0].contains("has not followed the Ingress web yet"), "{errors:?}");
    assert_eq!(fake.events(), ["IngressNotFollowed"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_given_up_does_not_wait_for_kubernetes() {
    let (fake, mut rollout, router) = beside();
    fake.set("http", &[("stable", 40), ("canary", 60)]);
    rollout.spec.strategy.canary.as_mut().unwrap().dynamic_stable_scale = false;
    rollout.status.abort = true;
    fake.rollout.send_replace(Some(rollout.clone()));
    fake.fail_always("announce", Fault::Transient);
    error_of(&router, &rollout, 0).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    fake.heal();
    let follow = follow_after(&fake, 10, &[("stable", 100), ("canary", 0)]);
    let ((), answer) = tokio::join!(follow, router.set_weight(&rollout, 0, &[]));
    answer.unwrap();
    // Anything else is announced first, or not written.
    let (fake, rollout, router) = beside();
    fake.fail_always("announce", Fault::Transient);
    error_of(&router, &rollout, 10).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn numbers_that_an_older_announcement_led_to_are_no_echo_of_a_newer_one() {
    let (fake, rollout, router) = beside();
    fake.set("http", &[("stable", 90), ("canary", 10)]);
    // They are there already, but who knows whether a run that read something else is still to write.
    let ((), answer, written) = tokio::join!(
        follow_after(&fake, 20, &[("stable", 90), ("canary", 10)]),
        router.set_weight(&rollout, 10, &[]),
        async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fake.shares()
        }
    );
    answer.unwrap();
    assert_eq!(written, [("http", 180, 20)]);
}

/// The first weights of an update are those that the last one ended with: the Ingress shows them, and whoever follows it has nothing
/// to follow.
#[tokio::test(start_paused = true)]
async fn what_the_ingress_shows_already_is_no_announcement_and_nobody_is_waited_for() {
    let (fake, rollout, router) = beside();
    fake.shows_announcements();
    let began = Instant::now();
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    // Another process told of the weights, and was gone before anybody followed.
    fake.set("http", &[("stable", 180), ("canary", 20)]);
    let ((), answer) =
        tokio::join!(follow_after(&fake, 20, &[("stable", 90), ("canary", 10)]), router.set_weight(&rollout, 10, &[]));
    answer.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(20), "{:?}", began.elapsed());
}
