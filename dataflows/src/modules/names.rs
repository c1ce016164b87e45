//! Module `names`: what there is to say about the names themselves.
//!
//! A name that is no plain DNS name is always reported. Wildcards, and hosts or registered domains that no certificate
//! showed before, are reported once each if asked for: this module says them for every certificate, and whoever keeps
//! findings keeps the first.

use ct_model::name::{UNPARSABLE, is_plain, registered_domain};
use ct_model::{Finding, Severity};
use serde_json::{Map, Value};

use super::trie::REDACTED;
use super::{Claim, Examine, ModuleDef, OptionDef, OptionKind, Settings, Subject};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "names",
    by_default: true,
    doc: "names that are odd, wildcards, or new",
    options: &[
        OptionDef {
            name: "max",
            kind: OptionKind::Integer { min: 1, max: 1_000_000 },
            default: "100000",
            doc: "names examined per certificate; one with more of them is reported",
        },
        OptionDef {
            name: "track_wildcards",
            kind: OptionKind::Bool,
            default: "false",
            doc: "report every wildcard name the first time that it is seen",
        },
        OptionDef {
            name: "first_seen",
            kind: OptionKind::Choice(&["off", "domain", "host"]),
            default: "\"off\"",
            doc: "report every registered domain, or every host name, the first time that it is seen",
        },
    ],
    prepare: |settings| Ok(Box::new(Names::new(settings))),
};

struct Names {
    max: usize,
    track_wildcards: bool,
    first_seen: FirstSeen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstSeen {
    Off,
    Domain,
    Host,
}

impl Names {
    fn new(settings: &Settings) -> Self {
        Self {
            max: usize::try_from(settings.integer("max")).expect("at most a million"),
            track_wildcards: settings.bool("track_wildcards"),
            first_seen: match settings.text("first_seen") {
                "domain" => FirstSeen::Domain,
                "host" => FirstSeen::Host,
                _ => FirstSeen::Off,
            },
        }
    }
}

impl Examine for Names {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        let total = subject.names.len() + subject.odd_names.len();
        if total > self.max {
            out.push(too_many(subject, total, self.max));
        }
        let plain = &subject.names[..subject.names.len().min(self.max)];
        if self.track_wildcards {
            for name in plain.iter().filter(|name| is_wildcard(name)) {
                out.push(about_name(subject, "wildcard", name));
            }
        }
        match self.first_seen {
            FirstSeen::Off => {}
            FirstSeen::Domain => first_seen_domains(subject, plain, out),
            FirstSeen::Host => out.extend(plain.iter().map(|name| about_name(subject, "first-seen-host", name))),
        }
        // A reading that looks plain is a guess at what an odd one was meant to be, or a common name of one label:
        // nothing odd in itself.
        let readings = subject.odd_names.iter().take(self.max - plain.len());
        out.extend(readings.filter(|name| !is_plain(name.as_bytes())).map(|name| odd(subject, name)));
    }
}

/// A name that stands for several: also `www*.example.com` and `*-shop.example.com`, which authorities used to sign.
pub(super) fn is_wildcard(name: &str) -> bool {
    name.contains('*')
}

fn too_many(subject: &Subject<'_>, total: usize, max: usize) -> Finding {
    let detail = object([("names", total.into()), ("examined", max.into())]);
    let key = if subject.certificate.is_none() { subject.all_names().next().unwrap_or_default() } else { "" };
    let claim = Claim { check: "too-many-names", severity: Severity::Low, key, name: None, once: false, detail };
    subject.finding(MODULE.name, claim)
}

/// Something new about a plain name, worth saying once.
fn about_name(subject: &Subject<'_>, check: &str, name: &str) -> Finding {
    let mut detail = object([("wildcard", is_wildcard(name).into())]);
    if let Some(domain) = registered_domain(name) {
        detail.extend(about_domain(domain));
    }
    if let Some(unicode) = unicode(name) {
        detail.insert("unicode".to_owned(), unicode.into());
    }
    if let Some(common_name) = subject.certificate.and_then(|certificate| certificate.subject_cn.as_deref()) {
        detail.insert("common_name".to_owned(), common_name.eq_ignore_ascii_case(name).into());
    }
    let claim = Claim { check, severity: Severity::Info, key: name, name: Some(name), once: true, detail };
    subject.finding(MODULE.name, claim)
}

fn first_seen_domains(subject: &Subject<'_>, names: &[Box<str>], out: &mut Vec<Finding>) {
    // Names of one domain mostly stand together; what comes again later is merged by its id.
    let mut last = None;
    for name in names {
        let domain = registered_domain(name);
        if domain == last {
            continue;
        }
        last = domain;
        let Some(domain) = domain else { continue };
        let mut detail = object([("host", (**name).into())]);
        detail.extend(about_domain(domain));
        if let Some(unicode) = unicode(domain) {
            detail.insert("unicode".to_owned(), unicode.into());
        }
        let (check, severity) = ("first-seen-domain", Severity::Info);
        let claim = Claim { check, severity, key: domain, name: Some(domain), once: true, detail };
        out.push(subject.finding(MODULE.name, claim));
    }
}

/// A registered domain is one label in front of a public suffix.
pub(super) fn about_domain(domain: &str) -> Map<String, Value> {
    let suffix = domain.split_once('.').map_or(Value::Null, |(_, suffix)| suffix.into());
    object([("registered_domain", domain.into()), ("public_suffix", suffix)])
}

