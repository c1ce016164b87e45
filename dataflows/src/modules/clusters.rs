//! Module `clusters`: series of registered domains that were made after one pattern.
//!
//! The part of a registered domain that changes within a series is masked, see [`Shape`]. Domains of one shape, one
//! issuer and one UTC day are a group, and a group that reaches a size is a finding.

use std::collections::{BTreeMap, BTreeSet};

use ct_model::time::Day;
use ct_model::{Finding, Severity};
use serde_json::{Map, json};

use super::event_time::EventTime;
use super::lowest::Lowest;
use super::options::type_name;
use super::{
    Claim, Examine, FACTS_MAX, Fact, Memory, ModuleDef, OptionDef, OptionError, OptionKind, Remember, Settings, Subject,
};

mod shape;

use shape::Shape;

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "clusters",
    by_default: false,
    doc: "series of domains made after one pattern, within a day",
    options: &[
        OptionDef {
            name: "k",
            kind: OptionKind::Integer { min: 2, max: 1_000 },
            default: "20",
            doc: "different registered domains that make a group a finding, and again at 10 and 100 times as many",
        },
        OptionDef {
            name: "shapes",
            kind: OptionKind::List,
            default: "[\"suffix\", \"tail\"]",
            doc: "patterns that are grouped by: suffix, tail, digits, word",
        },
        OptionDef {
            name: "by_issuer",
            kind: OptionKind::Bool,
            default: "true",
            doc: "domains of different issuers are different groups",
        },
        OptionDef {
            name: "groups_max",
            kind: OptionKind::Integer { min: 256, max: 1_000_000_000 },
            default: "1000000",
            doc: "groups of a day that are remembered; of more, a sample by their hashes",
        },
    ],
    prepare: |settings| Ok(Box::new(Clusters::new(settings)?)),
};

/// Days before the newest in which domains are still counted.
const LATE_DAYS: i64 = 1;
/// Domains that a finding lists.
const EXAMPLES_MAX: usize = 10;
/// Sizes at which a group is reported, in `k`.
const LEVELS: [usize; 3] = [1, 10, 100];

#[derive(Clone)]
struct Clusters {
    k: usize,
    shapes: Vec<Shape>,
    by_issuer: bool,
    groups_of_bin: usize,
}

impl Clusters {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let size = |name| usize::try_from(settings.integer(name)).expect("at most a thousand million");
        let shape = |(index, value): (usize, &serde_json::Value)| {
            let key = settings.key(&format!("shapes[{index}]"));
            let Some(word) = value.as_str() else {
                return Err(OptionError::WrongType { key, found: type_name(value), expected: "text" });
            };
            Shape::ALL.into_iter().find(|shape| shape.as_str() == word).ok_or_else(|| OptionError::NotAllowed {
                key,
                value: format!("{word:?}"),
                allowed: Shape::ALL.map(Shape::as_str).join(", "),
            })
        };
        Ok(Self {
            k: size("k"),
            shapes: settings.list("shapes").iter().enumerate().map(shape).collect::<Result<_, _>>()?,
            by_issuer: settings.bool("by_issuer"),
            groups_of_bin: size("groups_max").div_ceil(256),
        })
    }
}

impl Examine for Clusters {
    fn examine(&self, _subject: &Subject<'_>, _out: &mut Vec<Finding>) {}

    fn remember(&self) -> Option<&dyn Remember> {
        Some(self)
    }
}

impl Remember for Clusters {
    /// `text` is shape, pattern, domain and issuer with spaces between; the first number is the day.
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
        let Some(certificate) = subject.certificate else { return };
        let Some(day) = certificate.seen.map(|seen| seen.day().0) else { return };
        let issuer = certificate.issuer_org.as_deref().or(certificate.issuer_cn.as_deref());
        let issuer = issuer.filter(|_| self.by_issuer).unwrap_or_default();
        let mark = out.len();
        for domain in &certificate.registered_domains {
            let Some((shape, pattern)) = Shape::of(domain, &self.shapes) else { continue };
            let word = shape.as_str();
            let key = Fact::key_of(&[word, &pattern, issuer, &day.to_string()]);
            let name = subject.names.iter().find(|name| is_below(name, domain)).cloned();
            let text = format!("{word} {pattern} {domain} {issuer}").into();
            out.push(Fact { name, text, numbers: [day, 0, 0], ..Fact::about(certificate, key) });
            if out.len() - mark == FACTS_MAX {
                break;
            }
        }
    }

