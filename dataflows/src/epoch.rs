//! Epochs of a replay, carved from input position.
//!
//! The input is an ordered list of segments, each cut into chunks by position. A chunk is an epoch: the same input
//! gives the same epochs whoever reads them, so "first" means the same for any number of workers. Epochs are ordered
//! as the input is; they are not dense.

use serde::{Deserialize, Serialize};

/// The timely timestamp. 0 is the time before any input: what the lake knows already.
pub type Epoch = u64;

/// A place in the input: a segment, by its position in the list, and a chunk of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub segment: u32,
    pub chunk: u32,
}

impl Position {
    pub const fn epoch(self) -> Epoch {
        ((self.segment as u64) << 32 | self.chunk as u64) + 1
    }

    /// The position after this one.
    pub const fn next(self, segment_ends: bool) -> Self {
        if segment_ends {
            Self { segment: self.segment + 1, chunk: 0 }
        } else {
            Self { segment: self.segment, chunk: self.chunk + 1 }
        }
    }
}
