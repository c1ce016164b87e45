//! Logs that contradict what they signed: what is told, and that nothing of it ever counts as proven.

use std::thread;
use std::time::Duration;

use ct_source::logs::AlarmKind;

use super::{Run, as_said, from_head, one, options};
use crate::test_log::{ENTRIES, Fault, HEADS, Kind, PARTIALS, Rule};

const KINDS: [Kind; 3] = [Kind::Rfc6962, Kind::Static, Kind::Hybrid];

/// A log of which 300 entries are proven then has a fault, and says no more than `kind` about it, until it is healed.
#[track_caller]
fn check_head(kind: Kind, faults: &[Fault], growth: u64, want: Option<AlarmKind>) {
    let server = one(kind, 900, 200);
    let log = server.log(0);
    log.grow(100);
    let mut run = Run::start(options(&server));
    run.until_proven(log, 300);
    for fault in faults {
        log.fail(Rule::from(*fault).on(&HEADS));
    }
    log.grow(growth);
    if let Some(want) = want {
        run.until(log, "an alarm", |heard| heard.kinds() == [want]);
        let alarm = &run.of(log).alarms[0];
        assert_eq!((&*alarm.log, alarm.held.as_ref().map(|head| head.size)), (log.origin(), Some(300)));
    }
    run.through_looks(log, 5);
    // Nothing is made of it.
    assert_eq!((run.of(log).proven(), run.of(log).next), (300, Some(300)), "{faults:?}");
    log.heal();
    let size = log.grow(300);
    run.until_proven(log, size);
    let heard = &run.end()[log.origin()];
    heard.check(log, 0, size);
    assert_eq!((heard.kinds(), &heard.rewinds[..]), (want.into_iter().collect(), &[][..]), "{faults:?}");
}

#[test]
fn an_older_head_of_a_replica_is_no_alarm() {
    KINDS.into_iter().for_each(|kind| check_head(kind, &[Fault::StaleHead], 0, None));
}

#[test]
fn a_smaller_tree_signed_later() {
    KINDS.into_iter().for_each(|kind| check_head(kind, &[Fault::Rollback(50)], 0, Some(AlarmKind::Rollback)));
    check_head(Kind::Static, &[Fault::Rollback(0)], 0, Some(AlarmKind::Rollback));
}

#[test]
fn two_roots_for_one_size() {
    KINDS.into_iter().for_each(|kind| check_head(kind, &[Fault::Fork(7)], 0, Some(AlarmKind::Fork)));
}

#[test]
fn heads_that_the_log_did_not_sign() {
    for kind in KINDS {
        check_head(kind, &[Fault::BadSignature], 200, Some(AlarmKind::Signature));
        check_head(kind, &[Fault::OtherKey], 200, Some(AlarmKind::Signature));
    }
}

#[test]
fn heads_of_a_time_to_come() {
    let days = |days: u64| Fault::Future(days * 86_400_000);
    KINDS.into_iter().for_each(|kind| check_head(kind, &[days(2)], 200, Some(AlarmKind::Future)));
    check_head(Kind::Rfc6962, &[Fault::Future(u64::MAX / 2)], 200, Some(AlarmKind::Future));
}

#[test]
fn a_larger_head_of_another_history() {
    thread::scope(|scope| KINDS.map(|kind| scope.spawn(move || check_history(kind))).map(drop));
}

/// A larger tree that is not the smaller one continued: told with both heads, and read again from what is proven.
#[track_caller]
fn check_history(kind: Kind) {
    let server = one(kind, 1_000, 300);
    let log = server.log(0);
    let mut run = Run::start(options(&server));
    run.until_proven(log, 300);
    log.fail(Fault::Fork(7));
    log.grow(400);
    run.until(log, "an alarm", |heard| heard.kinds() == [AlarmKind::Root]);
    let alarm = &run.of(log).alarms[0];
    let sizes = [&alarm.held, &alarm.seen].map(|head| head.as_ref().map(|head| head.size));
    assert_eq!(sizes, [Some(300), Some(700)]);
    run.until(log, "another try", |heard| heard.rewinds == [300]);
    assert_eq!(run.of(log).proven(), 300);
    run.of(log).check_coverage(log, 0, 300);
    log.heal();
    run.until_proven(log, 700);
    run.end()[log.origin()].check(log, 0, 700);
}

