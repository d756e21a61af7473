//! The two services on a connection's first stream (`rpc_server.go`: `controlServer` and `dispenseServer`). Neither
//! waits for anything: a controller pings under a lock that all its Rollouts share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::gob;
use super::rpc::{CallError, CallFuture, Service, Unit, argument, reply};

/// `Control.Ping` and `Control.Quit`.
#[derive(Debug)]
pub(super) struct Control {
    /// Cancelled when the host says Quit.
    pub(super) quit: CancellationToken,
}

/// `Dispenser.Dispense`.
#[derive(Debug)]
pub(super) struct Dispenser {
    /// Waits for the streams of the numbers that were dispensed.
    pub(super) broker: Arc<Broker>,
}

impl Service for Control {
    fn call(&self, method: &str, _: &gob::Value<'_>) -> Result<CallFuture, CallError> {
        match method {
            "Ping" => Ok(Box::pin(async { Ok(reply(Unit)) })),
            "Quit" => {
                let quit = self.quit.clone();
                Ok(Box::pin(async move {
                    quit.cancel();
                    Ok(reply(Unit))
                }))
            }
            _ => Err(CallError::NoSuchMethod),
        }
    }
}

impl Service for Dispenser {
    fn call(&self, method: &str, value: &gob::Value<'_>) -> Result<CallFuture, CallError> {
        if method != "Dispense" {
            return Err(CallError::NoSuchMethod);
        }
        let name: String = argument(value)?;
        let number = self.broker.dispense(&name);
        Ok(Box::pin(async move { number.map(reply).ok_or_else(|| format!("unknown plugin type: {name}")) }))
    }
}
