//! Writes a journal: batches in memory, one write and one sync a commit.
//!
//! The order of effects, and what a crash between them leaves:
//!
//! ```text
//! 1 create the segment, sync DIR    crash: an empty newest segment; the next writer uses it
//! 2 write the batches               crash: a torn tail, or whole batches nobody was promised; the next writer cuts or keeps
//! 3 sync the segment                crash: an old head; the next writer renews it from the segment
//! 4 write the head                  readers see the batches
//! ```
//!
//! A full disk at 1 or 2 leaves the segment as it was, and everything buffered. A failed sync ends the writer.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ct_model::MessageId;
use memchr::{memchr, memchr2_iter};
use tracing::{Level, debug, enabled};

use super::head::Head;
use super::mark::{About, Mark, Seal, check_feed, cut_gap};
use super::scan::Scan;
use super::{
    BATCH_BYTES, Batch, Body, FRAME_BYTES_MAX, Gap, JournalError, JournalId, Kind, list_segments, segment_path,
    sync_dir,
};

/// Far below the 2^32 batches that have a number, and far above what a segment of usual size has.
const BATCHES_MAX: u32 = 1 << 30;
/// Of the buffer, kept from commit to commit. More is needed only while commits fail.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment that has this many bytes after a commit is closed.
    pub segment_bytes: u64,
    /// And one whose first batch is so much older than its last, by their times.
    pub segment_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, segment_ms: u64::MAX }
    }
}

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// By feed: up to when the journal tells what came, as frames or as a gap. Unix ms.
    pub last_ms: BTreeMap<String, u64>,
    /// A torn tail, cut off the newest segment: it was never promised to be durable.
    pub truncated_bytes: u64,
    /// What the head of the last writer says was durable, and is not there.
    pub lost_bytes: u64,
}

/// The one writer of a journal. What was appended since the last commit is lost when it is dropped.
pub struct Journal {
    dir: PathBuf,
    options: Options,
    id: JournalId,
    /// Holds the lock until it is dropped.
    _lock: File,
    medium: Box<dyn Medium>,
    /// All that exist; never without the newest, once there is one.
    segments: BTreeMap<u32, Stored>,
    /// The greatest number that was ever used.
    newest: u32,
    /// The newest segment, while it is appended to.
    current: Option<File>,
    head: File,
    /// What is durable, and not in the head so far.
    unannounced: Option<Head>,
    poisoned: bool,
    /// Whole batches, marks and bodies, that wait for a commit.
    sealed: Vec<u8>,
    /// When the first of them was written, unix ms.
    sealed_ms: Option<u64>,
    /// When the last of them was, unix ms.
    newest_ms: u64,
    /// Ordinal of the next batch in the segment it will be in.
    batch: u32,
    /// The same when the last commit was made.
    batch_durable: u32,
    /// Frames behind `sealed`, and their batch to be.
    body: Vec<u8>,
    open: Option<Open>,
}

struct Stored {
    /// Durable ones.
    bytes: u64,
    /// When its first batch was written, unix ms.
    first_ms: Option<u64>,
}

impl Stored {
    /// At a moment, unix ms; 0 by a clock that was set back.
    fn age_ms(&self, now_ms: u64) -> u64 {
        self.first_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms))
    }
}

struct Open {
    feed: Arc<str>,
    lines: u64,
    at_ms: u64,
}

impl Journal {
    /// Opens the journal in `dir` for writing, or begins one there with the id `random_id`.
    ///
    /// Cuts a torn tail off, so that all segments end with a whole batch, and makes the rest durable. Reads the newest
    /// segment and the marks of all others. Fails with [`JournalError::Locked`] while another writer has it open.
    pub fn open(dir: &Path, options: Options, random_id: [u8; 16]) -> Result<(Self, Recovery), JournalError> {
        Self::open_on(Box::new(Disk), dir, options, random_id)
    }

