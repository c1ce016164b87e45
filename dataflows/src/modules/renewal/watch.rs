//! The memory: the names, the time, and when to look at which name again.
//!
//! Which level a name has reached depends on the names and the time, and both are functions of sets of facts. A name
//! is looked at when it is covered otherwise than before, and when it reaches its next level. What is recalled is
//! looked at with the first fact that is learned: most of it was said before, and is said again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ct_model::{Finding, Severity};
use serde_json::{Map, json};

use super::super::Claim;
use super::super::event_time::EventTime;
use super::super::memory::{Fact, Memory};
use super::super::watchlist::Watchlist;
use super::MODULE;
use super::alert::{Levels, finding};
use super::table::{End, Place, Table};

/// A certificate that comes up when it has been over for so long is history.
const RECENT_MICROS: i64 = 7 * 86_400_000_000;

pub(super) struct Watch {
    watchlist: Arc<Watchlist>,
    levels: Levels,
    time: EventTime,
    table: Table,
    reminders: Reminders,
    overflow_said: bool,
}

/// When to look at which name: one moment for each, in microseconds.
#[derive(Default)]
struct Reminders {
    moments: BTreeMap<Place, i64>,
    /// The same, the earliest first.
    order: BTreeSet<(i64, Place)>,
}

impl Reminders {
    fn set(&mut self, place: Place, moment: Option<i64>) {
        let before = match moment {
            Some(moment) => self.moments.insert(place, moment),
            None => self.moments.remove(&place),
        };
        if let Some(before) = before {
            self.order.remove(&(before, place));
        }
        self.order.extend(moment.map(|moment| (moment, place)));
    }

    /// The place of the earliest one, if that is not after `now`.
    fn reached(&self, now: i64) -> Option<Place> {
        self.order.first().filter(|(moment, _)| *moment <= now).map(|(_, place)| *place)
    }
}

impl Watch {
    pub(super) fn new(watchlist: Arc<Watchlist>, levels: Levels, names_max: usize) -> Self {
        Self {
            watchlist,
            levels,
            time: EventTime::default(),
            table: Table::new(names_max),
            reminders: Reminders::default(),
            overflow_said: false,
        }
    }

    fn take_in(&mut self, fact: &Fact) {
        if let Some(seen) = fact.seen {
            self.time.see(seen.0);
        }
        let [not_before, not_after, _] = fact.numbers;
        let end = End { not_after, not_before, sha256: fact.sha256, tbs_sha256: fact.tbs_sha256 };
        let mut changed = Vec::new();
        for word in fact.text.split_ascii_whitespace() {
            let (name, is_item) = word.strip_prefix('.').map_or((word, false), |name| (name, true));
            self.table.add(name, Place::of(name, is_item), &end, &mut changed);
        }
        for place in changed {
            let moments = self.table.cover(place).map(|(_, row)| self.levels.moments(&row.end));
            self.reminders.set(place, moments.map(|[(_, first), ..]| first));
        }
    }

    /// Says the worst level that a name has reached by `now`, unless it was over at `past`, and notes when it reaches
    /// the next one.
    fn judge(&mut self, place: Place, past: i64, now: i64, out: &mut Vec<Finding>) {
        let Some((name, row)) = self.table.cover(place) else { return self.reminders.set(place, None) };
        let moments = self.levels.moments(&row.end);
        let reached = moments.into_iter().rfind(|(_, moment)| *moment <= now);
        if let Some((level, _)) = reached.filter(|_| row.end.not_after > past) {
            out.push(finding(name, &row.name, &row.end, level, now, &self.watchlist));
        }
        let next = moments.into_iter().find(|(_, moment)| *moment > now);
        self.reminders.set(place, next.map(|(_, moment)| moment));
    }
}

impl Memory for Watch {
    fn recall(&mut self, fact: Fact) {
        self.take_in(&fact);
    }

    fn learn(&mut self, fact: Fact, out: &mut Vec<Finding>) {
        let before = self.time.now();
        self.take_in(&fact);
        if let Some(now) = self.time.now() {
            // However far the time goes at once, what was not over before it is not history.
            let past = before.unwrap_or(now).saturating_sub(RECENT_MICROS);
            while let Some(place) = self.reminders.reached(now) {
                self.judge(place, past, now, out);
            }
        }
        if self.table.overflows() && !self.overflow_said {
            self.overflow_said = true;
            let detail = Map::from_iter([("why".to_owned(), json!("more names than names_max; some are not watched"))]);
            let (check, severity) = ("too-many-names", Severity::Medium);
            let claim = Claim { check, severity, key: "", name: None, once: true, detail };
            out.push(fact.finding(MODULE.name, claim));
        }
    }
}
