//! Logs as somebody saved them: a folder with the tiles of a static log, or with pages of get-entries.
//!
//! ```text
//! mirror/checkpoint  mirror/tile/data/…  mirror/tile/0/…     as a mirror leaves a static log
//! saved/ct/v1/get-sth  saved/ct/v1/get-entries/0-255.json    answers, each in a file with its first index in its name
//! ```
//!
//! Entries come as lines, in the order of their indexes. Where a tree head and the hashes to compare with are there,
//! the stretches that are proven by it are told of behind them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ct_model::ctlog::Hash;
use ct_model::ctlog::head::{SignedHead, TreeHead};
use ct_model::ctlog::list;
use ct_model::ctlog::merkle::Span;
use ct_model::ctlog::merkle::compact::CompactRange;
use ct_model::ctlog::merkle::range::range_root;
use ct_model::ctlog::tile::hashes::{HashTile, tile_of};
use ct_model::ctlog::tile::{Tile, TileKind};
use ct_model::id::digest;
use flate2::bufread::MultiGzDecoder;

use super::log::{GetEntries, Page, push_entry, push_tile};
use super::stretch::{LogSource, Stretch};
use super::verify::PublicKey;
use super::{HeadTold, lines::Lines};
use crate::error::SourceError;
use crate::segments::{Encoding, Segment};

/// Of one file, decompressed.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Hash tiles that are remembered.
const TILES_MAX: usize = 1_024;

/// What kind of archive a folder is, if it is one.
pub(crate) fn detect(dir: &Path) -> Option<Encoding> {
    if dir.join("tile/data").is_dir() {
        Some(Encoding::Tiles)
    } else if dir.join("ct/v1/get-entries").is_dir() {
        Some(Encoding::Pages)
    } else {
        None
    }
}

/// The segment that a folder is. `logs` are those whose keys are trusted.
pub(crate) fn examine(dir: &Path, encoding: Encoding, logs: &[list::Log]) -> Result<Segment, SourceError> {
    let name = dir.to_string_lossy().into_owned();
    let failed = |error| SourceError::file("reading", &name, error);
    let files = files(dir, encoding).map_err(failed)?;
    if files.is_empty() {
        return Err(SourceError::NoSegments { place: name });
    }
    let (mut bytes, mut parts) = (0, Vec::new());
    for (first, path) in &files {
        let metadata = fs::metadata(path).map_err(failed)?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        bytes += metadata.len();
        parts.extend([*first, metadata.len(), modified.unwrap_or_default().as_nanos() as u64]);
    }
    let mut log = known_log(dir, encoding, logs).map_err(failed)?;
    if log.name.is_empty() {
        log.name = dir.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
    }
    let head = log.head.as_ref().map(|head| head.root.clone()).unwrap_or_default();
    let version: Vec<u8> = parts.into_iter().flat_map(u64::to_be_bytes).collect();
    let version = ct_model::id::to_hex(&digest(&[&version, head.as_bytes(), log.name.as_bytes()])[..16]);
    Ok(Segment { name, bytes, encoding, version, log: Some(log) })
}

/// The log that a folder is of, by whose key its tree head is signed.
fn known_log(dir: &Path, encoding: Encoding, logs: &[list::Log]) -> io::Result<LogSource> {
    let told = |name: &str, head: &TreeHead, signed| LogSource {
        name: name.to_owned(),
        head: Some(HeadTold::from(head)),
        signed,
        remote: None,
    };
    let unknown = LogSource { name: String::new(), head: None, signed: false, remote: None };
    let signed_by = |log: &list::Log, signed: &SignedHead| {
        PublicKey::from_spki(&log.key).is_ok_and(|key| key.verify_head(signed).is_ok())
    };
    if let Some(note) = read_if_there(&dir.join("checkpoint")).filter(|_| encoding == Encoding::Tiles) {
        for log in logs {
            if let Ok(signed) = SignedHead::from_checkpoint(&note, log.urls.origin(), &log.id)
                && signed_by(log, &signed)
            {
                return Ok(told(&log.name, &signed.head, true));
            }
        }
        return Ok(unsigned_checkpoint(&note).map_or(unknown, |(origin, head)| told(&origin, &head, false)));
    }
    let Some(json) = read_if_there(&dir.join("ct/v1/get-sth")) else { return Ok(unknown) };
    let Ok(signed) = SignedHead::from_sth(&json) else { return Ok(unknown) };
    // An STH does not name its log; its signature does.
    Ok(match logs.iter().find(|log| signed_by(log, &signed)) {
        Some(log) => told(&log.name, &signed.head, true),
        None => told("", &signed.head, false),
    })
}

