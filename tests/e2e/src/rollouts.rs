//! The stock rollouts controller, set up as its project publishes it: CRDs, role, service account, ConfigMap.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::control_plane::{ControlPlane, Server, reserve};
use crate::line::Line;
use crate::process::Process;
use crate::tools::Tools;

/// The namespace of the controller.
const NAMESPACE: &str = "argo-rollouts";

/// What the ConfigMap calls the plugin, and Rollouts refer to.
pub(crate) const PLUGIN: &str = "argoproj-labs/alb";

/// The same plugin once more, as a process of its own that logs every call.
pub(crate) const TALKATIVE_PLUGIN: &str = "argoproj-labs/talkative";

/// The same plugin as a process of its own that holds calls for a short time only, so that what it answers then is seen.
pub(crate) const IMPATIENT_PLUGIN: &str = "argoproj-labs/impatient";

/// The same plugin as a process of its own that waits for the load balancer controller for a short time only.
pub(crate) const HASTY_PLUGIN: &str = "argoproj-labs/hasty";

/// How long that is.
const HASTY_ECHO_TIMEOUT: &str = "5s";

/// The label by which a Rollout names the instance of the controller that it is for.
pub(crate) const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// Namespaces of scenarios begin with this; the plugin lets only these name ARNs.
pub(crate) const SCENARIO_PREFIX: &str = "e2e-";

/// How long weights must stay true before pods may go: shorter than the default, so that scenarios do not last long.
const SETTLE: &str = "1s";

/// Calls that the plugin may hold at a time, and workers of the controller: enough that no scenario's call is turned
/// away because of the others.
const HELD_CALLS: u8 = 20;

/// How long a kind may take to be served after its definition was applied.
pub(crate) const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// The controller as it is installed in the cluster. Any number of its processes can be started.
#[derive(Debug)]
pub(crate) struct Installation {
    program: PathBuf,
    home: PathBuf,
    server: Server,
    token: String,
    aws: String,
}

impl Installation {
    /// Installs the controller, with `plugin` as its traffic router and `aws` as the endpoint of ELBv2.
    pub(crate) async fn new(
        tools: &Tools,
        home: &Path,
        control_plane: &ControlPlane,
        plugin: &Path,
        aws: &str,
    ) -> anyhow::Result<Self> {
        let client = &control_plane.client;
        install(client, &tools.rollouts_manifests).await?;
        configure(client, plugin).await?;
        Ok(Self {
            program: tools.rollouts_controller.clone(),
            home: home.join("rollouts"),
            server: control_plane.server.clone(),
            token: own_token(client).await?,
            aws: aws.to_owned(),
        })
    }

    /// Starts the controller for all Rollouts but those that name an instance.
    pub(crate) fn start(&self) -> anyhow::Result<Process> {
        self.launch("all", &[], &self.server)
    }

    /// Starts one for those Rollouts alone that name this instance, in a folder `run` of its own; behind a line, if there is one.
    pub(crate) fn start_instance(&self, instance: &str, run: &str, line: Option<&Line>) -> anyhow::Result<Process> {
        let mut server = self.server.clone();
        if let Some(line) = line {
            server.url = format!("https://{}", line.address);
        }
        self.launch(run, &[format!("--instance-id={instance}")], &server)
    }

    fn launch(&self, run: &str, more: &[String], server: &Server) -> anyhow::Result<Process> {
        let home = self.home.join(run);
        let kubeconfig = home.join("kubeconfig");
        fs::create_dir_all(&home)?;
        server.write_kubeconfig(&kubeconfig, &self.token)?;
        let arguments = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespace={NAMESPACE}"),
            "--leader-elect=false".to_owned(),
            format!("--rollout-threads={HELD_CALLS}"),
            format!("--metricsPort={}", reserve()?),
            format!("--healthzPort={}", reserve()?),
        ];
        // No region: the plugin must take it from the ARNs. Whatever secret is given, the lab takes it. The plugin comes to
        // the cluster as the controller does, so that the published role is all it may do either.
        let environment = [
            ("KUBECONFIG", kubeconfig.as_os_str()),
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", OsStr::new(&self.aws)),
            ("AWS_ENDPOINT_URL_STS", OsStr::new(&self.aws)),
            ("AWS_ACCESS_KEY_ID", OsStr::new("e2e")),
            ("AWS_SECRET_ACCESS_KEY", OsStr::new("e2e")),
            ("AWS_EC2_METADATA_DISABLED", OsStr::new("true")),
        ];
        let arguments = arguments.iter().chain(more);
        Process::start("rollouts-controller", &self.program, &home, arguments, &environment)
    }
}

