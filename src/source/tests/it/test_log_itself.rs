//! The test log as its clients see it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::test_log::{
    Call, Fault, HEADS, Hash, Kind, LogOptions, PARTIALS, Page, Pool, Redirect, RetryAfter, Rule, Server, base64,
    leaf_hash, sha256,
};
use crate::test_log_probe::{
    PATIENCE, by_pages, by_tiles, bytes, checkpoint, climb, get, get_sth, hash, root_of, try_get,
};

fn one(kind: Kind, count: u64, start: u64) -> Server {
    let pool = Arc::new(Pool::synthetic(1, count));
    Server::start(vec![LogOptions::new("log", kind, &pool).start(start)])
}

#[test]
fn entries_by_pages_have_the_root() {
    let pool = Arc::new(Pool::synthetic(1, 700));
    for (page, want) in
        [(Page::Aligned(256), vec![256, 256, 88]), (Page::UpTo(300), vec![300, 300]), (Page::UpTo(u64::MAX), vec![600])]
    {
        let server = Server::start(vec![LogOptions::new("log", Kind::Rfc6962, &pool).start(600).page(page)]);
        let head = get_sth(server.log(0));
        assert!(head.valid);
        let (leaves, pages) = by_pages(server.log(0), head.size);
        assert_eq!((head.size, pages), (600, want));
        assert_eq!(root_of(&leaves), head.root);
    }
}

#[test]
fn pages_end_on_their_boundary_wherever_they_start() {
    let server = one(Kind::Rfc6962, 600, 600);
    let page = get(&format!("{}ct/v1/get-entries?start=250&end=599", server.log(0).url())).json();
    assert_eq!(page["entries"].as_array().unwrap().len(), 6);
    for beyond in ["start=600&end=700", "start=5&end=4", "start=x&end=4", "start=5"] {
        assert_eq!(get(&format!("{}ct/v1/get-entries?{beyond}", server.log(0).url())).status, 400);
    }
}

#[test]
fn entries_by_tiles_have_the_root() {
    let server = one(Kind::Hybrid, 1_000, 700);
    let log = server.log(0);
    let (head, sth) = (checkpoint(log), get_sth(log));
    assert!(head.valid && sth.valid);
    assert_eq!((head.size, head.root, head.timestamp_ms), (sth.size, sth.root, sth.timestamp_ms));
    let leaves = by_tiles(log, head.size);
    assert_eq!(leaves.len(), 700);
    assert_eq!(root_of(&leaves), head.root);
    assert_eq!(by_pages(log, head.size).0, leaves);
    let hashes: Vec<u8> = leaves[512..].iter().flat_map(|leaf| leaf_hash(leaf)).collect();
    assert_eq!(get(&format!("{}tile/0/002.p/188", log.url())).body, hashes);
    let level_1 = get(&format!("{}tile/1/000.p/2", log.url())).body;
    assert_eq!(level_1, [root_of(&leaves[..256]), root_of(&leaves[256..512])].concat());
}

#[test]
fn partial_tiles_exist_for_published_sizes_only() {
    let server = one(Kind::Static, 600, 100);
    let log = server.log(0);
    let status = |path: &str| get(&format!("{}{path}", log.url())).status;
    assert_eq!(status("tile/0/000.p/100"), 200);
    assert_eq!(status("tile/0/000.p/99"), 404);
    assert_eq!(status("tile/data/000"), 404);
    assert_eq!(log.grow(200), 300);
    let far = ["tile/0/001", "tile/0/000.p/44", "tile/5/000.p/1", "tile/data/x018/x446/x744/x073/x709/x551/615.p/9"];
    assert_eq!(far.map(status), [404; 4]);
    for path in ["tile/data/000.p/100", "tile/data/000", "tile/data/001.p/44", "tile/1/000.p/1"] {
        assert_eq!(status(path), 200, "{path}");
    }
    log.fail(Fault::NoOldPartials);
    assert_eq!((status("tile/data/000.p/100"), status("tile/data/001.p/44")), (404, 200));
    log.heal();
    log.fail(Rule::from(Fault::NoPartials).on(&PARTIALS));
    assert_eq!((status("tile/data/001.p/44"), status("tile/data/000")), (404, 200));
    assert_eq!(log.grow(1_000), 600);
}

