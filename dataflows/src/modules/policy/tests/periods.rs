//! Every limit of validity, to the second, and on the days on which it changes.

use super::made::Made;
use super::*;

const DAY: i64 = 86_400;

/// `seconds` from notBefore to notAfter are the most that pass.
#[track_caller]
fn check(from: &str, id: &str, seconds: i64) {
    let policy = rules();
    for (seconds, passes) in [(seconds - 1, true), (seconds, true), (seconds + 1, false)] {
        let got = verdict(&policy, &Made::new().lasting(from, seconds).der(), id);
        assert_eq!(got == Verdict::Pass, passes, "{id} from {from} for {seconds} s: {got:?}");
    }
}

#[track_caller]
fn check_not_effective(from: &str, id: &str) {
    let made = Made::new().lasting(from, 5_000 * DAY);
    assert_eq!(verdict(&rules(), &made.der(), id), Verdict::NotEffective, "{id} from {from}");
}

const MAX: &str = "validity.max_days";
const NEAR: &str = "validity.near_max";

#[test]
fn months() {
    check_not_effective("2016-07-01T23:59:59Z", MAX);
    // `date -u -d '2016-07-02 +39 months'` is 2019-10-02, and so on.
    check("2016-07-02T00:00:00Z", MAX, time("2019-10-02T00:00:00Z").seconds() - time("2016-07-02T00:00:00Z").seconds());
    check("2018-03-01T23:59:59Z", MAX, time("2021-06-01T23:59:59Z").seconds() - time("2018-03-01T23:59:59Z").seconds());
    check("2017-11-30T12:00:00Z", MAX, time("2021-03-02T12:00:00Z").seconds() - time("2017-11-30T12:00:00Z").seconds());
}
#[test]
fn days_825() {
    // The period of that time ends at notAfter.
    check("2018-03-02T00:00:00Z", MAX, 825 * DAY);
    check("2020-08-31T23:59:59Z", MAX, 825 * DAY);
}
#[test]
fn days_398() {
    check("2020-09-01T00:00:00Z", MAX, 398 * DAY - 1);
    check("2026-03-14T23:59:59Z", MAX, 398 * DAY - 1);
}
#[test]
fn days_200() {
    // BR 6.3.2 has this example: 200 days are 17,280,000 seconds, both ends counted.
    check("2026-03-15T00:00:00Z", MAX, 17_279_999);
    check("2027-03-14T23:59:59Z", MAX, 17_279_999);
}
#[test]
fn days_100() {
    check("2027-03-15T00:00:00Z", MAX, 100 * DAY - 1);
    check("2029-03-14T23:59:59Z", MAX, 100 * DAY - 1);
}
#[test]
fn days_47() {
    check("2029-03-15T00:00:00Z", MAX, 47 * DAY - 1);
    check("2040-01-01T00:00:00Z", MAX, 47 * DAY - 1);
}
#[test]
fn one_day_less_is_recommended() {
    check_not_effective("2020-08-31T23:59:59Z", NEAR);
    check("2020-09-01T00:00:00Z", NEAR, 397 * DAY - 1);
    check("2026-03-14T23:59:59Z", NEAR, 397 * DAY - 1);
    check("2026-03-15T00:00:00Z", NEAR, 199 * DAY - 1);
    check("2027-03-14T23:59:59Z", NEAR, 199 * DAY - 1);
    check("2027-03-15T00:00:00Z", NEAR, 99 * DAY - 1);
    check("2029-03-14T23:59:59Z", NEAR, 99 * DAY - 1);
    check("2029-03-15T00:00:00Z", NEAR, 46 * DAY - 1);
}
#[test]
fn an_end_before_the_start() {
    let made = |seconds| Made::new().lasting("2026-05-01T00:00:00Z", seconds).der();
    assert_eq!(verdict(&rules(), &made(0), "validity.not_positive"), Verdict::Pass);
    assert!(matches!(verdict(&rules(), &made(-1), "validity.not_positive"), Verdict::Fail(_)));
}
#[test]
fn a_short_life_needs_no_revocation() {
    let id = "crldp.missing";
    let check = |from, seconds, want: bool| {
        let made = Made::new().without(made::CRLDP).without(made::AIA).lasting(from, seconds);
        assert_eq!(verdict(&rules(), &made.der(), id) == Verdict::NotApplicable, want, "{from} {seconds}");
    };
    check("2024-03-15T00:00:00Z", 10 * DAY - 1, true);
    check("2026-03-14T23:59:59Z", 10 * DAY - 1, true);
    check("2026-03-14T23:59:59Z", 10 * DAY, false);
    check("2026-03-15T00:00:00Z", 7 * DAY - 1, true);
    check("2026-03-15T00:00:00Z", 7 * DAY, false);
}
#[test]
fn a_ca_lives_longer() {
    let root = Made::root().lasting("2026-05-01T00:00:00Z", 5_000 * DAY);
    assert_eq!(verdict(&rules(), &root.der(), MAX), Verdict::NotApplicable);
}
