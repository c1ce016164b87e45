//! Hash tiles (static-ct-api, "Merkle Tree"): where the hashes of a static log's tree are to be had.
//!
//! A hash tile of level L holds the roots of subtrees with 256^L leaves. The levels of the tree between its own and
//! that of the tiles above it are computed from these.

use super::{TILE_LEVELS, TILE_WIDTH, Tile, TileKind};
use crate::ctlog::merkle::{Span, node_hash, peaks};
use crate::ctlog::{Hash, TREE_SIZE_MAX};

/// A hash tile and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct HashTile<'a> {
    tile: Tile,
    level: u8,
    hashes: &'a [Hash],
}

impl<'a> HashTile<'a> {
    /// `None` for a data tile, and unless there are as many hashes as the tile is wide.
    pub fn new(tile: Tile, bytes: &'a [u8]) -> Option<Self> {
        let TileKind::Hashes { level } = tile.kind() else { return None };
        let (hashes, []) = bytes.as_chunks() else { return None };
        (hashes.len() == usize::from(tile.width())).then_some(Self { tile, level, hashes })
    }

    pub const fn hashes(&self) -> &'a [Hash] {
        self.hashes
    }

    /// The hash of a perfect subtree whose level in the tree is 8 L to 8 L + 8: a hash of the tile, or computed from
    /// at most 256 of them. `None` for any other subtree.
    pub fn node(&self, span: Span) -> Option<Hash> {
        let above = span.level()?.checked_sub(self.level * TILE_LEVELS).filter(|above| *above <= TILE_LEVELS)?;
        let first = (span.lo >> (self.level * TILE_LEVELS)).checked_sub(self.tile.first())?;
        let first = usize::try_from(first).ok()?;
        let hashes = self.hashes.get(first..first.checked_add(1 << above)?)?;
        Some(fold(hashes))
    }
}

/// The root above a power of two of nodes; at most 9 calls deep.
fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The highest tile that answers for a perfect subtree in a tree of `size` leaves, as wide as that tree has it.
/// `None` when the tree has no such subtree, or is larger than [`TREE_SIZE_MAX`].
pub fn tile_of(size: u64, span: Span) -> Option<Tile> {
    if span.hi > size || size > TREE_SIZE_MAX {
        return None;
    }
    let level = span.level()? / TILE_LEVELS;
    let index = (span.lo >> (level * TILE_LEVELS)) / u64::from(TILE_WIDTH);
    let hashes = size >> (level * TILE_LEVELS);
    let width = (hashes - index * u64::from(TILE_WIDTH)).min(u64::from(TILE_WIDTH));
    Tile::new(TileKind::Hashes { level }, index, width as u16)
}

/// The hash tiles that answer for subtrees of a tree of `size` leaves, ordered, each once. A subtree at the ragged
/// edge is answered for by the perfect ones that it is made of.
pub fn tiles_needed(size: u64, nodes: &[Span]) -> Vec<Tile> {
    let mut tiles: Vec<Tile> =
        nodes.iter().flat_map(|node| parts(*node)).filter_map(|part| tile_of(size, part)).collect();
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}

/// The perfect subtrees that a subtree is made of: itself, or what a tree of as many leaves is made of, since a
/// ragged one begins at a multiple of a power of two that is larger than it.
fn parts(span: Span) -> impl Iterator<Item = Span> {
    peaks(span.hi - span.lo).map(move |peak| Span { lo: span.lo + peak.lo, hi: span.lo + peak.hi })
}
