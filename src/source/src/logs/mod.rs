//! CT logs: which there are, and their entries as lines, each in its order and proven by the tree heads of its log.
//!
//! ```text
//! list of logs ─► Logs ─┬─ Follower ─► Log ─► Client     one task a log; pages on tasks of their own
//!                       └─ …                 └ Operator   requests at a time, shared by all logs of an operator
//! ```
//!
//! A log can be asked again: what was read and got lost is read again, from the [`Position`] that whoever keeps the
//! lines keeps with them. Memory is bounded by the pages there is room for, whatever logs send.

pub(crate) mod access;
pub(crate) mod archive;
mod client;
mod error;
mod follow;
pub(crate) mod lines;
mod log;
mod operator;
pub(crate) mod remote;
mod stretch;
pub mod verify;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64_simd::STANDARD;
use ct_model::ctlog::Hash;
use ct_model::ctlog::head::TreeHead;
use ct_model::ctlog::list::{self, LIST_BYTES_MAX, LogList, Urls};
use ct_model::id::to_hex;
use ct_model::message::log_name;
use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use self::access::Access;
use self::follow::Follower;
use self::log::Log;
use self::operator::{ALONE, Operator};
use crate::retry::{Backoff, Failure};
use crate::segments::Segment;

pub use self::access::AccessOptions;
pub use self::client::ClientOptions;
pub use self::error::LogError;
pub use self::follow::{Alarm, AlarmKind, FollowOptions, HeadTold, LogEvent, Position, Room};
pub use self::stretch::{LogSource, Remote};

/// The name under which entries of logs stand in a journal and in the column `feed`.
pub const FEED: &str = "logs";

/// Pages of all logs that are in memory at a time: at most 700 KB each, as a rule.
const ROOMS: usize = 64;
/// Logs that are asked for their heads at a time.
const HEADS_AT_ONCE: usize = 16;
/// After the end of its temporal interval a log is followed so long, for what it has not published and we have not read.
const ENDED_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Events of one log that wait.
const EVENTS_WAITING_MAX: usize = 2;

/// Which logs, and how they are read.
#[derive(Clone, Debug)]
pub struct LogsOptions {
    /// A log list (v3): a URL or a file.
    pub list: Option<String>,
    /// A public key (PEM) whose signature the list must have, beside it with the ending `.sig`.
    pub list_key_file: Option<PathBuf>,
    /// How often the list is read again.
    pub list_refresh: Duration,
    /// Logs beside those of the list.
    pub singles: Vec<SingleLog>,
    /// Only logs with one of these texts in their names; all when empty.
    pub only: Vec<String>,
    /// No logs with one of these texts in their names.
    pub skip: Vec<String>,
    pub access: AccessOptions,
    pub follow: FollowOptions,
}

/// A log that stands in no list.
#[derive(Clone, Debug)]
pub struct SingleLog {
    /// Of an RFC 6962 log, or the monitoring prefix of a static one.
    pub url: String,
    /// SubjectPublicKeyInfo in base64.
    pub key: String,
    /// The submission prefix of a static log.
    pub submission_url: Option<String>,
}

/// What one log says.
#[derive(Debug)]
pub struct Said {
    /// SHA-256 (hex) of the log's key: what stays when URLs change.
    pub id: Arc<str>,
    /// The log's URL without scheme and trailing slash.
    pub name: Arc<str>,
    pub event: LogEvent,
}

/// The stretches that are wanted of a log, by its name and the size of its tree: entries, each with its end behind the
/// last. A log of which nothing is wanted whatever its size is not asked.
pub type Wanted<'a> = &'a dyn Fn(&str, u64) -> Vec<(u64, u64)>;

/// What was found of what was wanted.
#[derive(Debug, Default)]
pub struct Found {
    pub segments: Vec<Segment>,
    /// Logs that could not be asked for their tree head, by name, and why.
    pub failed: Vec<(String, String)>,
}

