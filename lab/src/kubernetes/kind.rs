//! The kinds of objects that the lab knows.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Such as `argoproj.io`; empty for the core group.
    pub group: &'static str,
    /// Such as `v1alpha1`.
    pub version: &'static str,
    /// The plural in paths, such as `rollouts`.
    pub plural: &'static str,
    /// Such as `Rollout`.
    pub kind: &'static str,
    /// Objects of it live in namespaces.
    pub namespaced: bool,
    /// Its status is written through `/status` alone. Argo's AnalysisRuns and Experiments are the well-known kinds without
    /// one (argo-rollouts `manifests/crds/analysis-run-crd.yaml`, `experiment-crd.yaml`: `subresources: {}`).
    pub status_subresource: bool,
}

impl Kind {
    /// Pods.
    pub const POD: Self = Self::core("pods", "Pod");
    /// Services.
    pub const SERVICE: Self = Self::core("services", "Service");
    /// Nodes.
    pub const NODE: Self = Self { namespaced: false, ..Self::core("nodes", "Node") };
    /// Events.
    pub const EVENT: Self = Self { status_subresource: false, ..Self::core("events", "Event") };
    /// ReplicaSets.
    pub const REPLICA_SET: Self = Self::of("apps", "v1", "replicasets", "ReplicaSet");
    /// Ingresses.
    pub const INGRESS: Self = Self::of("networking.k8s.io", "v1", "ingresses", "Ingress");
    /// Rollouts.
    pub const ROLLOUT: Self = Self::of("argoproj.io", "v1alpha1", "rollouts", "Rollout");
    /// AnalysisRuns.
    pub const ANALYSIS_RUN: Self =
        Self { status_subresource: false, ..Self::of("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun") };
    /// Experiments.
    pub const EXPERIMENT: Self =
        Self { status_subresource: false, ..Self::of("argoproj.io", "v1alpha1", "experiments", "Experiment") };
    /// TargetGroupBindings of the AWS Load Balancer Controller.
    pub const TARGET_GROUP_BINDING: Self =
        Self::of("elbv2.k8s.aws", "v1beta1", "targetgroupbindings", "TargetGroupBinding");
    /// TargetGroupBindings of EKS Auto Mode.
    pub const AUTO_MODE_BINDING: Self =
        Self::of("eks.amazonaws.com", "v1", "targetgroupbindings", "TargetGroupBinding");

    /// All that the lab knows.
    pub const ALL: [Self; 11] = [
        Self::POD,
        Self::SERVICE,
        Self::NODE,
        Self::EVENT,
        Self::REPLICA_SET,
        Self::INGRESS,
        Self::ROLLOUT,
        Self::ANALYSIS_RUN,
        Self::EXPERIMENT,
        Self::TARGET_GROUP_BINDING,
        Self::AUTO_MODE_BINDING,
    ];

    const fn core(plural: &'static str, kind: &'static str) -> Self {
        Self::of("", "v1", plural, kind)
    }

    const fn of(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self { group, version, plural, kind, namespaced: true, status_subresource: true }
    }

    /// As in manifests: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As in the API server's messages: `pods`, `rollouts.argoproj.io`.
    pub(super) fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// As in the API server's messages: `Pod`, `Rollout.argoproj.io`.
    pub(super) fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Defined by a CustomResourceDefinition, not built into the API server.
    pub(super) fn is_custom(&self) -> bool {
        !matches!(self.group, "" | "apps" | "networking.k8s.io" | "events.k8s.io")
    }
}
