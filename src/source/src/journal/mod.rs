//! The journal: an append-only log on local disk for frames of feeds that cannot be asked again.
//!
//! One [`Journal`] writes, any number of [`JournalReader`]s in other processes of the host tail it. It is a directory:
//!
//! ```text
//! id                  the journal's random id, made once, and the number of this format
//! lock                flock'ed by the writer
//! head                what is durable: read by living readers, worth nothing after a power loss
//! 0000000001.jsonl    segments: numbers from 1, without gaps, never used twice
//! ```
//!
//! A segment is a sequence of *batches*, each a mark (one line) and a body (whole lines, a frame each):
//!
//! ```text
//! {"message_type":"ct_stream_batch","data":{"batch":0,"feed":"a","at_ms":1790000000000,"lines":2,"bytes":62,"crc32":"89abcdef","check":"01234567"}}
//! {"message_type":"certificate_update", …}
//! {"message_type":"certificate_update", …}
//! ```
//!
//! so that a closed segment is also a file of JSON lines. A mark without a body is a *tick* (nothing came, and time went
//! by) or a *gap* (what a feed sent in a stretch of time is not in the journal).
//!
//! What always holds:
//! - Readers see only what is durable, and see it once, in order, at the same `(segment, batch)` whenever they ask.
//! - A segment is appended to by one incarnation of the writer, and never changes once a later one has data.
//! - A mark's check is seeded with the journal's id and the segment's number: elsewhere it is none.
//! - A line is a mark where the structure says so, and nowhere else: frames may hold the same text.
//! - Damage costs the batches it hit. It is reported at its place, as are segments that are gone; the rest is read.
//!
//! Nothing here reads a clock, waits or starts a thread. All calls are file I/O that can block on a slow disk.

mod error;
mod head;
mod id;
mod lines;
mod mark;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use error::JournalError;
pub use id::JournalId;
pub use lines::Lines;
pub use reader::{JournalReader, bytes_behind};
pub use writer::{Journal, Options, Recovery};

/// A longer frame is refused.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Of a feed's name. A longer one is refused.
pub const FEED_BYTES_MAX: usize = 256;
/// A batch ends with the frame that makes its body this long.
pub const BATCH_BYTES: usize = 256 << 10;
/// Of a body: one byte less than a batch, then the longest frame and its line end.
pub const BODY_BYTES_MAX: u64 = (BATCH_BYTES + FRAME_BYTES_MAX) as u64;

/// One item of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub segment: u32,
    /// Ordinal in its segment, from 0; of damage, that of the first batch it hit.
    pub batch: u32,
    /// Of the body in the file, in bytes; of damage, of its first byte.
    pub offset: u64,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Frames of one feed: a body of `lines` lines, `bytes` bytes in all.
    Frames {
        feed: Arc<str>,
        /// When the last of them arrived, unix ms.
        at_ms: u64,
        lines: u64,
        bytes: u64,
        /// Over the body.
        crc32: u32,
    },
    /// Nothing came up to this time, unix ms.
    Tick { at_ms: u64 },
    /// Written at this time, unix ms.
    Gap { at_ms: u64, gap: Gap },
    /// A stretch of the segment whose marks cannot be trusted. Reading goes on behind it.
    Damaged {
        /// Of the last good batch before it in the segment, unix ms.
        after_ms: Option<u64>,
        damage: Damage,
    },
    /// Segments that were deleted before this reader came to them, both ends included.
    Missing { from_segment: u32, to_segment: u32 },
}

impl Batch {
    /// When it was written, unix ms; of damage, the last time known before it.
    pub fn at_ms(&self) -> Option<u64> {
        match self.kind {
            Kind::Frames { at_ms, .. } | Kind::Tick { at_ms } | Kind::Gap { at_ms, .. } => Some(at_ms),
            Kind::Damaged { after_ms, .. } => after_ms,
            Kind::Missing { .. } => None,
        }
    }

    /// The body, from what reads so many bytes at an offset of its segment, or as many as there are.
    fn body_by(&self, read: impl FnOnce(u64, u64) -> Result<Vec<u8>, JournalError>) -> Result<Body, JournalError> {
        let (lines, bytes, crc32) = match &self.kind {
            Kind::Frames { lines, bytes, crc32, .. } => (*lines, *bytes, *crc32),
            Kind::Damaged { damage, .. } => return Ok(Body::Damaged(damage.clone())),
            Kind::Tick { .. } | Kind::Gap { .. } | Kind::Missing { .. } => return Ok(Body::Whole(Vec::new())),
        };
        let body = read(self.offset, bytes)?;
        let why = match body.len() as u64 == bytes {
            true if crc32fast::hash(&body) == crc32 => return Ok(Body::Whole(body)),
            true => "the body does not match its checksum",
            false => "the body is cut off",
        };
        Ok(Body::Damaged(Damage { bytes, lines: Some(lines), why }))
    }
}

/// What a feed sent from `from_ms` (`None`: unknown) to `to_ms` is not in the journal, or not all of it. Unix ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub feed: String,
    pub from_ms: Option<u64>,
    pub to_ms: u64,
    /// A short fixed word; what exceeds 64 bytes is cut.
    pub reason: String,
    /// For people; what exceeds 1 KiB is cut.
    pub detail: String,
}

/// Bytes of a segment that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// How many, marks included; 0 when batches are missing without a trace.
    pub bytes: u64,
    /// How many lines they held; `None` when the mark that said so is lost.
    pub lines: Option<u64>,
    pub why: &'static str,
}

/// What [`JournalReader::body`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// As it was written: the checksum is right.
    Whole(Vec<u8>),
    Damaged(Damage),
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:010}.jsonl"))
}

/// The numbers of the segments that exist, in any order. None when there is no directory.
fn list_segments(dir: &Path) -> Result<Vec<u32>, JournalError> {
    let failed = |source| JournalError::Io { action: "listing", path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(segment_number));
    }
    Ok(numbers)
}

fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".jsonl")?;
    let number = (digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())??;
    (number > 0).then_some(number)
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    // A relative path of one part has the parent "".
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
