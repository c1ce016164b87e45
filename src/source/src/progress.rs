//! How far the reading is, for whoever draws it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Stored bytes (compressed, where a segment is) of one job, as one process sees them.
///
/// `read` counts what this process has read: over all processes it adds up to `total`.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Of the whole job, from where it resumed.
    pub fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }
}
