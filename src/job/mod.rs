//! Jobs, and replay above all: from arguments to a plan, from the plan to a cluster, from its manifests to an account.

mod busy;
mod cluster;
mod courier;
mod plan;
mod plan_file;
mod ports;
mod worker;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ct_dataflows::modules::Modules;
use ct_model::id;
use ct_sinks::Store;
use ct_sinks::hot::{self, Applier, ApplierOptions, HotReport};
use ct_sinks::lake::Lake;
use tokio::runtime::Runtime;
use tracing::info;

use crate::cli::{BatchArgs, ReplayArgs, Summary};
use crate::cluster::exit::Exit;
use crate::cluster::hello::Member;
use crate::cluster::links::{Addresses, connect};
use crate::cluster::secret::Secret;
use crate::cluster::signals::{stop_flag, stop_flag_or_exit};
use crate::config::{Config, HotConfig, LogsConfig, ModuleOptions};
use crate::fail::{self, Failure};
use crate::live;
use crate::progress::{Status, display};
use crate::summary::{self, Account};
use crate::telemetry;
use crate::views;
pub use cluster::{Renewed, Watch, run_cluster, work};
pub use plan::{Plan, Source, Start, random_bytes, random_id};
pub use plan_file::PlanFile;
pub use ports::Published;
use worker::{Process, Shared};

/// How long the end of a job waits for hot state to catch up.
const HOT_DEADLINE: Duration = Duration::from_secs(30);

pub fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    batch(&args.batch, |config, runtime| {
        let list = args.log_list.as_ref().or(config.logs.list.as_ref());
        let logs = match list {
            Some(list) => live::known_logs(&LogsConfig { list: Some(list.clone()), ..config.logs.clone() }, runtime)?,
            None => Vec::new(),
        };
        let segments = ct_source::expand(&args.segments, &logs, runtime.handle())?;
        let feed = args.feed.clone().or(config.feed.clone()).unwrap_or_else(|| "replay".to_owned());
        Ok(Source::Segments { feed, segments, logs: None })
    })
}

/// Runs a job whose input, found by `source`, has an end.
pub fn batch(
    args: &BatchArgs,
    source: impl FnOnce(&Config, &Runtime) -> Result<Source, Failure>,
) -> Result<Exit, Failure> {
    let prepared = Prepared::new(args)?;
    let source = source(&prepared.config, prepared.runtime)?;
    prepared.read(args, source)
}

/// A job whose configuration is right, and that has touched nothing so far.
pub struct Prepared {
    started: Instant,
    pub config: Config,
    pub runtime: &'static Runtime,
    modules: Vec<String>,
    module_options: ModuleOptions,
}

impl Prepared {
    pub fn new(args: &BatchArgs) -> Result<Self, Failure> {
        let started = Instant::now();
        let config =
            Config::load(&args.common).and_then(|config| config.with_job(&args.job)).map_err(Failure::usage)?;
        telemetry::start(config.log.level, config.log.format);
        let (modules, module_options) = config.modules().map_err(Failure::usage)?;
        Modules::prepare(&modules, &module_options).map_err(Failure::usage)?;
        Ok(Self { started, config, runtime: runtime()?, modules, module_options })
    }

