//! etcd, kube-apiserver and kube-controller-manager, on loopback, in one folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

mod ports;
mod server;

use crate::process::Process;
use crate::tools::Tools;
pub(crate) use ports::reserve;
pub(crate) use server::Server;

/// How long the API server may take until it says that it is ready. It took 4 to 6 s on two idle cores.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What the API server writes down: every change of what the rollouts controller decides, and the coming and going of
/// Pods, with the time at which the request came in and the object that it made.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules:
  - level: RequestResponse
    verbs: [create, update, patch]
    resources:
      - { group: argoproj.io, resources: [rollouts, rollouts/status] }
      - { group: apps, resources: [replicasets] }
      - { group: "", resources: [services] }
  - level: RequestResponse
    verbs: [patch, delete]
    resources:
      - { group: "", resources: [pods, pods/status] }
  - level: None
"#;

/// A running control plane.
pub(crate) struct ControlPlane {
    /// May do everything.
    pub(crate) client: Client,
    pub(crate) server: Server,
    /// The API server's record of what was changed when.
    pub(crate) audit_log: PathBuf,
    /// etcd, kube-apiserver, kube-controller-manager.
    pub(crate) processes: [Process; 3],
}

impl ControlPlane {
    /// Starts it in the folder `home`, and returns when the API server is ready.
    pub(crate) async fn start(tools: &Tools, home: &Path) -> anyhow::Result<Self> {
        let home = home.join("control-plane");
        let admin = home.join("admin.kubeconfig");
        let audit_log = home.join("audit.log");
        std::fs::create_dir_all(&home)?;
        let (etcd, etcd_url) = start_etcd(tools, &home)?;
        let (api, server) = start_api_server(tools, &home, &etcd_url, &admin, &audit_log)?;
        let client = tokio::select! {
            client = timeout(READY_WITHIN, ready(&admin, &server)) => {
                client.with_context(|| format!("kube-apiserver was not ready within {READY_WITHIN:?}"))?
            }
            error = etcd.ended() => return Err(error),
            error = api.ended() => return Err(error),
        };
        let manager = start_controller_manager(tools, &home, &admin)?;
        Ok(Self { client, server, audit_log, processes: [etcd, api, manager] })
    }
}

fn start_etcd(tools: &Tools, home: &Path) -> anyhow::Result<(Process, String)> {
    let clients = format!("http://127.0.0.1:{}", reserve()?);
    let peers = format!("http://127.0.0.1:{}", reserve()?);
    let arguments = [
        "--data-dir=etcd-data".to_owned(),
        // The data does not outlive the run.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ];
    Ok((Process::start("etcd", &tools.etcd, home, arguments, &[])?, clients))
}

fn start_api_server(
    tools: &Tools,
    home: &Path,
    etcd: &str,
    admin: &Path,
    audit_log: &Path,
) -> anyhow::Result<(Process, Server)> {
    let port = reserve()?;
    let policy = home.join("audit-policy.yaml");
    let tokens = home.join("tokens.csv");
    let certificates = home.join("certificates");
    let token = secret()?;
    std::fs::write(&policy, AUDIT_POLICY)?;
    std::fs::write(&tokens, format!("{token},harness,harness,\"system:masters\"\n"))?;
    let server = Server { url: format!("https://127.0.0.1:{port}"), certificate: certificates.join("apiserver.crt") };
    server.write_kubeconfig(admin, &token)?;
    // The API server makes this key with its certificate, before it looks for the one to sign tokens with.
    let key = certificates.join("apiserver.key");
    let arguments = [
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", certificates.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", key.display()),
        format!("--service-account-key-file={}", key.display()),
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        format!("--token-auth-file={}", tokens.display()),
        "--authorization-mode=RBAC".to_owned(),
        // Pods here have no volumes, so nothing could mount a token.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // There is no address that Pods could reach it at.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", audit_log.display()),
    ];
    Ok((Process::start("kube-apiserver", &tools.kube_apiserver, home, arguments, &[])?, server))
}

fn start_controller_manager(tools: &Tools, home: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    // None for Endpoints: Kubernetes allows no loopback addresses in them, and these are what Pods have here.
    let controllers =
        ["replicaset-controller", "serviceaccount-controller", "namespace-controller", "garbage-collector-controller"];
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--controllers={}", controllers.join(",")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ];
    Process::start("kube-controller-manager", &tools.kube_controller_manager, home, arguments, &[])
}

/// Returns when the API server says that it is ready. There is nothing to wait on before it listens, so it is asked.
async fn ready(kubeconfig: &Path, server: &Server) -> Client {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(client) = ask_ready(kubeconfig, server).await {
            crate::progress::say(format_args!("API server ready after {:.1} s", began.elapsed().as_secs_f64()));
            return client;
        }
    }
}

async fn ask_ready(kubeconfig: &Path, server: &Server) -> anyhow::Result<Client> {
    if !server.certificate.exists() {
        bail!("it has no certificate yet");
    }
    let client = server::client(kubeconfig).await?;
    client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
    Ok(client)
}

/// A token that nobody can guess.
fn secret() -> anyhow::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
