//! The binding controller: registers the Pods of a Service in the target group that a TargetGroupBinding names.
//!
//! It knows nothing of Ingresses, so it serves bindings that people or Terraform made too. As LBC
//! pkg/targetgroupbinding/resource_manager.go: a binding owns its target group's content, what does not belong is deregistered
//! first, then what lacks is registered; nothing is done while the Pods are the same as the last time. Left out: instance
//! targets, `multiClusterTargetGroup`, readiness gates, the check-up of unchanged bindings after half an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::control_plane::model::targets::Target;
use crate::kubernetes::{Cluster, Kind};
use crate::load_balancer_controller::aws::{Aws, CallError};
use crate::load_balancer_controller::config::{Delay, LbcConfig};
use crate::load_balancer_controller::controller::Reconciler;
use crate::load_balancer_controller::manifest::{self, Binding, Malformed, Node, Pod, Service};
use crate::load_balancer_controller::record::{BindingRecord, Book};
use crate::load_balancer_controller::targets::{self, Targets};
use crate::load_balancer_controller::watch::Event;

/// Both API groups: of the stand-alone controller, and of EKS Auto Mode.
const BINDING_KINDS: [Kind; 2] = [Kind::TARGET_GROUP_BINDING, Kind::AUTO_MODE_BINDING];

/// Kind, namespace and name of a binding.
pub(super) type Key = (Kind, String, String);

/// What was done for each binding. The real controller keeps it on the binding, as an annotation and a finalizer.
pub(super) type Checkpoints = Mutex<BTreeMap<Key, Checkpoint>>;

#[derive(Debug)]
pub(super) struct Checkpoint {
    group_arn: String,
    /// The targets that are registered; unknown while they are being changed.
    targets: Option<Targets>,
}

#[derive(Debug)]
pub(super) struct Bindings {
    cluster: Cluster,
    aws: Arc<Aws>,
    lag: Delay,
    rng: Mutex<Rng>,
    checkpoints: Arc<Checkpoints>,
    book: Arc<Book>,
}

/// Why a binding could not be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindingError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("TargetGroupBinding {0} names no target group that exists")]
    NoTargetGroup(String),
    #[error("TargetGroupBinding {0}: the lab does not model targetType '{1}', only 'ip'")]
    NotIp(String, String),
}

impl Bindings {
    pub(super) fn new(
        cluster: Cluster,
        aws: Arc<Aws>,
        config: &LbcConfig,
        checkpoints: Arc<Checkpoints>,
        book: Arc<Book>,
        rng: Rng,
    ) -> Self {
        Self { cluster, aws, lag: config.registration_lag, rng: Mutex::new(rng), checkpoints, book }
    }

    async fn serve(&self, key: &Key, binding: &Binding) -> Result<(), BindingError> {
        let name = || binding.metadata.full_name();
        if let Some(other) = binding.spec.target_type.clone().filter(|kind| kind != "ip") {
            return Err(BindingError::NotIp(name(), other));
        }
        let group_arn = self.group_arn(binding).await?.ok_or_else(|| BindingError::NoTargetGroup(name()))?;
        let wanted = self.wanted(binding)?;
        let checkpoint = |targets| Checkpoint { group_arn: group_arn.clone(), targets };
        {
            let mut checkpoints = self.checkpoints();
            let last = checkpoints.get(key);
            if last.is_some_and(|last| last.group_arn == group_arn && last.targets.as_ref() == Some(&wanted)) {
                return Ok(());
            }
            // Whatever happens from here on, the next run must look again.
            checkpoints.insert(key.clone(), checkpoint(None));
        }
        let registered: Targets = self.aws.targets(&group_arn).await?.into_iter().collect();
        let surplus: Vec<Target> = registered.difference(&wanted).cloned().collect();
        if !surplus.is_empty() {
            self.aws.deregister_targets(&group_arn, &surplus).await?;
        }
        let lacking: Vec<Target> = wanted.difference(&registered).cloned().collect();
        if !lacking.is_empty() {
            self.aws.register_targets(&group_arn, &lacking).await?;
        }
        self.record(key, &group_arn, &surplus, &lacking);
        self.checkpoints().insert(key.clone(), checkpoint(Some(wanted)));
        Ok(())
    }

    /// The binding is gone: takes all targets out of its group, if that is still there.
    async fn release(&self, key: &Key) -> Result<(), CallError> {
        let Some(group_arn) = self.checkpoints().get(key).map(|last| last.group_arn.clone()) else { return Ok(()) };
        match self.empty(&group_arn).await {
            Ok(targets) => self.record(key, &group_arn, &targets, &[]),
            Err(error) if error.is_target_group_not_found() => {}
            Err(error) => return Err(error),
        }
        self.checkpoints().remove(key);
        Ok(())
    }

    async fn empty(&self, group_arn: &str) -> Result<Vec<Target>, CallError> {
        let targets = self.aws.targets(group_arn).await?;
        if !targets.is_empty() {
            self.aws.deregister_targets(group_arn, &targets).await?;
        }
        Ok(targets)
    }

