//! Kubernetes is away, busy or forgetful for a while, or the plugin is.

use futures_util::future::join_all;

use super::*;

/// What a bad while begins and ends with.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Nobody listens.
    Gone,
    /// Every request is answered by 500.
    Broken,
}

impl World {
    async fn begin(&self, outage: Outage) -> Result<()> {
        match outage {
            Outage::Gone => self.server.faults().go_away().await,
            Outage::Broken => self.server.faults().add(Fault::everywhere(Effect::InternalError))?,
        }
        Ok(())
    }

    async fn end(&self, outage: Outage) {
        match outage {
            Outage::Gone => self.server.faults().come_back().await,
            Outage::Broken => self.server.faults().clear(),
        }
    }

    /// A new host with a new plugin, and the old one gone without a word.
    async fn restart(&mut self) -> Result<()> {
        self.host.sigkill().await?;
        self.host = start_host(&self.lab, &self.folder, BUDGET).await?;
        Ok(())
    }
}

async fn ends_after(outage: Outage, words: &str) -> Result<()> {
    let world = World::open().await?;
    world.set_weight(10).await?;

    // Before a shift: the words say what is wrong, and nothing is moved.
    world.begin(outage).await?;
    let error = world.error(60).await?;
    ensure!(error.contains(words), "{error}");
    ensure!(world.shares().await? == [split(10)]);
    world.end(outage).await;
    world.set_weight(60).await.with_context(|| world.story())?;
    ensure!(world.shares().await? == [split(60)] && world.action()? == Some(action(40, 60)));

    // In the middle of a hold: the call that waits gets there.
    world.canary_pods_are_ready(false)?;
    let trouble = async {
        world.until_asked("watch rollouts").await?;
        world.begin(outage).await?;
        world.canary_pods_are_ready(true)?;
        // It is told while it lasts, and by us alone.
        let line = world.host.log_line(&["the call is held", words, "weight=80"]).await?;
        ensure!(line.contains("rollout=shop/web"), "{line}");
        world.end(outage).await;
        anyhow::Ok(())
    };
    let (set, trouble) = tokio::join!(world.set_weight(80), trouble);
    trouble?;
    set.with_context(|| world.story())?;
    let errors: Vec<String> = world.host.log().into_iter().filter(|line| line.contains("[ERROR]")).collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    ensure!(world.shares().await? == [split(80)] && world.action()? == Some(action(20, 80)));
    ensure!(world.annotation("team")?.as_deref() == Some("checkout"));
    Ok(())
}

#[tokio::test]
async fn a_shift_ends_when_the_api_server_is_back() -> Result<()> {
    let (gone, broken) = tokio::join!(
        ends_after(Outage::Gone, "the API server could not be reached"),
        ends_after(Outage::Broken, "the API server answered 500"),
    );
    gone.context("gone")?;
    broken.context("broken")
}

/// The next attempt succeeds, and no call fails over it.
async fn once(verb: Verb, resource: &str, effect: Effect) -> Result<()> {
    let world = World::open().await?;
    world.server.faults().add(Fault::new(verb, resource, effect).times(1))?;
    world.set_weight(10).await.with_context(|| world.story())?;
    ensure!(world.server.faults().list().is_empty(), "nobody met it");
    ensure!(world.shares().await? == [split(10)] && world.action()? == Some(action(90, 10)));
    Ok(())
}

#[tokio::test]
async fn one_bad_answer_fails_no_call() -> Result<()> {
    let busy = Effect::TooManyRequests { retry_after_seconds: 60 };
    let cases = [
        (Verb::Patch, "ingresses", Effect::Conflict),
        (Verb::Patch, "ingresses", Effect::CutAfterEffect),
        (Verb::Patch, "ingresses", busy.clone()),
        (Verb::Get, "services", busy.clone()),
        (Verb::List, "pods", busy.clone()),
        (Verb::List, "targetgroupbindings.elbv2.k8s.aws", busy.clone()),
        (Verb::List, "targetgroupbindings.eks.amazonaws.com", busy.clone()),
        (Verb::List, "ingresses", busy),
    ];
    let tried = cases.map(|(verb, resource, effect)| async move {
        let error = once(verb, resource, effect.clone()).await.err()?;
        Some(format!("{effect:?} to {verb} {resource}: {error:#}"))
    });
    let problems: Vec<String> = join_all(tried).await.into_iter().flatten().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_cut_is_begun_again_and_sees_what_was_missed() -> Result<()> {
    let world = World::open().await?;
    world.canary_pods_are_ready(false)?;
    let trouble = async {
        world.until_asked("watch rollouts").await?;
        world.server.faults().go_away().await;
        // While nobody sees it, another version is wished.
        let spec = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:3"}]}}}});
        world.objects.merge_patch(Kind::ROLLOUT, "shop", "web", &spec)?;
        world.objects.forget_changes();
        world.server.faults().come_back().await;
        anyhow::Ok(())
    };
    let (error, trouble) = tokio::join!(world.error(10), trouble);
    trouble?;
    let error = error?;
    assert!(error.contains("the Rollout was changed while its weights were waited for"), "{error}");
    assert_eq!(world.shares().await?, [split(0)]);

    world.canary_pods_are_ready(true)?;
    world.set_weight(10).await.with_context(|| world.story())?;
    assert_eq!(world.shares().await?, [split(10)]);
    Ok(())
}

#[tokio::test]
async fn a_new_process_takes_an_update_over() -> Result<()> {
    let mut world = World::open().await?;
    world.set_weight(10).await?;
    // It ends in the middle of a hold.
    world.canary_pods_are_ready(false)?;
    {
        let held = world.set_weight(60);
        tokio::select! {
            ended = held => anyhow::bail!("it was not held: {ended:?}"),
            asked = world.until_asked("watch rollouts") => asked?,
        }
    }
    world.restart().await?;
    world.canary_pods_are_ready(true)?;
    world.set_weight(60).await.with_context(|| world.story())?;
    assert_eq!(world.shares().await?, [split(60)]);

    // It ends in the middle of nothing, and what was announced is followed already.
    world.restart().await?;
    world.set_weight(60).await.with_context(|| world.story())?;
    assert_eq!(world.host.verify_weight(&world.rollout()?, 60).await?, Some(true));
    assert_eq!((world.shares().await?, world.action()?), (vec![split(60)], Some(action(40, 60))));

    // It ends right after the announcement, before the controller has followed.
    world.controller.stop().await;
    let wished = split(80);
    {
        let held = world.set_weight(80);
        tokio::select! {
            ended = held => anyhow::bail!("it was not held: {ended:?}"),
            written = world.until_shares(&wished) => written?,
        }
    }
    world.restart().await?;
    world.controller.resume();
    world.set_weight(80).await.with_context(|| world.story())?;
    assert_eq!((world.shares().await?, world.action()?), (vec![split(80)], Some(action(20, 80))));
    Ok(())
}
