//! The supervisor's side of the collector process: starts it, starts it again when it dies, and passes on what it says.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use thiserror::Error;
use tracing::{debug, info, warn};

use super::told::{Order, Told};
use super::view::View;
use crate::cli::LogLevel;
use crate::cluster::exit::Exit;
use crate::cluster::supervisor::THIS_PROGRAM;

/// Before the collector is started again; doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// A collector that ran for so long begins with the shortest pause again.
const GOOD_RUN: Duration = Duration::from_secs(30);
/// How long it has to close its feeds and to make durable what came.
pub const DRAIN_MAX: Duration = Duration::from_secs(8);

#[derive(Debug, Error)]
pub enum CollectorError {
    #[error("the collector process ended with {0} before it had opened the journal")]
    NeverReady(ExitStatus),
    #[error("the collector process ended with {0} before all that it took was durable; the time is noted in `gaps`")]
    NotClosed(ExitStatus),
    #[error("the collector process did not close the journal in time; what it had not made durable is noted in `gaps`")]
    Slow,
}

impl CollectorError {
    fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::NeverReady(status) | Self::NotClosed(status) => Some(*status),
            Self::Slow => None,
        }
    }

    /// What the command line ends with.
    pub fn exit(&self) -> Exit {
        self.status().and_then(|status| status.code()).and_then(Exit::from_code).unwrap_or(Exit::Failed)
    }

    /// The collector has printed why, since it ended by itself.
    pub fn is_reported(&self) -> bool {
        self.status().is_some_and(|status| status.code().is_some())
    }
}

/// A collector process and its successors. Dropping it ends them at once.
pub struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    plan: PathBuf,
    view: Arc<View>,
    state: Mutex<State>,
    /// `state.ending` was set.
    ending: Condvar,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    /// The running one has opened the journal.
    ready: bool,
    /// How the last one that had opened the journal ended.
    ended: Option<ExitStatus>,
    /// It is to end, and not to be started again.
    ending: bool,
    /// The newest release and log level, for a successor.
    released: u32,
    level: Option<LogLevel>,
}

impl Collector {
    /// Starts it, and waits until its journal is open. Gives the journal's id and newest segment.
    pub fn start(plan: PathBuf, view: Arc<View>) -> Result<(Self, (String, u32))> {
        let shared = Arc::new(Shared { plan, view, state: Mutex::default(), ending: Condvar::new() });
        let (ready, readiness) = channel();
        let run = shared.clone();
        let thread = thread::Builder::new().name("collector".to_owned()).spawn(move || run.keep_running(&ready))?;
        let collector = Self { shared, thread: Some(thread) };
        let journal = wait_ready(&readiness)?;
        Ok((collector, journal))
    }

    /// Segments before this one are published.
    pub fn release(&self, segment: u32) {
        let mut state = self.shared.lock();
        state.released = state.released.max(segment);
        state.say(Order::Release(segment));
    }

    pub fn set_log_level(&self, level: LogLevel) {
        let mut state = self.shared.lock();
        state.level = Some(level);
        state.say(Order::LogLevel(level));
    }

    /// Has it read the list of logs again. One that is not running reads it when it starts.
    pub fn read_log_list(&self) {
        self.shared.lock().say(Order::LogList);
    }

