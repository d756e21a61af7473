//! The kubelet's part: the life of one Pod from its start to its removal.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::server::{App, Server};
use super::{Serve, SharedLedger, WorkloadConfig, draw, pod};
use crate::kubernetes::{Cluster, Kind};

/// Wall-clock time for objects, moved by tokio's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) epoch: SystemTime,
    pub(super) started: Instant,
}

/// One Pod and what it needs to run.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) cluster: Cluster,
    pub(super) pod: Arc<Value>,
    pub(super) address: Ipv4Addr,
    pub(super) config: Arc<WorkloadConfig>,
    pub(super) rng: fastrand::Rng,
    pub(super) clock: Clock,
    pub(super) ledger: SharedLedger,
}

impl Clock {
    /// As Kubernetes writes it, in whole seconds.
    pub(super) fn timestamp(self) -> String {
        self.timestamp_in(Duration::ZERO)
    }

    pub(super) fn timestamp_in(self, ahead: Duration) -> String {
        humantime::format_rfc3339_seconds(self.epoch + self.started.elapsed() + ahead).to_string()
    }
}

impl Sandbox {
    /// Starts, serves, and leaves when it is terminated: that is, when the other end of `terminated` is gone.
    pub(super) async fn live(mut self, mut terminated: oneshot::Receiver<()>) {
        let start_up = draw(&mut self.rng, &self.config.start_up);
        tokio::select! {
            // A fixed order, so that runs can be repeated.
            biased;
            // Nothing runs yet, so there is nothing to shut down.
            _ = &mut terminated => {}
            () = sleep(start_up) => self.serve(terminated).await,
        }
        // Somebody may have removed it by force.
        let _ = self.cluster.delete(Kind::POD, self.namespace(), self.name());
    }

    async fn serve(&mut self, terminated: oneshot::Receiver<()>) {
        let grace = self.config.grace;
        let leave = async move {
            let _ = terminated.await;
            sleep(grace).await;
        };
        let (port, service_time) = match &self.config.serve {
            Serve::Nothing => {
                self.report(&pod::ready(&self.pod, &self.clock.timestamp()));
                return leave.await;
            }
            Serve::Http { port, service_time } => (*port, service_time.clone()),
        };
        let address = SocketAddrV4::new(self.address, port);
        match Server::bind(address, self.app(service_time)).await {
            Ok(server) => {
                self.report(&pod::ready(&self.pod, &self.clock.timestamp()));
                server.run(leave).await;
            }
            Err(error) => {
                let message = format!("the pod's server cannot listen on {address}: {error}");
                self.report(&pod::failed(&self.pod, &message, &self.clock.timestamp()));
                leave.await;
            }
        }
    }

    fn app(&mut self, service_time: RangeInclusive<Duration>) -> App {
        let version = pod::version(&self.pod).to_owned();
        App { version, service_time, rng: Mutex::new(self.rng.fork()), ledger: self.ledger.clone() }
    }

    fn report(&self, patch: &Value) {
        // It is gone only if somebody removed it by force; then the controller ends this task.
        let _ = self.cluster.merge_patch(Kind::POD, self.namespace(), self.name(), patch);
    }

    fn namespace(&self) -> &str {
        pod::text(&self.pod, "/metadata/namespace")
    }

    fn name(&self) -> &str {
        pod::text(&self.pod, "/metadata/name")
    }
}
