//! The Go programs: built once from their published modules, kept by the hash of the `go.mod` and `go.sum` that made them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::Instant;

use crate::progress::say;

/// Where everything that a control plane needs lies.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) etcd: PathBuf,
    pub(crate) kube_apiserver: PathBuf,
    pub(crate) kube_controller_manager: PathBuf,
    pub(crate) rollouts_controller: PathBuf,
    /// The folder `manifests` of Argo Rollouts: CRDs and roles as they are published.
    pub(crate) rollouts_manifests: PathBuf,
}

/// One program to build.
#[derive(Debug, Clone, Copy)]
struct Tool {
    name: &'static str,
    /// Folder below `tools/` whose `go.mod` pins it.
    module: &'static str,
    package: &'static str,
    /// How long it takes on two cores with empty caches.
    patience: &'static str,
}

const ETCD: Tool =
    Tool { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", patience: "about 1 min, once" };
const KUBE_APISERVER: Tool = Tool {
    name: "kube-apiserver",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    patience: "about 5 min, once",
};
const KUBE_CONTROLLER_MANAGER: Tool = Tool {
    name: "kube-controller-manager",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    patience: "about 2 min, once",
};
const ROLLOUTS_CONTROLLER: Tool = Tool {
    name: "rollouts-controller",
    module: "argo-rollouts",
    package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
    patience: "about 5 min, once",
};

/// What `go build` is told. Part of the hash, like the module files.
const FLAGS: [&str; 2] = ["-trimpath", "-ldflags=-s -w"];

impl Tools {
    /// Finds the programs, and builds those that are missing.
    pub(crate) async fn ready() -> anyhow::Result<Self> {
        Ok(Self {
            etcd: ETCD.ready().await?,
            kube_apiserver: KUBE_APISERVER.ready().await?,
            kube_controller_manager: KUBE_CONTROLLER_MANAGER.ready().await?,
            rollouts_controller: ROLLOUTS_CONTROLLER.ready().await?,
            rollouts_manifests: ROLLOUTS_CONTROLLER
                .source("github.com/argoproj/argo-rollouts")
                .await?
                .join("manifests"),
        })
    }
}

impl Tool {
    async fn ready(&self) -> anyhow::Result<PathBuf> {
        let folder = binaries();
        let binary = folder.join(format!("{}-{:016x}", self.name, self.hash()?));
        if binary.exists() {
            return Ok(binary);
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        say(format_args!("building {} … ({})", self.name, self.patience));
        let began = Instant::now();
        // Only a finished build gets the name that is looked for.
        let unfinished = binary.with_extension(format!("unfinished-{}", std::process::id()));
        let mut build = self.go();
        build.arg("build").args(FLAGS).arg("-o").arg(&unfinished).arg(self.package);
        let status = build.status().await.with_context(|| no_go(self.name))?;
        if !status.success() {
            bail!("building {} failed: `go build` in {} ended with {status}", self.name, self.folder().display());
        }
        self.remove_older(&folder)?;
        fs::rename(&unfinished, &binary).with_context(|| format!("cannot keep {}", binary.display()))?;
        say(format_args!("built {} in {:.0} s", self.name, began.elapsed().as_secs_f64()));
        Ok(binary)
    }

    /// The folder of a module's source, downloaded if need be.
    async fn source(&self, module: &str) -> anyhow::Result<PathBuf> {
        #[derive(Deserialize)]
        struct Download {
            #[serde(rename = "Dir")]
            dir: PathBuf,
        }
        let output = self.go().args(["mod", "download", "-json", module]).stderr(Stdio::inherit()).output().await;
        let output = output.with_context(|| no_go(module))?;
        let download = serde_json::from_slice::<Download>(&output.stdout);
        Ok(download
            .with_context(|| format!("`go mod download {module}` gave no folder, and ended with {}", output.status))?
            .dir)
    }

    fn go(&self) -> Command {
        let mut go = Command::new("go");
        // The toolchain that a module asks for may be newer than the installed one; Go fetches it by itself.
        go.current_dir(self.folder()).env("GOTOOLCHAIN", "auto").env("CGO_ENABLED", "0").env_remove("GOFLAGS");
        go.stdin(Stdio::null()).kill_on_drop(true);
        go
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(self.module)
    }

    /// Another release of Rust may hash in another way; then the program is built once more.
    fn hash(&self) -> anyhow::Result<u64> {
        let mut hasher = DefaultHasher::new();
        for file in ["go.mod", "go.sum"] {
            let path = self.folder().join(file);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
        }
        (self.package, FLAGS).hash(&mut hasher);
        Ok(hasher.finish())
    }

    /// Earlier versions of the same program: over 100 MB each, and nobody asks for them again.
    fn remove_older(&self, folder: &Path) -> io::Result<()> {
        let hash_length = 16;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(self.name)?.strip_prefix('-'));
            if rest.is_some_and(|rest| rest.len() == hash_length) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn binaries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e/bin")
}

fn no_go(what: &str) -> String {
    format!("{what} needs `go` in PATH (1.21 or newer; it fetches the release that is asked for)")
}
