//! What is known of a live job at the moment, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ct_model::Counts;
use ct_sinks::hot::HotReport;

use super::told::{CollectorStatus, FeedState};
use crate::job::Published;
use crate::progress::Status;
use crate::summary::printable;

/// Publishing is late after so many intervals, and what a store may take.
const PUBLISH_LATE: u32 = 2;
const PUBLISH_GRACE: Duration = Duration::from_secs(30);
/// A worker process says something several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Hot state follows a manifest within this time.
const HOT_LATE: Duration = Duration::from_secs(15);

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
    /// When each of them last said something.
    pub heard: Vec<Option<Instant>>,
    /// Of the whole lake, at the newest manifest.
    pub totals: Counts,
    pub manifest: u64,
    /// When the newest manifest was published, and how many there were from this job.
    pub published: Option<Instant>,
    pub publishes: u64,
    /// Files of these manifests.
    pub files: u64,
    pub file_bytes: u64,
    /// [`Now::read`] at that time, and since when there is more.
    pub read_when_published: u64,
    pub unpublished: Option<Instant>,
    /// When the collector last said something.
    pub collector_heard: Option<Instant>,
    /// Bytes of the journal that the workers have not read.
    pub journal_behind: Option<u64>,
    pub hot: Option<HotReport>,
    /// Since when it has not been level with the lake.
    pub hot_behind: Option<Instant>,
}

impl Now {
    /// Messages that the running workers have read.
    fn read(&self) -> u64 {
        self.workers.iter().map(|worker| worker.messages).sum()
    }
}

impl View {
    pub fn new(processes: usize, publish_interval: Duration, manifest: u64, totals: Counts) -> Self {
        let (workers, heard) = (vec![Status::default(); processes], vec![None; processes]);
        Self {
            started: Instant::now(),
            publish_interval,
            now: Mutex::new(Now { workers, heard, manifest, totals, ..Now::default() }),
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

    pub fn collector_ended(&self) {
        self.lock().collector = None;
    }

    pub fn set_collector(&self, status: CollectorStatus) {
        let mut now = self.lock();
        (now.collector, now.collector_heard) = (Some(status), Some(Instant::now()));
    }

    pub fn set_worker(&self, index: usize, status: Status) {
        let mut now = self.lock();
        if let Some(worker) = now.workers.get_mut(index) {
            *worker = status;
        }
        if let Some(heard) = now.heard.get_mut(index) {
            *heard = Some(Instant::now());
        }
        if now.read() > now.read_when_published {
            now.unpublished.get_or_insert_with(Instant::now);
        }
    }

    pub fn set_published(&self, news: &Published) {
        let mut now = self.lock();
        (now.manifest, now.totals, now.published) = (news.sequence, news.totals.clone(), Some(Instant::now()));
        (now.files, now.file_bytes) = (now.files + news.files, now.file_bytes + news.file_bytes);
        now.publishes += 1;
        now.read_when_published = now.read();
        now.unpublished = None;
    }

    /// Something was read that is not published.
    pub fn has_unpublished(&self) -> bool {
        self.lock().unpublished.is_some()
    }

    /// Nothing can be made durable at the moment.
    pub fn journal_fails(&self) -> bool {
        self.lock().collector.as_ref().is_some_and(|collector| collector.error.is_some())
    }

    /// How far any worker has read the journal: a segment, and bytes from its start.
    pub fn read_to(&self) -> Option<(u32, u64)> {
        self.lock().workers.iter().map(|worker| worker.read_to).max().filter(|read_to| *read_to > (0, 0))
    }

    pub fn set_journal_behind(&self, bytes: Option<u64>) {
        self.lock().journal_behind = bytes;
    }

    pub fn set_hot(&self, report: HotReport) {
        let mut now = self.lock();
        if report.converged {
            now.hot_behind = None;
        } else {
            now.hot_behind.get_or_insert_with(Instant::now);
        }
        now.hot = Some(report);
    }

    pub fn collector_restarted(&self) {
        self.collector_restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn cluster_started(&self) {
        let mut now = self.lock();
        now.workers.fill(Status::default());
        (now.read_when_published, now.unpublished) = (0, None);
        drop(now);
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
            Some(_) if now.collector_heard.is_none_or(|heard| heard.elapsed() > SILENCE_MAX) => {
                faults.push("collector: no word from it".to_owned());
            }
            Some(collector) => {
                let down = collector.feeds.iter().filter(|feed| feed.state != FeedState::Connected);
                faults.extend(down.map(|feed| format!("feed {}: not connected", printable(&feed.name))));
                let alarms = collector.logs.iter().filter_map(|log| Some((&log.name, log.alarm.as_ref()?)));
                faults.extend(alarms.map(|(log, alarm)| format!("log {}: {}", printable(log), printable(alarm))));
                let failing = collector.logs.iter().filter(|log| log.error.is_some());
                faults.extend(failing.map(|log| format!("log {}: cannot be read", printable(&log.name))));
                if collector.full {
                    faults.push("journal: full, the feeds wait".to_owned());
                }
                if let Some(error) = &collector.error {
                    faults.push(format!("journal: {}", printable(error)));
                }
            }
        }
        let late = PUBLISH_LATE * self.publish_interval + PUBLISH_GRACE;
        let silent = |heard: &Option<Instant>| heard.is_none_or(|heard| heard.elapsed() > SILENCE_MAX);
        let silent = (0_usize..).zip(&now.heard).filter(|(_, heard)| silent(heard));
        faults.extend(silent.map(|(index, _)| format!("worker process {index}: no word from it")));
        if now.unpublished.is_some_and(|since| since.elapsed() > late) {
            faults.push("lake: nothing was published for too long".to_owned());
        }
        let behind = now.hot_behind.is_some_and(|since| since.elapsed() > HOT_LATE);
        if let Some(hot) = now.hot.filter(|_| behind) {
            faults.push(format!("hot state: behind, at manifest {} of {}", hot.applied, hot.newest));
        }
        faults
    }
}
