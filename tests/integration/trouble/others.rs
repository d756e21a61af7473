//! Others write the Ingress, too: at the same time, over our weights, or after us.

use futures_util::future::join_all;

use super::*;

/// An action that forwards to one Service alone.
fn reset(service: &str) -> String {
    format!(
        r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{{"serviceName":"{service}","servicePort":"80","weight":100}}]}}}}"#
    )
}

impl World {
    /// Somebody writes another action, or takes it away, in the middle of an update at 10.
    async fn wipe(&self, action: Option<&str>) -> Result<()> {
        self.set_weight(10).await?;
        self.annotate(&format!("{PREFIX}/actions.web"), action)?;
        until("the controller has followed", || async { Ok(self.shares().await? != [split(10)]) }).await
    }

    /// The update goes on, whatever was in between.
    async fn goes_on(&self) -> Result<()> {
        self.set_weight(60).await.with_context(|| self.story())?;
        ensure!(self.shares().await? == [split(60)], "{:?}", self.shares().await?);
        let text = self.action()?.context("an action")?;
        let action: Value = serde_json::from_str(&text)?;
        let weight = |at: usize| action.pointer(&format!("/forwardConfig/targetGroups/{at}/weight")).cloned();
        ensure!((weight(0), weight(1)) == (Some(json!(40)), Some(json!(60))), "{text}");
        ensure!(self.annotation("team")?.as_deref() == Some("checkout"));
        Ok(())
    }
}

async fn comes_back(text: Option<&str>, may_tell: bool) -> Result<()> {
    let world = World::open().await?;
    if !may_tell {
        world.fault(Verb::Create, "events", Effect::Forbidden)?;
    }
    world.wipe(text).await?;
    // Nobody has to call for that.
    world.until_shares(&split(10)).await?;
    world.until_asked("create events").await?;
    let told = world.events("WeightsPutBack").len();
    ensure!(told == usize::from(may_tell), "told {told} times");
    world.goes_on().await
}

#[tokio::test]
async fn an_action_that_was_wiped_is_announced_again_and_told_once() -> Result<()> {
    let cases = [
        ("the author's text is applied again", Some(action(100, 0)), true),
        ("the author's text is applied again, and nothing may be told", Some(action(100, 0)), false),
        ("the action is reset to the root Service", Some(reset("web")), true),
        ("the annotation is taken away", None, true),
    ];
    let tried = cases.map(|(what, text, may_tell)| async move {
        let error = comes_back(text.as_deref(), may_tell).await.err()?;
        Some(format!("{what}: {error:#}"))
    });
    let problems: Vec<String> = join_all(tried).await.into_iter().flatten().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    Ok(())
}

/// A run that read the wiped action may still be on its way, so no Pod may go before the controller has followed again.
#[tokio::test]
async fn weights_that_were_put_back_wait_for_the_controller_again() -> Result<()> {
    let world = World::open().await?;
    world.wipe(Some(&action(100, 0))).await?;
    world.controller.stop().await;
    world.until_shares(&split(10)).await?;
    assert_eq!(world.action()?, Some(action(90, 10)));
    let mut call = Box::pin(world.set_weight(10));
    let early = timeout(Duration::from_secs(4), &mut call).await;
    assert!(early.is_err(), "it was answered before the controller has followed: {early:?}");
    world.controller.resume();
    call.await.with_context(|| world.story())?;
    world.goes_on().await
}

#[tokio::test]
async fn an_action_with_stable_alone_is_somebodys_wish_until_they_take_it_back() -> Result<()> {
    let world = World::open().await?;
    world.wipe(Some(&reset("web-stable"))).await?;
    world.until_asked("create events").await?;
    let error = world.error(10).await?;
    assert!(error.contains("action web of Ingress shop/web forwards to Service web-stable alone"), "{error}");
    assert!(error.contains("add web-canary to its target groups with weight 0, or remove the annotation"), "{error}");
    assert_eq!(world.action()?, Some(reset("web-stable")));
    world.annotate(&format!("{PREFIX}/actions.web"), Some(&action(100, 0)))?;
    world.goes_on().await
}

