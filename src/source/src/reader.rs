//! The threads that read segments, and what each worker gets from them.
//!
//! Each worker has a *feeder*, a thread that goes through all segments in order and sends the worker its chunks:
//! - Chunk `c` of plain segment `s` belongs to worker `(s + c) % (processes * workers)` of the job, and its feeder reads it
//!   alone: one large file is spread over all workers of all processes.
//! - Chunks of compressed segments belong to workers alike. Text can be had only from the start, so every process
//!   decompresses all of a segment and keeps its workers' chunks: decompressing takes a fraction of what the text costs
//!   later, and the processes stay side by side. An *inflater* does it for all feeders of a process. There are two: one
//!   takes the compressed segments of even rank, one those of odd rank, so that the next is under way when one ends.
//!
//! Every queue is bounded, and nothing deadlocks as long as each worker takes what it has, or waits only for what was said
//! at smaller positions (as a worker does that waits for the frontier):
//! - A plain chunk waits for storage only.
//! - Of the feeders' current segments let `m` be the smallest, and compressed. Its inflater's earlier segments lie before
//!   `m`, so every feeder has taken all of them, and the inflater has come to `m`. It waits only for feeders that have not
//!   taken their chunks of `m`. Such a feeder is at `m`, not before it and not behind it, and waits for its worker or for
//!   the inflater: not for another feeder.
//! - An inflater that waits to send chunk `c` has sent all chunks before `c`, so whoever must do something at a smaller
//!   position has what it needs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::buffers::Buffers;
use crate::chunks::{Chunk, Sizes, Splitter, one_line};
use crate::decode::Decoder;
use crate::error::SourceError;
use crate::inlet::{Gone, Inlet, Outlet, inlet};
use crate::logs::access::Access;
use crate::logs::lines::Lines;
use crate::logs::{AccessOptions, archive, remote};
use crate::objects::Stores;
use crate::progress::Progress;
use crate::segments::{Encoding, Segment};
use crate::stored::{Stored, Unopened};

/// Chunks that wait for a worker.
const CHUNKS_WAITING_MAX: usize = 1;
/// Chunks of one inflater that wait for a feeder.
const CHUNKS_INFLATED_MAX: usize = 1;
/// Segments that a process decompresses at a time.
const INFLATERS: usize = 2;
/// Of a compressed object, asked for at a time.
const STORED_WINDOW_BYTES: u64 = 4 << 20;

/// Which part of the job this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub process: usize,
    pub processes: usize,
    /// Of each process.
    pub workers: usize,
}

impl Placement {
    /// The worker of this process that chunk `c` of segment `s` belongs to, if it belongs to one.
    pub(crate) fn local_owner(self, s: u32, c: u32) -> Option<usize> {
        let owner = (s as usize + c as usize) % (self.processes * self.workers);
        owner.checked_sub(self.process * self.workers).filter(|local| *local < self.workers)
    }
}

/// What reading needs besides the segments.
#[derive(Clone, Debug)]
pub struct Options {
    /// Must drive I/O and time on threads of its own, and outlive the receivers.
    pub runtime: Handle,
    pub progress: Arc<Progress>,
    pub sizes: Sizes,
    /// How logs are asked, where segments are to be read from them.
    pub logs: Option<AccessOptions>,
}

impl Options {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, progress: Arc::default(), sizes: Sizes::default(), logs: None }
    }
}

/// What a worker gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Chunk(Chunk),
    /// This worker has got all its chunks.
    End,
}

/// One worker's chunks, in increasing order of (segment, chunk), then [`Step::End`].
pub struct ChunkReceiver {
    steps: Inlet<Step>,
    ended: bool,
}

impl ChunkReceiver {
    /// As [`Inlet::on_ready`].
    pub fn on_ready(&self, wake: impl Fn() + Send + 'static) {
        self.steps.on_ready(wake);
    }

