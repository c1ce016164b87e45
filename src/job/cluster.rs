//! A cluster on this host: a supervisor and its worker processes, and what they tell each other.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ct_sinks::Store;
use ct_sinks::lake::Lake;
use serde::{Deserialize, Serialize};
use tracing::{debug, error};

use super::plan::{Plan, Source, Start, random_bytes};
use super::plan_file::PlanFile;
use super::ports::Published;
use super::worker::{Process, Shared, run};
use super::{runtime, status_of};
use crate::cli::{LogFormat, LogLevel, WorkerArgs};
use crate::cluster::child::watch_parent;
use crate::cluster::exit::Exit;
use crate::cluster::links::connect;
use crate::cluster::supervisor::{Spec, THIS_PROGRAM, Timing, supervise};
use crate::config::{LogConfig, ModuleOptions};
use crate::fail::Failure;
use crate::progress::{Status, Ticker};
use crate::telemetry;

/// Failures of a cluster at one place after which a replay is given up.
const FAILURES_MAX: u32 = 5;
/// How long a live job publishes after it was told to end; the rest waits in the journal.
const DRAIN_MAX: Duration = Duration::from_secs(25);
/// How often a worker process tells its supervisor how far it is.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// A process whose workers have not taken a turn for so long says nothing more.
const TURN_MAX: Duration = Duration::from_secs(2);

/// A line from a worker process to its supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Started,
    Status(Status),
    Published(Published),
}

/// What a worker process reads from its plan file.
#[derive(Debug, Serialize, Deserialize)]
struct WorkerPlan {
    plan: Plan,
    log_level: LogLevel,
    log_format: LogFormat,
}

/// What the supervisor does about its workers' words.
pub struct Watch<'a> {
    /// A process that does nothing for so long is stopped.
    pub stall: Option<Duration>,
    /// Process `index` was started.
    pub started: &'a dyn Fn(usize),
    pub status: &'a dyn Fn(usize, Status),
    pub published: &'a dyn Fn(Published),
    /// Asked all the time: what is new, if anything is.
    pub renewed: &'a dyn Fn() -> Option<Renewed>,
}

/// What can change while a job runs.
#[derive(Clone, Debug)]
pub struct Renewed {
    pub modules: Vec<String>,
    pub module_options: ModuleOptions,
    pub log_level: LogLevel,
}

/// Starts the processes of a cluster on this host, and starts them again when one dies. Gives the number of restarts.
pub fn run_cluster(plan: &Plan, log: &LogConfig, watch: &Watch<'_>, stop: &AtomicBool) -> Result<u64, Failure> {
    let file = PlanFile::new().context("making a file for the plan")?;
    let worker_plan = WorkerPlan { plan: plan.clone(), log_level: log.level, log_format: log.format };
    file.write(&worker_plan).context("writing the plan")?;
    let worker_plan = RefCell::new(worker_plan);
    let renew = || {
        let Some(Renewed { modules, module_options, log_level }) = (watch.renewed)() else { return false };
        let mut worker_plan = worker_plan.borrow_mut();
        (worker_plan.plan.modules, worker_plan.plan.module_options) = (modules, module_options);
        worker_plan.log_level = log_level;
        // A process that was just started and reads half of it ends, and is started again.
        let written = file.write(&*worker_plan);
        if let Err(error) = &written {
            error!(%error, "the new plan cannot be written; the job goes on as it was");
        }
        written.is_ok()
    };
    let (newest, starts) = (Cell::new(0), Cell::new(0_u64));
    let spec = Spec {
        program: THIS_PROGRAM.into(),
        args: vec!["worker".into(), "--plan".into(), file.path().into()],
        env: Vec::new(),
        processes: plan.processes,
        cluster: random_bytes()?,
        generation: 1,
        progress_mark: &|| newest.get(),
        failures_max: match plan.source {
            Source::Segments { .. } => FAILURES_MAX,
            // Somebody watches a live job, and the next message may be another one.
            Source::Journal { .. } => u32::MAX,
        },
        stall: watch.stall,
        drain: plan.source.is_live().then_some(DRAIN_MAX),
        persistent: plan.source.is_live(),
        renew: &renew,
        timing: Timing::default(),
    };
    let mut on_line = |index: usize, line: &str| match serde_json::from_str(line) {
        Ok(Told::Started) => {
            starts.set(starts.get() + u64::from(index == 0));
            (watch.started)(index);
        }
        Ok(Told::Status(status)) => (watch.status)(index, status),
        Ok(Told::Published(news)) => {
            newest.set(news.sequence);
            (watch.published)(news);
        }
        Err(error) => debug!(index, %error, "a worker process said something unexpected"),
    };
    supervise(&spec, &mut on_line, stop)?;
    Ok(starts.get().saturating_sub(1))
}

/// One process of a cluster on this host; its supervisor tells it which on stdin.
pub fn work(args: &WorkerArgs) -> Result<Exit, Failure> {
    let shared = Shared::default();
    let draining = shared.draining.clone();
    let orders = watch_parent(move || draining.store(true, Ordering::Relaxed))?;
    let text = std::fs::read(&args.plan).with_context(|| format!("reading {}", args.plan.display()))?;
    let WorkerPlan { plan, log_level, log_format } = serde_json::from_slice(&text).context("reading the plan")?;
    telemetry::start(log_level, log_format);
    tell(&Told::Started);
    let told = shared.clone();
    let _ticker = Ticker::start(STATUS_EVERY, move || {
        if told.beats.all_within(TURN_MAX) {
            tell(&Told::Status(status_of(&told)));
        }
    })?;
    let runtime = runtime()?;
    let lake = Lake::open(Store::open(&plan.lake, runtime.handle().clone())?);
    let index = orders.index;
    let head = if index == 0 { lake.recover()? } else { lake.head()? };
    let start = Start::after(&lake, &head, &plan)?;
    let (member, addresses) = orders.member(plan.workers, plan.graph_digest(&start)?);
    let links = connect(member, &addresses, plan.connect)?;
    let process = Process { index, links: Some(links), lake, start, runtime: runtime.handle().clone() };
    run(&plan, process, &shared, |news| tell(&Told::Published(news)))?;
    tell(&Told::Status(status_of(&shared)));
    Ok(Exit::Done)
}

/// Tells the supervisor. When it is gone this process is about to be, too.
fn tell(told: &Told) {
    if let Ok(line) = serde_json::to_string(told) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
