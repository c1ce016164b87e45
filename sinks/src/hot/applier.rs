//! Keeps hot state level with the lake, on a thread of its own.
//!
//! A step asks the store what is applied and applies the next manifest; whatever went wrong before, a server that came
//! back empty or another lake's state included, the next step goes on from what is there now. So there is one way
//! forward and no special case. While the store is away the thread waits, longer from try to try; nothing else does.

use std::cmp::{max, min};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use ct_model::{Table, Timestamp};
use tracing::{info, warn};

use crate::error::SinkError;
use crate::hot::horizon::Calendar;
use crate::hot::row::{CertificateKeys, FINDING_COLUMNS};
use crate::hot::stats::Stats;
use crate::hot::{Applied, HotState, Piece, State, one_line};
use crate::lake::Lake;
use crate::manifest::{self, FileEntry, Manifest};

/// How an [`Applier`] waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplierOptions {
    /// Between two tries while the store is away: at first, doubled each time, and at most.
    pub retry_first: Duration,
    pub retry_longest: Duration,
    /// How often the store is asked whether it still has what was applied, while the lake does not grow.
    pub check_every: Duration,
}

impl Default for ApplierOptions {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(8),
            check_every: Duration::from_secs(10),
        }
    }
}

/// What an [`Applier`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotReport {
    /// Newest manifest of the lake, and newest one applied when the store was last asked. 0 is none.
    pub newest: u64,
    pub applied: u64,
    /// The store had all of the lake when it was last asked.
    pub converged: bool,
    /// Manifests applied by this applier, those of a rebuild included.
    pub manifests: u64,
    /// How often hot state was begun anew from the first manifest.
    pub rebuilds: u64,
    /// Tries that failed, and why the latest one did.
    pub errors: u64,
    pub last_error: Option<String>,
}

/// A thread that owns hot state and follows the lake. Dropping it stops the thread after the manifest at hand.
pub struct Applier {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    report: HotReport,
    /// Set by `finish`: at this moment, or as soon as hot state is level, it is over.
    deadline: Option<Instant>,
    stop: bool,
    /// The thread will not touch the store again.
    ended: bool,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().expect("no thread panics while it holds this lock")
    }
}

impl Control {
    fn must_end(&self) -> bool {
        let late = |deadline| self.report.converged || Instant::now() >= deadline;
        self.stop || self.deadline.is_some_and(late)
    }
}

impl Applier {
    /// Starts with what the lake has now, all of it published. No hot state (`None`) is always level.
    pub fn start(lake: Lake, hot: Option<Box<dyn HotState>>, options: ApplierOptions) -> Self {
        let shared = Arc::new(Shared::default());
        let applier = Self { shared: Arc::clone(&shared) };
        if let Some(hot) = hot {
            let follower = Follower::new(lake, hot);
            thread::Builder::new()
                .name("hot-state".to_owned())
                .spawn(move || run(follower, &shared, &options))
                .expect("the system has room for one more thread when a job starts");
        } else {
            let mut control = shared.control();
            control.report.converged = true;
            control.ended = true;
        }
        applier
    }

    /// Says that manifest `sequence` is published. Never waits for the store.
    pub fn published(&self, sequence: u64) {
        let mut control = self.shared.control();
        if !control.ended && sequence > control.report.newest {
            control.report.newest = sequence;
            control.report.converged = false;
        }
        drop(control);
        self.shared.changed.notify_all();
    }

    pub fn report(&self) -> HotReport {
        self.shared.control().report.clone()
    }

    /// Catches up for at most `wait`, makes sure that the store still has what was applied, and ends.
    pub fn finish(self, wait: Duration) -> HotReport {
        let deadline = Instant::now() + wait;
        let mut control = self.shared.control();
        control.deadline = Some(deadline);
        if !control.ended {
            // Level once is not level now: the store is asked once more.
            control.report.converged = false;
        }
        self.shared.changed.notify_all();
        while !control.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // A call to a store that hangs ends by itself; what it still writes is what it should.
                break;
            }
            control = self.shared.changed.wait_timeout(control, left).expect("see Shared::control").0;
        }
        control.report.clone()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.shared.control().stop = true;
        self.shared.changed.notify_all();
    }
}

