//! Follows one log: every entry in order, and proof of them at every tree head that is reached.
//!
//! Two positions are kept apart: what was read, and what is proven to be what the log signed. Each has the right edge of
//! the tree up to there. When the root of what was read is not the one of the head, reading goes back to what is proven.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ct_model::ctlog::Hash;
use ct_model::ctlog::head::TreeHead;
use ct_model::ctlog::merkle::compact::CompactRange;
use ct_model::id::{from_hex, to_hex};
use ct_model::message::log_line;
use ct_model::{Coverage, Timestamp};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::FEED;
use super::error::LogError;
use super::log::{Log, Page};
use crate::retry::{Backoff, Failure};

/// The ceilings of the waits after failures.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A tree head may be signed so long after now, as clocks differ. One of a later time would outdo all that follow.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A long way is proven in parts of so many entries, so that a false one costs no more than its part.
const PART_ENTRIES: u64 = 64 << 10;

/// How a log is followed.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Between looks at the tree head.
    pub poll: Duration,
    /// Entries wait so long for a tile to fill before the tile is asked for as it is.
    pub partial_tile: Duration,
    /// Pages that are asked for at a time, as far as the operator's budget goes.
    pub pages_ahead: usize,
    /// A log that was not followed before is read from its first entry, not from the newest.
    pub from_beginning: bool,
    /// By name: logs without a position that are read from here all the same.
    pub held: BTreeMap<String, u64>,
}

/// What a follower says, in order.
#[derive(Debug)]
pub enum LogEvent {
    /// Lines for the journal, and where the log is to be taken up when they are durable.
    Lines { lines: Vec<u8>, entries: u64, position: Position, room: Option<Room> },
    /// A signed tree head was seen.
    Head { size: u64, timestamp_ms: u64 },
    /// The log contradicts what it signed.
    Alarm(Alarm),
    /// It could not be read for the moment.
    Failed(String),
}

/// The right to hold a page in memory, until it is dropped.
pub type Room = tokio::sync::OwnedSemaphorePermit;

/// Proof, or strong evidence, that a log does what no log may do.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    pub log: String,
    pub kind: AlarmKind,
    pub detail: String,
    /// The two heads that do not go together; `held` was reached before.
    pub held: Option<HeadTold>,
    pub seen: Option<HeadTold>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// Two roots for one size.
    Fork,
    /// A smaller tree that was signed later than a larger one.
    Rollback,
    /// The entries do not make the root that was signed.
    Root,
    /// A tree head that the log's key did not sign.
    Signature,
    /// A tree head of a time to come.
    Future,
}

impl AlarmKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
            Self::Root => "root",
            Self::Signature => "signature",
            Self::Future => "future",
        }
    }
}

/// A tree head in hex and decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadTold {
    pub size: u64,
    pub root: String,
    pub timestamp_ms: u64,
}

impl From<&TreeHead> for HeadTold {
    fn from(head: &TreeHead) -> Self {
        Self { size: head.size, root: to_hex(&head.root), timestamp_ms: head.timestamp_ms }
    }
}

impl HeadTold {
    pub(super) fn head(&self) -> Option<TreeHead> {
        let mut root = [0; 32];
        from_hex(&self.root, &mut root)?;
        Some(TreeHead { size: self.size, root, timestamp_ms: self.timestamp_ms })
    }
}

/// Where a log is to be taken up. Hashes in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The right edge of what was read; its size is the next index.
    next: Edge,
    /// The same for what is proven.
    proven: Edge,
    /// The head that proved it.
    head: Option<HeadTold>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Edge {
    size: u64,
    hashes: Vec<String>,
}

impl Edge {
    fn of(range: &CompactRange) -> Self {
        Self { size: range.size(), hashes: range.hashes().iter().map(|hash| to_hex(hash)).collect() }
    }

    fn range(&self) -> Option<CompactRange> {
        let hash = |text: &String| {
            let mut hash: Hash = [0; 32];
            from_hex(text, &mut hash).map(|()| hash)
        };
        CompactRange::restore(self.size, self.hashes.iter().map(hash).collect::<Option<_>>()?)
    }
}