    fn memory(&self) -> Box<dyn Memory> {
        Box::new(Days { rules: self.clone(), days: BTreeMap::new(), time: EventTime::default() })
    }

    fn reach_days(&self) -> Option<u32> {
        Some(3)
    }
}

/// Whether `name` is `domain` or lies below it.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Groups of one bin.
struct Days {
    rules: Clusters,
    days: BTreeMap<i64, Lowest<u64, Group>>,
    /// In days.
    time: EventTime,
}

#[derive(Default)]
struct Group {
    /// Digests of the registered domains, as many as the highest level asks for.
    domains: BTreeSet<u64>,
    /// Those with the lowest digests.
    examples: BTreeMap<u64, Box<str>>,
}

impl Days {
    /// The fact's group, if it grew.
    fn take(&mut self, fact: &Fact, domain: &str) -> Option<&Group> {
        let day = fact.numbers[0];
        self.time.see(day);
        let oldest = self.time.now().map_or(i64::MIN, |now| now - LATE_DAYS);
        while self.days.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            self.days.pop_first();
        }
        if day < oldest {
            return None;
        }
        let groups = self.days.entry(day).or_insert_with(|| Lowest::new(self.rules.groups_of_bin));
        let group = groups.entry(fact.key)?;
        let digest = Fact::key_of(&[domain]);
        if group.domains.len() == LEVELS[2] * self.rules.k || !group.domains.insert(digest) {
            return None;
        }
        group.examples.insert(digest, domain.into());
        if group.examples.len() > EXAMPLES_MAX {
            group.examples.pop_last();
        }
        Some(group)
    }
}

/// Shape, pattern, domain and issuer of a fact.
fn parts(text: &str) -> Option<[&str; 4]> {
    let mut parts = text.splitn(4, ' ');
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

impl Memory for Days {
    fn recall(&mut self, fact: Fact) {
        if let Some([_, _, domain, _]) = parts(&fact.text) {
            self.take(&fact, domain);
        }
    }

    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        let Some([shape, pattern, domain, issuer]) = parts(&fact.text) else { return };
        let k = self.rules.k;
        let Some(group) = self.take(&fact, domain) else { return };
        let count = group.domains.len();
        if !LEVELS.iter().any(|level| level * k == count) {
            return;
        }
        let day = Day(fact.numbers[0]).to_string();
        let mut examples: Vec<&str> = group.examples.values().map(AsRef::as_ref).collect();
        examples.sort_unstable();
        let mut detail = Map::from_iter([
            ("pattern".to_owned(), pattern.into()),
            ("shape".to_owned(), shape.into()),
            ("day".to_owned(), day.as_str().into()),
            ("domains".to_owned(), count.into()),
            ("examples".to_owned(), json!(examples)),
        ]);
        if !issuer.is_empty() {
            detail.insert("issuer".to_owned(), issuer.into());
        }
        let severity = if shape == Shape::Suffix.as_str() { Severity::High } else { Severity::Medium };
        let key = format!("{day} {count} {shape} {pattern} {issuer}");
        let name = fact.name.as_deref().or(Some(domain));
        out.push(fact.finding(MODULE.name, Claim { check: "series", severity, key: &key, name, once: true, detail }));
    }
}

#[cfg(test)]
mod tests {
    use ct_model::{CertRecord, Timestamp};
    use serde_json::Value;

    use super::super::memory::tests::{certificate, learn, said};
    use super::super::tests::module;
    use super::*;

    #[track_caller]
    fn check(options: Value, names: &[&str], want: &[(&str, &str)]) {
        let certificates: Vec<CertRecord> = (0..).zip(names).map(|(n, name)| certificate(n, &[name])).collect();
        assert_eq!(said(&learn("clusters", options, &certificates)), want);
    }

    #[test]
    fn a_series_is_told_when_it_is_long_enough() {
        check(json!({"k": 2}), &["a.com-x.top"], &[]);
        check(json!({"k": 2}), &["a.com-x.top", "b.com-y.top", "c.com-z.top"], &[("series", "b.com-y.top")]);
    }