/// Applies what the controller's project publishes: the CRDs, and the role with its account.
async fn install(client: &Client, manifests: &Path) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for entry in fs::read_dir(manifests.join("crds"))? {
        let path = entry?.path();
        if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.ends_with("-crd.yaml")) {
            names.push(apply(&definitions, &read(&path)?).await?);
        }
    }
    if names.is_empty() {
        bail!("no CRDs in {}", manifests.display());
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply(&Api::<Namespace>::all(client.clone()), &namespace).await?;
    let account = read(&manifests.join("base/argo-rollouts-sa.yaml"))?;
    apply(&Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE), &account).await?;
    let role = read(&manifests.join("role/argo-rollouts-clusterrole.yaml"))?;
    apply(&Api::<ClusterRole>::all(client.clone()), &role).await?;
    let binding = read(&manifests.join("cluster-install/argo-rollouts-clusterrolebinding.yaml"))?;
    apply(&Api::<ClusterRoleBinding>::all(client.clone()), &binding).await?;
    for name in names {
        let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        timeout(ESTABLISHED_WITHIN, established).await.with_context(|| format!("CRD {name} is not served"))??;
    }
    Ok(())
}

/// Names the plugin, as `deploy/argo-rollouts-config.yaml` does, and some times more for scenarios that want it otherwise.
async fn configure(client: &Client, plugin: &Path) -> anyhow::Result<()> {
    let location = format!("file://{}", plugin.display());
    let [allow, allow_role] =
        ["elasticloadbalancing:*", "iam::*"].map(|arns| format!("{SCENARIO_PREFIX}*=arn:aws:{arns}"));
    let held = HELD_CALLS.to_string();
    // Dozens of Rollouts at once are no account that is short of writes.
    let writes = ["--modify-rate", "50", "--modify-burst", "500"];
    let args =
        [&["--allow", &allow, "--allow", &allow_role, "--settle", SETTLE, "--max-held", &held][..], &writes].concat();
    let talkative = [&args[..], &["--log-level", "debug"]].concat();
    let impatient = [&args[..], &["--block-budget", "1s"]].concat();
    let hasty = [&args[..], &["--echo-timeout", HASTY_ECHO_TIMEOUT]].concat();
    let plugins = json!([
        { "name": PLUGIN, "location": location, "args": args },
        { "name": TALKATIVE_PLUGIN, "location": location, "args": talkative },
        { "name": IMPATIENT_PLUGIN, "location": location, "args": impatient },
        { "name": HASTY_PLUGIN, "location": location, "args": hasty },
    ]);
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "argo-rollouts-config", "namespace": NAMESPACE },
        // JSON is YAML.
        "data": { "trafficRouterPlugins": plugins.to_string() },
    });
    apply(&Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE), &config).await?;
    Ok(())
}

/// A token of the controller's own service account, so that its published role is all it may do.
async fn own_token(client: &Client) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } }))?;
    let granted = accounts.create_token_request("argo-rollouts", &PostParams::default(), &request).await?;
    Ok(granted.status.context("the API server granted no token")?.token)
}

/// Server-side apply: the CRDs are too large for the annotation of the client-side one.
async fn apply<K>(api: &Api<K>, manifest: &Value) -> anyhow::Result<String>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let name = manifest.pointer("/metadata/name").and_then(Value::as_str).context("a manifest has no name")?;
    let parameters = PatchParams::apply("e2e").force();
    let applied = api.patch(name, &parameters, &Patch::Apply(manifest)).await;
    applied.with_context(|| format!("cannot apply {name}"))?;
    Ok(name.to_owned())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}