/// Empties `hot` and applies every manifest of `lake`. Gives the newest one's sequence, 0 for an empty lake.
pub fn rebuild(lake: &Lake, hot: Box<dyn HotState>) -> Result<u64, SinkError> {
    let mut newest = newest_sequence(lake)?;
    let mut follower = Follower::new(lake.clone(), hot);
    follower.hot.clear()?;
    if newest > 0 {
        let lake_id = follower.manifest(newest)?.lake;
        follower.begin_anew(&lake_id)?;
    }
    loop {
        match follower.step(newest)? {
            Step::Level => return Ok(newest),
            // A job that goes on meanwhile may have applied what was not there at first.
            Step::Begun => newest = newest_sequence(lake)?,
            Step::Applied(_) | Step::Lost => {}
        }
    }
}

/// What the thread does before its next step.
enum Pause {
    None,
    /// Nothing to do until the lake grows or it is time to look whether all is still there.
    Check(Duration),
    /// The store is away; the lake's growth is no reason to try earlier.
    Retry(Duration),
}

fn run(mut follower: Follower, shared: &Shared, options: &ApplierOptions) {
    let mut retry = options.retry_first;
    let mut away = false;
    let mut looked = false;
    let mut just_begun = false;
    loop {
        let step: Result<_, SinkError> = (|| {
            if !looked {
                let newest = newest_sequence(&follower.lake)?;
                let mut control = shared.control();
                control.report.newest = max(control.report.newest, newest);
                looked = true;
            }
            let newest = shared.control().report.newest;
            Ok((follower.step(newest)?, newest))
        })();
        let mut control = shared.control();
        let finishing = control.deadline.is_some();
        let pause = match step {
            Ok((step, newest)) => {
                retry = options.retry_first;
                if std::mem::take(&mut away) {
                    info!("hot state is back");
                }
                let begun_before = std::mem::replace(&mut just_begun, step == Step::Begun);
                control.report.converged = step == Step::Level && control.report.newest == newest;
                match step {
                    Step::Applied(sequence) => {
                        control.report.applied = sequence;
                        control.report.manifests += 1;
                        Pause::None
                    }
                    Step::Begun => {
                        control.report.applied = 0;
                        control.report.rebuilds += 1;
                        // Lost again before anything was applied: somebody else writes there.
                        if begun_before { Pause::Retry(options.retry_first) } else { Pause::None }
                    }
                    Step::Lost => Pause::Retry(options.retry_first),
                    Step::Level => {
                        control.report.applied = newest;
                        Pause::Check(options.check_every)
                    }
                }
            }
            Err(error) => {
                let line = one_line(&error);
                if !std::mem::replace(&mut away, true) {
                    warn!("hot state is away; the job goes on, hot state will catch up: {line}");
                }
                control.report.converged = false;
                control.report.errors += 1;
                control.report.last_error = Some(line);
                let pause = if finishing { options.retry_first } else { retry };
                retry = min(retry * 2, options.retry_longest);
                Pause::Retry(pause)
            }
        };
        if !wait(shared, control, &pause, finishing) {
            break;
        }
    }
    shared.control().ended = true;
    shared.changed.notify_all();
}

/// `false` when the thread is to end. `was_finishing` is whether `finish` had been called before the pause was chosen.
fn wait<'a>(shared: &'a Shared, mut control: MutexGuard<'a, Control>, pause: &Pause, was_finishing: bool) -> bool {
    let start = Instant::now();
    loop {
        if control.must_end() {
            return false;
        }
        let (length, woken) = match pause {
            Pause::None => return true,
            Pause::Check(length) => (*length, !control.report.converged),
            Pause::Retry(length) => (*length, control.deadline.is_some() && !was_finishing),
        };
        let left = length.saturating_sub(start.elapsed());
        if woken || left.is_zero() {
            return true;
        }
        control = shared.changed.wait_timeout(control, left).expect("see Shared::control").0;
    }
}

/// The newest manifest that is listed, 0 in an empty lake.
pub fn newest_sequence(lake: &Lake) -> Result<u64, SinkError> {
    let paths = lake.store().list(manifest::FOLDER)?;
    Ok(paths.iter().filter_map(|path| Manifest::sequence_at(path)).max().unwrap_or(0))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// This manifest was applied.
    Applied(u64),
    /// Hot state was begun anew.
    Begun,
    /// A manifest was applied in vain: meanwhile the store had been emptied, or written to by somebody else.
    Lost,
    /// There was nothing to do.
    Level,
}

