//! The computation: operators, modules, and the graph that joins them.
//!
//! No file, no network, no clock: blocks come in and rows go out through the traits of [`ports`], which the job
//! implements. Everything runs on timely worker threads and never waits.

pub mod epoch;
pub mod graph;
pub use modules::guard;
pub mod known;
pub mod meter;
pub mod modules;
pub mod operators;
pub mod ports;
pub mod records;
pub mod views;

pub use epoch::{Epoch, Position};
pub use graph::{Settings, build};
pub use meter::Meter;