    /// Reads `source` into the lake.
    pub fn read(self, args: &BatchArgs, source: Source) -> Result<Exit, Failure> {
        let Self { started, config, runtime, modules, module_options } = self;
        let lake = Lake::open(Store::open(&config.lake.url, runtime.handle().clone())?);
        let plan = Plan::new(&config, modules, module_options, source)?;
        // One process of a cluster on several hosts leads: it owns the lake and speaks for the job.
        let leads = args.job.process.unwrap_or(0) == 0;
        let _lock = if leads { lake.lock()? } else { None };
        let head = if leads { lake.recover()? } else { lake.head()? };
        let start = Start::after(&lake, &head, &plan)?;
        info!(
            processes = plan.processes,
            workers = plan.workers,
            lake = plan.lake,
            manifest = start.newest,
            segment = start.from.segment,
            chunk = start.from.chunk,
            "the job starts"
        );
        let hot_state = if leads { open_hot(&config.hot, &lake)? } else { None };
        let applier = Arc::new(Mutex::new(Some(Applier::start(lake.clone(), hot_state, ApplierOptions::default()))));
        let views = if leads { start_views(&config, &lake)? } else { None };
        let views = Arc::new(Mutex::new(views));
        let (notify, notify_views) = (applier.clone(), views.clone());
        let published = move |news: Published| {
            if let Some(views) = &*notify_views.lock().unwrap_or_else(PoisonError::into_inner) {
                views.published(news.sequence);
            }
            if let Some(applier) = &*notify.lock().unwrap_or_else(PoisonError::into_inner) {
                applier.published(news.sequence);
            }
        };

        let (restarts, status) = match (args.job.process, &args.job.hostfile, plan.processes) {
            (Some(index), Some(hosts), _) => {
                let member = (member_of_hosts(&plan, &start, &config, index)?, hosts_of(hosts, plan.processes)?);
                (0, run_here(args, &plan, lake.clone(), start.clone(), runtime, Some(member), published)?)
            }
            (_, _, 1) => (0, run_here(args, &plan, lake.clone(), start.clone(), runtime, None, published)?),
            _ => {
                let statuses = Arc::new(Mutex::new(vec![Status::default(); plan.processes]));
                let shown = statuses.clone();
                let sum = |statuses: &Mutex<Vec<Status>>| {
                    let statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
                    statuses.iter().cloned().fold(Status::default(), Status::add)
                };
                let _display = display(args.progress, move || sum(&shown))?;
                let watch = Watch {
                    stall: None,
                    started: &|_| {},
                    status: &|index, status| statuses.lock().unwrap_or_else(PoisonError::into_inner)[index] = status,
                    published: &published,
                    renewed: &|| None,
                };
                let restarts = run_cluster(&plan, &config.log, &watch, &*stop_flag()?)?;
                (restarts, sum(&statuses))
            }
        };
        if !leads {
            return Ok(Exit::Done);
        }

        let elapsed = started.elapsed();
        let ended_at = Instant::now();
        let applier = applier.lock().unwrap_or_else(PoisonError::into_inner).take();
        let report = applier.map(|applier| applier.finish(HOT_DEADLINE)).filter(|_| config.hot.url != "none");
        let views = views.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(views) = views {
            views.finish(HOT_DEADLINE.saturating_sub(ended_at.elapsed()));
        }
        let account = account(&plan, &lake, &start, elapsed, restarts, &status, report)?;
        let text = match args.summary {
            Summary::Text => account.text(),
            Summary::Json => format!("{}\n", account.json()),
            Summary::None => String::new(),
        };
        summary::print(&text).context("writing the summary")?;
        for (name, why) in &account.unreadable {
            fail::report(&anyhow!("{name}: {why}; what was read is published"));
        }
        Ok(if account.unreadable.is_empty() { Exit::Done } else { Exit::Input })
    }
}

/// Runs process `member` of a cluster, or the only one, in this process.
fn run_here(
    args: &BatchArgs,
    plan: &Plan,
    lake: Lake,
    start: Start,
    runtime: &Runtime,
    member: Option<(Member, Addresses)>,
    published: impl Fn(Published) + Clone + Send + 'static,
) -> Result<Status, Failure> {
    let index = member.as_ref().map_or(0, |(member, _)| member.index);
    // Until the cluster stands there is nothing to drain: a signal ends the process as it ends any other.
    let links = member.map(|(member, addresses)| connect(member, &addresses, plan.connect)).transpose()?;
    let shared = Shared { draining: stop_flag_or_exit()?, ..Shared::default() };
    let seen = shared.clone();
    let _display = display(args.progress, move || status_of(&seen))?;
    let process = Process { index, links, lake, start, runtime: runtime.handle().clone() };
    worker::run(plan, process, &shared, published)?;
    Ok(status_of(&shared))
}

/// The threads of this process that wait for stores and sockets.
///
/// It lives as long as the process: readers may still wait for a store when a job ends early, and a runtime that goes
/// away under them would make them panic.
pub fn runtime() -> Result<&'static Runtime> {
    /// The runtime only waits for stores; what computes has threads of its own.
    const THREADS: usize = 2;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("io")
        .enable_all()
        .build()
        .map(|runtime| &*Box::leak(Box::new(runtime)))
        .context("starting the I/O threads")
}

/// Hot state as configured, if any.
pub fn open_hot(config: &HotConfig, lake: &Lake) -> Result<Option<Box<dyn hot::HotState>>> {
    Ok(hot::open(&config.url, lake, config.options())?)
}

