//! A plugin that starts anew beside a Rollout at rest.

use super::*;

/// The host never recorded the weights as verified: 1.10.2 does not after a first install, nor does the built-in router. They
/// settle first, but nobody is told of an error at rest, however short a call may be held.
#[tokio::test]
async fn a_rollout_at_rest_is_no_error_while_its_weights_settle() -> Result<()> {
    let world = World::open().await?;
    let recorded = json!({"weights": {"canary": {"weight": 0}, "stable": {"weight": 100}, "verified": false}});
    let canary = json!({"trafficRouting": {"plugins": {host::PLUGIN: {"settleSeconds": 60}}}});
    let patch = json!({
        "spec": {"strategy": {"canary": canary}},
        "status": {"currentPodHash": "stable", "canary": recorded},
    });
    world.objects.merge_patch(Kind::ROLLOUT, "shop", "web", &patch)?;
    let anew = start_host(&world.lab, &world.folder, "2s").await?;
    // With ping-pong the other Service stays with the last version.
    for canary in ["stable", "before"] {
        let selector = json!({"spec": {"selector": {HASH: canary}}});
        world.objects.merge_patch(Kind::SERVICE, "shop", "web-canary", &selector)?;
        // The second call joins what the first one began.
        for _ in 0..2 {
            anew.set_weight(&world.rollout()?, 0).await.with_context(|| anew.log().join("\n"))?;
            ensure!(anew.verify_weight(&world.rollout()?, 0).await? == Some(false), "they have not settled");
        }
    }
    // Whoever is reached by the Service that has the traffic may be told to go by a success.
    let selector = json!({"spec": {"selector": {HASH: "before"}}});
    world.objects.merge_patch(Kind::SERVICE, "shop", "web-stable", &selector)?;
    let refused = anew.set_weight(&world.rollout()?, 0).await.err().context("old Pods have all the traffic")?;
    ensure!(refused.to_string().contains("they must stay true for 60 s"), "{refused}");
    Ok(())
}
