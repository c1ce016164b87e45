//! Live: from configuration to feeds, journal and cluster, until a signal ends it.
//!
//! ```text
//! supervisor ─┬─ collector process: feeds ─► journal          (killing it loses what was not durable; a gap says so)
//!             ├─ worker processes:  journal ─► lake           (killing one loses nothing)
//!             └─ threads:           lake ─► hot state; http   (killing the supervisor ends all; the next run goes on)
//! ```

mod archive;
mod audit;
mod collect;
mod collector;
mod feeds;
mod http;
mod logs;
mod metrics;
mod told;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ct_dataflows::modules::Modules;
use ct_sinks::Store;
use ct_sinks::hot::{Applier, ApplierOptions};
use ct_sinks::lake::Lake;
use ct_source::journal;
use tracing::{error, info};

pub use collect::{collect, now_ms};
pub use collector::CollectorError;
pub use feeds::feed;
pub use logs::{access, known_logs, logs};

use crate::cli::{RunArgs, Summary};
use crate::cluster::exit::Exit;
use crate::cluster::signals::{exit_at_next_signal, exit_at_second_signal, hangup_flag, stop_flag};
use crate::config::Config;
use crate::fail::Failure;
use crate::job::{
    Plan, PlanFile, Published, Renewed, Source, Start, Watch, hot_told, open_hot, run_cluster, runtime, start_views,
};
use crate::progress::{Status, Ticker};
use crate::summary::{self, Account};
use crate::telemetry;
use collector::{Collector, DRAIN_MAX};
use told::CollectorPlan;
use view::View;

