use ct_model::time::Day;
use ct_model::{CertId, Timestamp};

use super::*;
use crate::modules::tests::{certificate, detail, examine, module};

const DAY: i64 = 86_400;

fn valid(from: (i64, i64, i64), seconds: i64) -> CertRecord {
    let from = Day::from_civil(from.0, from.1, from.2).0 * DAY;
    let [from, to] = [from, from + seconds].map(|second| Some(Timestamp::from_seconds(second)));
    CertRecord { not_before: from, not_after: to, ..certificate(&[]) }
}

/// An ordinary certificate of 90 days.
fn plain(names: &[&str]) -> CertRecord {
    CertRecord { names: certificate(names).names, ..valid((2026, 10, 1), 90 * DAY - 1) }
}

fn found(mut options: Value, certificate: &CertRecord) -> Finding {
    options["min_level"] = json!("low");
    let modules = module("risk", options).expect("no mistake");
    let mut found = examine(&modules, &Subject::certificate(certificate, &[]));
    assert_eq!(found.len(), 1, "one finding a certificate");
    found.remove(0)
}

#[track_caller]
fn check_with(options: Value, certificate: &CertRecord, want: &[&str]) {
    assert_eq!(detail(&found(options, certificate))["riskFactors"], json!(want));
}

#[track_caller]
fn check(certificate: &CertRecord, want: &[&str]) {
    check_with(json!({}), certificate, want);
}

#[track_caller]
fn check_name(name: &str, want: &[&str]) {
    check(&plain(&[name]), want);
}

#[test]
fn an_ordinary_certificate_has_no_factor() {
    let certificate = CertRecord {
        key_algorithm: Some("ecdsa-p256".into()),
        key_bits: Some(256),
        is_ca: Some(false),
        ..plain(&["www.example.com", "*.example.com", "xn--bcher-kva.example"])
    };
    check(&certificate, &[]);
    let modules = module("risk", json!({})).expect("no mistake");
    assert_eq!(examine(&modules, &Subject::certificate(&certificate, &[])), []);
}

#[test]
fn the_whole_finding() {
    let certificate = CertRecord {
        issuer_dn: Some(r"O=A\, C=XX, C=US, O=Let's Encrypt, CN=E7".into()),
        issuer_cn: Some("E7".into()),
        issuer_org: Some(r"A, C=XX".into()),
        ..plain(&["www.example.com", "bank-login.example.top", "other.xyz"])
    };
    let finding = found(json!({}), &certificate);
    assert_eq!(
        detail(&finding),
        json!({
            "riskLevel": "high",
            "riskFactors": ["suspicious-tld", "suspicious-keywords"],
            "domains": {"count": 3, "suspicious": ["bank-login.example.top", "other.xyz"]},
            "issuer": {"CN": "E7", "O": "A, C=XX", "C": "US"},
            "validityPeriod": 89,
            "keywords": ["login", "bank"],
        })
    );
    assert_eq!((&*finding.check, finding.severity, finding.once), ("risk", Severity::High, false));
    assert_eq!(finding.name.as_deref(), Some("bank-login.example.top"));
    assert_eq!(finding.score, Some(0.58), "1 - (1 - 0.3) * (1 - 0.4)");
    assert_eq!(finding.id, Finding::id_of("risk", "risk", "", Some(&certificate.id)));
}

#[test]
fn what_is_unknown_is_no_factor() {
    let finding = found(json!({}), &certificate(&[]));
    assert_eq!(
        detail(&finding),
        json!({
            "riskLevel": "low",
            "riskFactors": [],
            "domains": {"count": 0, "suspicious": []},
            "issuer": {"CN": "", "O": "", "C": ""},
            "validityPeriod": null,
            "keywords": [],
        })
    );
    assert_eq!((finding.severity, finding.score, finding.name), (Severity::Low, Some(0.0), None));
    let names = certificate(&["login.example.top"]).names;
    let modules = module("risk", json!({})).expect("no mistake");
    assert_eq!(examine(&modules, &Subject::names_only(&names)), [], "names alone are not judged");
}

#[test]
fn the_level_is_that_of_the_worst_factor() {
    let by_level = |level: &str, certificate: &CertRecord| {
        let modules = module("risk", json!({"min_level": level})).expect("no mistake");
        examine(&modules, &Subject::certificate(certificate, &[])).first().map(|finding| finding.severity)
    };
    let (low, medium, high) = (plain(&["a.com"]), plain(&["a.top"]), plain(&["a.top", "bank.com"]));
    for (certificate, at_low, at_medium, at_high) in [
        (low, Some(Severity::Low), None, None),
        (medium, Some(Severity::Medium), Some(Severity::Medium), None),
        (high, Some(Severity::High), Some(Severity::High), Some(Severity::High)),
    ] {
        let said = ["low", "medium", "high"].map(|level| by_level(level, &certificate));
        assert_eq!(said, [at_low, at_medium, at_high], "{:?}", certificate.names);
    }
}

