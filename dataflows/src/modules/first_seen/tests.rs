use std::collections::HashSet;
use std::sync::Arc;

use ct_model::Timestamp;
use serde_json::Value;

use super::*;
use crate::modules::tests::{boxed, certificate, detail, examine, module};
use crate::modules::{FACTS_MAX, Memories, Modules};

/// A job with this module, as far as it goes here.
struct Job {
    modules: Arc<Modules>,
    memories: Memories,
}

impl Job {
    fn new(options: &Value) -> Self {
        let modules = Arc::new(module("first-seen", options.clone()).expect("no mistake"));
        Self { memories: Memories::new(Arc::clone(&modules)), modules }
    }

    fn facts(&self, names: &[&str]) -> Vec<Fact> {
        let (mut facts, mut failed) = (Vec::new(), Vec::new());
        self.modules.facts(&Subject::certificate(&certificate(names), &[]), &mut facts, &mut failed);
        assert_eq!(failed, []);
        facts
    }

    fn learn(&mut self, names: &[&str]) -> Vec<Finding> {
        let mut found = Vec::new();
        self.facts(names).into_iter().for_each(|fact| self.memories.learn(fact, &mut found));
        found
    }

    fn recall(&mut self, names: &[&str]) {
        self.facts(names).into_iter().for_each(|fact| self.memories.recall(fact));
    }
}

/// Check and name, in order of names.
fn said(found: &[Finding]) -> Vec<(&str, &str)> {
    let mut said: Vec<_> = found.iter().map(|one| (&*one.check, one.name.as_deref().unwrap_or_default())).collect();
    said.sort_unstable();
    said
}

#[track_caller]
fn check(options: &Value, names: &[&str], want: &[(&str, &str)]) {
    let mut job = Job::new(options);
    assert_eq!(said(&job.learn(names)), want);
    assert_eq!(job.learn(names), [], "again");
}

const NAMES: [&str; 6] =
    ["a.example.com", "b.example.com", "*.example.com", "co.uk", "shop.example.co.uk", "localhost"];

#[test]
fn domains() {
    check(&json!({}), &NAMES, &[("domain", "example.co.uk"), ("domain", "example.com")]);
}

#[test]
fn hosts() {
    let mut want = NAMES.map(|name| ("host", name));
    want.sort_unstable();
    check(&json!({"domains": false, "hosts": true}), &NAMES, &want);
    check(&json!({"hosts": true}), &["example.com"], &[("domain", "example.com"), ("host", "example.com")]);
    check(&json!({"domains": false}), &NAMES, &[]);
}

#[test]
fn a_few_names_in_a_filter() {
    check(&json!({"mode": "bounded"}), &NAMES, &[("domain", "example.co.uk"), ("domain", "example.com")]);
}

#[test]
fn details() {
    let about = |options, name| detail(&Job::new(&options).learn(&[name])[0]);
    assert_eq!(
        about(json!({}), "www.xn--bcher-kva.co.uk"),
        json!({"host": "www.xn--bcher-kva.co.uk", "registered_domain": "xn--bcher-kva.co.uk", "public_suffix": "co.uk",
               "unicode": "bücher.co.uk"})
    );
    let hosts = json!({"domains": false, "hosts": true});
    assert_eq!(
        about(hosts.clone(), "*.example.com"),
        json!({"wildcard": true, "registered_domain": "example.com", "public_suffix": "com"})
    );
    assert_eq!(about(hosts, "localhost"), json!({"wildcard": false}));
}

#[test]
fn a_finding_is_reported_once_with_the_certificate_that_showed_it() {
    let finding = Job::new(&json!({})).learn(&["a.example.com"]).remove(0);
    assert_eq!((finding.once, finding.severity), (true, Severity::Info));
    assert_eq!((finding.sha256, finding.seen), (Some([7; 32]), Some(Timestamp(1_000_000))));
    assert_eq!(finding.id, Finding::id_of("first-seen", "domain", "example.com", None));
}

#[test]
fn names_alone_are_not_remembered() {
    let modules = module("first-seen", json!({"hosts": true})).expect("no mistake");
    let names = boxed(&["a.example.com"]);
    let (mut facts, mut failed) = (Vec::new(), Vec::new());
    modules.facts(&Subject::names_only(&names), &mut facts, &mut failed);
    assert!(facts.is_empty() && failed.is_empty());
    assert_eq!(examine(&modules, &Subject::names_only(&names)), []);
}

