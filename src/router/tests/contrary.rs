//! What was seen once stands for a while, but not against what was seen since.

use super::*;

#[tokio::test(start_paused = true)]
async fn weights_that_somebody_else_changed_are_no_success_while_they_are_put_back() {
    let (fake, _) = two_rules();
    let (router, rollout) = (router(&fake), dynamic("web", &["http"]));
    fake.rollout.send_replace(Some(rollout.clone()));
    // The write that puts them back does not end.
    fake.hang_after("write http", 1);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    // The guard looks every few seconds, and has seen it by then.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(fake.events(), ["WeightsPutBack"]);
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    error_of(&router, &rollout, 10).await;
}