    /// The next step, `None` when there is none yet. Never waits. After the end it says so again.
    ///
    /// A reader that died is an error, not an end.
    pub fn try_recv(&mut self) -> Result<Option<Step>, SourceError> {
        if self.ended {
            return Ok(Some(Step::End));
        }
        let step = self.steps.try_recv()?;
        self.ended = matches!(step, Some(Step::End));
        Ok(step)
    }
}

/// Starts reading at position `from` = (segment, chunk); gives one receiver for each local worker.
///
/// A segment that cannot be read to its end says so in a chunk (`broken`), and the next ones go on.
/// The threads end when everything is read, or soon after their receivers are dropped.
///
/// # Panics
/// When `placement` names a process that does not exist, or has no worker.
pub fn start(
    segments: Arc<[Segment]>,
    placement: Placement,
    from: (u32, u32),
    options: Options,
) -> Result<Vec<ChunkReceiver>, SourceError> {
    assert!(placement.process < placement.processes && placement.workers > 0, "{placement:?}");
    let Options { runtime, progress, sizes, logs } = options;
    let sharer = (placement.process, placement.processes);
    let access = logs
        .as_ref()
        .map(|logs| Access::new(logs, sharer))
        .transpose()
        .map_err(|source| SourceError::Logs { source })?;
    let stores = Stores::new(runtime.clone());
    let plan = Arc::new(Plan { segments, placement, from, sizes, stores, access, runtime, progress });
    plan.progress.set_total((0..).zip(plan.segments.iter()).map(|(s, segment)| plan.bytes_left(s, segment)).sum());

    let mut inflated: Vec<Vec<Receiver<Inflated>>> = (0..placement.workers).map(|_| Vec::new()).collect();
    for inflater in 0..INFLATERS {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..placement.workers).map(|_| sync_channel(CHUNKS_INFLATED_MAX)).unzip();
        for (worker, receiver) in inflated.iter_mut().zip(receivers) {
            worker.push(receiver);
        }
        if plan.compressed().nth(inflater).is_some() {
            let plan = Arc::clone(&plan);
            spawn(format!("ct-inflate-{inflater}"), move || inflate(&plan, inflater, &senders))?;
        }
    }

    let mut receivers = Vec::with_capacity(placement.workers);
    for (worker, inflated) in inflated.into_iter().enumerate() {
        let (outlet, steps) = inlet(worker, CHUNKS_WAITING_MAX);
        receivers.push(ChunkReceiver { steps, ended: false });
        let plan = Arc::clone(&plan);
        spawn(format!("ct-read-{worker}"), move || {
            // Stopped early, it sends no end: a worker that is still there learns that way that chunks are missing.
            let _ = feed(&plan, worker, &inflated, &outlet).and_then(|()| Ok(outlet.send(Step::End)?));
        })?;
    }
    Ok(receivers)
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), SourceError> {
    thread::Builder::new().name(name).spawn(run).map(drop).map_err(|source| SourceError::Thread { source })
}

/// What all threads of the process agree on.
struct Plan {
    segments: Arc<[Segment]>,
    placement: Placement,
    from: (u32, u32),
    sizes: Sizes,
    stores: Stores,
    access: Option<Access>,
    runtime: Handle,
    progress: Arc<Progress>,
}

impl Plan {
    /// Segments from the resume point on, by position.
    fn segments(&self) -> impl Iterator<Item = (u32, &Segment)> {
        (0..).zip(self.segments.iter()).skip(self.from.0 as usize)
    }

    /// Compressed segments, likewise.
    fn compressed(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.segments().filter(|(_, segment)| segment.encoding != Encoding::Plain)
    }

    /// The first chunk of a segment that is wanted.
    fn first_chunk(&self, s: u32) -> u32 {
        if s == self.from.0 { self.from.1 } else { 0 }
    }

