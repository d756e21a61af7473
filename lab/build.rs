//! Compiles the part of `proto/` that a host needs: the router's contract, and how a plugin is ended.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use protox::Compiler;

const PROTO: &str = "../proto";
const FILES: [&str; 2] = ["trafficrouter/v1/traffic_router.proto", "plugin/grpc_controller.proto"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={PROTO}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let mut compiler = Compiler::new([PROTO])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // The lab reads Rollouts by their description.
    std::fs::write(out.join("contract.bin"), compiler.encode_file_descriptor_set())?;
    let host = tonic_prost_build::configure().build_server(false).build_transport(false);
    host.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