fn odd(subject: &Subject<'_>, name: &str) -> Finding {
    let has_label = |wanted| name.split('.').any(|label| label == wanted);
    let kinds =
        [("slash", name.contains('/')), ("unparsable", has_label(UNPARSABLE)), ("redacted", has_label(REDACTED))];
    let mut why: Vec<&str> = kinds.into_iter().filter_map(|(kind, is)| is.then_some(kind)).collect();
    if why.is_empty() {
        why.push("not-a-dns-name");
    }
    let detail = object([("why", why.into())]);
    let claim = Claim { check: "odd-name", severity: Severity::Low, key: name, name: Some(name), once: false, detail };
    subject.finding(MODULE.name, claim)
}

/// How people see a name with A-labels (RFC 5890 section 2.3.2.1), if all of them decode.
pub(super) fn unicode(name: &str) -> Option<String> {
    if !name.contains("xn--") {
        return None;
    }
    let (unicode, result) = idna::domain_to_unicode(name);
    result.is_ok().then_some(unicode)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::tests::{boxed, certificate, detail, examine, module};

    fn found(options: Value, names: &[&str], odd_names: &[&str]) -> Vec<Finding> {
        let module = module("names", options).expect("no mistake");
        examine(&module, &Subject::certificate(&certificate(names), &boxed(odd_names)))
    }

    /// Check and name of each finding.
    #[track_caller]
    fn check(options: Value, names: &[&str], odd_names: &[&str], want: &[(&str, &str)]) {
        let found = found(options, names, odd_names);
        let said: Vec<_> =
            found.iter().map(|finding| (&*finding.check, finding.name.as_deref().unwrap_or_default())).collect();
        assert_eq!(said, want);
    }

    #[test]
    fn plain_names_are_nothing_to_say() {
        check(json!({}), &["example.com", "*.example.com", "xn--bcher-kva.example"], &[], &[]);
    }

    #[test]
    fn wildcards() {
        let names = ["*.example.com", "example.com", "*-shop.example.com", "www*.example.com", "*.example.com"];
        let want = ["*.example.com", "*-shop.example.com", "www*.example.com"].map(|name| ("wildcard", name));
        check(json!({"track_wildcards": true}), &names, &[], &want);
    }

    #[test]
    fn hosts() {
        let want = ["a.example.com", "example.com"].map(|name| ("first-seen-host", name));
        check(json!({"first_seen": "host"}), &["a.example.com", "example.com", "a.example.com"], &[], &want);
    }

    #[test]
    fn domains() {
        let names = ["a.example.com", "b.example.com", "co.uk", "shop.example.co.uk", "example.com", "localhost"];
        let want = ["example.com", "example.co.uk"].map(|name| ("first-seen-domain", name));
        check(json!({"first_seen": "domain"}), &names, &[], &want);
    }

    #[test]
    fn what_is_reported_once_carries_the_certificate_that_showed_it_but_not_in_its_id() {
        let finding = found(json!({"first_seen": "domain"}), &["a.example.com"], &[]).remove(0);
        assert!(finding.once);
        assert_eq!(finding.sha256, Some([7; 32]));
        assert_eq!(finding.id, Finding::id_of("names", "first-seen-domain", "example.com", None));
    }

    #[test]
    fn details() {
        let host = |name| detail(&found(json!({"first_seen": "host"}), &[name], &[])[0]);
        assert_eq!(
            host("*.xn--bcher-kva.co.uk"),
            json!({"wildcard": true, "registered_domain": "xn--bcher-kva.co.uk", "public_suffix": "co.uk",
                   "unicode": "*.bücher.co.uk"})
        );
        assert_eq!(host("localhost"), json!({"wildcard": false}));
        let domain = detail(&found(json!({"first_seen": "domain"}), &["www.xn--bcher-kva.de"], &[])[0]);
        assert_eq!(
            domain,
            json!({"host": "www.xn--bcher-kva.de", "registered_domain": "xn--bcher-kva.de", "public_suffix": "de",
                   "unicode": "bücher.de"})
        );
        let mut certificate = certificate(&["example.com", "www.example.com"]);
        certificate.subject_cn = Some("Example.com".into());
        let names = module("names", json!({"first_seen": "host"})).expect("no mistake");
        let found = examine(&names, &Subject::certificate(&certificate, &[]));
        let is_cn: Vec<_> = found.iter().map(|finding| detail(finding)["common_name"].clone()).collect();
        assert_eq!(is_cn, [true, false]);
    }

    #[test]
    fn odd_names_say_what_is_odd() {
        let why = |name| detail(&found(json!({}), &[], &[name])[0])["why"].clone();
        assert_eq!(why("example.com/path"), json!(["slash"]));
        assert_eq!(why("a/b.\u{fffd}.?.com"), json!(["slash", "unparsable", "redacted"]));
        assert_eq!(why("a b.example.com"), json!(["not-a-dns-name"]));
        assert_eq!(why("w?w.a\u{fffd}.com"), json!(["not-a-dns-name"]));
    }

    #[test]
    fn a_guess_is_not_odd() {
        check(json!({}), &[], &["example.com", "example.com/path", "e7"], &[("odd-name", "example.com/path")]);
    }

    #[test]
    fn names_beyond_the_bound_are_told() {
        let options = json!({"max": 2, "first_seen": "host"});
        let names = ["a.example", "b.example", "c.example"];
        let want = [("too-many-names", ""), ("first-seen-host", "a.example"), ("first-seen-host", "b.example")];
        check(options.clone(), &names, &["?.example"], &want);
        check(
            options.clone(),
            &names[..1],
            &["?.example"],
            &[("first-seen-host", "a.example"), ("odd-name", "?.example")],
        );
        assert_eq!(detail(&found(options, &names, &["?.example"])[0]), json!({"names": 4, "examined": 2}));
    }
}