#[test]
fn each_kind_serves_its_calls() {
    let paths = ["ct/v1/get-sth", "ct/v1/get-entries?start=0&end=9", "checkpoint", "tile/0/000", "tile/data/000"];
    for (kind, want) in [
        (Kind::Rfc6962, [200, 200, 404, 404, 404]),
        (Kind::Static, [404, 404, 200, 200, 200]),
        (Kind::Hybrid, [200, 200, 200, 200, 200]),
        (Kind::HybridNoCheckpoint, [200, 200, 404, 404, 200]),
    ] {
        let server = one(kind, 300, 300);
        assert_eq!(paths.map(|path| get(&format!("{}{path}", server.log(0).url())).status), want, "{kind:?}");
        assert!(get(&format!("{}ct/v1/get-roots", server.log(0).url())).json()["certificates"][0].is_string());
        let part = if kind.name().contains("rfc") || kind == Kind::HybridNoCheckpoint { "logs" } else { "tiled_logs" };
        let list = get(&server.log_list_url()).json();
        let log = &list["operators"][0][part][0];
        assert_eq!(hash(&log["log_id"]), sha256(&[&bytes(&log["key"])]));
    }
}

#[test]
fn proofs_over_http() {
    let server = one(Kind::Rfc6962, 600, 600);
    let log = server.log(0);
    for (index, size) in [(0, 1), (5, 600), (599, 600), (255, 257), (256, 257)] {
        let url = format!("{}ct/v1/get-entry-and-proof?leaf_index={index}&tree_size={size}", log.url());
        let got = get(&url).json();
        let leaf = leaf_hash(&bytes(&got["leaf_input"]));
        assert_eq!(climb(leaf, index, size, &got["audit_path"]), log.root(size));
        let text = base64(&leaf).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let by_hash = get(&format!("{}ct/v1/get-proof-by-hash?hash={text}&tree_size={size}", log.url())).json();
        assert_eq!((by_hash["leaf_index"].as_u64(), &by_hash["audit_path"]), (Some(index), &got["audit_path"]));
    }
    // From a power of two: the old root, then its right neighbours.
    let got = get(&format!("{}ct/v1/get-sth-consistency?first=512&second=600", log.url())).json();
    let proof = got["consistency"].as_array().unwrap();
    let root = proof.iter().rev().fold(None, |right: Option<Hash>, step| {
        Some(right.map_or_else(|| hash(step), |right| sha256(&[&[1], &right, &hash(step)])))
    });
    assert_eq!(sha256(&[&[1], &log.root(512), &root.unwrap()]), log.root(600));
    assert_eq!(get(&format!("{}ct/v1/get-sth-consistency?first=5&second=601", log.url())).status, 400);
}

#[test]
fn false_heads() {
    let server = one(Kind::Hybrid, 600, 300);
    let log = server.log(0);
    log.grow(100);
    for head in [get_sth, checkpoint] {
        let good = head(log);
        let show = |fault: Fault| {
            log.heal();
            log.fail(Rule::from(fault).on(&HEADS));
            head(log)
        };
        let stale = show(Fault::StaleHead);
        assert!(stale.valid && stale.size == 300 && stale.timestamp_ms < good.timestamp_ms);
        let rollback = show(Fault::Rollback(50));
        assert!(rollback.valid && rollback.size == 50 && rollback.timestamp_ms > good.timestamp_ms);
        assert_eq!(rollback.root, log.root(50));
        let fork = show(Fault::Fork(7));
        assert!(fork.valid && fork.size == good.size && fork.root != good.root);
        let future = show(Fault::Future(86_400_000));
        assert!(future.valid && future.timestamp_ms > good.timestamp_ms + 80_000_000);
        for fault in [Fault::BadSignature, Fault::OtherKey] {
            let bad = show(fault);
            assert!(!bad.valid && bad.root == good.root);
        }
        log.heal();
        let again = head(log);
        assert!(again.valid && again.root == good.root);
    }
    for (fault, valid) in [(Fault::WrongOrigin, false), (Fault::WrongKeyId, false), (Fault::Witnesses(16), true)] {
        log.heal();
        log.fail(fault);
        assert_eq!(checkpoint(log).valid, valid, "{fault:?}");
    }
}