/// How long the end of a job waits for hot state to catch up.
const HOT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the journal has to be closed after a second signal.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often a journal that cannot be written is relieved.
const RELIEVE_EVERY: Duration = Duration::from_secs(2);
/// How often hot state and the end of the journal are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let config = Config::load(&args.common).and_then(|config| config.with_run(args)).map_err(Failure::usage)?;
    telemetry::start(config.log.level, config.log.format);
    // What is wrong with a feed is said before anything is touched.
    for config in &config.feeds {
        feeds::feed(config).map_err(Failure::usage)?;
    }
    if config.logs.any() {
        logs(&config.logs, BTreeMap::new()).map_err(Failure::usage)?;
    }
    let (stop, hangup) = (stop_flag()?, hangup_flag()?);
    // The start may wait for a store; nothing is drained then.
    let starting = exit_at_second_signal()?;
    let (modules, module_options) = config.modules().map_err(Failure::usage)?;
    Modules::prepare(&modules, &module_options).map_err(Failure::usage)?;
    let runtime = runtime()?;
    if let Some(url) = &config.journal.keep {
        Store::open(url, runtime.handle().clone()).context("journal.keep").map_err(Failure::usage)?;
    }
    let http = http::bind(&config.http.addr, runtime).map_err(Failure::usage)?;
    let lake = Lake::open(Store::open(&config.lake.url, runtime.handle().clone())?);
    let _lock = lake.lock()?;
    let head = lake.recover()?;
    let before = head.manifest.as_ref().map(|manifest| manifest.totals.clone()).unwrap_or_default();
    let publish_interval = Duration::from_secs(config.lake.publish_interval_s);
    let view = Arc::new(View::new(config.cluster.processes, publish_interval, head.sequence, before.clone()));
    let hot_state = open_hot(&config.hot, &lake)?;
    if let Some(http) = http {
        let addr = http.local_addr().context("the address of the HTTP listener")?;
        info!(%addr, "health and metrics are served");
        http::serve(http, runtime, view.clone());
    }

    let logs_held = if config.logs.any() { held(&lake)? } else { BTreeMap::new() };
    let dir = collect::absolute(&config.journal.dir).map_err(Failure::usage)?;
    let mut journal = config.journal.clone();
    journal.dir.clone_from(&dir);
    let plan_file = PlanFile::new().context("making a file for the plan")?;
    let collector_plan = CollectorPlan {
        feeds: config.feeds.clone(),
        logs: config.logs.clone(),
        logs_held,
        journal,
        log_level: config.log.level,
        log_format: config.log.format,
    };
    plan_file.write(&collector_plan).context("writing the plan")?;
    let (collector, (id, newest)) = Collector::start(plan_file.path(), view.clone())?;

    let followed = dir.clone();
    let source = Source::Journal { dir, id, publish_interval };
    let plan = Plan::new(&config, modules.clone(), module_options.clone(), source)?;
    let start = Start::after(&lake, &head, &plan)?;
    if (start.from.segment, start.from.chunk) > (newest.saturating_add(1), 0) {
        let (dir, segment) = (config.journal.dir.display(), start.from.segment);
        let text = format!(
            "{dir}: the lake goes on at segment {segment} of this journal, which ends at {newest}: an old copy was put \
             back; move it away to begin a new journal"
        );
        return Err(Failure::from(anyhow!(text)));
    }
    info!(
        feeds = config.feeds.len(),
        processes = plan.processes,
        workers = plan.workers,
        lake = plan.lake,
        manifest = start.newest,
        segment = start.from.segment,
        batch = start.from.chunk,
        "live starts"
    );

    // What an earlier job had published, and had no time to release.
    collector.release(start.from.segment);
    let views = start_views(&config, &lake)?;
    let current = RefCell::new(Renewed { modules, module_options, log_level: config.log.level });
    let relieved = Cell::new(None::<Instant>);
    let renewed = || {
        if !hangup.swap(false, Ordering::SeqCst) {
            // A disk that is full takes no note of the time either, by which cuts are made: what was read is published
            // at once, which is what frees segments.
            let due = relieved.get().is_none_or(|last| last.elapsed() >= RELIEVE_EVERY);
            return (due && view.journal_fails() && view.has_unpublished()).then(|| {
                relieved.set(Some(Instant::now()));
                current.borrow().clone()
            });
        }
        collector.read_log_list();
        match reload(args) {
            Ok(renewed) => {
                telemetry::set_level(renewed.log_level);
                collector.set_log_level(renewed.log_level);
                current.replace(renewed.clone());
                if let Some(views) = &views {
                    views.look();
                }
                Some(renewed)
            }
            Err(error) => {
                error!(error = format!("{error:#}"), "the configuration cannot be used; everything stays as it was");
                None
            }
        }
    };
    let applier = Arc::new(Applier::start(lake, hot_state, ApplierOptions::default()));
    let (looked_at, shown) = (applier.clone(), view.clone());
    let has_hot = config.hot.url != "none";
    let looker = Ticker::start(LOOK_EVERY, move || {
        if has_hot {
            shown.set_hot(looked_at.report());
        }
        let behind = shown.read_to().and_then(|read_to| journal::bytes_behind(&followed, read_to).ok());
        shown.set_journal_behind(behind);
    })?;
    let watch = Watch {
        stall: Some(Duration::from_secs(config.cluster.stall_s)),
        started: &|index| {
            if index == 0 {
                view.cluster_started();
            }
        },
        status: &|index, status| view.set_worker(index, status),
        published: &|news: Published| {
            applier.published(news.sequence);
            if let Some(views) = &views {
                views.published(news.sequence);
            }
            collector.release(news.segment);
            let Published { sequence: manifest, files, file_bytes, .. } = news;
            info!(manifest, files, file_bytes, "published");
            view.set_published(&news);
        },
        renewed: &renewed,
    };
    drop(starting);
    let ended = run_cluster(&plan, &config.log, &watch, &stop);
    drop(looker);
    // Workers that were stopped by a second signal are no reason to wait.
    let at_once = matches!(&ended, Err(failure) if failure.is_stopped());
    let _ending = exit_at_next_signal()?;
    let closed = collector.drain(if at_once { AT_ONCE } else { DRAIN_MAX });
    let restarts = ended?;
    let ended_at = Instant::now();
    let report = Arc::into_inner(applier).map(|applier| applier.finish(HOT_DEADLINE));
    if let Some(views) = views {
        views.finish(HOT_DEADLINE.saturating_sub(ended_at.elapsed()));
    }

    let now = view.now();
    let status = now.workers.iter().cloned().fold(Status::default(), Status::add);
    let account = Account {
        counts: now.totals.since(&before),
        elapsed: started.elapsed(),
        lake: plan.lake.clone(),
        manifests: now.manifest.saturating_sub(start.newest),
        files: now.files,
        file_bytes: now.file_bytes,
        totals: now.totals,
        complete: true,
        restarts,
        known_keys: status.known_keys,
        known_bytes: status.known_bytes,
        hot: report.filter(|_| has_hot).map(|report| hot_told(&report)),
        ..Account::default()
    };
    let text = match args.summary {
        Summary::Text => account.text(),
        Summary::Json => format!("{}\n", account.json()),
        Summary::None => String::new(),
    };
    summary::print(&text).context("writing the summary")?;
    closed?;
    Ok(Exit::Done)
}

/// By log: the index behind the last entry of which the lake says that it has it.
fn held(lake: &Lake) -> Result<BTreeMap<String, u64>> {
    let mut held = BTreeMap::new();
    for row in lake.coverage().context("reading what the lake holds of logs")? {
        let next = held.entry(row.log.to_string()).or_default();
        *next = row.last.saturating_add(1).max(*next);
    }
    Ok(held)
}

/// What the configuration says now of what can change while a job runs: modules, their options, and the log level.
fn reload(args: &RunArgs) -> Result<Renewed> {
    let config = Config::load(&args.common)?.with_run(args)?;
    let (modules, module_options) = config.modules()?;
    Modules::prepare(&modules, &module_options)?;
    Ok(Renewed { modules, module_options, log_level: config.log.level })
}
