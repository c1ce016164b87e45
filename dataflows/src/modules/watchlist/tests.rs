use ct_model::name::{NameLists, NameSource, Names, readings};
use serde_json::json;

use super::*;
use crate::modules::Modules;
use crate::modules::tests::{boxed, certificate, detail, examine, module};

fn watchlist(options: Value) -> Watchlist {
    let Value::Object(given) = options else { panic!("a table of options") };
    let settings = Settings::check(MODULE.name, MODULE.options, &given).expect("no mistake");
    Watchlist::new(&settings).expect("no mistake")
}

fn prepared(options: Value) -> Modules {
    module("watchlist", options).expect("no mistake")
}

/// A message without certificate whose names are odd.
fn odd_only(names: &[Box<str>]) -> Subject<'_> {
    Subject { odd_names: names, ..Subject::names_only(&[]) }
}

/// The reasons for which a certificate's name matches an item.
fn reasons(item: &str, name: &str) -> Vec<String> {
    let names = boxed(&[name]);
    let found = examine(&prepared(json!({"items": [item]})), &odd_only(&names));
    found.iter().map(|finding| detail(finding)["reason"].as_str().expect("a reason").to_owned()).collect()
}

#[track_caller]
fn check(item: &str, name: &str, want: Option<&str>) {
    assert_eq!(reasons(item, name), want.into_iter().collect::<Vec<_>>(), "{item} against {name:?}");
}

#[test]
fn an_item_without_dot_is_that_name_only() {
    check("example.com", "example.com", Some("exact"));
    check("example.com", "www.example.com", None);
    check("example.com", "com", None);
    check("example.com", "example.org", None);
    check("example.com", "notexample.com", None);
    check("example.com", "example.com.evil.net", None);
    check("www.example.com", "example.com", None);
    check("localhost", "localhost", Some("exact"));
    check("com", "example.com", None);
}

#[test]
fn an_item_with_a_dot_is_that_name_and_all_below() {
    check(".example.com", "example.com", Some("exact"));
    check(".example.com", "www.example.com", Some("suffix"));
    check(".example.com", "a.b.c.example.com", Some("suffix"));
    check(".example.com", "com", None);
    check(".example.com", "notexample.com", None);
    check(".example.com", "www-example.com", None);
    check(".example.com", "example.com.evil.net", None);
    check(".com", "example.com", Some("suffix"));
    check(".b.example.com", "a.example.com", None);
}

#[test]
fn a_dot_is_everything() {
    check(".", "example.com", Some("any"));
    check(".", "localhost", Some("any"));
    check(".", "*", Some("any"));
    check(".", "?.\u{fffd}.com", Some("any"));
    check(".", "", None);
    check(".", ".", None);
}

#[test]
fn a_star_is_exactly_one_label() {
    check("www.example.com", "*.example.com", Some("wildcard"));
    check("example.com", "*.example.com", None);
    check(".example.com", "*.example.com", Some("suffix"));
    check("a.b.example.com", "*.example.com", None);
    check(".a.b.example.com", "*.example.com", None);
    check("example.com", "*.com", Some("wildcard"));
    check(".example.com", "*.com", Some("wildcard"));
    check(".www.example.com", "*.com", None);
    check("a.b.example.com", "*.*.example.com", Some("wildcard"));
    check("a.example.com", "*.*.example.com", None);
    check("example.com", "*", None);
    check("localhost", "*", Some("wildcard"));
    check("www.example.com", "www.*.com", Some("wildcard"));
    check("www.example.com", "www.example.*", Some("wildcard"));
    check("mail.example.com", "www.*.com", None);
}

#[test]
fn a_star_within_a_label_is_zero_or_more_characters() {
    check("www.example.com", "www*.example.com", Some("wildcard"));
    check("www1.example.com", "www*.example.com", Some("wildcard"));
    check("ww.example.com", "www*.example.com", None);
    check("web-example-old.com", "*-example-*.com", Some("wildcard"));
    check("-example-.com", "*-example-*.com", Some("wildcard"));
    check("web-exemple-old.com", "*-example-*.com", None);
    check("example.com", "e*e.com", Some("wildcard"));
    check("e.com", "e*e.com", None);
    check("ee.com", "e*e.com", Some("wildcard"));
    check("aXbXc.com", "a*b*c.com", Some("wildcard"));
    check("acb.com", "a*b*c.com", None);
    check("abab.com", "*ab*ab*.com", Some("wildcard"));
    check("aba.com", "*ab*ab*.com", None);
    check("example.com", "**.com", Some("wildcard"));
    check("a.b.com", "a*b.com", None);
}

