//! A log's tree of hashes (RFC 6962 section 2.1), as numbers: which subtrees there are, and how hashes join.
//!
//! A subtree is named by the leaves below it. That also names those at the right edge of a tree, which are not perfect.

pub mod compact;
pub mod proof;
pub mod range;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::ctlog::Hash;

/// The root of a tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = crate::id::SHA256_OF_NOTHING;

/// The hash of a node above two others.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// A subtree: the node above the leaves `lo..hi`, at least one, in some tree that has it.
///
/// Trees split at powers of two, so a subtree is perfect, or it is at the right edge of a tree of size `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub lo: u64,
    pub hi: u64,
}

impl Span {
    /// The perfect subtree number `index`, from the left, of those with 2^`level` leaves. `None` beyond 2^64 leaves.
    pub fn perfect(level: u8, index: u64) -> Option<Self> {
        let width = 1_u64.checked_shl(u32::from(level))?;
        let lo = index.checked_mul(width)?;
        Some(Self { lo, hi: lo.checked_add(width)? })
    }

    /// Level of a perfect subtree: log2 of its leaves. `None` for others.
    pub const fn level(self) -> Option<u8> {
        let width = self.hi - self.lo;
        if width.is_power_of_two() && self.lo.is_multiple_of(width) { Some(width.ilog2() as u8) } else { None }
    }

    /// Its two halves: the left one has the largest power of two of leaves that leaves some for the right one.
    /// `None` for a leaf.
    pub const fn split(self) -> Option<(Self, Self)> {
        let width = self.hi - self.lo;
        if width < 2 {
            return None;
        }
        let middle = self.lo + (1 << (width - 1).ilog2());
        Some((Self { lo: self.lo, hi: middle }, Self { lo: middle, hi: self.hi }))
    }

    const fn is_outside(self, first: u64, end: u64) -> bool {
        self.hi <= first || end <= self.lo
    }
}

/// The perfect subtrees that together are a tree of `size` leaves, largest first: one for each bit of `size`.
pub fn peaks(size: u64) -> impl Iterator<Item = Span> {
    let mut lo = 0;
    std::iter::from_fn(move || {
        let rest: u64 = size - lo;
        let peak = Span { lo, hi: lo + (1 << rest.checked_ilog2()?) };
        lo = peak.hi;
        Some(peak)
    })
}