/// Logs to be read.
pub struct Logs {
    options: LogsOptions,
    access: Access,
    singles: Vec<list::Log>,
    list_key: Option<verify::PublicKey>,
}

impl Logs {
    /// Checks the options; connects to nothing.
    pub fn new(options: LogsOptions) -> Result<Self, LogError> {
        let access = Access::new(&options.access, ALONE)?;
        let singles = options.singles.iter().map(single).collect::<Result<_, _>>()?;
        let list_key = options.list_key_file.as_deref().map(read_key).transpose()?;
        Ok(Self { options, access, singles, list_key })
    }

    /// The logs that are to be followed now.
    pub async fn load(&self) -> Result<Vec<list::Log>, LogError> {
        let mut logs = self.known().await?;
        let is_single = |log: &list::Log| self.singles.iter().any(|single| single.id == log.id);
        let has = |texts: &[String], log: &list::Log| texts.iter().any(|text| log.name.contains(text.as_str()));
        let LogsOptions { only, skip, .. } = &self.options;
        logs.retain(|log| log.is_followed() || is_single(log));
        logs.retain(|log| (only.is_empty() || has(only, log)) && !has(skip, log));
        if logs.is_empty() { Err(list_error(&"no log is left to follow")) } else { Ok(logs) }
    }

    /// Whether a log can get entries that it does not have: of one that takes certificates up to some notAfter, all are
    /// expired when that is long past. One that is asked for by name is read all the same.
    fn may_grow(&self, log: &list::Log) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ended = log.temporal_interval.is_some_and(|(_, end)| {
            u128::try_from(end.millis()).is_ok_and(|end_ms| now.as_millis() > end_ms + ENDED_FOR.as_millis())
        });
        !ended || self.options.only.iter().any(|text| log.name.contains(text.as_str()))
    }

    /// All logs, whatever their state: their keys are trusted.
    pub async fn known(&self) -> Result<Vec<list::Log>, LogError> {
        let mut logs = self.singles.clone();
        if let Some(place) = &self.options.list {
            let json = self.read(place).await?;
            if let Some(key) = &self.list_key {
                let place = format!("{}.sig", place.strip_suffix(".json").unwrap_or(place));
                let signature = self.read(&place).await?;
                key.verify_list(&json, &signature).map_err(|why| list_error(&format!("{place}: {why}")))?;
            }
            let list = LogList::parse(&json).map_err(|why| list_error(&why))?;
            for skipped in &list.skipped {
                warn!(operator = %skipped.operator, log = %skipped.log, why = %skipped.why, "a log of the list is left out");
            }
            let known = |log: &list::Log| logs.iter().any(|single: &list::Log| single.id == log.id);
            let listed: Vec<_> = list.logs.into_iter().filter(|log| !known(log)).collect();
            logs.extend(listed);
        }
        Ok(logs)
    }

    /// The tree head of each log, or why it could not be had, by name.
    pub async fn heads(&self) -> Result<Vec<(String, Result<HeadTold, String>)>, LogError> {
        let heads = self.heads_of(self.load().await?).await.into_iter();
        Ok(heads.map(|(log, head)| (log.name.to_string(), head.map(|head| HeadTold::from(&head)))).collect())
    }

    /// Segments for what is `wanted` of each log. They are read under the tree heads of this moment. A log that does not
    /// answer is told of, and does not keep the others from being read.
    pub async fn stretches(&self, wanted: Wanted<'_>) -> Result<Found, LogError> {
        let mut logs = self.load().await?;
        logs.retain(|log| !wanted(&log.name, u64::MAX).is_empty());
        let mut found = Found::default();
        for (described, head) in self.heads_of(logs).await {
            match head {
                Ok(head) => {
                    for (first, end) in wanted(&described.name, head.size) {
                        found.segments.extend(stretch::segments(&described, &head, first, end.min(head.size)));
                    }
                }
                Err(why) => found.failed.push((described.name.to_string(), why)),
            }
        }
        Ok(found)
    }

    /// The text of a segment that [`Self::stretches`] gave: the lines of its entries, and behind them, when they are
    /// proven, that of their coverage. It is read within the budget of those who follow the same logs, by a thread that
    /// may wait.
    pub fn read_stretch(&self, segment: &Segment, runtime: &Handle) -> io::Result<impl io::Read + use<>> {
        remote::open(segment, &self.access, runtime)
    }

    /// The tree head of each of these, or why it could not be had.
    async fn heads_of(&self, logs: Vec<list::Log>) -> Vec<(list::Log, Result<TreeHead, String>)> {
        let heads = stream::iter(logs).map(|described| async move {
            let head = match self.access.open(&described) {
                Ok(log) => log.head().await,
                Err(error) => Err(error),
            };
            (described, head.map_err(|error| follow::told(&error)))
        });
        heads.buffered(HEADS_AT_ONCE).collect().await
    }

    async fn read(&self, place: &str) -> Result<Vec<u8>, LogError> {
        let path = match Url::parse(place) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                let whole = |error: url::ParseError| LogError::Url { url: place.to_owned(), why: error.to_string() };
                // Only the scheme and host of a list are held against the same rules as those of a log.
                client::base(url.join("/").map_err(whole)?.as_str(), self.access.allow_plaintext)?;
                let body = self.access.client.get(&Operator::new(1, ALONE), &url, LIST_BYTES_MAX).await?;
                return body.ok_or_else(|| LogError::Absent { url: url.to_string() });
            }
            Ok(url) if url.scheme() == "file" => url.to_file_path().unwrap_or_else(|()| PathBuf::from(place)),
            _ => PathBuf::from(place),
        };
        tokio::fs::read(&path).await.map_err(|source| LogError::ListFile { place: path.display().to_string(), source })
    }

    /// Follows logs, each from its position (by id) on, until `stop` is true or nobody listens. The list is read again
    /// when its time has come, and when `again` says so.
    ///
    /// A list that cannot be read changes nothing, and is read again.
    pub async fn run(
        self: Arc<Self>,
        positions: BTreeMap<String, Position>,
        out: mpsc::Sender<Said>,
        mut stop: watch::Receiver<bool>,
        again: Arc<Notify>,
    ) {
        let mut set = Set {
            options: self.options.clone(),
            access: self.access.clone(),
            rooms: Arc::new(Semaphore::new(ROOMS)),
            followed: HashMap::new(),
            ending: HashMap::new(),
            positions: Arc::new(Mutex::new(positions)),
            out,
        };
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        loop {
            let loaded = tokio::select! {
                loaded = self.load() => loaded,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let wait = match loaded {
                Ok(mut logs) => {
                    logs.retain(|log| self.may_grow(log));
                    set.follow(&logs);
                    backoff.delivered(Duration::MAX);
                    self.options.list_refresh
                }
                Err(error) => {
                    warn!(error = follow::told(&error), "the list of logs cannot be used; nothing changes");
                    backoff.next(Failure::Passing, getrandom::u64().unwrap_or(u64::MAX))
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = again.notified() => info!("the list of logs is read again"),
                () = set.out.closed() => break,
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        set.end().await;
    }
}

/// The logs that are followed.
struct Set {
    options: LogsOptions,
    access: Access,
    rooms: Arc<Semaphore>,
    followed: HashMap<Hash, Followed>,
    /// Logs that were told to end, and still say what they had read.
    ending: HashMap<Hash, JoinHandle<()>>,
    /// Where each log is to be taken up, by id.
    positions: Arc<Mutex<BTreeMap<String, Position>>>,
    out: mpsc::Sender<Said>,
}

struct Followed {
    described: list::Log,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Set {
    /// Begins with logs that are new or described anew, and ends with those that are gone.
    fn follow(&mut self, logs: &[list::Log]) {
        let before = self.followed.len();
        self.ending.retain(|_, task| !task.is_finished());
        let stays = |id: &Hash, old: &list::Log| logs.iter().any(|log| log.id == *id && same(log, old));
        for (id, followed) in self.followed.extract_if(|id, followed| !stays(id, &followed.described)) {
            info!(log = %followed.described.name, "the log is not followed any more, or in another way");
            followed.stop.send_replace(true);
            self.ending.insert(id, followed.task);
        }
        for described in logs {
            if self.followed.contains_key(&described.id) {
                continue;
            }
            match self.access.open(described) {
                Ok(log) => {
                    let followed = self.start(Arc::new(log), described.clone());
                    self.followed.insert(described.id, followed);
                }
                Err(error) => warn!(log = %described.name, error = follow::told(&error), "the log cannot be followed"),
            }
        }
        if self.followed.len() != before {
            info!(logs = self.followed.len(), "logs are followed");
        }
    }

    fn start(&mut self, log: Arc<Log>, described: list::Log) -> Followed {
        let id: Arc<str> = to_hex(log.id()).into();
        let name = log.name().clone();
        let (stop, stopped) = watch::channel(false);
        let positions = Arc::clone(&self.positions);
        let (options, rooms) = (self.options.follow.clone(), Arc::clone(&self.rooms));
        let out = self.out.clone();
        let before = self.ending.remove(log.id());
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // What it says last is where this one begins.
                let _ = before.await;
            }
            let position = lock(&positions).get(&*id).cloned();
            let follower = Follower::new(log, options, rooms, position.as_ref());
            let (said, mut events) = mpsc::channel(EVENTS_WAITING_MAX);
            let follower = tokio::spawn(follower.run(said, stopped));
            while let Some(event) = events.recv().await {
                if let LogEvent::Lines { position, .. } = &event {
                    lock(&positions).insert(id.to_string(), position.clone());
                }
                if out.send(Said { id: id.clone(), name: name.clone(), event }).await.is_err() {
                    break;
                }
            }
            drop(events);
            // It ends when it finds that nobody listens, or has ended.
            let _ = follower.await;
        });
        Followed { described, stop, task }
    }

    async fn end(self) {
        for followed in self.followed.values() {
            followed.stop.send_replace(true);
        }
        let tasks = self.followed.into_values().map(|followed| followed.task).chain(self.ending.into_values());
        for task in tasks {
            // One that panicked has said so.
            let _ = task.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a log is read in the same way.
fn same(a: &list::Log, b: &list::Log) -> bool {
    (&a.urls, &a.state, &a.operator) == (&b.urls, &b.state, &b.operator)
}

fn single(single: &SingleLog) -> Result<list::Log, LogError> {
    let key = STANDARD.decode_to_vec(&single.key);
    let key = key.map_err(|_| list_error(&format!("{}: the key is not base64", single.url)))?;
    let slashed = |url: &str| Box::from(format!("{}/", url.trim_end_matches('/')));
    let urls = match &single.submission_url {
        None => Urls::Rfc6962 { url: slashed(&single.url) },
        Some(submission) => Urls::Tiled { submission: slashed(submission), monitoring: slashed(&single.url) },
    };
    let host = Url::parse(&single.url).ok().and_then(|url| url.host_str().map(Box::from));
    Ok(list::Log {
        name: log_name(urls.reading()).into(),
        description: None,
        // Whoever runs it, it is asked with one budget.
        operator: host.unwrap_or_default(),
        previous_operators: Vec::new(),
        id: list::log_id(&key),
        key: key.into(),
        urls,
        mmd_s: None,
        state: None,
        state_since: None,
        temporal_interval: None,
        log_type: None,
    })
}

fn list_error(why: &dyn std::fmt::Display) -> LogError {
    LogError::List { why: why.to_string() }
}

fn read_key(path: &Path) -> Result<verify::PublicKey, LogError> {
    let failed = |source| LogError::ListFile { place: path.display().to_string(), source };
    let pem = std::fs::read_to_string(path).map_err(failed)?;
    verify::PublicKey::from_pem(&pem).map_err(|why| list_error(&format!("{}: {why}", path.display())))
}
