//! Audits of feeds by the running job: a thread of the collector that reads the journal as workers do.
//!
//! ```text
//! journal ─► Auditor ─┬─ holes ─► logs ─► lines of entries and coverage ─► journal
//!                     └─ accounts ─► status, log, audit.log
//! ```
//!
//! The journal has all that is needed: what feeds delivered, what followed logs have, and what logs answered when they
//! were asked. What the logs answer goes the way of all entries, so the lake has it once, and proven. Logs are asked
//! by a thread of their own, within the budgets of their operators; no round ends before the last answer has come,
//! unless too much waits for it.

mod auditor;
mod ranges;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ct_source::journal::{Body, JournalError, JournalReader, Kind};
use ct_source::logs::Logs;
use tokio::runtime::Handle;
use tokio::sync::mpsc::WeakSender;
use tracing::{info, warn};

pub use self::auditor::Accounts;
use self::auditor::Auditor;
use super::collect::{Said, now_ms};
use super::told::AuditStatus;
use crate::holes::{Account, Class};
use crate::stretches::{Stretches, common};
use crate::summary::printable;

/// How often the end of the journal is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Holes of each feed and log that are asked for and judged in a round: the newest.
const HOLES_MAX: u64 = 1_000_000;
/// A round ends before its time with so many lines: what the memory goes by.
const ROUND_LINES_MAX: usize = 1 << 20;
/// Of the text of logs that is handed on at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Left out entries in a line of the report.
const LEFT_OUT_MAX: usize = 1_000;
/// The report begins anew when it is so long; the one before it is kept.
const REPORT_BYTES_MAX: u64 = 16 << 20;

/// What is audited, and how often.
pub struct Audit {
    pub feeds: Vec<Arc<str>>,
    pub interval: Duration,
    /// Of the journal.
    pub dir: PathBuf,
    pub logs: Arc<Logs>,
    pub runtime: Handle,
}

/// What an audit says to the writer of the journal.
pub enum Found {
    /// Lines of logs for the journal.
    Lines(Vec<u8>),
    /// Of a round.
    Accounts(Accounts),
}

impl Audit {
    /// Audits until nobody listens.
    pub fn start(self, out: WeakSender<Said>) -> io::Result<()> {
        thread::Builder::new().name("audit".to_owned()).spawn(move || self.run(&out)).map(drop)
    }

    fn run(&self, out: &WeakSender<Said>) {
        let mut auditor = Auditor::new(self.feeds.iter().cloned(), HOLES_MAX);
        let mut reader = JournalReader::open(&self.dir, (0, 0));
        let mut asking: Option<JoinHandle<()>> = None;
        let mut ended = Instant::now();
        while out.strong_count() > 0 {
            // One look at a time, so that no round becomes too long while there is much to read.
            let is_read = self.read(&mut auditor, &mut reader);
            if asking.as_ref().is_some_and(JoinHandle::is_finished) {
                asking = None;
            }
            let is_due = is_read && asking.is_none() && ended.elapsed() >= self.interval;
            if is_due || auditor.taken() >= ROUND_LINES_MAX {
                ended = Instant::now();
                let (accounts, wanted) = auditor.end_round();
                let Some(out_now) = out.upgrade() else { return };
                if !accounts.is_empty() && out_now.blocking_send(Said::Audit(Found::Accounts(accounts))).is_err() {
                    return;
                }
                if asking.is_none() && !wanted.is_empty() {
                    asking = self.ask(wanted, out.clone());
                }
            }
            if is_read {
                thread::sleep(POLL);
            }
        }
    }

    /// Reads some of the journal; true at its end.
    fn read(&self, auditor: &mut Auditor, reader: &mut JournalReader) -> bool {
        match next(auditor, reader) {
            Ok(is_more) => !is_more,
            Err(error) => {
                warn!(%error, "the journal cannot be read to audit feeds; it is tried again");
                true
            }
        }
    }

    /// Asks the logs, on a thread of its own: each answer waits for its log, and for room in the journal.
    fn ask(&self, wanted: BTreeMap<String, Stretches>, out: WeakSender<Said>) -> Option<JoinHandle<()>> {
        let (logs, runtime) = (Arc::clone(&self.logs), self.runtime.clone());
        let asking =
            thread::Builder::new().name("audit-logs".to_owned()).spawn(move || ask(&logs, &runtime, &wanted, &out));
        asking.inspect_err(|error| warn!(%error, "the logs cannot be asked for what feeds left out")).ok()
    }
}