    fn open_on(
        medium: Box<dyn Medium>,
        dir: &Path,
        options: Options,
        random_id: [u8; 16],
    ) -> Result<(Self, Recovery), JournalError> {
        create_dir(dir).map_err(JournalError::io("creating", dir))?;
        let lock = lock(dir)?;
        let id = JournalId::read_or_create(dir, random_id)?;

        let head_path = Head::path(dir);
        let old_head = Head::read(dir).map_err(JournalError::io("reading", &head_path))?;
        let old_head = old_head.unwrap_or(Head { segment: 0, bytes: 0 });

        let mut recovery = Recovery::default();
        let mut segments = BTreeMap::new();
        let mut current = None;
        let mut numbers = list_segments(dir)?;
        numbers.sort_unstable();
        let last = numbers.pop().unwrap_or(0);
        for number in numbers {
            segments.insert(number, survey(dir, id, number, &mut recovery)?);
        }
        if old_head.segment > last {
            recovery.lost_bytes = old_head.bytes;
        }
        if last > 0 {
            let promised = if old_head.segment == last { old_head.bytes } else { 0 };
            let (stored, file) = recover(dir, id, last, promised, &mut recovery)?;
            // One that had batches is not begun again: a reader may go on behind them.
            if stored.bytes == 0 && promised == 0 && old_head.segment <= last {
                current = Some(file);
            }
            segments.insert(last, stored);
        }

        let bytes = segments.get(&last).map_or(0, |stored| stored.bytes);
        let new_head = if old_head.segment > last { old_head } else { Head { segment: last, bytes } };
        let head = OpenOptions::new().write(true).create(true).truncate(false).open(&head_path);
        let head = head.map_err(JournalError::io("opening", &head_path))?;
        new_head.write(&head).map_err(JournalError::io("writing", &head_path))?;
        sync_dir(dir).map_err(JournalError::io("syncing", dir))?;

        let journal = Self {
            dir: dir.to_owned(),
            options,
            id,
            _lock: lock,
            medium,
            segments,
            newest: new_head.segment,
            current,
            head,
            unannounced: None,
            poisoned: false,
            sealed: Vec::new(),
            sealed_ms: None,
            newest_ms: 0,
            batch: 0,
            batch_durable: 0,
            body: Vec::new(),
            open: None,
        };
        Ok((journal, recovery))
    }

