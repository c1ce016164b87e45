//! A worker process's side of its supervisor: orders come in on stdin, and its end means the supervisor is gone.
//!
//! The first line of stdin is the orders, as JSON: who this process is in its cluster, and the secret, which so never
//! stands in an argument, an environment or a file. A later line `drain` asks for a drain. The kernel closes the pipe
//! when the supervisor dies, however it dies; the worker then ends at once.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::thread;

use ct_model::id::{from_hex, to_hex};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use super::exit::WorkerExit;
use super::hello::Member;
use super::links::Addresses;
use super::secret::{Secret, wipe};
use super::signals;
use super::wire::socket_path;

/// Set by the supervisor in every worker process, to its index.
pub(crate) const WORKER_ENV: &str = "CT_STREAM_WORKER";

/// The line that asks for a drain.
pub(super) const DRAIN: &str = "drain";

const LINE_BYTES_MAX: usize = 64 << 10;

/// Whether a supervisor started this process.
pub(crate) fn is_worker() -> bool {
    std::env::var_os(WORKER_ENV).is_some()
}

/// What the supervisor tells a worker process.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) cluster: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) processes: usize,
    pub(crate) index: usize,
    /// The folder of the cluster's sockets, new for every generation.
    pub(crate) folder: PathBuf,
    pub(crate) secret: Secret,
}

#[derive(Debug, Error)]
pub(crate) enum OrdersError {
    #[error("reading the orders of the supervisor from stdin")]
    Read { source: io::Error },
    #[error("the supervisor went away before it gave orders")]
    NoSupervisor,
    #[error("the orders of the supervisor on stdin are not understood; a worker process is started by ct-stream only")]
    NotUnderstood,
    #[error("leaving signals to the supervisor")]
    Signals { source: io::Error },
    #[error("starting the thread that watches the supervisor")]
    Watch { source: io::Error },
}

#[derive(Serialize, Deserialize)]
struct Line {
    cluster: String,
    generation: u64,
    processes: usize,
    index: usize,
    folder: PathBuf,
    secret: String,
}

impl Orders {
    /// This process as its peers must know it, and where they meet.
    pub(crate) fn member(self, workers: usize, graph: [u8; 32]) -> (Member, Addresses) {
        let Orders { cluster, generation, processes, index, folder, secret } = self;
        (Member { cluster, generation, processes, workers, index, graph, secret }, Addresses::Unix(folder))
    }

    /// The line for a worker's stdin; the caller wipes it. Fails when the folder's path is no text.
    pub(super) fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let line = Line {
            cluster: to_hex(&self.cluster),
            generation: self.generation,
            processes: self.processes,
            index: self.index,
            folder: self.folder.clone(),
            secret: to_hex(self.secret.bytes()),
        };
        let written = serde_json::to_vec(&line);
        wipe(&mut line.secret.into_bytes());
        let mut bytes = written?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn from_line(bytes: &[u8]) -> Option<Self> {
        // The parser's own message could quote the secret.
        let Line { cluster: name, generation, processes, index, folder, secret: digits } =
            serde_json::from_slice(bytes).ok()?;
        let mut cluster = [0; 16];
        let mut secret = vec![0; digits.len() / 2];
        let read = from_hex(&name, &mut cluster).and_then(|()| from_hex(&digits, &mut secret));
        wipe(&mut digits.into_bytes());
        read?;
        let secret = Secret::new(secret).ok()?;
        (index < processes).then_some(Orders { cluster, generation, processes, index, folder, secret })
    }
}

/// Reads the orders, then watches the supervisor from a thread: `on_drain` runs when it asks for a drain, and when it
/// is gone the process ends with [`WorkerExit::PeerDied`].
///
/// SIGTERM and SIGINT do nothing in this process from here on; the supervisor turns them into a drain of the cluster.
pub(crate) fn watch_parent(on_drain: impl FnOnce() + Send + 'static) -> Result<Orders, OrdersError> {
    signals::leave_to_supervisor().map_err(|source| OrdersError::Signals { source })?;
    // Its full size from the start: a buffer that grows leaves copies of the secret behind.
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    read_line(&mut line).map_err(|source| OrdersError::Read { source })?;
    let orders = Orders::from_line(&line);
    wipe(&mut line);
    if line.is_empty() {
        return Err(OrdersError::NoSupervisor);
    }
    let orders = orders.ok_or(OrdersError::NotUnderstood)?;
    thread::Builder::new()
        .name("supervisor".into())
        .spawn({
            let (folder, processes) = (orders.folder.clone(), orders.processes);
            move || {
                follow(line, on_drain);
                warn!("the supervisor is gone; this worker process ends");
                remove_sockets(&folder, processes);
                WorkerExit::PeerDied.now()
            }
        })
        .map_err(|source| OrdersError::Watch { source })?;
    Ok(orders)
}

