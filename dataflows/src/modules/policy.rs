//! Module `policy`: whether certificates are as the rules for them say.
//!
//! Every rule is a check with an id, a level, its source, and the days from which and until which it holds. A
//! certificate is held to the rules of the day it was issued on (its notBefore), and "now" is when the entry was seen:
//! there is no clock. A check that has nothing to say about a certificate is not applicable; one whose days are others
//! is not effective; only one that fails is a finding.
//!
//! The certificate is read once ([`view`]), and every check is a function of that. Files are groups of checks:
//! [`validity`], [`key`], [`subject`], [`names`], [`extensions`], [`ct`], [`parse`]. Time and memory are linear in the
//! certificate.

mod check;
mod ct;
mod extensions;
mod fermat;
mod key;
mod log_list;
mod names;
mod parse;
mod residues;
mod self_signed;
mod subject;
#[cfg(test)]
mod tests;
mod tlds;
mod validity;
mod view;

pub(super) use validity::months_later;

use ct_model::id::from_hex;
use ct_model::{Finding, Timestamp};
use serde_json::{Map, Value};

pub use check::{Check, Level, Profile, Verdict};
use log_list::LogList;
use view::{Context, View};

use super::options::type_name;
use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Options, Settings, Subject};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "policy",
    by_default: true,
    doc: "certificates that break the rules for certificates",
    options: &[
        OptionDef {
            name: "profiles",
            kind: OptionKind::List,
            default: "[\"br\"]",
            doc: "whose rules: `br` (Baseline Requirements and RFCs), `chrome-ct`, `apple-ct` (their policies for \
                  Certificate Transparency), `hygiene` (what is allowed and yet better avoided)",
        },
        OptionDef {
            name: "min_level",
            kind: OptionKind::Choice(&["notice", "warn", "error"]),
            default: "\"notice\"",
            doc: "the lowest level that is reported",
        },
        OptionDef { name: "ignore", kind: OptionKind::List, default: "[]", doc: "ids of checks that are not reported" },
        OptionDef {
            name: "log_list",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "a list of logs (JSON, version 3), as Chrome and Apple publish theirs. Without it, logs are only \
                  counted",
        },
        OptionDef {
            name: "blocklist",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "keys that must not be used: the SHA-256 of a SubjectPublicKeyInfo in hex a line, `#` begins a \
                  comment line",
        },
    ],
    prepare: |settings| Ok(Box::new(Policy::new(settings)?)),
};

const GROUPS: [&[Check]; 7] =
    [parse::CHECKS, validity::CHECKS, key::CHECKS, subject::CHECKS, names::CHECKS, extensions::CHECKS, ct::CHECKS];

/// Every check, in the order in which they are made.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.into_iter().flatten()
}

/// The selected checks, ready to judge.
#[derive(Debug)]
pub struct Policy {
    /// With the selected profile that asks for it.
    checks: Vec<(&'static Check, Profile)>,
    logs: Option<LogList>,
    /// Sorted.
    blocked_keys: Vec<[u8; 32]>,
}

/// What a check says about a certificate, and for whom.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub check: &'static Check,
    pub profile: Profile,
    pub verdict: Verdict,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not 64 hexadecimal digits")]
struct NotAHash(String);

impl Policy {
    /// The checks that the module's options select.
    pub fn prepare(options: &Options) -> Result<Self, OptionError> {
        Self::new(&Settings::check(MODULE.name, MODULE.options, options)?)
    }

    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let profile_words = Profile::ALL.map(Profile::as_str);
        let profiles = words(settings, "profiles", "profile", &profile_words)?;
        let mut ids: Vec<&str> = checks().map(|check| check.id).collect();
        ids.dedup();
        let ignored = words(settings, "ignore", "check", &ids)?;
        let level = settings.text("min_level");
        let is_selected = |profile: &&Profile| profiles.contains(&profile.as_str());
        let checks = checks()
            .filter(|check| !ignored.contains(&check.id))
            .filter(|check| Level::ALL.iter().any(|lowest| lowest.as_str() == level && *lowest <= check.level))
            .filter_map(|check| Some((check, *check.profiles.iter().find(is_selected)?)))
            .collect();
        let text = settings.text("log_list");
        let invalid = |source| OptionError::Invalid { key: settings.key("log_list"), source };
        let logs = match text.is_empty() {
            true => None,
            false => Some(LogList::parse(text).map_err(|error| invalid(error.into()))?),
        };
        Ok(Self { checks, logs, blocked_keys: blocked_keys(settings)? })
    }

