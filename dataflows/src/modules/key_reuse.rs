//! Module `key-reuse`: one public key in certificates of different owners.
//!
//! An owner is known by the registered domains of a certificate. A key is remembered with all domains that its
//! certificates had; a new certificate that shares none of them is a finding.

use std::collections::BTreeSet;

use ct_model::id::to_hex;
use ct_model::{Finding, Severity};
use serde_json::{Map, json};

use super::lowest::Lowest;
use super::{Claim, Examine, Fact, Memory, ModuleDef, OptionDef, OptionKind, Remember, Settings, Subject};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "key-reuse",
    by_default: false,
    doc: "a public key in certificates of different owners",
    options: &[
        OptionDef {
            name: "keys_max",
            kind: OptionKind::Integer { min: 256, max: 1_000_000_000 },
            default: "4000000",
            doc: "keys that are remembered; of more, a sample by their hashes",
        },
        OptionDef {
            name: "domains_max",
            kind: OptionKind::Integer { min: 1, max: 1_000 },
            default: "50",
            doc: "registered domains of a key; one with more is reported once more and then no longer",
        },
    ],
    prepare: |settings| Ok(Box::new(KeyReuse::new(settings))),
};

/// Domains by which the owner of a certificate is known.
const OWNER_DOMAINS_MAX: usize = 100;
/// Domains that a finding lists.
const EXAMPLES_MAX: usize = 10;

#[derive(Clone, Copy)]
struct KeyReuse {
    keys_of_bin: usize,
    domains_max: usize,
}

impl KeyReuse {
    fn new(settings: &Settings) -> Self {
        let size = |name| usize::try_from(settings.integer(name)).expect("at most a thousand million");
        Self { keys_of_bin: size("keys_max").div_ceil(256), domains_max: size("domains_max") }
    }
}

impl Examine for KeyReuse {
    fn examine(&self, _subject: &Subject<'_>, _out: &mut Vec<Finding>) {}

    fn remember(&self) -> Option<&dyn Remember> {
        Some(self)
    }
}

impl Remember for KeyReuse {
    /// The key's hash is in `key` and `numbers`, the domains are in `text`: ascending, with spaces between.
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
        let Some(certificate) = subject.certificate else { return };
        let Some(spki) = certificate.spki_sha256 else { return };
        let mut domains: Vec<&str> = certificate.registered_domains.iter().map(AsRef::as_ref).collect();
        domains.sort_unstable();
        domains.truncate(OWNER_DOMAINS_MAX);
        if domains.is_empty() {
            return;
        }
        let word = |at: usize| i64::from_be_bytes(spki[at..at + 8].try_into().expect("eight bytes of 32"));
        let numbers = [word(8), word(16), word(24)];
        out.push(Fact { text: domains.join(" ").into(), numbers, ..Fact::about(certificate, word(0) as u64) });
    }

    fn memory(&self) -> Box<dyn Memory> {
        Box::new(Keys { rules: *self, keys: Lowest::new(self.keys_of_bin) })
    }

    fn reach_days(&self) -> Option<u32> {
        None
    }
}

/// Whose a key is.
enum Owners {
    /// All registered domains of its certificates, ascending, with spaces between.
    Few(Box<str>),
    /// More than are kept.
    Many,
}

impl Default for Owners {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

struct Keys {
    rules: KeyReuse,
    /// By 128 bits of the key's hash.
    keys: Lowest<u128, Owners>,
}

/// A certificate of another owner came.
struct Shared {
    /// The domains before it.
    before: Box<str>,
    now_many: bool,
}

impl Keys {
    fn take(&mut self, fact: &Fact) -> Option<Shared> {
        let key = u128::from(fact.key) << 64 | u128::from(fact.numbers[0] as u64);
        let owners = self.keys.entry(key)?;
        let Owners::Few(known) = owners else { return None };
        if *known == fact.text {
            return None;
        }
        let mut domains: BTreeSet<&str> = known.split_ascii_whitespace().collect();
        let (count, of_fact) = (domains.len(), fact.text.split_ascii_whitespace());
        let new = of_fact.clone().filter(|domain| domains.insert(domain)).count();
        let other_owner = count > 0 && new == of_fact.count();
        let now_many = domains.len() > self.rules.domains_max;
        let after = match now_many {
            true => Owners::Many,
            false => Owners::Few(Vec::from_iter(domains).join(" ").into()),
        };
        let Owners::Few(before) = std::mem::replace(owners, after) else { return None };
        other_owner.then_some(Shared { before, now_many })
    }
}

impl Memory for Keys {
    fn recall(&mut self, fact: Fact) {
        self.take(&fact);
    }

    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        let Some(Shared { before, now_many }) = self.take(&fact) else { return };
        let spki =
            to_hex(&[fact.key.to_be_bytes().as_slice(), fact.numbers.map(i64::to_be_bytes).as_flattened()].concat());
        let [before, new] = [&before, &fact.text].map(|text| Vec::from_iter(text.split_ascii_whitespace()));
        let first = |list: &[&str]| json!(list[..list.len().min(EXAMPLES_MAX)]);
        let detail = Map::from_iter([
            ("spki_sha256".to_owned(), spki.as_str().into()),
            ("domains_before".to_owned(), before.len().into()),
            ("before".to_owned(), first(&before)),
            ("new".to_owned(), first(&new)),
        ]);
        let name = new.first().copied();
        let (check, severity, key) = match now_many {
            true => ("widely-shared", Severity::Low, spki),
            false => ("shared-key", Severity::Medium, format!("{spki} {}", name.unwrap_or_default())),
        };
        out.push(fact.finding(MODULE.name, Claim { check, severity, key: &key, name, once: true, detail }));
    }
}

