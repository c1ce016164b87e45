//! Module `risk`: how much of a certificate looks wrong, in one finding.
//!
//! Factors are simple and stand each for themselves; the level is that of the worst one, and the score is higher the
//! more of them there are. All is read from the certificate; what is looked for in its names can be replaced. What a
//! factor looks at is in [`facts`].

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use ct_model::name::{normalize, registry_suffix};
use ct_model::{CertRecord, Finding, Severity};
use serde_json::{Value, json};

use super::options::type_name;
use super::phish::Phish;
use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

mod facts;

use facts::{Validity, country, has_weak_key, is_wildcard_of_suffix, mixes_scripts};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "risk",
    by_default: false,
    doc: "certificates that look wrong: one level and score each, with the factors that make them",
    options: &[
        OptionDef {
            name: "min_level",
            kind: OptionKind::Choice(&["low", "medium", "high"]),
            default: "\"medium\"",
            doc: "the level from which a certificate is reported; low reports every certificate",
        },
        OptionDef {
            name: "issuers",
            kind: OptionKind::List,
            default: "[]",
            doc: "issuers of high risk: a text that is part of the common name or organization, or a table {CN, O} of \
                  texts, one of which is part of that name",
        },
        OptionDef {
            name: "tlds",
            kind: OptionKind::List,
            default: r#"["tk", "ml", "ga", "cf", "gq", "xyz", "top", "work", "date", "racing"]"#,
            doc: "ends of names that are suspicious, of one label or more",
        },
        OptionDef {
            name: "keywords",
            kind: OptionKind::List,
            default: r#"["login", "account", "secure", "bank", "verify", "wallet", "auth", "signin", "security", "update"]"#,
            doc: "words that are suspicious anywhere in a name but in its public suffix",
        },
        OptionDef {
            name: "max_domains",
            kind: OptionKind::Integer { min: 0, max: 1_000_000 },
            default: "100",
            doc: "a certificate with more names than this has many",
        },
        OptionDef {
            name: "phishing",
            kind: OptionKind::Bool,
            default: "false",
            doc: "score every name by the model of module phish, as that module is when nothing is set",
        },
    ],
    prepare: |settings| Ok(Box::new(Risk::new(settings)?)),
};

/// Suspicious names that a finding lists.
const NAMES_MAX: usize = 100;
/// Names of one certificate that the model scores.
const SCORED_MAX: usize = 1_000;
/// From here on, module `phish` calls a name likely to be phishing.
const LIKELY_PHISHING: f64 = 0.9;
const KEYWORDS_MAX: usize = 10_000;

/// What makes a certificate suspicious: its name, the level it gives, and its weight as a probability.
struct Factor {
    name: &'static str,
    severity: Severity,
    weight: f64,
}

const fn factor(name: &'static str, severity: Severity, weight: f64) -> Factor {
    Factor { name, severity, weight }
}

const HIGH_RISK_ISSUER: Factor = factor("high-risk-issuer", Severity::High, 0.6);
const SHORT_VALIDITY: Factor = factor("short-validity", Severity::Medium, 0.3);
const LONG_VALIDITY: Factor = factor("long-validity", Severity::Medium, 0.3);
const SUSPICIOUS_TLD: Factor = factor("suspicious-tld", Severity::Medium, 0.3);
const MANY_DOMAINS: Factor = factor("many-domains", Severity::Medium, 0.2);
const SUSPICIOUS_KEYWORDS: Factor = factor("suspicious-keywords", Severity::High, 0.4);
const MIXED_SCRIPTS: Factor = factor("mixed-scripts", Severity::High, 0.6);
const WILDCARD_OF_SUFFIX: Factor = factor("wildcard-of-suffix", Severity::High, 0.6);
const CA_WITH_DOMAINS: Factor = factor("ca-with-domains", Severity::Medium, 0.3);
const WEAK_KEY: Factor = factor("weak-key", Severity::High, 0.6);
const PHISHING_NAME: Factor = factor("phishing-name", Severity::High, 0.8);

struct Risk {
    min_level: Severity,
    issuers: Vec<RiskyIssuer>,
    /// With a dot in front.
    tlds: Vec<Box<str>>,
    keywords: Vec<Box<str>>,
    keyword_search: AhoCorasick,
    max_domains: usize,
    phish: Option<Box<Phish>>,
}

