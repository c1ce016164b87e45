//! `remember` and the modules with a memory: whatever the workers, the epochs and the kills, the findings are those of
//! plain loops over all certificates.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ct_dataflows::modules::{Fact, Modules, Subject};
use ct_dataflows::operators::{once, remember};
use ct_dataflows::records::NewFact;
use ct_dataflows::{Epoch, Meter};
use ct_model::name::registered_domains;
use ct_model::{CertId, CertRecord, Finding, Key, ParseState, Timestamp};
use serde_json::{Value, json};
use timely::dataflow::operators::vec::Map;

use crate::random::Random;
use crate::run::{ARRIVALS, Arrival, WORKERS, feed, run, share};

const START: i64 = 1_795_392_000; // a midnight
const MINUTE: i64 = 60_000_000;

fn certificate(number: u64, domain: &str, key: u8, second: i64) -> CertRecord {
    let id = CertId::entry("log.example", number);
    let names: Vec<Box<str>> = vec![format!("www.{domain}").into(), domain.into()];
    CertRecord {
        id,
        sha256: id.bytes().try_into().ok(),
        sha1: None,
        tbs_sha256: None,
        spki_sha256: Some([key; 32]),
        kind: None,
        serial: None,
        issuer_dn: None,
        issuer_cn: None,
        issuer_org: Some("CA".into()),
        subject_dn: None,
        subject_cn: None,
        not_before: None,
        not_after: None,
        registered_domains: registered_domains(&names),
        names,
        ips: Vec::new(),
        key_algorithm: None,
        key_bits: None,
        signature_algorithm: None,
        is_ca: None,
        sct_count: None,
        scts: Vec::new(),
        parse: ParseState::Ok,
        parse_error: None,
        der_bytes: None,
        seen: Some(Timestamp::from_seconds(START + second)),
        log: None,
        log_index: None,
        feed: "test".into(),
        der: None,
    }
}

/// 900 certificates of 15 minutes: shops of a series, of which some get many, with few keys among them. Their times are
/// up to two minutes out of order, and one minute has more of them than others.
fn certificates(seed: u64) -> Vec<CertRecord> {
    let mut random = Random::new(seed);
    let mut one = |number: u64| {
        let minute = number / 60;
        let busy = (minute % 4 == 3 && random.one_in(2)).then(|| format!("shop{}.example", minute / 4));
        let domain = busy.unwrap_or_else(|| match random.below(3) {
            0 => format!("shop{}.example", random.below(70)),
            1 => format!("com-{}.top", random.below(300)),
            _ => format!("plain{}.example", (b'a' + random.below(26) as u8) as char),
        });
        let second = if (500..650).contains(&number) { 540 + random.below(60) } else { number + random.below(120) };
        certificate(number, &domain, random.below(120) as u8, second as i64)
    };
    (0..900).map(&mut one).collect()
}

fn modules() -> Arc<Modules> {
    let options = json!({
        "key-reuse": { "domains_max": 4 },
        "rate-anomaly": {
            "by": ["issuer", "domain"], "window_minutes": 1, "history": 4, "learn_windows": 2, "z": 2,
            "minimum_issuer": 60, "minimum_domain": 5
        },
        "clusters": { "k": 3, "shapes": ["suffix", "digits"] },
    });
    let options: std::collections::BTreeMap<_, _> = serde_json::from_value(options).expect("tables of options");
    let selected: Vec<String> = options.keys().cloned().collect();
    Arc::new(Modules::prepare(&selected, &options).expect("the options are good"))
}

/// What a finding says, in one line.
fn told(finding: &Finding) -> String {
    let detail: Value = serde_json::from_str(&finding.detail).expect("a detail is JSON");
    let parts = match &*finding.check {
        "shared-key" => ["spki_sha256", "before"].as_slice(),
        "widely-shared" => &["spki_sha256"],
        "series" => &["pattern", "domains"],
        _ => &["issuer", "domain", "from", "count"],
    };
    let parts: Vec<String> =
        parts.iter().map(|part| &detail[part]).filter(|part| !part.is_null()).map(Value::to_string).collect();
    format!("{} {}", finding.check, parts.join(" "))
}

fn shared_keys_by_loop(certificates: &[CertRecord], out: &mut BTreeSet<String>) {
    let mut owners: HashMap<[u8; 32], BTreeSet<&str>> = HashMap::new();
    for row in certificates {
        let spki = row.spki_sha256.expect("all have a key");
        let known = owners.entry(spki).or_default();
        let (domain, before) = (&*row.registered_domains[0], known.clone());
        if before.len() > 4 || !known.insert(domain) || before.is_empty() {
            continue;
        }
        let spki = json!(ct_model::id::to_hex(&spki));
        out.insert(match known.len() {
            5.. => format!("widely-shared {spki}"),
            _ => format!("shared-key {spki} {}", json!(before)),
        });
    }
}

