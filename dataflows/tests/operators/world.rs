//! The outside of the dataflow, in memory. Its answers take their time, as those of disks do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ct_dataflows::ports::{Blocks, Input, KnownRows, Poll, Publish, Stage};
use ct_dataflows::records::{Block, Cut, Known};
use ct_model::Rows;
use timely::scheduling::SyncActivator;

use crate::random::Random;

/// Rows of a manifest, by the worker that staged them.
pub(crate) type Part = (u64, usize);

/// What was written.
#[derive(Default)]
pub(crate) struct Lake {
    staged: BTreeMap<Part, Rows>,
    /// Which worker was asked to stage which manifest, in the order of the calls.
    pub(crate) submitted: Vec<Part>,
    /// Manifests with their rows, in the order in which they became visible.
    pub(crate) published: Vec<(Cut, Rows)>,
}

#[derive(Clone, Default)]
pub(crate) struct SharedLake(Arc<Mutex<Lake>>);

impl SharedLake {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Lake> {
        self.0.lock().expect("no worker panicked")
    }

    pub(crate) fn take(&self) -> Lake {
        std::mem::take(&mut self.lock())
    }
}

/// Makes two of three polls come too early, and has the worker poll again.
struct Delay {
    random: Random,
    waker: Option<SyncActivator>,
}

impl Delay {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), waker: None }
    }

    fn too_early(&mut self) -> bool {
        let early = !self.random.one_in(3);
        if early {
            self.waker.as_ref().expect("a waker is given before the first poll").activate().expect("the worker runs");
        }
        early
    }
}

pub(crate) struct MemoryBlocks {
    blocks: VecDeque<Block>,
    delay: Delay,
}

impl MemoryBlocks {
    pub(crate) fn new(blocks: impl IntoIterator<Item = Block>, seed: u64) -> Self {
        Self { blocks: blocks.into_iter().collect(), delay: Delay::new(seed) }
    }
}

impl Blocks for MemoryBlocks {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.delay.waker = Some(waker);
    }

    fn poll(&mut self) -> Poll<Input> {
        if self.delay.too_early() {
            return Poll::Pending;
        }
        self.blocks.pop_front().map_or(Poll::End, |block| Poll::Ready(Input::Block(block)))
    }
}

pub(crate) struct MemoryKnown {
    batches: VecDeque<(u32, Vec<Known>)>,
    delay: Delay,
}

impl MemoryKnown {
    /// Each with its generation.
    pub(crate) fn new(known: &[(u32, Known)], seed: u64) -> Self {
        let batches = known.chunk_by(|(a, _), (b, _)| a == b).flat_map(|generation| generation.chunks(50));
        let batches = batches.map(|batch| (batch[0].0, batch.iter().map(|(_, known)| known.clone()).collect()));
        Self { batches: batches.collect(), delay: Delay::new(seed) }
    }
}

impl KnownRows for MemoryKnown {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.delay.waker = Some(waker);
    }

    fn poll(&mut self) -> Poll<(u32, Vec<Known>)> {
        if self.delay.too_early() {
            return Poll::Pending;
        }
        self.batches.pop_front().map_or(Poll::End, Poll::Ready)
    }
}

pub(crate) struct MemoryStage {
    worker: usize,
    lake: SharedLake,
    writing: VecDeque<(u64, Vec<Part>)>,
    delay: Delay,
}

impl MemoryStage {
    pub(crate) fn new(worker: usize, lake: SharedLake) -> Self {
        Self { worker, lake, writing: VecDeque::new(), delay: Delay::new(worker as u64) }
    }
}

impl Stage<Part> for MemoryStage {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.delay.waker = Some(waker);
    }

    fn submit(&mut self, sequence: u64, rows: Rows) {
        let part = (sequence, self.worker);
        let parts = if rows.is_empty() { Vec::new() } else { vec![part] };
        let mut lake = self.lake.lock();
        lake.submitted.push(part);
        if !rows.is_empty() {
            lake.staged.insert(part, rows);
        }
        self.writing.push_back((sequence, parts));
    }

    fn poll(&mut self) -> Option<(u64, Vec<Part>)> {
        if self.writing.is_empty() || self.delay.too_early() {
            return None;
        }
        self.writing.pop_front()
    }
}

pub(crate) struct MemoryPublish {
    lake: SharedLake,
    publishing: VecDeque<(Cut, Vec<Part>)>,
    delay: Delay,
}

impl MemoryPublish {
    pub(crate) fn new(lake: SharedLake) -> Self {
        Self { lake, publishing: VecDeque::new(), delay: Delay::new(77) }
    }
}

impl Publish<Part> for MemoryPublish {
    fn wake_by(&mut self, waker: SyncActivator) {
        self.delay.waker = Some(waker);
    }

    fn submit(&mut self, cut: Cut, parts: Vec<Part>) {
        // Whoever publishes has everything that was staged for it.
        let mut parts_of_cut = parts.clone();
        parts_of_cut.sort_unstable();
        let staged: Vec<Part> =
            self.lake.lock().staged.keys().filter(|(sequence, _)| *sequence == cut.sequence).copied().collect();
        assert_eq!(parts_of_cut, staged, "the parts of manifest {}", cut.sequence);
        self.publishing.push_back((cut, parts));
    }

    fn poll(&mut self) -> Option<u64> {
        if self.publishing.is_empty() || self.delay.too_early() {
            return None;
        }
        let (cut, parts) = self.publishing.pop_front()?;
        let mut lake = self.lake.lock();
        let parts = parts.iter().map(|part| lake.staged.remove(part).expect("a part is published once"));
        let rows = Rows::concat(parts.collect());
        let sequence = cut.sequence;
        lake.published.push((cut, rows));
        Some(sequence)
    }
}
