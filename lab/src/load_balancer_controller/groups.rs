//! The ingress controller: one run brings the load balancer of one ingress group to what its Ingresses say.
//!
//! Steps and order are those of LBC controllers/ingress/group_controller.go and pkg/deploy/stack_deployer.go. What matters for
//! another writer: the annotations are read once, at the start; the rules of each listener are read later, right before they are
//! written; and the write replaces whatever differs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::kubernetes::{Cluster, Kind};
use crate::load_balancer_controller::annotations::BuildError;
use crate::load_balancer_controller::aws::{Aws, CallError};
use crate::load_balancer_controller::config::{Delay, LbcConfig};
use crate::load_balancer_controller::controller::Reconciler;
use crate::load_balancer_controller::deployment::{DeployError, Deployment};
use crate::load_balancer_controller::group::{self, GroupId};
use crate::load_balancer_controller::manifest::{self, Ingress, Malformed};
use crate::load_balancer_controller::model::{self, Model, Services};
use crate::load_balancer_controller::record::{Book, Entry};
use crate::load_balancer_controller::watch::Event;

/// A change of an Ingress or a Service in one of these leads to a run; its status does not.
const WATCHED: [&str; 3] = ["/metadata/annotations", "/metadata/deletionTimestamp", "/spec"];

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Group(GroupId),
    /// A group that exists only as the work that it makes.
    Neighbour(u16),
}

#[derive(Debug)]
pub(super) struct Groups {
    cluster: Cluster,
    aws: Arc<Aws>,
    config: Arc<LbcConfig>,
    book: Arc<Book>,
    rng: Mutex<Rng>,
    /// When the neighbours change for the first time.
    first_step: Instant,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the model cannot be built: {0}")]
    Build(#[from] BuildError),
    #[error("the model cannot be deployed: {0}")]
    Deploy(#[from] DeployError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Groups {
    pub(super) fn new(cluster: Cluster, aws: Arc<Aws>, config: Arc<LbcConfig>, book: Arc<Book>, mut rng: Rng) -> Self {
        let period = config.neighbours.map_or(Duration::ZERO, |neighbours| neighbours.period);
        let first_step = Instant::now() + Delay::from(Duration::ZERO..=period).draw(&mut rng);
        Self { cluster, aws, config, book, rng: Mutex::new(rng), first_step }
    }

    /// Everything that the model is made of, as it is now.
    fn load(&self, id: &GroupId) -> Result<(Vec<Ingress>, Services), RunError> {
        let class = &self.config.ingress_class;
        let (objects, _) = self.cluster.list(Kind::INGRESS, None);
        let of_group = objects.iter().filter(|object| GroupId::of_object(object, class).as_ref() == Some(id));
        let members = of_group.map(|object| manifest::read("Ingress", object)).collect::<Result<_, _>>()?;
        let mut services = Services::new();
        for object in self.cluster.list(Kind::SERVICE, None).0 {
            services.insert(manifest::key(&object), manifest::read("Service", &object)?);
        }
        Ok((group::sort(members)?, services))
    }

    fn model(&self, id: &GroupId) -> Result<Option<Model>, RunError> {
        let (members, services) = self.load(id)?;
        Ok(model::build(id, &members, &services, &self.config.cluster_name)?)
    }

    async fn deploy(&self, id: &GroupId, entry: &Entry) -> Result<(), RunError> {
        let model = self.model(id)?;
        entry.announced(model.iter().flat_map(|model| &model.announced).cloned().collect());
        self.before_rules().await;
        let deployment = Deployment::begin(&self.aws, &self.cluster, id, &self.config).await?;
        match model {
            None => deployment.remove_all().await?,
            Some(model) => {
                let before_write = || self.draw(self.config.before_write);
                deployment.deploy(&model, entry, before_write).await?;
                sleep(self.draw(self.config.after_rules)).await;
                deployment.remove_unwanted(&model).await?;
            }
        }
        Ok(())
    }

    /// A run of a group that is only there as work: the same calls without any effect.
    async fn neighbour(&self) -> Result<(), CallError> {
        self.before_rules().await;
        self.aws.target_groups().await?;
        self.aws.load_balancers().await?;
        for operation in ["DescribeListeners", "DescribeRules"] {
            self.aws.admitted(operation).await;
        }
        sleep(self.draw(self.config.before_write)).await;
        self.aws.admitted("ModifyRule").await;
        sleep(self.draw(self.config.after_rules)).await;
        Ok(())
    }

    async fn before_rules(&self) {
        sleep(self.draw(self.config.before_rules)).await;
        for _ in 0..self.config.other_calls {
            self.aws.admitted("DescribeTags").await;
        }
    }

    /// The time until all neighbours change again.
    fn next_step(&self) -> Option<Duration> {
        let now = Instant::now();
        let period = self.config.neighbours?.period;
        let since = now.checked_duration_since(self.first_step);
        let Some(since) = since else { return Some(self.first_step - now) };
        let into = since.as_nanos().checked_rem(period.as_nanos())?;
        Some(period.saturating_sub(Duration::from_nanos(u64::try_from(into).ok()?)))
    }

    fn draw(&self, delay: Delay) -> Duration {
        // A panic would have left the generator as it was, so it stays usable.
        delay.draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reconciler for Groups {
    type Key = Key;
    type Error = RunError;

    const KINDS: &'static [Kind] = &[Kind::INGRESS, Kind::SERVICE];

    fn all(&self) -> Vec<(Key, Duration)> {
        let (ingresses, _) = self.cluster.list(Kind::INGRESS, None);
        let groups = ingresses.iter().filter_map(|object| GroupId::of_object(object, &self.config.ingress_class));
        let groups = groups.map(|group| (Key::Group(group), Duration::ZERO));
        let step = self.next_step();
        let neighbours = self.config.neighbours.map_or(0, |neighbours| neighbours.groups);
        groups.chain((0..neighbours).filter_map(|number| Some((Key::Neighbour(number), step?)))).collect()
    }

    fn affected(&self, event: &Event) -> Vec<Key> {
        if !event.touches(&WATCHED) {
            return Vec::new();
        }
        let class = &self.config.ingress_class;
        if event.kind == Kind::INGRESS {
            // It may have left one group and joined another.
            return event.states().filter_map(|object| GroupId::of_object(object, class)).map(Key::Group).collect();
        }
        let Some((namespace, name)) = event.states().next().map(manifest::key) else { return Vec::new() };
        let (objects, _) = self.cluster.list(Kind::INGRESS, Some(&namespace));
        let ingresses = objects.iter().filter_map(|object| manifest::read::<Ingress>("Ingress", object).ok());
        let concerned = ingresses.filter(|ingress| group::references(ingress).contains(&name));
        concerned.filter_map(|ingress| GroupId::of(&ingress, class)).map(Key::Group).collect()
    }

    fn lag(&self) -> Duration {
        self.draw(self.config.lag)
    }

    async fn reconcile(&self, key: &Key, asked: Instant) -> Result<Option<Duration>, RunError> {
        match key {
            Key::Group(id) => {
                let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
                let entry = self.book.begin(id.to_string(), self.book.now_ms().saturating_sub(waited));
                let result = self.deploy(id, &entry).await;
                entry.end(result.as_ref().err().map(ToString::to_string));
                result.map(|()| None)
            }
            Key::Neighbour(_) => {
                self.neighbour().await?;
                Ok(self.next_step())
            }
        }
    }
}
