//! The way to the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::Mutex;

use super::Error;

/// How long one request may take. A router asks again anyway.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch is left alone, in seconds. Then the server ends it and it is begun anew, so that a connection which died
/// without a word is noticed soon.
pub(super) const WATCH_SECONDS: u32 = 60;

/// The cluster that we run in, or the one that a kubeconfig names.
pub(super) struct Access {
    pub(super) kubeconfig: Option<PathBuf>,
    clients: Mutex<Option<Clients>>,
}

/// Made once, on first use.
#[derive(Clone)]
pub(super) struct Clients {
    /// For what is answered at once.
    pub(super) requests: Client,
    /// For answers that take their time.
    pub(super) watches: Client,
}

impl Access {
    pub(super) fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, clients: Mutex::new(None) }
    }

    pub(super) async fn clients(&self) -> Result<Clients, Error> {
        let mut clients = self.clients.lock().await;
        if let Some(clients) = &*clients {
            return Ok(clients.clone());
        }
        let mut config = config(self.kubeconfig.as_deref()).await?;
        config.connect_timeout = Some(TIMEOUT);
        // It would obey a Retry-After for minutes. A call has a budget, and the router asks again anyway.
        config.default_retry = false;
        // The time that a pooled connection lay idle is not the server's.
        config.reset_reader_on_write = true;
        let patient = Duration::from_secs(WATCH_SECONDS.into()) + TIMEOUT;
        let client = |read_timeout| {
            let mut config = config.clone();
            config.read_timeout = Some(read_timeout);
            Client::try_from(config).map_err(|error| Error::no_cluster(&error))
        };
        let made = Clients { requests: client(TIMEOUT)?, watches: client(patient)? };
        *clients = Some(made.clone());
        Ok(made)
    }
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let named = match kubeconfig {
        Some(file) => Some(Kubeconfig::read_from(file).map_err(|error| Error::no_cluster(&error))?),
        None => Kubeconfig::from_env().map_err(|error| Error::no_cluster(&error))?,
    };
    match named {
        Some(named) => {
            let config = Config::from_custom_kubeconfig(named, &KubeConfigOptions::default()).await;
            config.map_err(|error| Error::no_cluster(&error))
        }
        None => Config::incluster().map_err(|error| Error::no_cluster(&error)),
    }
}