#[test]
fn a_certificate_with_many_names_makes_few_facts_for_any_number_of_workers() {
    let names: Vec<String> = (0..20_000).map(|n| format!("www.n{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut job = Job::new(&json!({"hosts": true}));
    let facts = job.facts(&names);
    assert!(facts.len() == usize::from(GROUPS) && facts.len() <= FACTS_MAX);
    for workers in [2, 4, 8, 64] {
        let routes: HashSet<u8> = facts.iter().map(|fact| fact.bin() % workers).collect();
        assert_eq!(routes.len(), usize::from(workers));
    }
    assert_eq!(job.learn(&names).len(), 40_000);
}

/// Certificates of 1 to 8 hosts below `domains` domains, with repeats; linear congruences from `seed`.
fn stream(count: usize, domains: u64, seed: u64) -> Vec<Vec<String>> {
    let mut state = seed;
    let mut next = move |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    (0..count).map(|_| (0..=next(8)).map(|_| format!("h{}.n{}.example", next(3), next(domains))).collect()).collect()
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn exact_agrees_with_a_set() {
    let mut job = Job::new(&json!({"hosts": true}));
    let mut seen: HashSet<(&str, String)> = HashSet::new();
    for names in stream(40_000, 30_000, 7) {
        let mut want = Vec::new();
        for host in &names {
            let domain = host.split_once('.').expect("a host below a domain").1;
            for one in [("host", host.clone()), ("domain", domain.to_owned())] {
                if seen.insert(one.clone()) {
                    want.push(one);
                }
            }
        }
        want.sort_unstable();
        let found = job.learn(&texts(&names));
        assert!(said(&found).into_iter().eq(want.iter().map(|(check, name)| (*check, name.as_str()))), "{names:?}");
    }
    assert!(seen.len() > 100_000);
}

#[test]
fn bounded_misses_no_more_than_stated_and_says_nothing_twice() {
    const NAMES: usize = 100_000;
    for stated in [0.1, 0.01, 0.001] {
        let mut job = Job::new(&json!({"mode": "bounded", "expected": NAMES, "error": stated}));
        let mut told = HashSet::new();
        for _ in 0..2 {
            for n in 0..NAMES {
                for finding in job.learn(&[&format!("www.n{n}.example")]) {
                    assert_eq!(&*finding.check, "domain");
                    assert!(told.insert(finding.id));
                }
            }
        }
        let missed = (NAMES - told.len()) as f64 / NAMES as f64;
        assert!(missed <= stated, "{missed} where {stated} was stated");
    }
}

#[test]
fn more_names_than_expected_are_told_once() {
    let mut job = Job::new(&json!({"mode": "bounded", "expected": 1_000, "error": 0.01}));
    let names: Vec<String> = (0..8_000).map(|n| format!("n{n}.example")).collect();
    let mut at_first = job.learn(&texts(&names[..1_000]));
    assert!(at_first.iter().all(|finding| &*finding.check == "domain"));
    at_first = job.learn(&texts(&names));
    let told: Vec<_> = at_first.iter().filter(|finding| &*finding.check == "saturated").collect();
    assert!(!told.is_empty() && told.iter().all(|one| one.once && one.id == told[0].id), "one id for all groups");
    assert_eq!((told[0].severity, told[0].name.as_deref()), (Severity::Medium, None));
    let more: Vec<String> = (8_000..9_000).map(|n| format!("n{n}.example")).collect();
    assert!(job.learn(&texts(&more)).iter().all(|finding| &*finding.check == "domain"));
}

/// A job that was killed after any certificate, and reads back what the lake has in another order, goes on with the
/// same findings.
#[test]
fn a_restart_changes_nothing() {
    for options in [
        json!({"hosts": true}),
        json!({"hosts": true, "mode": "bounded", "expected": 1_000, "error": 0.5}),
        json!({"hosts": true, "mode": "bounded", "expected": 10_000, "error": 0.001}),
    ] {
        let certificates = stream(600, 400, 11);
        let mut whole = Job::new(&options);
        let want: Vec<Vec<Finding>> = certificates.iter().map(|names| whole.learn(&texts(names))).collect();
        for cut in [0, 1, 99, 300, 599] {
            let mut job = Job::new(&options);
            let (lake, rest) = certificates.split_at(cut);
            // 7 divides none of the cuts, so every certificate comes once.
            (0..cut).for_each(|n| job.recall(&texts(&lake[(n * 7 + 3) % cut])));
            for (names, want) in rest.iter().zip(&want[cut..]) {
                assert_eq!(&job.learn(&texts(names)), want, "{options} cut at {cut}");
            }
        }
    }
}

#[track_caller]
fn check_mistake(options: Value, want: &str) {
    assert_eq!(
        module("first-seen", options).err().expect("a mistake").to_string(),
        format!("modules.first-seen.{want}")
    );
}

#[test]
fn mistakes_name_the_key() {
    check_mistake(json!({"expected": 999}), "expected: 999 is not allowed (1000..=250000000)");
    check_mistake(json!({"expected": 250_000_001}), "expected: 250000001 is not allowed (1000..=250000000)");
    check_mistake(json!({"error": 0}), "error: 0 is not allowed (0.000001 to 0.5)");
    check_mistake(json!({"error": 0.6}), "error: 0.6 is not allowed (0.000001 to 0.5)");
    check_mistake(json!({"mode": "off"}), "mode: \"off\" is not allowed (exact, bounded)");
}
