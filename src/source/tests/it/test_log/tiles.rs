//! The files of static-ct-api: tiles and issuers.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::calls::Tile;
use super::entries::Bytes;
use super::faults::Fault;
use super::http::Answer;
use super::log::{Log, lock};

const BINARY: &str = "application/octet-stream";

impl Log {
    /// The width of a tile that may be asked for: full below the published size, partial for a size that was signed.
    fn width(&self, level: u32, tile: Tile, faults: &[Fault]) -> Option<u64> {
        let published = self.published();
        let size = published.heads.last().map_or(0, |head| head.size);
        let full = tile.number < size >> (8 * (level + 1));
        let Some(width) = tile.width else { return full.then_some(256) };
        if faults.contains(&Fault::NoPartials) || full && faults.contains(&Fault::NoOldPartials) {
            return None;
        }
        // The sizes with so many hashes at this level.
        let first = tile.number.checked_mul(256)?.checked_add(width)?.checked_mul(1 << (8 * level))?;
        let last = first.checked_add((1 << (8 * level)) - 1)?;
        published.sizes.range(first..=last).next().map(|_| width)
    }

    pub(super) fn hash_tile(&self, level: u32, tile: Tile, faults: &[Fault]) -> Answer {
        match self.width(level, tile, faults) {
            Some(width) => {
                let branch = self.branch(faults, false);
                Answer::new(200, BINARY, branch.tree.tile(level, tile.number, width))
            }
            None => Answer::refusal(404, "no such tile"),
        }
    }

    pub(super) fn data_tile(&self, tile: Tile, faults: &[Fault]) -> Answer {
        let Some(width) = self.width(0, tile, faults) else { return Answer::refusal(404, "no such tile") };
        let branch = self.branch(faults, true);
        let key = self.tile_key(&branch, tile.number);
        let kept = lock(&self.data_tiles).get(&key).cloned();
        let body = kept.unwrap_or_else(|| {
            let mut bytes = Vec::new();
            let first = tile.number * 256;
            (first..first + width).for_each(|index| self.entry_of(&branch, index).put_tile_leaf(&mut bytes));
            let body = Bytes::from(gzip(&bytes));
            // Partial tiles are many, and each is asked for once.
            if width == 256 {
                lock(&self.data_tiles).insert(key, Bytes::clone(&body));
            }
            body
        });
        Answer::new(200, BINARY, body).header("Content-Encoding", "gzip")
    }

    pub(super) fn issuer(&self, hex: &str) -> Answer {
        let mut fingerprint = [0; 32];
        let lower = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if lower {
            for (byte, digits) in fingerprint.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
                *byte = digits.iter().fold(0, |sum, digit| (sum << 4) | ((digit & 0xf) + 9 * (digit >> 6)));
            }
        }
        match self.issuers.get(&fingerprint).filter(|_| lower) {
            Some(issuer) => Answer::new(200, "application/pkix-cert", Bytes::clone(issuer)),
            None => Answer::refusal(404, "no such issuer"),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes bytes")
}

/// A gzip body of so many zeros.
pub(super) fn gzip_bomb(bytes: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = [0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len() as u64);
        encoder.write_all(&block[..part as usize]).expect("memory takes bytes");
        left -= part;
    }
    encoder.finish().expect("memory takes bytes")
}
