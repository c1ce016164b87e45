//! Where records come from: segments for replay.
//!
//! A replay's input is an ordered list of [`Segment`]s ([`expand`] makes it from arguments), each cut by position in its
//! text into [`Chunk`]s (`chunks.rs` has the rule), which threads read for the workers they belong to ([`start`]).
//! The same lines give the same chunks, however a segment is stored and whoever reads it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

mod buffers;
pub mod certstream;
mod chunks;
mod decode;
mod error;
mod files;
mod inlet;
pub mod journal;
pub mod logs;
mod objects;
mod progress;
mod reader;
mod retry;
mod segments;
mod stored;
mod tail;

pub use chunks::{CHUNK_BYTES, Chunk, LINE_BYTES_MAX, OVERLONG_HEAD_BYTES, Overlong, Sizes};
pub use error::SourceError;
pub use inlet::Inlet;
pub use progress::Progress;
pub use reader::{ChunkReceiver, Options, Placement, Step, start};
pub use segments::{Encoding, Segment, expand};
pub use tail::{ALL_FEEDS, JournalBlock, JournalInlet, News, follow};
