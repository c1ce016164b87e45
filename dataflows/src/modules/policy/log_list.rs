//! What a list of logs ([`ct_model::ctlog::list`]) says of the logs whose timestamps a certificate has.

use std::collections::HashMap;

use ct_model::Timestamp;
use ct_model::ctlog::Hash;
use ct_model::ctlog::list::{self, ListError, LogError, State, Urls};

pub(super) use ct_model::ctlog::list::Log;

#[derive(Debug, thiserror::Error)]
pub(super) enum LogListError {
    #[error(transparent)]
    List(#[from] ListError),
    /// Its timestamps would be of an unknown log.
    #[error("log {log:?} of {operator:?}: {why}")]
    Log { operator: Box<str>, log: Box<str>, why: LogError },
}

/// Logs by id.
#[derive(Debug)]
pub(super) struct LogList {
    logs: HashMap<Hash, Log>,
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
    /// A log that stands there twice, as in lists that were merged, is the first of them.
    pub(super) fn parse(text: &str) -> Result<Self, LogListError> {
        let list = list::LogList::parse(text.as_bytes())?;
        if let Some(skipped) = list.skipped.into_iter().find(|skipped| skipped.why != LogError::Repeated) {
            return Err(LogListError::Log { operator: skipped.operator, log: skipped.log, why: skipped.why });
        }
        Ok(Self { logs: list.logs.into_iter().map(|log| (log.id, log)).collect() })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    pub(super) fn log(&self, id: &Hash) -> Option<&Log> {
        self.logs.get(id)
    }
}

/// A list says only the last state. Before a log was read-only or retired it was usable; what it was before it was
/// usable is not said, and counts in its favour; before it was qualified it was not yet approved. A list without states
/// is of test logs, which nobody approved.
pub(super) fn standing_at(log: &Log, time: Timestamp) -> Standing {
    let since = log.state_since.unwrap_or(Timestamp(0));
    match log.state {
        Some(State::Usable | State::Readonly { .. }) => Standing::Approved,
        Some(State::Qualified) if since <= time => Standing::Approved,
        Some(State::Retired) if since <= time => Standing::Retired(since),
        Some(State::Retired) => Standing::Approved,
        None | Some(State::Pending | State::Qualified | State::Rejected) => Standing::Unapproved,
    }
}

pub(super) fn is_rfc6962(log: &Log) -> bool {
    matches!(log.urls, Urls::Rfc6962 { .. })
}