#[test]
fn a_larger_head_of_a_fork_does_not_follow_from_the_old_one() {
    let server = one(Kind::Rfc6962, 600, 512);
    let log = server.log(0);
    let old = get_sth(log);
    log.grow(64);
    for (fault, follows) in [(Fault::Fork(600), true), (Fault::Fork(550), true), (Fault::Fork(7), false)] {
        log.heal();
        log.fail(fault);
        let new = get_sth(log);
        assert!(new.valid && new.size == 576);
        let proof = get(&format!("{}ct/v1/get-sth-consistency?first=512&second=576", log.url())).json();
        // 576 is 512 and 64: the proof is the root of the last 64.
        let right = hash(&proof["consistency"][0]);
        assert_eq!(sha256(&[&[1], &old.root, &right]) == new.root, follows, "{fault:?}");
    }
}

#[test]
fn a_fork_is_a_whole_log_and_a_false_entry_is_not() {
    let server = one(Kind::Hybrid, 600, 600);
    let log = server.log(0);
    let good = by_tiles(log, 600);
    for (fault, head_fits) in [(Fault::Fork(70), true), (Fault::OtherEntry(70), false)] {
        log.heal();
        log.fail(fault);
        let (pages, tiles) = (by_pages(log, 600).0, by_tiles(log, 600));
        assert_eq!(pages, tiles);
        let differ: Vec<usize> = (0..600).filter(|index| good[*index] != tiles[*index]).collect();
        assert_eq!(differ, [70]);
        assert_eq!(checkpoint(log).root == root_of(&tiles), head_fits, "{fault:?}");
    }
}

#[test]
fn refusals() {
    let server = one(Kind::Rfc6962, 10, 10);
    let log = server.log(0);
    let url = format!("{}ct/v1/get-sth", log.url());
    for (after, want) in
        [(RetryAfter::Absent, None), (RetryAfter::Seconds(7), Some("7")), (RetryAfter::Word, Some("soon"))]
    {
        log.fail(Rule::from(Fault::Status(429, after)).times(1));
        let got = get(&url);
        assert_eq!((got.status, got.header("Retry-After")), (429, want));
        assert_eq!(get(&url).status, 200);
    }
    log.fail(Rule::from(Fault::Status(503, RetryAfter::Date(30))).times(1));
    let got = get(&url);
    let until = httpdate::parse_http_date(got.header("Retry-After").unwrap()).unwrap();
    let wait = until.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(got.status == 503 && (28..=30).contains(&wait.as_secs()), "{wait:?}");
    log.fail(Fault::RateLimit(5, RetryAfter::Absent));
    let begun = Instant::now();
    let granted = (0..50).filter(|_| get(&url).status == 200).count();
    let most = 5 + (begun.elapsed().as_secs_f64() * 5.0) as usize + 1;
    assert!((5..=most).contains(&granted), "{granted} of {most}");
    let record = log.ledger.record();
    assert_eq!(record.count(Call::GetSth), 57);
    assert_eq!(record.status(429), 3 + 50 - granted as u64);
    assert_eq!(record.user_agents.iter().collect::<Vec<_>>(), ["probe/1"]);
    assert_eq!((record.at_once, record.asked.len()), (0, 57));
}

#[test]
fn requests_at_once_are_counted() {
    let server = one(Kind::Rfc6962, 10, 10);
    let log = server.log(0);
    let url = format!("{}ct/v1/get-sth", log.url());
    (0..20).for_each(|_| assert_eq!(get(&url).status, 200));
    assert_eq!(log.ledger.record().at_once_max, 1);
    log.fail(Fault::Delay(200));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| get(&url));
        }
    });
    assert_eq!((log.ledger.record().at_once_max, server.ledger().record().at_once_max), (3, 3));
    assert_eq!(log.ledger.record().at_once, 0);
}

