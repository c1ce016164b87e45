//! Lists of logs, version 3 of Google's format: which logs there are, who runs them, and whether they are in use.
//!
//! A list names the logs of many operators. One log that cannot be understood is skipped and told of, so that the
//! mistake of one operator does not blind a monitor to all others; the list's signature covers every byte of it, so a
//! broken log is a mistake and no attack. What is wrong with the list itself, or leaves no log, refuses it: it must
//! change nothing.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ctlog::{Hash, TREE_SIZE_MAX};
use crate::message::log_name;
use crate::time::Timestamp;

/// The longest list that is read: a hundred times what the list of all logs took in 2026.
pub const LIST_BYTES_MAX: usize = 16 << 20;

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("more than {LIST_BYTES_MAX} bytes")]
    TooLong,
    #[error("not a list of logs")]
    Json(#[source] serde_json::Error),
    #[error("no log in it can be used")]
    Empty,
}

/// A list of logs, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct LogList {
    pub version: Option<Box<str>>,
    /// When it was made.
    pub timestamp: Option<Timestamp>,
    /// In the list's order; no two have the same id or name.
    pub logs: Vec<Log>,
    pub skipped: Vec<Skipped>,
}

/// A log that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub operator: Box<str>,
    /// Its description, or its URL, or nothing. As the list has it, of any length.
    pub log: Box<str>,
    /// The `log_id` that the list gives it, if that is one.
    pub id: Option<Hash>,
    pub why: LogError,
}

/// Why a log was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("not the fields of a log")]
    Fields,
    #[error("a key that is not base64")]
    Key,
    #[error("`log_id` is not the SHA-256 of the key")]
    Id,
    #[error("a URL that does not begin with http:// or https:// and a host, or has odd characters")]
    Url,
    #[error("not exactly one state, or an unknown one")]
    State,
    #[error("a time that is none")]
    Time,
    #[error("a final tree head that is none")]
    Head,
    #[error("an earlier log has the same id or URL")]
    Repeated,
}

/// A log as a list describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// What the lake calls it: the URL where it is read, without scheme and trailing slash, host in lower case. Of a
    /// static log that is its monitoring prefix, by which CertStream servers call it too.
    pub name: Box<str>,
    pub description: Option<Box<str>>,
    /// Who runs it now; see [`Log::operator_at`].
    pub operator: Box<str>,
    /// Earlier operators, and until when each was, the earliest first.
    pub previous_operators: Vec<(Box<str>, Timestamp)>,
    /// SHA-256 of `key`: what stays when URLs change.
    pub id: Hash,
    /// SubjectPublicKeyInfo, as yet unread.
    pub key: Box<[u8]>,
    pub urls: Urls,
    /// Maximum merge delay in seconds.
    pub mmd_s: Option<u64>,
    pub state: Option<State>,
    /// When the state began.
    pub state_since: Option<Timestamp>,
    /// Certificates it takes, by notAfter: from, until without.
    pub temporal_interval: Option<(Timestamp, Timestamp)>,
    /// `prod` or `test`.
    pub log_type: Option<Box<str>>,
}

/// Where a log is read, with a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urls {
    /// RFC 6962: `ct/v1/…` follows.
    Rfc6962 { url: Box<str> },
    /// static-ct-api: `checkpoint` and `tile/…` follow the monitoring prefix.
    Tiled { submission: Box<str>, monitoring: Box<str> },
}

impl Urls {
    /// Where the log takes certificates.
    pub const fn submission(&self) -> &str {
        match self {
            Self::Rfc6962 { url } | Self::Tiled { submission: url, .. } => url,
        }
    }

    /// Where it is read.
    pub const fn reading(&self) -> &str {
        match self {
            Self::Rfc6962 { url } | Self::Tiled { monitoring: url, .. } => url,
        }
    }

    /// The first line of the checkpoints of a static log: its submission prefix without scheme and trailing slash.
    pub fn origin(&self) -> &str {
        let url = self.submission().trim_end_matches('/');
        url.split_once("://").map_or(url, |(_, rest)| rest)
    }
}

/// What the list's owner thinks of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Qualified,
    Usable,
    /// It takes no more entries; its last tree.
    Readonly {
        size: u64,
        root: Hash,
    },
    Retired,
    Rejected,
}

impl Log {
    /// Whether a monitor reads it unless told otherwise: it is in use, or was and still answers.
    pub const fn is_followed(&self) -> bool {
        matches!(self.state, Some(State::Qualified | State::Usable | State::Readonly { .. }))
    }

    /// Who ran the log at a time, such as that of an SCT (Chrome's CT policy counts operators so).
    pub fn operator_at(&self, at: Timestamp) -> &str {
        let previous = self.previous_operators.iter().find(|(_, end)| at < *end);
        previous.map_or(&*self.operator, |(name, _)| name)
    }
}

#[derive(Deserialize)]
struct RawList {
    version: Option<Box<str>>,
    log_list_timestamp: Option<String>,
    operators: Vec<RawOperator>,
}

