//! What is known of a live job at the moment, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ct_model::Counts;
use ct_sinks::hot::HotReport;

use super::told::{CollectorStatus, FeedState};
use crate::progress::Status;
use crate::summary::printable;

/// Publishing is late after so many intervals, and what a store may take.
const PUBLISH_LATE: u32 = 2;
const PUBLISH_GRACE: Duration = Duration::from_secs(30);

/// Filled in by those who know, read by the pages.
pub struct View {
    started: Instant,
    publish_interval: Duration,
    now: Mutex<Now>,
    collector_restarts: AtomicU64,
    cluster_starts: AtomicU64,
}

/// One look at everything.
#[derive(Clone, Debug, Default)]
pub struct Now {
    pub collector: Option<CollectorStatus>,
    pub workers: Vec<Status>,
    /// Of the whole lake, at the newest manifest.
    pub totals: Counts,
    pub manifest: u64,
    /// When the newest manifest was published, and how many there were from this job.
    pub published: Option<Instant>,
    pub publishes: u64,
    /// [`Now::read`] at that time.
    pub read_when_published: u64,
    pub hot: Option<HotReport>,
}

impl Now {
    /// Messages that the running workers have read.
    fn read(&self) -> u64 {
        self.workers.iter().map(|worker| worker.messages).sum()
    }
}

impl View {
    pub fn new(processes: usize, publish_interval: Duration, manifest: u64, totals: Counts) -> Self {
        let workers = vec![Status::default(); processes];
        Self {
            started: Instant::now(),
            publish_interval,
            now: Mutex::new(Now { workers, manifest, totals, ..Now::default() }),
            collector_restarts: AtomicU64::new(0),
            cluster_starts: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Now {
        self.lock().clone()
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn set_collector(&self, status: CollectorStatus) {
        self.lock().collector = Some(status);
    }

    pub fn set_worker(&self, index: usize, status: Status) {
        if let Some(worker) = self.lock().workers.get_mut(index) {
            *worker = status;
        }
    }

    pub fn set_published(&self, manifest: u64, totals: Counts) {
        let mut now = self.lock();
        (now.manifest, now.totals, now.published) = (manifest, totals, Some(Instant::now()));
        now.publishes += 1;
        now.read_when_published = now.read();
    }

    pub fn set_hot(&self, report: HotReport) {
        self.lock().hot = Some(report);
    }

    pub fn collector_restarted(&self) {
        self.collector_restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn cluster_started(&self) {
        self.cluster_starts.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the collector, and the cluster of workers, were started again.
    pub fn restarts(&self) -> (u64, u64) {
        let starts = self.cluster_starts.load(Ordering::Relaxed);
        (self.collector_restarts.load(Ordering::Relaxed), starts.saturating_sub(1))
    }
}

impl View {
    /// Why the job is not ready, a line each; none when all is well.
    pub fn faults(&self) -> Vec<String> {
        let now = self.now();
        let mut faults = Vec::new();
        match &now.collector {
            None => faults.push("collector: not ready".to_owned()),
            Some(collector) => {
                let down = collector.feeds.iter().filter(|feed| feed.state != FeedState::Connected);
                faults.extend(down.map(|feed| format!("feed {}: not connected", printable(&feed.name))));
                if collector.full {
                    faults.push("journal: full, the feeds wait".to_owned());
                }
                if let Some(error) = &collector.error {
                    faults.push(format!("journal: {}", printable(error)));
                }
            }
        }
        let late = PUBLISH_LATE * self.publish_interval + PUBLISH_GRACE;
        if now.read() != now.read_when_published
            && now.published.map_or(self.uptime(), |published| published.elapsed()) > late
        {
            faults.push("lake: nothing was published for too long".to_owned());
        }
        if let Some(hot) = now.hot.filter(|hot| !hot.converged && hot.last_error.is_some()) {
            faults.push(format!("hot state: behind, at manifest {} of {}", hot.applied, hot.newest));
        }
        faults
    }
}
