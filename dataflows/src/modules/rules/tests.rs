use ct_model::{CertRecord, EntryKind, Finding, Timestamp};
use serde_json::json;

use super::*;
use crate::modules::Modules;
use crate::modules::tests::{boxed, certificate, detail, examine, module};

mod oracle;

/// A file with one rule, of which this is given: what comes after the head, up to the tests.
fn rule_text(rest: &str) -> String {
    format!("[[rule]]\nid = \"r\"\ntitle = \"R\"\nlevel = \"high\"\n{rest}\n")
}

fn set(rest: &str) -> RuleSet {
    RuleSet::parse("my.toml", &rule_text(rest)).unwrap_or_else(|error| panic!("{error}"))
}

fn does_match(set: &RuleSet, certificate: &CertRecord, odd_names: &[&str]) -> bool {
    let odd_names = boxed(odd_names);
    !set.examine(&Subject::certificate(certificate, &odd_names)).matches.is_empty()
}

/// Whether a rule whose only selection is `table` matches a certificate for these names.
#[track_caller]
fn check(table: &str, names: &[&str], want: bool) {
    let set = set(&format!("[rule.detection]\ncondition = \"sel\"\n[rule.detection.sel]\n{table}"));
    assert_eq!(does_match(&set, &certificate(names), &[]), want, "{table} on {names:?}");
}

#[test]
fn names() {
    check("name = 'www.example.com'", &["example.com", "www.example.com"], true);
    check("name = 'WWW.example.com.'", &["www.example.com"], true);
    check("name = 'example.com'", &["www.example.com"], false);
    check("name = 'bücher.example'", &["xn--bcher-kva.example"], true);
    check("name = ['a.example', 'b.example']", &["b.example"], true);
}

#[test]
fn suffixes() {
    for suffix in ["example.com", ".example.com", "*.example.com"] {
        check(&format!("suffix = '{suffix}'"), &["example.com"], true);
        check(&format!("suffix = '{suffix}'"), &["a.b.example.com"], true);
        check(&format!("suffix = '{suffix}'"), &["*.example.com"], true);
        check(&format!("suffix = '{suffix}'"), &["badexample.com", "example.com.bad.example"], false);
    }
    check("suffix = 'xyz'", &["login.xyz"], true);
    check("suffix = 'xyz'", &["login.wxyz"], false);
}

#[test]
fn keywords() {
    check("keyword = 'bank'", &["my.bankers.example"], true);
    check("keyword = 'BANK'", &["bank.example"], true);
    check("keyword = 'bank'", &["www.foo.bank"], true);
    check("keyword = 'n.ex'", &["login.example"], true);
    check("keyword = 'bank'", &["ban.k.example"], false);
    check("keyword = ['zzz', 'ogi']", &["login.example"], true);
    check("keyword_all = ['log', 'pay']", &["login-pay.example"], true);
    check("keyword_all = ['log', 'pay']", &["login.example", "pay.example"], false);
    check("keyword_all = ['log', 'log', 'LOG']", &["login.example"], true);
}

#[test]
fn keywords_in_the_labels_that_the_owner_chose() {
    check("keyword_in_label = 'bank'", &["my.bankers.example"], true);
    check("keyword_in_label = 'bank'", &["www.foo.bank"], false);
    check("keyword_in_label = 'uk'", &["shop.example.co.uk"], false);
    check("keyword_in_label = 'uk'", &["ukshop.example.co.uk"], true);
    check("keyword_in_label = 'intra'", &["intranet"], true);
    check("label = 'login'", &["a.login.example.com"], true);
    check("label = 'login'", &["login.com"], true);
    check("label = 'login'", &["a-login.example.com", "logins.example.com"], false);
    check("label = 'com'", &["example.com"], false);
    check("label = 'login'", &["loginlogin.login.example.com"], true);
    check("word = 'apple'", &["apple-id.example", "x.example"], true);
    check("word = 'apple'", &["my-apple.example"], true);
    check("word = 'apple'", &["apple.com"], true);
    check("word = 'apple'", &["pineapple.example", "applepie.example", "apple2.example"], false);
    check("word = 'apple'", &["pineapple-apple.example"], true);
}

