//! The collector process: feeds and logs on one side, the journal on the other.
//!
//! A frame is durable before anything else is done with it. Frames of all feeds go through one queue, in bounded
//! memory, to the one writer of the journal, which makes them durable together every [`COMMIT_EVERY`]. While it cannot,
//! because the disk or the journal is full, feeds are read no further, and the servers feel it.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ct_model::message::log_line;
use ct_source::certstream::{Event, Feed, State};
use ct_source::journal::{Gap, Journal, JournalError, Options, Recovery};
use ct_source::logs::{self, LogEvent, Logs};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{error, info, warn};

use super::archive::Archive;
use super::audit::{self, Audit, Found};
use super::feeds::feed;
use super::logs::{Positions, keep_evidence};
use super::told::{CollectorPlan, CollectorStatus, FeedState, FeedStatus, LogStatus, Order, Told};
use crate::cli::WorkerArgs;
use crate::cluster::exit::Exit;
use crate::cluster::signals::leave_to_supervisor;
use crate::fail::Failure;
use crate::job::{random_bytes, runtime};
use crate::telemetry;

/// How long a frame waits for others before it is made durable.
const COMMIT_EVERY: Duration = Duration::from_millis(35);
/// So much is made durable without waiting.
const COMMIT_BYTES: usize = 1 << 20;
/// How often time is noted in a journal that gets nothing else.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// How often the supervisor is told.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How long a full disk is left alone.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Events of one feed, and of all, that wait.
const EVENTS_WAITING_MAX: usize = 4;
/// How long the lock of another collector is waited for, and how often it is looked at.
const LOCKED_MAX: Duration = Duration::from_secs(8);
const LOCKED_PAUSE: Duration = Duration::from_millis(50);
/// How long feeds have to say their last words.
const CLOSE_MAX: Duration = Duration::from_secs(4);
/// How long after the order to drain a full disk is tried again; less than the supervisor waits.
const FULL_MAX: Duration = Duration::from_secs(6);
/// How long it is left alone then.
const FULL_PAUSE_DRAINING: Duration = Duration::from_millis(200);

/// Runs until told to drain, or until the supervisor is gone.
pub fn collect(args: &WorkerArgs) -> Result<Exit, Failure> {
    let text = std::fs::read(&args.plan).with_context(|| format!("reading {}", args.plan.display()))?;
    let plan: CollectorPlan = serde_json::from_slice(&text).context("reading the plan")?;
    telemetry::start(plan.log_level, plan.log_format);
    // A service manager signals every process of the job, but the supervisor says when to end.
    leave_to_supervisor()?;
    let runtime = runtime()?;
    let max_age_ms = (plan.journal.max_age_s > 0).then_some(plan.journal.max_age_s * 1_000);
    let segment_ms = max_age_ms.map_or(u64::MAX, |age_ms| age_ms / 2);
    let options = Options { segment_bytes: plan.journal.segment_mb << 20, segment_ms };
    let (journal, recovery) = open_journal(&plan.journal.dir, options)?;
    if recovery.truncated_bytes > 0 || recovery.lost_bytes > 0 {
        let (cut, lost) = (recovery.truncated_bytes, recovery.lost_bytes);
        warn!(cut_bytes = cut, lost_bytes = lost, "the journal ended with a batch that was not whole");
    }
    let archive =
        plan.journal.keep.as_deref().map(|url| Archive::open(url, journal.id().to_string(), runtime.handle()));
    let archive = archive.transpose()?;
    let (orders_in, orders) = mpsc::unbounded_channel();
    thread::Builder::new().name("orders".to_owned()).spawn(move || read_orders(&orders_in))?;

    let feeds = plan.feeds.iter().map(feed).collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
    let logs = plan
        .logs
        .any()
        .then(|| super::logs::logs(&plan.logs, plan.logs_held.clone()))
        .transpose()
        .map_err(Failure::usage)?
        .map(Arc::new);
    let audited: Vec<Arc<str>> = plan.feeds.iter().filter(|feed| feed.audit).map(|feed| (*feed.name).into()).collect();
    let audit = logs.clone().filter(|_| !audited.is_empty()).map(|logs| Audit {
        feeds: audited,
        interval: Duration::from_secs(plan.logs.audit_interval_s),
        dir: plan.journal.dir.clone(),
        logs,
        runtime: runtime.handle().clone(),
    });
    let logs = logs.filter(|_| plan.logs.follow);
    let positions = Positions::open(&plan.journal.dir).context("reading the positions of the logs")?;
    tell(&Told::Ready { journal: journal.id().to_string(), newest: journal.newest() });
    let names = plan.feeds.iter().map(|feed| feed.name.clone());
    let mut writer = Writer::new(journal, plan.journal.dir.clone(), names, archive, positions);
    writer.journal_bytes_max = plan.journal.mb_max << 20;
    writer.max_age_ms = max_age_ms;
    for (feed, undurable) in writer.status.feeds.iter().zip(&mut writer.undurable) {
        undurable.durable_ms = recovery.last_ms.get(&feed.name).copied();
    }
    // The writer waits a hundred times a second: on threads that it shares, each time would wake another one.
    let own = own_runtime().context("starting the writer")?;
    own.block_on(writer.run(Sources { feeds, logs, audit }, runtime, orders))?;
    Ok(Exit::Done)
}

