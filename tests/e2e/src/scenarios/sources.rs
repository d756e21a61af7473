//! Where the rules come from: one update of a Rollout for each way in which load balancers are made and found.

use anyhow::ensure;
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;
use lab::kubernetes::Kind;
use lab::load_balancer_controller::{Edition, LbcConfig};
use lab::{JournalEntry, Role};
use serde_json::{Value, json};

use super::updates;
use crate::load_balancer::{self, Balancer};
use crate::objects::{self, ROOT, plugin};
use crate::rival::Rival;
use crate::rollouts::{PLUGIN, SCENARIO_PREFIX};
use crate::world::{STABLE_AND_CANARY, World};

const HTTP: &str = r#"[{"HTTP": 80}]"#;
const HTTP_AND_HTTPS: &str = r#"[{"HTTP": 80}, {"HTTPS": 443}]"#;

/// Who made the load balancer, and what the Rollout says about it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: &'static str,
    made_by: MadeBy,
    entry: Entry,
    /// The rollouts controller's own router writes the Ingress, and the plugin watches.
    observed: bool,
}

#[derive(Debug, Clone, Copy)]
enum MadeBy {
    /// The load balancer controller, from these Ingresses; each name with its `listen-ports`.
    Ingresses(&'static [(&'static str, &'static str)], Edition),
    /// Somebody who writes rules and bindings by hand, on two listeners.
    Hand(Kind),
    /// The same, with a listener that has no rule but its default action.
    DefaultAction(Family),
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Application,
    Network,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    /// `{}`.
    Empty,
    /// The Ingress is named.
    Ingress,
    /// Both groups are named.
    Groups,
    /// Both groups and the Ingress are named.
    GroupsAndIngress,
    /// A role is named, and the external id that it asks for.
    Role,
}

const ROLE: &str = "arn:aws:iam::111111111111:role/shift";

/// How STS calls who has assumed it, up to the session's name.
const ASSUMED: &str = "arn:aws:sts::111111111111:assumed-role/shift/";
const EXTERNAL_ID: &str = "e2e";

const ONE_INGRESS: MadeBy = MadeBy::Ingresses(&[(ROOT, HTTP)], Edition::StandAlone);
const BY_HAND: MadeBy = MadeBy::Hand(Kind::TARGET_GROUP_BINDING);

pub(super) const SOURCES: &[Source] = &[
    Source { name: "source_ingress", made_by: ONE_INGRESS, entry: Entry::Empty, observed: false },
    Source {
        name: "source_ingresses",
        made_by: MadeBy::Ingresses(&[(ROOT, HTTP_AND_HTTPS), ("internal", HTTP)], Edition::StandAlone),
        entry: Entry::Empty,
        observed: false,
    },
    Source { name: "source_ingress_named", made_by: ONE_INGRESS, entry: Entry::Ingress, observed: false },
    Source { name: "source_observe", made_by: ONE_INGRESS, entry: Entry::Empty, observed: true },
    Source {
        name: "source_auto_mode",
        made_by: MadeBy::Ingresses(&[(ROOT, HTTP)], Edition::AutoMode),
        entry: Entry::Empty,
        observed: false,
    },
    Source { name: "source_bindings", made_by: BY_HAND, entry: Entry::Empty, observed: false },
    Source {
        name: "source_bindings_auto_mode",
        made_by: MadeBy::Hand(Kind::AUTO_MODE_BINDING),
        entry: Entry::Empty,
        observed: false,
    },
    Source { name: "source_explicit", made_by: BY_HAND, entry: Entry::Groups, observed: false },
    Source { name: "source_explicit_ingress", made_by: ONE_INGRESS, entry: Entry::GroupsAndIngress, observed: false },
    Source { name: "source_role", made_by: BY_HAND, entry: Entry::Role, observed: false },
    Source {
        name: "source_default_action",
        made_by: MadeBy::DefaultAction(Family::Application),
        entry: Entry::Empty,
        observed: false,
    },
    Source {
        name: "source_network",
        made_by: MadeBy::DefaultAction(Family::Network),
        entry: Entry::Empty,
        observed: false,
    },
];

/// Every write to the rules was signed in the name of the role.
fn judge_roles(world: &World<'_>, balancers: &[Balancer]) -> anyhow::Result<()> {
    let journal = world.environment.lab.journal();
    let is_shift = |entry: &&JournalEntry| matches!(entry.operation.as_str(), "ModifyRule" | "ModifyListener");
    let rules = balancers.iter().flat_map(|balancer| &balancer.rules);
    for rule in rules {
        let shifts: Vec<_> = journal.iter().filter(is_shift).filter(|entry| entry.change(rule).is_some()).collect();
        ensure!(!shifts.is_empty(), "nobody wrote {rule}");
        for shift in shifts {
            let role = shift.assumed_role.as_deref().unwrap_or_default();
            ensure!(role.starts_with(ASSUMED), "{shift} was signed by {role:?}, not by {ASSUMED}");
        }
    }
    Ok(())
}

impl Source {
    /// Plays one update.
    pub(super) async fn play(&'static self, world: &World<'_>) -> anyhow::Result<()> {
        let edition = match self.made_by {
            MadeBy::Ingresses(_, edition) => edition,
            MadeBy::Hand(_) | MadeBy::DefaultAction(_) => Edition::StandAlone,
        };
        let rival = Rival::start(world, LbcConfig { edition, ..LbcConfig::idle(1) });
        rival.beside(self.play_beside(world, &rival)).await
    }

