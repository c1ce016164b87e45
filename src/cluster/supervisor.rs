//! Starts the worker processes of one host, watches them, and starts all of them again when one fails.
//!
//! A timely cluster lives and dies as a whole, so the unit here is the *generation*: N processes that are started and
//! ended together, with a socket folder and a secret of their own. What always holds:
//!
//! * A process of one generation can never join another: it knows neither the folder nor the secret.
//! * When [`supervise`] returns or unwinds, none of its processes runs; when this process is killed, they end by
//!   themselves, because their stdin ends (`child`).
//! * It does not try for ever, unless it is told to persist: as many failures in a row without progress in between as the caller allows, and it
//!   gives up. It never starts again after an error that a worker has reported itself, or when another cluster owns
//!   the lake.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGKILL;
use tempfile::TempDir;
use thiserror::Error;
use tracing::{info, warn};

use super::child::{DRAIN, Orders, WORKER_ENV};
use super::exit::{Exit, WorkerExit};
use super::links::SOCKET_PATH_BYTES_MAX;
use super::secret::{Secret, wipe};
use super::wire::socket_path;

/// What a child process is started from: this very binary, also when another one has taken its place on disk.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often signals and exits are looked for while no process says anything.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A longer line of a worker's stdout is dropped.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Lines that wait to be taken; when it is full, workers wait in their write.
const LINES_WAITING_MAX: usize = 256;

/// How long the last lines of ended processes are waited for: somebody else may have inherited their stdout.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What to run and how patiently.
pub(crate) struct Spec<'a> {
    pub(crate) program: PathBuf,
    /// The same for every process: which one it is, a process learns from [`Orders`].
    pub(crate) args: Vec<OsString>,
    /// On top of this process's own environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) processes: usize,
    pub(crate) cluster: [u8; 16],
    /// Of the first start; each later one counts up by one.
    pub(crate) generation: u64,
    /// Grows whenever something durable was reached (the newest manifest). Failures between which it stands still have
    /// happened at the same place.
    pub(crate) progress_mark: &'a dyn Fn() -> u64,
    /// Failures at the same place after which it gives up; at least 1.
    pub(crate) failures_max: u32,
    /// A process that says nothing for so long is killed; they speak for as long as their workers work.
    pub(crate) stall: Option<Duration>,
    /// What is not drained after so long is killed.
    pub(crate) drain: Option<Duration>,
    /// Errors that a worker has reported itself are no reason to give up: what they are about may pass.
    pub(crate) persistent: bool,
    /// Asked all the time; `true` when all processes are to be drained and started again with new arguments.
    pub(crate) renew: &'a dyn Fn() -> bool,
    pub(crate) timing: Timing,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Pause before the first restart at one place; doubled by each further one up to `backoff_max`.
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
    /// What the others have, after the first failure, to end by themselves.
    pub(crate) kill_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            kill_after: Duration::from_secs(2),
        }
    }
}

#[derive(Debug, Error)]
pub(crate) enum SuperviseError {
    #[error("no folder for the sockets of the worker processes, tried {tried}")]
    Folder { tried: String, source: io::Error },
    #[error("no random bytes for the secret of the worker processes")]
    Random { source: getrandom::Error },
    #[error("starting worker process {index} ({})", program.display())]
    Start { index: usize, program: PathBuf, source: io::Error },
    #[error("another cluster owns the lake; worker process {index} stopped before it wrote anything")]
    Fenced { index: usize },
    /// The worker has printed why.
    #[error("worker process {index} ended with exit code {}", *exit as i32)]
    Reported { index: usize, exit: Exit },
    #[error("failed {failures} times at the same place: worker process {index} {cause}")]
    GaveUp { failures: u32, index: usize, cause: Cause },
    #[error("worker process {index} {cause} while draining; what was not published is read again at the next start")]
    FailedDraining { index: usize, cause: Cause },
    #[error("stopped before the drain was over; what was not published is read again at the next start")]
    Stopped,
}

impl SuperviseError {
    /// What the command line ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            SuperviseError::Fenced { .. } => Exit::Fenced,
            SuperviseError::Reported { exit, .. } => *exit,
            _ => Exit::Failed,
        }
    }
}

/// How a process failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Code(i32),
    Signal(i32),
}

impl Cause {
    fn of(status: ExitStatus) -> Option<Self> {
        match (status.code(), status.signal()) {
            (Some(0), _) => None,
            (Some(code), _) => Some(Cause::Code(code)),
            (None, signal) => Some(Cause::Signal(signal.expect("what did not exit was killed by a signal"))),
        }
    }

