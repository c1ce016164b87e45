use std::error::Error;

use serde_json::{Value, json};

use super::*;
use crate::modules::tests::{boxed, certificate, detail, examine, module};

fn lookalike(options: Value) -> Result<Lookalike, OptionError> {
    let Value::Object(options) = options else { panic!("a table of options") };
    Lookalike::from_options(&options)
}

fn watching(brands: Value) -> Lookalike {
    lookalike(Value::Object(Map::from_iter([("brands".to_owned(), brands)]))).expect("no mistake")
}

#[track_caller]
fn check(domain: &str, name: &str, want: Option<(Class, u8)>) {
    let found = watching(json!([domain]));
    let hit = found.look(name);
    assert_eq!(hit.as_ref().map(|hit| (hit.class, hit.distance)), want, "{domain} {name}: {hit:?}");
}

#[track_caller]
fn check_none(domain: &str, names: &[&str]) {
    names.iter().for_each(|name| check(domain, name, None));
}

#[test]
fn every_class_has_a_name() {
    for class in Class::ALL {
        assert_eq!(Class::parse(class.as_str()), Some(class));
    }
    assert_eq!(Class::parse("homoglyphs"), None);
}

#[test]
fn one_case_of_every_class() {
    let cases = [
        ("xn--80aa0cbo65f.com", Class::Homoglyph, 6),
        ("paypa1.com", Class::Homoglyph, 1),
        ("wwwpaypalcom.net", Class::MissingDot, 0),
        ("paypal-com.net", Class::MissingDot, 0),
        ("paypal.com.gold", Class::TldAdded, 0),
        ("paypal.com.evil.example.net", Class::Subdomain, 0),
        ("login.paypal.evil.net", Class::Subdomain, 0),
        ("www.paypal.com-bonus.net", Class::Subdomain, 0),
        ("service-paypal.net", Class::Combosquat, 0),
        ("paypallogin.net", Class::Combosquat, 0),
        ("pay-pal.com", Class::Hyphenation, 1),
        ("pay.pal.com", Class::SubdomainSplit, 1),
        ("papyal.com", Class::Transposition, 1),
        ("payppal.com", Class::Repetition, 1),
        ("paypl.com", Class::Omission, 1),
        ("poypal.com", Class::VowelSwap, 1),
        ("piypil.com", Class::VowelSwap, 2),
        ("psypal.com", Class::Keyboard, 1),
        ("paqpal.com", Class::BitFlip, 1),
        ("pakpal.com", Class::Replacement, 1),
        ("paypalx.com", Class::Addition, 1),
        ("paypals.com", Class::Plural, 1),
        ("lpaypa.com", Class::MovedLetter, 2),
        ("pypaal.com", Class::MovedLetter, 2),
        ("xxypal.com", Class::DoubleReplacement, 2),
        ("paypakk.com", Class::DoubleReplacement, 2),
        ("paypal.net", Class::TldSwap, 0),
    ];
    let mut classes: Vec<Class> = vec![Class::TwoChanges];
    for (name, class, distance) in cases {
        check("paypal.com", name, Some((class, distance)));
        classes.push(class);
    }
    check("steampowered.com", "staempowared.com", Some((Class::TwoChanges, 2)));
    assert!(Class::ALL.iter().all(|class| classes.contains(class)));
}

#[test]
fn letters_that_together_read_like_one() {
    check("microsoft.com", "rnicrosoft.com", Some((Class::Homoglyph, 2)));
    check("walmart.com", "vvalmart.com", Some((Class::Homoglyph, 2)));
    check("icloud.com", "icloucl.com", Some((Class::Homoglyph, 2)));
    check("microsoft.com", "secure-rnicr0soft.net", Some((Class::Homoglyph, 3)));
    check("microsoft.com", "rnicrosoft.com.evil.net", Some((Class::Homoglyph, 2)));
}

#[test]
fn a_changed_word_may_be_a_part_of_the_name() {
    check("facebook.com", "login-facebok.net", Some((Class::Omission, 1)));
    check("facebook.com", "facebok.evil.net", Some((Class::Omission, 1)));
    check_none("paypal.com", &["login-paypl.net", "paypl.evil.net"]);
}

#[test]
fn plurals() {
    check("fedex.com", "fedexes.com", Some((Class::Plural, 2)));
    check("xfinity.com", "xfinities.com", Some((Class::Plural, 2)));
}

