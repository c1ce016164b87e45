//! Runs that end anywhere, and go on from what was kept.

use std::collections::BTreeMap;

use ct_source::logs::Position;
use serde_json::{Value, json};

use super::{Run, from_head, one, options};
use crate::test_log::{Kind, Server};

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn from_every_position() {
    for kind in [Kind::Rfc6962, Kind::Static, Kind::Hybrid] {
        let server = one(kind, 1_200, 700);
        let log = server.log(0);
        let mut run = Run::start(options(&server));
        run.until_proven(log, 700);
        for growth in [30, 170, 300] {
            let size = log.grow(growth);
            run.until_proven(log, size);
        }
        let id = run.positions.keys().next().unwrap().clone();
        let heard = &run.end()[log.origin()];
        assert!(heard.positions.len() >= 10);
        for kept in &heard.positions {
            // As it is written down and read again.
            let kept: Position = serde_json::from_str(&serde_json::to_string(kept).unwrap()).unwrap();
            let (next, proven) = (kept.next(), kept.proven());
            let mut run = Run::resume(from_head(&server), BTreeMap::from([(id.clone(), kept)]));
            if proven < 1_200 {
                run.until_proven(log, 1_200);
            } else {
                run.through_looks(log, 2);
            }
            let heard = &run.end()[log.origin()];
            let indexes: Vec<u64> = heard.entries.keys().copied().collect();
            assert_eq!(indexes, (next..1_200).collect::<Vec<_>>(), "{kind:?} from {next}");
            heard.check_coverage(log, proven, if proven < 1_200 { 1_200 } else { proven });
        }
    }
}

/// Whatever was kept before a run was dropped goes together with what the next ones read.
#[test]
fn dropped_at_random_moments() {
    for (kind, seed) in
        [(Kind::Rfc6962, 1), (Kind::Rfc6962, 2), (Kind::Static, 3), (Kind::Static, 4), (Kind::Hybrid, 5)]
    {
        let server = one(kind, 3_000, 500);
        let log = server.log(0);
        let mut random = Random(seed);
        let mut all = super::Heard::default();
        let mut positions = BTreeMap::new();
        while all.proven() < 3_000 {
            let mut run = Run::resume(options(&server), positions.clone());
            run.heard.insert(log.origin().to_owned(), all);
            for _ in 0..random.below(6) {
                log.grow(random.below(120));
                run.next_within(super::PATIENCE).expect("something happens");
            }
            positions = std::mem::take(&mut run.positions);
            all = run.heard.remove(log.origin()).unwrap();
            if random.below(4) == 0 {
                run.end();
            }
        }
        assert_eq!(all.rewinds, [0; 0], "{kind:?} {seed}");
        all.check(log, 0, 3_000);
    }
}

fn kept(server: &Server) -> (String, Value) {
    let mut run = Run::start(options(server));
    run.until_proven(server.log(0), 300);
    let id = run.positions.keys().next().unwrap().clone();
    let position = serde_json::to_value(&run.positions[&id]).unwrap();
    run.end();
    (id, position)
}

/// The index is what must not be lost; the rest the log can say again.
#[test]
fn a_broken_position_is_taken_up_at_its_index() {
    let server = one(Kind::Static, 700, 300);
    let log = server.log(0);
    let (id, position) = kept(&server);
    log.grow(400);
    for (pointer, broken) in [
        ("/next/hashes", json!([])),
        ("/next/hashes", json!(["", "", "", ""])),
        ("/proven/hashes/0", json!("not hex")),
        ("/head/root", json!("00")),
        ("/head", Value::Null),
    ] {
        let mut position = position.clone();
        *position.pointer_mut(pointer).unwrap() = broken;
        let position: Position = serde_json::from_value(position).unwrap();
        let mut run = Run::resume(from_head(&server), BTreeMap::from([(id.clone(), position)]));
        run.until_proven(log, 700);
        run.end()[log.origin()].check(log, 300, 700);
    }
}

/// Another edge than the one that was read: the next tree head shows it.
#[test]
fn a_false_edge_is_found_and_left() {
    let server = one(Kind::Rfc6962, 700, 300);
    let log = server.log(0);
    let (id, mut position) = kept(&server);
    position["next"] = json!({ "size": 300, "hashes": position["next"]["hashes"] });
    position["next"]["hashes"][1] = "00".repeat(32).into();
    let position: Position = serde_json::from_value(position).unwrap();
    log.grow(400);
    let mut run = Run::resume(options(&server), BTreeMap::from([(id, position)]));
    run.until_proven(log, 700);
    let heard = &run.end()[log.origin()];
    assert_eq!((heard.alarms.len(), &heard.rewinds[..]), (1, &[300][..]));
    heard.check(log, 300, 700);
}
