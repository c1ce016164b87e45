use serde_json::{Value, json};

use super::*;
use crate::modules::tests::{boxed, certificate, detail, examine, module};

fn found(options: Value, names: &[&str]) -> Vec<Finding> {
    let module = module("phish", options).expect("no mistake");
    examine(&module, &Subject::certificate(&certificate(names), &[]))
}

/// Names and levels of the findings.
#[track_caller]
fn check(options: Value, names: &[&str], want: &[(&str, &str)]) {
    let found = found(options, names);
    let said: Vec<(String, Value)> = found
        .iter()
        .map(|finding| (finding.name.as_deref().unwrap_or_default().to_owned(), detail(finding)["level"].clone()))
        .collect();
    let want: Vec<(String, Value)> = want.iter().map(|(name, level)| ((*name).to_owned(), (*level).into())).collect();
    assert_eq!(said, want);
}

#[track_caller]
fn check_error(options: Value, want: &str, source: &str) {
    let error = module("phish", options).err().expect("a mistake");
    let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert_eq!((error.to_string().as_str(), because.as_str()), (want, source));
}

const PHISHING: &str = "paypal-account-verify.secure-login.top";

#[test]
fn phishing_is_reported_and_the_rest_is_not() {
    let names = ["www.example.com", PHISHING, "docs.rust-lang.org", "api.eu-1.example.net", "shop.example.co.uk"];
    check(json!({}), &names, &[(PHISHING, "likely")]);
}

#[test]
fn a_finding_says_score_and_reasons() {
    let finding = found(json!({}), &[PHISHING]).remove(0);
    assert_eq!((&*finding.check, finding.severity, finding.once), ("suspicious-name", Severity::High, false));
    let scored = Phish::shipped().score(PHISHING);
    assert_eq!(finding.score, Some(scored.score));
    let detail = detail(&finding);
    assert_eq!(detail["reasons"].as_array().expect("a list").len(), REASONS_MAX);
    assert_eq!(detail["reasons"][0]["what"], scored.reasons[0].what.as_str());
    assert_eq!(detail["reasons"][0]["weight"], scored.reasons[0].weight);
}

#[test]
fn a_name_its_wildcard_and_its_www_are_one_finding() {
    let names = [PHISHING.to_owned(), format!("*.{PHISHING}"), format!("www.{PHISHING}")];
    check(json!({}), &names.each_ref().map(String::as_str), &[(PHISHING, "likely")]);
    let phish = Phish::shipped();
    let scores = names.map(|name| phish.score(&name));
    assert!(scores[0] == scores[1] && scores[1] == scores[2]);
}

#[test]
fn the_threshold_is_the_users() {
    check(json!({"threshold": 1}), &["paypal-login.example"], &[]);
    let all = found(json!({"threshold": 0.0}), &["api.example.net"]);
    assert_eq!((all.len(), all[0].severity), (1, Severity::Low));
}

#[test]
fn allowed_names_are_let_through() {
    let parent = "secure-login.top";
    check(json!({"allow": [parent]}), &[PHISHING, parent], &[]);
    check(json!({"allow": ["LOGIN.top"]}), &[PHISHING], &[(PHISHING, "likely")]);
    check(json!({"allow": [PHISHING]}), &[PHISHING], &[]);
    let phish = Phish::shipped();
    for (name, by) in [("paypal.com", "paypal.com"), ("*.login.paypal.com.", "paypal.com"), ("a.b.t.co", "t.co")] {
        let scored = phish.score(name);
        assert_eq!((scored.allowed_by.as_deref(), scored.score, scored.reasons.len()), (Some(by), 0.0, 0), "{name}");
    }
    for name in ["paypal.com.example", "my-paypal.com", "xpaypal.com"] {
        assert_eq!(phish.score(name).allowed_by, None, "{name}");
    }
}

#[test]
fn the_owners_hold_registered_domains() {
    for domain in include_str!("owners.txt").lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(Parts::of(domain).domain(), domain);
    }
}

#[test]
fn popular_domains_are_those_of_the_model() {
    let mut weights = shipped_weights();
    weights.popular = popular::Popular::of(["secure-login.top"]);
    let model = weights.to_text();
    let threshold_0 = |model: &str| json!({"threshold": 0, "model": model});
    let names = [PHISHING, "a.b.t.co", "paypal.com"];
    assert_eq!(found(threshold_0(&model), &names).len(), 1, "popular no more: t.co; an owner's: paypal.com");
    assert_eq!(found(threshold_0(""), &names).len(), 1, "popular: t.co");
    let catcher = json!({"threshold": 0, "compat": "phishing_catcher"});
    assert_eq!(found(catcher, &names).len(), 3);
}

#[test]
fn the_built_in_files_are_sound() {
    let phish = Phish::shipped();
    assert!(phish.keywords.words().len() > 200 && phish.keywords.suffixes().len() > 20);
    assert!((2_000..4_000).contains(&shipped_weights().popular.len()));
    assert!(WEIGHTS.len() <= 300_000);
}

