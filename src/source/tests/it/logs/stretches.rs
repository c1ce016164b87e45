//! Stretches of logs as segments of a replay.

use std::collections::BTreeMap;
use std::sync::Arc;

use ct_model::Coverage;
use ct_model::id::to_hex;
use ct_model::message::{Message, Reader};
use ct_source::logs::{AccessOptions, Logs};
use ct_source::{Chunk, Encoding, Segment, Sizes};
use serde_json::Value;

use super::{access, as_said, one, options};
use crate::test_log::{Call, ENTRIES, Fault, Kind, Log, LogOptions, Pool, Rule, Server};
use crate::{read_all_with, runtime};

/// What the chunks of segments say: leaves by log and index, how often, and what is covered.
#[derive(Default)]
pub(super) struct Text {
    pub(super) entries: BTreeMap<(String, u64), (String, Option<String>)>,
    pub(super) lines: u64,
    pub(super) coverage: Vec<Coverage>,
    pub(super) broken: Vec<String>,
}

impl Text {
    pub(super) fn of(chunks: &[Chunk]) -> Self {
        let mut text = Self::default();
        for chunk in chunks {
            text.broken.extend(chunk.broken.clone());
            for line in chunk.text.split_inclusive(|byte| *byte == b'\n') {
                text.add(line);
            }
        }
        text
    }

    fn add(&mut self, line: &[u8]) {
        let said: Value = serde_json::from_slice(line).unwrap();
        if said["message_type"] == "log_coverage" {
            let Ok(Message::Coverage(row)) = Reader::default().read(line.trim_ascii_end()) else { panic!("{said}") };
            self.coverage.push(row);
            return;
        }
        let data = &said["data"];
        let text = |field: &str| data[field].as_str().map(str::to_owned);
        let place = (text("log").unwrap(), data["index"].as_u64().unwrap());
        self.entries.insert(place, (text("leaf_input").unwrap(), text("precertificate")));
        self.lines += 1;
    }

    /// The entries of a log are these, each once, as the log holds them.
    #[track_caller]
    pub(super) fn check(&self, log: &Log, wanted: impl Iterator<Item = u64>) {
        let wanted: Vec<u64> = wanted.collect();
        let entries = self.entries.iter().filter(|((name, _), _)| name == log.origin());
        let said: Vec<u64> = entries.clone().map(|((_, index), _)| *index).collect();
        assert_eq!(said, wanted);
        assert_eq!(self.lines, self.entries.len() as u64, "an entry comes twice");
        for ((_, index), entry) in entries {
            assert_eq!(*entry, as_said(&log.entry(*index)), "entry {index}");
        }
        for row in self.coverage.iter().filter(|row| row.verified && &*row.log == log.origin()) {
            assert_eq!(to_hex(&row.root), to_hex(&log.root(row.tree_size)));
        }
    }

    /// First, last, and whether it is proven.
    pub(super) fn covered(&self) -> Vec<(u64, u64, bool)> {
        self.coverage.iter().map(|row| (row.first, row.last, row.verified)).collect()
    }
}

/// The segments of these stretches of each log, each end behind the last.
fn segments(server: &Server, wanted: &[(u64, u64)]) -> Vec<Segment> {
    let logs = Logs::new(options(server)).unwrap();
    let found = runtime().block_on(logs.stretches(&|_, _| wanted.to_vec())).unwrap();
    assert_eq!(found.failed, []);
    found.segments
}

fn read(segments: &[Segment], access: &AccessOptions) -> Text {
    Text::of(&read_all_with(&runtime(), segments, (1, 1), (0, 0), Sizes::default(), Some(access)))
}

#[test]
fn each_entry_once_whoever_reads() {
    let pool = Arc::new(Pool::synthetic(1, 1_500));
    let kinds = [Kind::Rfc6962, Kind::Static, Kind::Hybrid, Kind::HybridNoCheckpoint];
    let logs = kinds.iter().map(|kind| LogOptions::new(kind.name(), *kind, &pool).start(1_400));
    let server = Server::start(logs.collect());
    let stretches = [(0, 1), (1, 300), (512, 768), (1_000, 9_999)];
    let segments = segments(&server, &stretches);
    assert_eq!(segments.len(), 16);
    assert!(segments.iter().all(|segment| segment.encoding == Encoding::Remote));
    // The log grows; the stretches are those of the head that was seen.
    for log in server.logs() {
        log.grow(100);
    }
    let sizes = Sizes::new(64 << 10, 16 << 20);
    let mut before = None;
    for (processes, workers) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)] {
        let runtime = runtime();
        let access = access();
        let chunks = read_all_with(&runtime, &segments, (processes, workers), (0, 0), sizes, Some(&access));
        let text = Text::of(&chunks);
        assert_eq!(text.broken, [""; 0]);
        for log in server.logs() {
            text.check(log, (0..300).chain(512..768).chain(1_000..1_400));
        }
        let each = [(0, 0, true), (1, 299, true), (512, 767, true), (1_000, 1_399, true)];
        assert_eq!(text.covered(), each.repeat(4));
        let places: Vec<_> = chunks.into_iter().map(|chunk| (chunk.segment, chunk.chunk, chunk.text)).collect();
        assert!(before.is_none_or(|before| before == places), "positions mean the same for {processes}, {workers}");
        before = Some(places);
    }
}

