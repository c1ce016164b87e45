//! The ends of the graph: where blocks and known rows come from, and where rows go.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ct_dataflows::Position;
use ct_dataflows::modules::Modules;
use ct_dataflows::ports::{Blocks, Input, KnownRows, Poll, Publish, Stage};
use ct_dataflows::records::{Block, Cut, Known, Overlong};
use ct_model::{Age, Counts, Gap, Horizon, Rows, Timestamp};
use ct_sinks::hot::horizon;
use ct_sinks::lake::{self, EncodeOptions, EncodedFile, Lake, encode};
use ct_sinks::{FileEntry, Manifest, ResumePoint, SinkError, manifest};
use ct_source::{ChunkReceiver, JournalBlock, JournalInlet, News, Step, logs};
use serde::{Deserialize, Serialize};
use timely::scheduling::SyncActivator;
use tracing::{debug, error, info};

use super::courier::Courier;
use super::plan::{Plan, Start};
use crate::fail::{fatal, line_of};

/// Blocks from the reader threads.
pub struct SegmentBlocks {
    pub chunks: ChunkReceiver,
    pub feed: Arc<str>,
    /// Segments by position: their names, and whether a reader of logs makes their text.
    pub segments: Arc<[(Arc<str>, bool)]>,
    /// The job is to end early.
    pub draining: Arc<AtomicBool>,
}

impl Blocks for SegmentBlocks {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.chunks.on_ready(move || {
            // A worker that is gone needs no waking.
            let _ = waker.activate();
        });
    }

    fn poll(&mut self) -> Poll<Input> {
        if self.draining.load(Ordering::Relaxed) {
            return Poll::End;
        }
        match self.chunks.try_recv() {
            Ok(None) => Poll::Pending,
            Ok(Some(Step::End)) => Poll::End,
            Err(error) => fatal(&anyhow::Error::new(error)),
            Ok(Some(Step::Chunk(chunk))) => {
                let (name, of_logs) = &self.segments[chunk.segment as usize];
                Poll::Ready(Input::Block(Block {
                    position: Position { segment: chunk.segment, chunk: chunk.chunk },
                    feed: self.feed.clone(),
                    segment_name: name.clone(),
                    of_logs: *of_logs,
                    offset: chunk.offset,
                    text: chunk.text,
                    overlong: chunk.overlong.map(|long| Overlong { offset: long.offset, head: long.head }),
                    last: chunk.last,
                    broken: chunk.broken,
                    ..Block::default()
                }))
            }
        }
    }
}

/// How far the workers of this process have read a journal.
#[derive(Default)]
pub struct ReadTo {
    /// When the newest block was written, unix ms; 0 before the first.
    at_ms: AtomicU64,
    /// A segment, and bytes from its start.
    position: Mutex<(u32, u64)>,
}

impl ReadTo {
    fn reach(&self, block: &JournalBlock) {
        if let Some(at_ms) = block.at_ms {
            self.at_ms.store(at_ms, Ordering::Relaxed);
        }
        let here = match (block.last, block.next) {
            (true, Some((segment, _))) => (segment, 0),
            (true, None) => (block.segment.saturating_add(1), 0),
            (false, _) => (block.segment, block.offset + block.text.len() as u64),
        };
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        *position = here.max(*position);
    }

    pub fn at_ms(&self) -> u64 {
        self.at_ms.load(Ordering::Relaxed)
    }

    pub fn position(&self) -> (u32, u64) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks from the threads that follow a journal.
pub struct JournalBlocks {
    pub news: JournalInlet,
    /// In front of a segment's number in its name.
    pub name: Arc<str>,
    pub read_to: Arc<ReadTo>,
    pub horizon: Option<Horizon>,
    /// The job is to end.
    pub draining: Arc<AtomicBool>,
}

impl Blocks for JournalBlocks {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.news.on_ready(move || {
            // A worker that is gone needs no waking.
            let _ = waker.activate();
        });
    }

    fn poll(&mut self) -> Poll<Input> {
        if self.draining.load(Ordering::Relaxed) {
            return Poll::End;
        }
        match self.news.try_recv() {
            Ok(None) => Poll::Pending,
            Ok(Some(Ok(News::Reached(segment, batch)))) => {
                Poll::Ready(Input::Reached(Position { segment, chunk: batch }))
            }
            Ok(Some(Ok(News::Block(block)))) => {
                self.read_to.reach(&block);
                Poll::Ready(Input::Block(journal_block(block, &self.name, self.horizon)))
            }
            Ok(Some(Err(error))) => fatal(&anyhow::Error::new(error).context("reading the journal")),
            Err(error) => fatal(&anyhow::Error::new(error)),
        }
    }
}

