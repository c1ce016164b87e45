//! A walk over the batches of one segment, from its beginning, in bounded memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memmem};

use super::mark::{About, MARK_BYTES_MAX, MARK_BYTES_MIN, Mark, PREFIX, Seal};
use super::{Batch, Damage, JournalError, JournalId, Kind, segment_path};

/// Most marks are shorter.
const MARK_BYTES_USUAL: u64 = 512;
/// How much is read at a time while the next good mark is looked for.
const PIECE_BYTES: u64 = 64 << 10;

pub(super) struct Scan {
    file: File,
    path: PathBuf,
    segment: u32,
    seal: Seal,
    /// Where the next mark must be.
    offset: u64,
    /// Ordinal of that mark, and greater than that of any batch that was returned.
    next: u32,
    /// The least ordinal it can have: less than `next` when damage reached the limit, since then nobody knows how many
    /// batches it hit.
    least: u32,
    /// Where the batch `least` would have begun.
    sound: u64,
    last_ms: Option<u64>,
}

impl Scan {
    /// A segment of this journal; `None` when it does not exist.
    pub(super) fn open(dir: &Path, journal: JournalId, segment: u32) -> Result<Option<Self>, JournalError> {
        let path = segment_path(dir, segment);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::io("opening", &path)(source)),
        };
        let seal = Seal::of(journal, segment);
        Ok(Some(Self { file, path, segment, seal, offset: 0, next: 0, least: 0, sound: 0, last_ms: None }))
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    /// Where the batches returned so far end, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Every batch with a smaller ordinal was returned, as itself or as damage.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Of the file, in bytes.
    pub(super) fn length(&self) -> Result<u64, JournalError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(JournalError::io("reading", &self.path))
    }

    /// The next batch or stretch of damage before `limit`, which must be the end of a batch or of the file.
    ///
    /// A body is not read. After an error, the same call can be made again.
    pub(super) fn step(&mut self, limit: u64) -> Result<Option<Batch>, JournalError> {
        if self.offset >= limit {
            return Ok(None);
        }
        let Some((mark, body)) = self.mark_at(self.offset, limit)?.filter(|(mark, _)| self.may_follow(mark)) else {
            return self.skip_damage(limit).map(Some);
        };
        let (offset, end) = match body + mark.bytes() {
            end if end <= limit => (body, end),
            // A torn write. Its body is no place to look for marks: no mark was ever written there.
            _ => (self.offset, limit),
        };
        let kind = match mark.about {
            About::Frames { lines, .. } if offset < body => {
                let damage = Damage { bytes: limit - offset, lines: Some(lines), why: "the body is cut off" };
                Kind::Damaged { after_ms: self.last_ms, damage }
            }
            About::Frames { feed, lines, bytes, crc32 } => {
                Kind::Frames { feed, at_ms: mark.at_ms, lines, bytes, crc32 }
            }
            About::Tick => Kind::Tick { at_ms: mark.at_ms },
            About::Gap(gap) => Kind::Gap { at_ms: mark.at_ms, gap },
        };
        self.offset = end;
        self.next = mark.batch.saturating_add(1);
        (self.least, self.sound) = (self.next, end);
        self.last_ms = Some(mark.at_ms);
        Ok(Some(Batch { segment: self.segment, batch: mark.batch, offset, kind }))
    }

    /// Whether a mark that stands where one must be is the one that must be there.
    fn may_follow(&self, mark: &Mark) -> bool {
        mark.batch == self.next || (self.least < self.next && mark.batch >= self.least)
    }

    /// Returns what lies before the next good mark as damage.
    fn skip_damage(&mut self, limit: u64) -> Result<Batch, JournalError> {
        let (offset, batch) = (self.offset, self.next);
        let found = self.find_mark(limit)?;
        match found {
            Some((place, ordinal)) => {
                (self.offset, self.next) = (place, ordinal);
                (self.least, self.sound) = (ordinal, place);
            }
            None => (self.offset, self.next) = (limit, batch.saturating_add(1)),
        }
        let bytes = self.offset - offset;
        let why = if bytes == 0 { "batches are missing" } else { "the mark is damaged" };
        let damage = Damage { bytes, lines: None, why };
        Ok(Batch { segment: self.segment, batch, offset, kind: Kind::Damaged { after_ms: self.last_ms, damage } })
    }

    /// Place and ordinal of the first line from here on that can be a mark with its body.
    fn find_mark(&self, limit: u64) -> Result<Option<(u64, u32)>, JournalError> {
        let finder = memmem::Finder::new(PREFIX);
        let mut at = self.offset;
        loop {
            let piece = self.read(at, PIECE_BYTES.min(limit - at))?;
            for hit in finder.find_iter(&piece) {
                let place = at + hit as u64;
                if let Some(ordinal) = self.good_mark_at(place, limit)? {
                    return Ok(Some((place, ordinal)));
                }
            }
            if (piece.len() as u64) < PIECE_BYTES {
                return Ok(None);
            }
            // The start of a mark may lie across two pieces.
            at += PIECE_BYTES - (PREFIX.len() as u64 - 1);
        }
    }

    fn good_mark_at(&self, place: u64, limit: u64) -> Result<Option<u32>, JournalError> {
        let Some((mark, body)) = self.mark_at(place, limit)? else { return Ok(None) };
        // Frames may hold lines that look like marks. One with a great ordinal would hide the true ones behind it, so no
        // more batches can be lost here than had room. Without room, the file was edited: what follows is to be read.
        let room = (place - self.sound) / MARK_BYTES_MIN;
        let plausible = place == self.offset || u64::from(mark.batch.saturating_sub(self.least)) <= room;
        if mark.batch < self.least || !plausible || body + mark.bytes() > limit {
            return Ok(None);
        }
        let batch = mark.batch;
        let good = match mark.about {
            About::Frames { bytes, crc32, .. } => self.crc32(body, bytes)? == crc32,
            About::Tick | About::Gap(_) => true,
        };
        Ok(good.then_some(batch))
    }

    /// The mark at `place`, if there is one, and where its body begins.
    fn mark_at(&self, place: u64, limit: u64) -> Result<Option<(Mark, u64)>, JournalError> {
        let mut text = self.read(place, MARK_BYTES_USUAL.min(limit - place))?;
        let mut newline = memchr(b'\n', &text);
        if newline.is_none() && text.starts_with(PREFIX) {
            text = self.read(place, MARK_BYTES_MAX.min(limit - place))?;
            newline = memchr(b'\n', &text);
        }
        let mark = newline.and_then(|newline| Some((Mark::decode(&text[..newline], self.seal)?, newline)));
        Ok(mark.map(|(mark, newline)| (mark, place + newline as u64 + 1)))
    }

    fn crc32(&self, mut at: u64, bytes: u64) -> Result<u32, JournalError> {
        let end = at + bytes;
        let mut hasher = crc32fast::Hasher::new();
        while at < end {
            let piece = self.read(at, PIECE_BYTES.min(end - at))?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        Ok(hasher.finalize())
    }

    /// Reads `bytes` bytes, or as many as the file has.
    pub(super) fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>, JournalError> {
        let mut buffer = vec![0; bytes as usize];
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(JournalError::io("reading", &self.path)(source)),
            }
        }
        buffer.truncate(read);
        Ok(buffer)
    }
}
