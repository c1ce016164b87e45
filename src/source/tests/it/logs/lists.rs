//! Lists of logs: read again and again, and believed when they can be read.

use std::sync::Arc;
use std::time::Duration;

use ct_source::logs::{Logs, LogsOptions};
use serde_json::{Value, json};

use super::{Run, options};
use crate::runtime;
use crate::test_log::{HEADS, Key, Kind, Log, LogOptions, Pool, Server, base64};

fn server(names: &[&str]) -> Server {
    let pool = Arc::new(Pool::synthetic(1, 1_000));
    let kinds = [Kind::Rfc6962, Kind::Static].into_iter().cycle();
    Server::start(names.iter().zip(kinds).map(|(name, kind)| LogOptions::new(name, kind, &pool).start(300)).collect())
}

fn by_list(server: &Server) -> LogsOptions {
    LogsOptions { list: Some(server.log_list_url()), singles: Vec::new(), ..options(server) }
}

/// The server's list, changed log by log: false leaves one out.
fn set_list(server: &Server, mut change: impl FnMut(&mut Value) -> bool) {
    let mut list = server.log_list();
    for part in ["logs", "tiled_logs"] {
        list["operators"][0][part].as_array_mut().unwrap().retain_mut(&mut change);
    }
    server.set_log_list(list.to_string());
}

fn is(described: &Value, log: &Log) -> bool {
    described["log_id"] == base64(&log.key().log_id())
}

fn looks(log: &Log) -> u64 {
    HEADS.iter().map(|call| log.ledger.record().count(*call)).sum()
}

/// Listens until one log is not asked while another is.
fn until_left(run: &mut Run, left: &Log, other: &Log) {
    for _ in 0..100 {
        let before = looks(left);
        run.through_looks(other, 10);
        if looks(left) == before {
            return;
        }
    }
    panic!("{} is still asked", left.name());
}

#[test]
fn a_list_that_cannot_be_read_changes_nothing() {
    for broken in ["", "{", "[]", "<!DOCTYPE html>", r#"{"operators":[]}"#] {
        let server = server(&["a", "b"]);
        let (a, b) = (server.log(0), server.log(1));
        set_list(&server, |log| is(log, a));
        let mut run = Run::start(by_list(&server));
        run.until_proven(a, 300);
        server.set_log_list(broken);
        run.through_looks(a, 20);
        a.grow(100);
        run.until_proven(a, 400);
        // And it is read again.
        set_list(&server, |_| true);
        run.until_proven(b, 300);
        a.grow(100);
        run.until_proven(a, 500);
        let heard = run.end();
        heard[a.origin()].check(a, 0, 500);
        heard[b.origin()].check(b, 0, 300);
    }
}

#[test]
fn a_log_goes_and_comes_back() {
    let server = server(&["a", "b"]);
    let (a, b) = (server.log(0), server.log(1));
    let mut run = Run::start(by_list(&server));
    run.until_proven(a, 300);
    run.until_proven(b, 300);
    for (gone, other, state) in
        [(a, b, Value::Null), (b, a, json!({ "retired": { "timestamp": "2026-02-01T00:00:00Z" } }))]
    {
        set_list(&server, |log| {
            if is(log, gone) && !state.is_null() {
                log["state"] = state.clone();
            }
            !is(log, gone) || !state.is_null()
        });
        until_left(&mut run, gone, other);
        gone.grow(200);
        set_list(&server, |_| true);
        run.until_proven(gone, 500);
    }
    let heard = run.end();
    for log in [a, b] {
        heard[log.origin()].check(log, 0, 500);
        assert_eq!(heard[log.origin()].rewinds, [0; 0], "it is taken up where it was left");
    }
}

