//! Brings the account to a model: target groups, load balancer, listeners, rules, bindings, in this order; removals come last.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::control_plane::model::shapes::Action;
use crate::control_plane::model::{Listener, Matcher, Rule, Tags, TargetGroup};
use crate::control_plane::operations::{
    CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, ModifyListener, ModifyRule, VPC,
};
use crate::kubernetes::{Cluster, Refusal};
use crate::load_balancer_controller::aws::{Aws, CallError, as_list};
use crate::load_balancer_controller::config::LbcConfig;
use crate::load_balancer_controller::group::GroupId;
use crate::load_balancer_controller::manifest::{self, Binding};
use crate::load_balancer_controller::model::{self, Arns, Model, WantedGroup, WantedListener};
use crate::load_balancer_controller::record::{Entry, weights};
use crate::load_balancer_controller::rules::{self, DesiredRule, same_actions};

/// One deployment of one group, with the target groups as they were at its start.
#[derive(Debug)]
pub(super) struct Deployment<'a> {
    aws: &'a Aws,
    cluster: &'a Cluster,
    group: &'a GroupId,
    config: &'a LbcConfig,
    existing: Vec<TargetGroup>,
}

/// Why a model could not be deployed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Cluster(#[from] Refusal),
    #[error("there is no target group {0}")]
    NoTargetGroup(String),
}

impl<'a> Deployment<'a> {
    pub(super) async fn begin(
        aws: &'a Aws,
        cluster: &'a Cluster,
        group: &'a GroupId,
        config: &'a LbcConfig,
    ) -> Result<Self, CallError> {
        Ok(Self { aws, cluster, group, config, existing: aws.target_groups().await? })
    }

    /// Makes and changes what the model wants. `before_write` is the time from the look at a listener's rules to their change.
    pub(super) async fn deploy(
        &self,
        model: &Model,
        entry: &Entry,
        before_write: impl Fn() -> Duration,
    ) -> Result<(), DeployError> {
        let arns = self.target_groups(model).await?;
        let load_balancer = self.load_balancer(model).await?;
        let existing = self.aws.listeners(&load_balancer).await?;
        let mut listeners = Vec::with_capacity(model.listeners.len());
        for wanted in &model.listeners {
            let found = existing.iter().find(|listener| listener.port == wanted.port);
            listeners.push((wanted, self.listener(&load_balancer, wanted, found, &arns).await?));
        }
        for unwanted in existing.iter().filter(|old| model.listeners.iter().all(|wanted| wanted.port != old.port)) {
            self.aws.delete_listener(&unwanted.arn).await?;
        }
        for (wanted, arn) in &listeners {
            self.rules(wanted, arn, &arns, entry, before_write()).await?;
        }
        for (resource, wanted) in &model.target_groups {
            if let Some(arn) = arns.by_resource.get(resource) {
                self.binding(wanted, arn)?;
            }
        }
        Ok(())
    }

    /// Removes the group's target groups that the model has no more, with their bindings.
    pub(super) async fn remove_unwanted(&self, model: &Model) -> Result<(), DeployError> {
        let names: BTreeSet<&str> = model.target_groups.values().map(|wanted| &*wanted.name).collect();
        for (namespace, name) in self.bindings() {
            if !names.contains(&*name) {
                self.cluster.delete(self.config.edition.binding_kind(), &namespace, &name)?;
            }
        }
        for unwanted in self.own_target_groups().filter(|group| !names.contains(&*group.name)) {
            self.aws.delete_target_group(&unwanted.arn).await?;
        }
        Ok(())
    }

    /// The group has no Ingress any more: removes all that it had.
    pub(super) async fn remove_all(&self) -> Result<(), DeployError> {
        for load_balancer in self.aws.load_balancers().await? {
            if self.owns(&load_balancer.tags) {
                self.aws.delete_load_balancer(&load_balancer.arn).await?;
            }
        }
        for (namespace, name) in self.bindings() {
            self.cluster.delete(self.config.edition.binding_kind(), &namespace, &name)?;
        }
        for group in self.own_target_groups() {
            self.aws.delete_target_group(&group.arn).await?;
        }
        Ok(())
    }

    async fn target_groups(&self, model: &Model) -> Result<Arns, DeployError> {
        let mut arns = Arns::default();
        arns.by_name.extend(self.existing.iter().map(|group| (group.name.clone(), group.arn.clone())));
        for (resource, wanted) in &model.target_groups {
            let found = self.own_target_groups().find(|group| group.name == wanted.name);
            let arn = match found {
                Some(group) => group.arn.clone(),
                None => self.aws.create_target_group(self.new_target_group(resource, wanted)).await?,
            };
            let set =
                |(key, value): (&String, &String)| found.and_then(|group| group.attributes.get(key)) == Some(value);
            if !wanted.attributes.iter().all(set) {
                self.aws.set_attributes(&arn, &wanted.attributes).await?;
            }
            arns.by_resource.insert(resource.clone(), arn);
        }
        Ok(arns)
    }

