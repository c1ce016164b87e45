//! Module `first-seen`: registered domains and host names that no certificate of the lake showed before.
//!
//! Its memory is the set of names said or seen so far, either exact or as a filter of fixed size. Both are functions of
//! the names alone, so the names of the lake, read back in any order, give the same set.
//!
//! Names are spread over the first 64 of the 256 bins by a digest, so that a certificate makes at most 64 facts, however
//! many names it has. A fact is a text of lines: `d` or `h`, and a name that shows a domain or is a host.

use std::collections::BTreeMap;
use std::fmt::Write;

use ct_model::name::registered_domain;
use ct_model::{Finding, Key, Severity};
use serde_json::{Map, json};

use super::memory::{Fact, Memory, Remember};
use super::names::{about_domain, is_wildcard, unicode};
use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};
use crate::known::KeySet;

mod filter;

use filter::{Filter, Shape};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "first-seen",
    by_default: false,
    doc: "registered domains, or hosts, that no certificate showed before",
    options: &[
        OptionDef {
            name: "domains",
            kind: OptionKind::Bool,
            default: "true",
            doc: "report every registered domain the first time that it is seen",
        },
        OptionDef {
            name: "hosts",
            kind: OptionKind::Bool,
            default: "false",
            doc: "report every plain name the first time that it is seen",
        },
        OptionDef {
            name: "mode",
            kind: OptionKind::Choice(&["exact", "bounded"]),
            default: "\"exact\"",
            doc: "exact: every name is remembered; bounded: a filter of fixed size, which takes a few new names for \
                  known",
        },
        OptionDef {
            name: "expected",
            kind: OptionKind::Integer { min: 1_000, max: 250_000_000 },
            default: "100000000",
            doc: "bounded: how many names there may be until more than `error` of the new ones are missed",
        },
        OptionDef {
            name: "error",
            kind: OptionKind::Fraction,
            default: "0.001",
            doc: "bounded: the share of new names that may be missed, 0.000001 to 0.5",
        },
    ],
    prepare: |settings| Ok(Box::new(FirstSeen::new(settings)?)),
};

/// Groups of names, each with a bin and a memory of its own: no more than a module may state facts.
const GROUPS: u8 = 64;

struct FirstSeen {
    domains: bool,
    hosts: bool,
    /// Of the filter of a group; `None`: exact.
    shape: Option<Shape>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Domain,
    Host,
}

impl Kind {
    const fn check(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Host => "host",
        }
    }

    const fn mark(self) -> char {
        match self {
            Self::Domain => 'd',
            Self::Host => 'h',
        }
    }

    /// Also the id of the finding: what is remembered is what was said.
    fn digest(self, name: &str) -> [u8; 16] {
        Finding::id_of(MODULE.name, self.check(), name, None)
    }
}

/// Low bits of the first byte choose the group. It is the bin too, so that groups spread over any number of workers.
fn group(digest: &[u8; 16]) -> u8 {
    digest[0] % GROUPS
}

impl FirstSeen {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let error = settings.fraction("error");
        if !(0.000_001..=0.5).contains(&error) {
            let (key, value) = (settings.key("error"), error.to_string());
            return Err(OptionError::NotAllowed { key, value, allowed: "0.000001 to 0.5".into() });
        }
        let bounded = settings.text("mode") == "bounded";
        Ok(Self {
            domains: settings.bool("domains"),
            hosts: settings.bool("hosts"),
            shape: bounded.then(|| Shape::of_group(settings.integer("expected"), u64::from(GROUPS), error)),
        })
    }
}

