//! Shows rows in hot state before they are published: certificates under their usual keys, findings in a stream of
//! their own.
//!
//! This is a courtesy, not a promise. What is announced is not durable so far; a job that dies reads it again from its
//! input and announces it again. Whatever is in the way (a server that is away, one that is slower than the input)
//! costs announcements and nothing else: the [`Applier`](super::Applier) shows everything that is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use ct_model::{CertRecord, Finding};
use tracing::{info, warn};

use super::redis::Redis;
use super::{HotOptions, one_line};
use crate::error::SinkError;
use crate::lake::encode::{certificates_batch, findings_batch};

/// Epochs that wait for the server.
const WAITING_MAX: usize = 256;
/// Rows sent together.
const ROWS_MAX: usize = 4_096;
/// How long a server that failed is left alone: at first, doubled each time, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(8);

/// What became of the announcements.
#[derive(Debug, Default)]
pub struct Announced {
    /// Rows that were announced.
    pub rows: AtomicU64,
    /// Rows that were not.
    pub dropped: AtomicU64,
}

/// Hands rows to a thread that announces them; clones share it.
#[derive(Clone)]
pub struct Announcer {
    rows: SyncSender<Announcement>,
    counts: Arc<Announced>,
}

struct Announcement {
    certificates: Option<RecordBatch>,
    findings: Option<RecordBatch>,
}

impl Announcement {
    fn rows(&self) -> u64 {
        let rows = |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        rows(&self.certificates) + rows(&self.findings)
    }
}

impl Announcer {
    /// `None` where hot state is no server: what many processes write at once can only be one.
    pub fn start(url: &str, options: HotOptions, counts: Arc<Announced>) -> Result<Option<Self>, SinkError> {
        if !url.contains("://") {
            return Ok(None);
        }
        let redis = Redis::open(url, options)?;
        let (sender, rows) = sync_channel(WAITING_MAX);
        let thread = Thread { redis, counts: counts.clone(), pause: PAUSE_FIRST, away_until: None };
        thread::Builder::new()
            .name("announce".to_owned())
            .spawn(move || thread.run(&rows))
            .map_err(|source| SinkError::File { action: "starting a thread for", path: "hot state".into(), source })?;
        Ok(Some(Self { rows: sender, counts }))
    }

    /// Never waits.
    pub fn announce(&self, certificates: &[CertRecord], findings: &[Finding]) {
        if certificates.is_empty() && findings.is_empty() {
            return;
        }
        let announcement = Announcement {
            certificates: (!certificates.is_empty()).then(|| certificates_batch(certificates)),
            findings: (!findings.is_empty()).then(|| findings_batch(findings)),
        };
        let rows = announcement.rows();
        if self.rows.try_send(announcement).is_err() {
            self.counts.dropped.fetch_add(rows, Relaxed);
        }
    }
}

struct Thread {
    redis: Redis,
    counts: Arc<Announced>,
    pause: Duration,
    away_until: Option<Instant>,
}

impl Thread {
    fn run(mut self, rows: &Receiver<Announcement>) {
        while let Ok(first) = rows.recv() {
            let mut together = vec![first];
            let mut count = together[0].rows();
            while count < ROWS_MAX as u64
                && let Ok(next) = rows.try_recv()
            {
                count += next.rows();
                together.push(next);
            }
            if self.away_until.is_some_and(|until| Instant::now() < until) {
                self.counts.dropped.fetch_add(count, Relaxed);
                continue;
            }
            match together.iter().try_for_each(|announcement| self.write(announcement)) {
                Ok(()) => {
                    self.counts.rows.fetch_add(count, Relaxed);
                    if self.away_until.take().is_some() {
                        info!("rows are announced in hot state again");
                    }
                    self.pause = PAUSE_FIRST;
                }
                Err(error) => {
                    self.counts.dropped.fetch_add(count, Relaxed);
                    if self.away_until.is_none() {
                        warn!(error = one_line(&error), "rows are not announced in hot state for now");
                    }
                    self.away_until = Some(Instant::now() + self.pause);
                    self.pause = PAUSE_LONGEST.min(self.pause * 2);
                }
            }
        }
    }

    fn write(&mut self, announcement: &Announcement) -> Result<(), SinkError> {
        if let Some(rows) = &announcement.certificates {
            self.redis.apply_certificates("an announcement", rows, None)?;
        }
        if let Some(rows) = &announcement.findings {
            self.redis.announce_findings(rows)?;
        }
        Ok(())
    }
}