/// Takes the next batch of the journal, if there is one.
fn next(auditor: &mut Auditor, reader: &mut JournalReader) -> Result<bool, JournalError> {
    let Some(batch) = reader.next_batch()? else { return Ok(false) };
    match &batch.kind {
        Kind::Frames { feed, .. } if auditor.listens_to(feed) => match reader.body(&batch) {
            Ok(Body::Whole(text)) => {
                let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
                lines.for_each(|line| auditor.take(feed, line));
            }
            Ok(Body::Damaged(_)) => auditor.lost(Some(feed)),
            // Published and deleted since.
            Err(JournalError::Gone { .. }) => auditor.lost(Some(feed)),
            Err(error) => return Err(error),
        },
        Kind::Damaged { .. } => auditor.lost(None),
        Kind::Missing { from_segment, to_segment } => {
            warn!(from_segment, to_segment, "segments of the journal were published before feeds were audited by them");
            auditor.lost(None);
        }
        _ => {}
    }
    Ok(true)
}

fn ask(logs: &Logs, runtime: &Handle, wanted: &BTreeMap<String, Stretches>, out: &WeakSender<Said>) {
    let of_log = |name: &str, size: u64| common(wanted.get(name).map_or(&[], Vec::as_slice), &[(0, size)]);
    let found = match runtime.block_on(logs.stretches(&of_log)) {
        Ok(found) => found,
        Err(error) => return warn!(%error, "the logs cannot be asked for what feeds left out"),
    };
    for (log, why) in &found.failed {
        warn!(log = %printable(log), why, "the log cannot be asked for what feeds left out");
    }
    for segment in &found.segments {
        let text = logs.read_stretch(segment, runtime).and_then(|mut text| pass_on(&mut text, out));
        match text {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => warn!(stretch = segment.name, %error, "what feeds left out cannot be read from the log"),
        }
    }
}

/// Hands on whole lines; false when nobody listens.
fn pass_on(text: &mut impl Read, out: &WeakSender<Said>) -> io::Result<bool> {
    let (mut lines, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        let count = text.read(&mut piece)?;
        lines.extend_from_slice(&piece[..count]);
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = lines.split_off(end);
        let lines_now = std::mem::replace(&mut lines, rest);
        if !lines_now.is_empty() {
            let Some(out) = out.upgrade() else { return Ok(false) };
            if out.blocking_send(Said::Audit(Found::Lines(lines_now))).is_err() {
                return Ok(false);
            }
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Tells of a round: in the log, in `status`, and in the report beside the journal.
pub fn tell(dir: &Path, accounts: &Accounts, status: &mut Vec<AuditStatus>) {
    let at_ms = now_ms();
    let mut text = String::new();
    for ((feed, log), account) in accounts {
        let of_class = |class| account.of_class(class);
        let [explained, unparseable, lost] = [Class::Explained, Class::Unparseable, Class::Lost].map(of_class);
        let Account { shown, unknown, filled, .. } = account;
        info!(
            feed = &**feed,
            log = &**log,
            first = shown.first,
            last = shown.last,
            delivered = shown.delivered,
            explained,
            unparseable,
            lost,
            filled,
            unknown,
            "a feed was audited"
        );
        let known = status.iter().position(|known| known.feed == **feed).unwrap_or_else(|| {
            status.push(AuditStatus { feed: feed.to_string(), ..AuditStatus::default() });
            status.len() - 1
        });
        let sums = &mut status[known];
        sums.delivered += shown.delivered;
        sums.explained += explained;
        sums.unparseable += unparseable;
        sums.lost += lost;
        sums.filled += filled;
        sums.unknown += unknown;
        let mut row = account.row(feed, log, LEFT_OUT_MAX);
        row["at_ms"] = at_ms.into();
        text += &format!("{row}\n");
    }
    let path = dir.join("audit.log");
    if let Err(error) = append(&path, &text) {
        warn!(path = %path.display(), %error, "the report of an audit cannot be written");
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    if path.metadata().is_ok_and(|metadata| metadata.len() >= REPORT_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}
