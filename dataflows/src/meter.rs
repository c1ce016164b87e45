//! Live counters of one process, for progress lines and metrics. The truth is in the manifests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub struct Meter {
    messages: AtomicU64,
    bytes: AtomicU64,
    certificates: AtomicU64,
    known_keys: AtomicU64,
    known_bytes: AtomicU64,
    /// Nanoseconds by module.
    modules: Mutex<BTreeMap<&'static str, u64>>,
}

/// What a [`Meter`] shows at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub messages: u64,
    /// Bytes of input, decompressed.
    pub bytes: u64,
    pub certificates: u64,
    /// Certificates, entries and other keys in the dedup state, and the memory it takes.
    pub known_keys: u64,
    pub known_bytes: u64,
}

impl Meter {
    pub(crate) fn read_block(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn settled(&self, certificates: u64) {
        self.certificates.fetch_add(certificates, Relaxed);
    }

    /// A set grew from `before` to `after`, each as (keys, bytes).
    pub(crate) fn known(&self, before: (usize, usize), after: (usize, usize)) {
        self.known_keys.fetch_add((after.0 as u64).wrapping_sub(before.0 as u64), Relaxed);
        self.known_bytes.fetch_add((after.1 as u64).wrapping_sub(before.1 as u64), Relaxed);
    }

    /// Modules were at work for so many nanoseconds.
    pub(crate) fn examined(&self, spent: impl Iterator<Item = (&'static str, u64)>) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        for (module, nanoseconds) in spent {
            *modules.entry(module).or_default() += nanoseconds;
        }
    }

    /// Seconds that each module was at work, over all workers.
    pub fn module_seconds(&self) -> BTreeMap<String, f64> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.iter().map(|(module, nanoseconds)| ((*module).to_owned(), *nanoseconds as f64 / 1e9)).collect()
    }

    pub fn reading(&self) -> Reading {
        Reading {
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            certificates: self.certificates.load(Relaxed),
            known_keys: self.known_keys.load(Relaxed),
            known_bytes: self.known_bytes.load(Relaxed),
        }
    }
}
