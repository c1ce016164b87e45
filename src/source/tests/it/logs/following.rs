//! Every kind of log, from the beginning and from the newest entry, while it grows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Run, from_head, one, options};
use crate::test_log::{Call, Fault, Key, Kind, LogOptions, Page, Pool, Rule, Server};

const KINDS: [Kind; 4] = [Kind::Rfc6962, Kind::Static, Kind::Hybrid, Kind::HybridNoCheckpoint];

#[test]
fn from_the_beginning() {
    for kind in KINDS {
        for start in [0, 1, 256, 600] {
            let server = one(kind, 1_100, start);
            let log = server.log(0);
            let mut run = Run::start(options(&server));
            run.until(log, "a head", |heard| !heard.heads.is_empty());
            for growth in [1, 211, 256] {
                let size = log.grow(growth);
                run.until_proven(log, size);
            }
            run.end()[log.origin()].check(log, 0, start + 468);
        }
    }
}

#[test]
fn from_the_head() {
    for kind in KINDS {
        for start in [0, 1, 256, 300, 512] {
            let server = one(kind, 1_100, start);
            let log = server.log(0);
            let mut run = Run::start(from_head(&server));
            run.until(log, "a head", |heard| !heard.heads.is_empty());
            for growth in [1, 211, 256] {
                let size = log.grow(growth);
                run.until_proven(log, size);
            }
            run.end()[log.origin()].check(log, start, start + 468);
        }
    }
}

/// Some logs are listed as static ones, and have neither checkpoint nor partial tiles nor hash tiles.
#[test]
fn full_data_tiles_and_the_api_for_the_rest() {
    let server = one(Kind::HybridNoCheckpoint, 1_100, 600);
    let log = server.log(0);
    for from_beginning in [true, false] {
        let mut options = options(&server);
        options.singles[0].submission_url = Some(log.url().to_owned());
        options.follow.from_beginning = from_beginning;
        let begun = log.size();
        let mut run = Run::start(options);
        run.until(log, "a head", |heard| !heard.heads.is_empty());
        let size = log.grow(150);
        run.until_proven(log, size);
        run.end()[log.origin()].check(log, if from_beginning { 0 } else { begun }, size);
    }
    assert!(log.ledger.record().count(Call::DataTile) >= 2);
}

#[test]
fn a_log_that_was_held_goes_on_from_there() {
    for kind in [Kind::Rfc6962, Kind::Static] {
        let server = one(kind, 1_000, 700);
        let log = server.log(0);
        let mut options = from_head(&server);
        options.follow.held.insert(log.origin().to_owned(), 333);
        let mut run = Run::start(options);
        run.until_proven(log, 700);
        run.end()[log.origin()].check(log, 333, 700);
    }
}

#[test]
fn pages_of_any_cut() {
    let pool = Arc::new(Pool::synthetic(1, 700));
    let pages = [Page::Aligned(32), Page::Aligned(256), Page::UpTo(100), Page::UpTo(1_000)];
    let logs = pages.iter().enumerate();
    let logs = logs.map(|(at, page)| LogOptions::new(&format!("log{at}"), Kind::Rfc6962, &pool).page(*page).start(650));
    let server = Server::start(logs.collect());
    let mut run = Run::start(options(&server));
    for log in server.logs() {
        run.until_proven(log, 650);
        log.grow(50);
    }
    for log in server.logs() {
        run.until_proven(log, 700);
        run.of(log).check(log, 0, 700);
    }
}

/// Operators limit clients that ask for each partial tile.
#[test]
fn a_tile_is_asked_for_when_it_is_full() {
    let server = one(Kind::Static, 1_000, 500);
    let log = server.log(0);
    let mut options = options(&server);
    options.follow.partial_tile = Duration::from_secs(3_600);
    let mut run = Run::start(options);
    run.until(log, "the full tile", |heard| heard.next == Some(256));
    for size in [511, 512] {
        log.grow(size - log.size());
        run.through_looks(log, 5);
    }
    run.until_proven(log, 512);
    log.grow(20);
    run.through_looks(log, 5);
    assert_eq!(run.of(log).next, Some(512));
    run.end()[log.origin()].check(log, 0, 512);
    let record = log.ledger.record();
    assert_eq!((record.count(Call::DataTilePartial), record.count(Call::HashTilePartial)), (0, 0));
    assert_eq!(record.count(Call::DataTile), 2);
}

#[test]
fn a_partial_tile_is_asked_for_when_its_time_has_come() {
    let server = one(Kind::Static, 1_000, 300);
    let log = server.log(0);
    let wait = Duration::from_millis(400);
    let mut options = options(&server);
    options.follow.partial_tile = wait;
    let begun = Instant::now();
    let mut run = Run::start(options);
    run.until_proven(log, 300);
    let record = log.ledger.record();
    let partial: Vec<_> = record.asked.iter().filter(|asked| asked.call == Call::DataTilePartial).collect();
    assert_eq!(partial.len(), 1, "{partial:?}");
    assert!(partial[0].at - begun >= wait);
    assert!(record.count(Call::Checkpoint) > 5);
}

/// A head of before the tile filled: its partial tile may be gone by now.
#[test]
fn the_full_tile_stands_in_for_a_partial_one() {
    let server = one(Kind::Static, 1_000, 600);
    let log = server.log(0);
    log.grow(200);
    log.fail(Fault::StaleHead);
    log.fail(Rule::from(Fault::NoOldPartials));
    for first in [0, 580] {
        let mut options = options(&server);
        // Of a later beginning the hash tiles are asked for under the older head, too.
        options.follow.held.insert(log.origin().to_owned(), first);
        let mut run = Run::start(options);
        run.until_proven(log, 600);
        run.end()[log.origin()].check(log, first, 600);
    }
    assert!(log.ledger.record().status(404) >= 2);
}

#[test]
fn several_logs_at_once() {
    let pool = Arc::new(Pool::synthetic(1, 900));
    let logs = KINDS.iter().cycle().take(12).enumerate();
    let logs = logs.map(|(at, kind)| LogOptions::new(&format!("log{at}"), *kind, &pool).start(700));
    let server = Server::start(logs.collect());
    let mut run = Run::start(options(&server));
    for log in server.logs() {
        log.grow(200);
    }
    for log in server.logs() {
        run.until_proven(log, 900);
        run.of(log).check(log, 0, 900);
    }
    run.end();
}

/// RFC 6962 section 2.1.4 allows RSA keys as well.
#[test]
fn a_log_with_an_rsa_key() {
    let pool = Arc::new(Pool::synthetic(1, 700));
    for kind in KINDS {
        let server = Server::start(vec![LogOptions::new("log", kind, &pool).start(500).key(Key::rsa())]);
        let log = server.log(0);
        let mut run = Run::start(options(&server));
        run.until_proven(log, 500);
        log.grow(200);
        run.until_proven(log, 700);
        let heard = &run.end()[log.origin()];
        heard.check(log, 0, 700);
        assert_eq!(heard.kinds(), []);
    }
}
