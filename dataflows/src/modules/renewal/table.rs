//! The watched names and how long each is covered: a function of the set of certificates, whatever their order.

use std::collections::BTreeMap;
use std::mem;

use super::super::memory::Fact;

/// The end of the certificate that covers a name the longest. Of several with one end the greatest in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// Microseconds since 1970, both.
    pub(super) not_after: i64,
    pub(super) not_before: i64,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) tbs_sha256: Option<[u8; 32]>,
}

impl End {
    /// What alerts depend on. The same in a precertificate and its final certificate.
    const fn dates(&self) -> (i64, i64) {
        (self.not_after, self.not_before)
    }
}

/// Where a name stands: wildcards and items of the list before all others, the names right below one parent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    last: bool,
    parent: u64,
    label: u64,
}

#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: Box<str>,
    pub(super) end: End,
}

/// Keeps the `max` names with the lowest places. A name that has to go never comes back, so what is known of the
/// others is complete.
pub(super) struct Table {
    rows: BTreeMap<Place, Row>,
    max: usize,
    /// The lowest place that had to go.
    full_from: Option<Place>,
}

const WILDCARD: &str = "*";

impl Place {
    pub(super) fn of(name: &str, is_item: bool) -> Self {
        let (label, parent) = name.split_once('.').unwrap_or((name, ""));
        let is_last = !is_item && label != WILDCARD;
        Self { last: is_last, parent: Fact::key_of(&[parent]), label: Fact::key_of(&[label]) }
    }

    /// Of the wildcard that stands for the name; of a wildcard, its own.
    fn wildcard(self) -> Self {
        Self { last: false, label: Fact::key_of(&[WILDCARD]), ..self }
    }
}

impl Table {
    pub(super) const fn new(max: usize) -> Self {
        Self { rows: BTreeMap::new(), max, full_from: None }
    }

    pub(super) const fn overflows(&self) -> bool {
        self.full_from.is_some()
    }

    /// The name at a place, and what covers it: the row of its own, or that of the wildcard.
    pub(super) fn cover(&self, place: Place) -> Option<(&str, &Row)> {
        let own = self.rows.get(&place)?;
        let wildcard = self.rows.get(&place.wildcard());
        Some((&own.name, wildcard.filter(|wildcard| wildcard.end > own.end).unwrap_or(own)))
    }

    /// Takes in a certificate of `name`. Appends the places of the names that it may have made covered otherwise, and
    /// of one that had to go. Items need no wildcard's row: a wildcard that stands for them is added as theirs.
    pub(super) fn add(&mut self, name: &str, place: Place, end: &End, changed: &mut Vec<Place>) {
        if self.full_from.is_some_and(|full| place >= full) {
            return;
        }
        let before = match self.rows.get_mut(&place) {
            Some(row) if row.end >= *end => return,
            Some(row) => Some(mem::replace(&mut row.end, end.clone())),
            None => {
                self.rows.insert(place, Row { name: name.into(), end: end.clone() });
                None
            }
        };
        if before.is_none_or(|before| before.dates() < end.dates()) {
            changed.push(place);
            if place == place.wildcard() {
                let (from, to) =
                    (Place { last: true, label: 0, ..place }, Place { last: true, label: u64::MAX, ..place });
                let below = self.rows.range(from..=to).filter(|(_, row)| row.end.dates() < end.dates());
                changed.extend(below.map(|(at, _)| *at));
            }
        }
        // When a wildcard has to go, no name is left that only the wildcard's row says is covered.
        if self.rows.len() > self.max {
            self.full_from = self.rows.pop_last().map(|(last, _)| last);
            changed.extend(self.full_from);
        }
    }
}
