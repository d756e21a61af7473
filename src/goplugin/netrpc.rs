//! go-plugin's `netrpc` protocol: yamux streams on one connection, Go's net/rpc on each, gob on the wire.
//!
//! The host opens stream 1 for control, 2 and 3 for the plugin's stdout and stderr, and one more for each plugin it
//! dispenses (`rpc_client.go`, `rpc_server.go`, `mux_broker.go` in go-plugin).

pub use rpc::{CallError, CallFuture, Reply, Service, argument, reply};
pub use session::{Offer, serve};

mod allowance;
mod broker;
mod control;
pub mod gob;
mod rpc;
mod session;

#[cfg(test)]
mod tests;