/// Applies manifests in order. What it remembers only saves reading it again.
struct Follower {
    lake: Lake,
    hot: Box<dyn HotState>,
    memory: Option<Memory>,
    newest: Option<Manifest>,
    /// Of the lake through `newest`.
    calendar: Calendar,
}

/// What goes with a position.
struct Memory {
    applied: Applied,
    horizon_ms: Option<i64>,
    stats: Stats,
    /// Files with certificates that have not expired, for a store with copies of them.
    live: Vec<FileEntry>,
}

impl Follower {
    fn new(lake: Lake, hot: Box<dyn HotState>) -> Self {
        Self { lake, hot, memory: None, newest: None, calendar: Calendar::default() }
    }

    /// Does the next thing to be done to follow the lake up to manifest `newest`.
    fn step(&mut self, newest: u64) -> Result<Step, SinkError> {
        if newest == 0 {
            return Ok(Step::Level);
        }
        if self.newest.as_ref().is_none_or(|manifest| manifest.sequence != newest) {
            self.newest = Some(self.manifest(newest)?);
        }
        let newest = self.newest.clone().expect("just read");
        let applied = match self.hot.applied()? {
            Some(applied) if applied.lake == newest.lake && applied.sequence <= newest.sequence => applied,
            _ => return self.begin_anew(&newest.lake),
        };
        if applied.sequence == newest.sequence {
            return Ok(Step::Level);
        }
        // After an error nothing is remembered, and the memory of another position is of no use.
        let memory = self.memory.take().filter(|memory| memory.applied == applied);
        let is_recalled = memory.is_none();
        let memory = match memory {
            Some(memory) => memory,
            None => match self.recall(applied)? {
                Some(memory) => memory,
                None => return self.begin_anew(&newest.lake),
            },
        };
        // What has expired by the newest manifest is not shown first to be removed later.
        for sequence in self.calendar.through + 1..=newest.sequence {
            let manifest = self.manifest(sequence)?;
            self.calendar.add(&manifest);
        }
        let horizon_ms = self.calendar.horizon_ms();
        if memory.horizon_ms > horizon_ms {
            // What expired by another horizon has to come back.
            return self.begin_anew(&newest.lake);
        }
        let manifest = self.manifest(memory.applied.sequence + 1)?;
        self.apply(&manifest, &newest, horizon_ms, memory, is_recalled)
    }

    fn begin_anew(&mut self, lake: &str) -> Result<Step, SinkError> {
        self.memory = None;
        self.hot.reset(lake)?;
        info!("hot state begins anew from the first manifest");
        Ok(Step::Begun)
    }

    fn manifest(&self, sequence: u64) -> Result<Manifest, SinkError> {
        Manifest::decode(&self.lake.store().get(&Manifest::path(sequence))?, sequence)
    }

    /// Reads back what goes with a position; `None` when some of it was lost.
    fn recall(&mut self, applied: Applied) -> Result<Option<Memory>, SinkError> {
        let Some(state) = State::read(&self.hot.state()?) else { return Ok(None) };
        let stats = Stats::load(|name| self.hot.stats(name))?;
        if state.published != applied.sequence || state.stats_sum != stats.sum() {
            return Ok(None);
        }
        let mut live = Vec::new();
        if self.hot.wants_copies() {
            let expired_ms = self.hot.options().expired_ms(state.horizon_ms);
            for sequence in (1..=applied.sequence).rev() {
                let manifest = self.manifest(sequence)?;
                // The newest `seen` up to here: everything older has expired as well.
                if manifest.newest_seen.is_none_or(|seen| Timestamp(seen).millis() <= expired_ms) {
                    break;
                }
                live.extend(manifest.files.into_iter().filter(|file| is_live(file, expired_ms)));
            }
        }
        Ok(Some(Memory { applied, horizon_ms: state.horizon_ms, stats, live }))
    }

