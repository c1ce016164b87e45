use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ct_model::{CertRecord, Timestamp};
use serde_json::{Value, json};

use super::super::Modules;
use super::super::memory::Memories;
use super::super::tests::{certificate, detail, module};
use super::*;

mod simulation;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2026-01-01. Times in these tests count from here.
const START: i64 = 1_767_225_600_000_000;

/// Name, check, and the end of the certificate.
type Said = (String, String, String);

fn prepared(options: Value) -> Arc<Modules> {
    Arc::new(module("renewal", options).expect("no mistake"))
}

/// A certificate seen at a time, valid from a time to a time.
fn seen(at: i64, names: &[&str], valid: (i64, i64)) -> CertRecord {
    CertRecord {
        seen: Some(Timestamp(START + at)),
        not_before: Some(Timestamp(START + valid.0)),
        not_after: Some(Timestamp(START + valid.1)),
        sha256: Some([1; 32]),
        ..certificate(names)
    }
}

/// Eight certificates of nobody: so many make the time known.
fn clock(at: i64) -> Vec<CertRecord> {
    vec![CertRecord { sha256: Some([0; 32]), ..seen(at, &["nobody.test"], (at, at + DAY)) }; 8]
}

fn facts(modules: &Modules, certificates: &[CertRecord]) -> Vec<Fact> {
    let (mut facts, mut failed) = (Vec::new(), Vec::new());
    for certificate in certificates {
        modules.facts(&Subject::certificate(certificate, &[]), &mut facts, &mut failed);
    }
    assert_eq!(failed, []);
    facts
}

/// What one memory says to the facts, one after the other.
fn learn(modules: &Arc<Modules>, recalled: &[Fact], learned: &[Fact]) -> Vec<Vec<Finding>> {
    let mut memory = Memories::new(modules.clone());
    recalled.iter().for_each(|fact| memory.recall(fact.clone()));
    let steps = learned.iter().map(|fact| {
        let mut out = Vec::new();
        memory.learn(fact.clone(), &mut out);
        out
    });
    steps.collect()
}

fn said(finding: &Finding) -> Said {
    let end = detail(finding)["not_after"].as_str().unwrap_or_default().to_owned();
    (finding.name.as_deref().unwrap_or_default().to_owned(), finding.check.to_string(), end)
}

/// Name and check of all that is said when `recalled` is known and the others come, in this order.
#[track_caller]
fn check_recalled(options: Value, recalled: &[CertRecord], learned: &[CertRecord], want: &[(&str, &str)]) {
    let modules = prepared(options);
    let out = learn(&modules, &facts(&modules, recalled), &facts(&modules, learned));
    let got: Vec<_> = out.iter().flatten().map(said).collect();
    assert_eq!(got.iter().map(|(name, check, _)| (&**name, &**check)).collect::<Vec<_>>(), want);
}

#[track_caller]
fn check(options: Value, certificates: &[CertRecord], want: &[(&str, &str)]) {
    check_recalled(options, &[], certificates, want);
}

fn watch() -> Value {
    json!({"items": [".example.com"]})
}

/// 90 days from now on: due with 27 left, urgent with 9 left.
fn quarter(at: i64, names: &[&str]) -> CertRecord {
    seen(at, names, (at, at + 90 * DAY))
}

#[test]
fn a_lapse_is_said_level_by_level() {
    let days = [62, 64, 65, 80, 82, 89, 91, 200];
    let mut stream = vec![quarter(0, &["a.example.com"])];
    stream.extend(days.into_iter().flat_map(|day| clock(day * DAY)));
    let name = "a.example.com";
    check(watch(), &stream, &[(name, "renewal-due"), (name, "renewal-urgent"), (name, "expired")]);
}

#[test]
fn a_finding_tells_what_runs_out() {
    let modules = prepared(json!({"items": [{"item": ".example.com", "tags": ["shop"]}, "b.example.com"]}));
    let mut stream = vec![quarter(0, &["a.example.com"]), quarter(10 * DAY, &["*.example.com"])];
    stream.extend(clock(80 * DAY));
    let out = learn(&modules, &[], &facts(&modules, &stream)).concat();
    let of_name = out.iter().find(|finding| finding.name.as_deref() == Some("a.example.com")).unwrap();
    let want = json!({"not_after": "2026-04-11T00:00:00.000000Z", "lifetime_days": 90.0, "left_days": 20.0,
        "covered_by": "*.example.com", "items": [".example.com"], "tags": ["shop"]});
    assert_eq!(detail(of_name), want);
    assert_eq!((of_name.seen, of_name.once), (Some(Timestamp(START + 80 * DAY)), true));
}

