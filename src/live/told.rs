//! What the collector process and its supervisor tell each other: a line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cli::{LogFormat, LogLevel};
use crate::config::{FeedConfig, JournalConfig, LogsConfig};

/// What a collector reads from its plan file. It may hold secrets: only its owner can read the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct CollectorPlan {
    pub feeds: Vec<FeedConfig>,
    pub logs: LogsConfig,
    /// By name: where logs go on of which nothing else is known, because the lake has what comes before.
    pub logs_held: BTreeMap<String, u64>,
    pub journal: JournalConfig,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

/// From the supervisor, on stdin. Its end means that the supervisor is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Segments before this one are published.
    Release(u32),
    /// Close the feeds, make durable what came, and end.
    Drain,
    LogLevel(LogLevel),
    /// Read the list of logs again.
    LogList,
}

/// From the collector, on stdout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The journal is open.
    Ready {
        /// Its id (hex).
        journal: String,
        /// The greatest number of a segment that was ever used.
        newest: u32,
    },
    Status(CollectorStatus),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectorStatus {
    pub feeds: Vec<FeedStatus>,
    pub logs: Vec<LogStatus>,
    pub audits: Vec<AuditStatus>,
    /// Of all segments on disk.
    pub journal_bytes: u64,
    /// Not durable so far.
    pub pending_bytes: u64,
    /// Segments that were deleted before they were published, because of their age, and their bytes.
    pub dropped_segments: u64,
    pub dropped_bytes: u64,
    /// The journal has its greatest size: feeds are read no further.
    pub full: bool,
    /// Why nothing can be made durable at the moment.
    pub error: Option<String>,
    /// Commits of the journal, and the seconds they took in all.
    pub commits: u64,
    pub commit_seconds: f64,
}

/// What audits found of a feed: entries, since the collector started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditStatus {
    pub feed: String,
    pub delivered: u64,
    pub explained: u64,
    pub unparseable: u64,
    pub lost: u64,
    /// Of those that are lost.
    pub filled: u64,
    pub unknown: u64,
}

/// A log that is followed. Counters are since the collector started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogStatus {
    /// SHA-256 (hex) of its key.
    pub id: String,
    pub name: String,
    /// Of the newest tree head.
    pub size: u64,
    /// When it was signed, unix ms.
    pub head_ms: Option<u64>,
    /// The next index to be read.
    pub next: u64,
    /// Entries from the beginning that are proven, as far as this collector and those before it read them.
    pub proven: u64,
    pub entries: u64,
    pub alarms: u64,
    /// The last of them, until more is proven than when it was raised.
    pub alarm: Option<String>,
    /// Why it cannot be read at the moment.
    pub error: Option<String>,
}

/// Counters are since the collector started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedStatus {
    pub name: String,
    pub state: FeedState,
    pub frames: u64,
    pub bytes: u64,
    /// When the last frame arrived, unix ms.
    pub last_ms: Option<u64>,
    pub connects: u64,
    pub gaps: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedState {
    #[default]
    Connecting,
    Connected,
    Waiting,
}