    /// The worker of this process that a chunk of a compressed segment belongs to.
    fn owner(&self, s: u32, segment: &Segment, c: u32) -> Option<usize> {
        match segment.encoding {
            // All of it belongs to the process that asks the log.
            Encoding::Remote => Some(c as usize % self.placement.workers),
            _ => self.placement.local_owner(s, c),
        }
    }

    /// Whether this process reads a segment: a log is asked by one.
    fn asks(&self, s: u32, segment: &Segment) -> bool {
        segment.encoding != Encoding::Remote || s as usize % self.placement.processes == self.placement.process
    }

    /// The text of a segment that a reader of logs makes.
    fn lines(&self, segment: &Segment) -> io::Result<Lines> {
        match (segment.encoding, &self.access) {
            (Encoding::Remote, Some(access)) => remote::open(segment, access, &self.runtime),
            _ => archive::open(segment),
        }
    }

    /// What is to be read of a segment: a compressed one is always read from its beginning.
    fn bytes_left(&self, s: u32, segment: &Segment) -> u64 {
        match segment.encoding {
            _ if s < self.from.0 => 0,
            Encoding::Plain => segment.bytes.saturating_sub(self.sizes.start(self.first_chunk(s))),
            _ => segment.bytes,
        }
    }
}

/// A chunk, or the end of a segment.
type Inflated = Option<Chunk>;

/// A feeder stops before its end: its worker is gone, or an inflater died.
struct Stopped;

impl From<Gone> for Stopped {
    fn from(_: Gone) -> Self {
        Stopped
    }
}

/// Sends one worker its chunks of all segments.
fn feed(plan: &Plan, worker: usize, inflated: &[Receiver<Inflated>], outlet: &Outlet<Step>) -> Result<(), Stopped> {
    let Placement { process, workers, .. } = plan.placement;
    let buffers = plan.sizes.buffers();
    let mut rank = 0;
    for (s, segment) in plan.segments() {
        if segment.encoding == Encoding::Plain {
            let mut chunks = own_chunks(plan, s, segment, process * workers + worker).peekable();
            if chunks.peek().is_none() {
                continue;
            }
            let stored = Stored::open(segment, &plan.stores);
            for c in chunks {
                let mut chunk = read_chunk(plan, segment, &stored, c, &buffers);
                chunk.segment = s;
                chunk.stored_bytes = plan.sizes.end(c).min(segment.bytes).saturating_sub(plan.sizes.start(c));
                plan.progress.add_read(chunk.stored_bytes);
                outlet.send(Step::Chunk(chunk))?;
            }
        } else {
            while let Some(chunk) = inflated[rank % INFLATERS].recv().map_err(|_| Stopped)? {
                outlet.send(Step::Chunk(chunk))?;
            }
            rank += 1;
        }
    }
    Ok(())
}

/// The chunks of a plain segment that belong to a worker, counted over all processes.
fn own_chunks(plan: &Plan, s: u32, segment: &Segment, worker: usize) -> impl Iterator<Item = u32> {
    let peers = (plan.placement.processes * plan.placement.workers) as u64;
    let first = plan.first_chunk(s);
    let place = (u64::from(s) + u64::from(first)) % peers;
    let skip = (worker as u64 + peers - place) % peers;
    let chunks = u64::from(plan.sizes.chunks(segment.bytes));
    (u64::from(first) + skip..chunks).step_by(peers as usize).map(|c| c as u32)
}

fn read_chunk(plan: &Plan, segment: &Segment, stored: &io::Result<Stored<'_>>, c: u32, buffers: &Buffers) -> Chunk {
    let input = match stored {
        Ok(stored) => stored.read_from(plan.sizes.first_byte(c), plan.sizes.window()),
        Err(error) => Err(restated(error)),
    };
    let input = input.unwrap_or_else(|error| Box::new(Unopened::new(error)));
    Splitter::at(c, segment.bytes, input, plan.sizes, buffers.clone()).cut().expect("a new splitter has a chunk")
}

