//! Logs, read and proven: the client against a log that shares no code with it.
//!
//! Whatever is heard is compared with the log's own entries and roots, as the log holds them and not as it sent them.

mod archives;
mod contradictions;
mod faults;
mod following;
mod lists;
mod manners;
mod resuming;
mod stretches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64_simd::STANDARD;
use ct_model::Coverage;
use ct_model::id::to_hex;
use ct_model::message::{Message, Reader};
use ct_source::logs::{
    AccessOptions, Alarm, AlarmKind, ClientOptions, FollowOptions, LogEvent, Logs, LogsOptions, Position, Room, Said,
    SingleLog,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::runtime;
use crate::test_log::{Certificate, Entry, Kind, Log, LogOptions, Pool, Server, base64};

/// What does not come about by then does not.
const PATIENCE: Duration = Duration::from_secs(30);
const CONTACT: &str = "monitor@example.com";

/// One log, with all its entries published from `start` of them on.
fn one(kind: Kind, count: u64, start: u64) -> Server {
    let pool = Arc::new(Pool::synthetic(1, count));
    Server::start(vec![LogOptions::new("log", kind, &pool).start(start)])
}

fn access() -> AccessOptions {
    let client = ClientOptions { contact: Some(CONTACT.to_owned()), ..ClientOptions::default() };
    AccessOptions { client, requests_max: 4, allow_plaintext: false }
}

fn single(log: &Log) -> SingleLog {
    let submission_url = log.kind().is_tiled().then(|| log.url().to_owned());
    SingleLog { url: log.url().to_owned(), key: base64(log.key().spki()), submission_url }
}

/// All logs of a server from their first entries on, looked at often.
fn options(server: &Server) -> LogsOptions {
    LogsOptions {
        list: None,
        list_key_file: None,
        list_refresh: Duration::from_millis(100),
        singles: server.logs().iter().map(|log| single(log)).collect(),
        only: Vec::new(),
        skip: Vec::new(),
        access: access(),
        follow: FollowOptions {
            poll: Duration::from_millis(20),
            partial_tile: Duration::ZERO,
            pages_ahead: 4,
            from_beginning: true,
            held: BTreeMap::new(),
        },
    }
}

fn from_head(server: &Server) -> LogsOptions {
    let mut options = options(server);
    options.follow.from_beginning = false;
    options
}

/// What was heard of one log.
#[derive(Default)]
struct Heard {
    /// Leaves and precertificates in base64, the last ones of each index.
    entries: BTreeMap<u64, (String, Option<String>)>,
    next: Option<u64>,
    /// Where reading went back to.
    rewinds: Vec<u64>,
    coverage: Vec<Coverage>,
    heads: Vec<u64>,
    alarms: Vec<Alarm>,
    failed: Vec<String>,
    /// With what each event of lines was to be kept.
    positions: Vec<Position>,
}

impl Heard {
    fn take(&mut self, event: LogEvent) -> Option<Room> {
        match event {
            LogEvent::Lines { lines, entries, position, room } => {
                let before = self.entries_said(&lines);
                assert_eq!(before, entries, "entries as counted");
                if entries > 0 {
                    assert_eq!(self.next, Some(position.next()), "the position is behind the last entry");
                }
                assert!(position.proven() <= position.next());
                self.positions.push(position);
                return room;
            }
            LogEvent::Head { size, .. } => self.heads.push(size),
            LogEvent::Alarm(alarm) => self.alarms.push(alarm),
            LogEvent::Failed(why) => self.failed.push(why),
        }
        None
    }

    fn entries_said(&mut self, lines: &[u8]) -> u64 {
        let mut entries = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let said: Value = serde_json::from_slice(line).unwrap();
            if said["message_type"] == "log_coverage" {
                let Ok(Message::Coverage(row)) = Reader::default().read(line.trim_ascii_end()) else {
                    panic!("{said}")
                };
                self.coverage.push(row);
                continue;
            }
            let (index, data) = (said["data"]["index"].as_u64().unwrap(), &said["data"]);
            match self.next {
                Some(next) if index < next => self.rewinds.push(index),
                Some(next) => assert_eq!(index, next, "an index is skipped"),
                None => {}
            }
            let text = |field: &str| data[field].as_str().map(str::to_owned);
            self.entries.insert(index, (text("leaf_input").unwrap(), text("precertificate")));
            self.next = Some(index + 1);
            entries += 1;
        }
        entries
    }

    fn proven(&self) -> u64 {
        self.positions.last().map_or(0, Position::proven)
    }

    fn kinds(&self) -> Vec<AlarmKind> {
        self.alarms.iter().map(|alarm| alarm.kind).collect()
    }

    /// The entries `first..end` were heard, each as the log holds it, and nothing else.
    #[track_caller]
    fn check(&self, log: &Log, first: u64, end: u64) {
        let heard: Vec<u64> = self.entries.keys().copied().collect();
        assert_eq!(heard, (first..end).collect::<Vec<_>>(), "indexes");
        for (index, said) in &self.entries {
            assert_eq!(*said, as_said(&log.entry(*index)), "entry {index}");
        }
        self.check_coverage(log, first, end);
    }

    /// The entries `first..end` are covered once, by roots that the log had.
    #[track_caller]
    fn check_coverage(&self, log: &Log, first: u64, end: u64) {
        let mut next = first;
        for row in &self.coverage {
            assert_eq!((row.first, row.verified, &*row.log), (next, true, log.origin()));
            assert_eq!(to_hex(&row.root), to_hex(&log.root(row.tree_size)));
            next = row.last + 1;
        }
        assert_eq!(next, end, "{:?}", self.coverage);
    }
}