    fn new_target_group(&self, resource: &str, wanted: &WantedGroup) -> CreateTargetGroup {
        let check = &wanted.health_check;
        let codes = Some(check.codes.clone());
        let matcher = if wanted.protocol_version == "GRPC" {
            Matcher { http_code: None, grpc_code: codes }
        } else {
            Matcher { http_code: codes, grpc_code: None }
        };
        CreateTargetGroup {
            name: wanted.name.clone(),
            protocol: Some(wanted.protocol.clone()),
            protocol_version: Some(wanted.protocol_version.clone()),
            port: Some(wanted.target_port),
            vpc_id: Some(VPC.to_owned()),
            health_check_path: Some(check.path.clone()),
            health_check_interval_seconds: Some(check.interval),
            health_check_timeout_seconds: Some(check.timeout),
            healthy_threshold_count: Some(check.healthy),
            unhealthy_threshold_count: Some(check.unhealthy),
            matcher: Some(matcher),
            target_type: Some("ip".to_owned()),
            tags: as_list(&self.group.tags(self.config, resource)),
            ..CreateTargetGroup::default()
        }
    }

    async fn load_balancer(&self, model: &Model) -> Result<String, DeployError> {
        let existing = self.aws.load_balancers().await?;
        if let Some(found) = existing.into_iter().find(|load_balancer| self.owns(&load_balancer.tags)) {
            return Ok(found.arn);
        }
        let input = CreateLoadBalancer {
            name: model.load_balancer_name.clone(),
            subnets: vec!["subnet-0000000000000000a".to_owned(), "subnet-0000000000000000b".to_owned()],
            scheme: Some(model.scheme.clone()),
            tags: as_list(&self.group.tags(self.config, "LoadBalancer")),
            ..CreateLoadBalancer::default()
        };
        Ok(self.aws.create_load_balancer(input).await?)
    }

    async fn listener(
        &self,
        load_balancer: &str,
        wanted: &WantedListener,
        found: Option<&Listener>,
        arns: &Arns,
    ) -> Result<String, DeployError> {
        let default_actions = resolve(&wanted.default_actions, arns)?;
        let certificates: Vec<_> = wanted.certificate.iter().cloned().collect();
        let Some(found) = found else {
            let input = CreateListener {
                load_balancer_arn: load_balancer.to_owned(),
                protocol: Some(wanted.protocol),
                port: Some(wanted.port),
                certificates,
                default_actions,
                tags: as_list(&self.group.tags(self.config, &wanted.port.to_string())),
                ..CreateListener::default()
            };
            return Ok(self.aws.create_listener(input).await?);
        };
        let same = found.protocol == wanted.protocol
            && found.certificates.clone().unwrap_or_default() == certificates
            && same_actions(&default_actions, &found.default_actions);
        if !same {
            let input = ModifyListener {
                listener_arn: found.arn.clone(),
                protocol: Some(wanted.protocol),
                certificates,
                default_actions,
                ..ModifyListener::default()
            };
            self.aws.modify_listener(input).await?;
        }
        Ok(found.arn.clone())
    }

    async fn rules(
        &self,
        listener: &WantedListener,
        listener_arn: &str,
        arns: &Arns,
        entry: &Entry,
        before_write: Duration,
    ) -> Result<(), DeployError> {
        let desired = (1_u16..).zip(&listener.rules).map(|(priority, rule)| {
            Ok(DesiredRule {
                priority,
                conditions: rule.conditions.clone(),
                actions: resolve(&rule.actions, arns)?,
                transforms: rule.transforms.clone(),
                tags: self.group.tags(self.config, &format!("{}:{priority}", listener.port)),
            })
        });
        let desired = desired.collect::<Result<Vec<_>, DeployError>>()?;
        let observed = self.aws.rules(listener_arn).await?;
        let saw =
            observed.iter().filter(|rule| !rule.is_default).map(|rule| (rule.arn.clone(), weights(&rule.actions)));
        entry.described(listener_arn, saw.collect());
        let plan = rules::plan(&desired, &observed);
        if plan.is_empty() {
            return Ok(());
        }
        sleep(before_write).await;
        if !plan.reprioritise.is_empty() {
            self.aws.set_rule_priorities(&plan.reprioritise).await?;
            plan.reprioritise.iter().for_each(|(arn, _)| entry.wrote("SetRulePriorities", arn, &[]));
        }
        for (rule, wanted) in &plan.modify {
            self.aws.modify_rule(modification(rule, wanted)).await?;
            entry.wrote("ModifyRule", &rule.arn, &wanted.actions);
        }
        self.create_and_delete(&plan, listener_arn, entry).await?;
        for (rule, tags) in &plan.retag {
            self.aws.add_tags(&rule.arn, tags).await?;
        }
        Ok(())
    }