    #[test]
    fn a_domain_counts_once() {
        check(json!({"k": 2}), &["a.com-x.top", "b.com-x.top", "com-x.top"], &[]);
    }

    #[test]
    fn it_is_told_again_at_ten_and_a_hundred_times() {
        let names: Vec<String> = (0..230).map(|n| format!("shop{n}.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let want = [("series", "shop1.example"), ("series", "shop19.example"), ("series", "shop199.example")];
        check(json!({"k": 2, "shapes": ["digits"]}), &names, &want);
    }

    #[test]
    fn everyday_names_are_of_no_shape() {
        check(json!({"k": 2}), &["my-house.com", "my-garden.com", "example.com", "example.org"], &[]);
        check(json!({"k": 2, "shapes": ["word"]}), &["my-house.com", "my-garden.com"], &[("series", "my-garden.com")]);
    }

    #[test]
    fn issuers_and_days_are_told_apart() {
        let one = |n: u64, org: &str, day: i64| CertRecord {
            seen: Some(Timestamp(day * 86_400_000_000)),
            issuer_org: Some(org.into()),
            ..certificate(n, &[&format!("shop{n}.example")])
        };
        let certificates = [one(1, "A", 20_000), one(2, "B", 20_000), one(3, "A", 20_001)];
        assert_eq!(said(&learn("clusters", json!({"k": 2, "shapes": ["digits"]}), &certificates)), []);
        let found = learn("clusters", json!({"k": 2, "shapes": ["digits"], "by_issuer": false}), &certificates);
        assert_eq!(said(&found), [("series", "shop2.example")]);
    }

    #[test]
    fn old_days_are_forgotten() {
        let one = |n: u64, day: i64| CertRecord {
            seen: Some(Timestamp(day * 86_400_000_000)),
            ..certificate(n, &[&format!("shop{n}.example")])
        };
        let mut certificates: Vec<CertRecord> = (0..).zip([20_000, 20_001, 20_002]).map(|(n, d)| one(n, d)).collect();
        certificates.push(one(9, 20_000));
        assert_eq!(
            said(&learn("clusters", json!({"k": 2, "shapes": ["digits"]}), &certificates)).len(),
            1,
            "too few facts to tell the time"
        );
        // Days are told for each bin, so all of these must be of one group.
        let rules = module("clusters", json!({"k": 2, "shapes": ["digits"]})).unwrap();
        let mut days = Days { rules: rules_of(2), days: BTreeMap::new(), time: EventTime::default() };
        let fact = |n: u64, day: i64| {
            let mut facts = Vec::new();
            rules.facts(&Subject::certificate(&one(n, day), &[]), &mut facts, &mut Vec::new());
            Fact { key: 7, ..facts.remove(0) }
        };
        let mut out = Vec::new();
        (10..18).for_each(|n| days.learn(fact(n, 20_005), &mut out));
        assert_eq!((out.len(), days.days.len()), (1, 1));
        days.learn(fact(1, 20_003), &mut out);
        assert_eq!(days.days.len(), 1);
        days.learn(fact(2, 20_004), &mut out);
        assert_eq!(days.days.len(), 2);
    }

    fn rules_of(k: usize) -> Clusters {
        Clusters { k, shapes: Shape::ALL.to_vec(), by_issuer: true, groups_of_bin: 9 }
    }

    #[test]
    fn a_finding_tells_the_group() {
        let names = ["usps.com-a1.top", "www.com-b2.top"];
        let certificates: Vec<CertRecord> = (0..).zip(names).map(|(n, name)| certificate(n, &[name])).collect();
        let found = learn("clusters", json!({"k": 2}), &certificates);
        let detail: Value = serde_json::from_str(&found[0].detail).unwrap();
        let want = json!({"pattern": "com-*.top", "shape": "suffix", "day": "1970-01-01", "domains": 2,
                          "examples": ["com-a1.top", "com-b2.top"]});
        assert_eq!((detail, found[0].severity), (want, Severity::High));
    }

    #[test]
    fn mistakes_name_the_key() {
        let error = module("clusters", json!({"shapes": ["word", "words"]})).err().unwrap();
        let want = "modules.clusters.shapes[1]: \"words\" is not allowed (suffix, tail, digits, word)";
        assert_eq!(error.to_string(), want);
    }
}