#[test]
fn short_and_everyday_words_are_not_found_in_other_words() {
    check_none("chase.com", &["purchase.com", "purchases.net", "steeplechase.org", "chaser.net", "www.phase.de"]);
    check_none("wise.com", &["otherwise.com", "likewise.net", "wiseman.org", "clockwise.io", "rise.net"]);
    check_none("ups.com", &["startups.com", "groups.google.com", "backups.example.net", "signups.net", "cups.org"]);
    check_none("orange.fr", &["arrange.com", "orangeville.ca", "stranger.net", "orangutan.org"]);
    check_none("dpd.com", &["dpdk.org", "rapdpd.net", "d-pd.net"]);
    check_none("att.com", &["mattress.com", "battle.net", "at.t.net", "watt.org"]);
    check_none("irs.gov", &["first.com", "hairs.net", "irish.ie"]);
    check_none("slack.com", &["slacker.net", "black.org", "cutslackline.com"]);
}

#[test]
fn short_words_are_found_where_they_stand_alone_or_beside_long_lures() {
    check("ups.com", "ups-parcel.net", Some((Class::Combosquat, 0)));
    check("ups.com", "upsdelivery.net", Some((Class::Combosquat, 0)));
    check("chase.com", "chase-verify.net", Some((Class::Combosquat, 0)));
    check("chase.com", "chaselogin.net", Some((Class::Combosquat, 0)));
    check("wise.com", "login.wise.evil.net", Some((Class::Subdomain, 0)));
    check("ups.com", "upk.com", Some((Class::Replacement, 1)));
    check_none("ups.com", &["upk.net", "signups-team.net"]);
}

#[test]
fn common_words_are_no_changed_ones() {
    check_none("icloud.com", &["cloud.com", "cloud.example.net", "www.cloud.microsoft"]);
    check_none("binance.com", &["finance.org", "finance-central.com"]);
}

#[test]
fn own_names_are_never_reported() {
    let own = watching(json!([
        {"name": "PayPal", "domains": ["paypal.com", "www.paypal.me", "paypal-inc.com"]},
        {"name": "PayPol", "domains": ["paypol.com"]},
        "bücher.example",
        "github.io",
    ]));
    let names = [
        "paypal.com",
        "*.paypal.com",
        "login.paypal.com",
        "paypal.com.",
        "LOGIN.PayPal.COM",
        "paypal.me",
        "a.b.paypal-inc.com",
        "paypol.com",
        "paypal.paypol.com",
        "xn--bcher-kva.example",
        "shop.xn--bcher-kva.example",
        "someone.github.io",
        "github.io",
    ];
    for name in names {
        assert_eq!(own.look_all(name), [], "{name}");
    }
    for name in ["paypal-not.com", "paypal.com.evil.net", "paypal.comm", "bucher.example"] {
        assert!(own.look(name).is_some(), "{name}");
    }
}

#[test]
fn allowed_names_are_not_reported_and_only_for_that_brand() {
    let found = watching(json!([
        {"name": "A", "domains": ["paypal.com"], "allow": ["paypal-community.com", "*.partner.net"]},
        {"name": "B", "domains": ["paypal.org"]},
    ]));
    let brands = |name: &str| found.look_all(name).iter().map(|hit| hit.brand.to_owned()).collect::<Vec<_>>();
    assert_eq!(brands("paypal-community.com"), ["B"]);
    assert_eq!(brands("www.paypal-community.com"), ["B"]);
    assert_eq!(brands("paypal.partner.net"), ["B"]);
    assert_eq!(brands("x-paypal-community.com"), ["A", "B"]);
}

#[test]
fn a_brand_is_found_once_in_a_name_and_the_best_way() {
    let found = watching(json!(["paypal.com", "facebook.com"]));
    let hits = found.look_all("paypal.paypa1-login.facebook-paypal.net");
    let ways: Vec<_> = hits.iter().map(|hit| (hit.brand, hit.class)).collect();
    assert_eq!(ways, [("paypal.com", Class::Homoglyph), ("facebook.com", Class::Combosquat)]);
    assert_eq!(found.look("paypal.facebook.net").map(|hit| hit.brand), Some("paypal.com"));
}

#[test]
fn a_swapped_top_level_domain_alone_is_low() {
    let found = watching(json!(["paypal.com"]));
    let severity = |name: &str| found.look(name).expect("a hit").severity();
    assert_eq!(severity("paypal.net"), Severity::Low);
    assert_eq!(severity("paypal.com.au"), Severity::Low);
    assert_eq!(severity("paypal.somebody.net"), Severity::Low);
    assert_eq!(severity("paypal-fans.net"), Severity::Medium);
    assert_eq!(severity("paypal-login.net"), Severity::High);
    assert_eq!(severity("paypa1.net"), Severity::High);
}

