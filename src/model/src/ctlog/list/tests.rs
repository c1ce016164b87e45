//! Lists with one thing changed at a time.

use serde_json::{Value, json};

use super::*;
use crate::ctlog::testing::{Random, hash as hex};

/// The SHA-256 of `key`, both in base64.
fn key_and_id(key: &[u8]) -> (String, String) {
    let encode = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
    (encode(key), encode(&Sha256::digest(key)))
}

fn log(name: &str) -> Value {
    let (key, log_id) = key_and_id(name.as_bytes());
    json!({
        "description": name, "log_id": log_id, "key": key, "url": format!("https://CT.example.com/Logs/{name}/"),
        "mmd": 86400, "state": {"usable": {"timestamp": "2026-01-02T00:00:00Z"}},
        "temporal_interval": {"start_inclusive": "2026-07-01T00:00:00Z", "end_exclusive": "2027-01-01T00:00:00Z"}
    })
}

fn tiled(name: &str) -> Value {
    let (key, log_id) = key_and_id(name.as_bytes());
    json!({
        "log_id": log_id, "key": key, "mmd": 60, "submission_url": format!("https://log.example.org/{name}"),
        "monitoring_url": format!("https://mon.example.org/{name}/"), "log_type": "prod", "tls_only": true,
        "state": {"readonly": {"timestamp": "2026-01-02T00:00:00.5Z", "final_tree_head": {
            "sha256_root_hash": "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=", "tree_size": 3}}},
        "previous_operators": [{"name": "Second", "end_time": "2026-03-01T00:00:00Z"},
            {"name": "First", "end_time": "2026-02-01T00:00:00Z"}]
    })
}

fn list(logs: &[Value], tiled_logs: &[Value]) -> Value {
    json!({"version": "1.2", "log_list_timestamp": "2026-05-29T13:42:48Z",
        "operators": [{"name": "Example", "email": [], "logs": logs, "tiled_logs": tiled_logs}]})
}

fn parse(list: &Value) -> Result<LogList, ListError> {
    LogList::parse(list.to_string().as_bytes())
}