/// An entry as its line says it.
fn as_said(entry: &Entry) -> (String, Option<String>) {
    let precertificate = match &entry.certificate {
        Certificate::Precert { submitted, .. } => Some(base64(submitted)),
        Certificate::Final(_) => None,
    };
    (base64(&entry.leaf_input()), precertificate)
}

/// Logs that are followed, and what was heard of each by its name.
struct Run {
    runtime: Runtime,
    said: mpsc::Receiver<Said>,
    stop: watch::Sender<bool>,
    /// Has the list read again.
    again: Arc<Notify>,
    task: JoinHandle<()>,
    heard: BTreeMap<String, Heard>,
    /// By id, as whoever keeps the lines keeps them.
    positions: BTreeMap<String, Position>,
}

impl Run {
    fn start(options: LogsOptions) -> Self {
        Self::resume(options, BTreeMap::new())
    }

    fn resume(options: LogsOptions, positions: BTreeMap<String, Position>) -> Self {
        let runtime = runtime();
        let (out, said) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let again = Arc::new(Notify::new());
        let task = runtime.spawn(Arc::new(Logs::new(options).unwrap()).run(
            positions.clone(),
            out,
            stopped,
            Arc::clone(&again),
        ));
        Self { runtime, said, stop, again, task, heard: BTreeMap::new(), positions }
    }

    /// What was heard of a log.
    fn of(&self, log: &Log) -> &Heard {
        &self.heard[log.origin()]
    }

    /// The next event; `None` when there is none within the time.
    fn next_within(&mut self, time: Duration) -> Option<Option<Room>> {
        let said = self.runtime.block_on(async { timeout(time, self.said.recv()).await }).ok()?;
        let Said { id, name, event } = said.expect("the logs are followed");
        if let LogEvent::Lines { position, .. } = &event {
            self.positions.insert(id.to_string(), position.clone());
        }
        Some(self.heard.entry(name.to_string()).or_default().take(event))
    }

    /// Listens until what was heard of a log is as wanted.
    #[track_caller]
    fn until(&mut self, log: &Log, what: &str, wanted: impl Fn(&Heard) -> bool) {
        while !self.heard.get(log.origin()).is_some_and(&wanted) {
            if self.next_within(PATIENCE).is_none() {
                panic!("{}: {what} did not come about", log.name());
            }
        }
    }

    #[track_caller]
    fn until_proven(&mut self, log: &Log, size: u64) {
        self.until(log, &format!("{size} proven entries"), |heard| heard.proven() == size);
    }

    /// Listens while the log is asked for its head so many times.
    #[track_caller]
    fn through_looks(&mut self, log: &Log, looks: u64) {
        let asked = || crate::test_log::HEADS.iter().map(|call| log.ledger.record().count(*call)).sum::<u64>();
        let begun = asked();
        let mut events = 0;
        while asked() < begun + looks {
            events += 1;
            self.next_within(Duration::from_millis(100));
            assert!(events < 10_000, "the log is not looked at");
        }
    }

    /// Stops as a job does, and hears the rest.
    fn end(mut self) -> BTreeMap<String, Heard> {
        self.stop.send_replace(true);
        let rest = async {
            while let Some(Said { name, event, .. }) = self.said.recv().await {
                self.heard.entry(name.to_string()).or_default().take(event);
            }
            self.task.await.unwrap();
        };
        self.runtime.block_on(async { timeout(PATIENCE, rest).await }).expect("it stops when it is told to");
        self.heard
    }
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode_to_vec(text).unwrap()
}