#[test]
fn options_of_a_brand() {
    let all = ["paypal.net", "paypl.com", "piypil.com", "paypa1.com"];
    #[track_caller]
    fn check(options: Value, all: &[&str], want: &[&str]) {
        let mut brand = json!({"domains": ["paypal.com"]});
        let Value::Object(options) = options else { panic!("a table of options") };
        brand.as_object_mut().unwrap().extend(options);
        let found = watching(json!([brand]));
        let names: Vec<&str> = all.iter().copied().filter(|name| found.look(name).is_some()).collect();
        assert_eq!(names, want);
    }
    check(json!({}), &all, &all);
    check(json!({"distance": 1}), &all, &["paypal.net", "paypl.com", "paypa1.com"]);
    check(json!({"distance": 0}), &all, &["paypal.net", "paypa1.com"]);
    check(json!({"classes": ["homoglyph", "omission"]}), &all, &["paypl.com", "paypa1.com"]);
    check(json!({"classes": []}), &all, &[]);
    check(json!({"min_len": 7}), &all, &["paypal.net"]);
    check(json!({"words": ["venmo"]}), &["venmo-login.net", "venmo.com"], &["venmo-login.net", "venmo.com"]);
}

#[test]
fn a_list_has_a_domain_a_line() {
    let found = lookalike(json!({"list": "\u{feff}# ours\n\npaypal.com\n  fedex.com  \r\n"})).expect("no mistake");
    assert_eq!(found.look("paypa1.com").map(|hit| hit.brand), Some("paypal.com"));
    assert_eq!(found.look("fedexx.com").map(|hit| hit.brand), Some("fedex.com"));
}

#[track_caller]
fn check_error(options: Value, want: &str) {
    let error = lookalike(options).err().expect("a mistake");
    let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    assert_eq!(text, want);
}

#[test]
fn mistakes_name_the_key_and_the_way_out() {
    let key = "modules.lookalike.brands[0]";
    check_error(json!({"brands": [1]}), &format!("{key}: a number where text or a table is expected"));
    check_error(json!({"brands": ["a b"]}), &format!("{key} cannot be used: \"a b\" is no domain name"));
    check_error(json!({"brands": ["com"]}), &format!("{key} cannot be used: \"com\" is no domain name"));
    let no_word = "no word to look for: none of the domains reads like Latin letters; give `words`";
    check_error(json!({"brands": ["中国.com"]}), &format!("{key} cannot be used: {no_word}"));
    check_error(json!({"brands": [{"domains": []}]}), &format!("{key}.domains cannot be used: {no_word}"));
    check_error(json!({"brands": [{}]}), &format!("{key}.domains is missing"));
    check_error(
        json!({"brands": [{"domains": "a.com"}]}),
        &format!("{key}.domains: text where a list of texts is expected"),
    );
    check_error(json!({"brands": [{"domains": [1]}]}), &format!("{key}.domains[0]: a number where text is expected"));
    check_error(
        json!({"brands": [{"domain": []}]}),
        &format!(
            "{key}: unknown key \"domain\"; did you mean \"domains\"? known: name, domains, words, allow, min_len, \
             distance, classes"
        ),
    );
    let brand = |name: &str, value: Value| {
        let mut brand = json!({"domains": ["paypal.com"]});
        brand[name] = value;
        json!({"brands": [brand]})
    };
    check_error(brand("name", json!(1)), &format!("{key}.name: a number where text is expected"));
    check_error(brand("distance", json!(3)), &format!("{key}.distance: 3 is not allowed (0..=2)"));
    check_error(brand("min_len", json!(0)), &format!("{key}.min_len: 0 is not allowed (1..=63)"));
    check_error(brand("min_len", json!("3")), &format!("{key}.min_len: text where a whole number is expected"));
    check_error(brand("allow", json!([""])), &format!("{key}.allow[0] cannot be used: \"\" is no domain name"));
    check_error(
        brand("words", json!(["a.b"])),
        &format!("{key}.words[0] cannot be used: \"a.b\" is no word: letters, digits and hyphens make one, at most 63"),
    );
    let error = lookalike(brand("classes", json!(["homoglyf"]))).err().expect("a mistake").to_string();
    let want =
        "modules.lookalike.brands[0].classes[0]: unknown class \"homoglyf\"; did you mean \"homoglyph\"? known: ";
    assert!(error.starts_with(want), "{error}");
    check_error(
        json!({"list": "paypal.com\nno domain\n"}),
        "modules.lookalike.list line 2 cannot be used: \"no domain\" is no domain name",
    );
}