#[test]
fn what_was_read_is_not_read_again() {
    let server = one(Kind::Static, 1_000, 1_000);
    let segments = segments(&server, &[(0, 500), (500, 1_000)]);
    let sizes = Sizes::new(64 << 10, 16 << 20);
    let (runtime, access) = (runtime(), access());
    let all = read_all_with(&runtime, &segments, (1, 1), (0, 0), sizes, Some(&access));
    for from in [(0, 3), (1, 0), (1, 4)] {
        let rest = read_all_with(&runtime, &segments, (1, 1), from, sizes, Some(&access));
        let texts = |chunks: &[Chunk]| -> Vec<_> {
            let after = chunks.iter().filter(|chunk| (chunk.segment, chunk.chunk) >= from);
            after.map(|chunk| (chunk.segment, chunk.chunk, chunk.text.clone())).collect()
        };
        assert_eq!(texts(&rest), texts(&all), "{from:?}");
        assert!(rest.iter().all(|chunk| (chunk.segment, chunk.chunk) >= from));
    }
}

/// A long stretch comes in segments that begin at multiples of their length.
#[test]
fn a_long_stretch_is_cut() {
    let server = one(Kind::Static, 70_000, 70_000);
    let segments = segments(&server, &[(65_000, 66_000)]);
    let ends: Vec<_> = segments.iter().map(|segment| segment.name.rsplit('#').next().unwrap()).collect();
    assert_eq!(ends, ["65000-65535", "65536-65999"]);
    let text = read(&segments, &access());
    text.check(server.log(0), 65_000..66_000);
    assert_eq!(text.covered(), [(65_000, 65_535, true), (65_536, 65_999, true)]);
}

#[test]
fn nothing_is_wanted() {
    let server = one(Kind::Static, 300, 300);
    assert_eq!(segments(&server, &[]), []);
    assert_eq!(segments(&server, &[(5, 5), (400, 500), (9, 3)]), []);
}

#[test]
fn a_false_entry_breaks_its_segment() {
    for kind in [Kind::Rfc6962, Kind::Static] {
        for at in [0, 300, 499] {
            let server = one(kind, 1_000, 1_000);
            let segments = segments(&server, &[(0, 500), (500, 1_000)]);
            server.log(0).fail(Rule::from(Fault::OtherEntry(at)).on(&ENTRIES));
            let text = read(&segments, &access());
            assert_eq!(text.broken.len(), 1, "{:?}", text.broken);
            assert_eq!(text.covered(), [(500, 999, true)], "{kind:?} {at}");
        }
    }
}

#[test]
fn false_hashes_prove_nothing() {
    for (kind, call) in
        [(Kind::Rfc6962, Call::GetProofByHash), (Kind::Static, Call::HashTile), (Kind::Static, Call::HashTilePartial)]
    {
        let server = one(kind, 1_000, 1_000);
        let segments = segments(&server, &[(100, 500)]);
        server.log(0).fail(Rule::from(Fault::Noise).on(&[call]));
        let text = read(&segments, &access());
        assert_eq!((text.broken.len(), text.covered()), (1, vec![]), "{call:?}");
    }
}

#[test]
fn a_log_that_cannot_be_read_breaks_its_segment_only() {
    let pool = Arc::new(Pool::synthetic(1, 600));
    let logs = ["a", "b"].map(|name| LogOptions::new(name, Kind::Rfc6962, &pool));
    let server = Server::start(logs.into());
    let segments = segments(&server, &[(0, 600)]);
    server.log(0).fail(Rule::from(Fault::Status(500, crate::test_log::RetryAfter::Absent)).on(&ENTRIES).skip(1));
    let mut access = access();
    access.client.attempts_max = 2;
    let text = read(&segments, &access);
    assert_eq!(text.broken.len(), 1);
    assert!(text.broken[0].contains("status 500"), "{:?}", text.broken);
    text.check(server.log(1), 0..600);
    assert_eq!(text.covered(), [(0, 599, true)]);
}

#[test]
fn a_log_that_gives_no_head_does_not_stop_the_others() {
    let pool = Arc::new(Pool::synthetic(1, 300));
    let logs = ["a", "b", "c"].map(|name| LogOptions::new(name, Kind::Hybrid, &pool));
    let server = Server::start(logs.into());
    server.log(1).fail(Fault::BadSignature);
    let found = |wanted: &dyn Fn(&str) -> bool| {
        let logs = Logs::new(options(&server)).unwrap();
        let wanted = |name: &str, size: u64| if wanted(name) { vec![(0, size)] } else { vec![] };
        runtime().block_on(logs.stretches(&wanted)).unwrap()
    };
    let all = found(&|_| true);
    let [(failed, why)] = &all.failed[..] else { panic!("{all:?}") };
    assert!(failed == server.log(1).origin() && why.contains("not the key's signature"), "{failed}: {why}");
    let text = read(&all.segments, &access());
    text.check(server.log(0), 0..300);
    text.check(server.log(2), 0..300);
    // Nobody minds a log of which nothing is wanted.
    let some = found(&|name| name != server.log(1).origin());
    assert_eq!((some.segments.len(), some.failed), (2, vec![]));
}
