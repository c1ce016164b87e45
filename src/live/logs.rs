//! The collector's side of logs: what they say becomes frames of the journal, and where each is to be taken up is kept
//! beside it.
//!
//! ```text
//! 1 the journal makes lines durable       crash: they are read from the log again, and known when they come twice
//! 2 positions behind them are written     crash: the same, for what came since they were last written
//! ```
//!
//! Positions are never ahead of the journal, so that nothing is skipped, and a lake takes nothing twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ct_model::ctlog::list;
use ct_source::logs::{
    AccessOptions, Alarm, ClientOptions, FollowOptions, LogError, Logs, LogsOptions, Position, SingleLog,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tracing::{error, warn};

use super::told::LogStatus;
use crate::config::{LogStart, LogsConfig};
use crate::fail::Failure;

/// How often positions are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Pages of one log that are asked for at a time.
const PAGES_AHEAD: usize = 8;
/// Kept of what logs were caught at.
const EVIDENCE_MAX: usize = 1_000;

/// How logs are asked.
pub fn access(config: &LogsConfig) -> AccessOptions {
    AccessOptions {
        client: ClientOptions {
            contact: config.contact.clone(),
            ca_file: config.ca_file.clone(),
            ..ClientOptions::default()
        },
        requests_max: config.requests_max,
        allow_plaintext: config.allow_plaintext,
    }
}

/// The logs of the list, whose keys are trusted.
pub fn known_logs(config: &LogsConfig, runtime: &Runtime) -> Result<Vec<list::Log>, Failure> {
    let logs = logs(config, BTreeMap::new()).map_err(Failure::usage)?;
    Ok(runtime.block_on(logs.known())?)
}

/// Checks the options; connects to nothing.
pub fn logs(config: &LogsConfig, held: BTreeMap<String, u64>) -> Result<Logs, LogError> {
    let singles = config.log.iter().map(|log| SingleLog {
        url: log.url.clone(),
        key: log.key.clone(),
        submission_url: log.submission_url.clone(),
    });
    Logs::new(LogsOptions {
        list: config.list.clone(),
        list_key_file: config.list_key_file.clone(),
        list_refresh: Duration::from_secs(config.list_refresh_s),
        singles: singles.collect(),
        only: config.only.clone(),
        skip: config.skip.clone(),
        access: access(config),
        follow: FollowOptions {
            poll: Duration::from_secs(config.poll_s),
            partial_tile: Duration::from_secs(config.partial_tile_s),
            pages_ahead: PAGES_AHEAD,
            from_beginning: config.start == LogStart::Beginning,
            held,
        },
    })
}

/// Where logs are to be taken up, by id.
pub struct Positions {
    path: PathBuf,
    /// Behind what is durable.
    durable: BTreeMap<String, Kept>,
    /// Behind what the journal was given since.
    pending: BTreeMap<String, Kept>,
    written: Instant,
    changed: bool,
}

/// Of one log.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    position: Position,
    /// The segment of the journal in which, or behind which, its entries begin that no line of coverage follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u32>,
}

impl Positions {
    /// Those that an earlier collector wrote beside its journal. A file that cannot be used is put aside and told of.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("logs.json");
        let durable = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).or_else(|error| {
                let aside = path.with_extension("json.broken");
                error!(path = %path.display(), %error, "the positions of the logs cannot be read; the lake tells where to go on");
                fs::rename(&path, aside).map(|()| BTreeMap::new())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, durable, pending: BTreeMap::new(), written: Instant::now(), changed: false })
    }

    pub fn all(&self) -> BTreeMap<String, Position> {
        self.durable.iter().map(|(id, kept)| (id.clone(), kept.position.clone())).collect()
    }

    /// Where the log with this id was left, by the newest that is known.
    pub fn of(&self, id: &str) -> Option<&Position> {
        self.kept(id).map(|kept| &kept.position)
    }

    /// The segment of the journal in which, or behind which, its entries begin that no line of coverage follows.
    pub fn since(&self, id: &str) -> Option<u32> {
        self.kept(id)?.since
    }

    fn kept(&self, id: &str) -> Option<&Kept> {
        self.pending.get(id).or_else(|| self.durable.get(id))
    }

    /// The journal has been given everything before `position`.
    pub fn reach(&mut self, id: &str, position: Position, since: Option<u32>) {
        self.pending.insert(id.to_owned(), Kept { position, since });
    }

    /// Everything that the journal was given is durable.
    pub fn committed(&mut self) {
        self.changed |= !self.pending.is_empty();
        self.durable.append(&mut self.pending);
        if self.changed && self.written.elapsed() >= WRITE_EVERY {
            self.write();
        }
    }

    /// Writes what is durable. What fails is written the next time.
    pub fn write(&mut self) {
        if !self.changed {
            return;
        }
        self.written = Instant::now();
        match replace(&self.path, &self.durable) {
            Ok(()) => self.changed = false,
            Err(error) => warn!(path = %self.path.display(), %error, "the positions of the logs cannot be written"),
        }
    }
}

/// Writes a file that has its old or its new content after any crash.
fn replace(path: &Path, positions: &BTreeMap<String, Kept>) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(positions)?)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Keeps what a log was caught at, beside the journal, and says so.
pub fn keep_evidence(dir: &Path, alarm: &Alarm, status: &mut LogStatus, at_ms: u64) {
    let (log, kind) = (&alarm.log, alarm.kind.as_str());
    error!(
        log,
        kind,
        detail = alarm.detail,
        "the log contradicts what it signed; nothing of this is shown as verified"
    );
    status.alarms += 1;
    status.alarm = Some(format!("{kind}: {}", alarm.detail));
    let dir = dir.join("evidence");
    let path = dir.join(format!("{at_ms}-{kind}-{}.json", status.id.get(..16).unwrap_or_default()));
    let kept = fs::create_dir_all(&dir).and_then(|()| {
        if fs::read_dir(&dir)?.count() >= EVIDENCE_MAX {
            return Err(io::Error::other("there is more evidence than is kept"));
        }
        fs::write(&path, serde_json::to_vec_pretty(alarm)?)
    });
    if let Err(error) = kept {
        warn!(path = %path.display(), %error, "the evidence cannot be kept");
    }
}