#[test]
fn a_finding_says_what_and_why() {
    let modules = module("lookalike", json!({"brands": [{"name": "PayPal", "domains": ["paypal.com"]}]})).unwrap();
    let certificate = certificate(&["www.example.org", "xn--80aa0cbo65f.com"]);
    let found = examine(&modules, &Subject::certificate(&certificate, &[]));
    let [finding] = &found[..] else { panic!("one finding: {found:?}") };
    assert_eq!((&*finding.check, finding.severity, finding.score), ("homoglyph", Severity::High, Some(0.95)));
    assert_eq!(finding.name.as_deref(), Some("xn--80aa0cbo65f.com"));
    assert_eq!(
        detail(finding),
        json!({
            "brand": "PayPal",
            "word": "paypal",
            "found": "paypal",
            "distance": 6,
            "reason": "letters of other scripts that read like \"paypal\"",
            "unicode": "\u{440}\u{430}\u{443}\u{440}\u{430}\u{4cf}.com",
        })
    );
}

#[test]
fn a_reason_tells_what_was_changed() {
    let found = watching(json!(["paypal.com"]));
    let reason = |name: &str| found.look(name).map(|hit| (hit.score, hit.reason())).expect("a hit");
    assert_eq!(reason("paypa1-login.net"), (0.85, "\"paypa1\" reads like \"paypal\"".to_owned()));
    assert_eq!(reason("papyal.com"), (0.8, "\"papyal\" is \"paypal\" with two neighbours swapped".to_owned()));
    assert_eq!(reason("paypal.net"), (0.3, "\"paypal\" itself, in a domain not known to be the brand's".to_owned()));
}

#[test]
fn odd_readings_are_looked_at_too() {
    let modules = module("lookalike", json!({"brands": ["paypal.com"]})).unwrap();
    let odd = boxed(&["pay\u{fffd}al.com", "?.paypal-login.net", "\u{fffd}", "", ".", "a..b", "paypal"]);
    let found = examine(&modules, &Subject { odd_names: &odd, ..Subject::names_only(&[]) });
    let names: Vec<_> = found.iter().map(|finding| finding.name.as_deref().unwrap_or_default()).collect();
    assert_eq!(names, [&*odd[0], &*odd[1]]);
}

#[test]
fn findings_are_bounded_and_it_is_told() {
    let modules = module("lookalike", json!({"brands": ["paypal.com"], "max": 2})).unwrap();
    let checks = |names: &[&str]| -> Vec<String> {
        let certificate = certificate(names);
        let found = examine(&modules, &Subject::certificate(&certificate, &[]));
        found.iter().map(|finding| finding.check.to_string()).collect()
    };
    assert_eq!(checks(&["a.paypal-1.net", "b.paypal-1.net"]), ["combosquat", "combosquat"]);
    let three = ["a.paypal-1.net", "b.paypal-1.net", "example.net", "c.paypal-1.net"];
    assert_eq!(checks(&three), ["combosquat", "combosquat", "unfinished"]);
}

#[test]
fn nothing_to_watch_finds_nothing() {
    let none = lookalike(json!({})).expect("no mistake");
    assert_eq!(none.look("paypal.com"), None);
}

/// Names as long and as odd as they may be, all of one kind of byte or of several.
#[test]
fn the_longest_names_are_looked_at() {
    let found = watching(json!(["paypal.com", "steampowered.com", "a.com", "nn.com"]));
    let units =
        ["a", "a.", "-", "n", "rn", "xn--", "xn--a.", "paypal", "paypal.", "pay-", ".", "*", "1", "\u{430}", "ß."];
    for unit in units {
        for len in [1, 63, 64, 127, 252, 253, 254, 300, 2000] {
            let name: String = unit.chars().cycle().take(len).collect();
            for name in [name.clone(), format!("{name}.com"), format!("paypal.com{name}")] {
                let hits = found.look_all(&name);
                assert!(hits.len() <= 4, "{name}");
            }
        }
    }
    let long = format!("{}paypal-login.com", "a.".repeat(118));
    assert_eq!(long.len(), 252);
    assert_eq!(found.look(&long).map(|hit| hit.class), Some(Class::Combosquat));
}

/// Every word at one change is found, whatever it is: against a plain loop over all changes.
#[test]
fn every_single_change_is_found() {
    let word = b"kraken";
    let found = watching(json!(["kraken.com"]));
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut labels = Vec::new();
    for at in 0..=word.len() {
        for letter in letters {
            labels.push([&word[..at], &[*letter], &word[at..]].concat());
            if at < word.len() {
                labels.push([&word[..at], &[*letter], &word[at + 1..]].concat());
            }
        }
        if at < word.len() {
            labels.push([&word[..at], &word[at + 1..]].concat());
        }
        if at + 1 < word.len() {
            labels.push([&word[..at], &[word[at + 1], word[at]], &word[at + 2..]].concat());
        }
    }
    for label in labels.iter().filter(|label| **label != word) {
        let name = format!("{}.net", std::str::from_utf8(label).unwrap());
        assert!(found.look(&name).is_some(), "{name}");
    }
}
