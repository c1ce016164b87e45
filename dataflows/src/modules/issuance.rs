//! Module `issuance`: one alert for each certificate that was issued for a watched name, and none for those that are
//! authorized.
//!
//! A certificate appears twice in logs: as a precertificate, and as the final one. Both have one TBSCertificate but for
//! poison and timestamps (RFC 6962 section 3.2), so its hash is the issuance. Whichever of the two comes first, on
//! whatever worker, in whatever run, is reported; the other is not. The watch list is that of module `watchlist`, and
//! all pairs of an item and a name that match stand in the one finding.
//!
//! Silence is safe by the hash of the TBSCertificate or of the public key only: everything else can be chosen by a bad
//! authority. The issuers of an item are a convenience.

use std::collections::HashSet;

use ct_model::id::{from_hex, to_hex};
use ct_model::{CertRecord, Finding, Severity};
use serde_json::{Map, Value, json};

use super::options::type_name;
use super::watchlist::Watchlist;
use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "issuance",
    by_default: true,
    doc: "one alert for each issuance for a watched name, precertificate and final certificate taken together",
    options: &[
        OptionDef {
            name: "items",
            kind: OptionKind::List,
            default: "[]",
            doc: "what to watch, as in module watchlist; an item's issuers are silent for its names",
        },
        OptionDef {
            name: "list",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "a certspotter watch list: an item a line, `#` begins a comment line",
        },
        OptionDef {
            name: "authorized_tbs",
            kind: OptionKind::List,
            default: "[]",
            doc: "issuances that are not reported: SHA-256 (hex) of a TBSCertificate without poison and SCT list",
        },
        OptionDef {
            name: "authorized_keys",
            kind: OptionKind::List,
            default: "[]",
            doc: "keys whose certificates are not reported: SHA-256 (hex) of a SubjectPublicKeyInfo",
        },
    ],
    prepare: |settings| Ok(Box::new(Issuance::new(settings)?)),
};

/// Pairs that a finding lists.
const MATCHES_MAX: usize = 100;

struct Issuance {
    watchlist: Watchlist,
    authorized_tbs: HashSet<[u8; 32]>,
    authorized_keys: HashSet<[u8; 32]>,
}

impl Issuance {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        Ok(Self {
            watchlist: Watchlist::new(settings)?,
            authorized_tbs: hashes(settings, "authorized_tbs")?,
            authorized_keys: hashes(settings, "authorized_keys")?,
        })
    }

    fn is_authorized(&self, certificate: &CertRecord) -> bool {
        let is_in = |hash: Option<[u8; 32]>, known: &HashSet<_>| hash.is_some_and(|hash| known.contains(&hash));
        is_in(certificate.tbs_sha256, &self.authorized_tbs) || is_in(certificate.spki_sha256, &self.authorized_keys)
    }
}

fn hashes(settings: &Settings, name: &str) -> Result<HashSet<[u8; 32]>, OptionError> {
    let hash = |(index, value): (usize, &Value)| {
        let key = settings.key(&format!("{name}[{index}]"));
        let Value::String(text) = value else {
            return Err(OptionError::WrongType { key, found: type_name(value), expected: "text" });
        };
        let mut hash = [0; 32];
        from_hex(text, &mut hash).map(|()| hash).ok_or_else(|| OptionError::NotAllowed {
            key,
            value: format!("{text:?}"),
            allowed: "64 hex digits".into(),
        })
    };
    settings.list(name).iter().enumerate().map(hash).collect()
}

impl Examine for Issuance {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        let Some(certificate) = subject.certificate.filter(|certificate| !self.is_authorized(certificate)) else {
            return;
        };
        let mut found = Vec::new();
        self.watchlist.examine(subject, &mut found);
        let Some(first) = found.first() else { return };
        let matches: Vec<Value> = found.iter().take(MATCHES_MAX).map(told).collect();
        let mut detail = Map::from_iter([("matches".to_owned(), matches.into())]);
        if found.len() > MATCHES_MAX {
            detail.insert("more".to_owned(), (found.len() - MATCHES_MAX).into());
        }
        let texts = [
            ("kind", certificate.kind.map(|kind| kind.as_str().to_owned())),
            ("issuer", certificate.issuer_dn.as_ref().map(ToString::to_string)),
            ("serial", certificate.serial.as_ref().map(ToString::to_string)),
            ("spki_sha256", certificate.spki_sha256.as_ref().map(|hash| to_hex(hash))),
        ];
        detail.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        // Without the hash nothing tells that two certificates are one issuance: each is reported.
        let tbs = certificate.tbs_sha256.as_ref().map(|hash| to_hex(hash));
        let claim = Claim {
            check: "issued",
            severity: Severity::High,
            key: tbs.as_deref().unwrap_or_default(),
            name: first.name.as_deref(),
            once: tbs.is_some(),
            detail,
        };
        out.push(subject.finding(MODULE.name, claim));
    }
}