#[test]
fn redacted_and_unparsable_labels_match_any_label() {
    check("www.example.com", "?.example.com", Some("redacted"));
    check("example.com", "?.example.com", None);
    check(".example.com", "?.example.com", Some("suffix"));
    check("a.b.example.com", "?.example.com", None);
    check("a.b.example.com", "?.?.example.com", Some("redacted"));
    check("www.example.com", "w?w.example.com", None);
    check("www.example.com", "??.example.com", None);
    check("www.example.com", "www.\u{fffd}.com", Some("unparsable"));
    check("example.com", "\u{fffd}.com", Some("unparsable"));
    check("www.example.com", "w\u{fffd}w.example.com", None);
    check("www.example.com", "*.?.com", Some("redacted"));
    check("www.example.com", "*.?.\u{fffd}", Some("unparsable"));
    check("www.example.com", "\u{fffd}.?.com", Some("unparsable"));
}

#[test]
fn readings_of_odd_names() {
    check("example.com", "example.com/path", None);
    check(".com/path", "example.com/path", Some("suffix"));
    check(".example.com", "www.example.com\0.evil.net", None);
    check(".evil.net", "www.example.com\0.evil.net", Some("suffix"));
    check(".example.com", "a b.example.com", Some("suffix"));
}

/// Whether an item matches a value as it stands in a certificate.
#[track_caller]
fn check_value(from: NameSource, item: &str, value: &[u8], want: bool) {
    let mut names = Names::default();
    readings(value, from, &mut names);
    let NameLists { names, odd, .. } = names.take();
    let subject = Subject { odd_names: &odd, ..Subject::names_only(&names) };
    let found = !examine(&prepared(json!({"items": [item]})), &subject).is_empty();
    assert_eq!(found, want, "{item} against {:?}", String::from_utf8_lossy(value));
}

#[test]
fn values_of_certificates() {
    let san = |item, value: &[u8], want| check_value(NameSource::San, item, value, want);
    san(".example.com", b"www.example.com\0.evil.net", true);
    san("www.example.com", b"www.example.com\0.evil.net", true);
    san(".evil.net", b"www.example.com\0.evil.net", true);
    san("example.com", b"example.com/path", true);
    san("example.com", b"https://example.com/", true);
    san("example.com", b"EXAMPLE.com.", true);
    san("example.com", b" example.com", true);
    san("b\u{fc}cher.example", "b\u{fc}cher.example".as_bytes(), true);
    san("b\u{fc}cher.example", b"b\xfccher.example", true);
    san("www.example.com", b"w\x01w.example.com", true);
    san("example.com", b"w\x01w.example.com", false);
    san("www.example.com", b"?.example.com", true);
    san(".", b"192.0.2.1", false);
    san(".", b"", false);
    let cn = |item, value: &[u8], want| check_value(NameSource::CommonName, item, value, want);
    cn("example.com", b"Example.com", true);
    cn(".", b"Example Inc.", false);
    cn("localhost", b"localhost", true);
    cn(".example.com", b"xn--99999999999.example.com", true);
}

#[test]
fn case_and_trailing_dots_do_not_matter() {
    check(".example.com", "www.example.com.", Some("suffix"));
    check(".example.com", "WWW.EXAMPLE.COM", Some("suffix"));
    check("Example.COM", "example.com", Some("exact"));
    check("example.com..", "example.com", Some("exact"));
    check(".example.com.", "www.example.com", Some("suffix"));
    check("example.com valid_at:2020-01-01T00:00:00Z", "example.com", Some("exact"));
    check("  example.com\t", "example.com", Some("exact"));
}

#[test]
fn items_may_be_international() {
    check("bücher.example", "xn--bcher-kva.example", Some("exact"));
    check(".BÜCHER.example", "www.xn--bcher-kva.example", Some("suffix"));
    check("bu\u{308}cher.example", "xn--bcher-kva.example", Some("exact"));
    check("xn--bcher-kva.example", "xn--bcher-kva.example", Some("exact"));
    check("bücher。example", "xn--bcher-kva.example", Some("exact"));
    check("ＢÜＣＨＥＲ.example", "xn--bcher-kva.example", Some("exact"));
    check("ΒΌΛΟΣ.example", "xn--nxasmq6b.example", Some("exact"));
    check("βόλος.example", "xn--nxasmm1c.example", Some("exact"));
}