/// Does what the supervisor says, until it says nothing any more.
fn follow(mut line: Vec<u8>, on_drain: impl FnOnce()) {
    let mut on_drain = Some(on_drain);
    while read_line(&mut line).is_ok() && !line.is_empty() {
        if line.trim_ascii() == DRAIN.as_bytes()
            && let Some(on_drain) = on_drain.take()
        {
            on_drain();
        }
    }
}

/// Removes what the supervisor would have removed. Every worker tries, and what another one was faster with is well.
fn remove_sockets(folder: &Path, processes: usize) {
    for index in 0..processes {
        let _ = fs::remove_file(socket_path(folder, index));
    }
    let _ = fs::remove_dir(folder);
}

/// The next line of stdin, or its first [`LINE_BYTES_MAX`] bytes; empty at the end.
fn read_line(line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    io::stdin().lock().take(LINE_BYTES_MAX as u64).read_until(b'\n', line).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const ROLE: &str = "CT_STREAM_TEST_CHILD";

    fn orders() -> Orders {
        Orders {
            cluster: [3; 16],
            generation: 7,
            processes: 4,
            index: 2,
            folder: PathBuf::from("/run/a folder \"quoted\""),
            secret: Secret::new((0..32).collect()).expect("long enough"),
        }
    }

    #[test]
    fn line_reads_back() {
        let line = orders().to_line().expect("the path is text");
        let read = Orders::from_line(&line).expect("it was written here");
        assert_eq!(format!("{read:?}"), format!("{:?}", orders()));
        assert_eq!(read.secret.bytes(), orders().secret.bytes());
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn other_lines_are_no_orders() {
        let good = String::from_utf8(orders().to_line().expect("the path is text")).expect("JSON is text");
        let short = good.replace(&to_hex(orders().secret.bytes()), "00ff");
        let beyond = good.replace("\"index\":2", "\"index\":4");
        for line in ["", "\n", "drain\n", "{}\n", &good[..good.len() / 2], &short, &beyond] {
            assert!(Orders::from_line(line.as_bytes()).is_none(), "{line}");
        }
    }

    /// Does nothing in a normal run; the tests below start it in a process of its own.
    #[test]
    fn role() {
        if std::env::var_os(ROLE).is_none() {
            return;
        }
        match watch_parent(|| println!("draining")) {
            Ok(orders) => println!("index {}", orders.index),
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        }
        loop {
            thread::park();
        }
    }

    fn start() -> Child {
        Command::new(std::env::current_exe().expect("the test binary has a path"))
            .args(["--exact", "cluster::child::tests::role", "--nocapture"])
            .env(ROLE, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary starts")
    }

    #[test]
    fn drains_when_asked_and_ends_with_its_supervisor() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("sockets");
        fs::create_dir(&folder).expect("a new folder");
        fs::write(socket_path(&folder, 3), "").expect("a new file");
        let orders = Orders { folder: folder.clone(), ..orders() };
        let mut child = start();
        let mut stdin = child.stdin.take().expect("piped");
        let mut lines = io::BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut wait_for = |want: &str| assert!(lines.any(|line| line.expect("text").contains(want)), "{want}");
        stdin.write_all(&orders.to_line().expect("text")).expect("it reads");
        wait_for("index 2");
        stdin.write_all(b"nonsense\ndrain\ndrain\n").expect("it reads");
        wait_for("draining");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(WorkerExit::PeerDied as i32));
        assert!(!folder.exists(), "the sockets of a dead supervisor stay behind");
    }

    #[test]
    fn no_orders() {
        for (input, want) in [("", "went away"), ("{\"secret\":\"00112233\"}\n", "not understood")] {
            let mut child = start();
            child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
            let output = child.wait_with_output().expect("it ends");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(want), "{stderr}");
            assert!(!stderr.contains("00112233"), "{stderr}");
        }
    }
}