    /// The greatest segment number that was ever used.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    pub fn id(&self) -> JournalId {
        self.id
    }

    /// Adds a frame of a feed, arrived at `at_ms` (unix ms), to what the next commit makes durable. No I/O.
    ///
    /// Line ends in it become spaces, as which JSON allows them between tokens only; a frame without text becomes the line
    /// `""`, since a blank line says nothing. Refuses a frame over [`FRAME_BYTES_MAX`] and a name over
    /// [`FEED_BYTES_MAX`](super::FEED_BYTES_MAX), and goes on.
    pub fn append(&mut self, feed: &str, at_ms: u64, frame: &[u8]) -> Result<(), JournalError> {
        self.check_usable()?;
        check_feed(feed)?;
        if frame.len() > FRAME_BYTES_MAX {
            return Err(JournalError::Frame { feed: feed.to_owned(), bytes: frame.len() });
        }
        if self.open.as_ref().is_some_and(|open| *open.feed != *feed) {
            self.seal();
        }
        if frame.trim_ascii().is_empty() {
            self.body.extend_from_slice(b"\"\"");
        } else {
            let start = self.body.len();
            self.body.extend_from_slice(frame);
            for at in memchr2_iter(b'\n', b'\r', frame) {
                self.body[start + at] = b' ';
            }
        }
        self.body.push(b'\n');
        let open = self.open.get_or_insert_with(|| Open { feed: feed.into(), lines: 0, at_ms });
        open.lines += 1;
        open.at_ms = at_ms;
        if self.body.len() >= BATCH_BYTES {
            self.seal();
        }
        Ok(())
    }

    /// Adds a tick: nothing came up to `at_ms`, unix ms. No I/O.
    pub fn tick(&mut self, at_ms: u64) -> Result<(), JournalError> {
        self.check_usable()?;
        self.seal();
        self.push(at_ms, About::Tick);
        Ok(())
    }

    /// Adds a gap, found at `at_ms`, unix ms. Its texts are cut where they are too long. No I/O.
    pub fn gap(&mut self, at_ms: u64, gap: Gap) -> Result<(), JournalError> {
        self.check_usable()?;
        check_feed(&gap.feed)?;
        self.seal();
        self.push(at_ms, About::Gap(cut_gap(gap)));
        Ok(())
    }

    /// Makes all that was appended durable, and shows it to readers. Does nothing when there is nothing.
    ///
    /// After an error with [`retry`](JournalError::retry) nothing is lost: call it again when the disk has room. Any other
    /// ends the journal, and what was appended since the last commit is lost; it can be opened anew.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        self.check_usable()?;
        self.seal();
        let done = self.store().and_then(|()| self.announce());
        self.poisoned = done.as_ref().is_err_and(|error| !error.retry());
        done
    }

    /// Gives up what was appended and is not durable. No I/O.
    pub fn discard(&mut self) {
        (self.sealed_ms, self.open, self.batch) = (None, None, self.batch_durable);
        self.sealed.clear();
        self.body.clear();
    }

    /// Appended, and not durable so far, in bytes. The caller bounds it, by a pause while commits fail.
    pub fn pending_bytes(&self) -> usize {
        self.sealed.len() + self.body.len()
    }

    /// Of all segments there are.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|stored| stored.bytes).sum()
    }

    /// When the oldest batch that is still there was written, unix ms.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.segments.values().find_map(|stored| stored.first_ms)
    }

    /// The oldest segments whose first batch is at least `age_ms` old at `now_ms` (unix ms), with their bytes; the newest is
    /// not among them.
    pub fn aged(&self, age_ms: u64, now_ms: u64) -> Vec<(u32, u64)> {
        let closed = self.segments.range(..self.newest_stored());
        let aged = closed.take_while(|(_, stored)| stored.age_ms(now_ms) >= age_ms);
        aged.map(|(number, stored)| (*number, stored.bytes)).collect()
    }

    /// The segments below `segment` with their paths, oldest first, without the newest: they can be archived, and removed.
    pub fn releasable(&self, segment: u32) -> Vec<(u32, PathBuf)> {
        let below = self.segments.range(..segment.min(self.newest_stored()));
        below.map(|(number, _)| (*number, segment_path(&self.dir, *number))).collect()
    }

    /// Deletes one segment, if it is still there: an archive may have taken the file. The newest is refused.
    pub fn remove(&mut self, segment: u32) -> Result<(), JournalError> {
        if segment >= self.newest_stored() {
            return Err(JournalError::Newest { segment });
        }
        let path = segment_path(&self.dir, segment);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::io("deleting", &path)(source));
            }
            _ => {}
        }
        self.segments.remove(&segment);
        Ok(())
    }

    /// Deletes all segments below `segment`, without the newest, and returns their numbers.
    pub fn release(&mut self, segment: u32) -> Result<Vec<u32>, JournalError> {
        let numbers: Vec<u32> = self.releasable(segment).into_iter().map(|(number, _)| number).collect();
        for number in &numbers {
            self.remove(*number)?;
        }
        Ok(numbers)
    }

    fn newest_stored(&self) -> u32 {
        self.segments.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn check_usable(&self) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned { path: self.dir.clone() });
        }
        Ok(())
    }

    /// Ends the open batch.
    fn seal(&mut self) {
        let Some(Open { feed, lines, at_ms }) = self.open.take() else { return };
        let (bytes, crc32) = (self.body.len() as u64, crc32fast::hash(&self.body));
        self.push(at_ms, About::Frames { feed, lines, bytes, crc32 });
        self.sealed.append(&mut self.body);
    }

    fn push(&mut self, at_ms: u64, about: About) {
        // A batch is in the segment that is appended to, or in the next one, which is begun when it is stored.
        let segment = if self.current.is_some() { self.newest } else { self.newest.saturating_add(1) };
        Mark { batch: self.batch, at_ms, about }.encode(Seal::of(self.id, segment), &mut self.sealed);
        self.sealed_ms.get_or_insert(at_ms);
        self.newest_ms = at_ms;
        self.batch += 1;
    }

    /// Makes the sealed batches durable.
    fn store(&mut self) -> Result<(), JournalError> {
        if self.sealed.is_empty() {
            return Ok(());
        }
        if self.current.is_none() {
            self.begin_segment()?;
        }
        let path = segment_path(&self.dir, self.newest);
        let file = self.current.as_ref().expect("a segment was begun");
        let stored = self.segments.get_mut(&self.newest).expect("the newest is listed");
        if let Err(source) = self.medium.write_all_at(file, &self.sealed, stored.bytes) {
            let failed = JournalError::Io { action: "writing", path: path.clone(), source };
            return match file.set_len(stored.bytes) {
                Ok(()) => Err(failed),
                Err(source) => Err(JournalError::Sync { path, source }),
            };
        }
        if let Err(source) = self.medium.sync_data(file) {
            // If that works, too: the next writer must not take for durable what the system has in memory only.
            let _ = file.set_len(stored.bytes);
            return Err(JournalError::Sync { path, source });
        }
        stored.bytes += self.sealed.len() as u64;
        stored.first_ms = stored.first_ms.or(self.sealed_ms.take());
        self.unannounced = Some(Head { segment: self.newest, bytes: stored.bytes });
        if enabled!(Level::DEBUG) {
            let offset = stored.bytes - self.sealed.len() as u64;
            trace(self.id, self.newest, offset, &self.sealed);
        }
        let is_old = stored.age_ms(self.newest_ms) >= self.options.segment_ms;
        if stored.bytes >= self.options.segment_bytes || is_old || self.batch >= BATCHES_MAX {
            (self.current, self.batch) = (None, 0);
        }
        self.batch_durable = self.batch;
        self.sealed_ms = None;
        self.sealed.clear();
        self.sealed.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), JournalError> {
        let number = self.newest.checked_add(1).ok_or_else(|| JournalError::Numbers { path: self.dir.clone() })?;
        let path = segment_path(&self.dir, number);
        let file = self.medium.create(&path).map_err(JournalError::io("creating", &path))?;
        (self.newest, self.current) = (number, Some(file));
        self.segments.insert(number, Stored { bytes: 0, first_ms: None });
        sync_dir(&self.dir).map_err(|source| JournalError::Sync { path: self.dir.clone(), source })
    }

    /// Writes the head.
    fn announce(&mut self) -> Result<(), JournalError> {
        if let Some(head) = self.unannounced {
            head.write(&self.head).map_err(JournalError::io("writing", &Head::path(&self.dir)))?;
            self.unannounced = None;
        }
        Ok(())
    }
}

