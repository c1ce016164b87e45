//! The right edge of a growing tree: enough to add leaves and to know the root.

use super::{EMPTY_ROOT, node_hash, peaks};
use crate::ctlog::{Hash, TREE_SIZE_MAX};

/// A tree of which only the hashes of its [`peaks`] are kept, at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    /// In the order of [`peaks`].
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, hashes: Vec::new() }
    }

    /// The tree whose [`peaks`] have these hashes. `None` when that is not their number, or the tree too large.
    ///
    /// The left-hand hashes of the proof that leaf `size` is included in a larger tree are the same, from the leaf up.
    pub fn restore(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (size <= TREE_SIZE_MAX && hashes.len() == peaks(size).count()).then_some(Self { size, hashes })
    }

    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the [`peaks`].
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf on the right.
    pub fn push(&mut self, leaf_hash: Hash) {
        let mut hash = leaf_hash;
        // Each bit that the addition carries over joins the last peak and what has become of the leaf.
        for _ in 0..self.size.trailing_ones() {
            let left = self.hashes.pop().expect("a peak for each bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev();
        let Some(last) = hashes.next() else { return EMPTY_ROOT };
        hashes.fold(*last, |right, left| node_hash(left, &right))
    }
}
