//! Reads a journal in order, also while it is written.

use std::path::{Path, PathBuf};

use super::head::Head;
use super::scan::Scan;
use super::{Batch, Body, JournalError, JournalId, Kind, list_segments, segment_path};

/// Bytes that are durable in the journal in `dir` and lie behind `position`: a segment, and bytes from its start.
///
/// What was deleted in between does not count. `(0, 0)` is the beginning of what there is.
pub fn bytes_behind(dir: &Path, position: (u32, u64)) -> Result<u64, JournalError> {
    let head = Head::read(dir).map_err(JournalError::io("reading", &Head::path(dir)))?;
    let Some(head) = head.filter(|head| head.segment >= position.0) else { return Ok(0) };
    let begin = |segment| if segment == position.0 { position.1 } else { 0 };
    let mut bytes = head.bytes.saturating_sub(begin(head.segment));
    let closed = list_segments(dir)?.into_iter().filter(|segment| (position.0..head.segment).contains(segment));
    for segment in closed {
        let path = segment_path(dir, segment);
        match path.metadata() {
            Ok(metadata) => bytes += metadata.len().saturating_sub(begin(segment)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(JournalError::io("reading", &path)(source)),
        }
    }
    Ok(bytes)
}

/// One reader of a journal. It changes nothing in it and needs no writer, but sees only what a writer's head covers.
///
/// It holds at most one body, one mark and one piece of 64 KiB.
pub struct JournalReader {
    dir: PathBuf,
    /// Once there is one.
    id: Option<JournalId>,
    /// As it was last seen.
    head: Option<Head>,
    /// All that it covers was returned.
    at_end: bool,
    /// The segment that is read, or opened next; 0 stands for the first there is.
    segment: u32,
    /// Batches of that segment with a smaller ordinal are not wanted.
    from: u32,
    scan: Option<Scan>,
}

impl JournalReader {
    /// A reader of what lies at `from` and behind it: a segment and the ordinal of a batch in it.
    ///
    /// `(0, 0)` is the beginning of what there is. A position in a segment that was deleted is followed by
    /// [`Kind::Missing`] and the first segment behind it. A position behind the end is waited for, and so is a journal that
    /// does not exist.
    pub fn open(dir: &Path, from: (u32, u32)) -> Self {
        Self { dir: dir.to_owned(), id: None, head: None, at_end: false, segment: from.0, from: from.1, scan: None }
    }

    /// Everything before this was returned: where another reader can go on. A segment and a batch in it.
    pub fn position(&self) -> (u32, u32) {
        (self.segment, self.from.max(self.scan.as_ref().map_or(0, Scan::next)))
    }

    /// The next item; `None` when no more is durable now. Never waits, and can be called again after an error.
    ///
    /// The first call in a segment walks over the marks before its position, about 10 ms for 10,000 of them.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, JournalError> {
        if !self.at_end
            && let Some(batch) = self.next_before_head()?
        {
            return Ok(Some(batch));
        }
        let head = Head::read(&self.dir).map_err(JournalError::io("reading", &Head::path(&self.dir)))?;
        if self.at_end && head == self.head {
            return Ok(None);
        }
        (self.head, self.at_end) = (head, false);
        // It is made before the head, and never changes.
        if self.id.is_none() {
            self.id = JournalId::read(&self.dir)?;
        }
        self.next_before_head()
    }

    /// Reads the body of frames, and checks it; [`next_batch`](Self::next_batch) does not. Other kinds have an empty one.
    ///
    /// The batch is any that was returned. Fails when its segment is not the one being read, and is gone.
    pub fn body(&self, batch: &Batch) -> Result<Body, JournalError> {
        batch.body_by(|at, bytes| match &self.scan {
            Some(scan) if scan.segment() == batch.segment => scan.read(at, bytes),
            _ => {
                let scan = self.id.map(|id| Scan::open(&self.dir, id, batch.segment)).transpose()?.flatten();
                scan.ok_or(JournalError::Gone { segment: batch.segment })?.read(at, bytes)
            }
        })
    }

    fn next_before_head(&mut self) -> Result<Option<Batch>, JournalError> {
        let (Some(head), Some(id)) = (self.head, self.id) else { return Ok(None) };
        loop {
            let Some(scan) = &mut self.scan else {
                // Behind the end there is nothing to open so far.
                if self.segment > head.segment {
                    return Ok(None);
                }
                self.scan = Scan::open(&self.dir, id, self.segment)?;
                if self.scan.is_none() {
                    match self.skip_missing(head)? {
                        Skipped::Nothing => return Ok(None),
                        Skipped::Unasked => {}
                        Skipped::Missing(batch) => return Ok(Some(batch)),
                    }
                }
                continue;
            };
            // The head was read before the length, so that a closed segment has its last length.
            let (closed, length) = (scan.segment() < head.segment, scan.length()?);
            let limit = if closed { length } else { head.bytes };
            // A head that lies behind this segment, or promises more than there is: a writer is about to renew it.
            if scan.segment() > head.segment || length < limit {
                return Ok(None);
            }
            while let Some(batch) = scan.step(limit)? {
                // Of damage, too: whoever resumes at the ordinal that follows it was told, unless it hit none before that.
                if batch.batch >= self.from || scan.next() > self.from {
                    return Ok(Some(batch));
                }
            }
            if !closed {
                self.at_end = true;
                return Ok(None);
            }
            // The head's number is greater, so this one cannot overflow.
            (self.segment, self.from, self.scan) = (scan.segment() + 1, 0, None);
        }
    }

    /// Goes to the first segment that exists behind one that does not.
    fn skip_missing(&mut self, head: Head) -> Result<Skipped, JournalError> {
        let wanted = self.segment;
        let exist = list_segments(&self.dir)?.into_iter().filter(|found| (wanted..=head.segment).contains(found));
        let Some(found) = exist.min() else { return Ok(Skipped::Nothing) };
        (self.segment, self.from) = (found, if found == wanted { self.from } else { 0 });
        if wanted == 0 || found == wanted {
            return Ok(Skipped::Unasked);
        }
        let kind = Kind::Missing { from_segment: wanted, to_segment: found - 1 };
        Ok(Skipped::Missing(Batch { segment: wanted, batch: 0, offset: 0, kind }))
    }
}

/// What lies before the first segment that exists.
enum Skipped {
    /// There is none to go to.
    Nothing,
    /// Nothing the reader asked for.
    Unasked,
    Missing(Batch),
}