/// Says which messages are durable now: those of `sealed`, batches at an offset of a segment.
fn trace(journal: JournalId, segment: u32, mut offset: u64, mut sealed: &[u8]) {
    let seal = Seal::of(journal, segment);
    let line = |text: &[u8]| memchr(b'\n', text).map_or(text.len(), |end| end + 1);
    while let Some(mark) = Mark::decode(&sealed[..line(sealed).saturating_sub(1)], seal) {
        let body = line(sealed);
        let end = body + usize::try_from(mark.bytes()).expect("a batch was made in memory");
        if let About::Frames { feed, .. } = &mark.about {
            let mut at = body;
            while at < end {
                let message_id = MessageId { segment, batch: mark.batch, offset: offset + at as u64 };
                debug!(%message_id, %feed, "a message was journalled");
                at += line(&sealed[at..end]);
            }
        }
        (offset, sealed) = (offset + end as u64, &sealed[end..]);
    }
}

/// What the writer does to a segment. Tests put a disk in its place that fails.
trait Medium: Send {
    fn create(&self, path: &Path) -> io::Result<File>;
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

struct Disk;

impl Medium for Disk {
    fn create(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Creates a directory and those above it, and makes their names durable.
fn create_dir(dir: &Path) -> io::Result<()> {
    let missing = dir.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists());
    let missing: Vec<&Path> = missing.collect();
    fs::create_dir_all(dir)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync_dir)
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(JournalError::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(JournalError::io("locking", &path)(source)),
    }
}

/// Reads the marks of a closed segment.
fn survey(dir: &Path, id: JournalId, segment: u32, recovery: &mut Recovery) -> Result<Stored, JournalError> {
    let mut scan = Scan::open(dir, id, segment)?.ok_or(JournalError::Gone { segment })?;
    let mut stored = Stored { bytes: scan.length()?, first_ms: None };
    while let Some(batch) = scan.step(stored.bytes)? {
        note(&batch, &mut stored, recovery);
    }
    Ok(stored)
}

/// Cuts the torn tail off the newest segment and makes the rest durable. `promised` bytes of it are no torn tail.
///
/// A batch that is not whole and has a whole one behind it is damage, which stays: it may have been promised.
fn recover(
    dir: &Path,
    id: JournalId,
    segment: u32,
    promised: u64,
    recovery: &mut Recovery,
) -> Result<(Stored, File), JournalError> {
    let mut scan = Scan::open(dir, id, segment)?.ok_or(JournalError::Gone { segment })?;
    let length = scan.length()?;
    let mut stored = Stored { bytes: if promised <= length { promised } else { 0 }, first_ms: None };
    while let Some(batch) = scan.step(length)? {
        if matches!(batch.body_by(|at, bytes| scan.read(at, bytes))?, Body::Whole(_)) {
            note(&batch, &mut stored, recovery);
            stored.bytes = stored.bytes.max(scan.offset());
        }
    }
    let path = segment_path(dir, segment);
    let file = OpenOptions::new().write(true).open(&path).map_err(JournalError::io("opening", &path))?;
    if stored.bytes < length {
        file.set_len(stored.bytes).map_err(JournalError::io("truncating", &path))?;
    }
    file.sync_all().map_err(JournalError::io("syncing", &path))?;
    recovery.truncated_bytes = length - stored.bytes;
    recovery.lost_bytes = promised.saturating_sub(stored.bytes);
    Ok((stored, file))
}

fn note(batch: &Batch, stored: &mut Stored, recovery: &mut Recovery) {
    stored.first_ms = stored.first_ms.or(batch.at_ms());
    let (feed, until_ms) = match &batch.kind {
        Kind::Frames { feed, at_ms, .. } => (&**feed, *at_ms),
        Kind::Gap { gap, .. } => (&*gap.feed, gap.to_ms),
        Kind::Tick { .. } | Kind::Damaged { .. } | Kind::Missing { .. } => return,
    };
    match recovery.last_ms.get_mut(feed) {
        Some(last_ms) => *last_ms = until_ms.max(*last_ms),
        None => drop(recovery.last_ms.insert(feed.to_owned(), until_ms)),
    }
}

#[cfg(test)]
mod tests;