/// Where a log is read may change while it is read: what was said before comes before what is said then.
#[test]
fn a_log_that_is_described_anew_goes_on() {
    let server = server(&["a", "b"]);
    let b = server.log(1);
    b.grow(100);
    let mut run = Run::start(by_list(&server));
    run.until(b, "entries", |heard| heard.next.is_some());
    for turn in 0..10 {
        let state = if turn % 2 == 0 { "qualified" } else { "usable" };
        set_list(&server, |log| {
            log["state"] = json!({ state: { "timestamp": "2026-01-01T00:00:00Z" } });
            true
        });
        let size = b.grow(50);
        run.until_proven(b, size);
    }
    let heard = &run.end()[b.origin()];
    heard.check(b, 0, 900);
    assert_eq!(heard.rewinds, [0; 0]);
}

fn readonly(log: &Log, size: u64) -> Value {
    let head = json!({ "sha256_root_hash": base64(&log.root(size)), "tree_size": size });
    json!({ "readonly": { "timestamp": "2026-01-01T00:00:00Z", "final_tree_head": head } })
}

#[test]
fn a_log_that_takes_no_more_is_read_to_its_end_and_left() {
    for (kind_at, size) in [(0, 300), (1, 300)] {
        let server = server(&["a", "b"]);
        let (last, other) = (server.log(kind_at), server.log(1 - kind_at));
        set_list(&server, |log| {
            if is(log, last) {
                log["state"] = readonly(last, size);
            }
            true
        });
        let mut options = by_list(&server);
        // Its last tile will not fill.
        options.follow.partial_tile = Duration::from_secs(3_600);
        let mut run = Run::start(options);
        run.until_proven(last, size);
        until_left(&mut run, last, other);
        assert_eq!(looks(last), 1);
        run.end()[last.origin()].check(last, 0, size);
    }
}

/// A replica may lag behind even then.
#[test]
fn a_log_that_takes_no_more_is_asked_until_it_shows_its_end() {
    let server = server(&["a", "b"]);
    let (last, other) = (server.log(0), server.log(1));
    set_list(&server, |log| {
        if is(log, last) {
            log["state"] = readonly(last, 400);
        }
        true
    });
    let mut run = Run::start(by_list(&server));
    run.until_proven(last, 300);
    run.through_looks(last, 3);
    last.grow(100);
    run.until_proven(last, 400);
    until_left(&mut run, last, other);
    run.end()[last.origin()].check(last, 0, 400);
}

#[test]
fn which_logs_are_wanted() {
    let server = server(&["argon", "xenon", "nimbus"]);
    let names = |change: &dyn Fn(&mut LogsOptions)| {
        let mut options = by_list(&server);
        change(&mut options);
        let loaded = runtime().block_on(Logs::new(options).unwrap().load());
        let names = loaded.map(|logs| logs.iter().map(|log| log.name.rsplit('/').next().unwrap().to_owned()).collect());
        names.unwrap_or_else(|_| Vec::<String>::new())
    };
    assert_eq!(names(&|_| {}), ["argon", "nimbus", "xenon"]);
    assert_eq!(names(&|options| options.only = vec!["xenon".into(), "nim".into()]), ["nimbus", "xenon"]);
    assert_eq!(names(&|options| options.skip = vec!["on".into()]), ["nimbus"]);
    assert_eq!(names(&|options| options.only = vec!["none".into()]), [""; 0]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), server.log_list().to_string()).unwrap();
    assert_eq!(names(&|options| options.list = Some(file.path().display().to_string())).len(), 3);
    assert_eq!(names(&|options| options.list = Some(format!("file://{}", file.path().display()))).len(), 3);
}

#[test]
fn heads_of_all_logs() {
    let server = server(&["a", "b"]);
    server.log(1).fail(crate::test_log::Fault::BadSignature);
    let heads = runtime().block_on(Logs::new(by_list(&server)).unwrap().heads()).unwrap();
    let [(a, Ok(head)), (b, Err(why))] = &heads[..] else { panic!("{heads:?}") };
    assert_eq!((&**a, &**b, head.size), (server.log(0).origin(), server.log(1).origin(), 300));
    assert!(why.contains("not the key's signature"), "{why}");
}