    /// `may_repeat`: an attempt at this manifest may have ended in the middle.
    fn apply(
        &mut self,
        manifest: &Manifest,
        newest: &Manifest,
        horizon_ms: Option<i64>,
        memory: Memory,
        may_repeat: bool,
    ) -> Result<Step, SinkError> {
        let Memory { horizon_ms: horizon_before_ms, mut stats, mut live, .. } = memory;
        let expired_ms = self.hot.options().expired_ms(horizon_ms);
        self.hot.begin(manifest, horizon_ms)?;
        let mut columns = self.hot.certificate_columns().to_vec();
        columns.extend(Stats::COLUMNS.iter().filter(|column| !self.hot.certificate_columns().contains(column)));
        for file in manifest.files.iter().filter(|file| file.table == Table::Certificates) {
            let shown = is_live(file, expired_ms);
            let columns = if shown { &columns[..] } else { Stats::COLUMNS };
            self.lake.scan(file, columns, &mut |batch| {
                stats.add(&batch);
                if shown { self.hot.apply(Piece::Certificates { file, batch: &batch }) } else { Ok(()) }
            })?;
        }
        if self.hot.wants_copies() {
            self.apply_findings(manifest, newest)?;
            let before_ms = self.hot.options().expired_ms(horizon_before_ms);
            self.apply_passed(&live, before_ms, expired_ms)?;
            if may_repeat {
                // By the horizon of then, the attempt showed what has expired by now.
                let own: Vec<_> = manifest.files.iter().filter(|file| is_live(file, before_ms)).cloned().collect();
                self.apply_passed(&own, before_ms, expired_ms)?;
            }
            live.retain(|file| is_live(file, expired_ms));
            live.extend(manifest.files.iter().filter(|file| is_live(file, expired_ms)).cloned());
        }
        stats.set_totals(&manifest.totals);
        if !self.hot.finish(&stats)? {
            return Ok(Step::Lost);
        }
        let applied = Applied { lake: manifest.lake.clone(), sequence: manifest.sequence };
        self.memory = Some(Memory { applied, horizon_ms, stats, live });
        Ok(Step::Applied(manifest.sequence))
    }

    /// Findings, but for those that newer ones will push out anyway.
    fn apply_findings(&mut self, manifest: &Manifest, newest: &Manifest) -> Result<(), SinkError> {
        let findings_max = self.hot.options().findings_max as u64;
        let files = manifest.files.iter().filter(|file| file.table == Table::Findings);
        let mut to_come: u64 = files.clone().map(|file| file.rows).sum();
        to_come += newest.totals.findings.saturating_sub(manifest.totals.findings);
        let mut first_rank = 0;
        for file in files {
            // Of all findings from this file's first one on, the last `findings_max` are kept.
            let skipped = to_come.saturating_sub(findings_max).min(file.rows);
            if skipped < file.rows {
                let mut rank = first_rank;
                self.lake.scan(file, FINDING_COLUMNS, &mut |batch| {
                    let rows = batch.num_rows();
                    let skip = usize::try_from(skipped.saturating_sub(rank - first_rank)).unwrap_or(rows).min(rows);
                    let batch = batch.slice(skip, rows - skip);
                    let piece = Piece::Findings { file, first_rank: rank + skip as u64, batch: &batch };
                    rank += rows as u64;
                    self.hot.apply(piece)
                })?;
            }
            first_rank += file.rows;
            to_come -= file.rows;
        }
        Ok(())
    }

    /// Certificates of earlier manifests seen after `before_ms` and not after `expired_ms`.
    fn apply_passed(&mut self, live: &[FileEntry], before_ms: i64, expired_ms: i64) -> Result<(), SinkError> {
        let touched = |file: &&FileEntry| {
            let oldest_ms = file.min_seen.map_or(i64::MIN, |seen| Timestamp(seen).millis());
            expired_ms > before_ms && oldest_ms <= expired_ms
        };
        for file in live.iter().filter(touched) {
            self.lake.scan(file, CertificateKeys::COLUMNS, &mut |batch| {
                self.hot.apply(Piece::Passed { before_ms, batch: &batch })
            })?;
        }
        Ok(())
    }
}

/// Whether a file has certificates that have not expired.
fn is_live(file: &FileEntry, expired_ms: i64) -> bool {
    file.table == Table::Certificates && file.max_seen.is_some_and(|seen| Timestamp(seen).millis() > expired_ms)
}