    fn worker_exit(self) -> Option<WorkerExit> {
        match self {
            Cause::Code(code) => WorkerExit::from_code(code),
            Cause::Signal(_) => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.worker_exit()) {
            (Cause::Signal(signal), _) => {
                let name = signal_hook::low_level::signal_name(*signal).unwrap_or("unknown");
                write!(f, "was killed by signal {signal} ({name})")
            }
            (_, Some(WorkerExit::Panicked)) => f.write_str("panicked"),
            (_, Some(WorkerExit::PeerDied)) => f.write_str("lost a peer"),
            (_, Some(WorkerExit::Stuck)) => f.write_str("made no progress and was stopped by its watchdog"),
            (_, Some(WorkerExit::Fenced)) => f.write_str("found another cluster on the lake"),
            (Cause::Code(code), None) => write!(f, "ended with exit code {code}"),
        }
    }
}

/// Runs the processes of `spec` until all have ended well.
///
/// `on_line` gets every line of their stdout, in the order of each. `stop` set asks for a drain; set again (it is
/// taken down as soon as it is seen), it ends everything at once. Asked for a drain while no process works, between a
/// failure and the next start, it ends well: nothing was read that is not read again.
pub(crate) fn supervise(
    spec: &Spec<'_>,
    on_line: &mut dyn FnMut(usize, &str),
    stop: &AtomicBool,
) -> Result<(), SuperviseError> {
    let mut place = (spec.progress_mark)();
    let mut failures = 0;
    for generation in spec.generation.. {
        let Ended { failed, draining, renewing, stopped } =
            Generation::start(spec, generation)?.watch(spec, on_line, stop);
        let Some(failed @ Failed { index, cause }) = failed else {
            match (stopped, draining, renewing) {
                (true, ..) => return Err(SuperviseError::Stopped),
                (false, false, true) => continue,
                _ => return Ok(()),
            }
        };
        if let Some(error) = failed.final_error(spec.persistent) {
            return Err(error);
        }
        if stopped {
            return Err(SuperviseError::Stopped);
        }
        if draining {
            return Err(SuperviseError::FailedDraining { index, cause });
        }
        let reached = (spec.progress_mark)();
        failures = if reached == place { failures + 1 } else { 1 };
        place = reached;
        if failures >= spec.failures_max {
            return Err(SuperviseError::GaveUp { failures, index, cause });
        }
        let pause = backoff(&spec.timing, failures);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        warn!(
            generation,
            process = index,
            failures,
            failures_max = spec.failures_max,
            pause_ms,
            "worker process {index} {cause}; all {} start again from the resume point",
            spec.processes
        );
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop.swap(false, Ordering::SeqCst) {
                // Nothing runs, so nothing is left to drain.
                info!(
                    "stopped between two starts of the workers; what was not published is read again at the next start"
                );
                return Ok(());
            }
            thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
        }
    }
    unreachable!("generations do not run out")
}

/// Doubles with each failure, then takes a random part of its upper half off: restarts of many jobs that failed
/// together must not stay together.
fn backoff(timing: &Timing, failures: u32) -> Duration {
    let doubled = timing.backoff_first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(timing.backoff_max);
    let mut random = [0];
    // Without random bytes the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    pause - (pause / 2).mul_f64(f64::from(random[0]) / 256.0)
}

/// Why a generation ended before its work was done.
#[derive(Debug, Clone, Copy)]
struct Failed {
    index: usize,
    cause: Cause,
}

impl Failed {
    /// Which of several failures, in the order they were seen, is the cause of the others. A lost peer is a
    /// consequence; and whatever else happened, a lake that belongs to others must not be started on again.
    fn culprit(failures: &[Failed]) -> Option<Failed> {
        let is = |exit| move |failed: &&Failed| failed.cause.worker_exit() == Some(exit);
        let fenced = failures.iter().find(is(WorkerExit::Fenced));
        let root = || failures.iter().find(|failed| !is(WorkerExit::PeerDied)(failed));
        fenced.or_else(root).or(failures.first()).copied()
    }

    /// The error that ends the job, unless starting again can help.
    fn final_error(self, persistent: bool) -> Option<SuperviseError> {
        let Failed { index, cause: Cause::Code(code) } = self else { return None };
        if WorkerExit::from_code(code) == Some(WorkerExit::Fenced) {
            return Some(SuperviseError::Fenced { index });
        }
        let final_exit = |exit: &Exit| !persistent || matches!(exit, Exit::Usage | Exit::Fenced);
        Exit::from_code(code).filter(final_exit).map(|exit| SuperviseError::Reported { index, exit })
    }
}

