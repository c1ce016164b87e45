//! Tiles of a static log: what they are called (static-ct-api, "Merkle Tree", "Log Entries").

pub mod data;
pub mod hashes;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::ctlog::TREE_SIZE_MAX;

/// Entries of a full data tile, hashes of a full hash tile.
pub const TILE_WIDTH: u16 = 256;
/// A tile is this many levels of the tree high: log2 of [`TILE_WIDTH`].
pub const TILE_LEVELS: u8 = 8;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries.
    Data,
    /// Hashes of the perfect subtrees with 256^level leaves; levels are 0 to 5.
    Hashes { level: u8 },
}

/// One tile, full or partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile number `index`, from the left, with its first `width` items. `None` when no tree of at most
    /// [`TREE_SIZE_MAX`] entries has it.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let leaves_log2 = match kind {
            TileKind::Data => 0,
            TileKind::Hashes { level } => u32::from(level.checked_mul(TILE_LEVELS)?),
        };
        let items_max = TREE_SIZE_MAX.checked_shr(leaves_log2)?;
        let end = index.checked_mul(u64::from(TILE_WIDTH))?.checked_add(u64::from(width))?;
        ((1..=TILE_WIDTH).contains(&width) && end <= items_max).then_some(Self { kind, index, width })
    }

    pub const fn kind(self) -> TileKind {
        self.kind
    }

    pub const fn index(self) -> u64 {
        self.index
    }

    /// Items in it, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    pub const fn is_partial(self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The same tile with all its items, which a log may have in place of a partial one. `None` when there is none.
    pub fn full(self) -> Option<Self> {
        Self::new(self.kind, self.index, TILE_WIDTH)
    }

    /// Of its first item, among the items of its kind: the index of an entry, or of a subtree of its level.
    pub const fn first(self) -> u64 {
        self.index * TILE_WIDTH as u64
    }

    /// The data tiles of a tree of `size` entries that hold the entries from `first` on, from left to right; only the
    /// last may be partial. None for a tree of more than [`TREE_SIZE_MAX`] entries.
    pub fn data_tiles(size: u64, first: u64) -> impl Iterator<Item = Self> {
        let width = u64::from(TILE_WIDTH);
        let size = if size <= TREE_SIZE_MAX { size } else { 0 };
        let end = if first < size { size.div_ceil(width) } else { 0 };
        (first / width..end).filter_map(move |index| {
            let items = (size - index * width).min(width);
            Self::new(TileKind::Data, index, items as u16)
        })
    }

    /// Reads what [`fmt::Display`] writes, and nothing else: a tile has one path.
    pub fn from_path(path: &str) -> Option<Self> {
        let (kind, mut rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "data" => TileKind::Data,
            level => TileKind::Hashes { level: number(level)?.try_into().ok()? },
        };
        let mut width = u64::from(TILE_WIDTH);
        if let Some((name, partial)) = rest.split_once(".p/") {
            width = number(partial)?;
            if width >= u64::from(TILE_WIDTH) {
                return None;
            }
            rest = name;
        }
        let mut index = 0_u64;
        let mut groups = rest.split('/').peekable();
        let more = groups.clone().nth(1).is_some();
        while let Some(group) = groups.next() {
            let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let group: u64 = digits.parse().ok()?;
            // A path never begins with a group of zeros, but for the first tiles.
            if more && index == 0 && group == 0 {
                return None;
            }
            index = index.checked_mul(1_000)?.checked_add(group)?;
        }
        Self::new(kind, index, width.try_into().ok()?)
    }
}

/// A number without leading zeros, as paths and tree heads have it.
pub(super) fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

/// The path below the log's monitoring prefix: `tile/0/x001/x234/067`, `tile/data/005.p/44`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Data => f.write_str("tile/data/")?,
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let mut divisor = 1;
        while self.index / divisor >= 1_000 {
            divisor *= 1_000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1_000)?;
            divisor /= 1_000;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}
