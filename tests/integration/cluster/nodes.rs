//! Pods on Nodes that are not ready.

use anyhow::Result;
use lab::kubernetes::{Effect, Kind, Verb};
use serde_json::json;

use super::World;

impl World {
    fn node(&self, name: &str, ready: &str) -> Result<()> {
        let conditions = json!([{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}]);
        let node = json!({"metadata": {"name": name}, "spec": {}, "status": {"conditions": conditions}});
        self.objects.create(Kind::NODE, node)?;
        Ok(())
    }

    fn pod_on(&self, number: u8, node: &str) -> Result<()> {
        self.pod(number, "abc", true)?;
        let change = json!({"spec": {"nodeName": node}});
        self.objects.merge_patch(Kind::POD, "shop", &format!("web-{number}"), &change)?;
        Ok(())
    }

    async fn serving(&self) -> Result<Vec<String>> {
        Ok(self.backends().await?.pods.into_iter().map(|pod| pod.name).collect())
    }
}

#[tokio::test]
async fn pods_on_nodes_that_are_not_ready_are_not_expected() -> Result<()> {
    let world = World::new()?;
    for (number, node, ready) in [(1, "alive", "True"), (2, "dead", "Unknown"), (3, "sick", "False")] {
        world.node(node, ready)?;
        world.pod_on(number, node)?;
    }
    world.pod_on(4, "new")?;
    assert_eq!(world.serving().await?, ["web-1", "web-4"]);
    assert_eq!(world.serving().await?, ["web-1", "web-4"]);
    assert_eq!(world.asked("list nodes"), 1, "the answer is good for a while");
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.objects.merge_patch(Kind::NODE, "", "sick", &ready)?;
    world.later(31).await;
    assert_eq!(world.serving().await?, ["web-1", "web-3", "web-4"]);
    Ok(())
}

#[tokio::test]
async fn where_nodes_may_not_be_read_all_count_as_ready() -> Result<()> {
    for (effect, asked_after_a_minute) in
        [(Effect::Forbidden, 1), (Effect::InternalError, 2), (Effect::CutAfterEffect, 2)]
    {
        let world = World::new()?;
        world.node("dead", "Unknown")?;
        world.pod_on(1, "dead")?;
        world.fault(Verb::List, "nodes", effect)?;
        assert_eq!(world.serving().await?, ["web-1"]);
        assert_eq!(world.serving().await?, ["web-1"]);
        assert_eq!(world.asked("list nodes"), 1, "it is not asked again and again");
        world.later(60).await;
        world.backends().await?;
        assert_eq!(world.asked("list nodes"), asked_after_a_minute);
    }
    Ok(())
}
