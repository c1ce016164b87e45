//! One process of a cluster: its timely workers, with everything they read from and write to.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use ct_dataflows::graph::{Ports, build};
use ct_dataflows::{Epoch, Meter};
use ct_sinks::lake::Lake;
use ct_source::{Options, Placement, Progress};
use tokio::runtime::Handle;

use super::plan::{Plan, Start};
use super::ports::{LakeKnown, LakePublish, LakeStage, SegmentBlocks};
use crate::cluster::execute::execute;
use crate::cluster::links::Links;

/// What others see of a process while it runs, and how they stop it.
#[derive(Clone, Default)]
pub struct Shared {
    /// Set to end reading; what was read is published.
    pub draining: Arc<AtomicBool>,
    pub meter: Arc<Meter>,
    pub progress: Arc<Progress>,
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

type WorkerPorts = Ports<SegmentBlocks, LakeKnown, LakeStage, LakePublish>;

/// Runs the workers of one process until the input is published. `published` hears of manifests on process 0.
pub fn run(
    plan: &Plan,
    process: Process,
    shared: &Shared,
    published: impl Fn(u64) + Clone + Send + 'static,
) -> Result<()> {
    let Process { index, links, lake, start, runtime } = process;
    let settings = plan.settings(&start)?;
    let peers = plan.processes * plan.workers;
    let placement = Placement { process: index, processes: plan.processes, workers: plan.workers };
    let from = (start.from.segment, start.from.chunk);
    let options = Options { progress: shared.progress.clone(), ..Options::new(runtime) };
    let readers =
        ct_source::start(plan.segments.as_slice().into(), placement, from, options).context("starting the readers")?;
    let names: Arc<[Arc<str>]> = plan.segments.iter().map(|segment| segment.name.as_str().into()).collect();

    let mut ports: Vec<Option<WorkerPorts>> = Vec::new();
    for (local, chunks) in readers.into_iter().enumerate() {
        let worker = index * plan.workers + local;
        let part = u32::try_from(worker).context("counting workers")?;
        let ports_of_worker = || -> std::io::Result<WorkerPorts> {
            Ok(Ports {
                blocks: SegmentBlocks { chunks, names: names.clone(), draining: shared.draining.clone() },
                known: LakeKnown::start(lake.clone(), worker, peers)?,
                stage: LakeStage::start(lake.clone(), plan, part)?,
                publish: LakePublish::start(lake.clone(), plan, start.clone(), published.clone())?,
            })
        };
        ports.push(Some(ports_of_worker().context("starting threads")?));
    }
    let (ports, meter) = (Mutex::new(ports), shared.meter.clone());
    let workers = plan.workers;
    execute(workers, links, index, move |worker| {
        let mine = ports.lock().expect("no worker panics while it takes its ports")[worker.index() % workers].take();
        let mine = mine.expect("each worker takes its own ports once");
        let probe = worker.dataflow::<Epoch, _, _>(|scope| build(scope, &settings, mine, &meter));
        while !probe.done() {
            worker.step_or_park(None);
        }
    })?;
    Ok(())
}