    /// Has it close its feeds and make durable what came, and waits until it has ended, for so long at most.
    ///
    /// Fails when something that it took may not be durable. One that waits to be started again, or for the journal, has
    /// taken nothing.
    pub fn drain(mut self, within: Duration) -> Result<(), CollectorError> {
        let had_taken = {
            let mut state = self.shared.lock();
            state.end(&self.shared.ending);
            state.say(Order::Drain);
            if !state.ready
                && let Some(child) = &mut state.child
            {
                // It may have ended by itself.
                let _ = child.kill();
            }
            state.ready
        };
        let until = Instant::now() + within;
        let thread = self.thread.take();
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= until {
                return Err(CollectorError::Slow);
            }
            thread::sleep(Duration::from_millis(10));
        }
        match self.shared.lock().ended {
            Some(status) if had_taken && !status.success() => Err(CollectorError::NotClosed(status)),
            _ => Ok(()),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.end(&self.shared.ending);
        if let Some(child) = &mut state.child {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
}

fn wait_ready(readiness: &Receiver<Result<(String, u32)>>) -> Result<(String, u32)> {
    readiness.recv().context("the collector's thread ended")?
}

impl State {
    /// From now on no collector is started.
    fn end(&mut self, ending: &Condvar) {
        self.ending = true;
        ending.notify_all();
    }

    /// A collector that is dead shows by its exit.
    fn say(&mut self, order: Order) {
        if let (Some(stdin), Ok(line)) = (&mut self.stdin, serde_json::to_string(&order)) {
            let _ = writeln!(stdin, "{line}");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_running(&self, ready: &Sender<Result<(String, u32)>>) {
        let mut pause = PAUSE_FIRST;
        loop {
            let started = Instant::now();
            let ended = self.run_once(ready);
            self.view.collector_ended();
            if let Err(error) | Ok(Some(error)) = ended.map(|ended| ended.map(anyhow::Error::new)) {
                // Nobody waits any more after the first word, but for that the first one is waited for.
                match ready.send(Err(error)) {
                    Ok(()) => return,
                    Err(unsent) => {
                        let error = unsent.0.map_or_else(|error| format!("{error:#}"), |_| String::new());
                        warn!(error, "the collector process failed");
                    }
                }
            }
            if started.elapsed() >= GOOD_RUN {
                pause = PAUSE_FIRST;
            }
            let state = self.lock();
            if state.ending {
                return;
            }
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            warn!(pause_ms, "the collector process ended; it is started again, and what it missed is noted as a gap");
            self.view.collector_restarted();
            let waited = self.ending.wait_timeout_while(state, pause, |state| !state.ending);
            if waited.unwrap_or_else(PoisonError::into_inner).0.ending {
                return;
            }
            pause = PAUSE_LONGEST.min(pause * 2);
        }
    }

    /// Runs one collector process to its end; the error of one that never was ready.
    fn run_once(&self, ready: &Sender<Result<(String, u32)>>) -> Result<Option<CollectorError>> {
        let stdout = {
            let mut state = self.lock();
            if state.ending {
                return Ok(None);
            }
            let mut child = Command::new(THIS_PROGRAM)
                .arg0("ct-stream")
                .arg("collect")
                .arg("--plan")
                .arg(&self.plan)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A terminal sends Ctrl-C to its whole foreground group.
                .process_group(0)
                .spawn()
                .context("starting the collector process")?;
            info!(pid = child.id(), "the collector process started");
            state.stdin = child.stdin.take();
            let stdout = child.stdout.take().context("the collector's stdout")?;
            state.child = Some(child);
            stdout
        };
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Told::Ready { journal, newest }) => {
                    // Only the first is waited for.
                    let _ = ready.send(Ok((journal, newest)));
                    let mut state = self.lock();
                    state.ready = true;
                    let (released, level) = (state.released, state.level);
                    state.say(Order::Release(released));
                    if let Some(level) = level {
                        state.say(Order::LogLevel(level));
                    }
                }
                Ok(Told::Status(status)) => self.view.set_collector(status),
                Err(error) => debug!(%error, "the collector process said something unexpected"),
            }
        }
        let mut state = self.lock();
        state.stdin = None;
        let was_ready = std::mem::take(&mut state.ready);
        let Some(mut child) = state.child.take() else { return Ok(None) };
        drop(state);
        let status = child.wait().context("waiting for the collector process")?;
        if !was_ready {
            return Ok(Some(CollectorError::NeverReady(status)));
        }
        self.lock().ended = Some(status);
        Ok(None)
    }
}
