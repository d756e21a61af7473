//! Each right in turn is missing.

use futures_util::stream::{self, StreamExt as _};

use super::*;

/// An API group and a resource, as a role names them.
type InRole = (&'static str, &'static str);

/// Which right is missing, and what role the words ask for. None where a shift does without.
const RIGHTS: [(Verb, &str, Option<InRole>); 13] = [
    (Verb::Get, "services", Some(("", "services"))),
    (Verb::List, "pods", Some(("", "pods"))),
    (Verb::List, "targetgroupbindings.elbv2.k8s.aws", Some(("elbv2.k8s.aws", "targetgroupbindings"))),
    (Verb::List, "ingresses", Some(("networking.k8s.io", "ingresses"))),
    (Verb::Get, "ingresses", Some(("networking.k8s.io", "ingresses"))),
    (Verb::Patch, "ingresses", Some(("networking.k8s.io", "ingresses"))),
    (Verb::List, "targetgroupbindings.eks.amazonaws.com", None),
    (Verb::Get, "rollouts", None),
    (Verb::Watch, "rollouts", None),
    (Verb::Patch, "rollouts", None),
    (Verb::Create, "events", None),
    (Verb::List, "nodes", None),
    (Verb::List, "replicasets", None),
];

async fn without(verb: Verb, resource: &str, needed: Option<InRole>) -> Result<()> {
    let world = World::open().await?;
    world.fault(verb, resource, Effect::Forbidden)?;
    let Some((group, plural)) = needed else {
        // The call is held for a while, so that the Rollout is watched.
        world.canary_pods_are_ready(false)?;
        let ready = async {
            world.until_asked("watch rollouts").await?;
            world.canary_pods_are_ready(true)
        };
        let (set, ready) = tokio::join!(world.set_weight(10), ready);
        ready?;
        set.with_context(|| world.story())?;
        ensure!(world.shares().await? == [split(10)], "{:?}", world.shares().await?);
        ensure!(world.action()? == Some(action(90, 10)));
        // What is put back is told, or would be.
        world.annotate(&format!("{PREFIX}/actions.web"), Some(&action(100, 0)))?;
        world.until_asked("create events").await?;
        // Nothing is written for a Rollout that cannot be read, unless a call says what it means.
        if (verb, resource) == (Verb::Get, "rollouts") {
            world.set_weight(10).await.with_context(|| world.story())?;
        }
        world.until_shares(&split(10)).await?;
        return Ok(());
    };
    let error = world.error(10).await?;
    ensure!(error.contains(&format!("cannot {verb} {plural} ")), "{error}");
    let role = format!("a role with apiGroups: [\"{group}\"], resources: [{plural}], verbs: [{verb}]");
    ensure!(error.contains(&role), "{error}");
    ensure!(world.shares().await? == [split(0)], "{:?}", world.shares().await?);
    ensure!(world.action()? == Some(action(100, 0)));
    // The same words from try to try.
    let again = world.error(10).await?;
    ensure!(again == error, "{again}\n{error}");

    world.server.faults().clear();
    world.set_weight(10).await.with_context(|| world.story())?;
    ensure!(world.shares().await? == [split(10)]);
    Ok(())
}

#[tokio::test]
async fn without_a_right_the_words_say_which_and_only_what_needs_it_stops() -> Result<()> {
    let tried = stream::iter(RIGHTS).map(|(verb, resource, needed)| async move {
        let error = without(verb, resource, needed).await.err()?;
        Some(format!("{verb} {resource}: {error:#}"))
    });
    let problems: Vec<String> = tried.buffer_unordered(13).filter_map(|problem| async { problem }).collect().await;
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    Ok(())
}