/// Origin, size and root of a checkpoint whose signer is unknown.
fn unsigned_checkpoint(note: &[u8]) -> Option<(String, TreeHead)> {
    let mut lines = std::str::from_utf8(note).ok()?.lines();
    let (origin, size, root) = (lines.next()?, lines.next()?.parse().ok()?, lines.next()?);
    let root: Hash = base64_simd::STANDARD.decode_to_vec(root).ok()?.try_into().ok()?;
    let legible = !origin.is_empty() && origin.bytes().all(|byte| byte.is_ascii_graphic());
    legible.then(|| (origin.to_owned(), TreeHead { size, root, timestamp_ms: 0 }))
}

/// The text of an archive.
pub(crate) fn open(segment: &Segment) -> io::Result<Lines> {
    let dir = PathBuf::from(&segment.name);
    let log = segment.log.clone().ok_or_else(|| bad("no log"))?;
    let mut files = files(&dir, segment.encoding)?.into_iter();
    let head = log.head.as_ref().and_then(HeadTold::head);
    let mut proof = match segment.encoding {
        Encoding::Tiles => Proof::Tiles { dir, tiles: HashMap::new() },
        _ => Proof::Edge(CompactRange::new()),
    };
    let mut stretch = Stretch::new(&log.name, head, log.signed);
    let encoding = segment.encoding;
    let mut ended = false;
    Ok(Lines::new(move || {
        let Some((first, path)) = files.next() else {
            let last = stretch.end(proof.holds_all(head));
            return Ok(Some((last, 0)).filter(|_| !std::mem::replace(&mut ended, true)));
        };
        let (bytes, stored) = read_file(&path).map_err(|why| at(&path, &why.to_string()))?;
        let page = read_page(&log.name, encoding, first, &path, &bytes).map_err(|why| at(&path, &why))?;
        let proven = head.is_some_and(|head| proof.add(&page, head));
        let mut lines = stretch.add(page.first, page.leaf_hashes.len() as u64, proven);
        lines.extend_from_slice(&page.lines);
        Ok(Some((lines, stored)))
    }))
}

/// How entries are compared with the tree head.
enum Proof {
    /// Each tile for itself, with the hash tiles beside it.
    Tiles { dir: PathBuf, tiles: HashMap<Tile, Vec<u8>> },
    /// All of them together, from the first on.
    Edge(CompactRange),
}

impl Proof {
    /// Adds a page; whether it is proven by itself.
    fn add(&mut self, page: &Page, head: TreeHead) -> bool {
        match self {
            Self::Edge(edge) => {
                // A hole leaves the edge where it is for good.
                if edge.size() == page.first {
                    // What was saved after the head lies beyond it.
                    let left = usize::try_from(head.size.saturating_sub(page.first)).unwrap_or(usize::MAX);
                    page.leaf_hashes.iter().take(left).for_each(|hash| edge.push(*hash));
                }
                false
            }
            Self::Tiles { dir, tiles } => {
                let end = page.first + page.leaf_hashes.len() as u64;
                let hashes =
                    &page.leaf_hashes[..page.leaf_hashes.len().min(head.size.saturating_sub(page.first) as usize)];
                if hashes.is_empty() || end > head.size {
                    return false;
                }
                let tiles = std::cell::RefCell::new(tiles);
                let outside = |span: Span| {
                    let tile = tile_of(head.size, span)?;
                    let mut tiles = tiles.borrow_mut();
                    if tiles.len() >= TILES_MAX {
                        tiles.clear();
                    }
                    let bytes = tiles.entry(tile).or_insert_with(|| read_hashes(dir, tile));
                    HashTile::new(tile, bytes)?.node(span)
                };
                range_root(head.size, page.first, hashes, outside) == Ok(head.root)
            }
        }
    }