#[test]
fn answers_that_are_none() {
    let server = one(Kind::Hybrid, 300, 300);
    let log = server.log(0);
    let url = format!("{}tile/data/000", log.url());
    let right = get(&url);
    let show = |fault: Fault| {
        log.heal();
        log.fail(fault);
        try_get(&url, if fault == Fault::Hang { Duration::from_millis(300) } else { PATIENCE })
    };
    assert_eq!(show(Fault::Reset(1_000)).err().unwrap().kind(), ErrorKind::ConnectionReset);
    assert_eq!(show(Fault::Cut(1_000)).err().unwrap().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(show(Fault::Hang).err().unwrap().kind(), ErrorKind::WouldBlock);
    let html = show(Fault::Html).unwrap();
    assert_eq!((html.status, html.header("Content-Type")), (200, Some("text/html")));
    let mistyped = show(Fault::WrongContentType).unwrap();
    assert_eq!((mistyped.header("Content-Type"), &mistyped.body), (Some("text/html"), &right.body));
    let noise = show(Fault::Noise).unwrap();
    assert!(noise.body.len() == right.body.len() && noise.body != right.body);
    let bomb = show(Fault::GzipBomb(10_000_000)).unwrap();
    assert!(bomb.body.len() < 20_000 && bomb.decoded().len() == 10_000_000);
    assert_eq!(show(Fault::Endless).unwrap().body.len(), 1 << 20);
    let begun = Instant::now();
    let dripped = show(Fault::Drip(right.body.len() as u64 * 4)).unwrap();
    assert!(dripped.body == right.body && begun.elapsed() > Duration::from_millis(200));
}

#[test]
fn pages_that_say_little() {
    let server = one(Kind::Rfc6962, 300, 300);
    let log = server.log(0);
    let url = format!("{}ct/v1/get-entries?start=10&end=99", log.url());
    for (fault, want) in [(Fault::ShortPage(3), 3), (Fault::EmptyPage, 0)] {
        log.heal();
        log.fail(fault);
        assert_eq!(get(&url).json()["entries"].as_array().unwrap().len(), want);
    }
}

#[test]
fn redirects_lead_somewhere_and_are_counted() {
    let server = one(Kind::Static, 300, 300);
    let log = server.log(0);
    let url = format!("{}checkpoint", log.url());
    for (redirect, want) in [
        (Redirect::SameHost, "/moved/log/checkpoint".to_owned()),
        (Redirect::OtherHost, format!("{}/moved/log/checkpoint", server.url().replace("127.0.0.1", "localhost"))),
        (Redirect::Loop, "/log/checkpoint".to_owned()),
    ] {
        log.heal();
        log.fail(Fault::Redirect(redirect));
        let got = get(&url);
        assert_eq!((got.status, got.header("Location")), (302, Some(&*want)));
    }
    assert_eq!(log.ledger.record().redirected, 0);
    assert_eq!(get(&format!("{}/moved/log/checkpoint", server.url())).status, 200);
    log.ledger.wait("the redirect", |record| record.redirected == 1);
}

#[test]
fn admin_address() {
    let server = one(Kind::Static, 300, 100);
    let admin = |verb: &str| get(&format!("{}/admin/{verb}", server.url()));
    assert_eq!(admin("grow?log=log&entries=50").json()["log"]["size"], 150);
    assert_eq!(admin("fail?rule=status:500,times=1").status, 200);
    let url = format!("{}checkpoint", server.log(0).url());
    assert_eq!((get(&url).status, get(&url).status), (500, 200));
    assert_eq!(admin("record").json()["log"]["statuses"]["500"], 1);
    for wrong in ["fail?rule=nothing", "grow", "fly"] {
        assert_eq!(admin(wrong).status, 400, "{wrong}");
    }
    assert_eq!(admin("logs?log=none").status, 404);
}

#[test]
fn the_same_certificates_in_two_logs() {
    let pool = Arc::new(Pool::synthetic(1, 100));
    let second = LogOptions { first_entry_ms: 5_000, ..LogOptions::new("b", Kind::Static, &pool) };
    let server = Server::start(vec![LogOptions::new("a", Kind::Rfc6962, &pool), second]);
    let (a, b) = (by_pages(server.log(0), 100).0, by_tiles(server.log(1), 100));
    for (index, (a, b)) in (0..).zip(a.iter().zip(&b)) {
        assert_eq!(u64::from_be_bytes(*b[2..].first_chunk().unwrap()), 5_000 + index);
        let ends = (a.len() - 2, b.len() - 10);
        assert_eq!(a[10..ends.0], b[10..ends.1]);
    }
    assert_ne!(server.log(0).key().log_id(), server.log(1).key().log_id());
}