/// Either text is enough.
struct RiskyIssuer {
    common_name: Option<Box<str>>,
    organization: Option<Box<str>>,
}

impl Risk {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let keywords: Vec<Box<str>> =
            each(settings, "keywords", |key, value| Ok(text(key, value)?.to_lowercase().into()))?;
        let invalid = |source| OptionError::Invalid { key: settings.key("keywords"), source };
        if keywords.len() > KEYWORDS_MAX {
            return Err(invalid(format!("more than {KEYWORDS_MAX} words").into()));
        }
        let keyword_search = AhoCorasick::new(keywords.iter().map(|word| word.as_bytes()));
        Ok(Self {
            min_level: match settings.text("min_level") {
                "low" => Severity::Low,
                "high" => Severity::High,
                _ => Severity::Medium,
            },
            issuers: each(settings, "issuers", RiskyIssuer::parse)?,
            tlds: each(settings, "tlds", name_end)?,
            keyword_search: keyword_search.map_err(|why| invalid(why.into()))?,
            keywords,
            max_domains: usize::try_from(settings.integer("max_domains")).expect("at most a million"),
            phish: settings.bool("phishing").then(|| Box::new(Phish::shipped())),
        })
    }
}

/// Reads each member of a list, given with its key.
fn each<T>(
    settings: &Settings,
    name: &str,
    read: impl Fn(String, &Value) -> Result<T, OptionError>,
) -> Result<Vec<T>, OptionError> {
    let members = settings.list(name).iter().enumerate();
    members.map(|(index, value)| read(settings.key(&format!("{name}[{index}]")), value)).collect()
}

fn text(key: String, value: &Value) -> Result<&str, OptionError> {
    match value {
        Value::String(text) if text.is_empty() => Err(OptionError::NotAllowed {
            key,
            value: "an empty text".to_owned(),
            allowed: "1 character or more".into(),
        }),
        Value::String(text) => Ok(text),
        other => Err(OptionError::WrongType { key, found: type_name(other), expected: "text" }),
    }
}

/// The end of a name, with a dot in front.
fn name_end(key: String, value: &Value) -> Result<Box<str>, OptionError> {
    let text = text(key.clone(), value)?;
    let end = normalize(text.trim_start_matches('.')).ok_or_else(|| {
        let allowed = "a domain, such as \"top\" or \"co.example\"".into();
        OptionError::NotAllowed { key, value: format!("{text:?}"), allowed }
    })?;
    Ok(format!(".{end}").into())
}

impl RiskyIssuer {
    fn parse(key: String, value: &Value) -> Result<Self, OptionError> {
        let Value::Object(table) = value else {
            let either: Box<str> = text(key, value)?.into();
            return Ok(Self { common_name: Some(either.clone()), organization: Some(either) });
        };
        if let Some(name) = table.keys().find(|name| !matches!(name.as_str(), "CN" | "O")) {
            let known = vec!["CN".to_owned(), "O".to_owned()];
            return Err(OptionError::Unknown { key, what: "key", name: name.clone(), known });
        }
        if table.is_empty() {
            return Err(OptionError::Missing { key: format!("{key}.CN") });
        }
        let part = |name| table.get(name).map(|value| text(format!("{key}.{name}"), value)).transpose();
        Ok(Self { common_name: part("CN")?.map(Into::into), organization: part("O")?.map(Into::into) })
    }

    fn is(&self, certificate: &CertRecord) -> bool {
        let has =
            |name: Option<&str>, part: Option<&str>| name.zip(part).is_some_and(|(name, part)| name.contains(part));
        has(certificate.issuer_cn.as_deref(), self.common_name.as_deref())
            || has(certificate.issuer_org.as_deref(), self.organization.as_deref())
    }
}

/// What was found so far.
#[derive(Default)]
struct Report<'a> {
    factors: Vec<&'static Factor>,
    /// The first name that made one of them.
    name: Option<&'a str>,
}

impl<'a> Report<'a> {
    fn add(&mut self, is: bool, factor: &'static Factor) {
        if is {
            self.factors.push(factor);
        }
    }

    fn add_name(&mut self, name: Option<&'a str>, factor: &'static Factor) {
        self.add(name.is_some(), factor);
        self.name = self.name.or(name);
    }

