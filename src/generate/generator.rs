//! The stream itself: which entry comes when, and the lines between.
//!
//! An issuance is drawn when nothing else is due. It plans all its entries at once: the precertificate in two to four
//! logs, the final certificate, some messages later, in none to three. What is planned lies at most
//! [`FINAL_AFTER_MESSAGES`] and [`COPY_AFTER_MESSAGES`] ahead, so memory does not grow with the length of the stream.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::certificate::{Certificate, Issuance, NO_EXPIRATION, Role, Sct};
use super::issuer::Issuer;
use super::log::{LogNumber, Logs};
use super::malformed::{Expect, Malformed};
use super::message::{self, Sighting};
use super::names::Subjects;
use super::options::{Options, Shape, Stream};
use super::rng::Rng;
use super::truth::{CertificateTruth, Totals};

const COPY_AFTER_MESSAGES: u64 = 600;
const FINAL_AFTER_MESSAGES: (u64, u64) = (50, 1_400);
const REDELIVERED_AFTER_MESSAGES: u64 = 300;
const HEARTBEAT_EVERY_US: i64 = 30_000_000;

/// Chances in lots of 2, 3 and 4 logs for a precertificate, and of 0 to 3 for a final certificate.
const PRECERT_LOGS: [u32; 3] = [55, 30, 15];
const FINAL_LOGS: [u32; 4] = [45, 30, 18, 7];
/// One issuance in so many has no precertificate: its SCTs came by other ways.
const WITHOUT_PRECERT_ONE_IN: u64 = 25;
const SCTS_MAX: usize = 3;
const NO_EXPIRATION_ONE_IN: u64 = 1_000;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry that was not sent before; `first`: of a certificate that was not.
    Entry {
        first: bool,
    },
    /// The same bytes as an entry before.
    Redelivered,
    Heartbeat,
    Malformed(Malformed),
    /// So many names, without a certificate.
    NamesOnly {
        names: usize,
    },
}

/// A certificate with entries still to come, and what was sent of it.
struct Held {
    certificate: Certificate,
    issuer: usize,
    entries_left: Cell<u32>,
    /// Entries that told its hash, and entries that did not.
    sent: [Cell<Sent>; 2],
}

#[derive(Clone, Copy, Default)]
struct Sent {
    entries: u64,
    first_line: u64,
}

struct Planned {
    held: Rc<Held>,
    log: LogNumber,
}

/// A line that is to come again.
struct Redelivery {
    /// The message at which it may.
    due: u64,
    kind: Kind,
    line: Vec<u8>,
}

/// Writes the lines of one stream. The same [`Options`] give the same bytes.
pub struct Generator {
    options: Options,
    rng: Rng,
    issuers: Vec<Issuer>,
    /// By issuer.
    chains: Vec<Vec<u8>>,
    logs: Logs,
    now_us: i64,
    heartbeat_at_us: i64,
    /// By the message at which an entry is due, then in order of planning.
    planned: BTreeMap<(u64, u64), Planned>,
    plans: u64,
    redeliveries: VecDeque<Redelivery>,
    malformed: Vec<Malformed>,
    malformed_turn: usize,
    line: u64,
    totals: Totals,
    retired: Vec<CertificateTruth>,
}

impl Generator {
    pub fn new(options: &Options) -> Self {
        let issuers = Issuer::all();
        let start_us = options.start.0;
        Self {
            rng: Rng::new(options.seed),
            chains: issuers.iter().map(|issuer| message::chain(options.shape, &issuer.chain)).collect(),
            issuers,
            logs: Logs::new(options.start),
            now_us: start_us,
            heartbeat_at_us: start_us,
            planned: BTreeMap::new(),
            plans: 0,
            redeliveries: VecDeque::new(),
            malformed: Malformed::ALL.into_iter().filter(|kind| kind.applies_to(options.stream)).collect(),
            malformed_turn: 0,
            line: 0,
            totals: Totals::default(),
            retired: Vec::new(),
            options: options.clone(),
        }
    }

