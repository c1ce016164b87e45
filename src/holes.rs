//! Holes in what a feed delivered of a log, and what became of each: what `audit` and an audit of a running job share.

use std::collections::BTreeMap;

use ct_model::IdKind;
use ct_model::id::to_hex;
use ct_model::message::Sighting;
use serde_json::{Value, json};

use crate::stretches::{Stretches, count, merged};

/// Holes that are nearer to each other are read together with what lies between: a page has so many entries.
pub const JOIN_ENTRIES: u64 = 256;

/// What became of an entry that a feed did not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The feed delivered the same certificate as another entry: many servers send a certificate once.
    Explained,
    /// The entry, or its certificate, cannot be read in full.
    Unparseable,
    Lost,
}

impl Class {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::Unparseable => "unparseable",
            Self::Lost => "lost",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub class: Class,
    /// `None` for an entry that cannot be used.
    pub sha256: Option<[u8; 32]>,
    /// The entry was read from its log.
    pub by_log: bool,
}

/// What a feed showed of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub first: u64,
    pub last: u64,
    /// Different indexes.
    pub delivered: u64,
    /// Indexes between them that it did not show.
    pub holes: Stretches,
}

/// One feed and one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub shown: Shown,
    /// Of holes, by index.
    pub verdicts: BTreeMap<u64, Verdict>,
    /// Holes that were not judged: nobody has read them, or there are too many.
    pub unknown: u64,
    /// Lost entries that this audit brought.
    pub filled: u64,
}

impl Account {
    /// How many holes have this verdict.
    pub fn of_class(&self, class: Class) -> u64 {
        self.verdicts.values().filter(|verdict| verdict.class == class).count() as u64
    }

    /// What the report says of them; of what was left out the newest `left_out_max`.
    pub fn row(&self, feed: &str, log: &str, left_out_max: usize) -> Value {
        let left_out = self.verdicts.iter().filter(|(_, verdict)| verdict.class != Class::Explained);
        let mut left_out: Vec<Value> = left_out
            .rev()
            .take(left_out_max)
            .map(|(index, verdict)| {
                let sha256 = verdict.sha256.map(|sha256| to_hex(&sha256));
                json!({ "log_index": index, "class": verdict.class.as_str(), "sha256": sha256 })
            })
            .collect();
        left_out.reverse();
        json!({
            "feed": feed,
            "log": log,
            "first": self.shown.first,
            "last": self.shown.last,
            "delivered": self.shown.delivered,
            "holes": count(&self.shown.holes),
            "explained": self.of_class(Class::Explained),
            "unparseable": self.of_class(Class::Unparseable),
            "lost": self.of_class(Class::Lost),
            "unknown": self.unknown,
            "filled": self.filled,
            "left_out": left_out,
            "explained_ranges": self.ranges(Class::Explained),
        })
    }

    /// First and last index of runs of holes that have this verdict.
    fn ranges(&self, class: Class) -> Vec<(u64, u64)> {
        let of_class = self.verdicts.iter().filter(|(_, verdict)| verdict.class == class);
        let entries: Stretches = of_class.map(|(index, _)| (*index, index + 1)).collect();
        merged(&entries).iter().map(|(first, end)| (*first, end - 1)).collect()
    }
}

/// The SHA-256 of the certificate in hand, or as the feed claims it.
pub fn sha256_of(sighting: &Sighting) -> Option<[u8; 32]> {
    match sighting.id.kind {
        IdKind::Der | IdKind::Sha256 => sighting.id.bytes().try_into().ok(),
        IdKind::Sha1 | IdKind::IssuerSerial | IdKind::Entry => None,
    }
}
