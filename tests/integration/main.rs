//! The real binary, driven from outside: by Argo's own client code, by a person, in an empty root.

mod aws;
mod door;
mod host;
mod measure;
mod person;
mod shop;
mod static_binary;