impl Examine for FirstSeen {
    fn examine(&self, _: &Subject<'_>, _: &mut Vec<Finding>) {}

    fn remember(&self) -> Option<&dyn Remember> {
        Some(self)
    }
}

impl Remember for FirstSeen {
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
        let Some(certificate) = subject.certificate else { return };
        let mut groups: BTreeMap<u8, String> = BTreeMap::new();
        let mut add = |kind: Kind, name: &str, shown_by: &str| {
            let lines = groups.entry(group(&kind.digest(name))).or_default();
            writeln!(lines, "{}{shown_by}", kind.mark()).expect("a String takes what is written to it");
        };
        // Names of one domain mostly stand together; what comes again later is known by then.
        let mut last = None;
        for name in subject.names {
            if self.domains {
                let domain = registered_domain(name);
                if let Some(domain) = domain.filter(|_| domain != last) {
                    add(Kind::Domain, domain, name);
                }
                last = domain;
            }
            if self.hosts {
                add(Kind::Host, name, name);
            }
        }
        let facts = groups
            .into_iter()
            .map(|(group, lines)| Fact { text: lines.into(), ..Fact::about(certificate, u64::from(group) << 56) });
        out.extend(facts);
    }

    fn memory(&self) -> Box<dyn Memory> {
        Box::new(Names {
            seen: match self.shape {
                None => Seen::Exact(KeySet::default()),
                Some(shape) => Seen::Bounded(Filter::new(shape)),
            },
            saturation_said: false,
        })
    }

    /// A name may come again after any time.
    fn reach_days(&self) -> Option<u32> {
        None
    }
}

/// The names of a group.
struct Names {
    seen: Seen,
    saturation_said: bool,
}

enum Seen {
    Exact(KeySet),
    Bounded(Filter),
}

impl Seen {
    /// Whether the name is new, as far as that is known.
    fn insert(&mut self, digest: &[u8; 16]) -> bool {
        match self {
            Self::Exact(set) => set.insert(Key::finding(digest)),
            Self::Bounded(filter) => filter.insert(digest),
        }
    }

    fn is_saturated(&self) -> bool {
        matches!(self, Self::Bounded(filter) if filter.is_saturated())
    }
}

impl Memory for Names {
    fn recall(&mut self, fact: Fact) {
        for (kind, name, _) in names_of(&fact.text) {
            self.seen.insert(&kind.digest(name));
        }
    }

    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        for (kind, name, shown_by) in names_of(&fact.text) {
            if self.seen.insert(&kind.digest(name)) {
                out.push(first_seen(&fact, kind, name, shown_by));
            }
        }
        if !self.saturation_said && self.seen.is_saturated() {
            self.saturation_said = true;
            out.push(saturated(&fact));
        }
    }
}

/// The names that a fact tells of, each with the name that showed it.
fn names_of(text: &str) -> impl Iterator<Item = (Kind, &str, &str)> {
    text.lines().filter_map(|line| {
        let shown_by = line.get(1..)?;
        match line.chars().next()? {
            'd' => Some((Kind::Domain, registered_domain(shown_by)?, shown_by)),
            _ => Some((Kind::Host, shown_by, shown_by)),
        }
    })
}

fn first_seen(fact: &Fact, kind: Kind, name: &str, shown_by: &str) -> Finding {
    let mut detail = Map::new();
    match kind {
        Kind::Domain => detail.insert("host".to_owned(), shown_by.into()),
        Kind::Host => detail.insert("wildcard".to_owned(), is_wildcard(name).into()),
    };
    if let Some(domain) = registered_domain(name) {
        detail.extend(about_domain(domain));
    }
    if let Some(unicode) = unicode(name) {
        detail.insert("unicode".to_owned(), unicode.into());
    }
    let (check, severity) = (kind.check(), Severity::Info);
    let claim = Claim { check, severity, key: name, name: Some(name), once: true, detail };
    fact.finding(MODULE.name, claim)
}

fn saturated(fact: &Fact) -> Finding {
    let why = "more names than expected: of the new ones, more than the stated share is missed from here on";
    let detail = Map::from_iter([("why".to_owned(), json!(why))]);
    let claim = Claim { check: "saturated", severity: Severity::Medium, key: "", name: None, once: true, detail };
    fact.finding(MODULE.name, claim)
}

#[cfg(test)]
mod tests;