    /// Appends the next line with its line end; `None` after the last.
    pub fn next_line(&mut self, out: &mut Vec<u8>) -> Option<Kind> {
        self.retired.clear();
        if self.totals.messages == self.options.messages {
            self.retire_all();
            return None;
        }
        self.line += 1;
        let start = out.len();
        let kind = self.write_line(out);
        out.push(b'\n');
        self.totals.bytes += (out.len() - start) as u64;
        self.totals.messages += 1;
        match kind {
            Kind::Entry { first } => {
                self.totals.entries += 1;
                self.totals.certificates += u64::from(first);
            }
            Kind::Redelivered => self.totals.redelivered += 1,
            Kind::Heartbeat => self.totals.heartbeats += 1,
            Kind::NamesOnly { names } => {
                self.totals.names_only += 1;
                self.totals.names += names as u64;
            }
            Kind::Malformed(malformed) => match malformed.expect() {
                Expect::Rejected => self.totals.rejected += 1,
                Expect::Other => self.totals.other += 1,
                Expect::Blank => {
                    self.totals.blank += 1;
                    self.totals.messages -= 1;
                }
            },
        }
        Some(kind)
    }

    /// The number of the last line, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What was written so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The certificates of which the last line was the last entry; after the end, all that are left.
    pub fn retired(&self) -> &[CertificateTruth] {
        &self.retired
    }

    /// Entries that are planned and not yet written.
    #[cfg(test)]
    pub(super) fn planned(&self) -> usize {
        self.planned.len()
    }

    fn write_line(&mut self, out: &mut Vec<u8>) -> Kind {
        if self.now_us >= self.heartbeat_at_us {
            self.heartbeat_at_us = self.now_us + HEARTBEAT_EVERY_US;
            message::heartbeat(out, self.options.shape, self.now_us);
            return Kind::Heartbeat;
        }
        // Gaps between none and twice the mean.
        self.now_us += self.rng.below((2e6 / self.options.rate) as u64 + 1) as i64;
        if self.rng.chance(self.options.malformed) {
            return Kind::Malformed(self.write_malformed(out));
        }
        if let Some(again) = self.redeliveries.pop_front_if(|again| again.due <= self.totals.messages) {
            out.extend_from_slice(&again.line);
            return match again.kind {
                Kind::NamesOnly { .. } => again.kind,
                _ => Kind::Redelivered,
            };
        }
        let start = out.len();
        let kind = self.write_entry(out);
        if self.rng.chance(self.options.redelivered) {
            let due = self.totals.messages + self.rng.between(1, REDELIVERED_AFTER_MESSAGES);
            self.redeliveries.push_back(Redelivery { due, kind, line: out[start..].to_vec() });
        }
        kind
    }

    /// The next entry that the server sends.
    fn write_entry(&mut self, out: &mut Vec<u8>) -> Kind {
        loop {
            let Planned { held, log } = self.next_planned();
            let index = self.logs.get_mut(log).take_index();
            let kind = self.send(out, &held, log, index);
            self.retire(&held);
            if let Some(kind) = kind {
                return kind;
            }
        }
    }

    fn next_planned(&mut self) -> Planned {
        loop {
            if let Some(first) = self.planned.first_entry().filter(|first| first.key().0 <= self.totals.messages) {
                return first.remove();
            }
            self.issue();
        }
    }

    /// Draws an issuance and plans its entries, the first of them for now.
    fn issue(&mut self) {
        let (issuer, issuance) = self.draw_issuance();
        let copies = 2 + self.rng.weighted(&PRECERT_LOGS);
        let logs = self.logs.draw(&mut self.rng, issuance.not_after, copies, self.options.tiled());
        let with_precert = self.rng.below(WITHOUT_PRECERT_ONE_IN) != 0;
        if with_precert {
            let certificate = issuance.precert(&mut self.rng);
            self.plan(certificate, issuer, &logs, 0);
        }
        let copies = self.rng.weighted(&FINAL_LOGS).max(usize::from(!with_precert));
        if copies > 0 {
            let now_ms = self.now_us as u64 / 1_000;
            let scts: Vec<Sct> = logs.iter().take(SCTS_MAX).map(|log| self.draw_sct(*log, now_ms)).collect();
            let certificate = issuance.finished(&mut self.rng, &scts);
            let logs = self.logs.draw(&mut self.rng, issuance.not_after, copies, self.options.tiled());
            let after = if with_precert { self.rng.between(FINAL_AFTER_MESSAGES.0, FINAL_AFTER_MESSAGES.1) } else { 0 };
            self.plan(certificate, issuer, &logs, after);
        }
    }

    fn draw_issuance(&mut self) -> (usize, Issuance) {
        let rng = &mut self.rng;
        let number = Issuer::draw(rng, &self.issuers);
        let issuer = &self.issuers[number];
        // Authorities date back by an hour, for clocks that are late.
        let not_before = self.now_us / 1_000_000 - 3_600 - rng.below(60) as i64;
        let not_after =
            if rng.below(NO_EXPIRATION_ONE_IN) == 0 { NO_EXPIRATION } else { not_before + issuer.validity(rng) };
        let (organization, subjects) = (issuer.organization(rng), Subjects::draw(rng));
        (number, Issuance::draw(rng, &issuer.parent, organization, subjects, (not_before, not_after)))
    }