#[test]
fn the_country_of_an_issuer() {
    for (dn, want) in [
        ("CN=E7, C=US", Some("US")),
        ("O=x + C=DE + OU=y, C=FR", Some("DE")),
        (r"O=a\, C=XX\\, C=US", Some("US")),
        ("DC=x, OC=y", None),
        ("", None),
    ] {
        assert_eq!(country(dn), want, "{dn}");
    }
}

#[test]
fn each_certificate_has_a_finding_of_its_own() {
    let one = plain(&["bank.com"]);
    let other = CertRecord { id: CertId::der([9; 32]), ..one.clone() };
    assert_ne!(found(json!({}), &one).id, found(json!({}), &other).id);
}

#[test]
fn a_short_validity_is_less_than_a_day() {
    // A second less than a day is a day, because both ends count.
    check(&valid((2026, 10, 1), DAY - 1), &["short-validity"]);
    check(&valid((2026, 10, 1), DAY), &[]);
    check(&valid((2026, 10, 1), 6 * DAY), &[]);
    check(&valid((2026, 10, 1), -1), &["short-validity"]);
}

#[test]
fn a_long_validity_is_over_the_limit_of_its_time() {
    for (from, longest) in [
        ((2016, 7, 2), 1_187 * DAY),
        ((2018, 3, 1), 1_188 * DAY),
        ((2018, 3, 2), 825 * DAY),
        ((2020, 8, 31), 825 * DAY),
        ((2020, 9, 1), 398 * DAY - 1),
        ((2026, 3, 14), 398 * DAY - 1),
        ((2026, 3, 15), 200 * DAY - 1),
        ((2027, 3, 14), 200 * DAY - 1),
        ((2027, 3, 15), 100 * DAY - 1),
        ((2029, 3, 14), 100 * DAY - 1),
        ((2029, 3, 15), 47 * DAY - 1),
    ] {
        assert_eq!(detail(&found(json!({}), &valid(from, longest)))["riskFactors"], json!([]), "{from:?}");
        let longer = valid(from, longest + 1);
        assert_eq!(detail(&found(json!({}), &longer))["riskFactors"], json!(["long-validity"]), "{from:?}");
    }
    check(&valid((2016, 7, 1), 5_000 * DAY), &[]);
    check(&CertRecord { is_ca: Some(true), ..valid((2026, 10, 1), 5_000 * DAY) }, &[]);
    let ends =
        CertRecord { not_before: Some(Timestamp(i64::MIN)), not_after: Some(Timestamp(i64::MAX)), ..certificate(&[]) };
    check(&ends, &[]);
}

#[test]
fn ends_of_names() {
    for tld in ["tk", "ml", "ga", "cf", "gq", "xyz", "top", "work", "date", "racing"] {
        check_name(&format!("shop.{tld}"), &["suspicious-tld"]);
        check_name(&format!("{tld}.com"), &[]);
        check_name(&format!("shop{tld}.com"), &[]);
    }
    let options = json!({"tlds": [".CO.Example", "рф"]});
    check_with(options.clone(), &plain(&["a.co.example"]), &["suspicious-tld"]);
    check_with(options.clone(), &plain(&["a.xn--p1ai"]), &["suspicious-tld"]);
    check_with(options, &plain(&["aco.example", "a.top"]), &[]);
}