    /// New rules come before old ones go, so that no request meets neither; but a full listener must lose one first.
    async fn create_and_delete(
        &self,
        plan: &rules::Plan<'_>,
        listener_arn: &str,
        entry: &Entry,
    ) -> Result<(), DeployError> {
        let mut unknown = plan.delete.iter();
        for wanted in &plan.create {
            let arn = loop {
                let input = CreateRule {
                    listener_arn: listener_arn.to_owned(),
                    priority: wanted.priority,
                    conditions: wanted.conditions.clone(),
                    actions: wanted.actions.clone(),
                    transforms: wanted.transforms.clone(),
                    tags: as_list(&wanted.tags),
                };
                match self.aws.create_rule(input).await {
                    Ok(arn) => break arn,
                    Err(error) if error.is_too_many_rules() => {
                        let Some(rule) = unknown.next() else { return Err(error.into()) };
                        self.delete(rule, entry).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            entry.wrote("CreateRule", &arn, &wanted.actions);
        }
        for rule in unknown {
            self.delete(rule, entry).await?;
        }
        Ok(())
    }

    async fn delete(&self, rule: &Rule, entry: &Entry) -> Result<(), DeployError> {
        self.aws.delete_rule(&rule.arn).await?;
        entry.wrote("DeleteRule", &rule.arn, &[]);
        Ok(())
    }

    /// The binding of a target group: in the namespace of its Service, under the name of the target group.
    fn binding(&self, wanted: &WantedGroup, arn: &str) -> Result<(), Refusal> {
        let spec = json!({
            "ipAddressType": "ipv4",
            "serviceRef": {"name": wanted.service, "port": wanted.port},
            "targetGroupARN": arn,
            "targetGroupProtocol": wanted.protocol,
            "targetType": "ip",
            "vpcID": VPC,
        });
        let (kind, labels) = (self.config.edition.binding_kind(), self.labels());
        if self.cluster.get(kind, &wanted.namespace, &wanted.name).is_some() {
            let patch = json!({"metadata": {"labels": labels}, "spec": spec});
            self.cluster.merge_patch(kind, &wanted.namespace, &wanted.name, &patch)?;
        } else {
            let metadata = json!({"namespace": wanted.namespace, "name": wanted.name, "labels": labels});
            self.cluster.create(kind, json!({"metadata": metadata, "spec": spec}))?;
        }
        Ok(())
    }

    /// The bindings that were made for the group, by namespace and name.
    fn bindings(&self) -> Vec<(String, String)> {
        let labels = self.labels();
        let (objects, _) = self.cluster.list(self.config.edition.binding_kind(), None);
        let bindings = objects.iter().filter_map(|object| manifest::read::<Binding>("TargetGroupBinding", object).ok());
        let own = bindings.filter(|binding| includes(&binding.metadata.labels, &labels));
        own.map(|binding| (binding.metadata.namespace, binding.metadata.name)).collect()
    }

    fn labels(&self) -> Tags {
        self.group.labels(self.config.edition)
    }

    fn own_target_groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.existing.iter().filter(|group| self.owns(&group.tags))
    }

    fn owns(&self, tags: &Tags) -> bool {
        includes(tags, &self.group.stack_tags(self.config))
    }
}

/// Actions and conditions are replaced as a whole, transforms too: nothing of another writer stays.
fn modification(rule: &Rule, wanted: &DesiredRule) -> ModifyRule {
    ModifyRule {
        rule_arn: rule.arn.clone(),
        conditions: wanted.conditions.clone(),
        actions: wanted.actions.clone(),
        reset_transforms: wanted.transforms.is_empty().then_some(true),
        transforms: wanted.transforms.clone(),
    }
}

fn resolve(actions: &[model::WantedAction], arns: &Arns) -> Result<Vec<Action>, DeployError> {
    model::resolve(actions, arns).map_err(DeployError::NoTargetGroup)
}

fn includes(tags: &Tags, wanted: &Tags) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}