/// While our patch is on its way: another annotation, and another path.
#[tokio::test]
async fn what_others_write_at_the_same_time_stays() -> Result<()> {
    let world = World::open().await?;
    world.server.faults().add(Fault::new(Verb::Patch, "ingresses", Effect::Delay { ms: 300 }).times(1))?;
    let other = async {
        until("our patch is on its way", || async { Ok(world.server.faults().list().is_empty()) }).await?;
        let paths = json!([path("/cart"), path("/")]);
        let patch = json!({
            "metadata": {"annotations": {"team": "payment"}},
            "spec": {"rules": [{"http": {"paths": paths}}]},
        });
        world.objects.merge_patch(Kind::INGRESS, "shop", "web", &patch)?;
        anyhow::Ok(())
    };
    let (set, other) = tokio::join!(world.set_weight(10), other);
    other?;
    set.with_context(|| world.story())?;
    assert_eq!(world.annotation("team")?.as_deref(), Some("payment"));
    assert_eq!(world.action()?, Some(action(90, 10)));
    let both = ["/cart /cart/*: web-stable 90, web-canary 10", "/*: web-stable 90, web-canary 10"];
    until("both paths are divided", || async { Ok(world.shares().await? == both) })
        .await
        .with_context(|| world.story())?;
    world.set_weight(60).await.with_context(|| world.story())?;
    let both = ["/cart /cart/*: web-stable 40, web-canary 60", "/*: web-stable 40, web-canary 60"];
    assert_eq!(world.shares().await?, both);
    Ok(())
}

#[tokio::test]
async fn a_header_route_comes_and_goes_beside_what_others_write() -> Result<()> {
    let world = World::open().await?;
    world.set_weight(10).await?;
    let before = world.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
    world.server.faults().add(Fault::new(Verb::Patch, "ingresses", Effect::Delay { ms: 300 }).times(1))?;
    let other = async {
        until("our patch is on its way", || async { Ok(world.server.faults().list().is_empty()) }).await?;
        world.annotate("team", Some("payment"))
    };
    let header = json!({"headerName": "x-beta", "headerValue": {"exact": "1"}});
    let route = json!({"rollout": world.rollout()?, "headerRoute": {"name": "beta", "match": [header]}});
    let (made, other) = tokio::join!(world.host.call("SetHeaderRoute", route), other);
    other?;
    made.with_context(|| world.story())?;
    let shares = world.shares().await?;
    let [beta, rest] = shares.as_slice() else { anyhow::bail!("{shares:?}") };
    assert!(beta.contains("x-beta") && beta.ends_with(": web-canary 100"), "{beta}");
    assert_eq!(*rest, split(10));
    // A shift beside it leaves it alone.
    world.set_weight(60).await.with_context(|| world.story())?;
    assert_eq!(world.shares().await?, [beta.clone(), split(60)]);

    world.host.call("RemoveManagedRoutes", json!({"rollout": world.rollout()?})).await?;
    world.set_weight(80).await.with_context(|| world.story())?;
    assert_eq!(world.shares().await?, [split(80)], "{}", world.story());
    let after = world.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
    assert_eq!(after.get("spec"), before.get("spec"));
    assert_eq!(world.annotation("team")?.as_deref(), Some("payment"));
    assert_eq!(world.annotation(&format!("{PREFIX}/actions.beta"))?, None);
    Ok(())
}

/// What is applied at a first install, in its order.
#[derive(Clone, Copy, Debug)]
enum Part {
    Services,
    /// Without an action: the plugin makes it.
    Ingress,
    /// With one.
    IngressWithAction,
    Pods,
}

async fn first_install(order: [Part; 3]) -> Result<()> {
    let world = World::empty().await?;
    world.rollout_object("stable", "stable")?;
    // Nothing is there, and the host goes on.
    world.set_weight(0).await?;
    for part in order {
        match part {
            Part::Services => world.services()?,
            Part::Ingress => world.ingress(None)?,
            Part::IngressWithAction => world.ingress(Some(&action(100, 0)))?,
            Part::Pods => world.pods(true)?,
        }
        world.set_weight(0).await.with_context(|| format!("{part:?}: {}", world.story()))?;
    }
    let settled = || async {
        world.set_weight(0).await?;
        Ok(world.host.verify_weight(&world.rollout()?, 0).await? == Some(true))
    };
    until("the weight is verified", settled).await.with_context(|| world.story())?;
    ensure!(world.shares().await? == [split(0)], "{:?}", world.shares().await?);
    let action = world.action()?.context("an action")?;
    ensure!(action.contains("web-stable") && action.contains("web-canary"), "{action}");
    Ok(())
}

#[tokio::test]
async fn a_first_install_ends_whatever_comes_first() -> Result<()> {
    use Part::{Ingress, IngressWithAction, Pods, Services};
    let orders = [
        [Services, Ingress, Pods],
        [Ingress, Services, Pods],
        [Pods, Ingress, Services],
        [Services, Pods, IngressWithAction],
        [IngressWithAction, Services, Pods],
        [Pods, IngressWithAction, Services],
    ];
    let tried = orders.map(|order| async move {
        let error = first_install(order).await.err()?;
        Some(format!("{order:?}: {error:#}"))
    });
    let problems: Vec<String> = join_all(tried).await.into_iter().flatten().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    Ok(())
}