    fn record(&self, key: &Key, group_arn: &str, deregistered: &[Target], registered: &[Target]) {
        let addresses =
            |targets: &[Target]| targets.iter().map(|target| format!("{}:{}", target.id, target.port)).collect();
        if !deregistered.is_empty() || !registered.is_empty() {
            self.book.add_binding(BindingRecord {
                group_arn: group_arn.to_owned(),
                deregistered: addresses(deregistered),
                registered: addresses(registered),
                ..self.new_record(key)
            });
        }
    }

    fn new_record(&self, (_, namespace, name): &Key) -> BindingRecord {
        BindingRecord { binding: format!("{namespace}/{name}"), ms: self.book.now_ms(), ..BindingRecord::default() }
    }

    async fn group_arn(&self, binding: &Binding) -> Result<Option<String>, CallError> {
        if binding.spec.target_group_arn.is_some() {
            return Ok(binding.spec.target_group_arn.clone());
        }
        let Some(name) = &binding.spec.target_group_name else { return Ok(None) };
        let groups = self.aws.target_groups().await?;
        Ok(groups.into_iter().find(|group| group.name == *name).map(|group| group.arn))
    }

    fn wanted(&self, binding: &Binding) -> Result<Targets, Malformed> {
        let namespace = &binding.metadata.namespace;
        let service = self.cluster.get(Kind::SERVICE, namespace, &binding.spec.service_ref.name);
        let service = service.map(|object| manifest::read::<Service>("Service", &object)).transpose()?;
        let (pods, _) = self.cluster.list(Kind::POD, Some(namespace));
        let pods = pods.iter().map(|object| manifest::read("Pod", object)).collect::<Result<Vec<Pod>, _>>()?;
        let mut nodes = BTreeMap::new();
        for object in self.cluster.list(Kind::NODE, None).0 {
            nodes.insert(manifest::key(&object).1, manifest::read::<Node>("Node", &object)?);
        }
        Ok(targets::wanted(binding, service.as_ref(), &pods, &nodes))
    }

    /// The bindings of a namespace, with what they say. Those that cannot be read have no Service that could change.
    fn in_namespace(&self, namespace: &str) -> Vec<(Key, Binding)> {
        let mut bindings = Vec::new();
        for kind in BINDING_KINDS {
            for object in self.cluster.list(kind, Some(namespace)).0 {
                let (namespace, name) = manifest::key(&object);
                let binding = manifest::read("TargetGroupBinding", &object);
                bindings.extend(binding.ok().map(|binding| ((kind, namespace, name), binding)));
            }
        }
        bindings
    }

    /// The Service that the binding names selects the Pod, as it was or as it is.
    fn concerns(&self, binding: &Binding, pods: &[Pod]) -> bool {
        let service = self.cluster.get(Kind::SERVICE, &binding.metadata.namespace, &binding.spec.service_ref.name);
        let service = service.and_then(|object| manifest::read::<Service>("Service", &object).ok());
        service.is_some_and(|service| pods.iter().any(|pod| service.selects(&pod.metadata.labels)))
    }

    /// A panic would have left the checkpoints as they were, so they stay usable.
    fn checkpoints(&self) -> MutexGuard<'_, BTreeMap<Key, Checkpoint>> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reconciler for Bindings {
    type Key = Key;
    type Error = BindingError;

    const KINDS: &'static [Kind] = &[Kind::POD, Kind::SERVICE, Kind::TARGET_GROUP_BINDING, Kind::AUTO_MODE_BINDING];

    fn all(&self) -> Vec<(Key, Duration)> {
        // Those that were served and are gone must be released.
        let mut keys: Vec<Key> = self.checkpoints().keys().cloned().collect();
        for kind in BINDING_KINDS {
            let (objects, _) = self.cluster.list(kind, None);
            keys.extend(
                objects.iter().map(|object| manifest::key(object)).map(|(namespace, name)| (kind, namespace, name)),
            );
        }
        keys.into_iter().map(|key| (key, Duration::ZERO)).collect()
    }

    fn affected(&self, event: &Event) -> Vec<Key> {
        let Some((namespace, name)) = event.states().next().map(manifest::key) else { return Vec::new() };
        if BINDING_KINDS.contains(&event.kind) {
            let changed = event.touches(&["/spec"]);
            return changed.then_some((event.kind, namespace, name)).into_iter().collect();
        }
        let pods: Vec<Pod> = event.states().filter_map(|object| manifest::read("Pod", object).ok()).collect();
        let concerned = self.in_namespace(&namespace).into_iter().filter(|(_, binding)| {
            if event.kind == Kind::SERVICE {
                binding.spec.service_ref.name == name
            } else {
                self.concerns(binding, &pods)
            }
        });
        concerned.map(|(key, _)| key).collect()
    }

    fn lag(&self) -> Duration {
        // A panic would have left the generator as it was, so it stays usable.
        self.lag.draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reconcile(&self, key: &Key, _asked: Instant) -> Result<Option<Duration>, BindingError> {
        let (kind, namespace, name) = key;
        let result = match self.cluster.get(*kind, namespace, name) {
            Some(object) => match manifest::read("TargetGroupBinding", &object) {
                Ok(binding) => self.serve(key, &binding).await,
                Err(error) => Err(error.into()),
            },
            None => self.release(key).await.map_err(BindingError::from),
        };
        if let Err(error) = &result {
            self.book.add_binding(BindingRecord { failure: Some(error.to_string()), ..self.new_record(key) });
        }
        result.map(|()| None)
    }
}
