//! Answers that are none: whatever a log sends, reading goes on when it comes to its senses, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use super::{Run, access, one, options};
use crate::test_log::{Call, ENTRIES, Fault, HEADS, Kind, LogOptions, Pool, Redirect, RetryAfter, Rule, Server};

/// A log with a fault until it is healed, and what is said of it; nothing, where asking again is enough.
struct Case {
    kind: Kind,
    rule: Rule,
    told: Option<&'static str>,
}

fn case(kind: Kind, rule: impl Into<Rule>, told: impl Into<Option<&'static str>>) -> Case {
    Case { kind, rule: rule.into(), told: told.into() }
}

fn on_entries(fault: Fault) -> Rule {
    Rule::from(fault).on(&ENTRIES)
}

/// All cases side by side, each a log of one server.
#[track_caller]
fn check(cases: &[Case]) {
    let pool = Arc::new(Pool::synthetic(1, 700));
    let logs = cases.iter().enumerate();
    let logs = logs.map(|(at, case)| LogOptions::new(&format!("log{at}"), case.kind, &pool).start(600));
    let server = Server::start(logs.collect());
    for (log, case) in server.logs().iter().zip(cases) {
        log.fail(case.rule.clone());
    }
    let mut options = options(&server);
    options.access.client.timeout = Duration::from_millis(1_500);
    options.access.requests_max = 16;
    let mut run = Run::start(options);
    for log in server.logs() {
        run.until_proven(log, 600);
        log.grow(100);
    }
    for (log, case) in server.logs().iter().zip(cases) {
        run.until_proven(log, 700);
        let heard = run.of(log);
        heard.check(log, 0, 700);
        assert!(heard.alarms.is_empty(), "{:?}: {:?}", case.rule.fault, heard.alarms);
        match case.told {
            None => assert!(heard.failed.is_empty(), "{:?}: {:?}", case.rule.fault, heard.failed),
            Some(told) => {
                let said = heard.failed.iter().any(|why| why.contains(told));
                assert!(said, "{:?}: {:?}", case.rule.fault, heard.failed);
            }
        }
    }
    run.end();
}

#[test]
fn failures_that_pass_are_asked_again() {
    let mut cases = Vec::new();
    for kind in [Kind::Rfc6962, Kind::Static] {
        for fault in [
            Fault::Status(503, RetryAfter::Absent),
            Fault::Status(500, RetryAfter::Absent),
            Fault::Status(408, RetryAfter::Absent),
            Fault::Reset(0),
            Fault::Reset(1_000),
            Fault::Cut(1_000),
            Fault::Hang,
            Fault::Drip(100),
        ] {
            cases.push(case(kind, on_entries(fault).times(2), None));
            cases.push(case(kind, Rule::from(fault).on(&HEADS).times(1), None));
        }
    }
    check(&cases);
}

#[test]
fn slow_and_odd_answers_are_answers() {
    check(&[
        case(Kind::Static, on_entries(Fault::Drip(500_000)), None),
        case(Kind::Rfc6962, Fault::Delay(20), None),
        case(Kind::Rfc6962, Fault::ShortPage(7), None),
        case(Kind::Rfc6962, Fault::WrongContentType, None),
        case(Kind::Static, Fault::WrongContentType, None),
        case(Kind::Static, Fault::Redirect(Redirect::SameHost), None),
        case(Kind::Rfc6962, Fault::Redirect(Redirect::SameHost), None),
        case(Kind::Static, Fault::Witnesses(16), None),
        case(Kind::Static, Fault::Witnesses(200), None),
        case(Kind::Static, Fault::Future(3_600_000), None),
    ]);
}

#[test]
fn what_is_no_answer_is_told() {
    let mut cases = vec![
        case(Kind::Rfc6962, Rule::from(Fault::EmptyPage).times(1), "no entries"),
        case(Kind::Static, Rule::from(Fault::WrongOrigin).times(1), "origin"),
        case(Kind::Static, Rule::from(Fault::WrongKeyId).times(1), "no signature by the log's key"),
        case(Kind::Static, on_entries(Fault::Status(403, RetryAfter::Absent)).times(1), "status 403"),
        case(Kind::Static, on_entries(Fault::Status(404, RetryAfter::Absent)).times(1), "does not exist"),
    ];
    for kind in [Kind::Rfc6962, Kind::Static] {
        for calls in [&ENTRIES[..], &HEADS] {
            cases.extend([
                case(kind, Rule::from(Fault::Html).on(calls).times(1), ""),
                case(kind, Rule::from(Fault::Noise).on(calls).times(1), ""),
                case(kind, Rule::from(Fault::GzipBomb(100 << 20)).on(calls).times(1), "more than"),
                case(kind, Rule::from(Fault::Endless).on(calls).times(1), "more than"),
                case(kind, Rule::from(Fault::Redirect(Redirect::OtherHost)).on(calls).times(1), "another host"),
                // As many as requests at once can share out among them without one that has too many.
                case(kind, Rule::from(Fault::Redirect(Redirect::Loop)).on(calls).times(16), "too many redirects"),
            ]);
        }
    }
    check(&cases);
}

#[test]
fn no_request_follows_to_another_host() {
    let server = one(Kind::Static, 300, 300);
    let log = server.log(0);
    log.fail(Fault::Redirect(Redirect::OtherHost));
    let mut run = Run::start(options(&server));
    run.until(log, "a word", |heard| !heard.failed.is_empty());
    run.end();
    assert_eq!(log.ledger.record().redirected, 0);
    log.heal();
    log.fail(Fault::Redirect(Redirect::SameHost));
    let mut run = Run::start(options(&server));
    run.until_proven(log, 300);
    assert!(log.ledger.record().redirected >= 3);
}

/// A request that is given up does not stop the log for good.
#[test]
fn a_log_that_hangs_is_given_up_and_tried_again() {
    let server = one(Kind::Rfc6962, 300, 300);
    let log = server.log(0);
    log.fail(Rule::from(Fault::Hang).on(&[Call::GetSth]));
    let mut options = options(&server);
    options.access.client.timeout = Duration::from_millis(100);
    options.access.client.attempts_max = 2;
    let mut run = Run::start(options);
    run.until(log, "a word", |heard| heard.failed.iter().any(|why| why.contains("timed out")));
    assert_eq!(log.ledger.record().count(Call::GetSth), 2);
    log.heal();
    run.until_proven(log, 300);
    run.end()[log.origin()].check(log, 0, 300);
}

#[test]
fn the_trouble_of_one_log_is_not_that_of_another() {
    let pool = Arc::new(Pool::synthetic(1, 5_000));
    let logs = ["sick", "well"].map(|name| LogOptions::new(name, Kind::Rfc6962, &pool));
    let server = Server::start(logs.into());
    let (sick, well) = (server.log(0), server.log(1));
    sick.fail(on_entries(Fault::Hang));
    let mut options = options(&server);
    // Another host is another operator.
    options.singles[0].url = sick.url().replace("127.0.0.1", "localhost");
    // More than there is room for.
    options.follow.pages_ahead = 100;
    options.access = ct_source::logs::AccessOptions { requests_max: 100, ..access() };
    let mut run = Run::start(options);
    sick.ledger.wait("a page of the sick log", |record| record.count(Call::GetEntries) >= 2);
    run.until_proven(well, 5_000);
    run.end()[well.origin()].check(well, 0, 5_000);
}