#[test]
fn time_that_leaps_says_the_worst_level_only() {
    let name = "a.example.com";
    for (day, level) in [(62, None), (70, Some("renewal-due")), (85, Some("renewal-urgent")), (90, Some("expired"))] {
        let stream = [vec![quarter(0, &[name])], clock(0), clock(day * DAY)].concat();
        check(watch(), &stream, &level.map(|level| (name, level)).into_iter().collect::<Vec<_>>());
    }
    // It was not over when the time was last known.
    check(watch(), &[vec![quarter(0, &[name])], clock(0), clock(300 * DAY)].concat(), &[(name, "expired")]);
}

#[test]
fn what_was_over_long_before_it_came_is_history() {
    let name = "a.example.com";
    for (over, want) in [(8, &[][..]), (6, &[(name, "expired")][..])] {
        let old = seen(100 * DAY, &[name], (0, (100 - over) * DAY));
        check(watch(), &[clock(100 * DAY), vec![old.clone()], clock(120 * DAY)].concat(), want);
        // The same while the time is not known yet.
        check(watch(), &[vec![old], clock(100 * DAY)].concat(), want);
    }
}

#[test]
fn a_certificate_that_comes_late_in_its_life_is_judged_at_once() {
    let old = seen(100 * DAY, &["a.example.com"], (15 * DAY, 105 * DAY));
    check(watch(), &[clock(100 * DAY), vec![old]].concat(), &[("a.example.com", "renewal-urgent")]);
}

#[test]
fn nothing_is_said_before_the_time_is_known() {
    let stream = [vec![quarter(0, &["a.example.com"])], clock(100 * DAY)].concat();
    check(watch(), &stream[..8], &[]);
    check(watch(), &stream[..9], &[("a.example.com", "expired")]);
}

#[test]
fn one_wrong_clock_moves_nothing() {
    let wrong = vec![quarter(10_000 * DAY, &["b.example.com"])];
    check(watch(), &[vec![quarter(0, &["a.example.com"])], clock(0), wrong, clock(DAY)].concat(), &[]);
}

#[test]
fn what_is_recalled_is_judged_with_the_first_fact() {
    let name = "a.example.com";
    let recalled = [vec![quarter(0, &[name])], clock(70 * DAY)].concat();
    check_recalled(watch(), &recalled, &clock(70 * DAY)[..1], &[(name, "renewal-due")]);
    // A few facts of the lake do not make the time known, together with new ones they do.
    check_recalled(watch(), &recalled[..4], &clock(70 * DAY)[..3], &[]);
    check_recalled(watch(), &recalled[..4], &clock(70 * DAY), &[(name, "renewal-due")]);
    // What is renewed, or has been over for long, is not.
    let renewed = [recalled.clone(), vec![quarter(60 * DAY, &[name])]].concat();
    check_recalled(watch(), &renewed, &clock(70 * DAY), &[]);
    check_recalled(watch(), &[recalled, clock(100 * DAY)].concat(), &clock(101 * DAY), &[]);
}

#[test]
fn reminders_of_former_certificates_are_forgotten() {
    // Five certificates, each of which would be due before the last one is.
    let mut stream: Vec<_> = (0..5).map(|day| quarter(day * DAY, &["a.example.com"])).collect();
    stream.extend([clock(4 * DAY), clock(66 * DAY), clock(68 * DAY)].concat());
    check(watch(), &stream, &[("a.example.com", "renewal-due")]);
}

#[test]
fn lifetimes_set_the_moments() {
    let name = "a.example.com";
    // Ten days or less: due with 30% left. More: with seven days left, if that is longer.
    for (lifetime, silent_hours_left, due_hours_left) in [(6, 44, 43), (10, 73, 72), (11, 169, 168), (20, 169, 168)] {
        let stream = |hours_left| {
            let now = lifetime * DAY - hours_left * HOUR;
            [vec![seen(0, &[name], (0, lifetime * DAY))], clock(0), clock(now)].concat()
        };
        check(watch(), &stream(silent_hours_left), &[]);
        check(watch(), &stream(due_hours_left), &[(name, "renewal-due")]);
    }
}

#[test]
fn which_names_are_watched() {
    let wildcard = "*.example.com";
    for (items, names, want) in [
        (&["example.com"][..], &["example.com", "a.example.com", "*.example.com"][..], &["example.com"][..]),
        (&[".example.com"], &["example.com", wildcard, "example.org"], &[wildcard, "example.com"]),
        // An item is watched when a wildcard stands for it; but not for one of two labels, nor for a part of one.
        (&["a.example.com", ".b.example.com"], &[wildcard], &["a.example.com", "b.example.com"]),
        (&["a.b.example.com"], &[wildcard], &[]),
        (&["a.example.com"], &["a*.example.com"], &[]),
        (&["."], &["example.com", "example.org"], &["example.com", "example.org"]),
        (&[], &["example.com"], &[]),
    ] {
        let modules = prepared(json!({ "items": items }));
        let stream = [vec![quarter(0, names)], clock(100 * DAY)].concat();
        let out = learn(&modules, &[], &facts(&modules, &stream)).concat();
        let got: BTreeSet<_> = out.iter().filter_map(|finding| finding.name.as_deref()).collect();
        assert_eq!(got, want.iter().copied().collect(), "{items:?} {names:?}");
    }
}