impl Position {
    /// The index of the next entry.
    pub fn next(&self) -> u64 {
        self.next.size
    }

    /// The index of the next entry that is not proven.
    pub fn proven(&self) -> u64 {
        self.proven.size
    }

    /// `None` when it contradicts itself: whoever kept it kept something else.
    fn reading(&self) -> Option<Reading> {
        let head = match &self.head {
            Some(told) => Some(told.head()?),
            None => None,
        };
        let reading = Reading { next: self.next.range()?, proven: self.proven.range()?, head };
        let covers = head.map_or(0, |head| head.size);
        (reading.proven.size() <= reading.next.size().min(covers)).then_some(reading)
    }
}

/// One log that is followed.
pub(super) struct Follower {
    log: Arc<Log>,
    options: FollowOptions,
    /// For pages of all logs.
    rooms: Arc<Semaphore>,
    /// For a page of this log, so that logs that keep their pages waiting do not stop it.
    own_room: Arc<Semaphore>,
    reading: Option<Reading>,
    /// Since when entries wait for their tile to fill.
    waiting: Option<Instant>,
    /// The head that was last told of, so that each is told once.
    alarmed: Option<(AlarmKind, u64, Hash)>,
}

/// How far reading has come.
struct Reading {
    next: CompactRange,
    proven: CompactRange,
    /// The head that proved it, or the one reading began at; at least as large.
    head: Option<TreeHead>,
}

enum Stop {
    /// Nobody listens.
    Gone,
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    /// `position` is where an earlier run came to.
    pub(super) fn new(
        log: Arc<Log>,
        mut options: FollowOptions,
        rooms: Arc<Semaphore>,
        position: Option<&Position>,
    ) -> Self {
        let reading = position.and_then(Position::reading);
        if let (Some(position), None) = (position, &reading) {
            // The index is what must not be lost; the log says the rest again.
            let index = position.next.size.min(position.proven.size);
            warn!(log = %log.name(), index, "the position of the log is broken; it is taken up at its proven index");
            options.held.insert(log.name().to_string(), index);
        }
        Self { log, options, rooms, own_room: Arc::new(Semaphore::new(1)), reading, waiting: None, alarmed: None }
    }