    /// Everything up to the head is there, and makes its root.
    fn holds_all(&self, head: Option<TreeHead>) -> bool {
        match (self, head) {
            (Self::Edge(edge), Some(head)) => edge.size() == head.size && edge.root() == head.root,
            _ => false,
        }
    }
}

/// The hashes of a tile, or of the full one in its place; none where there is neither.
fn read_hashes(dir: &Path, tile: Tile) -> Vec<u8> {
    let read = |tile: Tile| read_if_there(&dir.join(tile.to_string()));
    let mut bytes = read(tile).or_else(|| read(tile.full()?)).unwrap_or_default();
    bytes.truncate(usize::from(tile.width()) * size_of::<Hash>());
    bytes
}

fn read_page(log: &str, encoding: Encoding, first: u64, path: &Path, bytes: &[u8]) -> Result<Page, String> {
    if encoding == Encoding::Tiles {
        let tile = path.to_string_lossy();
        let tile = tile.rfind("tile/data/").and_then(|at| Tile::from_path(&tile[at..])).ok_or("not a tile")?;
        return push_tile(log, tile, bytes, first, first + u64::from(tile.width()));
    }
    let entries: GetEntries = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    let mut page = Page::new(first);
    entries.entries.iter().try_for_each(|entry| push_entry(&mut page, log, entry))?;
    Ok(page)
}

/// The files with entries, by the index of their first. Of two with the same first entry the larger one counts.
fn files(dir: &Path, encoding: Encoding) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found: Vec<(u64, u64, PathBuf)> = Vec::new();
    let top = if encoding == Encoding::Tiles { dir.join("tile/data") } else { dir.join("ct/v1/get-entries") };
    let mut dirs = vec![top];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let path = entry.path();
            // A link to a folder is none: links can lead in circles.
            if entry.file_type()?.is_dir() {
                dirs.push(path);
                continue;
            }
            let first = match encoding {
                Encoding::Tiles => {
                    let name = path.strip_prefix(dir).ok().and_then(Path::to_str);
                    name.and_then(Tile::from_path).filter(|tile| tile.kind() == TileKind::Data).map(Tile::first)
                }
                _ => path.file_name().and_then(|name| first_index(&name.to_string_lossy())),
            };
            if let Some(first) = first {
                found.push((first, fs::metadata(&path)?.len(), path));
            }
        }
    }
    found.sort_by(|a, b| (a.0, std::cmp::Reverse(a.1), &a.2).cmp(&(b.0, std::cmp::Reverse(b.1), &b.2)));
    found.dedup_by_key(|(first, ..)| *first);
    Ok(found.into_iter().map(|(first, _, path)| (first, path)).collect())
}

/// Of `0-255.json`, or of `get-entries?start=0&end=255`.
fn first_index(name: &str) -> Option<u64> {
    let digits = name.split_once("start=").map_or(name, |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The bytes of a file, decompressed, and how many there are on disk.
fn read_file(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut stored = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut stored)?;
    let length = stored.len() as u64;
    let mut bytes = stored;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(&bytes[..]).take(FILE_BYTES_MAX + 1).read_to_end(&mut plain)?;
        bytes = plain;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(at(path, "longer than any answer of a log"));
    }
    Ok((bytes, length))
}

fn read_if_there(path: &Path) -> Option<Vec<u8>> {
    read_file(path).ok().map(|(bytes, _)| bytes)
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn at(path: &Path, why: &str) -> io::Error {
    bad(&format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_in_names() {
        for (name, want) in [
            ("0-255.json", Some(0)),
            ("256-511.json.gz", Some(256)),
            ("get-entries?start=32&end=63", Some(32)),
            ("12", Some(12)),
            ("readme.txt", None),
            ("99999999999999999999-1.json", None),
        ] {
            assert_eq!(first_index(name), want, "{name}");
        }
    }
}
