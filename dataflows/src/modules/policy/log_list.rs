//! A list of logs, as browsers publish them (JSON, version 3): who runs a log, and what it is good for since when.

use std::collections::HashMap;

use ct_model::Timestamp;
use ct_model::x509::sct::log_id_from_base64;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, thiserror::Error)]
pub(super) enum LogListError {
    #[error("not a log list, version 3")]
    Json(#[source] serde_json::Error),
    #[error("log {0:?}: its id is not 32 bytes in base64")]
    LogId(String),
    #[error("log {log:?}: {text:?} is no time (2026-11-23T09:41:00Z is)")]
    Time { log: String, text: String },
    #[error("log {log:?}: unknown state {state:?}; known: pending, qualified, usable, readonly, retired, rejected")]
    State { log: String, state: String },
}

#[derive(Debug)]
pub(super) struct LogList {
    logs: HashMap<[u8; 32], Log>,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) name: Box<str>,
    operator: Box<str>,
    /// Who ran it before, and until when; the earliest first.
    previous: Vec<(Timestamp, Box<str>)>,
    state: State,
    /// Since when.
    state_at: Timestamp,
    /// Certificates that end within belong into this log: from, and before.
    pub(super) interval: Option<(Timestamp, Timestamp)>,
    /// Speaks RFC 6962; else it is a static one.
    pub(super) is_rfc6962: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Qualified,
    Usable,
    ReadOnly,
    Retired,
    Rejected,
}

/// What a log is worth at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Approved,
    /// It was approved until then.
    Retired(Timestamp),
    Unapproved,
}

impl LogList {
    pub(super) fn parse(text: &str) -> Result<Self, LogListError> {
        let list: RawList = serde_json::from_str(text).map_err(LogListError::Json)?;
        let mut logs = HashMap::new();
        for operator in list.operators {
            let rfc6962 = operator.logs.into_iter().map(|log| (log, true));
            for (log, is_rfc6962) in rfc6962.chain(operator.tiled_logs.into_iter().map(|log| (log, false))) {
                let (id, log) = Log::new(log, &operator.name, is_rfc6962)?;
                logs.insert(id, log);
            }
        }
        Ok(Self { logs })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    pub(super) fn log(&self, id: &[u8; 32]) -> Option<&Log> {
        self.logs.get(id)
    }
}

impl Log {
    fn new(raw: RawLog, operator: &str, is_rfc6962: bool) -> Result<([u8; 32], Self), LogListError> {
        let name = raw.description.or(raw.url).or(raw.submission_url).unwrap_or_else(|| raw.log_id.clone());
        let time = |text: &str| {
            Timestamp::from_rfc3339(text).ok_or_else(|| LogListError::Time { log: name.clone(), text: text.to_owned() })
        };
        let id = log_id_from_base64(&raw.log_id).ok_or_else(|| LogListError::LogId(name.clone()))?;
        // A state is a table with one key. A list without states is of test logs, which nobody approved.
        let (state, state_at) = match raw.state.iter().flatten().next() {
            None => (State::Pending, Timestamp(0)),
            Some((word, value)) => {
                let state = State::from_word(word)
                    .ok_or_else(|| LogListError::State { log: name.clone(), state: word.clone() })?;
                (state, time(value.get("timestamp").and_then(Value::as_str).unwrap_or_default())?)
            }
        };
        let interval = match raw.temporal_interval {
            None => None,
            Some(interval) => Some((time(&interval.start_inclusive)?, time(&interval.end_exclusive)?)),
        };
        let mut previous = Vec::new();
        for operator in raw.previous_operators {
            previous.push((time(&operator.end_time)?, operator.name.into()));
        }
        previous.sort();
        let log =
            Self { name: name.into(), operator: operator.into(), previous, state, state_at, interval, is_rfc6962 };
        Ok((id, log))
    }

    /// Who ran the log at that time.
    pub(super) fn operator_at(&self, time: Timestamp) -> &str {
        self.previous.iter().find(|(end, _)| time < *end).map_or(&self.operator, |(_, name)| name)
    }

    /// A list says only the last state. Before a log was read-only or retired it was usable; what it was before it
    /// was usable is not said, and counts in its favour; before it was qualified it was not yet approved.
    pub(super) fn standing_at(&self, time: Timestamp) -> Standing {
        match self.state {
            State::Usable | State::ReadOnly => Standing::Approved,
            State::Qualified if self.state_at <= time => Standing::Approved,
            State::Retired if self.state_at <= time => Standing::Retired(self.state_at),
            State::Retired => Standing::Approved,
            State::Pending | State::Qualified | State::Rejected => Standing::Unapproved,
        }
    }
}

impl State {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "pending" => Self::Pending,
            "qualified" => Self::Qualified,
            "usable" => Self::Usable,
            "readonly" => Self::ReadOnly,
            "retired" => Self::Retired,
            "rejected" => Self::Rejected,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
struct RawList {
    operators: Vec<RawOperator>,
}

#[derive(Deserialize)]
struct RawOperator {
    name: String,
    #[serde(default)]
    logs: Vec<RawLog>,
    #[serde(default)]
    tiled_logs: Vec<RawLog>,
}

#[derive(Deserialize)]
struct RawLog {
    description: Option<String>,
    log_id: String,
    url: Option<String>,
    submission_url: Option<String>,
    state: Option<Map<String, Value>>,
    temporal_interval: Option<RawInterval>,
    #[serde(default)]
    previous_operators: Vec<RawPrevious>,
}

#[derive(Deserialize)]
struct RawInterval {
    start_inclusive: String,
    end_exclusive: String,
}

#[derive(Deserialize)]
struct RawPrevious {
    name: String,
    end_time: String,
}