    fn level(&self) -> Severity {
        self.factors.iter().map(|factor| factor.severity).max().unwrap_or(Severity::Low)
    }

    /// As if the factors were independent.
    fn score(&self) -> f64 {
        let none: f64 = self.factors.iter().map(|factor| 1.0 - factor.weight).product();
        ((1.0 - none) * 1_000.0).round() / 1_000.0
    }
}

impl Examine for Risk {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        let Some(certificate) = subject.certificate else { return };
        let (keywords, keyword_name) = self.keywords_in(subject.names);
        let report = self.report(certificate, subject.names, keyword_name);
        let level = report.level();
        if level < self.min_level {
            return;
        }
        let names = || subject.names.iter().map(AsRef::as_ref);
        let suspicious: Vec<&str> = names().filter(|name| self.is_in_tlds(name)).take(NAMES_MAX).collect();
        let detail = json!({
            "riskLevel": level.as_str(),
            "riskFactors": report.factors.iter().map(|factor| factor.name).collect::<Vec<_>>(),
            "domains": {"count": subject.names.len(), "suspicious": suspicious},
            "issuer": {
                "CN": certificate.issuer_cn.as_deref().unwrap_or_default(),
                "O": certificate.issuer_org.as_deref().unwrap_or_default(),
                "C": certificate.issuer_dn.as_deref().and_then(country).unwrap_or_default(),
            },
            "validityPeriod": Validity::of(certificate).map(Validity::days),
            "keywords": keywords,
        });
        let Value::Object(detail) = detail else { return };
        let name = report.name.or(names().next());
        let claim = Claim { check: "risk", severity: level, key: "", name, once: false, detail };
        out.push(Finding { score: Some(report.score()), ..subject.finding(MODULE.name, claim) });
    }
}

impl Risk {
    fn report<'a>(&self, certificate: &CertRecord, names: &'a [Box<str>], keyword_name: Option<&'a str>) -> Report<'a> {
        let first = |is: &dyn Fn(&str) -> bool| names.iter().map(AsRef::as_ref).find(|name: &&str| is(name));
        let validity = Validity::of(certificate);
        let is_ca = certificate.is_ca == Some(true);

        let mut report = Report::default();
        report.add(self.issuers.iter().any(|issuer| issuer.is(certificate)), &HIGH_RISK_ISSUER);
        report.add(validity.is_some_and(Validity::is_short), &SHORT_VALIDITY);
        report.add(!is_ca && validity.is_some_and(Validity::is_long), &LONG_VALIDITY);
        report.add_name(first(&|name| self.is_in_tlds(name)), &SUSPICIOUS_TLD);
        report.add(names.len() > self.max_domains, &MANY_DOMAINS);
        report.add_name(keyword_name, &SUSPICIOUS_KEYWORDS);
        report.add_name(first(&mixes_scripts), &MIXED_SCRIPTS);
        report.add_name(first(&is_wildcard_of_suffix), &WILDCARD_OF_SUFFIX);
        report.add(is_ca && !names.is_empty(), &CA_WITH_DOMAINS);
        report.add(has_weak_key(certificate), &WEAK_KEY);
        if let Some(phish) = &self.phish {
            let is_likely = |name: &&str| phish.find(name).is_some_and(|found| found.score >= LIKELY_PHISHING);
            report.add_name(names.iter().take(SCORED_MAX).map(AsRef::as_ref).find(is_likely), &PHISHING_NAME);
        }
        report
    }

    fn is_in_tlds(&self, name: &str) -> bool {
        self.tlds.iter().any(|tld| name.ends_with(&**tld))
    }

    /// The keywords in `names`, in the order of the option, and the first name with one.
    fn keywords_in<'a>(&self, names: &'a [Box<str>]) -> (Vec<&str>, Option<&'a str>) {
        let (mut found, mut first) = (BTreeSet::new(), None);
        for name in names {
            let in_front = name.len() - registry_suffix(name).map_or(0, str::len);
            for hit in self.keyword_search.find_overlapping_iter(&name[..in_front]) {
                first.get_or_insert(&**name);
                found.insert(hit.pattern().as_usize());
            }
        }
        (found.into_iter().map(|index| &*self.keywords[index]).collect(), first)
    }
}

#[cfg(test)]
mod tests;
