//! Compiles `proto/` without protoc.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use protox::Compiler;

/// The contract with a host, whose Rollout is `src/rollout.rs`.
const ROUTER: &str = "trafficrouter/v1/traffic_router.proto";
/// go-plugin's own services. Health is `tonic-health`'s.
const PLUGIN: [&str; 3] = ["plugin/grpc_broker.proto", "plugin/grpc_controller.proto", "plugin/grpc_stdio.proto"];

/// The messages that `src/rollout.rs` has, with their names there.
const MODEL: [(&str, &str); 19] = [
    ("Rollout", "Rollout"),
    ("ObjectMeta", "Metadata"),
    ("RolloutSpec", "Spec"),
    ("RolloutStrategy", "Strategy"),
    ("CanaryStrategy", "Canary"),
    ("CanaryStep", "Present"),
    ("PingPongSpec", "PingPong"),
    ("RolloutTrafficRouting", "TrafficRouting"),
    ("ALBTrafficRouting", "Present"),
    ("ManagedRoute", "ManagedRoute"),
    ("RolloutStatus", "Status"),
    ("CanaryStatus", "CanaryStatus"),
    ("TrafficWeights", "TrafficWeights"),
    ("WeightDestination", "WeightDestination"),
    ("SetHeaderRoute", "HeaderRoute"),
    ("HeaderRoutingMatch", "HeaderMatch"),
    ("StringMatch", "StringMatch"),
    ("SetMirrorRoute", "MirrorRoute"),
    ("RouteMatch", "Present"),
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);

    let router = compiled(&[ROUTER])?;
    // For the test that holds the contract and the model together.
    std::fs::write(out.join("router.bin"), router.encode_file_descriptor_set())?;
    let mut with_model = tonic_prost_build::configure().build_transport(false);
    for (message, model) in MODEL {
        let message = format!(".rollouts.trafficrouter.v1.{message}");
        with_model = with_model.extern_path(message, format!("crate::rollout::{model}"));
    }
    with_model.compile_fds(router.file_descriptor_set())?;

    let plugin = compiled(&PLUGIN)?.file_descriptor_set();
    tonic_prost_build::configure().build_transport(false).build_client(false).compile_fds(plugin)?;
    Ok(())
}

fn compiled(files: &[&str]) -> Result<Compiler> {
    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    Ok(compiler)
}
