//! Why there is no telling where a wish is to be true.

use super::rules::RulesError;
use crate::alb::{ArnError, RuleArn, TargetGroupArn};

/// Something is missing, unclear, or not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    #[error(
        "no TargetGroupBinding {what}binds a target group to Service {service}; the load balancer controller makes one for a Service \
         that an Ingress forwards to, and where Terraform owns the load balancer one is made by hand",
        what = if *narrowed { "of the servicePort and region in the plugin entry " } else { "" }
    )]
    Unbound { service: String, narrowed: bool },
    #[error("TargetGroupBinding {binding} names no target group yet; the load balancer controller fills it in")]
    NoGroup { binding: String },
    #[error("TargetGroupBinding {binding}: {error}")]
    BadGroup { binding: String, error: ArnError },
    #[error(
        "the load balancer controller made target group {group} for {what}, and would undo every weight that this plugin writes \
         there; route through an Ingress, or name a traffic router that writes {what}"
    )]
    OtherMaker { group: TargetGroupArn, what: &'static str },
    #[error(
        "the target groups of {services} have different owners: some TargetGroupBindings were made by the load balancer \
         controller, others by hand; both Services need one owner"
    )]
    Makers { services: String },
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(
        "rule {rule} is to carry traffic of Service {service}, and there is no target group of that Service for it; a \
         TargetGroupBinding is needed where no load balancer controller makes it"
    )]
    Further { service: String, rule: RuleArn },
    #[error(
        "target group {group} belongs to {owner}, says its tag {key}, and not to Services of namespace {namespace}; a Rollout may \
         only shift target groups of its own namespace"
    )]
    Foreign { group: String, key: String, owner: String, namespace: String },
    #[error(
        "target group {group} is bound by TargetGroupBinding {binding} too; a Rollout may only shift target groups of its own \
         namespace, so namespace {namespace} needs one of its own"
    )]
    Shared { group: TargetGroupArn, binding: String, namespace: String },
    #[error(
        "the load balancer controller owns {resource} (tag {key}: {stack}) and would put its own weights back, but the TargetGroupBindings \
         were made by hand; forward to the Services by name in Ingress {stack}, so that the controller binds them and this plugin \
         writes its annotation, or use a listener that is not the controller's"
    )]
    Owned { resource: String, key: String, stack: String },
    #[error(
        "target group {group} was made for an Ingress, and nothing says for which: {candidates} of namespace {namespace} could be \
         it; name it: ingress in the plugin entry"
    )]
    WhichIngress { group: String, candidates: String, namespace: String },
    #[error(
        "target group {group} was made for Ingress {made_for}, which is not among those that the plugin entry names (ingress, \
         ingresses); with dynamicStableScale stable's pods go away under it, so name it too, or leave the key out"
    )]
    OtherIngress { group: String, made_for: String },
    #[error(
        "Ingress {ingress} names the Services, and the load balancer controller has not made their target groups and rules yet; look \
         at its log and at the events of the Ingress if this stays so"
    )]
    NotFollowedYet { ingress: String },
    #[error(
        "the action {action} was added to Ingress {ingress}, and the load balancer controller has not followed yet"
    )]
    ActionMade { action: String, ingress: String },
    #[error("Service {service} does not exist yet, so that no Ingress may forward to it")]
    NoService { service: String },
    #[error(
        "Ingress {ingress} has a backend {action} with the port use-annotation and no action of that name; to make it the plugin must \
         know which port of Service {service} is meant, {ports}: servicePort in the plugin entry"
    )]
    WhichPort { ingress: String, action: String, service: String, ports: String },
    #[error(
        "Service {service} has no port that leads where port {port} of Service {stable} does; the rollouts controller gives an \
         experiment's Service the ports that its containers list, so list that one under ports"
    )]
    NoSamePort { service: String, stable: String, port: String },
    #[error(
        "action {action} of Ingress {ingress} forwards to Service {named} alone; add {other} to its target groups with weight 0, or \
         remove the annotation, so that the plugin makes it"
    )]
    OneServiceAlone { action: String, ingress: String, named: String, other: String },
}

/// What may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// It comes by itself, with the other manifests of the Rollout or when somebody follows.
    Time,
    /// Somebody must correct something.
    Somebody,
}

impl FindError {
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Unbound { .. }
            | Self::NoGroup { .. }
            | Self::NotFollowedYet { .. }
            | Self::ActionMade { .. }
            | Self::NoService { .. }
            | Self::Further { .. }
            | Self::Rules(RulesError::None { .. }) => Remedy::Time,
            Self::BadGroup { .. }
            | Self::OtherMaker { .. }
            | Self::Makers { .. }
            | Self::Rules(RulesError::StableAlone { .. } | RulesError::Ambiguous { .. })
            | Self::Foreign { .. }
            | Self::Shared { .. }
            | Self::Owned { .. }
            | Self::WhichIngress { .. }
            | Self::OtherIngress { .. }
            | Self::WhichPort { .. }
            | Self::NoSamePort { .. }
            | Self::OneServiceAlone { .. } => Remedy::Somebody,
        }
    }
}
