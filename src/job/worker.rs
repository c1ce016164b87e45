//! One process of a cluster: its timely workers, with everything they read from and write to.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ct_dataflows::graph::{Ports, build};
use ct_dataflows::ports::Show;
use ct_dataflows::{Epoch, Meter};
use ct_sinks::hot::{Announced, Announcer};
use ct_sinks::lake::Lake;
use ct_source::{Options, Placement, Progress, SourceError};
use tokio::runtime::Handle;

use super::busy::Busy;
use super::plan::{Plan, Source, Start};
use super::ports::{AnyBlocks, JournalBlocks, LakeKnown, LakePublish, LakeStage, Published, ReadTo, SegmentBlocks};
use crate::cluster::execute::execute;
use crate::cluster::links::Links;

/// What others see of a process while it runs, and how they stop it.
#[derive(Clone, Default)]
pub struct Shared {
    /// Set to end reading; what was read is published.
    pub draining: Arc<AtomicBool>,
    pub meter: Arc<Meter>,
    pub progress: Arc<Progress>,
    pub beats: Arc<Beats>,
    pub announced: Arc<Announced>,
    /// How far a journal is read.
    pub read_to: Arc<ReadTo>,
    pub busy: Arc<Busy>,
}

/// How often a worker that has nothing to do looks up.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Tells whether the workers of this process still take turns.
#[derive(Default)]
pub struct Beats(Mutex<Vec<Instant>>);

impl Beats {
    fn start(&self, workers: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = vec![Instant::now(); workers];
    }

    fn beat(&self, worker: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[worker] = Instant::now();
    }

    /// Whether each worker took a turn within `patience`; true before they start.
    pub fn all_within(&self, patience: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|beat| beat.elapsed() < patience)
    }
}

/// What a process of a cluster needs to know beside the plan.
pub struct Process {
    pub index: usize,
    /// To the other processes, if there are any.
    pub links: Option<Links>,
    pub lake: Lake,
    pub start: Start,
    pub runtime: Handle,
}

type WorkerPorts = Ports<AnyBlocks, LakeKnown, LakeStage, LakePublish>;

/// Runs the workers of one process until the input is published. `published` hears of manifests on process 0.
pub fn run(
    plan: &Plan,
    process: Process,
    shared: &Shared,
    published: impl Fn(Published) + Clone + Send + 'static,
) -> Result<()> {
    let Process { index, links, lake, start, runtime } = process;
    let settings = plan.settings(&start)?;
    let peers = plan.processes * plan.workers;
    let placement = Placement { process: index, processes: plan.processes, workers: plan.workers };
    let announcer = match &plan.announce {
        Some(hot) => Announcer::start(&hot.url, hot.options(), shared.announced.clone())?,
        None => None,
    };
    let blocks = blocks(plan, placement, &start, shared, runtime).context("starting the readers")?;

    let mut ports: Vec<Option<WorkerPorts>> = Vec::new();
    for (local, blocks) in blocks.into_iter().enumerate() {
        let worker = index * plan.workers + local;
        let part = u32::try_from(worker).context("counting workers")?;
        let ports_of_worker = || -> std::io::Result<WorkerPorts> {
            Ok(Ports {
                blocks,
                known: LakeKnown::start(
                    lake.clone(),
                    &settings.modules,
                    worker,
                    peers,
                    plan.horizon.map(|horizon| (horizon, start.age)),
                )?,
                stage: LakeStage::start(lake.clone(), plan, part)?,
                publish: LakePublish::start(lake.clone(), plan, start.clone(), published.clone())?,
                show: show(announcer.clone()),
                clock,
            })
        };
        ports.push(Some(ports_of_worker().context("starting threads")?));
    }
    let (ports, meter, beats) = (Mutex::new(ports), shared.meter.clone(), shared.beats.clone());
    let busy = shared.busy.clone();
    let workers = plan.workers;
    beats.start(workers);
    execute(workers, links, index, move |worker| {
        busy.watch(worker);
        let mine = ports.lock().expect("no worker panics while it takes its ports")[worker.index() % workers].take();
        let mine = mine.expect("each worker takes its own ports once");
        let probe = worker.dataflow::<Epoch, _, _>(|scope| build(scope, &settings, mine, &meter));
        while !probe.done() {
            worker.step_or_park(Some(BEAT_EVERY));
            beats.beat(worker.index() % workers);
        }
    })?;
    Ok(())
}

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(FIRST.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn show(announcer: Option<Announcer>) -> Show {
    match announcer {
        Some(announcer) => Box::new(move |rows| announcer.announce(&rows.certificates, &rows.findings)),
        None => Box::new(|_| {}),
    }
}

/// The input of each local worker.
fn blocks(
    plan: &Plan,
    placement: Placement,
    start: &Start,
    shared: &Shared,
    runtime: Handle,
) -> Result<Vec<AnyBlocks>, SourceError> {
    let from = (start.from.segment, start.from.chunk);
    let draining = || shared.draining.clone();
    Ok(match &plan.source {
        Source::Segments { feed, segments, logs } => {
            let options = Options { progress: shared.progress.clone(), logs: logs.clone(), ..Options::new(runtime) };
            let told: Arc<[(Arc<str>, bool)]> =
                segments.iter().map(|segment| (segment.name.as_str().into(), segment.encoding.is_of_logs())).collect();
            let blocks = |chunks| SegmentBlocks {
                chunks,
                feed: feed.as_str().into(),
                segments: told.clone(),
                draining: draining(),
            };
            let readers = ct_source::start(segments.as_slice().into(), placement, from, options)?;
            readers.into_iter().map(blocks).map(AnyBlocks::Segments).collect()
        }
        Source::Journal { dir, id, .. } => {
            let name: Arc<str> = format!("journal/{}/", &id[..8.min(id.len())]).into();
            let inlets = ct_source::follow(dir, placement, from, start.age)?;
            let read_to = || shared.read_to.clone();
            let blocks = |news| JournalBlocks {
                news,
                name: name.clone(),
                read_to: read_to(),
                horizon: plan.horizon,
                draining: draining(),
            };
            inlets.into_iter().map(blocks).map(AnyBlocks::Journal).collect()
        }
    })
}
