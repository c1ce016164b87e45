//! What the graph does, as a loop over lines with hash sets, and rows in a form that can be compared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ct_dataflows::modules::{Memories, Modules, Subject};
use ct_dataflows::operators::decode::{self, Der};
use ct_model::message::{Message, Reader, Sighting, Unusable};
use ct_model::name::{self, NameSource, Names};
use ct_model::x509::Decoder;
use ct_model::{CertId, Counts, Coverage, EntryRecord, Finding, IdKind, Rejected, Rows};

use crate::feed::{HEAD_BYTES, Segment};

pub(crate) const FEED: &str = "test-feed";

/// Rows of all tables as text, sorted: rows are published in no particular order.
fn texts(rows: &Rows) -> Vec<String> {
    let mut texts: Vec<String> = (rows.certificates.iter().map(|row| format!("{row:?}")))
        .chain(rows.entries.iter().map(|row| format!("{row:?}")))
        .chain(rows.findings.iter().map(|row| format!("{row:?}")))
        .chain(rows.rejected.iter().map(|row| format!("{row:?}")))
        .chain(rows.coverage.iter().map(|row| format!("{row:?}")))
        .collect();
    texts.sort();
    texts
}

/// Fails with the first row that only one of the two has.
#[track_caller]
pub(crate) fn check_same_rows(got: &Rows, want: &Rows, place: &str) {
    let (got, want) = (texts(got), texts(want));
    if got != want {
        let mut pairs = got.iter().zip(&want);
        let at = pairs.position(|(got, want)| got != want).unwrap_or_else(|| got.len().min(want.len()));
        let [got_row, want_row] = [got.get(at), want.get(at)].map(|row| row.map(|row| &row[..row.len().min(1_000)]));
        panic!("{place}: {} rows, not {}; row {at}:\n got {got_row:?}\nwant {want_row:?}", got.len(), want.len());
    }
}

pub(crate) struct Oracle<'a> {
    modules: &'a Modules,
    memories: Memories,
    feed: Arc<str>,
    certificates: HashSet<CertId>,
    /// Certificates by log and index.
    placed: HashMap<(Arc<str>, u64), HashSet<CertId>>,
    unplaced: HashSet<(Option<Arc<str>>, CertId)>,
    /// By segment, offset and bytes.
    rejected: HashSet<(Arc<str>, u64, Vec<u8>)>,
    findings_once: HashSet<[u8; 16]>,
    decoder: Decoder,
    pub(crate) rows: Rows,
    pub(crate) counts: Counts,
}

/// Reads whole segments, and of the next so many lines.
pub(crate) fn read<'a>(segments: &[Segment], whole: u32, lines: u64, modules: &'a Arc<Modules>) -> Oracle<'a> {
    let mut oracle = Oracle {
        modules,
        memories: Memories::new(modules.clone()),
        feed: FEED.into(),
        certificates: HashSet::new(),
        placed: HashMap::new(),
        unplaced: HashSet::new(),
        rejected: HashSet::new(),
        findings_once: HashSet::new(),
        decoder: Decoder::default(),
        rows: Rows::default(),
        counts: Counts::default(),
    };
    for segment in &segments[..whole as usize] {
        oracle.segment(segment, segment.lines.len());
        oracle.counts.unreadable += u64::from(segment.broken.is_some());
    }
    if lines > 0 {
        oracle.segment(&segments[whole as usize], lines as usize);
    }
    oracle
}