    fn draw_sct(&mut self, log: LogNumber, now_ms: u64) -> Sct {
        let log = self.logs.get(log);
        Sct {
            log_id: log.id,
            timestamp_ms: now_ms - self.rng.below(2_000),
            leaf_index: log.tiled.then(|| self.rng.below(1 << 32)),
        }
    }

    /// The first entry `after` so many messages from now, its copies in other logs later.
    fn plan(&mut self, certificate: Certificate, issuer: usize, logs: &[LogNumber], after: u64) {
        let entries_left = Cell::new(logs.len() as u32);
        let held = Rc::new(Held { certificate, issuer, entries_left, sent: Default::default() });
        for (copy, log) in logs.iter().enumerate() {
            let later = if copy == 0 { 0 } else { self.rng.below(COPY_AFTER_MESSAGES) };
            self.plans += 1;
            let due = self.totals.messages + after + later;
            self.planned.insert((due, self.plans), Planned { held: Rc::clone(&held), log: *log });
        }
    }

    /// `None` if the server sends nothing for this entry.
    fn send(&mut self, out: &mut Vec<u8>, held: &Held, log: LogNumber, index: u64) -> Option<Kind> {
        let Options { shape, stream, .. } = self.options;
        let certificate = &held.certificate;
        // The Rust server sends a certificate once, and nothing where there are no names.
        let known = held.sent.iter().any(|sent| sent.get().entries > 0);
        let nameless = stream == Stream::Domains && certificate.subjects.names.is_empty();
        if shape == Shape::Rust && (known || nameless) {
            return None;
        }
        let sent = &held.sent[usize::from(message::hashless(shape, certificate, self.logs.get(log)))];
        let Sent { entries, first_line } = sent.get();
        let first = entries == 0;
        sent.set(Sent { entries: entries + 1, first_line: if first { self.line } else { first_line } });
        self.write_message(out, certificate, held.issuer, log, index);
        Some(match stream {
            Stream::Domains => Kind::NamesOnly { names: certificate.subjects.names.len() },
            Stream::Full | Stream::Lite => Kind::Entry { first },
        })
    }

    fn write_message(
        &mut self,
        out: &mut Vec<u8>,
        certificate: &Certificate,
        issuer: usize,
        log: LogNumber,
        index: u64,
    ) {
        let Options { shape, stream, .. } = self.options;
        if stream == Stream::Domains {
            return message::dns_entries(out, shape, certificate);
        }
        let submitted_ms = self.now_us / 1_000 - self.rng.between(500, 40_000) as i64;
        let sighting = Sighting { log: self.logs.get(log), index, seen_us: self.now_us, submitted_ms };
        message::certificate_update(out, (shape, stream), certificate, &sighting, &self.chains[issuer]);
    }

    /// A line made from an entry that is never sent.
    fn write_malformed(&mut self, out: &mut Vec<u8>) -> Malformed {
        let malformed = self.malformed[self.malformed_turn % self.malformed.len()];
        self.malformed_turn += 1;
        let (issuer, issuance) = self.draw_issuance();
        let certificate = issuance.precert(&mut self.rng);
        let log = self.logs.draw(&mut self.rng, issuance.not_after, 1, 0.0)[0];
        let index = self.logs.get_mut(log).take_index();
        let mut line = Vec::new();
        self.write_message(&mut line, &certificate, issuer, log, index);
        malformed.apply(&mut self.rng, &mut line);
        out.append(&mut line);
        malformed
    }

    /// One entry of `held` is done with.
    fn retire(&mut self, held: &Held) {
        held.entries_left.update(|left| left - 1);
        if held.entries_left.get() > 0 || self.options.stream == Stream::Domains {
            return;
        }
        let certificate = &held.certificate;
        for (sent, told) in held.sent.iter().zip([true, false]) {
            let Sent { entries, first_line } = sent.get();
            if entries > 0 {
                self.retired.push(CertificateTruth {
                    sha256: told.then_some(certificate.sha256),
                    log_entries: entries,
                    first_line,
                    precert: certificate.role == Role::Precert,
                    names: certificate.subjects.names.len(),
                });
            }
        }
    }

    fn retire_all(&mut self) {
        for planned in std::mem::take(&mut self.planned).into_values() {
            self.retire(&planned.held);
        }
    }
}