#[test]
fn two_logs() {
    let list = parse(&list(&[log("2026h2")], &[tiled("t")])).unwrap();
    assert_eq!((list.version.as_deref(), list.skipped.len()), (Some("1.2"), 0));
    assert_eq!(list.timestamp, Timestamp::from_rfc3339("2026-05-29T13:42:48Z"));
    let [plain, tiled] = &list.logs[..] else { panic!("two logs") };
    assert_eq!(&*plain.name, "ct.example.com/Logs/2026h2");
    assert_eq!(plain.urls, Urls::Rfc6962 { url: "https://CT.example.com/Logs/2026h2/".into() });
    assert_eq!((plain.state, plain.mmd_s), (Some(State::Usable), Some(86_400)));
    assert_eq!(plain.temporal_interval.map(|(_, end)| end), Timestamp::from_rfc3339("2027-01-01T00:00:00Z"));
    assert_eq!((&*plain.key, plain.id), (&b"2026h2"[..], Sha256::digest(b"2026h2").into()));
    assert_eq!((&*tiled.name, tiled.urls.origin()), ("mon.example.org/t", "log.example.org/t"));
    let (submission, monitoring) = ("https://log.example.org/t/".into(), "https://mon.example.org/t/".into());
    assert_eq!(tiled.urls, Urls::Tiled { submission, monitoring });
    let root = hex("aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
    assert_eq!(tiled.state, Some(State::Readonly { size: 3, root }));
    assert_eq!((tiled.description.as_deref(), tiled.log_type.as_deref()), (None, Some("prod")));
}

#[test]
fn operators_of_a_log() {
    let list = parse(&list(&[], &[tiled("t")])).unwrap();
    for (at, want) in [
        ("2026-01-31T23:59:59Z", "First"),
        ("2026-02-01T00:00:00Z", "Second"),
        ("2026-03-01T00:00:00Z", "Example"),
        ("2030-01-01T00:00:00Z", "Example"),
    ] {
        assert_eq!(list.logs[0].operator_at(Timestamp::from_rfc3339(at).unwrap()), want, "{at}");
    }
}

#[test]
fn what_is_followed() {
    for (state, want) in [
        (json!({"pending": {}}), false),
        (json!({"qualified": {"timestamp": "2026-01-02T00:00:00Z"}}), true),
        (json!({"usable": {}}), true),
        (json!({"retired": {}}), false),
        (json!({"rejected": {}}), false),
        (Value::Null, false),
    ] {
        let mut log = log("a");
        log["state"] = state;
        assert_eq!(parse(&list(&[log], &[])).unwrap().logs[0].is_followed(), want);
    }
    assert!(parse(&list(&[], &[tiled("t")])).unwrap().logs[0].is_followed());
}

/// A list of a good log and one with a field changed: the good one stays.
#[track_caller]
fn check(tiled_log: bool, field: &str, value: Value, want: LogError) {
    let mut broken = if tiled_log { tiled("broken") } else { log("broken") };
    broken[field] = value;
    let list = match tiled_log {
        true => list(&[log("good")], &[broken]),
        false => list(&[broken, log("good")], &[]),
    };
    let list = parse(&list).unwrap();
    assert_eq!(list.logs.len(), 1);
    assert_eq!(list.logs[0].description.as_deref(), Some("good"));
    assert_eq!((&list.skipped[0].why, &*list.skipped[0].operator, list.skipped.len()), (&want, "Example", 1));
}

#[test]
fn broken_logs() {
    let head = |root: &str, size: u64| json!({"sha256_root_hash": root, "tree_size": size});
    check(false, "log_id", Value::Null, LogError::Fields);
    check(false, "url", Value::Null, LogError::Fields);
    check(true, "monitoring_url", Value::Null, LogError::Fields);
    check(false, "mmd", json!("soon"), LogError::Fields);
    check(false, "key", json!("*"), LogError::Key);
    check(false, "key", json!("AAAA"), LogError::Id);
    check(false, "log_id", json!("AAAA"), LogError::Id);
    for url in
        ["", "ct.example.com/", "ftp://a/", "https://", "https:///a", "https://a/ b", "https://u@a/", "https://a/?q"]
    {
        check(false, "url", json!(url), LogError::Url);
    }
    check(true, "monitoring_url", json!("file:///etc"), LogError::Url);
    check(false, "state", json!({}), LogError::State);
    check(false, "state", json!({"usable": {}, "retired": {}}), LogError::State);
    check(false, "state", json!({"excellent": {}}), LogError::State);
    check(false, "state", json!({"usable": {"timestamp": "today"}}), LogError::Time);
    check(false, "temporal_interval", json!({"start_inclusive": "", "end_exclusive": ""}), LogError::Time);
    check(true, "previous_operators", json!([{"name": "A", "end_time": "never"}]), LogError::Time);
    check(true, "state", json!({"readonly": {}}), LogError::Head);
    check(true, "state", json!({"readonly": {"final_tree_head": head("AAAA", 1)}}), LogError::Head);
    check(true, "state", json!({"readonly": {"final_tree_head": head("", u64::MAX)}}), LogError::Head);
}

#[test]
fn a_log_that_is_there_twice() {
    let mut again = log("a");
    again["url"] = json!("https://elsewhere.example/");
    let mut alike = log("b");
    alike["url"] = json!("http://ct.EXAMPLE.com/Logs/a//");
    let list = parse(&list(&[log("a"), again, alike], &[])).unwrap();
    assert_eq!(list.logs.len(), 1);
    assert!(list.skipped.iter().all(|skipped| skipped.why == LogError::Repeated));
    assert_eq!((list.skipped.len(), list.skipped[0].id), (2, Some(list.logs[0].id)));
}

#[test]
fn lists_that_are_refused() {
    let json = |text: &str| LogList::parse(text.as_bytes());
    for text in ["", "[]", "{}", "{\"operators\":{}}", "{\"operators\":[{}]}", "{\"operators\":[]} x"] {
        assert!(matches!(json(text), Err(ListError::Json(_))), "{text}");
    }
    for text in ["{\"operators\":[]}", "{\"operators\":[{\"name\":\"A\",\"logs\":null,\"tiled_logs\":[{}, 7]}]}"] {
        assert!(matches!(json(text), Err(ListError::Empty)), "{text}");
    }
    assert!(matches!(json(&" ".repeat(LIST_BYTES_MAX + 1)), Err(ListError::TooLong)));
    assert!(json(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn noise_is_survived() {
    let mut random = Random(17);
    let good = list(&[log("a"), log("b")], &[tiled("t")]).to_string();
    for _ in 0..10_000 {
        let _ = LogList::parse(&random.spoil(good.as_bytes()));
    }
}