/// An entry is false among those up to 700, of which `start` are proven before.
#[track_caller]
fn check_entry(kind: Kind, start: u64, at: u64) {
    let server = one(kind, 1_000, start);
    let log = server.log(0);
    let mut run = Run::start(options(&server));
    run.until(log, "a head", |heard| !heard.heads.is_empty());
    if start > 0 {
        run.until_proven(log, start);
    }
    log.fail(Rule::from(Fault::OtherEntry(at)).on(&ENTRIES));
    log.grow(700 - start);
    run.until(log, "an alarm", |heard| heard.kinds() == [AlarmKind::Root]);
    let heard = run.of(log);
    assert_eq!(heard.entries[&at], as_said(&log.forged_entry(at)));
    assert_eq!(heard.proven(), start);
    heard.check_coverage(log, 0, start);
    run.until(log, "another try", |heard| heard.rewinds == [start]);
    log.heal();
    run.until_proven(log, 700);
    let heard = &run.end()[log.origin()];
    heard.check(log, 0, 700);
    assert!(!heard.failed.is_empty() && heard.alarms.len() == 1);
}

#[test]
fn an_entry_that_the_log_did_not_sign() {
    thread::scope(|scope| {
        for kind in KINDS {
            for (start, at) in [(0, 70), (300, 300), (300, 699)] {
                scope.spawn(move || check_entry(kind, start, at));
            }
        }
    });
}

/// A long way is proven in parts: a false entry costs no more than its part.
#[test]
fn a_false_entry_on_a_long_way() {
    for kind in [Kind::Rfc6962, Kind::Static] {
        let server = one(kind, 70_000, 70_000);
        let log = server.log(0);
        log.fail(Rule::from(Fault::OtherEntry(69_000)).on(&ENTRIES));
        let mut run = Run::start(options(&server));
        run.until(log, "another try", |heard| !heard.rewinds.is_empty());
        let heard = run.of(log);
        assert_eq!((heard.kinds(), &heard.rewinds[..]), (vec![AlarmKind::Root], &[65_536][..]));
        heard.check_coverage(log, 0, 65_536);
        log.heal();
        run.until_proven(log, 70_000);
        run.end()[log.origin()].check(log, 0, 70_000);
    }
}

/// Where reading begins is proven, too: it would never fit a root otherwise.
#[test]
fn false_hashes_where_reading_begins() {
    for kind in [Kind::Static, Kind::Hybrid] {
        let server = one(kind, 1_000, 600);
        let log = server.log(0);
        let hashes = [crate::test_log::Call::HashTile, crate::test_log::Call::HashTilePartial];
        log.fail(Rule::from(Fault::Noise).on(&hashes));
        let mut options = from_head(&server);
        options.follow.held.insert(log.origin().to_owned(), 400);
        let mut run = Run::start(options);
        run.until(log, "a word", |heard| heard.failed.iter().any(|why| why.contains("another root")));
        assert!(run.of(log).entries.is_empty());
        log.heal();
        run.until_proven(log, 600);
        run.end()[log.origin()].check(log, 400, 600);
    }
}

/// A fork is a whole log in itself: whoever sees no other is none the wiser, and the proof is of what was seen.
#[test]
fn a_fork_from_the_first_look_on_shows_when_it_ends() {
    let server = one(Kind::Rfc6962, 1_000, 600);
    let log = server.log(0);
    log.fail(Fault::Fork(7));
    let mut run = Run::start(options(&server));
    run.until_proven(log, 600);
    assert_eq!(run.of(log).entries[&7], as_said(&log.forged_entry(7)));
    log.heal();
    run.until(log, "an alarm", |heard| heard.kinds() == [AlarmKind::Fork]);
    run.end();
}

#[test]
fn a_tile_that_never_comes_stops_before_it() {
    let server = one(Kind::Static, 1_000, 600);
    let log = server.log(0);
    log.fail(Rule::from(Fault::NoPartials).on(&PARTIALS));
    let mut run = Run::start(options(&server));
    run.until(log, "a word", |heard| heard.failed.iter().any(|why| why.contains("does not exist")));
    assert_eq!((run.of(log).next, run.of(log).proven()), (Some(512), 0));
    log.grow(168);
    run.until_proven(log, 768);
    run.end()[log.origin()].check(log, 0, 768);
}

#[test]
fn an_alarm_is_told_once() {
    let server = one(Kind::Rfc6962, 300, 300);
    let log = server.log(0);
    let mut options = options(&server);
    options.follow.poll = Duration::from_millis(1);
    let mut run = Run::start(options);
    run.until_proven(log, 300);
    log.fail(Rule::from(Fault::Fork(3)).on(&HEADS));
    run.through_looks(log, 50);
    assert_eq!(run.of(log).kinds(), [AlarmKind::Fork]);
    run.end();
}
