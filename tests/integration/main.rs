//! The real binary, driven from outside: by Argo's own client code, by a person, in an empty root.

mod aws;
mod bench;
mod cluster;
mod deploy;
mod door;
mod grpc;
mod host;
mod hostile;
mod hosts;
mod measure;
mod model;
mod person;
mod scenario;
mod shop;
mod simulation;
mod static_binary;
mod story;
mod trouble;