fn journal_block(block: JournalBlock, name: &str, horizon: Option<Horizon>) -> Block {
    let gaps = block.gaps.into_iter().map(|gap| Gap {
        feed: gap.feed.into(),
        from: gap.from_ms.map(from_unix_ms),
        to: from_unix_ms(gap.to_ms),
        reason: gap.reason.into(),
        detail: gap.detail.into(),
    });
    let of_logs = *block.feed == *logs::FEED;
    Block {
        position: Position { segment: block.segment, chunk: block.batch },
        feed: block.feed,
        at: block.at_ms.map(from_unix_ms),
        age: block.age,
        generation: horizon.map_or(0, |horizon| horizon.generation(block.age)),
        segment_name: format!("{name}{:010}.jsonl", block.segment).into(),
        offset: block.offset,
        lines_before: block.lines_before,
        text: block.text.into(),
        gaps: gaps.collect(),
        of_logs,
        overlong: None,
        last: block.last,
        next: block.next.map(|(segment, chunk)| Position { segment, chunk }),
        broken: None,
    }
}

fn from_unix_ms(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// Blocks of whatever the job reads.
pub enum AnyBlocks {
    Segments(SegmentBlocks),
    Journal(JournalBlocks),
}

impl Blocks for AnyBlocks {
    fn wake_by(&mut self, waker: SyncActivator) {
        match self {
            Self::Segments(blocks) => blocks.wake_by(waker),
            Self::Journal(blocks) => blocks.wake_by(waker),
        }
    }

    fn poll(&mut self) -> Poll<Input> {
        match self {
            Self::Segments(blocks) => blocks.poll(),
            Self::Journal(blocks) => blocks.poll(),
        }
    }
}

/// What the lake knows, read by a thread.
pub struct LakeKnown {
    rows: Receiver<(u32, Vec<Known>)>,
    wakers: SyncSender<SyncActivator>,
}

impl LakeKnown {
    /// Part `part` of `parts`, with a horizon and the age now only what lies within, with the certificates that
    /// `modules` remember.
    pub fn start(
        lake: Lake,
        modules: &Modules,
        part: usize,
        parts: usize,
        within: Option<(Horizon, Age)>,
    ) -> std::io::Result<Self> {
        const BATCHES_INFLIGHT: usize = 4;
        let (sender, rows) = sync_channel(BATCHES_INFLIGHT);
        let (wakers, woken) = sync_channel::<SyncActivator>(1);
        let remembered = modules.have_memory().then(|| modules.reach_days());
        thread::Builder::new().name("known".to_owned()).spawn(move || {
            // Without a waker the dataflow was never built.
            let Ok(waker) = woken.recv() else { return };
            let give = |generation, batch| match sender.send((generation, batch)).is_ok() && waker.activate().is_ok() {
                true => ControlFlow::Continue(()),
                // The worker is gone.
                false => ControlFlow::Break(()),
            };
            let read = || -> Result<(), SinkError> {
                let mut each =
                    |generation, batch: Vec<lake::Known>| give(generation, batch.into_iter().map(known).collect());
                lake.known(part, parts, within, &mut each)?;
                let Some(reach_days) = remembered else { return Ok(()) };
                let since = match reach_days {
                    Some(days) => horizon(&lake)?.map(|newest| newest.minus_days(days)),
                    None => None,
                };
                let certificate = |record| Known::Certificate(Box::new(record));
                lake.recall(part, parts, since, &mut |batch| give(0, batch.into_iter().map(certificate).collect()))
            };
            if let Err(error) = read() {
                fatal(&anyhow::Error::new(error).context("reading what the lake holds"));
            }
            drop(sender);
            let _ = waker.activate();
        })?;
        Ok(Self { rows, wakers })
    }
}

fn known(row: lake::Known) -> Known {
    match row {
        lake::Known::Entry { place, tag } => Known::Entry { place, tag },
        lake::Known::Other(key) if key.is_finding() => Known::Finding(key),
        lake::Known::Certificate(key) | lake::Known::Unplaced(key) | lake::Known::Other(key) => Known::Key(key),
    }
}

impl KnownRows for LakeKnown {
    fn wake_by(&mut self, waker: SyncActivator) {
        // Called once; the thread waits for it.
        let _ = self.wakers.send(waker);
    }

    fn poll(&mut self) -> Poll<(u32, Vec<Known>)> {
        match self.rows.try_recv() {
            Ok(batch) => Poll::Ready(batch),
            Err(TryRecvError::Empty) => Poll::Pending,
            // The thread ends the process when it cannot read to the end.
            Err(TryRecvError::Disconnected) => Poll::End,
        }
    }
}

/// Encodes on the worker's thread, writes on another.
pub struct LakeStage {
    options: EncodeOptions,
    writer: Courier<(u64, Vec<EncodedFile>), (u64, Vec<FileEntry>)>,
}

impl LakeStage {
    /// `part` tells the files of this worker from those of others.
    pub fn start(lake: Lake, plan: &Plan, part: u32) -> std::io::Result<Self> {
        let (job, patient) = (plan.job.clone(), plan.source.is_live());
        let writer = Courier::start("stage", move |(sequence, files): (u64, Vec<EncodedFile>)| {
            let entries = insist("writing to the lake", patient, || lake.stage(&job, sequence, part, files.clone()));
            (sequence, entries)
        })?;
        Ok(Self { options: EncodeOptions { der: plan.keep_der }, writer })
    }
}

impl Stage<FileEntry> for LakeStage {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.writer.wake_by(waker);
    }

    fn submit(&mut self, sequence: u64, rows: Rows) {
        match encode(rows, &self.options) {
            Ok(files) => self.writer.submit((sequence, files)),
            Err(error) => fatal(&anyhow::Error::new(error).context("encoding rows")),
        }
    }

    fn poll(&mut self) -> Option<(u64, Vec<FileEntry>)> {
        self.writer.poll()
    }
}