#[test]
fn reasons_are_bounded_ordered_and_the_same_each_time() {
    let phish = Phish::shipped();
    for name in [PHISHING, "a", "xn--pypal-4ve.com", &"verify-".repeat(40)] {
        let scored = phish.score(name);
        assert!(scored.reasons.len() <= REASONS_MAX);
        assert!(scored.reasons.is_sorted_by(|left, right| left.weight >= right.weight));
        assert!(scored.reasons.iter().all(|reason| reason.weight > 0.0 && !reason.what.is_empty()));
        assert_eq!(Phish::shipped().score(name), scored);
    }
}

/// All reasons and all that speaks against add up to the sum that the score is made of.
#[test]
fn reasons_are_parts_of_the_sum() {
    let phish = Phish::shipped();
    let Rater::Model(weights) = &phish.rater else { panic!("the model is the default") };
    for name in [PHISHING, "www.example.com", "login.example.co.uk", "localhost"] {
        let parts = Parts::of(name);
        let mut sum = f64::from(weights.bias);
        features::visit_shapes(&parts, &phish.keywords.hits(&parts), |index, _| {
            sum += f64::from(weights.shapes[index]);
        });
        let words: f64 = weights.word_weights(&parts).iter().map(|(_, weight)| weight).sum();
        let all = weights.log_odds(&parts, &phish.keywords);
        assert!((sum + words - all).abs() < 1e-6, "{name}: {sum} and {words} are not {all}");
    }
}

#[test]
fn hostile_names() {
    let phish = Phish::shipped();
    let long = [".".repeat(10_000), "a".repeat(10_000), "a.".repeat(10_000), "ü".repeat(5_000), "-1".repeat(300)];
    let odd =
        ["", ".", "*", "*.", "*.*.", "www.", "www..", "..com", "com", "-", "\0", "a b", "\u{202e}", "ü.com", "日本.jp"];
    for name in odd.into_iter().chain(long.iter().map(String::as_str)) {
        let scored = phish.score(name);
        assert!((0.0..=1.0).contains(&scored.score), "{name:?}");
        let catcher = module("phish", json!({"compat": "phishing_catcher", "threshold": 0})).expect("no mistake");
        assert_eq!(examine(&catcher, &Subject::names_only(&boxed(&[name]))).len(), 1, "{name:?}");
    }
}

#[test]
fn findings_about_one_subject_are_bounded() {
    let names: Vec<String> = (0..FINDINGS_MAX + 5).map(|number| format!("paypal-login-{number}.top")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = found(json!({"threshold": 0}), &names);
    assert_eq!(found.len(), FINDINGS_MAX + 1);
    let last = &found[FINDINGS_MAX];
    assert_eq!((&*last.check, last.name.as_deref()), ("unfinished", Some(names[FINDINGS_MAX])));
    assert_eq!(detail(last), json!({"names": 1005, "names_finished": 1000}));
}

#[test]
fn a_file_of_keywords_replaces_ours() {
    let file = "keywords:\n    'zzyzx': 90\n";
    let score = |options| found(options, &["zzyzx-account.example"])[0].score.expect("a score");
    let (ours, theirs) = (
        score(json!({"threshold": 0})),
        score(json!({"threshold": 0, "keywords": format!("{file}    account: 20\n")})),
    );
    assert!(theirs > ours, "a brand and a lure weigh more than a lure: {theirs} {ours}");
}

#[test]
fn phishing_catcher_counts_points() {
    let options = json!({"compat": "phishing_catcher", "keywords": "keywords:\n    'paypal': 80\n"});
    let finding = found(options.clone(), &["example.com", "paypal.example"]).remove(0);
    // Entropy of ".paypal": three bytes once and two twice are 2.236 bits, 22 points.
    assert_eq!(detail(&finding)["points"], 102);
    assert_eq!(finding.score, Some(0.68));
    assert_eq!(detail(&finding)["reasons"][0], json!({"what": "keyword \"paypal\"", "weight": 80.0}));

    let mut certificate = certificate(&["paypal.example"]);
    certificate.issuer_org = Some("Let's Encrypt".into());
    let module = module("phish", options).expect("no mistake");
    let finding = examine(&module, &Subject::certificate(&certificate, &[])).remove(0);
    assert_eq!(detail(&finding)["points"], 112);
}

#[test]
fn mistakes() {
    let key = "modules.phish.allow[1]";
    check_error(json!({"allow": ["a.com", 1]}), &format!("{key}: a number where text is expected"), "");
    let allowed = "(a DNS name such as example.com)";
    check_error(json!({"allow": ["a.com", "a b"]}), &format!("{key}: \"a b\" is not allowed {allowed}"), "");
    check_error(json!({"allow": ["a.com", "*.b"]}), &format!("{key}: \"*.b\" is not allowed {allowed}"), "");
    check_error(
        json!({"model": "x"}),
        "modules.phish.model cannot be used",
        "not a weights file: it does not begin with \"ct-stream phish weights \"",
    );
    let cannot = "modules.phish.keywords cannot be used";
    check_error(
        json!({"keywords": "keywords:\n  a: b\n"}),
        cannot,
        "line 2: \"b\" is no whole number from -1000 to 1000",
    );
}
