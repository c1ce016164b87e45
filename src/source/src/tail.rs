//! Follows a journal for the workers of a process, while somebody else writes it.
//!
//! Each worker has a thread that goes through all batches and reads the bodies of its own: batch `b` of segment `s` belongs
//! to worker `(s + b) % (processes * workers)`. Every position of the journal is in one block, whatever became of the
//! batch there, and every segment ends with a block of its own, so that positions follow each other without a hole.
//!
//! What is damaged or missing is told as gaps. All of a stretch that cannot be read is one block, which has its gaps and
//! says what follows: a job goes on in front of the stretch, or behind it, and tells of it once. The block comes when
//! the next good batch does, which tells until when messages are missing.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ct_model::Age;

use crate::error::SourceError;
use crate::inlet::{Gone, Inlet, Outlet, inlet};
use crate::journal::{Batch, Body, Damage, Gap, JournalError, JournalReader, Kind};
use crate::reader::Placement;

/// Blocks that wait for a worker.
const BLOCKS_WAITING_MAX: usize = 4;
/// How often the end of the journal is looked at.
const POLL: Duration = Duration::from_millis(8);
/// Stands for every feed of a journal.
pub const ALL_FEEDS: &str = "*";

/// What a journal has at one position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalBlock {
    pub segment: u32,
    pub batch: u32,
    /// Of `text`, in bytes from the start of the segment.
    pub offset: u64,
    pub feed: Arc<str>,
    /// When it was written, unix ms.
    pub at_ms: Option<u64>,
    /// How long journals were written up to it.
    pub age: Age,
    /// Lines of the segment between the block before and `text`.
    pub lines_before: u64,
    pub text: Vec<u8>,
    pub gaps: Vec<Gap>,
    /// The segment ends here.
    pub last: bool,
    /// What follows, where it is neither the next batch nor the next segment.
    pub next: Option<(u32, u32)>,
}

/// News of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Block(JournalBlock),
    /// No block of this worker comes before this segment and batch.
    Reached(u32, u32),
}

/// What a worker gets of a journal; after an error nothing more comes.
pub type JournalInlet = Inlet<Result<News, JournalError>>;

/// Follows the journal in `dir` from segment and batch `from` on, where `age` is how long journals were written; gives one inlet for each local worker.
///
/// The threads end soon after their inlets are dropped.
pub fn follow(dir: &Path, placement: Placement, from: (u32, u32), age: Age) -> Result<Vec<JournalInlet>, SourceError> {
    let mut inlets = Vec::with_capacity(placement.workers);
    for worker in 0..placement.workers {
        let (outlet, inlet) = inlet(worker, BLOCKS_WAITING_MAX);
        inlets.push(inlet);
        let mut follower = Follower::new(dir, placement, worker, from, age, outlet);
        thread::Builder::new()
            .name(format!("ct-tail-{worker}"))
            .spawn(move || follower.run())
            .map_err(|source| SourceError::Thread { source })?;
    }
    Ok(inlets)
}

struct Follower {
    placement: Placement,
    worker: usize,
    reader: JournalReader,
    /// Position of the next block.
    next: (u32, u32),
    /// What the worker knows of `next`.
    told: (u32, u32),
    /// Up to the last batch.
    age: Age,
    /// When the last batch was written, unix ms.
    last_ms: Option<u64>,
    /// Between `next` and the batch that comes next; of a segment's damage one.
    lost: Vec<Lost>,
    outlet: Outlet<Result<News, JournalError>>,
}

impl Follower {
    fn new(
        dir: &Path,
        placement: Placement,
        worker: usize,
        from: (u32, u32),
        age: Age,
        outlet: Outlet<Result<News, JournalError>>,
    ) -> Self {
        let reader = JournalReader::open(dir, from);
        let last_ms = Some(age.at_ms).filter(|at_ms| *at_ms > 0);
        Self { placement, worker, reader, next: from, told: from, age, last_ms, lost: Vec::new(), outlet }
    }