    async fn play_beside(&self, world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
        let lab = &world.environment.lab;
        lab.add_role(Role { arn: ROLE.to_owned(), external_id: Some(EXTERNAL_ID.to_owned()) })?;
        world.create_services(STABLE_AND_CANARY).await?;
        let balancers = self.make(world, rival).await?;
        let mut routing = plugin(PLUGIN, self.entry(&balancers));
        if self.observed {
            world.create_service(ROOT).await?;
            routing = objects::together(routing, objects::built_in());
        }
        let rollout = world.create_rollout(updates::web(routing)).await?;
        rollout.until_healthy_and_true().await?;
        if matches!(self.made_by, MadeBy::DefaultAction(Family::Network)) {
            // Its nodes split connections, which the lab's customers do not make.
            let end = updates::bring_version_2(&rollout).await?;
            for balancer in &balancers {
                updates::always_true(&world.history(balancer, STABLE_AND_CANARY, &end).await?)?;
            }
        } else {
            let played = updates::play(world, &rollout, &balancers).await?;
            if self.observed {
                // The built-in router sends all traffic to stable's group before it has the promoted pods, and who only looks on
                // cannot keep it from that.
                played.iter().try_for_each(|one| updates::always_true(&one.history))?;
            } else {
                updates::judge(world, &balancers, &played)?;
            }
        }
        if matches!(self.made_by, MadeBy::Ingresses(..)) && !self.observed {
            updates::judge_echoes(world, rival, updates::WEIGHTS.len())?;
            updates::judge_put_backs(world, rival)?;
        }
        if matches!(self.entry, Entry::Role) {
            judge_roles(world, &balancers)?;
        }
        let reasons = world.warning_reasons().await?;
        let expected = ["WeightsPutBack"];
        let others: Vec<_> = reasons.iter().filter(|reason| !expected.contains(&reason.as_str())).collect();
        ensure!(others.is_empty(), "there were warnings: {:#?}", world.warnings().await?);
        Ok(())
    }

    async fn make(&self, world: &World<'_>, rival: &Rival) -> anyhow::Result<Vec<Balancer>> {
        let client = || load_balancer::client(world.environment.lab.endpoint());
        let name = world.namespace.trim_start_matches(SCENARIO_PREFIX);
        match self.made_by {
            MadeBy::Ingresses(ingresses, _) => {
                let mut balancers = Vec::new();
                for (name, listen) in ingresses {
                    world.create_ingress(objects::ingress(name, STABLE_AND_CANARY, listen)).await?;
                    balancers.push(rival.balancer(world, name, STABLE_AND_CANARY).await?);
                }
                Ok(balancers)
            }
            MadeBy::Hand(kind) => {
                let balancer = Balancer::two_listeners(client(), name, world.environment.foreign).await?;
                world.create_bindings(kind, STABLE_AND_CANARY, &balancer).await?;
                Ok(vec![balancer])
            }
            MadeBy::DefaultAction(family) => {
                let family = match family {
                    Family::Application => LoadBalancerTypeEnum::Application,
                    Family::Network => LoadBalancerTypeEnum::Network,
                };
                let balancer = Balancer::default_action(client(), name, family).await?;
                world.create_bindings(Kind::TARGET_GROUP_BINDING, STABLE_AND_CANARY, &balancer).await?;
                Ok(vec![balancer])
            }
        }
    }

    fn entry(&self, balancers: &[Balancer]) -> Value {
        let groups = balancers.first().map(|first| (&first.stable, &first.canary));
        let named = |(stable, canary)| json!({ "stableTargetGroupArn": stable, "canaryTargetGroupArn": canary });
        let groups = match self.entry {
            Entry::Empty | Entry::Ingress | Entry::Role => None,
            Entry::Groups | Entry::GroupsAndIngress => groups.map(named),
        };
        let ingress = matches!(self.entry, Entry::Ingress | Entry::GroupsAndIngress);
        let ingress = ingress.then(|| json!({ "ingress": ROOT }));
        let role = matches!(self.entry, Entry::Role);
        let role = role.then(|| json!({ "assumeRoleArn": ROLE, "externalId": EXTERNAL_ID }));
        // Nobody checks the targets of a load balancer that the lab has no nodes for.
        let ungated = matches!(self.made_by, MadeBy::DefaultAction(Family::Network));
        let ungated = ungated.then(|| json!({ "gates": { "rising": false, "promotion": false } }));
        [groups, ingress, role, ungated].into_iter().flatten().fold(json!({}), objects::together)
    }
}