/// The thread of the live views, where they are wanted.
pub fn start_views(config: &Config, lake: &Lake) -> Result<Option<views::Follower>> {
    let Some(hot) = config.views.enabled.then(|| open_hot(&config.hot, lake)).transpose()?.flatten() else {
        return Ok(None);
    };
    views::Follower::start(lake.clone(), hot, config.views.clone())
        .map(Some)
        .context("starting the thread of the views")
}

/// Process `index` of a cluster on several hosts, as its peers must know it.
fn member_of_hosts(plan: &Plan, start: &Start, config: &Config, index: usize) -> Result<Member, Failure> {
    if index >= plan.processes {
        let text = format!("-p {index}: the cluster has {} processes (-n), numbered from 0", plan.processes);
        return Err(Failure::usage(anyhow!(text)));
    }
    let Some(path) = &config.cluster.secret_file else {
        let text = "--hostfile needs a secret: --cluster-secret-file FILE, or cluster.secret_file in the configuration";
        return Err(Failure::usage(anyhow!(text)));
    };
    let bytes = std::fs::read(path).with_context(|| path.display().to_string()).map_err(Failure::usage)?;
    let secret = Secret::new(bytes).with_context(|| path.display().to_string()).map_err(Failure::usage)?;
    let graph = plan.graph_digest(start)?;
    // Named for what they share whatever their settings are: members that differ in those are to say so and end.
    let name = id::digest(&[b"cluster of ", plan.lake.as_bytes()]);
    let cluster = name[..16].try_into().context("sixteen bytes of a digest")?;
    Ok(Member {
        cluster,
        generation: start.newest,
        processes: plan.processes,
        workers: plan.workers,
        index,
        graph,
        secret,
    })
}

/// The `host:port` of each process.
fn hosts_of(path: &Path, processes: usize) -> Result<Addresses, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string()).map_err(Failure::usage)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hosts: Vec<String> = lines.map(str::to_owned).collect();
    if hosts.len() < processes {
        let text = format!("{}: {} hosts for {processes} processes (-n)", path.display(), hosts.len());
        return Err(Failure::usage(anyhow!(text)));
    }
    Ok(Addresses::Tcp(hosts[..processes].to_vec()))
}

fn status_of(shared: &Shared) -> Status {
    let reading = shared.meter.reading();
    Status {
        stored: shared.progress.read_bytes(),
        stored_total: shared.progress.total_bytes(),
        messages: reading.messages,
        certificates: reading.certificates,
        known_keys: reading.known_keys,
        known_bytes: reading.known_bytes,
        announced: shared.announced.rows.load(Ordering::Relaxed),
        at_ms: shared.read_to.at_ms(),
        read_to: shared.read_to.position(),
        unannounced: shared.announced.dropped.load(Ordering::Relaxed),
        module_seconds: shared.meter.module_seconds(),
        operator_seconds: shared.busy.seconds(),
    }
}

/// Sums up the manifests of this job.
fn account(
    plan: &Plan,
    lake: &Lake,
    start: &Start,
    elapsed: Duration,
    restarts: u64,
    status: &Status,
    hot: Option<HotReport>,
) -> Result<Account> {
    let mut account = Account {
        elapsed,
        lake: plan.lake.clone(),
        restarts,
        known_keys: status.known_keys,
        known_bytes: status.known_bytes,
        hot: hot.map(|report| hot_told(&report)),
        totals: start.totals.clone(),
        // Where there is nothing to read, there is no manifest to say so.
        complete: matches!(&plan.source, Source::Segments { segments, .. } if segments.is_empty()),
        ..Account::default()
    };
    for manifest in lake.manifests()? {
        let manifest = manifest?;
        if manifest.sequence <= start.newest {
            continue;
        }
        if manifest.job != plan.job {
            // A remote lake has no lock: another job came after this one.
            break;
        }
        account.counts += &manifest.counts;
        account.manifests += 1;
        account.files += manifest.files.len() as u64;
        account.file_bytes += manifest.files.iter().map(|file| file.bytes).sum::<u64>();
        account.totals = manifest.totals;
        account.complete = manifest.resume.complete;
        account.unreadable = manifest.resume.unreadable.into_iter().collect();
    }
    Ok(account)
}

pub fn hot_told(report: &HotReport) -> String {
    match (report.converged, &report.last_error) {
        (true, _) => format!("shows manifest {}", report.applied),
        (false, None) => format!("shows manifest {} of {}", report.applied, report.newest),
        (false, Some(error)) => format!("is behind, at manifest {} of {}: {error}", report.applied, report.newest),
    }
}
