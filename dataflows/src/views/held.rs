//! What is held: the certificates and entries within the horizon, in the order in which they expire.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use ct_model::{CertId, EntryKind};

use super::Held;

/// Entries held for each certificate that may be held: a certificate has an entry in each log that shows it.
const ENTRIES_PER_CERTIFICATE: usize = 4;

/// What the views need to know of a row of `certificates`.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Unix milliseconds.
    pub seen_ms: i64,
    pub id: CertId,
    pub kind: Option<EntryKind>,
    pub tbs_sha256: Option<[u8; 32]>,
    /// Organisation, else common name.
    pub issuer: Arc<str>,
    /// Algorithm and bits.
    pub key: Arc<str>,
    /// Registered domains.
    pub domains: Lines,
    /// Only a watch list needs them.
    pub names: Lines,
}

/// What they need to know of a row of `entries`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seen_ms: i64,
    pub log: Arc<str>,
}

/// Texts without line ends, in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Box<str>);

impl Lines {
    /// A text with line ends counts as several.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut lines = String::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(text);
        }
        Self(lines.into())
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split('\n').filter(|text| !text.is_empty())
    }
}

/// A queue of certificates and one of entries.
pub(super) struct Queue {
    certificates_max: usize,
    certificates: BTreeMap<Held, Waiting>,
    /// `seen` in milliseconds, and position in `logs`.
    entries: BinaryHeap<Reverse<(i64, u32)>>,
    logs: Vec<Arc<str>>,
    next: u64,
    /// Certificates that are not shown so far.
    fresh: Vec<Held>,
    /// The newest `seen` of what left before its time, and how many did.
    pub(super) early_ms: Option<i64>,
    pub(super) early: u64,
}

struct Waiting {
    certificate: Certificate,
    /// It is part of the views.
    shown: bool,
}

impl Queue {
    pub(super) fn new(certificates_max: usize) -> Self {
        Self {
            certificates_max,
            certificates: BTreeMap::new(),
            entries: BinaryHeap::new(),
            logs: Vec::new(),
            next: 0,
            fresh: Vec::new(),
            early_ms: None,
            early: 0,
        }
    }

    pub(super) fn push(&mut self, certificate: Certificate) {
        let held = (certificate.seen_ms, self.next);
        self.next += 1;
        self.certificates.insert(held, Waiting { certificate, shown: false });
        self.fresh.push(held);
    }

    /// Gives the log by the name it has here: one text for all its entries.
    pub(super) fn push_entry(&mut self, entry: Entry) -> Arc<str> {
        let known = self.logs.iter().position(|log| *log == entry.log);
        let log = known.unwrap_or_else(|| {
            self.logs.push(entry.log);
            self.logs.len() - 1
        });
        self.entries.push(Reverse((entry.seen_ms, log as u32)));
        self.logs[log].clone()
    }

    /// Takes out a certificate that was seen at `expired_ms` or before, or that is one too many. `Some(None)` is one
    /// that was never shown.
    pub(super) fn pop(&mut self, expired_ms: i64) -> Option<Option<(Held, Certificate)>> {
        let first = self.certificates.first_entry()?;
        let held = *first.key();
        let is_expired = held.0 <= expired_ms;
        if !is_expired && self.certificates.len() <= self.certificates_max {
            return None;
        }
        let (held, waiting) = self.certificates.pop_first().expect("there is a first one");
        if !is_expired {
            self.leave_early(held.0);
        }
        Some(waiting.shown.then_some((held, waiting.certificate)))
    }

    /// Takes out an entry, likewise.
    pub(super) fn pop_entry(&mut self, expired_ms: i64) -> Option<Arc<str>> {
        let Reverse((seen_ms, log)) = *self.entries.peek()?;
        let is_expired = seen_ms <= expired_ms;
        if !is_expired && self.entries.len() <= self.certificates_max.saturating_mul(ENTRIES_PER_CERTIFICATE) {
            return None;
        }
        self.entries.pop();
        if !is_expired {
            self.leave_early(seen_ms);
        }
        Some(self.logs[log as usize].clone())
    }

    fn leave_early(&mut self, seen_ms: i64) {
        self.early += 1;
        self.early_ms = self.early_ms.max(Some(seen_ms));
    }

    /// Hands over what is not shown so far.
    pub(super) fn show(&mut self, mut each: impl FnMut(Held, &Certificate)) {
        for held in self.fresh.drain(..) {
            if let Some(waiting) = self.certificates.get_mut(&held) {
                waiting.shown = true;
                each(held, &waiting.certificate);
            }
        }
    }

    pub(super) fn id(&self, held: Held) -> Option<CertId> {
        self.certificates.get(&held).map(|waiting| waiting.certificate.id)
    }

    pub(super) fn certificates(&self) -> usize {
        self.certificates.len()
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }
}