#[test]
fn expressions() {
    check("regex = '^pay[a-z]+-[0-9]{2}\\.'", &["x.example", "paypel-24.example"], true);
    check("regex = '^pay'", &["www.pay.example"], false);
    check("regex_all = ['^a', 'z$']", &["a.example.z"], true);
    check("regex_all = ['^a', 'z$']", &["a.example", "b.z"], false);
}

#[test]
fn names_with_a_labels_are_seen_as_people_see_them_too() {
    check("keyword = 'büch'", &["xn--bcher-kva.example"], true);
    check("keyword = 'BÜCH'", &["xn--bcher-kva.example"], true);
    check("keyword = 'xn--b'", &["xn--bcher-kva.example"], true);
    check("label = 'bücher'", &["xn--bcher-kva.co.uk"], true);
    check("regex = '^b.cher\\.'", &["xn--bcher-kva.example"], true);
}

#[test]
fn keys_about_names_hold_for_the_same_name() {
    let table = "keyword = 'login'\nsuffix = 'xyz'";
    check(table, &["login.xyz"], true);
    check(table, &["login.example", "other.xyz"], false);
    check("keyword = 'log'\nword = 'pay'\nregex = '[0-9]'", &["log1", "pay.example", "log-pay-1.example"], true);
}

fn full_certificate() -> CertRecord {
    let mut full = certificate(&["www.example.com", "*.example.org"]);
    full.issuer_cn = Some("R10".into());
    full.issuer_org = Some("Let's Encrypt".into());
    full.issuer_dn = Some("C=US, O=Let's Encrypt, CN=R10".into());
    full.subject_cn = Some("www.example.com".into());
    full.subject_dn = Some("CN=www.example.com".into());
    full.key_algorithm = Some("rsa".into());
    full.key_bits = Some(2048);
    full.signature_algorithm = Some("rsa-sha256".into());
    full.spki_sha256 = Some([0xab; 32]);
    full.not_before = Some(Timestamp::from_seconds(1_000_000_000));
    full.not_after = Some(Timestamp::from_seconds(1_000_000_000 + 90 * 86_400 - 1));
    full.kind = Some(EntryKind::Precert);
    full.is_ca = Some(false);
    full.ips = boxed(&["192.0.2.7", "2001:db8::1"]);
    full.log = Some("log.example/2026".into());
    full.serial = Some("1f".into());
    full.sct_count = Some(0);
    full.registered_domains = boxed(&["example.com", "example.org"]);
    full
}

#[test]
fn other_fields() {
    let cases = [
        ("issuer_cn = 'r10'", true),
        ("issuer_cn = 'R1'", false),
        ("issuer_cn_contains = 'r1'", true),
        ("issuer_org = ['x', \"let's encrypt\"]", true),
        ("issuer_org_contains = 'R10'", false),
        ("issuer_dn_contains = 'o=let'", true),
        ("subject_cn = 'www.example.com'", true),
        ("subject_dn_contains = 'example.org'", false),
        ("key_algorithm = 'rsa'", true),
        ("key_algorithm = ['ecdsa-p256', 'ed25519']", false),
        ("key_bits_max = 2048", true),
        ("key_bits_max = 2047", false),
        ("key_bits_min = 2049", false),
        ("key_bits_min = 2048\nkey_bits_max = 2048", true),
        ("validity_days_min = 90\nvalidity_days_max = 90", true),
        ("validity_days_min = 91", false),
        ("san_count_min = 4\nsan_count_max = 4", true),
        ("sct_count_max = 0", true),
        ("kind = 'precert'", true),
        ("kind = 'final'", false),
        ("wildcard = true", true),
        ("wildcard = false", false),
        ("is_ca = false", true),
        ("is_ca = true", false),
        ("log = 'log.example/2026'", true),
        ("log_contains = '/2025'", false),
        ("serial = '1F'", true),
        ("ip = '192.0.2.0/24'", true),
        ("ip = '192.0.2.7'", true),
        ("ip = ['192.0.2.8/32', '10.0.0.0/8']", false),
        ("ip = '0.0.0.0/0'", true),
        ("ip = '2001:db8::/32'", true),
        ("ip = '2001:db9::/32'", false),
        ("signature_algorithm = 'rsa-sha1'", false),
        ("issuer_cn = 'R10'\nkey_bits_max = 1024", false),
        ("issuer_cn = 'R10'\nkeyword = 'example.org'", true),
    ];
    for (table, want) in cases {
        let set = set(&format!("[rule.detection]\ncondition = \"sel\"\n[rule.detection.sel]\n{table}"));
        assert_eq!(does_match(&set, &full_certificate(), &[]), want, "{table}");
        let unknown = Subject::names_only(&[]);
        assert!(set.examine(&unknown).matches.is_empty(), "what is unknown matches nothing: {table}");
    }
    let key = format!("spki_sha256 = '{}'", "aB".repeat(32));
    let set = set(&format!("[rule.detection]\ncondition = \"sel\"\n[rule.detection.sel]\n{key}"));
    assert!(does_match(&set, &full_certificate(), &[]));
}