#[test]
fn a_star_in_an_item_is_a_plain_character() {
    check("*.example.com", "*.example.com", Some("exact"));
    check("*.example.com", "www.example.com", None);
    check("*.example.com", "w*.example.com", None);
    check("*.example.com", "?.example.com", Some("redacted"));
    check("_dmarc.example.com", "_dmarc.example.com", Some("exact"));
}

#[test]
fn every_pair_of_item_and_name_is_a_finding() {
    let modules = prepared(json!({"items": ["a.example.com", ".example.com", "b.example.com", "."]}));
    let certificate = certificate(&["*.example.com", "b.example.com", "other.net"]);
    let found = examine(&modules, &Subject::certificate(&certificate, &[]));
    let said: Vec<_> = found.iter().map(|finding| (finding.name.as_deref(), detail(finding))).collect();
    let pair = |name, item, reason| (Some(name), json!({"item": item, "reason": reason}));
    let want = [
        pair("*.example.com", ".", "any"),
        pair("*.example.com", ".example.com", "suffix"),
        pair("*.example.com", "b.example.com", "wildcard"),
        pair("*.example.com", "a.example.com", "wildcard"),
        pair("b.example.com", ".", "any"),
        pair("b.example.com", ".example.com", "suffix"),
        pair("b.example.com", "b.example.com", "exact"),
        pair("other.net", ".", "any"),
    ];
    assert_eq!(said, want);
    let ids: std::collections::HashSet<_> = found.iter().map(|finding| finding.id).collect();
    assert_eq!(ids.len(), found.len());
}

#[test]
fn a_finding_carries_the_certificate_or_is_reported_once() {
    let modules = prepared(json!({"items": ["example.com"]}));
    let certificate = certificate(&["example.com"]);
    let of_certificate = examine(&modules, &Subject::certificate(&certificate, &[])).remove(0);
    assert_eq!((of_certificate.sha256, of_certificate.tbs_sha256), (certificate.sha256, certificate.tbs_sha256));
    assert_eq!((of_certificate.seen, of_certificate.once), (certificate.seen, false));
    assert_eq!(of_certificate.severity, Severity::High);

    let of_names = examine(&modules, &Subject::names_only(&certificate.names)).remove(0);
    assert_eq!((of_names.sha256, of_names.seen, of_names.once), (None, None, true));
    assert_ne!(of_names.id, of_certificate.id);
}

#[test]
fn addresses_do_not_match() {
    let mut certificate = certificate(&[]);
    certificate.ips = boxed(&["192.0.2.1", "2001:db8::1"]);
    assert_eq!(examine(&prepared(json!({"items": ["."]})), &Subject::certificate(&certificate, &[])), []);
}

#[test]
fn a_certificate_that_cannot_be_read_is_reported_whatever_is_watched() {
    let mut certificate = certificate(&[]);
    certificate.parse = ParseState::Failed;
    certificate.parse_error = Some("not a SEQUENCE".into());
    let watch = |options| {
        let found = examine(&prepared(options), &Subject::certificate(&certificate, &[]));
        found.iter().map(|finding| (finding.check.to_string(), detail(finding))).collect::<Vec<_>>()
    };
    assert_eq!(watch(json!({"items": ["a.example"]})), [("malformed".to_owned(), json!({"error": "not a SEQUENCE"}))]);
    assert_eq!(watch(json!({})), []);
}

#[track_caller]
fn check_issuer(item: Value, cn: Option<&str>, org: Option<&str>, reported: bool) {
    let mut certificate = certificate(&["example.com"]);
    certificate.issuer_cn = cn.map(Into::into);
    certificate.issuer_org = org.map(Into::into);
    let options = Map::from_iter([("items".to_owned(), item)]);
    let found = examine(&prepared(options.into()), &Subject::certificate(&certificate, &[]));
    assert_eq!(found.len(), usize::from(reported));
}

#[test]
fn known_issuers_are_not_reported() {
    let allow = json!([{"item": "example.com", "allow_issuers": ["Let's Encrypt"], "ignore_issuers": ["Lab CA"]}]);
    check_issuer(allow.clone(), Some("R11"), Some("Let's Encrypt"), false);
    check_issuer(allow.clone(), Some("My Lab CA 2"), None, false);
    check_issuer(allow.clone(), Some("Other"), Some("Other"), true);
    check_issuer(allow, None, None, true);
    let twice = json!([{"item": "example.com", "allow_issuers": ["Other"]}, "EXAMPLE.com"]);
    check_issuer(twice, Some("Other"), None, true);
    check_issuer(json!(["example.com"]), Some("Other"), None, true);
}