fn rates_by_loop(certificates: &[CertRecord], out: &mut BTreeSet<String>) {
    let keys =
        |row: &CertRecord| [("issuer", 60, "CA".to_owned()), ("domain", 5, row.registered_domains[0].to_string())];
    let window = |row: &CertRecord| row.seen.expect("all have a time").0.div_euclid(MINUTE);
    let bin = |by: &str, of: &str| Fact::key_of(&[by, of]) >> 56;
    for at in 0..certificates.len() {
        for (by, minimum, of) in keys(&certificates[at]) {
            let now = window(&certificates[at]);
            let so_far = || certificates[..=at].iter().flat_map(|row| keys(row).map(|key| (window(row), key)));
            let count = |window| so_far().filter(|(w, key)| *w == window && key.0 == by && key.2 == of).count();
            let watched = |past: &i64| so_far().any(|(w, key)| w == *past && bin(key.0, &key.2) == bin(by, &of));
            let past: Vec<i64> = (now - 4..now).filter(watched).collect();
            if count(now) < minimum || past.len() < 2 {
                continue;
            }
            let weight = |past: i64| (-std::f64::consts::LN_2 * (now - past) as f64 / 2.0).exp();
            let all: f64 = past.iter().map(|past| weight(*past)).sum();
            let mean = past.iter().map(|past| weight(*past) * count(*past) as f64).sum::<f64>() / all;
            let variance =
                past.iter().map(|past| weight(*past) * (count(*past) as f64 - mean).powi(2)).sum::<f64>() / all;
            let limit = mean + 2.0 * variance.max(mean).max(1.0).sqrt();
            let place = format!("{by}-rate {} {}", json!(of), json!(Timestamp(now * MINUTE).to_string()));
            if count(now) as f64 > limit && !out.iter().any(|told| told.starts_with(&place)) {
                out.insert(format!("{place} {}", count(now)));
            }
        }
    }
}

fn series_by_loop(certificates: &[CertRecord], out: &mut BTreeSet<String>) {
    let mut groups: HashMap<&str, HashSet<&str>> = HashMap::new();
    for row in certificates {
        let domain = &*row.registered_domains[0];
        let pattern = match domain {
            shop if shop.starts_with("shop") => "shop#.example",
            com if com.starts_with("com-") => "com-*.top",
            _ => continue,
        };
        let group = groups.entry(pattern).or_default();
        if group.insert(domain) && [3, 30, 300].contains(&group.len()) {
            out.insert(format!("series {} {}", json!(pattern), group.len()));
        }
    }
}

fn by_loop(certificates: &[CertRecord]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    shared_keys_by_loop(certificates, &mut out);
    rates_by_loop(certificates, &mut out);
    series_by_loop(certificates, &mut out);
    out
}

fn facts(modules: &Modules, certificates: &[CertRecord]) -> Vec<Fact> {
    let (mut facts, mut failed) = (Vec::new(), Vec::new());
    for row in certificates {
        modules.facts(&Subject::certificate(row, &[]), &mut facts, &mut failed);
    }
    assert_eq!(failed, []);
    facts
}

/// The findings of `certificates` after those of `before`, epochs of so many certificates.
fn findings(
    workers: usize,
    arrival: Arrival,
    chunk: usize,
    before: (&[CertRecord], &[Finding]),
    certificates: &[CertRecord],
) -> Vec<Finding> {
    let modules = modules();
    let mut known: Vec<(Epoch, Fact)> = facts(&modules, before.0).into_iter().map(|fact| (0, fact)).collect();
    Random::new(7).shuffle(&mut known);
    let said: Vec<(Epoch, (u32, Key))> = before.1.iter().map(|finding| (0, (0, Key::finding(&finding.id)))).collect();
    let mut new = Vec::new();
    for (chunk, epoch) in certificates.chunks(chunk).zip(1..) {
        let numbered = (0..).zip(facts(&modules, chunk));
        new.extend(numbered.map(|(ordinal, fact)| (epoch, NewFact { fact, ordinal, generation: 0 })));
    }
    run(workers, move |scope, found| {
        let (index, peers) = (scope.index(), scope.peers());
        let known = feed(scope, share(&known, arrival, index, peers));
        let said = feed(scope, share(&said, arrival, index, peers));
        let new = feed(scope, share(&new, arrival, index, peers));
        let candidates = remember::remember(new, known, modules.clone());
        let rows = once::once(candidates, said, Arc::new(Meter::default()));
        found.gather(rows.flat_map(|rows| rows.rows.findings), |_, finding| finding);
    })
}

/// Fails unless each finding of the loops is there once, and no other.
#[track_caller]
fn check(found: &[Finding], want: &BTreeSet<String>, place: &str) {
    let told: BTreeSet<String> = found.iter().map(told).collect();
    let only = |these: &BTreeSet<String>, those| these.difference(those).take(9).cloned().collect::<Vec<_>>();
    assert_eq!((only(&told, want), only(want, &told)), (vec![], vec![]), "{place}: false, missed");
    assert_eq!(found.len(), want.len(), "{place}: each once");
}

#[test]
fn agrees_with_loops_for_any_workers_and_any_epochs() {
    for seed in [1, 2] {
        let certificates = certificates(seed);
        let want = by_loop(&certificates);
        for start in ["shared-key", "widely-shared", "issuer-rate", "domain-rate", "series"] {
            assert!(want.iter().any(|told| told.starts_with(start)), "{start}");
        }
        for workers in WORKERS {
            for (arrival, chunk) in ARRIVALS.into_iter().zip([1, 40, 900]) {
                let found = findings(workers, arrival, chunk, (&[], &[]), &certificates);
                check(&found, &want, &format!("seed={seed} workers={workers} {arrival:?} chunk={chunk}"));
            }
        }
    }
}

#[test]
fn a_kill_changes_nothing() {
    let certificates = certificates(3);
    let want = by_loop(&certificates);
    for (place, killed_after) in [0, 1, 100, 333, 450, 700, 899, 900].into_iter().enumerate() {
        let (before, after) = certificates.split_at(killed_after);
        let (arrival, workers) = (ARRIVALS[place % 3], WORKERS[place % 4]);
        let mut found = findings(workers, arrival, 30, (&[], &[]), before);
        check(&found, &by_loop(before), &format!("before {killed_after}"));
        // Whoever comes next may be of another size.
        let next = findings(workers % 4 + 1, arrival, 50, (before, &found), after);
        found.extend(next);
        check(&found, &want, &format!("killed after {killed_after}"));
    }
}