/// The same again, for an error that spoils more than one chunk.
fn restated(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), one_line(error))
}

/// Decompresses every second compressed segment of the process and deals its chunks out to the feeders.
fn inflate(plan: &Plan, inflater: usize, feeders: &[SyncSender<Inflated>]) {
    let mut waiting = vec![true; feeders.len()];
    let buffers = plan.sizes.buffers();
    for (s, segment) in plan.compressed().skip(inflater).step_by(INFLATERS) {
        let stored = match segment.encoding.is_of_logs() {
            true => None,
            false => Some(Stored::open(segment, &plan.stores)),
        };
        let text = match &stored {
            Some(Ok(stored)) => stored
                .read_from(0, STORED_WINDOW_BYTES)
                .and_then(|input| Decoder::new(segment.encoding, input))
                .unwrap_or_else(Decoder::failed),
            Some(Err(error)) => Decoder::failed(restated(error)),
            None if !plan.asks(s, segment) => {
                feeders.iter().for_each(|feeder| drop(feeder.send(None)));
                continue;
            }
            None => plan.lines(segment).map_or_else(Decoder::failed, Decoder::Lines),
        };
        let mut splitter = Splitter::stream(text, plan.sizes, buffers.clone());
        let mut delivered = 0;
        while let Some(mut chunk) = splitter.cut() {
            let read = if chunk.last { segment.bytes } else { splitter.input().stored_read() };
            let first = plan.first_chunk(s);
            if chunk.chunk < first {
                if chunk.broken.is_none() {
                    // A segment that ends before the first wanted chunk is nobody's to account for.
                    if chunk.last && plan.placement.process == 0 {
                        plan.progress.add_read(read);
                    }
                    continue;
                }
                // What breaks before the first wanted chunk leaves that one without its lines.
                chunk = Chunk { chunk: first, offset: plan.sizes.start(first), ..chunk };
                (chunk.text, chunk.overlong) = (Bytes::new(), None);
            }
            (chunk.segment, chunk.stored_bytes) = (s, read - delivered);
            delivered = read;
            let Some(feeder) = plan.owner(s, segment, chunk.chunk) else { continue };
            plan.progress.add_read(chunk.stored_bytes);
            waiting[feeder] &= feeders[feeder].send(Some(chunk)).is_ok();
            if !waiting.contains(&true) {
                return;
            }
        }
        for (feeder, waiting) in feeders.iter().zip(&mut waiting) {
            *waiting &= feeder.send(None).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_stays_an_end() {
        let (outlet, steps) = inlet(7, CHUNKS_WAITING_MAX);
        let mut receiver = ChunkReceiver { steps, ended: false };
        assert_eq!(receiver.try_recv().unwrap(), None);
        assert!(outlet.send(Step::End).is_ok());
        drop(outlet);
        for _ in 0..2 {
            assert_eq!(receiver.try_recv().unwrap(), Some(Step::End));
        }
    }

    #[test]
    fn every_chunk_has_one_owner() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let segment =
            Segment { name: "/a".to_owned(), bytes: 95, encoding: Encoding::Plain, version: String::new(), log: None };
        for (processes, workers) in [(1, 1), (1, 3), (2, 2), (3, 5)] {
            for s in 0..4 {
                let plan = Plan {
                    segments: Arc::default(),
                    placement: Placement { process: 0, processes, workers },
                    from: (2, 3),
                    sizes: Sizes::new(10, 10),
                    stores: Stores::new(runtime.handle().clone()),
                    access: None,
                    runtime: runtime.handle().clone(),
                    progress: Arc::default(),
                };
                let peers = processes * workers;
                let mut seen = Vec::new();
                for worker in 0..peers {
                    for c in own_chunks(&plan, s, &segment, worker) {
                        assert_eq!((s + c) as usize % peers, worker);
                        seen.push(c);
                    }
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(if s == 2 { 3..10 } else { 0..10 }));
            }
        }
    }
}
