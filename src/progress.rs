//! How far a job is, on stderr: a bar on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::cli::Progress as Mode;
use crate::summary::{bytes, duration, grouped};

/// How far one process, or a whole cluster, is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Bytes of segments as they are stored, read and to be read.
    pub stored: u64,
    pub stored_total: u64,
    pub messages: u64,
    pub certificates: u64,
    pub known_keys: u64,
    pub known_bytes: u64,
    /// Rows shown in hot state before they are published, and rows that could not be.
    pub announced: u64,
    pub unannounced: u64,
    /// When the newest input of a live job was written to the journal, unix ms; 0 is unknown.
    pub at_ms: u64,
    /// How far the journal of a live job is read: a segment, and bytes from its start. (0, 0) is unknown.
    pub read_to: (u32, u64),
    /// How long modules and operators were at work, over all workers.
    pub module_seconds: BTreeMap<String, f64>,
    pub operator_seconds: BTreeMap<String, f64>,
}

impl Status {
    pub fn add(self, other: Self) -> Self {
        let sum = |mut sums: BTreeMap<String, f64>, others: BTreeMap<String, f64>| {
            others.into_iter().for_each(|(name, seconds)| *sums.entry(name).or_default() += seconds);
            sums
        };
        Self {
            stored: self.stored + other.stored,
            stored_total: self.stored_total.max(other.stored_total),
            messages: self.messages + other.messages,
            certificates: self.certificates + other.certificates,
            known_keys: self.known_keys + other.known_keys,
            known_bytes: self.known_bytes + other.known_bytes,
            announced: self.announced + other.announced,
            unannounced: self.unannounced + other.unannounced,
            at_ms: self.at_ms.max(other.at_ms),
            read_to: self.read_to.max(other.read_to),
            module_seconds: sum(self.module_seconds, other.module_seconds),
            operator_seconds: sum(self.operator_seconds, other.operator_seconds),
        }
    }
}

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Calls something now and then from a thread of its own, until it is dropped.
pub struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub fn start(every: Duration, mut act: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                act();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic in the thread has been reported.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Shows `status` until what it returns is dropped.
pub fn display(mode: Mode, status: impl Fn() -> Status + Send + 'static) -> std::io::Result<Option<Ticker>> {
    let started = Instant::now();
    match mode {
        Mode::None => Ok(None),
        Mode::Auto if std::io::stderr().is_terminal() => {
            let style = ProgressStyle::with_template("{bar:30} {binary_bytes}/{binary_total_bytes}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(0).with_style(style).with_finish(ProgressFinish::AndClear);
            Ticker::start(BAR_EVERY, move || {
                let now = status();
                bar.set_length(now.stored_total);
                bar.set_position(now.stored);
                bar.set_message(told(&now, started.elapsed()));
            })
            .map(Some)
        }
        Mode::Auto | Mode::Plain => Ticker::start(LINE_EVERY, move || {
            let now = status();
            let (read, total) = (bytes(now.stored), bytes(now.stored_total));
            // Progress that nobody can see is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{read} of {total}  {}", told(&now, started.elapsed()));
        })
        .map(Some),
    }
}

/// Rate, certificates and time left.
fn told(now: &Status, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let rate = now.messages as f64 / seconds;
    let left = if now.stored == 0 || now.stored_total <= now.stored {
        String::new()
    } else {
        let left = seconds * (now.stored_total - now.stored) as f64 / now.stored as f64;
        format!(", {} left", duration(Duration::from_secs_f64(left)))
    };
    format!("{} messages/s, {} certificates{left}", grouped(rate as u64), grouped(now.certificates))
}