#[test]
fn a_list_is_read_again_when_told_to() {
    let server = server(&["a", "b"]);
    let (a, b) = (server.log(0), server.log(1));
    set_list(&server, |log| is(log, a));
    let mut run = Run::start(LogsOptions { list_refresh: Duration::from_secs(3_600), ..by_list(&server) });
    run.until_proven(a, 300);
    set_list(&server, |_| true);
    run.through_looks(a, 20);
    assert_eq!(looks(b), 0, "its time has not come");
    run.again.notify_one();
    run.until_proven(b, 300);
    run.end()[b.origin()].check(b, 0, 300);
}

/// A log takes certificates up to some notAfter; when that is long past it gets no more.
#[test]
fn a_log_whose_certificates_are_all_expired_is_left() {
    let server = server(&["a", "b"]);
    let (old, other) = (server.log(0), server.log(1));
    set_list(&server, |log| {
        let (from, until) = if is(log, old) {
            ("2020-01-01T00:00:00Z", "2020-07-01T00:00:00Z")
        } else {
            ("2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z")
        };
        log["temporal_interval"] = json!({ "start_inclusive": from, "end_exclusive": until });
        true
    });
    let mut run = Run::start(by_list(&server));
    run.until_proven(other, 300);
    run.through_looks(other, 5);
    run.end();
    assert_eq!(looks(old), 0);
    // Unless it is asked for.
    let mut run = Run::start(LogsOptions { only: vec![old.origin().to_owned()], ..by_list(&server) });
    run.until_proven(old, 300);
    run.end()[old.origin()].check(old, 0, 300);
    // Its entries can be had, and what is outside of the interval is an entry like any other.
    let found = runtime().block_on(Logs::new(by_list(&server)).unwrap().stretches(&|_, size| vec![(0, size)])).unwrap();
    assert_eq!((found.segments.len(), found.failed), (2, vec![]));
}

fn pem(key: &Key) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(key.spki()))
}

#[test]
fn a_list_must_have_the_signature_that_is_asked_for() {
    let server = server(&["a"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let list = server.log_list().to_string();
    let key = Key::rsa();
    // Without the head of a DigitallySigned.
    let signature = key.sign(list.as_bytes()).split_off(4);
    let check = |list: &str, signature: Option<&[u8]>, key: &Key, want: Result<usize, &str>| {
        std::fs::write(at("list.json"), list).unwrap();
        std::fs::write(at("key.pem"), pem(key)).unwrap();
        let _ = std::fs::remove_file(at("list.sig"));
        if let Some(signature) = signature {
            std::fs::write(at("list.sig"), signature).unwrap();
        }
        let options = LogsOptions {
            list: Some(at("list.json").display().to_string()),
            list_key_file: Some(at("key.pem")),
            ..by_list(&server)
        };
        let loaded = runtime().block_on(Logs::new(options).unwrap().load());
        match (loaded, want) {
            (Ok(logs), Ok(count)) => assert_eq!(logs.len(), count),
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{error}"),
            (loaded, want) => panic!("{loaded:?} instead of {want:?}"),
        }
    };
    check(&list, Some(&signature), &key, Ok(1));
    check(&format!("{list} "), Some(&signature), &key, Err("not the key's signature"));
    check(&list, Some(&signature[1..]), &key, Err("not the key's signature"));
    check(&list, Some(b""), &key, Err("not the key's signature"));
    check(&list, None, &key, Err("list.sig"));
    check(&list, Some(&signature), &Key::ecdsa(), Err("an algorithm that is not that of the key"));
    std::fs::write(at("key.pem"), "no key").unwrap();
    let options = LogsOptions { list_key_file: Some(at("key.pem")), ..by_list(&server) };
    assert!(Logs::new(options).err().unwrap().to_string().contains("no PEM"));
}