#[test]
fn issuers_are_not_looked_at() {
    let options = json!({"items": [{"item": "example.com", "allow_issuers": ["Our CA"]}]});
    let own = |at| CertRecord { issuer_org: Some("Our CA".into()), ..quarter(at, &["example.com"]) };
    check(options.clone(), &[vec![own(0)], clock(70 * DAY)].concat(), &[("example.com", "renewal-due")]);
    check(options, &[vec![own(0), own(60 * DAY)], clock(70 * DAY)].concat(), &[]);
}

#[test]
fn dates_that_nobody_accepts_cover_nothing() {
    let lapse = [vec![quarter(0, &["example.com"])], clock(70 * DAY)].concat();
    for valid in [(0, 1_191 * DAY), (60 * DAY, 60 * DAY), (90 * DAY, 60 * DAY), (1_000 * DAY, 1_300 * DAY)] {
        let odd = vec![seen(60 * DAY, &["example.com"], valid)];
        check(json!({"items": ["example.com"]}), &[odd, lapse.clone()].concat(), &[("example.com", "renewal-due")]);
    }
    let long = vec![seen(60 * DAY, &["example.com"], (0, 1_190 * DAY))];
    check(json!({"items": ["example.com"]}), &[long, lapse].concat(), &[]);
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].map(Timestamp);
    let mut stream = Vec::new();
    for (seen, not_before, not_after) in
        ends.iter().flat_map(|a| ends.iter().flat_map(move |b| ends.map(|c| (a, b, c))))
    {
        let dates = (Some(*seen), Some(*not_before), Some(not_after));
        stream.push(CertRecord {
            seen: dates.0,
            not_before: dates.1,
            not_after: dates.2,
            ..quarter(0, &["example.com"])
        });
    }
    for backwards in [false, true] {
        let modules = prepared(json!({"items": ["example.com"]}));
        let mut facts = facts(&modules, &stream);
        if backwards {
            facts.reverse();
        }
        let out = learn(&modules, &[], &facts).concat();
        assert!(out.iter().all(|finding| &*finding.check != "module-error"), "{out:?}");
    }
}

#[test]
fn names_beyond_the_most_are_told_and_which_they_are_does_not_depend_on_the_order() {
    let modules = prepared(json!({"items": [".example.com", "example.com"], "names_max": 20}));
    let names: Vec<String> = (0..100).map(|n| format!("h{n}.s{}.example.com", n % 7)).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.extend(["example.com", "*.s1.example.com", "*.example.com"]);
    let expired = |names: &[&str]| {
        let stream: Vec<_> =
            names.iter().map(|name| quarter(0, &[name])).chain(clock(0)).chain(clock(90 * DAY)).collect();
        let out = learn(&modules, &[], &facts(&modules, &stream)).concat();
        let overflows = out.iter().filter(|finding| &*finding.check == "too-many-names").count();
        assert_eq!(overflows, 1);
        out.iter().map(said).filter(|(_, check, _)| check == "expired").map(|(name, ..)| name).collect::<BTreeSet<_>>()
    };
    let first = expired(&names);
    assert_eq!(first.len(), 20);
    for kept in ["example.com", "*.s1.example.com", "*.example.com"] {
        assert!(first.contains(kept), "items and wildcards stay: {kept}");
    }
    let mut random = simulation::Random(3);
    for _ in 0..50 {
        random.shuffle(&mut names);
        assert_eq!(expired(&names), first);
    }
}

#[test]
fn facts_are_few_and_of_one_key() {
    let modules = prepared(watch());
    let names: Vec<String> = (0..3_000).map(|n| format!("h{n}.example.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let facts = facts(&modules, &[vec![quarter(0, &names)], clock(0)[..1].to_vec()].concat());
    assert_eq!(facts.len(), 2);
    assert_eq!(facts[0].text.split(' ').count(), NAMES_MAX);
    assert_eq!((&*facts[1].text, facts[1].key), ("", facts[0].key));
}

#[test]
fn mistakes_name_the_key() {
    let error = module("renewal", json!({"due": 0.1, "urgent": 0.2})).err().unwrap();
    assert_eq!(error.to_string(), "modules.renewal.urgent: 0.2 is not allowed (at most `due`, 0.1)");
}