#[test]
fn a_finding_lists_a_bounded_number_of_names() {
    let names: Vec<String> = (0..150).map(|n| format!("n{n}.top")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let detail = detail(&found(json!({}), &plain(&names)));
    assert_eq!(detail["domains"]["count"], 150);
    assert_eq!(detail["domains"]["suspicious"].as_array().map(Vec::len), Some(100));
}

#[test]
fn many_names_are_more_than_the_option_says() {
    let names: Vec<String> = (0..101).map(|n| format!("n{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(&plain(&names[..100]), &[]);
    check(&plain(&names), &["many-domains"]);
    check_with(json!({"max_domains": 1}), &plain(&names[..1]), &[]);
    check_with(json!({"max_domains": 1}), &plain(&names[..2]), &["many-domains"]);
}

#[test]
fn words_in_names() {
    for word in ["login", "account", "secure", "bank", "verify", "wallet", "auth", "signin", "security", "update"] {
        check_name(&format!("my{word}s.example.com"), &["suspicious-keywords"]);
    }
    check_name("lo.gin.com", &[]);
    check_name("first.bank", &[]);
    check_name("my.security", &[]);
    check_name("bank.co.uk", &["suspicious-keywords"]);
    check_name("bank.internal", &["suspicious-keywords"]);
    let words = |names: &[&str]| detail(&found(json!({}), &plain(names)))["keywords"].clone();
    assert_eq!(
        words(&["securitysecure.com", "auth.com", "bankauth.com"]),
        json!(["secure", "bank", "auth", "security"])
    );
    check_with(json!({"keywords": ["PAY"]}), &plain(&["epay.com", "bank.com"]), &["suspicious-keywords"]);
    check_with(json!({"keywords": []}), &plain(&["bank.com"]), &[]);
}

#[test]
fn issuers() {
    let certificate = CertRecord {
        issuer_cn: Some("Lab CA 1".into()),
        issuer_org: Some("Specimen Trust".into()),
        ..plain(&["example.com"])
    };
    for (issuer, is_risky) in [
        (json!("Lab CA"), true),
        (json!("Specimen"), true),
        (json!("specimen"), false),
        (json!({"CN": "Lab"}), true),
        (json!({"O": "Lab"}), false),
        (json!({"O": "Trust"}), true),
        (json!({"CN": "Trust", "O": "Trust"}), true),
        (json!({"CN": "Trust", "O": "Lab"}), false),
    ] {
        let want: &[&str] = if is_risky { &["high-risk-issuer"] } else { &[] };
        check_with(json!({"issuers": [issuer]}), &certificate, want);
    }
    check_with(json!({"issuers": ["Lab"]}), &plain(&["example.com"]), &[]);
}

#[test]
fn scripts_that_no_language_mixes() {
    // Cyrillic, Latin or Greek alone; Han and kana beside Latin.
    for name in ["xn--80aa0cbo65f.com", "xn--bcher-kva.com", "xn--mxac.gr", "xn--a-kn6bt1b.jp", "xn--i-g8t7d.jp"] {
        check_name(name, &[]);
    }
    // "paypal" with one Cyrillic letter, and with one Latin letter.
    check_name("xn--pypal-4ve.com", &["mixed-scripts"]);
    check_name("www.xn--l-7sba6dbr.shop.example", &["mixed-scripts"]);
    check_name("xn--\u{fffd}.com", &[]);
    check_name("xn--99999999.com", &[]);
    check_name("axn--pypal-4ve.com", &[]);
}

#[test]
fn wildcards_of_a_whole_suffix() {
    for name in ["*.com", "*.co.uk"] {
        check_name(name, &["wildcard-of-suffix"]);
    }
    for name in ["*.example.co.uk", "*.github.io", "www.com", "*.internal", "a.*.com"] {
        check_name(name, &[]);
    }
}

#[test]
fn authorities_with_host_names() {
    let authority = |names: &[&str]| CertRecord { is_ca: Some(true), ..plain(names) };
    check(&authority(&["example.com"]), &["ca-with-domains"]);
    check(&authority(&[]), &[]);
}

#[test]
fn weak_keys() {
    for (algorithm, bits, is_weak) in [
        ("rsa", 2_047, true),
        ("rsa", 2_048, false),
        ("rsapss", 1_024, true),
        ("dsa", 1_024, true),
        ("ecdsa-p224", 224, true),
        ("ecdsa-p256", 256, false),
        ("ed25519", 253, false),
    ] {
        let certificate =
            CertRecord { key_algorithm: Some(algorithm.into()), key_bits: Some(bits), ..plain(&["example.com"]) };
        let want: &[&str] = if is_weak { &["weak-key"] } else { &[] };
        check(&certificate, want);
        check(&CertRecord { key_bits: None, ..certificate }, &[]);
    }
}

#[test]
fn names_that_the_model_finds() {
    let name = "usps.com-trackywp.top";
    let certificate = plain(&["example.com", name]);
    check(&certificate, &["suspicious-tld"]);
    check_with(json!({"phishing": true}), &certificate, &["suspicious-tld", "phishing-name"]);
    check_with(json!({"phishing": true}), &plain(&["www.example.com"]), &[]);
}

#[track_caller]
fn check_mistake(options: Value, want: &str) {
    assert_eq!(module("risk", options).err().expect("a mistake").to_string(), format!("modules.risk.{want}"));
}

#[test]
fn mistakes_name_the_key() {
    check_mistake(json!({"issuers": [7]}), "issuers[0]: a number where text is expected");
    check_mistake(json!({"issuers": ["a", ""]}), "issuers[1]: an empty text is not allowed (1 character or more)");
    check_mistake(json!({"issuers": [{}]}), "issuers[0].CN is missing");
    check_mistake(json!({"issuers": [{"O": 7}]}), "issuers[0].O: a number where text is expected");
    check_mistake(
        json!({"issuers": [{"OU": "x"}]}),
        "issuers[0]: unknown key \"OU\"; did you mean \"O\"? known: CN, O",
    );
    check_mistake(
        json!({"tlds": ["."]}),
        "tlds[0]: \".\" is not allowed (a domain, such as \"top\" or \"co.example\")",
    );
    check_mistake(json!({"keywords": [""]}), "keywords[0]: an empty text is not allowed (1 character or more)");
    check_mistake(json!({"min_level": "info"}), "min_level: \"info\" is not allowed (low, medium, high)");
    check_mistake(json!({"keywords": vec!["a"; 10_001]}), "keywords cannot be used");
}