impl Oracle<'_> {
    fn segment(&mut self, segment: &Segment, lines: usize) {
        let mut reader = Reader::default();
        let mut offset = 0;
        for (line, number) in segment.lines[..lines].iter().zip(1..) {
            let at = offset;
            offset += line.bytes.len() as u64;
            if line.overlong {
                self.counts.messages += 1;
                let detail = "longer than a message may be".into();
                let unusable = Unusable { reason: ct_model::message::Reason::TooLong, detail, seen: None };
                self.reject(segment, number, at, &line.bytes[..HEAD_BYTES], unusable);
                continue;
            }
            self.counts.bytes += line.bytes.len() as u64;
            let message = line.bytes.trim_ascii();
            if message.is_empty() {
                continue;
            }
            self.counts.messages += 1;
            match reader.read(message) {
                Ok(Message::Heartbeat) => self.counts.heartbeats += 1,
                Ok(Message::Coverage(row)) if segment.of_logs => {
                    self.counts.heartbeats += 1;
                    let row = Coverage { feed: self.feed.clone(), ..row };
                    if !self.rows.coverage.contains(&row) {
                        self.counts.coverage += 1;
                        self.rows.coverage.push(row);
                    }
                }
                Ok(Message::Other | Message::Coverage(_)) => self.counts.other += 1,
                Ok(Message::Names(list)) => self.names(&list.iter().map(AsRef::as_ref).collect::<Vec<&str>>()),
                Ok(Message::Sighting(sighting)) => self.sighting(sighting),
                Err(unusable) => self.reject(segment, number, at, message, unusable),
            }
        }
    }

    fn reject(&mut self, segment: &Segment, line: u64, offset: u64, raw: &[u8], unusable: Unusable) {
        self.counts.rejected += 1;
        *self.counts.rejected_by_reason.entry(unusable.reason.as_str().to_owned()).or_default() += 1;
        if self.rejected.insert((segment.name.clone(), offset, raw.to_vec())) {
            self.counts.rejected_new += 1;
            self.rows.rejected.push(Rejected {
                feed: self.feed.clone(),
                segment: segment.name.clone(),
                line,
                offset,
                reason: unusable.reason.as_str(),
                detail: unusable.detail,
                seen: unusable.seen,
                raw: raw.into(),
            });
        }
    }

    fn names(&mut self, list: &[&str]) {
        self.counts.names_only += 1;
        self.counts.names += list.len() as u64;
        let mut names = Names::default();
        list.iter().for_each(|name| name::readings(name.as_bytes(), NameSource::San, &mut names));
        let names = names.take();
        let subject = Subject { odd_names: &names.odd, ips: &names.ips, ..Subject::names_only(&names.names) };
        self.examine(&subject);
    }

    fn sighting(&mut self, sighting: Sighting) {
        let log = sighting.log.as_ref().map(|log| log.name.clone());
        let (new, conflict) = match (&log, sighting.index) {
            (Some(log), Some(index)) => {
                let standing = self.placed.entry((log.clone(), index)).or_default();
                let taken = !standing.is_empty();
                let new = standing.insert(sighting.id);
                (new, new && taken)
            }
            _ => (self.unplaced.insert((log.clone(), sighting.id)), false),
        };
        let new_certificate = self.certificates.insert(sighting.id);
        self.counts.redelivered += u64::from(!new);
        self.counts.entries += u64::from(new);
        self.counts.conflicts += u64::from(conflict);
        self.counts.known += u64::from(new && !new_certificate);
        self.counts.certificates += u64::from(new_certificate);
        if new {
            let hash_is_sha256 = matches!(sighting.id.kind, IdKind::Der | IdKind::Sha256);
            self.rows.entries.push(EntryRecord {
                log,
                log_index: sighting.index,
                kind: sighting.kind,
                id: sighting.id,
                sha256: hash_is_sha256.then(|| sighting.id.bytes().try_into().expect("a SHA-256 has 32 bytes")),
                submitted: sighting.submitted,
                seen: sighting.seen,
                feed: self.feed.clone(),
            });
        }
        if new_certificate {
            let der = if self.modules.want_der() { Der::Examine } else { Der::Drop };
            let subject = decode::subject(&mut self.decoder, sighting, &self.feed, der);
            let seen = Subject::certificate(&subject.record, &subject.odd_names);
            self.examine(&Subject { der: subject.der.as_deref(), ..seen });
            self.remember(&seen);
            self.rows.certificates.push(subject.record);
        }
    }

    fn examine(&mut self, subject: &Subject<'_>) {
        let mut found = Vec::new();
        self.modules.examine(subject, &mut found);
        self.keep(found);
    }

    fn remember(&mut self, subject: &Subject<'_>) {
        let (mut facts, mut found) = (Vec::new(), Vec::new());
        self.modules.facts(subject, &mut facts, &mut found);
        facts.into_iter().for_each(|fact| self.memories.learn(fact, &mut found));
        self.keep(found);
    }

    fn keep(&mut self, found: Vec<Finding>) {
        for finding in found {
            if !finding.once || self.findings_once.insert(finding.id) {
                self.counts.findings += 1;
                *self.counts.findings_by_module.entry(finding.module.to_string()).or_default() += 1;
                self.rows.findings.push(finding);
            }
        }
    }
}