    /// Judges a certificate by its bytes and the time when it was seen, if that is known. What is not even the frame
    /// of a certificate fails one check, and no other applies.
    pub fn judge(&self, der: &[u8], seen: Option<Timestamp>) -> Vec<Judgement> {
        let mut all = Vec::with_capacity(self.checks.len());
        self.each(der, seen, None, |check, profile, verdict| all.push(Judgement { check, profile, verdict }));
        all
    }

    fn each(
        &self,
        der: &[u8],
        seen: Option<Timestamp>,
        parse_error: Option<&str>,
        mut judged: impl FnMut(&'static Check, Profile, Verdict),
    ) {
        let logs = self.logs.as_ref();
        let context = Context { seen, logs, blocked_keys: &self.blocked_keys, parse_error };
        let view = View::read(der);
        for &(check, profile) in &self.checks {
            let verdict = match (&view, check.id == parse::NO_CERTIFICATE) {
                (Some(view), _) => check.judge(view, &context),
                (None, true) => Verdict::Fail("not the frame of a certificate".to_owned()),
                (None, false) => Verdict::NotApplicable,
            };
            judged(check, profile, verdict);
        }
    }
}

/// The members of an option that is a list of known words.
fn words<'s>(
    settings: &'s Settings,
    option: &str,
    what: &'static str,
    known: &[&str],
) -> Result<Vec<&'s str>, OptionError> {
    let word = |(index, member): (usize, &'s Value)| {
        let key = settings.key(&format!("{option}[{index}]"));
        match member {
            Value::String(word) if known.contains(&word.as_str()) => Ok(word.as_str()),
            Value::String(word) => {
                let known = known.iter().map(|word| (*word).to_owned()).collect();
                Err(OptionError::Unknown { key, what, name: word.clone(), known })
            }
            other => Err(OptionError::WrongType { key, found: type_name(other), expected: "text" }),
        }
    };
    settings.list(option).iter().enumerate().map(word).collect()
}

fn blocked_keys(settings: &Settings) -> Result<Vec<[u8; 32]>, OptionError> {
    let mut keys = Vec::new();
    for (line, text) in settings.text("blocklist").lines().enumerate() {
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            let mut key = [0; 32];
            from_hex(&text.to_ascii_lowercase(), &mut key).ok_or_else(|| OptionError::Invalid {
                key: format!("{} line {}", settings.key("blocklist"), line + 1),
                source: NotAHash(text.to_owned()).into(),
            })?;
            keys.push(key);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

impl Examine for Policy {
    fn wants_der(&self) -> bool {
        true
    }

    /// A subject without the bytes of a certificate has nothing to be judged by.
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        let (Some(der), Some(certificate)) = (subject.der, subject.certificate) else { return };
        self.each(der, certificate.seen, certificate.parse_error.as_deref(), |check, profile, verdict| {
            if let Verdict::Fail(detail) = verdict {
                out.push(finding(subject, check, profile, detail));
            }
        });
    }
}

fn finding(subject: &Subject<'_>, check: &Check, profile: Profile, detail: String) -> Finding {
    let detail = Map::from_iter([
        ("id".to_owned(), check.id.into()),
        ("level".to_owned(), check.level.as_str().into()),
        ("effective".to_owned(), check.since.map_or(Value::Null, |since| since.to_string().into())),
        ("source".to_owned(), check.source.into()),
        ("detail".to_owned(), detail.into()),
        ("profile".to_owned(), profile.as_str().into()),
    ]);
    let claim = Claim { check: check.id, severity: check.severity(), key: "", name: None, once: false, detail };
    subject.finding(MODULE.name, claim)
}