#[test]
fn tags_of_all_mentions_come_back() {
    let items =
        json!([{"item": "example.com", "tags": ["shop", "eu"]}, {"item": "example.com", "tags": ["eu", "old"]}]);
    let names = boxed(&["example.com"]);
    let found = examine(&prepared(json!({"items": items})), &Subject::names_only(&names));
    assert_eq!(found.len(), 1);
    assert_eq!(detail(&found[0]), json!({"item": "example.com", "reason": "exact", "tags": ["shop", "eu", "old"]}));
}

#[test]
fn a_list_file_is_read_as_it_is() {
    let list = "\u{feff}# ours\r\nexample.com\r\n\r\n.example.net valid_at:2020-01-01\r\n   \r\n#.\r\n";
    let list = watchlist(json!({"list": list, "items": [".example.org"]}));
    let texts: Vec<_> = list.items.iter().map(|item| &*item.text).collect();
    assert_eq!(texts, [".example.org", "example.com", ".example.net"]);
}

#[track_caller]
fn check_mistake(options: Value, want: &str) {
    let mistake = module("watchlist", options).err().expect("a mistake");
    let source = std::error::Error::source(&mistake).map(|source| format!(": {source}"));
    assert_eq!(format!("{mistake}{}", source.unwrap_or_default()), want);
}

#[test]
fn mistakes_name_the_item() {
    let item = |item: Value| json!({"items": ["a.example", item]});
    let key = "modules.watchlist.items[1]";
    check_mistake(item(json!("")), &format!("{key} cannot be used: the item is empty"));
    check_mistake(item(json!("a b")), &format!("{key} cannot be used: unknown parameter \"b\" after the item"));
    check_mistake(item(json!("a..b")), &format!("{key} cannot be used: \"a..b\" names no domain: a label is empty"));
    check_mistake(item(json!("..")), &format!("{key} cannot be used: \"..\" names no domain: a label is empty"));
    for bogus in ["xn--ü.example", "a\u{378}.example", "www.xn--99999999999.example"] {
        check_mistake(item(json!(bogus)), &format!("{key} cannot be used: {bogus:?} has no ASCII form (IDNA)"));
    }
    check_mistake(item(json!(7)), &format!("{key}: a number where text or a table is expected"));
    check_mistake(item(json!({"tags": []})), &format!("{key}.item is missing"));
    check_mistake(item(json!({"item": 1})), &format!("{key}.item: a number where text is expected"));
    check_mistake(
        item(json!({"item": "a", "tags": "b"})),
        &format!("{key}.tags: text where a list of texts is expected"),
    );
    check_mistake(
        item(json!({"item": "a", "tags": ["b", 1]})),
        &format!("{key}.tags[1]: a number where text is expected"),
    );
    check_mistake(
        item(json!({"item": "a", "ignore_issuers": [""]})),
        &format!("{key}.ignore_issuers[0]: an empty text is not allowed (1 character or more)"),
    );
    check_mistake(
        item(json!({"item": "a", "tag": []})),
        &format!("{key}: unknown key \"tag\"; did you mean \"tags\"? known: item, tags, allow_issuers, ignore_issuers"),
    );
    check_mistake(
        json!({"list": "a.example\n# b\nb.example shop\n"}),
        "modules.watchlist.list line 3 cannot be used: unknown parameter \"shop\" after the item",
    );
    let long = [&"a".repeat(60); 5].map(String::as_str).join(".");
    check_mistake(
        item(json!(long)),
        &format!("{key} cannot be used: {long:?} is longer than a name can be (253 bytes)"),
    );
}

/// Numbers that look random (splitmix64), the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }

    fn name(&mut self, labels: &[&str]) -> String {
        let count = 1 + self.below(4);
        (0..count).map(|_| labels[self.below(labels.len())]).collect::<Vec<_>>().join(".")
    }
}

/// The rules once more, as a scan: label by label from the right until the item is used up.
fn matches_by_scan(item: &str, name: &str) -> bool {
    let (below, domain) = item.strip_prefix('.').map_or((false, item), |domain| (true, domain));
    let mut name: Vec<&str> = name.split('.').collect();
    for wanted in domain.split('.').rev().filter(|label| !label.is_empty()) {
        let Some(label) = name.pop() else { return false };
        let any = ["*", "?", "\u{fffd}"].contains(&label);
        if !any && !glob_by_recursion(label.as_bytes(), wanted.as_bytes()) {
            return false;
        }
    }
    below || name.is_empty()
}