/// What is durable and visible.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Number of the newest manifest.
    pub sequence: u64,
    /// All segments before this one are read no more.
    pub segment: u32,
    /// Of the whole lake.
    pub totals: Counts,
    /// What this manifest added.
    pub files: u64,
    pub file_bytes: u64,
}

/// Writes manifests and makes their files visible.
pub struct LakePublish {
    courier: Courier<(Cut, Vec<FileEntry>), u64>,
}

impl LakePublish {
    /// `published` hears of each manifest after its files are visible.
    pub fn start(
        lake: Lake,
        plan: &Plan,
        start: Start,
        published: impl Fn(Published) + Send + 'static,
    ) -> std::io::Result<Self> {
        let patient = plan.source.is_live();
        let (job, input, horizon) = (plan.job.clone(), plan.input.clone(), plan.horizon);
        let mut chain = Chain { job, input, horizon, held: start, lake };
        let courier = Courier::start("publish", move |(cut, files): (Cut, Vec<FileEntry>)| {
            let (sequence, segment, batch) = (cut.sequence, cut.next.segment, cut.next.chunk);
            let manifest = chain.manifest(cut, files);
            let head = insist("committing to the lake", patient, || chain.lake.commit(&manifest));
            chain.held.newest_sha256 = head.sha256;
            insist("publishing", patient, || chain.lake.publish(&manifest));
            let files = manifest.files.len() as u64;
            let file_bytes = manifest.files.iter().map(|file| file.bytes).sum();
            let totals = manifest.totals;
            debug!(manifest = sequence, before = %format_args!("{segment}:{batch}"), "messages before this place are published");
            published(Published { sequence, segment, totals, files, file_bytes });
            sequence
        })?;
        Ok(Self { courier })
    }
}

impl Publish<FileEntry> for LakePublish {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.courier.wake_by(waker);
    }

    fn submit(&mut self, cut: Cut, parts: Vec<FileEntry>) {
        self.courier.submit((cut, parts));
    }

    fn poll(&mut self) -> Option<u64> {
        self.courier.poll()
    }
}

/// The end of the lake's chain of manifests, as this job extends it.
struct Chain {
    job: String,
    input: String,
    horizon: Option<Horizon>,
    /// What the chain holds so far.
    held: Start,
    lake: Lake,
}

impl Chain {
    /// The next manifest.
    fn manifest(&mut self, cut: Cut, mut files: Vec<FileEntry>) -> Manifest {
        files.sort_by(|a, b| (a.table, &a.path).cmp(&(b.table, &b.path)));
        let held = &mut self.held;
        held.totals += &cut.counts;
        held.newest_seen = held.newest_seen.max(cut.newest_seen);
        // What reads no journal knows of no age.
        held.age = if cut.age.is_unknown() { held.age } else { cut.age };
        held.unreadable.extend(cut.broken);
        held.damaged = cut.damage.last().map(|(_, segment)| *segment);
        Manifest {
            format: manifest::FORMAT,
            sequence: cut.sequence,
            previous: held.newest_sha256.clone(),
            lake: held.lake.clone(),
            job: self.job.clone(),
            resume: ResumePoint {
                input: self.input.clone(),
                segment: cut.next.segment,
                chunk: cut.next.chunk,
                lines: cut.lines,
                complete: cut.complete,
                unreadable: held.unreadable.clone(),
                damaged: held.damaged,
            },
            counts: cut.counts,
            totals: held.totals.clone(),
            newest_seen: held.newest_seen,
            age: held.age,
            horizon: self.horizon,
            files,
        }
    }
}

/// Does what must be done on a store, or ends the process. A live job has patience with a store that is away or full:
/// its input waits in the journal.
fn insist<T>(what: &'static str, patient: bool, mut act: impl FnMut() -> Result<T, SinkError>) -> T {
    const PAUSE_FIRST: Duration = Duration::from_millis(200);
    const PAUSE_LONGEST: Duration = Duration::from_secs(5);
    let (mut pause, mut failures) = (PAUSE_FIRST, 0_u64);
    loop {
        match act() {
            Ok(done) => {
                if failures > 0 {
                    info!(failures, "{what} succeeds again");
                }
                return done;
            }
            Err(error) if patient && error.retry() => {
                failures += 1;
                if failures == 1 {
                    let error = line_of(&anyhow::Error::new(error));
                    error!(error, "{what} fails; it is tried again until it succeeds");
                }
                thread::sleep(pause);
                pause = PAUSE_LONGEST.min(pause * 2);
            }
            Err(error) => fatal(&anyhow::Error::new(error).context(what)),
        }
    }
}