    fn run(&mut self) {
        loop {
            let step = match self.reader.next_batch() {
                Ok(Some(batch)) => self.take(&batch),
                Ok(None) => self.rest(),
                Err(error) => Err(Stop::Failed(error)),
            };
            match step {
                Ok(()) => {}
                Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    // Whoever is gone need not know.
                    let _ = self.outlet.send(Err(error));
                    return;
                }
            }
        }
    }

    /// There is no more for now.
    fn rest(&mut self) -> Result<(), Stop> {
        if self.told != self.next {
            self.told = self.next;
            self.outlet.send(Ok(News::Reached(self.next.0, self.next.1)))?;
        }
        thread::sleep(POLL);
        Ok(())
    }

    fn take(&mut self, batch: &Batch) -> Result<(), Stop> {
        let at_ms = batch.at_ms();
        match &batch.kind {
            Kind::Missing { from_segment, to_segment } => {
                self.lost.push(Lost::Segments(*from_segment, *to_segment));
                return Ok(());
            }
            Kind::Damaged { damage, .. } => {
                self.last_ms = self.last_ms.max(at_ms);
                match self.lost.last_mut() {
                    // A reader that comes later sees both at once.
                    Some(Lost::Batches(segment, before)) if *segment == batch.segment => before.bytes += damage.bytes,
                    _ => self.lost.push(Lost::Batches(batch.segment, damage.clone())),
                }
                return Ok(());
            }
            _ => {}
        }
        // What was lost came before this batch.
        let to_ms = at_ms.or(self.last_ms).unwrap_or_default();
        let mut gaps: Vec<Gap> = self.lost.iter().map(|lost| self.gap(lost, to_ms)).collect();
        self.lost.clear();
        let place = (batch.segment, batch.batch);
        if !gaps.is_empty() && self.next < place {
            let gaps = std::mem::take(&mut gaps);
            let block = JournalBlock { gaps, last: self.next.0 < place.0, next: Some(place), ..self.block() };
            self.next = place;
            self.send(block)?;
        }
        self.pass(place)?;
        let own = self.owns(self.next);
        at_ms.into_iter().for_each(|at_ms| self.age.reach(at_ms));
        let mut block = JournalBlock { offset: batch.offset, at_ms, lines_before: 1, gaps, ..self.block() };
        match &batch.kind {
            Kind::Frames { feed, .. } if own => {
                block.feed = Arc::clone(feed);
                match self.reader.body(batch).map_err(Stop::Failed)? {
                    Body::Whole(text) => block.text = text,
                    Body::Damaged(damage) => {
                        let lost = self.gap(&Lost::Batches(batch.segment, damage), to_ms);
                        block.gaps.push(Gap { feed: feed.to_string(), ..lost });
                    }
                }
            }
            Kind::Gap { gap, .. } => block.gaps.push(gap.clone()),
            _ => {}
        }
        self.last_ms = at_ms.or(self.last_ms);
        self.next.1 += 1;
        self.send(block)
    }

    /// Goes on to `position`, by a block for each place in between.
    fn pass(&mut self, position: (u32, u32)) -> Result<(), Stop> {
        while self.next < position {
            let last = self.next.0 < position.0;
            let block = JournalBlock { last, ..self.block() };
            self.next = if last { (self.next.0 + 1, 0) } else { (self.next.0, self.next.1 + 1) };
            self.send(block)?;
        }
        Ok(())
    }

    /// An empty one at the next position.
    fn block(&self) -> JournalBlock {
        let (segment, batch) = self.next;
        JournalBlock { segment, batch, age: self.age, ..JournalBlock::default() }
    }

    /// A gap of all feeds since the last batch.
    fn gap(&self, lost: &Lost, to_ms: u64) -> Gap {
        let (reason, detail) = match lost {
            Lost::Segments(from, to) => {
                ("journal_missing", format!("segments {from} to {to} were deleted before they were read"))
            }
            Lost::Batches(_, damage) => ("journal_damaged", told(damage)),
        };
        let (feed, reason, from_ms) = (ALL_FEEDS.to_owned(), reason.to_owned(), self.last_ms);
        Gap { feed, from_ms, to_ms: to_ms.max(from_ms.unwrap_or(0)), reason, detail }
    }

    fn owns(&self, (segment, batch): (u32, u32)) -> bool {
        self.placement.local_owner(segment, batch) == Some(self.worker)
    }

    fn send(&mut self, block: JournalBlock) -> Result<(), Stop> {
        if self.owns((block.segment, block.batch)) {
            self.told = (block.segment, block.batch + 1);
            self.outlet.send(Ok(News::Block(block)))?;
        }
        Ok(())
    }
}

/// What cannot be read.
enum Lost {
    /// From and to, both ends included.
    Segments(u32, u32),
    /// Of this segment.
    Batches(u32, Damage),
}

enum Stop {
    /// The worker is.
    Gone,
    Failed(JournalError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

fn told(damage: &Damage) -> String {
    match damage.lines {
        Some(lines) => format!("{} bytes with {lines} messages: {}", damage.bytes, damage.why),
        None => format!("{} bytes: {}", damage.bytes, damage.why),
    }
}

#[cfg(test)]
mod tests;
