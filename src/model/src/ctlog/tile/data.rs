//! Entries in a data tile (static-ct-api, "Log Entries").

use super::Tile;
use crate::ctlog::Hash;
use crate::ctlog::leaf::{Entry, Leaf, LeafError, leaf_index, timestamped_entry_hash};
use crate::ctlog::wire::Cursor;

/// An entry as a data tile holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileEntry<'a> {
    /// Where it stands in the log, by its place in the tile.
    pub index: u64,
    pub leaf: Leaf<'a>,
    /// As it was submitted; of a precertificate only. No hash vouches for it.
    pub precertificate: Option<&'a [u8]>,
    /// SHA-256 of each issuer's DER, the one of the entry first. No hash vouches for them.
    pub issuers: &'a [[u8; 32]],
    timestamped_entry: &'a [u8],
}

impl<'a> TileEntry<'a> {
    /// What the tree holds of it.
    pub fn leaf_hash(&self) -> Hash {
        timestamped_entry_hash(self.timestamped_entry)
    }

    /// The TimestampedEntry (RFC 6962 section 3.4): `leaf_input` without its first two bytes, which are zero.
    pub const fn timestamped_entry(&self) -> &'a [u8] {
        self.timestamped_entry
    }

    /// Checks that the entry says of itself that it stands where it does.
    ///
    /// It is no error to say nothing, as in tiles over a tree of RFC 6962: the root of the tree proves the place. Nor
    /// does a wrong word change the leaf's hash, so that the rest of the tile can still be compared with the root.
    pub fn check_index(&self) -> Result<(), LeafError> {
        match leaf_index(self.leaf.extensions)? {
            Some(index) if index != self.index => Err(LeafError::Index),
            _ => Ok(()),
        }
    }
}

/// The entries of a data tile: as many as its width, or fewer and then one error. What follows an entry that cannot
/// be read cannot be found.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    next: u64,
    end: u64,
}

impl<'a> Entries<'a> {
    /// `bytes` are the tile's, not compressed.
    pub const fn of(tile: Tile, bytes: &'a [u8]) -> Self {
        let first = tile.first();
        Self { cursor: Cursor::new(bytes), next: first, end: first + tile.width() as u64 }
    }

    /// The index of the entry that comes next, or that could not be read.
    pub const fn next_index(&self) -> u64 {
        self.next
    }

    fn read(&mut self) -> Result<TileEntry<'a>, LeafError> {
        let start = self.cursor.rest();
        let leaf = Leaf::timestamped_entry(&mut self.cursor)?;
        let timestamped_entry = &start[..start.len() - self.cursor.rest().len()];
        let precertificate = match leaf.entry {
            Entry::Precert { .. } => Some(self.cursor.vector24().ok_or(LeafError::Short)?),
            Entry::Final { .. } => None,
        };
        let (issuers, []) = self.cursor.vector16().ok_or(LeafError::Short)?.as_chunks() else {
            return Err(LeafError::Fingerprints);
        };
        if self.next + 1 == self.end && !self.cursor.rest().is_empty() {
            return Err(LeafError::Trailing);
        }
        Ok(TileEntry { index: self.next, leaf, precertificate, issuers, timestamped_entry })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<TileEntry<'a>, LeafError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        let entry = self.read();
        match entry {
            Ok(_) => self.next += 1,
            Err(_) => self.end = self.next,
        }
        Some(entry)
    }
}

impl std::iter::FusedIterator for Entries<'_> {}
