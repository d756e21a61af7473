//! The demo: the user's story played in worlds of its own, with customers, a live view, a table and a picture.

mod asked;
pub mod chart;
mod figures;
pub mod live;
pub mod load;
mod objects;
pub mod play;
#[cfg(test)]
mod rehearsal;
pub mod report;
mod rules;
pub mod stage;
pub mod world;