/// How a generation ended.
#[derive(Debug)]
struct Ended {
    /// `None` when every process that was not killed from here ended well.
    failed: Option<Failed>,
    draining: bool,
    /// It was drained to be followed by another one.
    renewing: bool,
    /// A process was killed because the second signal came.
    stopped: bool,
}

enum Said {
    Line(usize, String),
    /// The end of a process's stdout.
    Nothing(usize),
}

struct Worker {
    child: Child,
    /// Closing it ends the worker.
    stdin: ChildStdin,
    running: bool,
    talking: bool,
    killed: bool,
    /// When it last said something.
    heard: Instant,
    /// Its silence was reported.
    silent: bool,
    /// It was killed for it.
    stuck: bool,
}

impl Worker {
    fn start(spec: &Spec<'_>, orders: &Orders, say: SyncSender<Said>) -> io::Result<Self> {
        let index = orders.index;
        let mut child = Command::new(&spec.program)
            .arg0("ct-stream")
            .args(&spec.args)
            .envs(spec.env.iter().map(|(key, value)| (key, value)))
            .env(WORKER_ENV, index.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal sends Ctrl-C to its whole foreground group; workers are to hear of it from here only.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut worker = Worker {
            child,
            stdin,
            running: true,
            talking: true,
            killed: false,
            heard: Instant::now(),
            silent: false,
            stuck: false,
        };
        let mut line = orders.to_line().expect("socket_folder gives paths that are text");
        worker.say(&line);
        wipe(&mut line);
        thread::Builder::new().name(format!("stdout-{index}")).spawn(move || forward(index, stdout, &say))?;
        Ok(worker)
    }

    /// Writes to the worker's stdin. A pipe holds far more than what is ever said here, so this does not wait; and a
    /// worker that is dead shows by its exit.
    fn say(&mut self, line: &[u8]) {
        let _ = self.stdin.write_all(line);
    }

    /// True when it still ran.
    fn kill(&mut self) -> bool {
        if self.running {
            self.killed = true;
            // It fails for a process that has ended meanwhile.
            let _ = self.child.kill();
        }
        self.running
    }

    /// Why it failed, if it did since the last call.
    fn failure(&mut self) -> Option<Cause> {
        if !self.running {
            return None;
        }
        let status = self.child.try_wait().expect("nobody else waits for a child process")?;
        self.running = false;
        if self.stuck {
            return Some(Cause::Code(WorkerExit::Stuck as i32));
        }
        Cause::of(status).filter(|cause| !(self.killed && *cause == Cause::Signal(SIGKILL)))
    }
}

impl Worker {
    /// Says so when it has been silent for half of `stall`, and kills it when for all of it.
    fn watch_silence(&mut self, index: usize, stall: Duration) {
        let silence = self.heard.elapsed();
        if !self.running || self.stuck || silence < stall / 2 {
            self.silent &= silence >= stall / 2;
        } else if silence >= stall {
            self.stuck = true;
            let _ = self.child.kill();
        } else if !std::mem::replace(&mut self.silent, true) {
            let (silent_s, stall_s) = (silence.as_secs(), stall.as_secs());
            warn!(process = index, silent_s, stall_s, "a worker process does nothing; it is stopped if that goes on");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.kill() {
            let _ = self.child.wait();
        }
    }
}

/// The processes of one start. Dropping it ends them.
struct Generation {
    workers: Vec<Worker>,
    said: Receiver<Said>,
    /// Removed with everything in it at the end.
    _folder: TempDir,
}

impl Generation {
    fn start(spec: &Spec<'_>, number: u64) -> Result<Self, SuperviseError> {
        let folder = socket_folder(spec.processes)?;
        let secret = Secret::random().map_err(|source| SuperviseError::Random { source })?;
        let (say, said) = mpsc::sync_channel(LINES_WAITING_MAX);
        let workers = (0..spec.processes).map(|index| {
            let Spec { cluster, processes, .. } = *spec;
            let (folder, secret) = (folder.path().to_owned(), secret.clone());
            let orders = Orders { cluster, generation: number, processes, index, folder, secret };
            let failed = |source| SuperviseError::Start { index, program: spec.program.clone(), source };
            Worker::start(spec, &orders, say.clone()).map_err(failed)
        });
        // The first error drops the workers before it, which ends them.
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        info!(generation = number, processes = spec.processes, "worker processes started");
        Ok(Generation { workers, said, _folder: folder })
    }

