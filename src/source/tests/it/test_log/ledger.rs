//! What clients asked and what they got: the manners that a test asserts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::calls::Call;

/// A condition that does not come about by then fails the test.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUESTS_KEPT: usize = 10_000;
const USER_AGENTS_KEPT: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) call: Call,
    /// Below the log's prefix, with the query.
    pub(crate) path: String,
    pub(crate) at: Instant,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) calls: BTreeMap<Call, u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests that came through a redirect.
    pub(crate) redirected: u64,
    /// Requests under way, now and at most.
    pub(crate) at_once: usize,
    pub(crate) at_once_max: usize,
    pub(crate) user_agents: BTreeSet<String>,
    /// The latest ones, oldest first.
    pub(crate) asked: VecDeque<Asked>,
}

impl Record {
    pub(crate) fn count(&self, call: Call) -> u64 {
        self.calls.get(&call).copied().unwrap_or(0)
    }

    pub(crate) fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let calls: serde_json::Map<_, _> =
            self.calls.iter().map(|(call, count)| (call.name().to_owned(), (*count).into())).collect();
        let statuses: serde_json::Map<_, _> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
        serde_json::json!({
            "calls": calls,
            "statuses": statuses,
            "redirected": self.redirected,
            "at_once_max": self.at_once_max,
            "user_agents": self.user_agents,
        })
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Ledger {
    pub(crate) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.change(|record| *record = Record { at_once: record.at_once, ..Record::default() });
    }

    pub(crate) fn begin(&self, call: Call, path: &str, user_agent: &str, redirected: bool) -> UnderWay<'_> {
        self.change(|record| {
            *record.calls.entry(call).or_default() += 1;
            record.redirected += u64::from(redirected);
            record.at_once += 1;
            record.at_once_max = record.at_once_max.max(record.at_once);
            if record.user_agents.len() < USER_AGENTS_KEPT && !record.user_agents.contains(user_agent) {
                record.user_agents.insert(user_agent.to_owned());
            }
            if record.asked.len() == REQUESTS_KEPT {
                record.asked.pop_front();
            }
            record.asked.push_back(Asked { call, path: path.to_owned(), at: Instant::now() });
        });
        UnderWay(self)
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until the record is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Record) -> bool) {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(record, PATIENCE, |record| !wanted(record));
        let (record, result) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "not within {PATIENCE:?}: {what}; {:?} {:?}", record.calls, record.statuses);
    }
}

/// A request until its answer is sent or the connection has ended.
pub(crate) struct UnderWay<'a>(&'a Ledger);

impl UnderWay<'_> {
    /// The answer has this status; 0 when there is none.
    pub(crate) fn answer(&self, status: u16) {
        self.0.change(|record| *record.statuses.entry(status).or_default() += 1);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(|record| record.at_once -= 1);
    }
}