#[test]
fn a_selection_of_several_tables_holds_if_one_does() {
    let set = set("[rule.detection]\ncondition = 'sel'\nsel = [{ keyword = 'abc' }, { suffix = 'xyz', word = 'pay' }]");
    for (name, want) in [("abc.example", true), ("pay.xyz", true), ("pay.example", false), ("a.xyz", false)] {
        assert_eq!(does_match(&set, &certificate(&[name]), &[]), want, "{name}");
    }
}

#[test]
fn odd_names_count() {
    let set = set("[rule.detection]\ncondition = 'sel'\nsel = { keyword = 'login' }");
    assert!(does_match(&set, &certificate(&["a.example"]), &["LOGIN page.example"]));
}

#[test]
fn what_is_allowed() {
    let set = set("[rule.allow]\nsuffix = 'alderbank.example'\nissuer_cn = 'Alderbank CA'\n\
                   [rule.detection]\ncondition = 'sel'\nsel = { keyword = 'alderbank' }");
    let mut cert = certificate(&["alderbank.example", "www.alderbank.example"]);
    assert!(!does_match(&set, &cert, &[]));
    cert.names.push("alderbank.evil.example".into());
    assert!(does_match(&set, &cert, &[]), "one name is not allowed");
    cert.issuer_cn = Some("Alderbank CA".into());
    assert!(!does_match(&set, &cert, &[]), "the whole certificate is");
}

#[test]
fn a_certificate_is_allowed_if_all_of_its_names_are() {
    let set = set("[rule.allow]\nsuffix = ['a.example', 'b.example']\n\
                   [rule.detection]\ncondition = 'sel'\nsel = { key_bits_max = 1024 }");
    let mut cert = certificate(&["a.example", "b.example"]);
    cert.key_bits = Some(512);
    assert!(!does_match(&set, &cert, &[]));
    assert!(does_match(&set, &cert, &["c.example"]));
    cert.names.clear();
    assert!(does_match(&set, &cert, &[]));
}

#[track_caller]
fn check_cel(condition: &str, want: bool) {
    let set = set(&format!(
        "[rule.detection]\ncondition_cel = '''{condition}'''\nbrand = {{ keyword = 'example.org' }}\nother = {{ keyword = 'nothing' }}"
    ));
    assert_eq!(does_match(&set, &full_certificate(), &[]), want, "{condition}");
}