#[derive(Deserialize)]
struct RawOperator {
    name: Box<str>,
    logs: Option<Vec<Value>>,
    tiled_logs: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct RawLog {
    description: Option<Box<str>>,
    log_id: String,
    key: String,
    url: Option<String>,
    submission_url: Option<String>,
    monitoring_url: Option<String>,
    mmd: Option<u64>,
    state: Option<serde_json::Map<String, Value>>,
    temporal_interval: Option<RawInterval>,
    log_type: Option<Box<str>>,
    previous_operators: Option<Vec<RawPrevious>>,
}

#[derive(Deserialize)]
struct RawInterval {
    start_inclusive: String,
    end_exclusive: String,
}

#[derive(Deserialize)]
struct RawPrevious {
    name: Box<str>,
    end_time: String,
}

#[derive(Deserialize)]
struct RawState {
    timestamp: Option<String>,
    final_tree_head: Option<RawHead>,
}

#[derive(Deserialize)]
struct RawHead {
    sha256_root_hash: String,
    tree_size: u64,
}

impl LogList {
    /// Reads a list. Logs without a state, or of a state that is not followed, are in it too.
    pub fn parse(json: &[u8]) -> Result<Self, ListError> {
        if json.len() > LIST_BYTES_MAX {
            return Err(ListError::TooLong);
        }
        let raw: RawList = serde_json::from_slice(json).map_err(ListError::Json)?;
        let timestamp = raw.log_list_timestamp.as_deref().and_then(Timestamp::from_rfc3339);
        let mut list = Self { version: raw.version, timestamp, logs: Vec::new(), skipped: Vec::new() };
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for operator in raw.operators {
            let plain = operator.logs.into_iter().flatten().map(|log| (log, false));
            let tiled = operator.tiled_logs.into_iter().flatten().map(|log| (log, true));
            for (value, tiled) in plain.chain(tiled) {
                let log = read_log(&value, tiled, &operator.name).and_then(|log| {
                    let new = !ids.contains(&log.id) && !names.contains(&log.name);
                    if new { Ok(log) } else { Err(LogError::Repeated) }
                });
                match log {
                    Ok(log) => {
                        ids.insert(log.id);
                        names.insert(log.name.clone());
                        list.logs.push(log);
                    }
                    Err(why) => list.skipped.push(Skipped {
                        operator: operator.name.clone(),
                        log: label(&value).into(),
                        id: value["log_id"].as_str().and_then(hash),
                        why,
                    }),
                }
            }
        }
        if list.logs.is_empty() { Err(ListError::Empty) } else { Ok(list) }
    }
}

/// A log's id (RFC 6962 section 3.2); `key` is a SubjectPublicKeyInfo.
pub fn log_id(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}

fn label(value: &Value) -> &str {
    ["description", "url", "submission_url"].iter().find_map(|field| value[field].as_str()).unwrap_or_default()
}

fn read_log(value: &Value, tiled: bool, operator: &str) -> Result<Log, LogError> {
    let raw = RawLog::deserialize(value).map_err(|_| LogError::Fields)?;
    let key = base64(&raw.key).ok_or(LogError::Key)?;
    let id = log_id(&key);
    if hash(&raw.log_id) != Some(id) {
        return Err(LogError::Id);
    }
    let urls = match (tiled, raw.url, raw.submission_url, raw.monitoring_url) {
        (false, Some(url), ..) => Urls::Rfc6962 { url: prefix(&url)? },
        (true, _, Some(submission), Some(monitoring)) => {
            Urls::Tiled { submission: prefix(&submission)?, monitoring: prefix(&monitoring)? }
        }
        _ => return Err(LogError::Fields),
    };
    let (state, state_since) = match raw.state {
        None => (None, None),
        Some(state) => read_state(&state).map(|(state, since)| (Some(state), since))?,
    };
    let previous = raw.previous_operators.into_iter().flatten();
    let previous = previous.map(|previous| Ok((previous.name, time(&previous.end_time)?)));
    let mut previous_operators = previous.collect::<Result<Vec<_>, _>>()?;
    previous_operators.sort_by_key(|(_, end)| *end);
    let temporal_interval = match raw.temporal_interval {
        None => None,
        Some(interval) => Some((time(&interval.start_inclusive)?, time(&interval.end_exclusive)?)),
    };
    Ok(Log {
        name: log_name(urls.reading()).into(),
        description: raw.description,
        operator: operator.into(),
        previous_operators,
        id,
        key: key.into(),
        urls,
        mmd_s: raw.mmd,
        state,
        state_since,
        temporal_interval,
        log_type: raw.log_type,
    })
}

fn read_state(state: &serde_json::Map<String, Value>) -> Result<(State, Option<Timestamp>), LogError> {
    let mut states = state.iter();
    let (Some((word, value)), None) = (states.next(), states.next()) else { return Err(LogError::State) };
    let raw = RawState::deserialize(value).map_err(|_| LogError::State)?;
    let since = raw.timestamp.as_deref().map(time).transpose()?;
    let state = match word.as_str() {
        "pending" => State::Pending,
        "qualified" => State::Qualified,
        "usable" => State::Usable,
        "readonly" => {
            let head = raw.final_tree_head.filter(|head| head.tree_size <= TREE_SIZE_MAX).ok_or(LogError::Head)?;
            State::Readonly { size: head.tree_size, root: hash(&head.sha256_root_hash).ok_or(LogError::Head)? }
        }
        "retired" => State::Retired,
        "rejected" => State::Rejected,
        _ => return Err(LogError::State),
    };
    Ok((state, since))
}

/// A URL to put a path behind.
fn prefix(url: &str) -> Result<Box<str>, LogError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or(LogError::Url)?;
    let legible = rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>@".contains(&b));
    if rest.is_empty() || rest.starts_with('/') || !legible {
        return Err(LogError::Url);
    }
    Ok(format!("{}/", url.trim_end_matches('/')).into())
}

fn time(text: &str) -> Result<Timestamp, LogError> {
    Timestamp::from_rfc3339(text).ok_or(LogError::Time)
}

fn hash(text: &str) -> Option<Hash> {
    base64(text)?.try_into().ok()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}
