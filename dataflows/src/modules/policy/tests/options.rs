//! What may be set, and what becomes of a certificate in the module.

use super::made::Made;
use super::*;
use crate::modules::tests::{certificate, detail, examine, module};
use crate::modules::{OptionError, Subject};

#[track_caller]
fn check_error(options: Value, want: &str) {
    let error = module("policy", options).err().expect("a mistake");
    assert!(error.to_string().starts_with(want), "{error}");
}

#[test]
fn mistakes() {
    check_error(json!({"profiles": ["chrome"]}), "modules.policy.profiles[0]: unknown profile \"chrome\"; ");
    check_error(json!({"profiles": [1]}), "modules.policy.profiles[0]: a number where text is expected");
    check_error(json!({"ignore": ["br", "sig.sha"]}), "modules.policy.ignore[0]: unknown check \"br\"; ");
    check_error(
        json!({"min_level": "fatal"}),
        "modules.policy.min_level: \"fatal\" is not allowed (notice, warn, error)",
    );
    check_error(json!({"log_list": "[]"}), "modules.policy.log_list cannot be used");
    check_error(json!({"blocklist": "# ok\nabcd"}), "modules.policy.blocklist line 2 cannot be used");
}
#[test]
fn mistakes_in_a_log_list() {
    let check = |change: fn(&mut Value), want: &str| {
        let mut list: Value = serde_json::from_str(&super::browsers::log_list()).expect("it is JSON");
        change(&mut list["operators"][0]["logs"]);
        match module("policy", json!({"log_list": list.to_string()})).err() {
            Some(OptionError::Invalid { source, .. }) => assert_eq!(source.to_string(), want),
            other => panic!("{other:?}"),
        }
    };
    check(|logs| logs[1]["log_id"] = json!("AAAA"), "log \"B\" of \"Alpha\": `log_id` is not the SHA-256 of the key");
    let dead = |logs: &mut Value| logs[0]["state"] = json!({"dead": {"timestamp": "2026-01-01T00:00:00Z"}});
    check(dead, "log \"A\" of \"Alpha\": not exactly one state, or an unknown one");
    check(
        |logs| logs[0]["state"]["usable"]["timestamp"] = json!("today"),
        "log \"A\" of \"Alpha\": a time that is none",
    );
    check(|logs| *logs = json!([{}]), "log \"\" of \"Alpha\": not the fields of a log");
}
#[test]
fn lists_that_were_merged() {
    let mut list: Value = serde_json::from_str(&super::browsers::log_list()).expect("it is JSON");
    let again = list["operators"][0].clone();
    list["operators"].as_array_mut().expect("it is a list").push(again);
    assert!(module("policy", json!({"log_list": list.to_string()})).is_ok());
}
#[test]
fn profiles_levels_and_ids_select() {
    let made = Made::new().lasting("2026-05-01T00:00:00Z", 199 * 86_400).without(super::made::SKI).der();
    let check = |options: Value, want: &[&str]| assert_eq!(failures(&policy(options), &made, None), want);
    check(json!({}), &["validity.near_max"]);
    check(json!({"profiles": ["br", "hygiene"]}), &["validity.near_max", "ski.missing"]);
    check(json!({"profiles": ["hygiene"]}), &["ski.missing"]);
    check(json!({"min_level": "error"}), &[]);
    check(json!({"ignore": ["validity.near_max"]}), &[]);
    check(json!({"profiles": []}), &[]);
}
#[test]
fn findings_name_rule_and_date() {
    let modules = module("policy", json!({})).expect("no mistake");
    assert!(modules.want_der());
    let der = Made::new().lasting("2026-05-01T00:00:00Z", 200 * 86_400).der();
    let record = certificate(&["www.example.com"]);
    let subject = Subject { der: Some(&der), ..Subject::certificate(&record, &[]) };
    let found = examine(&modules, &subject);
    let checks: Vec<(&str, &str)> = found.iter().map(|finding| (&*finding.check, finding.severity.as_str())).collect();
    assert_eq!(checks, [("validity.max_days", "medium"), ("validity.near_max", "low")]);
    assert_eq!(
        detail(&found[0]),
        json!({
            "id": "validity.max_days",
            "level": "error",
            "effective": "2026-03-15",
            "source": "BR 6.3.2",
            "detail": "valid for 200 days and 1 seconds, limit 200 days",
            "profile": "br",
        })
    );
    assert_eq!(examine(&modules, &Subject::certificate(&record, &[])), [], "no bytes, no findings");
}
#[test]
fn what_cannot_be_parsed_is_a_finding() {
    let modules = module("policy", json!({})).expect("no mistake");
    let mut record = certificate(&[]);
    record.parse_error = Some("an unknown field before the extensions".into());
    let der = Made::new().der();
    for (der, want) in [(&b"no certificate"[..], "parse.failed"), (&der, "parse.partial")] {
        let found = examine(&modules, &Subject { der: Some(der), ..Subject::certificate(&record, &[]) });
        assert_eq!(found.iter().map(|finding| &*finding.check).collect::<Vec<_>>(), [want]);
    }
}
#[test]
fn ids_are_those_of_rules_that_replace_each_other() {
    let all: Vec<&super::super::Check> = super::super::checks().collect();
    for (at, one) in all.iter().enumerate() {
        for other in all[at + 1..].iter().filter(|other| other.id == one.id) {
            let overlap = one.until.is_none_or(|until| other.since.is_some_and(|since| since < until))
                && other.until.is_none_or(|until| one.since.is_some_and(|since| since < until));
            assert!(!overlap, "{} is two rules at once", one.id);
        }
        assert!(one.since.zip(one.until).is_none_or(|(since, until)| since < until), "{}", one.id);
        assert!(!one.profiles.is_empty() && !one.source.is_empty());
    }
}