#[test]
fn expression_conditions() {
    let cases = [
        ("cert.names.exists(n, n.endsWith('.com') && n.startsWith('www'))", true),
        ("cert.names.exists(n, n.contains('exemple'))", false),
        ("cert.names.all(n, n.contains('example'))", true),
        ("cert.names.exists_one(n, n.startsWith('*'))", true),
        ("cert.names.filter(n, n.matches(r'\\.(com|net)$')).size() == 1", true),
        ("size(cert.names) + size(cert.ips) == cert.san_count", true),
        ("'www.example.com' in cert.names", true),
        ("cert.issuer_cn in ['R10', 'R11']", true),
        ("cert.key_bits in [1024, 4096]", false),
        ("cert.key_bits < 2049 && cert.key_algorithm == 'rsa' && !cert.is_ca", true),
        ("cert.validity_days * 2 - 180 == 0 && 7 / 2 == 3 && -7 % 3 == -1", true),
        ("cert.names[0] == 'www.example.com'", true),
        ("cert.names[2] == 'www.example.com'", false),
        ("!(cert.names[2] == 'x')", false),
        ("cert.names[2] == 'x' || true", true),
        ("1 / 0 == 1 || cert.wildcard", true),
        ("!(1 / 0 == 1 && false)", true),
        ("9223372036854775807 + 1 > 0", false),
        ("cert.names.exists(n, cert.names[7] == n || n == '*.example.org')", true),
        ("cert.key_bits > 1000 ? sel.brand : sel.other", true),
        ("sel.brand && !sel.other", true),
        ("sel.other || cert.kind == 'final'", false),
        ("has(cert.key_bits)", true),
        ("'b' > 'a' && 'abc' <= 'abc'", true),
        ("cert.names.exists(n, cert.registered_domains.exists(d, n.endsWith(d) && n != d))", true),
        ("'\\u0041\\x42\\n' == 'AB\\n' // and a comment", true),
        ("size('bücher') == 6", true),
    ];
    for (condition, want) in cases {
        check_cel(condition, want);
    }
}

#[test]
fn an_unknown_field_is_no_match() {
    let set = |condition| set(&format!("[rule.detection]\ncondition_cel = '''{condition}'''"));
    let cert = certificate(&["a.example"]);
    assert!(!does_match(&set("cert.key_bits < 4096"), &cert, &[]));
    assert!(!does_match(&set("!(cert.key_bits < 4096)"), &cert, &[]));
    assert!(does_match(&set("!has(cert.key_bits)"), &cert, &[]));
    assert!(does_match(&set("cert.key_bits < 4096 || cert.names.size() == 1"), &cert, &[]));
}

#[test]
fn expressions_do_not_see_allowed_names() {
    let set = set(
        "[rule.allow]\nsuffix = 'own.example'\n[rule.detection]\ncondition_cel = \"cert.names.exists(n, n.contains('pay'))\"",
    );
    assert!(!does_match(&set, &certificate(&["pay.own.example", "x.example"]), &[]));
    assert!(does_match(&set, &certificate(&["pay.own.example", "pay.example"]), &[]));
}

/// What is wrong with a rule with this text after its head.
#[track_caller]
fn check_error(rest: &str, want: &str) {
    let error = RuleSet::parse("my.toml", &rule_text(rest)).err().expect("a mistake");
    assert_eq!(error.to_string(), want);
}

fn with_table(table: &str) -> String {
    format!("[rule.detection]\ncondition = 'sel'\n[rule.detection.sel]\n{table}")
}

