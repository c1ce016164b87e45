//! Module `renewal`: watched names whose certificates run out while no later one is known.
//!
//! It is about names, not certificates: a name is covered until the latest end of the certificates that have it, or
//! the wildcard right above it, whoever issued them. Time is that of the input. One memory, of one key, knows all
//! watched names; other certificates only move its time, and one in 16 is enough for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use ct_model::Finding;

use super::memory::{Fact, Memory, Remember};
use super::trie::Likeness;
use super::watchlist::Watchlist;
use super::{Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

mod alert;
mod table;
mod watch;

use alert::Levels;
use watch::Watch;

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "renewal",
    by_default: false,
    doc: "watched names whose certificates run out while no later one is known",
    options: &[
        OptionDef {
            name: "items",
            kind: OptionKind::List,
            default: "[]",
            doc: "what to watch, as in module watchlist; of `.example.com`, every name that a certificate ever had. \
                  Whoever issued a certificate, it counts: issuers in a table are not looked at",
        },
        OptionDef {
            name: "list",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "a certspotter watch list: an item a line, `#` begins a comment line",
        },
        OptionDef {
            name: "due",
            kind: OptionKind::Fraction,
            default: "0.3",
            doc: "renewal is due when so much of the lifetime is left, or 7 days, if that is longer and the lifetime \
                  more than 10 days",
        },
        OptionDef {
            name: "urgent",
            kind: OptionKind::Fraction,
            default: "0.1",
            doc: "renewal is urgent when so much of the lifetime is left; not more than `due`",
        },
        OptionDef {
            name: "names_max",
            kind: OptionKind::Integer { min: 1, max: 100_000_000 },
            default: "1000000",
            doc: "names watched at once; that there are more is reported",
        },
    ],
    prepare: |settings| Ok(Box::new(Renewal::new(settings)?)),
};

/// Watched names of one certificate: `*.com` alone stands for a whole list.
const NAMES_MAX: usize = 1_000;
/// No browser takes a certificate that is valid for longer (39 months, the limit of 2016), so it renews nothing.
const LIFETIME_MICROS_MAX: i64 = 1_190 * 86_400_000_000;
/// One certificate in so many moves the time, if it has no watched name.
const CLOCK_SHARE: u8 = 16;

struct Renewal {
    watchlist: Arc<Watchlist>,
    levels: Levels,
    names_max: usize,
}

impl Renewal {
    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let (due, urgent) = (settings.fraction("due"), settings.fraction("urgent"));
        if urgent > due {
            let (key, value) = (settings.key("urgent"), urgent.to_string());
            return Err(OptionError::NotAllowed { key, value, allowed: format!("at most `due`, {due}") });
        }
        Ok(Self {
            watchlist: Arc::new(Watchlist::new(settings)?),
            levels: Levels { due, urgent },
            names_max: usize::try_from(settings.integer("names_max")).expect("at most 100 million"),
        })
    }

    /// The names of a certificate that are watched, and watched names that its wildcards stand for. With each,
    /// whether it is an item itself.
    fn watched(&self, subject: &Subject<'_>) -> BTreeMap<Box<str>, bool> {
        let mut watched = BTreeMap::new();
        let mut budget = self.watchlist.budget();
        for name in subject.names {
            // RFC 6125 section 6.4.3: clients take a `*` as a whole left-most label.
            if name.strip_prefix("*.").unwrap_or(name).contains('*') {
                continue;
            }
            let finished = self.watchlist.each_match(name, &mut budget, &mut |item, reached| {
                let is_item = !reached.below;
                let name: Box<str> = match reached.likeness {
                    Likeness::Equal => name.clone(),
                    Likeness::Wildcard if is_item => item.text.trim_start_matches('.').into(),
                    _ => return,
                };
                if watched.len() < NAMES_MAX {
                    *watched.entry(name).or_default() |= is_item;
                }
            });
            if !finished {
                break;
            }
        }
        watched
    }
}

impl Examine for Renewal {
    fn examine(&self, _: &Subject<'_>, _: &mut Vec<Finding>) {}

    fn remember(&self) -> Option<&dyn Remember> {
        Some(self)
    }
}

impl Remember for Renewal {
    /// The text is the watched names, a word each, with a dot before those that are items. Without a text the fact
    /// moves the time only.
    fn facts(&self, subject: &Subject<'_>, out: &mut Vec<Fact>) {
        let Some(certificate) = subject.certificate else { return };
        let Some(seen) = certificate.seen.filter(|_| !self.watchlist.is_empty()) else { return };
        let validity = certificate.not_before.zip(certificate.not_after).filter(|(not_before, not_after)| {
            let lifetime = not_after.0.saturating_sub(not_before.0);
            // One that begins in the future cannot end later than one that begins now.
            lifetime > 0 && not_after.0.saturating_sub(seen.min(*not_before).0) <= LIFETIME_MICROS_MAX
        });
        let watched = if validity.is_some() { self.watched(subject) } else { BTreeMap::new() };
        let tells_time = certificate.sha256.is_some_and(|sha256| sha256[0] % CLOCK_SHARE == 0);
        if watched.is_empty() && !tells_time {
            return;
        }
        let (not_before, not_after) = validity.map_or((0, 0), |(not_before, not_after)| (not_before.0, not_after.0));
        let words = watched.iter().map(|(name, is_item)| [if *is_item { "." } else { "" }, name].concat());
        let text = words.collect::<Vec<String>>().join(" ").into();
        let about = Fact::about(certificate, Fact::key_of(&[MODULE.name]));
        out.push(Fact { text, numbers: [not_before, not_after, 0], ..about });
    }

    fn memory(&self) -> Box<dyn Memory> {
        Box::new(Watch::new(self.watchlist.clone(), self.levels, self.names_max))
    }

    /// All of them: which names are kept when there are too many depends on every name there ever was. And `seen` is
    /// what a feed says: days counted from one that lies in the future would leave out what covers names now.
    fn reach_days(&self) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests;
