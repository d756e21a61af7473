//! The controller as a whole, on paused time: every test is the same each time it is run.

mod header_routes;
mod lifecycle;
mod measured;
mod race;
mod registration;
mod shop;