#[cfg(test)]
mod tests {
    use ct_model::CertRecord;
    use serde_json::Value;

    use super::super::memory::tests::{certificate, learn, said};
    use super::*;

    /// Certificates as (key, domains). `want`: check and domain of each finding.
    #[track_caller]
    fn check(options: Value, certificates: &[(u8, &[&str])], want: &[(&str, &str)]) {
        let made = |(n, (key, names)): (u64, &(u8, &[&str]))| {
            let spki_sha256 = Some([*key; 32]);
            CertRecord { spki_sha256, ..certificate(n, names) }
        };
        let certificates: Vec<CertRecord> = (0..).zip(certificates).map(made).collect();
        let found = learn("key-reuse", options, &certificates);
        assert_eq!(said(&found), want);
    }

    #[test]
    fn another_owner_of_a_key_is_reported() {
        check(json!({}), &[(1, &["a.com"]), (1, &["www.b.com"])], &[("shared-key", "b.com")]);
    }

    #[test]
    fn one_common_domain_is_one_owner() {
        check(json!({}), &[(1, &["a.com"]), (1, &["b.com", "www.a.com"]), (1, &["b.com"])], &[]);
    }

    #[test]
    fn keys_and_owners_of_their_own_are_silent() {
        check(
            json!({}),
            &[(1, &["a.com"]), (2, &["b.com"]), (1, &["a.com"]), (3, &["localhost"]), (3, &["c.com"])],
            &[],
        );
    }

    #[test]
    fn a_key_of_many_is_reported_once_more() {
        let shared = |domain| (1, domain);
        let certificates: [(u8, &[&str]); 5] =
            [&["a.com"], &["b.com"], &["c.com"], &["d.com"], &["e.com"]].map(|domain| shared(domain as &[_]));
        let want = [("shared-key", "b.com"), ("widely-shared", "c.com")];
        check(json!({"domains_max": 2}), &certificates, &want);
    }

    #[test]
    fn an_owner_of_many_domains_is_not_watched() {
        check(json!({"domains_max": 2}), &[(1, &["a.com", "b.com", "c.com"]), (1, &["d.com"])], &[]);
    }

    #[test]
    fn beyond_the_bound_the_lowest_hashes_are_remembered() {
        // All in one bin, which has room for one key.
        let keys = |second: u8, domain: &str| {
            let mut one = certificate(second.into(), &[domain]);
            let mut spki = [9; 32];
            spki[1] = second;
            one.spki_sha256 = Some(spki);
            one
        };
        for order in [[5, 3, 7, 3, 5, 7], [3, 5, 7, 5, 7, 3]] {
            let certificates = order.into_iter().zip(["a.com", "b.com", "c.com", "d.com", "e.com", "f.com"]);
            let certificates: Vec<_> = certificates.map(|(second, domain)| keys(second, domain)).collect();
            let found = learn("key-reuse", json!({"keys_max": 256}), &certificates);
            assert_eq!(said(&found).len(), 1, "{order:?}");
            assert!(found[0].detail.contains("0903"), "{}", found[0].detail);
        }
    }

    #[test]
    fn a_finding_tells_both_sides() {
        let [mut one, mut two] = [certificate(1, &["b.com", "a.com"]), certificate(2, &["c.com"])];
        (one.spki_sha256, two.spki_sha256) = (Some([0xab; 32]), Some([0xab; 32]));
        let found = learn("key-reuse", json!({}), &[one, two.clone()]);
        let detail: Value = serde_json::from_str(&found[0].detail).unwrap();
        let want = json!({
            "spki_sha256": "ab".repeat(32), "domains_before": 2, "before": ["a.com", "b.com"], "new": ["c.com"]
        });
        assert_eq!(detail, want);
        assert_eq!((found[0].sha256, found[0].seen, found[0].once), (two.sha256, two.seen, true));
    }
}
