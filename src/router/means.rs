//! What the shifts of all Rollouts share.

use std::sync::Arc;

use super::Settings;
use super::locks::RuleLocks;
use super::wish::Wish;
use crate::alb::LoadBalancer;
use crate::cluster::Cluster;

/// What all shifts work with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) settings: Arc<Settings>,
    pub(super) balancer: Arc<dyn LoadBalancer>,
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) locks: Arc<RuleLocks>,
}

impl Means {
    /// The load balancer, in the name of whom the wish is to be carried out.
    pub(super) fn balancer_for(&self, wish: &Wish) -> Arc<dyn LoadBalancer> {
        let balancer = Arc::clone(&self.balancer);
        match &wish.role {
            Some(role) => balancer.assuming(role),
            None => balancer,
        }
    }
}
