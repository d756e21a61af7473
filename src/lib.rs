//! A traffic router plugin for Argo Rollouts that shifts the weights of an AWS Application Load Balancer itself, and
//! answers when they are true.
//!
//! The folders tell the story from the outside in: a [`goplugin`] host starts us and comes through a [`door`]; behind
//! it the [`router`] decides, drives a load balancer ([`alb`]) and asks a [`cluster`] for its pods. Lower layers never
//! import upper ones.

pub mod alb;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod door;
pub mod goplugin;
pub mod rollout;
pub mod router;
