//! What logs may ask of their readers: to be known, to be patient, to be few. And what readers owe themselves: memory.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ct_source::logs::Position;

use super::{CONTACT, PATIENCE, Run, one, options};
use crate::test_log::{Call, ENTRIES, Fault, HEADS, Kind, LogOptions, Pool, RetryAfter, Rule, Server};

/// Requests to a log that refuses the third page: none comes before its time.
#[track_caller]
fn check_refusal(status: u16, after: RetryAfter, want: Duration) {
    let server = one(Kind::Rfc6962, 2_000, 2_000);
    let log = server.log(0);
    log.fail(Rule::from(Fault::Status(status, after)).on(&[Call::GetEntries]).skip(2).times(1));
    let mut options = options(&server);
    options.access.requests_max = 1;
    let mut run = Run::start(options);
    run.until_proven(log, 2_000);
    let heard = &run.end()[log.origin()];
    heard.check(log, 0, 2_000);
    assert!(heard.failed.is_empty(), "{:?}", heard.failed);
    let record = log.ledger.record();
    let pages: Vec<_> = record.asked.iter().filter(|asked| asked.call == Call::GetEntries).collect();
    let (refused, next) = (pages[2], pages[3]);
    let waited = next.at - refused.at;
    assert!(waited >= want && waited < want + Duration::from_secs(3), "{after:?}: {waited:?}");
    let same = pages.iter().filter(|asked| asked.path == refused.path);
    assert_eq!((same.count(), record.status(status), record.at_once_max), (2, 1, 1), "{after:?}");
}

#[test]
fn refusals_are_heard() {
    let s = Duration::from_secs(1);
    thread::scope(|scope| {
        for (status, after, want) in [
            (429, RetryAfter::Seconds(2), 2 * s),
            // Dates have whole seconds.
            (429, RetryAfter::Date(3), 2 * s),
            // Not again at once, whatever is said.
            (429, RetryAfter::Seconds(0), s),
            (503, RetryAfter::Seconds(1), s),
            (503, RetryAfter::Date(0), s),
            (429, RetryAfter::Absent, 5 * s),
            (429, RetryAfter::Word, 5 * s),
        ] {
            scope.spawn(move || check_refusal(status, after, want));
        }
    });
}

#[test]
fn a_limit_of_requests_is_met() {
    let server = one(Kind::Rfc6962, 8_000, 8_000);
    let log = server.log(0);
    log.fail(Fault::RateLimit(20, RetryAfter::Seconds(1)));
    let mut run = Run::start(options(&server));
    run.until_proven(log, 8_000);
    run.end()[log.origin()].check(log, 0, 8_000);
    let record = log.ledger.record();
    // Each refusal meets those at most that are under way.
    assert!(record.status(429) <= 4 * 4, "{:?}", record.statuses);
}

#[test]
fn logs_of_one_operator_share_a_budget() {
    let pool = Arc::new(Pool::synthetic(1, 6_000));
    let logs = ["a", "b", "c"].map(|name| LogOptions::new(name, Kind::Rfc6962, &pool));
    let server = Server::start(logs.into());
    server.logs().iter().for_each(|log| log.fail(Rule::from(Fault::Delay(10)).on(&ENTRIES)));
    let mut options = options(&server);
    options.access.requests_max = 3;
    options.follow.pages_ahead = 16;
    let mut run = Run::start(options);
    server.logs().iter().for_each(|log| run.until_proven(log, 6_000));
    assert_eq!(server.ledger().record().at_once_max, 3);
    run.end();
}

#[test]
fn whoever_asks_says_who_it_is() {
    let server = one(Kind::Static, 300, 300);
    let mut run = Run::start(options(&server));
    run.until_proven(server.log(0), 300);
    let agents = server.log(0).ledger.record().user_agents;
    assert_eq!(agents.len(), 1);
    let agent = agents.first().unwrap();
    assert!(agent.starts_with("ct-stream/") && agent.contains(CONTACT), "{agent}");
}

/// Pages wait for whoever takes them, and logs are asked for no more.
#[test]
fn a_slow_receiver_slows_the_reading() {
    let server = one(Kind::Rfc6962, 20_000, 20_000);
    let log = server.log(0);
    let mut options = options(&server);
    options.follow.pages_ahead = 4;
    let mut run = Run::start(options);
    // Asked for ahead, waiting with the follower and on its way here, and one in each hand between them.
    const AHEAD: u64 = 4 + 2 + 1 + 3;
    let mut pages = 0;
    while pages < 78 {
        let before = run.heard.get(log.origin()).map_or(0, |heard| heard.positions.len());
        run.next_within(PATIENCE).expect("there is more");
        pages += (run.of(log).positions.len() - before) as u64;
        assert!(log.ledger.record().count(Call::GetEntries) <= pages + AHEAD);
    }
    run.until_proven(log, 20_000);
    run.end()[log.origin()].check(log, 0, 20_000);
}

/// Whoever takes pages and keeps them gets no more than there is room for.
#[test]
fn pages_that_are_kept_keep_their_room() {
    let pool = Arc::new(Pool::synthetic(1, 40_000));
    let logs = ["a", "b"].map(|name| LogOptions::new(name, Kind::Rfc6962, &pool));
    let server = Server::start(logs.into());
    let mut run = Run::start(options(&server));
    let mut rooms = Vec::new();
    while let Some(room) = run.next_within(Duration::from_millis(500)) {
        rooms.extend(room);
    }
    // The common ones, and one of each log.
    assert_eq!(rooms.len(), 64 + 2);
    rooms.clear();
    server.logs().iter().for_each(|log| run.until_proven(log, 40_000));
    server.logs().iter().for_each(|log| run.of(log).check(log, 0, 40_000));
    run.end();
}

#[test]
fn it_ends_when_it_is_told_to_whatever_it_waits_for() {
    for fault in [Fault::Hang, Fault::Status(429, RetryAfter::Seconds(300)), Fault::Status(500, RetryAfter::Absent)] {
        for calls in [&HEADS[..], &ENTRIES] {
            let server = one(Kind::Static, 2_000, 2_000);
            let log = server.log(0);
            log.fail(Rule::from(fault).on(calls));
            let run = Run::start(options(&server));
            log.ledger.wait("the fault", |record| calls.iter().any(|call| record.count(*call) > 0));
            let begun = Instant::now();
            run.end();
            assert!(begun.elapsed() < Duration::from_secs(5), "{fault:?}");
        }
    }
}

/// Nobody listens any more: the logs are left alone.
#[test]
fn it_ends_when_nobody_listens() {
    let server = one(Kind::Rfc6962, 2_000, 2_000);
    let log = server.log(0);
    let mut run = Run::start(options(&server));
    run.until(log, "entries", |heard| heard.positions.last().map_or(0, Position::next) > 0);
    let Run { runtime, said, task, stop: _stop, .. } = run;
    drop(said);
    runtime.block_on(async { tokio::time::timeout(PATIENCE, task).await }).expect("it ends").unwrap();
}