/// Waits for the collector of a job that was killed: it is closing its feeds.
fn open_journal(dir: &Path, options: Options) -> Result<(Journal, Recovery)> {
    let until = Instant::now() + LOCKED_MAX;
    loop {
        match Journal::open(dir, options, random_bytes()?) {
            Err(JournalError::Locked { .. }) if Instant::now() < until => thread::sleep(LOCKED_PAUSE),
            opened => return Ok(opened?),
        }
    }
}

fn read_orders(orders: &mpsc::UnboundedSender<Order>) {
    for line in std::io::stdin().lock().lines() {
        let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
        if order.is_some_and(|order| orders.send(order).is_err()) {
            return;
        }
    }
    // The sender goes, and with it the last reason to run.
}

/// Tells the supervisor. When it is gone, so will be this process.
fn tell(told: &Told) {
    if let Ok(line) = serde_json::to_string(told) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// By the system's clock.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// For one thread.
fn own_runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs a feed. It has a thread for itself, since it sleeps on it.
fn on_a_thread(feed: impl Future + Send + 'static) -> std::io::Result<()> {
    let runtime = own_runtime()?;
    thread::Builder::new().name("feed".to_owned()).spawn(move || drop(runtime.block_on(feed)))?;
    Ok(())
}

struct Sources {
    feeds: Vec<Feed>,
    logs: Option<Arc<Logs>>,
    audit: Option<Audit>,
}

/// What a feed sent that is not durable so far.
#[derive(Clone, Default)]
struct Undurable {
    frames: u64,
    /// Up to when the journal tells what came, unix ms.
    durable_ms: Option<u64>,
}

/// What sources say.
pub enum Said {
    /// Of the feed at this index.
    Feed(usize, Event),
    Log(logs::Said),
    Audit(Found),
}

/// The one writer of the journal.
struct Writer {
    journal: Journal,
    dir: PathBuf,
    positions: Positions,
    /// Where what audits asked for begins in the journal, and no line of coverage follows.
    filled_since: Option<u32>,
    archive: Option<Archive>,
    status: CollectorStatus,
    /// By feed, as in the status.
    undurable: Vec<Undurable>,
    journal_bytes_max: u64,
    /// Of segments; older ones are deleted.
    max_age_ms: Option<u64>,
    /// Segments before this one are published; not known at first.
    published: Option<u32>,
    /// When the oldest frame that is not durable came.
    dirty: Option<Instant>,
    committed: Instant,
    /// Since when the journal is full, unix ms.
    full_since: Option<u64>,
    /// No commit is tried before.
    pause_until: Option<Instant>,
}

impl Writer {
    fn new(
        journal: Journal,
        dir: PathBuf,
        feeds: impl Iterator<Item = String>,
        archive: Option<Archive>,
        positions: Positions,
    ) -> Self {
        let feeds: Vec<_> = feeds.map(|name| FeedStatus { name, ..FeedStatus::default() }).collect();
        let undurable = vec![Undurable::default(); feeds.len()];
        let status = CollectorStatus { feeds, ..CollectorStatus::default() };
        Self {
            journal,
            dir,
            positions,
            filled_since: None,
            archive,
            status,
            undurable,
            journal_bytes_max: u64::MAX,
            max_age_ms: None,
            published: None,
            dirty: None,
            committed: Instant::now(),
            full_since: None,
            pause_until: None,
        }
    }

    async fn run(
        mut self,
        sources: Sources,
        runtime: &Runtime,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> Result<()> {
        let (stop_feeds, stop) = watch::channel(false);
        let list_again = Arc::new(Notify::new());
        let (all, mut events) = mpsc::channel(EVENTS_WAITING_MAX);
        for (index, feed) in sources.feeds.into_iter().enumerate() {
            let (out, mut said) = mpsc::channel(EVENTS_WAITING_MAX);
            let last = self.undurable[index].durable_ms.and_then(|ms| i64::try_from(ms).ok());
            let run = feed.run(out, stop.clone(), last);
            let all = all.clone();
            let pass_on = async move {
                while let Some(event) = said.recv().await {
                    if all.send(Said::Feed(index, event)).await.is_err() {
                        return;
                    }
                }
            };
            on_a_thread(async move { tokio::join!(run, pass_on) }).context("starting a thread for a feed")?;
        }
        if let Some(audit) = sources.audit {
            // It keeps nobody waiting for its last words.
            audit.start(all.downgrade()).context("starting the audit")?;
        }
        if let Some(logs) = sources.logs {
            let (out, mut said) = mpsc::channel(EVENTS_WAITING_MAX);
            runtime.spawn(logs.run(self.positions.all(), out, stop.clone(), Arc::clone(&list_again)));
            runtime.spawn(async move {
                while let Some(said) = said.recv().await {
                    if all.send(Said::Log(said)).await.is_err() {
                        return;
                    }
                }
            });
        } else {
            drop(all);
        }
        let mut told = Instant::now();
        loop {
            let (accepts, wake) = (self.accepts(), self.wake());
            tokio::select! {
                event = events.recv(), if accepts => match event {
                    Some(said) => self.take(said)?,
                    None => break,
                },
                order = orders.recv() => match order {
                    Some(Order::Release(segment)) => self.release(segment),
                    Some(Order::LogLevel(level)) => telemetry::set_level(level),
                    Some(Order::LogList) => list_again.notify_one(),
                    Some(Order::Drain) | None => break,
                },
                released = Archive::done(&mut self.archive) => self.remove(released),
                () = sleep_until(wake.into()) => {}
            }
            self.tend()?;
            if told.elapsed() >= STATUS_EVERY {
                told = Instant::now();
                self.drop_aged();
                self.tell_status();
            }
        }
        let asked = Instant::now();
        info!("the feeds are closed");
        stop_feeds.send_replace(true);
        // What the feeds have in hand, and the gaps they end with. It is taken whether or not there is room.
        let last_words = async {
            while let Some(said) = events.recv().await {
                self.take(said)?;
            }
            Ok::<_, JournalError>(())
        };
        if let Ok(taken) = timeout(CLOSE_MAX, last_words).await {
            taken?;
        }
        if let Some(from_ms) = self.full_since.take() {
            self.note_full(from_ms)?;
        }
        self.journal.tick(now_ms())?;
        let closed = self.commit_by(asked + FULL_MAX).await;
        if let Err(error) = closed {
            return Err(self.give_up(error));
        }
        self.positions.committed();
        self.positions.write();
        self.tell_status();
        Ok(())
    }

    /// Makes durable what came; a disk that is full is tried again until then, while archived segments make room.
    async fn commit_by(&mut self, until: Instant) -> Result<(), JournalError> {
        let mut told = false;
        loop {
            match self.journal.commit() {
                Err(error) if error.retry() && Instant::now() < until => {
                    if !std::mem::replace(&mut told, true) {
                        warn!(%error, "the journal cannot be closed before there is room");
                    }
                    let again = Instant::now() + FULL_PAUSE_DRAINING;
                    tokio::select! {
                        released = Archive::done(&mut self.archive) => self.remove(released),
                        () = sleep_until(again.into()) => {}
                    }
                }
                done => return done,
            }
        }
    }

    /// Says what is lost because it could not be made durable, in the journal as well if that takes so much. What logs
    /// have is read again, and where no gap is noted here, the next start notes one from the last durable frame on.
    fn give_up(&mut self, error: JournalError) -> anyhow::Error {
        let lost: u64 = self.undurable.iter().map(|feed| feed.frames).sum();
        self.journal.discard();
        let noted = self.note_lost().and_then(|()| self.journal.commit());
        if let Err(error) = noted {
            warn!(%error, "the gap is not noted now; the next start notes it");
        }
        anyhow::Error::new(error).context(format!("closing the journal: {lost} messages are not durable and lost"))
    }

    fn note_lost(&mut self) -> Result<(), JournalError> {
        let now = now_ms();
        for (feed, undurable) in self.status.feeds.iter().zip(&self.undurable).filter(|(_, lost)| lost.frames > 0) {
            let from_ms = undurable.durable_ms;
            let to_ms = now.max(from_ms.unwrap_or(0));
            let detail = format!("{} messages were not durable when the job ended", undurable.frames);
            let (feed, reason) = (feed.name.clone(), "journal_full".to_owned());
            self.journal.gap(now, Gap { feed, from_ms, to_ms, reason, detail })?;
        }
        Ok(())
    }

    /// Whether more may come: there is room for it in memory and on disk.
    fn accepts(&self) -> bool {
        self.full_since.is_none() && self.pause_until.is_none() && self.journal.pending_bytes() < 4 * COMMIT_BYTES
    }

    /// When there is something to do, if nothing comes.
    fn wake(&self) -> Instant {
        let commit = self.dirty.map(|since| since + COMMIT_EVERY);
        let next = commit.unwrap_or(self.committed + TICK_EVERY);
        let status = Instant::now() + STATUS_EVERY;
        self.pause_until.unwrap_or(next).min(status)
    }

    fn take(&mut self, said: Said) -> Result<(), JournalError> {
        match said {
            Said::Feed(index, event) => self.take_feed(index, event),
            Said::Log(said) => self.take_log(said),
            Said::Audit(Found::Lines(lines)) => {
                self.filled_since = self.take_lines(&lines, self.filled_since)?;
                Ok(())
            }
            Said::Audit(Found::Accounts(accounts)) => {
                audit::tell(&self.dir, &accounts, &mut self.status.audits);
                Ok(())
            }
        }
    }

    /// Lines of logs, of which some came before, from segment `since` on. A line of coverage gets the segment in which
    /// its entries begin, so that damage which may have hit them can be told from other. Gives where those begin that
    /// no line of coverage follows.
    fn take_lines(&mut self, lines: &[u8], mut since: Option<u32>) -> Result<Option<u32>, JournalError> {
        self.dirty.get_or_insert_with(Instant::now);
        let at_ms = now_ms();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let begin = since.unwrap_or(self.journal.newest());
            match log_line::with_since(line, begin) {
                Some(line) => {
                    self.journal.append(logs::FEED, at_ms, &line)?;
                    since = None;
                }
                None => {
                    self.journal.append(logs::FEED, at_ms, line)?;
                    since = Some(begin);
                }
            }
        }
        Ok(since)
    }

    fn take_log(&mut self, said: logs::Said) -> Result<(), JournalError> {
        let logs::Said { id, name, event } = said;
        let known = self.status.logs.iter().position(|log| *log.id == *id);
        let known = known.unwrap_or_else(|| {
            let (next, proven) = self.positions.of(&id).map_or((0, 0), |at| (at.next(), at.proven()));
            let new = LogStatus { id: id.to_string(), name: name.to_string(), next, proven, ..LogStatus::default() };
            self.status.logs.push(new);
            self.status.logs.len() - 1
        });
        let mut since = self.positions.since(&id);
        if let LogEvent::Lines { lines, .. } = &event {
            since = self.take_lines(lines, since)?;
        }
        let log = &mut self.status.logs[known];
        match event {
            LogEvent::Lines { lines, entries, position, room } => {
                drop((lines, room));
                log.entries += entries;
                if position.proven() > log.proven && log.alarm.take().is_some() {
                    info!(log = log.name, proven = position.proven(), "the log goes with what it signed again");
                }
                (log.next, log.proven) = (position.next(), position.proven());
                self.positions.reach(&id, position, since);
            }
            LogEvent::Head { size, timestamp_ms } => {
                (log.size, log.head_ms, log.error) = (size, Some(timestamp_ms), None);
            }
            LogEvent::Alarm(alarm) => keep_evidence(&self.dir, &alarm, log, now_ms()),
            LogEvent::Failed(error) => log.error = Some(error),
        }
        Ok(())
    }

    fn take_feed(&mut self, index: usize, event: Event) -> Result<(), JournalError> {
        let feed = &mut self.status.feeds[index];
        match event {
            Event::Frames(frames) => {
                self.dirty.get_or_insert_with(Instant::now);
                for frame in frames {
                    let at_ms = u64::try_from(frame.at_ms).unwrap_or_default();
                    feed.frames += 1;
                    feed.bytes += frame.bytes.len() as u64;
                    feed.last_ms = Some(at_ms);
                    self.undurable[index].frames += 1;
                    self.journal.append(&feed.name, at_ms, &frame.bytes)?;
                }
            }
            Event::Gap(gap) => {
                feed.gaps += 1;
                let gap = Gap {
                    feed: feed.name.clone(),
                    from_ms: gap.from_ms.and_then(|ms| u64::try_from(ms).ok()),
                    to_ms: u64::try_from(gap.to_ms).unwrap_or_default(),
                    reason: gap.reason.as_str().to_owned(),
                    detail: gap.detail,
                };
                self.dirty.get_or_insert_with(Instant::now);
                self.journal.gap(now_ms(), gap)?;
            }
            Event::State(state) => {
                feed.connects += u64::from(state == State::Connected);
                feed.state = match state {
                    State::Connecting => FeedState::Connecting,
                    State::Connected => FeedState::Connected,
                    State::Waiting { .. } => FeedState::Waiting,
                };
            }
        }
        Ok(())
    }

    /// Does what time has come for.
    fn tend(&mut self) -> Result<(), JournalError> {
        self.pause_until = self.pause_until.filter(|until| Instant::now() < *until);
        if self.pause_until.is_some() {
            return Ok(());
        }
        if self.dirty.is_none() && self.committed.elapsed() >= TICK_EVERY {
            if self.journal.pending_bytes() == 0 {
                self.journal.tick(now_ms())?;
            }
            return self.commit();
        }
        let due = self.dirty.is_some_and(|since| since.elapsed() >= COMMIT_EVERY);
        if due || self.journal.pending_bytes() >= COMMIT_BYTES {
            self.commit()?;
        }
        self.watch_size()
    }

    fn commit(&mut self) -> Result<(), JournalError> {
        let started = Instant::now();
        match self.journal.commit() {
            Ok(()) => {
                self.positions.committed();
                self.status.commits += 1;
                self.status.commit_seconds += started.elapsed().as_secs_f64();
                (self.dirty, self.committed) = (None, Instant::now());
                for (feed, undurable) in self.status.feeds.iter().zip(&mut self.undurable) {
                    *undurable = Undurable { frames: 0, durable_ms: feed.last_ms.or(undurable.durable_ms) };
                }
                if self.status.error.take().is_some() {
                    info!("the journal can be written again");
                }
                Ok(())
            }
            Err(error) if error.retry() => {
                self.pause_until = Some(Instant::now() + FULL_PAUSE);
                if self.status.error.is_none() {
                    error!(%error, "the journal cannot be written; the feeds wait until there is room");
                }
                self.status.error = Some(error.to_string());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A journal of its greatest size takes nothing until something is published, and says so in itself.
    fn watch_size(&mut self) -> Result<(), JournalError> {
        let full = self.journal.bytes() >= self.journal_bytes_max;
        match self.full_since {
            None if full => {
                self.full_since = Some(now_ms());
                error!(
                    bytes = self.journal.bytes(),
                    "the journal is full; the feeds wait until something is published"
                );
            }
            Some(from_ms) if !full => {
                self.full_since = None;
                info!(seconds = now_ms().saturating_sub(from_ms) / 1_000, "the journal has room again");
                self.note_full(from_ms)?;
                self.dirty.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        Ok(())
    }

    /// No feed was read from then until now.
    fn note_full(&mut self, from_ms: u64) -> Result<(), JournalError> {
        // The clock may have been set back.
        let to_ms = now_ms().max(from_ms);
        for feed in &mut self.status.feeds {
            feed.gaps += 1;
            let (feed, from_ms) = (feed.name.clone(), Some(from_ms));
            let (reason, detail) = ("journal_full".to_owned(), "the feed was not read".to_owned());
            self.journal.gap(to_ms, Gap { feed, from_ms, to_ms, reason, detail })?;
        }
        Ok(())
    }

    /// Segments before this one are needed no more.
    fn release(&mut self, segment: u32) {
        self.published = Some(segment);
        match &mut self.archive {
            Some(archive) => archive.keep(self.journal.releasable(segment)),
            None => self.journal.release(segment).map(drop).unwrap_or_else(|error| stays(&error)),
        }
    }

    /// Deletes segments that are too old, published or not. What of them was not read, the reader tells as a gap.
    fn drop_aged(&mut self) {
        let (Some(age_ms), Some(published)) = (self.max_age_ms, self.published) else { return };
        for (segment, bytes) in self.journal.aged(age_ms, now_ms()) {
            if let Err(error) = self.journal.remove(segment) {
                return stays(&error);
            }
            if segment < published {
                warn!(segment, bytes, "a published segment of the journal is too old: deleted before it was kept");
            } else {
                self.status.dropped_segments += 1;
                self.status.dropped_bytes += bytes;
                error!(segment, bytes, "a segment of the journal is too old: deleted before it was published");
            }
        }
    }

    fn remove(&mut self, segment: u32) {
        self.journal.remove(segment).unwrap_or_else(|error| stays(&error));
    }

    fn tell_status(&mut self) {
        self.status.journal_bytes = self.journal.bytes();
        self.status.pending_bytes = self.journal.pending_bytes() as u64;
        self.status.full = self.full_since.is_some();
        tell(&Told::Status(self.status.clone()));
    }
}

/// It is tried again with the next release.
fn stays(error: &JournalError) {
    warn!(%error, "a segment of the journal cannot be deleted");
}

/// The absolute form of a journal's folder, which every process is given.
pub fn absolute(dir: &Path) -> Result<PathBuf> {
    std::path::absolute(dir).with_context(|| format!("journal.dir: {}", dir.display()))
}