    /// Until `stop` is true, nobody listens, or a log that grows no more is read.
    pub(super) async fn run(mut self, out: mpsc::Sender<LogEvent>, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        loop {
            let started = Instant::now();
            let round = tokio::select! {
                round = self.round(&out) => round,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let wait = match round {
                Ok(()) if self.is_done() => {
                    info!(log = %self.log.name(), "the log is read to its final tree head");
                    return;
                }
                Ok(()) => {
                    backoff.delivered(BACKOFF_MAX);
                    self.options.poll.saturating_sub(started.elapsed())
                }
                Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    let text = told(&error);
                    warn!(log = %self.log.name(), error = text, "the log cannot be read; it is tried again");
                    if out.send(LogEvent::Failed(text)).await.is_err() {
                        return;
                    }
                    backoff.next(Failure::Passing, getrandom::u64().unwrap_or(u64::MAX)).max(self.options.poll)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// The log grows no more, and all of it is proven.
    fn is_done(&self) -> bool {
        let proven = self.reading.as_ref().map(|reading| reading.proven.size());
        self.log.final_size().is_some_and(|size| proven >= Some(size))
    }

    /// One look at the head, and what it makes possible.
    async fn round(&mut self, out: &mpsc::Sender<LogEvent>) -> Result<(), Stop> {
        let head = match self.log.head().await {
            Err(LogError::Proof { why, .. }) => {
                let held = self.reading.as_ref().and_then(|reading| reading.head);
                return self.alarm(out, AlarmKind::Signature, why, held.as_ref(), None).await;
            }
            head => head?,
        };
        send(out, LogEvent::Head { size: head.size, timestamp_ms: head.timestamp_ms }).await?;
        let held = self.reading.as_ref().and_then(|reading| reading.head);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if u128::from(head.timestamp_ms) > (now + AHEAD_MAX).as_millis() {
            let why = format!("a tree head of {} ms, more than a day ahead", head.timestamp_ms);
            return self.alarm(out, AlarmKind::Future, why, held.as_ref(), Some(&head)).await;
        }
        if let Some(held) = held {
            if held.size == head.size && held.root != head.root {
                let why = format!("two roots for {} entries", head.size);
                return self.alarm(out, AlarmKind::Fork, why, Some(&held), Some(&head)).await;
            }
            if head.size < held.size && head.timestamp_ms > held.timestamp_ms {
                let why = format!("{} entries were signed after {}", head.size, held.size);
                return self.alarm(out, AlarmKind::Rollback, why, Some(&held), Some(&head)).await;
            }
            // Another server of the log that is behind.
            if head.size < held.size {
                debug!(log = %self.log.name(), size = head.size, held = held.size, "an older tree head");
            }
        }
        let from = match &self.reading {
            Some(reading) => reading.next.size(),
            None => {
                let default = if self.options.from_beginning { 0 } else { head.size };
                let held = self.options.held.get(&**self.log.name());
                let start = held.copied().filter(|held| *held <= head.size).unwrap_or(default);
                let edge = self.log.edge_at(start, &head).await?;
                info!(log = %self.log.name(), index = start, "the log is followed");
                let reading = Reading { next: edge.clone(), proven: edge, head: (start > 0).then_some(head) };
                let position = reading.position();
                self.reading = Some(reading);
                // A run that ends before the log grows is followed by one that begins here.
                send(out, LogEvent::Lines { lines: Vec::new(), entries: 0, position, room: None }).await?;
                start
            }
        };
        let to = self.target(from, head.size);
        let mut at = from;
        while at < to {
            let end = ((at / PART_ENTRIES + 1) * PART_ENTRIES).min(to);
            self.read(out, at, end, head.size).await?;
            if end < to {
                self.prove_part(out, end, &head).await?;
            }
            at = end;
        }
        self.prove(out, &head).await
    }

    /// How far to read: all there is, but no tile before it is full or its time has come.
    fn target(&mut self, from: u64, size: u64) -> u64 {
        let full = size - size % Page::ENTRIES_MAX;
        if !self.log.has_tiles() || size <= from || self.log.final_size().is_some() {
            return size;
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.options.partial_tile {
            return size;
        }
        if size == full {
            self.waiting = None;
        }
        full.max(from)
    }

    async fn read(&mut self, out: &mpsc::Sender<LogEvent>, from: u64, to: u64, size: u64) -> Result<(), Stop> {
        let log = Arc::clone(&self.log);
        // Room is given in the order of pages: one that waits for it waits for none behind it.
        let pages = stream::iter(Page::windows(from, to)).then(|window| {
            let (own, shared) = (Arc::clone(&self.own_room), Arc::clone(&self.rooms));
            async move {
                let room = tokio::select! {
                    biased;
                    room = own.acquire_owned() => room,
                    room = shared.acquire_owned() => room,
                };
                (window, room.ok())
            }
        });
        let pages = pages.map(|(window, room)| {
            let page = PageTask::spawn(Arc::clone(&log), window, size);
            async move { (page.join().await, room) }
        });
        let mut pages = std::pin::pin!(pages.buffered(self.options.pages_ahead.max(1)));
        while let Some((page, room)) = pages.next().await {
            let page = page?;
            let reading = self.reading.as_mut().expect("reading began before there was something to read");
            page.leaf_hashes.iter().for_each(|hash| reading.next.push(*hash));
            let entries = page.leaf_hashes.len() as u64;
            send(out, LogEvent::Lines { lines: page.lines, entries, position: reading.position(), room }).await?;
        }
        Ok(())
    }

    /// Compares what was read with the same beginning of a larger tree, as the log proves it.
    async fn prove_part(&mut self, out: &mpsc::Sender<LogEvent>, size: u64, head: &TreeHead) -> Result<(), Stop> {
        let edge = self.log.edge_at(size, head).await?;
        self.settle(out, size, head, edge.root()).await
    }

    /// Compares what was read with a head that it has reached.
    async fn prove(&mut self, out: &mpsc::Sender<LogEvent>, head: &TreeHead) -> Result<(), Stop> {
        let Some(reading) = &self.reading else { return Ok(()) };
        if reading.next.size() != head.size || reading.proven.size() == head.size {
            return Ok(());
        }
        self.settle(out, head.size, head, head.root).await?;
        (self.waiting, self.alarmed) = (None, None);
        Ok(())
    }

    /// What was read, `size` entries, is proven by `head` if it makes the root that they have; else it is forgotten.
    async fn settle(
        &mut self,
        out: &mpsc::Sender<LogEvent>,
        size: u64,
        head: &TreeHead,
        root: Hash,
    ) -> Result<(), Stop> {
        let reading = self.reading.as_mut().expect("something was read");
        let first = reading.proven.size();
        if reading.next.root() != root {
            let (held, computed) = (reading.head, to_hex(&reading.next.root()));
            reading.next = reading.proven.clone();
            let why = format!("entries {first} to {} make the root {computed}, which the log did not sign", size - 1);
            self.alarm(out, AlarmKind::Root, why.clone(), held.as_ref(), Some(head)).await?;
            // They are read again, and not at once.
            return Err(LogError::Proof { log: self.log.name().to_string(), why }.into());
        }
        let mut lines = Vec::new();
        let head_at = Timestamp::from_unix_ms(head.timestamp_ms).unwrap_or(Timestamp(0));
        let row = Coverage {
            log: self.log.name().clone(),
            first,
            last: size - 1,
            tree_size: head.size,
            root: head.root,
            head_at,
            verified: true,
            feed: FEED.into(),
            since: None,
        };
        log_line::write_coverage(&mut lines, &row);
        reading.proven = reading.next.clone();
        reading.head = Some(*head);
        send(out, LogEvent::Lines { lines, entries: 0, position: reading.position(), room: None }).await
    }

    /// Tells of it, once for each head.
    async fn alarm(
        &mut self,
        out: &mpsc::Sender<LogEvent>,
        kind: AlarmKind,
        detail: String,
        held: Option<&TreeHead>,
        seen: Option<&TreeHead>,
    ) -> Result<(), Stop> {
        let about = (kind, seen.map_or(0, |head| head.size), seen.map_or([0; 32], |head| head.root));
        if self.alarmed.replace(about) == Some(about) {
            return Ok(());
        }
        let log = self.log.name().to_string();
        let alarm = Alarm { log, kind, detail, held: held.map(HeadTold::from), seen: seen.map(HeadTold::from) };
        send(out, LogEvent::Alarm(alarm)).await
    }
}

impl Reading {
    fn position(&self) -> Position {
        let head = self.head.as_ref().map(HeadTold::from);
        Position { next: Edge::of(&self.next), proven: Edge::of(&self.proven), head }
    }
}

/// The reading of a page, which ends with whoever waits for it. On a task of its own, so that decoding is spread over
/// threads.
pub(super) struct PageTask(JoinHandle<Result<Page, LogError>>);

impl PageTask {
    pub(super) fn spawn(log: Arc<Log>, (first, end): (u64, u64), size: u64) -> Self {
        Self(tokio::spawn(async move { log.page(first, end, size).await }))
    }

    pub(super) async fn join(mut self) -> Result<Page, LogError> {
        match (&mut self.0).await {
            Ok(page) => page,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it whoever waits.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for PageTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(out: &mpsc::Sender<LogEvent>, event: LogEvent) -> Result<(), Stop> {
    out.send(event).await.map_err(|_| Stop::Gone)
}

/// An error with its causes, in one line.
pub(super) fn told(error: &LogError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