/// What the watch list says: a match, or why there may be one.
fn told(finding: &Finding) -> Value {
    let mut told: Map<String, Value> = serde_json::from_str(&finding.detail).unwrap_or_default();
    told.insert("name".to_owned(), json!(finding.name));
    if &*finding.check != "match" {
        told.insert("check".to_owned(), json!(finding.check));
    }
    told.into()
}

#[cfg(test)]
mod tests {
    use ct_model::{CertId, EntryKind};

    use super::*;
    use crate::modules::tests::{certificate, detail, examine, module};

    fn found(options: Value, certificate: &CertRecord) -> Vec<Finding> {
        let modules = module("issuance", options).expect("no mistake");
        examine(&modules, &Subject::certificate(certificate, &[]))
    }

    /// Both certificates of an issuance.
    fn pair(names: &[&str]) -> [CertRecord; 2] {
        let precert = CertRecord { kind: Some(EntryKind::Precert), ..certificate(names) };
        let id = CertId::der([9; 32]);
        let last = CertRecord { kind: Some(EntryKind::Final), id, sha256: Some([9; 32]), ..certificate(names) };
        [precert, last]
    }

    #[test]
    fn a_pair_is_one_finding_whichever_comes_first() {
        let watch = json!({"items": [".example.com", "b.example.com"]});
        let [precert, last] = pair(&["b.example.com", "example.org"]).map(|one| found(watch.clone(), &one).remove(0));
        assert!(precert.once && last.once);
        assert_eq!(precert.id, last.id);
        let items = detail(&precert)["matches"].as_array().unwrap().iter().map(|one| one["item"].clone()).collect();
        assert_eq!(Value::Array(items), json!([".example.com", "b.example.com"]));
    }

    #[test]
    fn another_issuance_for_the_same_names_is_another_finding() {
        let watch = json!({"items": ["example.com"]});
        let [one, _] = pair(&["example.com"]);
        let other = CertRecord { tbs_sha256: Some([3; 32]), ..one.clone() };
        assert_ne!(found(watch.clone(), &one)[0].id, found(watch, &other)[0].id);
    }

    #[test]
    fn without_a_hash_each_certificate_is_reported() {
        let watch = json!({"items": ["example.com"]});
        let ids = pair(&["example.com"]).map(|one| {
            let finding = found(watch.clone(), &CertRecord { tbs_sha256: None, ..one }).remove(0);
            assert!(!finding.once);
            finding.id
        });
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn what_is_authorized_or_not_watched_is_silent() {
        let [one, _] = pair(&["example.com"]);
        let one = CertRecord { spki_sha256: Some([5; 32]), issuer_org: Some("Our CA".into()), ..one };
        for options in [
            json!({"items": ["example.com"], "authorized_tbs": ["08".repeat(32)]}),
            json!({"items": ["example.com"], "authorized_keys": ["05".repeat(32)]}),
            json!({"items": [{"item": "example.com", "allow_issuers": ["Our CA"]}]}),
            json!({"items": ["example.org"]}),
            json!({}),
        ] {
            assert_eq!(found(options.clone(), &one), [], "{options}");
        }
        let other = json!({"items": ["example.com"], "authorized_keys": ["06".repeat(32)]});
        assert_eq!(found(other, &one).len(), 1);
    }

    #[test]
    fn mistakes_name_the_key() {
        let error = module("issuance", json!({"authorized_tbs": ["00".repeat(32), "zz"]})).err().unwrap();
        assert_eq!(error.to_string(), "modules.issuance.authorized_tbs[1]: \"zz\" is not allowed (64 hex digits)");
        let error = module("issuance", json!({"authorized_keys": [7]})).err().unwrap();
        assert_eq!(error.to_string(), "modules.issuance.authorized_keys[0]: a number where text is expected");
        let error = module("issuance", json!({"items": ["a..b"]})).err().unwrap();
        assert!(error.to_string().starts_with("modules.issuance.items[0]"), "{error}");
    }
}