fn glob_by_recursion(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| glob_by_recursion(rest, &text[skipped..])),
        Some((byte, rest)) => {
            text.split_first().is_some_and(|(first, text)| first == byte && glob_by_recursion(rest, text))
        }
    }
}

#[test]
fn the_tree_agrees_with_a_scan() {
    let mut numbers = Numbers(22);
    let plain = ["a", "b", "ab", "ba", "aab", "com", "*", "xn--a"];
    let odd = ["a", "b", "ab", "aab", "com", "xn--a", "*", "?", "\u{fffd}", "a*", "*b", "a*b", "*a*", "**", "a?", "*?"];
    let mut pairs = 0;
    for round in 0..300 {
        let mut items: Vec<String> =
            (0..40).map(|_| format!("{}{}", ["", "."][numbers.below(2)], numbers.name(&plain))).collect();
        items.extend((round % 5 == 0).then(|| ".".to_owned()));
        items.sort();
        items.dedup();
        let modules = prepared(json!({"items": items}));
        for _ in 0..20 {
            let name = numbers.name(&odd);
            let names = boxed(&[&name]);
            let found = examine(&modules, &odd_only(&names));
            let mut found: Vec<_> = found.iter().map(|finding| detail(finding)["item"].clone()).collect();
            found.sort_by_key(ToString::to_string);
            let want: Vec<_> = items.iter().filter(|item| matches_by_scan(item, &name)).map(String::as_str).collect();
            pairs += want.len();
            assert_eq!(found, want, "round {round}: {name:?} against {items:?}");
        }
    }
    assert!(pairs > 10_000, "only {pairs} matches");
}

/// Nodes looked at for a name.
fn cost(list: &Watchlist, name: &str) -> u64 {
    let mut budget = u64::MAX;
    assert!(list.trie.walk(name, &mut budget, &mut |_| {}));
    u64::MAX - budget
}

#[test]
fn the_length_of_the_list_costs_a_plain_name_nothing() {
    let list = |items: usize| {
        let items: Vec<String> = (0..items).map(|i| format!(".shop{i}.example{}.com", i % 100)).collect();
        watchlist(json!({ "items": items }))
    };
    let [short, long] = [list(1_000), list(100_000)];
    for name in ["www.shop7.example7.com", "shop999.example99.com", "nobody.net", "a.b.c.d.e.f.g.com", "com"] {
        assert_eq!(cost(&short, name), cost(&long, name), "{name}");
        assert!(cost(&long, name) <= 4, "{name}");
    }
}

#[test]
fn a_hostile_name_looks_at_each_node_once() {
    let items: Vec<String> = (0..2_000).map(|i| format!("a{}.b{}.c{}.d{i}", i % 7, i % 11, i % 13)).collect();
    let list = watchlist(json!({ "items": items }));
    let nodes = list.trie.node_count() as u64;
    for label in ["*", "?", "\u{fffd}", "*d*", "**"] {
        assert!(cost(&list, &[label; 100].join(".")) < nodes, "{label}");
    }
    let stars = "*".repeat(100_000);
    assert!(cost(&list, &format!("{stars}a{stars}.{stars}.{stars}.d*")) < nodes);
}

#[test]
fn matches_beyond_the_bound_are_told() {
    let items: Vec<String> = (0..1_500).map(|i| format!("shop{i}.com")).collect();
    let modules = prepared(json!({ "items": items }));
    let certificate = certificate(&["shop7.com", "*.com", "shop8.com"]);
    let found = examine(&modules, &Subject::certificate(&certificate, &[]));
    assert_eq!(found.len(), MATCHES_MAX + 1);
    let last = &found[MATCHES_MAX];
    assert_eq!((&*last.check, last.name.as_deref()), ("unfinished", Some("*.com")));
    assert_eq!(detail(last), json!({"names": 3, "names_finished": 1}));
}

#[test]
fn a_walk_beyond_the_bound_is_told() {
    let items: Vec<String> = (0..20_000).map(|i| format!("shop{i}.com")).collect();
    let modules = prepared(json!({ "items": items }));
    let names: Vec<String> = (0..100).map(|i| format!("*x{i}.com")).collect();
    let certificate = certificate(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let found = examine(&modules, &Subject::certificate(&certificate, &[]));
    assert_eq!(found.len(), 1);
    assert_eq!(detail(&found[0]), json!({"names": 100, "names_finished": NODES_MAX / 20_001}));
}