#[test]
fn mistakes_name_the_place_and_the_way_out() {
    let known_keys = "known: name, suffix, keyword, keyword_all, keyword_in_label, word, label, regex, regex_all, ip, \
                      spki_sha256, issuer_cn, issuer_cn_contains, issuer_org, issuer_org_contains, issuer_dn, \
                      issuer_dn_contains, subject_cn, subject_cn_contains, subject_dn, subject_dn_contains, \
                      key_algorithm, key_algorithm_contains, signature_algorithm, signature_algorithm_contains, kind, \
                      kind_contains, log, log_contains, serial, serial_contains, key_bits_min, key_bits_max, \
                      validity_days_min, validity_days_max, san_count_min, san_count_max, sct_count_min, \
                      sct_count_max, is_ca, wildcard";
    check_error("x =", "my.toml: line 5: string values must be quoted, expected literal string");
    check_error("", "my.toml: rule r: detection: is missing");
    check_error(
        "levl = 1",
        "my.toml: rule r: unknown key \"levl\"; did you mean \"level\"? known: id, title, status, \
                 level, description, tags, references, false_positives, detection, allow, test",
    );
    check_error("status = 'new'", "my.toml: rule r: detection: is missing");
    check_error("[rule.detection]", "my.toml: rule r: detection.condition: is missing");
    check_error(
        "[rule.detection]\ncondition = 'a'",
        "my.toml: rule r: detection.condition: unknown selection \"a\"; known: ",
    );
    check_error(
        "[rule.detection]\ncondition = 'a'\ncondition_cel = 'true'",
        "my.toml: rule r: detection.condition_cel: `condition` is given too; leave one of them out",
    );
    check_error(
        &with_table("keywrd = 'x'"),
        &format!("my.toml: rule r: detection.sel: unknown key \"keywrd\"; did you mean \"keyword\"? {known_keys}"),
    );
    let cases = [
        ("keyword = ['a', '']", "keyword[1]: an empty text is not allowed"),
        ("keyword = [1]", "keyword[0]: a number where text is expected"),
        ("keyword = []", "keyword: 0 members; allowed are 1..=1000000"),
        ("label = 'a.b'", "label[0]: \"a.b\": a dot is in no label; use `keyword`"),
        ("suffix = 'a..b'", "suffix[0]: \"a..b\" is no domain; one is written example.com"),
        ("regex = '('", "regex[0]: not an expression: unclosed group"),
        (
            "regex = '(a{500}){500}'",
            "regex[0]: compiles to more than 262144 bytes; use smaller repetitions, and [a-z0-9] in place of \\w",
        ),
        (
            "ip = '1.2.3.4/33'",
            "ip[0]: \"1.2.3.4/33\": a network is an address, or an address and how many bits of it count: 192.0.2.0/24",
        ),
        ("spki_sha256 = 'abc'", "spki_sha256[0]: \"abc\": a SHA-256 has 64 hexadecimal digits"),
        ("kind = 'leaf'", "kind[0]: \"leaf\" is not allowed (precert, final)"),
        ("key_bits_min = -1", "key_bits_min: -1 is not allowed (0..=2147483647)"),
        ("key_bits_min = 2\nkey_bits_max = 1", "key_bits_min: 2 is more than key_bits_max, 1"),
        ("is_ca = 'no'", "is_ca: text where true or false is expected"),
    ];
    for (table, want) in cases {
        check_error(&with_table(table), &format!("my.toml: rule r: detection.sel.{want}"));
    }
    let error = RuleSet::parse("my.toml", "[[rule]]\ntitle = 'x'").err().unwrap();
    assert_eq!(error.to_string(), "my.toml: rule #1: id: is missing");
    let twice = rule_text("[rule.detection]\ncondition_cel = 'true'").repeat(2);
    let error = RuleSet::parse("my.toml", &twice).err().unwrap();
    assert_eq!(error.to_string(), "my.toml: rule r: id: another rule has this id");
    for (id, why) in [
        ("A b", "an id has lower-case letters, digits and - _ ."),
        ("budget", "\"budget\" is what the module's own findings are called; take another id"),
    ] {
        let error = RuleSet::parse("my.toml", &rule_text("").replace("\"r\"", &format!("\"{id}\""))).err().unwrap();
        assert_eq!(error.to_string(), format!("my.toml: rule {id}: id: {why}"));
    }
    assert_eq!(RuleSet::parse("f", "").err().unwrap().to_string(), "f: no rule: each is a table [[rule]]");
}

