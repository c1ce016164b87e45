//! The policies of Chrome and Apple on certificates with chosen timestamps.

use super::made::{self, Made};
use super::*;

/// Logs by the byte that is their key. `A` to `C` are run by Alpha, `D` to `F` by Beta, `G` and `H` by Gamma.
pub(super) fn log_list() -> String {
    let log = |byte: u8, state: &str, at: &str| {
        let name = char::from(byte).to_string();
        let url = format!("https://ct.example/{name}/");
        let head = json!({"tree_size": 1, "sha256_root_hash": base64_of(&[0; 32])});
        json!({
            "description": name, "key": base64_of(&[byte]), "log_id": base64_of(&made::log_id(byte)),
            "url": url, "submission_url": url, "monitoring_url": url,
            "state": {state: {"timestamp": at, "final_tree_head": head}},
        })
    };
    let with = |mut log: Value, key: &str, value: Value| {
        log[key] = value;
        log
    };
    let long_ago = "2020-01-01T00:00:00Z";
    let interval = json!({"start_inclusive": "2026-07-01T00:00:00Z", "end_exclusive": "2026-07-29T23:59:59Z"});
    let before = json!([{"name": "Alpha", "end_time": "2026-04-01T00:00:00Z"}]);
    json!({
        "version": "1.0",
        "operators": [
            {"name": "Alpha", "logs": [
                log(b'A', "usable", long_ago),
                log(b'B', "readonly", long_ago),
                log(b'C', "retired", "2026-04-15T00:00:00Z"),
            ]},
            {"name": "Beta", "logs": [
                log(b'D', "qualified", "2026-04-15T00:00:00Z"),
                log(b'E', "rejected", long_ago),
                log(b'F', "pending", long_ago),
                with(log(b'I', "usable", long_ago), "previous_operators", before),
                with(log(b'J', "usable", long_ago), "temporal_interval", interval),
            ]},
            {"name": "Gamma", "logs": [log(b'H', "retired", "2026-05-10T00:00:00Z")], "tiled_logs": [
                log(b'G', "usable", long_ago),
            ]},
        ],
    })
    .to_string()
}

fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 0x3f;
            text.push(if at <= group.len() { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    text
}

const SHORT: i64 = 180;
const LONG: i64 = 181;

/// Timestamps are of 2026-05-01, but `log@date`; the entry was seen on that day.
#[track_caller]
fn check(days: i64, logs: &str, chrome: &[&str], apple: &[&str]) {
    check_seen("2026-05-01T00:00:00Z", days, logs, chrome, apple);
}

#[track_caller]
fn check_seen(seen: &str, days: i64, logs: &str, chrome: &[&str], apple: &[&str]) {
    let promise = |word: &str| {
        let (log, date) = word.split_once('@').unwrap_or((word, "2026-05-01"));
        (log.as_bytes()[0], time(&format!("{date}T00:00:00Z")))
    };
    let scts: Vec<(u8, Timestamp)> = logs.split_whitespace().map(promise).collect();
    let made = Made::new().lasting("2026-05-01T00:00:00Z", days * 86_400 - 1).promised(&scts);
    for (profile, want) in [("chrome-ct", chrome), ("apple-ct", apple)] {
        let policy = policy(json!({"profiles": [profile], "log_list": log_list()}));
        let prefix = format!("ct.{}_", profile.trim_end_matches("-ct"));
        let failed = failures(&policy, &made.der(), Some(time(seen)));
        let got: Vec<&str> = failed.iter().filter_map(|id| id.strip_prefix(&*prefix)).collect();
        assert_eq!(got, want, "{profile}: {logs}");
    }
}

const COUNT: &str = "sct_count";
const OPERATORS: &str = "operators";
const LIVE: &str = "live_log";
const RFC6962: &str = "rfc6962_log";

#[test]
fn enough() {
    check(SHORT, "A D", &[], &[]);
    check(SHORT, "B D", &[], &[]);
    check(SHORT, "A G", &[], &[]);
    check(LONG, "A B D", &[], &[]);
    check(LONG, "A D G", &[], &[]);
    check(SHORT, "A B D G", &[], &[]);
}
#[test]
fn too_few() {
    check(SHORT, "", &[COUNT], &[COUNT]);
    check(SHORT, "A", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check(LONG, "A D", &[COUNT], &[COUNT, OPERATORS]);
    check(LONG, "A", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
}
#[test]
fn a_log_counts_once() {
    check(SHORT, "A A", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check(LONG, "A D D", &[COUNT], &[COUNT, OPERATORS]);
    check(SHORT, "A A D", &[], &[]);
}
#[test]
fn one_operator() {
    check(SHORT, "A B", &[OPERATORS], &[OPERATORS]);
    check(LONG, "A B C@2026-04-01", &[OPERATORS], &[OPERATORS]);
    check(LONG, "A B D", &[], &[]);
}
#[test]
fn retired_logs_count_for_what_they_said_before() {
    check(SHORT, "C@2026-04-14 D", &[], &[]);
    // The earliest timestamp of the certificate decides for Chrome; Apple takes any log that once was approved.
    check(SHORT, "C D", &[COUNT, OPERATORS], &[]);
    check(SHORT, "C D@2026-04-14", &[], &[]);
    check(SHORT, "C D@2026-04-15", &[COUNT, OPERATORS], &[]);
    check(LONG, "C@2026-04-01 D G", &[], &[]);
}
#[test]
fn one_log_must_live() {
    let later = "2026-06-01T00:00:00Z";
    check_seen(later, SHORT, "C@2026-04-01 H", &[LIVE], &[LIVE]);
    check_seen(later, SHORT, "A H", &[], &[]);
    check_seen("2026-05-09T23:59:59Z", SHORT, "C@2026-04-01 H", &[], &[]);
    check_seen("2026-05-10T00:00:00Z", SHORT, "C@2026-04-01 H", &[LIVE], &[LIVE]);
}
#[test]
fn other_states_do_not_count() {
    check(SHORT, "A E", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check(SHORT, "A F", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check(SHORT, "E F", &[COUNT, LIVE, OPERATORS], &[COUNT, LIVE, OPERATORS, RFC6962]);
    check(SHORT, "A D E F", &[], &[]);
}
#[test]
fn a_log_is_approved_once_it_is_qualified() {
    check_seen("2026-04-14T23:59:59Z", SHORT, "A D", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check_seen("2026-04-15T00:00:00Z", SHORT, "A D", &[], &[]);
}
#[test]
fn unknown_logs_do_not_count() {
    check(SHORT, "A Z", &[COUNT, OPERATORS], &[COUNT, OPERATORS]);
    check(SHORT, "Y Z", &[COUNT, LIVE, OPERATORS], &[COUNT, LIVE, OPERATORS, RFC6962]);
    check(SHORT, "A D Z", &[], &[]);
}
#[test]
fn operators_at_the_time() {
    // Log I was Alpha's until April.
    check(SHORT, "A I@2026-03-31", &[OPERATORS], &[OPERATORS]);
    check(SHORT, "A I@2026-04-01", &[], &[]);
    check(SHORT, "D I@2026-03-31", &[], &[]);
    check(SHORT, "D I", &[OPERATORS], &[OPERATORS]);
}
#[test]
fn apple_wants_a_log_of_rfc_6962() {
    check(SHORT, "G A", &[], &[]);
    check(SHORT, "G", &[COUNT, OPERATORS], &[COUNT, OPERATORS, RFC6962]);
}
#[test]
fn lifetimes_to_the_second() {
    let policy = policy(json!({"profiles": ["chrome-ct", "apple-ct"]}));
    let check = |from, seconds, logs: &[(u8, Timestamp)], want: &[&str]| {
        let made = Made::new().lasting(from, seconds).promised(logs);
        assert_eq!(failures(&policy, &made.der(), None), want, "{from} {seconds}");
    };
    let two = [(1, Timestamp(0)), (2, Timestamp(0))];
    let three = [(1, Timestamp(0)), (2, Timestamp(0)), (3, Timestamp(0))];
    check("2026-05-01T00:00:00Z", 180 * 86_400 - 1, &two, &[]);
    check("2026-05-01T00:00:00Z", 180 * 86_400, &two, &["ct.chrome_sct_count", "ct.apple_sct_count"]);
    check("2026-05-01T00:00:00Z", 180 * 86_400, &three, &[]);
    check("2022-04-14T23:59:59Z", 180 * 86_400, &two, &["ct.apple_sct_count"]);
    check("2021-04-21T00:00:00Z", 180 * 86_400, &two, &["ct.apple_sct_count"]);
    check("2021-04-20T23:59:59Z", 180 * 86_400, &two, &[]);
}
#[test]
fn apple_once_counted_months() {
    let policy = policy(json!({"profiles": ["apple-ct"]}));
    let check = |end: &str, logs: u8, want: &[&str]| {
        let from = time("2019-01-01T00:00:00Z");
        let scts: Vec<(u8, Timestamp)> = (0..logs).map(|log| (log, Timestamp(0))).collect();
        let made = Made::new().lasting("2019-01-01T00:00:00Z", time(end).seconds() - from.seconds()).promised(&scts);
        assert_eq!(failures(&policy, &made.der(), None), want, "{end} {logs}");
    };
    let failed = ["ct.apple_sct_count"];
    check("2020-03-31T23:59:59Z", 2, &[]);
    check("2020-04-01T00:00:00Z", 2, &failed);
    check("2020-04-01T00:00:00Z", 3, &[]);
    check("2021-03-31T23:59:59Z", 3, &[]);
    check("2021-04-01T00:00:00Z", 3, &failed);
    check("2022-03-31T23:59:59Z", 4, &[]);
    check("2022-04-01T00:00:00Z", 4, &failed);
    check("2022-04-01T00:00:00Z", 5, &[]);
}
#[test]
fn what_a_list_says_of_logs() {
    let policy = policy(json!({"profiles": ["chrome-ct"], "log_list": log_list()}));
    let made = |logs: &[u8]| {
        let scts: Vec<(u8, Timestamp)> = logs.iter().map(|log| (*log, time("2026-05-01T00:00:00Z"))).collect();
        Made::new().promised(&scts).der()
    };
    assert_eq!(failures(&policy, &made(b"ADZ"), None), ["ct.unknown_log"]);
    // It takes certificates that end before the second in which this one does.
    assert_eq!(failures(&policy, &made(b"AJ"), None), ["ct.sct_after_interval"]);
}
#[test]
fn a_precertificate_has_no_timestamps_yet() {
    let policy = policy(json!({"profiles": ["chrome-ct", "apple-ct"], "log_list": log_list()}));
    let made = Made::new().with(made::POISON, true, vec![5, 0]);
    assert!(policy.judge(&made.der(), None).iter().all(|judgement| judgement.verdict == Verdict::NotApplicable));
}
#[test]
fn real_lists() {
    let Some(folder) = std::env::var_os("CT_STREAM_DATA") else { return };
    let folder = std::path::PathBuf::from(folder).join("ct/files");
    for (file, logs_min) in [
        ("reloading01__certstream-server-rust/google_v3_log_list.json", 20),
        ("appmattus__certificatetransparency/log_list.json", 10),
    ] {
        #[expect(clippy::disallowed_methods, reason = "data that is not part of the crate")]
        let text = std::fs::read_to_string(folder.join(file)).expect("a list");
        let list = super::super::log_list::LogList::parse(&text).expect("a list of version 3");
        assert!(list.len() >= logs_min, "{file}: {}", list.len());
    }
}
