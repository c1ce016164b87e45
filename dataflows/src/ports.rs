//! What the dataflow asks of the world. The job implements these over its sources and sinks.
//!
//! None of these calls may wait: they run on a timely worker. Whoever has news calls the waker it was given. A failure
//! of the world is not an answer here; the job ends the process.

use ct_model::Rows;
use timely::scheduling::SyncActivator;

use crate::epoch::Position;
use crate::records::{Block, Cut, Known};

/// News from a port that is asked again and again.
#[derive(Debug)]
pub enum Poll<T> {
    Ready(T),
    /// Nothing yet; the waker will tell.
    Pending,
    /// Nothing more.
    End,
}

/// News of a worker's share of the input.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all news are blocks, and they are moved once")]
pub enum Input {
    Block(Block),
    /// No block of this worker comes before this position. An input that grows says so, or an epoch would stay open
    /// until every worker has got a later one.
    Reached(Position),
}

/// A worker's share of the input, in the order of positions.
pub trait Blocks {
    fn wake_by(&mut self, waker: SyncActivator);
    fn poll(&mut self) -> Poll<Input>;
}

/// Sees rows as soon as they are made, long before they are published, and possibly again after a restart. Must not
/// wait.
pub type Show = Box<dyn FnMut(&Rows) + Send>;

/// Nanoseconds since any moment, never going back. For those who watch a job, and for when to look again whether there is
/// work: no result depends on it.
pub type Clock = fn() -> u64;

/// A worker's share of what the lake knows, in any order.
pub trait KnownRows {
    fn wake_by(&mut self, waker: SyncActivator);
    /// A generation, and what is known of it.
    fn poll(&mut self) -> Poll<(u32, Vec<Known>)>;
}

/// Writes a worker's rows where no reader looks.
pub trait Stage<Part> {
    fn wake_by(&mut self, waker: SyncActivator);
    /// Takes the rows of manifest `sequence`; called once for every sequence, in order.
    fn submit(&mut self, sequence: u64, rows: Rows);
    /// The parts of the next sequence that is durable, in order.
    fn poll(&mut self) -> Option<(u64, Vec<Part>)>;
}

/// Makes staged parts visible, all or nothing. Only worker 0 has one that is used.
pub trait Publish<Part> {
    fn wake_by(&mut self, waker: SyncActivator);
    fn submit(&mut self, cut: Cut, parts: Vec<Part>);
    /// The next sequence that is published and durable, in order.
    fn poll(&mut self) -> Option<u64>;
}