#[test]
fn mistakes_in_expressions() {
    let cases = [
        ("cert.names", "the condition is a list of texts where true or false is expected"),
        (
            "cert.name.size() > 1",
            "unknown field `name`; did you mean names? known: names, odd_names, registered_domains, ips, issuer_cn, issuer_org, issuer_dn, subject_cn, subject_dn, key_algorithm, signature_algorithm, kind, log, serial, key_bits, validity_days, san_count, sct_count, is_ca, wildcard",
        ),
        ("sel.x", "unknown selection `x`; known: "),
        ("cert.key_bits == '1'", "the right side of a comparison is a text where a whole number is expected"),
        ("cert.is_ca < true", "true or false cannot be compared so"),
        ("cert.key_bits > 1.5", "numbers with a decimal point are not known here; there are whole numbers"),
        (
            "cert.names.map(n, n)",
            "unknown function `map`; known: startsWith, endsWith, contains, all, exists, exists_one, filter, matches, size",
        ),
        ("cert.names.exists(cert, true)", "`cert` cannot be a variable: it has a meaning of its own"),
        ("cert.log.matches(cert.log)", "matches() takes a literal expression: matches(r'^a[0-9]+')"),
        ("cert.log.matches('\\d')", "\\d means nothing in a text; for an expression write r'…'"),
        ("true &&", "a value is expected at the end"),
        ("true true", "an operator or the end is expected before `true`"),
        ("(true", "`)` is expected at the end"),
        ("'a", "a text has no end: its quote is missing"),
        ("nam == 1", "unknown word `nam`; known: cert, sel, has, size, true, false"),
        ("a @ b", "'@' has no meaning here"),
        ("1 in 2", "a whole number stands after `in` where a list is expected"),
        ("1 in [1, 'a']", "a list has literal texts, or literal whole numbers"),
        ("99999999999999999999 > 1", "99999999999999999999: not a whole number up to 9223372036854775807"),
    ];
    for (condition, want) in cases {
        let rest = format!("[rule.detection]\ncondition_cel = '''{condition}'''");
        check_error(&rest, &format!("my.toml: rule r: detection.condition_cel: {want}"));
    }
}

#[test]
fn hostile_expressions_are_refused_and_not_followed() {
    for text in ["(", "!", "-", "[", "cert.names.exists(n,", "true?true:", "1+", "true||", "cert."] {
        let condition = text.repeat(4_000 / text.len());
        let rest = format!("[rule.detection]\ncondition_cel = '''{condition}'''");
        assert!(RuleSet::parse("f", &rule_text(&rest)).is_err(), "{text}");
    }
    let nested = "cert.names.all(a, cert.names.all(b, cert.names.all(c, a != b || b == c)))";
    let rest = format!("[rule.detection]\ncondition_cel = '''{nested}'''");
    let error = RuleSet::parse("f", &rule_text(&rest)).err().unwrap();
    assert!(error.why.contains("steps on a certificate of 100 names, and the budget is 40000"), "{error}");
}

#[test]
fn an_expression_that_nothing_gates_is_a_warning() {
    let warnings = |condition: &str| {
        set(&format!(
            "[rule.detection]\ncondition_cel = '''{condition}'''\na = {{ keyword = 'x' }}\nb = {{ is_ca = true }}"
        ))
        .warnings()
        .len()
    };
    for (condition, want) in [
        ("cert.key_bits < 2048", 1),
        ("cert.names.exists(n, n.contains('pay'))", 0),
        ("cert.names.all(n, n.contains('pay'))", 1),
        ("!cert.names.exists(n, n.contains('pay'))", 1),
        ("cert.names.exists(n, n.contains('pay')) || cert.is_ca", 1),
        ("cert.names.exists(n, n.contains('pay') || n == 'x.example') && cert.is_ca", 0),
        ("cert.issuer_cn == 'R10'", 0),
        ("sel.a", 0),
        ("sel.b", 1),
        ("!sel.a", 1),
        ("cert.is_ca ? sel.a : sel.b", 1),
        ("cert.is_ca ? sel.a : false", 0),
        ("cert.names.exists(n, n in ['a.example', 'b.example'])", 0),
        ("'a.example' in cert.names", 0),
        ("cert.odd_names.exists(n, n.contains('pay'))", 1),
    ] {
        assert_eq!(warnings(condition), want, "{condition}");
    }
}