    /// Waits for the end of every process.
    fn watch(mut self, spec: &Spec<'_>, on_line: &mut dyn FnMut(usize, &str), stop: &AtomicBool) -> Ended {
        let mut failures = Vec::new();
        let (mut first_failure, mut drained_by): (Option<Instant>, Option<Instant>) = (None, None);
        let mut ended = Ended { failed: None, draining: false, renewing: false, stopped: false };
        while self.workers.iter().any(|worker| worker.running) {
            self.listen(on_line);
            for (index, worker) in self.workers.iter_mut().enumerate() {
                failures.extend(worker.failure().map(|cause| Failed { index, cause }));
                if let Some(stall) = spec.stall {
                    worker.watch_silence(index, stall);
                }
            }
            // What has failed before it was asked to drain is not drained: the pause before the next start ends the job.
            let dying = !failures.is_empty() && !ended.draining;
            if !dying && stop.swap(false, Ordering::SeqCst) {
                if ended.draining {
                    ended.stopped |= self.kill();
                } else {
                    info!("draining; a second signal stops at once");
                    self.drain();
                    ended.draining = true;
                    drained_by = spec.drain.map(|drain| Instant::now() + drain);
                }
            }
            if drained_by.take_if(|by| Instant::now() >= *by).is_some() {
                warn!("draining takes too long; the processes are killed");
                ended.stopped |= self.kill();
            }
            if (spec.renew)() && !ended.renewing {
                info!("draining, to start again from there");
                self.drain();
                ended.renewing = true;
            }
            if !failures.is_empty() {
                let since = first_failure.get_or_insert_with(Instant::now).elapsed();
                if since >= spec.timing.kill_after || (dying && stop.load(Ordering::SeqCst)) {
                    self.kill();
                }
            }
        }
        let until = Instant::now() + LAST_LINES;
        while self.workers.iter().any(|worker| worker.talking) && Instant::now() < until {
            self.listen(on_line);
        }
        ended.failed = Failed::culprit(&failures);
        ended
    }

    /// Takes what the processes say; waits a moment for the first word, and for no other.
    fn listen(&mut self, on_line: &mut dyn FnMut(usize, &str)) {
        let mut wait = LOOK_EVERY;
        for _ in 0..LINES_WAITING_MAX {
            match self.said.recv_timeout(wait) {
                Ok(Said::Line(index, line)) => {
                    self.workers[index].heard = Instant::now();
                    on_line(index, &line);
                }
                Ok(Said::Nothing(index)) => self.workers[index].talking = false,
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    // All have closed their stdout. Some may run on.
                    thread::sleep(wait);
                    return;
                }
            }
            wait = Duration::ZERO;
        }
    }

    fn drain(&mut self) {
        let drain = format!("{DRAIN}\n");
        self.workers.iter_mut().for_each(|worker| worker.say(drain.as_bytes()));
    }

    fn kill(&mut self) -> bool {
        self.workers.iter_mut().fold(false, |any, worker| worker.kill() | any)
    }
}

/// Passes on the lines of one process until its stdout ends or nobody listens.
fn forward(index: usize, stdout: ChildStdout, say: &SyncSender<Said>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut cut = false;
    loop {
        line.clear();
        let read = stdout.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            break;
        }
        let whole = line.last() == Some(&b'\n');
        if !whole && line.len() == LINE_BYTES_MAX {
            if !cut {
                warn!(
                    process = index,
                    "dropped a line of a worker's stdout that is longer than {LINE_BYTES_MAX} bytes"
                );
            }
            cut = true;
            continue;
        }
        // The rest of a line that was dropped goes with it.
        if !std::mem::take(&mut cut) {
            let text = String::from_utf8_lossy(&line);
            if say.send(Said::Line(index, text.trim_end_matches(['\r', '\n']).to_owned())).is_err() {
                return;
            }
        }
    }
    let _ = say.send(Said::Nothing(index));
}

/// A new folder that only this user can enter, with a path short enough for the sockets of all processes.
fn socket_folder(processes: usize) -> Result<TempDir, SuperviseError> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let places = runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]);
    let mut tried = Vec::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        match socket_folder_in(&place, processes) {
            Ok(folder) => return Ok(folder),
            Err(error) => last = error,
        }
        tried.push(place.display().to_string());
    }
    Err(SuperviseError::Folder { tried: tried.join(", "), source: last })
}

fn socket_folder_in(place: &Path, processes: usize) -> io::Result<TempDir> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let private = fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("ct-stream-").permissions(private).tempdir_in(place)?;
    if folder.path().to_str().is_none() {
        return Err(invalid("the path is not UTF-8"));
    }
    if socket_path(folder.path(), processes).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(invalid("the path is too long for a socket"));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