#[test]
fn out_of_budget_is_told() {
    let rest =
        "[rule.detection]\ncondition_cel = \"cert.names.exists(a, a.contains('n') && cert.names.all(b, b != 'x'))\"";
    let set = RuleSet::parse_all([("f", &*rule_text(rest))], 60_000).unwrap();
    let names: Vec<String> = (0..1_000).map(|number| format!("n{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(does_match(&set, &certificate(&names), &[]));
    let names: Vec<String> = (0..40_000).map(|number| format!("n{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cert = certificate(&names);
    let subject = Subject::certificate(&cert, &[]);
    let verdict = set.examine(&subject);
    assert_eq!((verdict.matches.len(), verdict.over_budget.len(), verdict.names_examined), (0, 1, None));
    let mut found = Vec::new();
    Examine::examine(&set, &subject, &mut found);
    assert_eq!((&*found[0].check, found[0].severity), ("budget", Severity::Medium));
    assert_eq!(detail(&found[0]), json!({"rules": ["r"], "rules_total": 1, "names": 40_000}));
}

#[test]
fn too_many_hits_are_told() {
    let rules: String = (0..20)
        .map(|number| {
            let rest = "[rule.detection]\ncondition = 'sel'\nsel = { keyword = 'n' }";
            rule_text(rest).replace("\"r\"", &format!("\"r{number}\""))
        })
        .collect();
    let set = RuleSet::parse("f", &rules).unwrap();
    let names: Vec<String> = (0..10_000).map(|number| format!("n{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let verdict_names = set.examine(&Subject::certificate(&certificate(&names), &[])).names_examined;
    assert_eq!(verdict_names, Some(6_553), "131,072 hits, 20 a name");
}

fn prepared(text: &str) -> Modules {
    module("rules", json!({"rules": [{"file": "my.toml", "text": text}]})).unwrap_or_else(|error| panic!("{error}"))
}

fn findings(text: &str, certificate: &CertRecord) -> Vec<Finding> {
    examine(&prepared(text), &Subject::certificate(certificate, &[]))
}

#[test]
fn a_finding_says_what_matched() {
    let text = rule_text(
        "status = 'test'\ntags = ['phishing', 'brand']\n[rule.detection]\ncondition = 'brand and 1 of sel_* and not own'\n\
         brand = { keyword = ['alderbank', 'alder'] }\nsel_new = { validity_days_max = 90 }\nsel_ca = { issuer_cn = 'X' }\n\
         own = { suffix = 'alderbank.example' }",
    );
    let mut cert = full_certificate();
    cert.names.push("my-alderbank.example".into());
    let found = findings(&text, &cert);
    assert_eq!(found.len(), 1);
    let finding = &found[0];
    assert_eq!(
        (&*finding.module, &*finding.check, finding.severity, finding.once),
        ("rules", "r", Severity::High, false)
    );
    assert_eq!(finding.name.as_deref(), Some("my-alderbank.example"));
    assert_eq!(
        detail(finding),
        json!({"title": "R", "status": "test", "tags": ["phishing", "brand"], "selections": {
            "brand": [{"key": "keyword", "value": "alder", "name": "my-alderbank.example"},
                      {"key": "keyword", "value": "alderbank", "name": "my-alderbank.example"}],
            "sel_new": [{"key": "validity_days", "value": "90"}]}})
    );
    assert_eq!(findings(&text, &cert), found, "the same again");
}

#[test]
fn evidence_is_bounded() {
    let keywords: Vec<String> = (0..26_u8).map(|letter| char::from(b'a' + letter).to_string()).collect();
    let keywords = serde_json::to_string(&keywords).unwrap();
    let selections: String = (0..50).map(|number| format!("s{number} = {{ keyword = {keywords} }}\n")).collect();
    let text = rule_text(&format!("[rule.detection]\ncondition = 'all of them'\n{selections}"));
    let found = findings(&text, &certificate(&["abcdefghijklmnopqrstuvwxyz.example"; 3]));
    let selections = detail(&found[0])["selections"].as_object().unwrap().clone();
    assert_eq!(selections.values().map(|reasons| reasons.as_array().unwrap().len()).sum::<usize>(), 16);
}

#[test]
fn an_expression_names_what_its_literals_found() {
    let text = rule_text("[rule.detection]\ncondition_cel = \"cert.names.exists(n, n.startsWith('pay'))\"");
    let found = findings(&text, &certificate(&["a.example", "pay.example"]));
    assert_eq!(found[0].name.as_deref(), Some("pay.example"));
    assert_eq!(
        detail(&found[0])["selections"],
        json!({"condition": [{"key": "literal", "value": "pay", "name": "pay.example"}]})
    );
}

#[test]
fn an_expression_names_no_allowed_name() {
    let text = rule_text(
        "allow = { suffix = 'own.example' }\n[rule.detection]\ncondition_cel = \"cert.names.exists(n, n.contains('pay'))\"",
    );
    let found = findings(&text, &certificate(&["pay.own.example", "pay.example"]));
    assert_eq!(found[0].name.as_deref(), Some("pay.example"));
}

#[test]
fn rules_see_names_without_a_certificate() {
    let modules = prepared(&rule_text("[rule.detection]\ncondition = 'sel'\nsel = { keyword = 'login' }"));
    let [one, two] = ["login.one", "login.two"].map(|name| {
        let names = boxed(&[name]);
        examine(&modules, &Subject::names_only(&names)).remove(0)
    });
    assert_eq!((one.name.as_deref(), one.once), (Some("login.one"), true));
    assert_ne!(one.id, two.id);
}

#[test]
fn no_files_are_no_rules() {
    let modules = module("rules", json!({})).unwrap();
    assert!(examine(&modules, &Subject::certificate(&certificate(&["a.example"]), &[])).is_empty());
}

#[test]
fn a_mistake_in_a_file_is_a_mistake_in_the_option() {
    let error = module("rules", json!({"rules": [{"file": "a.toml", "text": "x = 1"}]})).err().unwrap();
    assert_eq!(error.to_string(), "modules.rules.rules cannot be used");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "a.toml: unknown key \"x\"; known: rule");
    let error = module("rules", json!({"rules": "x"})).err().unwrap();
    assert_eq!(error.to_string(), "modules.rules.rules: text where a list of tables {file, text} is expected");
}

#[test]
fn tests_in_the_file() {
    let set = set(
        "[rule.detection]\ncondition = 'sel and weak'\nsel = { keyword = 'bank' }\nweak = { key_bits_max = 1024, validity_days_min = 90, kind = 'final' }\n\
         [[rule.test]]\nmatch = true\nnames = ['Bank.example']\nkey_bits = 1024\nvalidity_days = 90\nkind = 'final'\n\
         [[rule.test]]\nmatch = true\nnames = 'bank.example'\n\
         [[rule.test]]\nmatch = false\ntitle = 'no bank'\nnames = ['x.example']\nkey_bits = 1024",
    );
    assert_eq!(set.test_count(), 3);
    assert_eq!(set.run_tests(), [TestFailure { rule: "r", test: "bank.example", expected: true }]);
}

#[test]
fn hostile_names_take_bounded_time() {
    let keywords: Vec<String> = (1..64).map(|length| "a".repeat(length)).collect();
    let keywords = serde_json::to_string(&keywords).unwrap();
    let text = rule_text(&format!(
        "[rule.detection]\ncondition = 'sel'\nsel = {{ keyword_all = {keywords}, suffix = 'a.a', regex = '(a+a+)+b' }}"
    ));
    let set = RuleSet::parse("f", &text).unwrap();
    let (long, dots) = ("a".repeat(1 << 20), "a.".repeat(1 << 19));
    let xn = format!("xn--{}.example", "a".repeat(1 << 20));
    for odd in [&*long, &dots, &xn, "\u{fffd}", "", ".", "ä\u{0}b", "..", "*"] {
        let odd_names = boxed(&[odd]);
        set.examine(&Subject::certificate(&certificate(&[]), &odd_names));
    }
}

#[test]
fn unread_bytes_never_panic() {
    // SplitMix64, seed 11.
    let mut state = 11_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let text = include_str!("../../../../samples/rules.toml");
    let cert = full_certificate();
    let signs = b"()[]'\"\\.=,&|!?:-+*/%<>x0\n\xc3\xa9{}";
    for _ in 0..4_000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=next() % 4 {
            let at = (next() % bytes.len() as u64) as usize;
            match next() % 3 {
                0 => bytes[at] = signs[(next() % signs.len() as u64) as usize],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, signs[(next() % signs.len() as u64) as usize]),
            }
        }
        if let Ok(set) = RuleSet::parse("f", &String::from_utf8_lossy(&bytes)) {
            set.examine(&Subject::certificate(&cert, &[]));
        }
    }
}

#[test]
fn the_example_file_is_right() {
    let set = RuleSet::parse("samples/rules.toml", include_str!("../../../../samples/rules.toml"))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(set.run_tests(), []);
    assert!(set.test_count() >= set.rules().len());
}
