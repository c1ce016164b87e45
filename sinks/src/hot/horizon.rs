//! The horizon: the moment that hot state lives up to, told by the lake alone.
//!
//! `seen` is what a feed says, and one message that says 2100 must not expire all others for the next decades. Hence
//! days vouch for each other: days of the lake that follow one another without a gap are a *stretch*, and the horizon
//! is the newest `seen` of the newest stretch with at least [`ROWS_MIN`] certificates and entries, or, where none has
//! so many, of the one that has most. A `seen` at most a day ahead is thus believed at once, one further ahead when
//! [`ROWS_MIN`] rows say so. What is ahead of the horizon is shown like anything that has not expired.
//!
//! It is a function of the lake up to a manifest. It may go back, while the lake is small; what expired meanwhile is then
//! fetched again, by beginning anew.

use std::collections::BTreeMap;

use ct_model::{Table, Timestamp};

use crate::error::SinkError;
use crate::lake::Lake;
use crate::manifest::Manifest;

/// About 500 messages: each has at most one certificate and one entry.
const ROWS_MIN: u64 = 1_000;

/// The horizon of a lake; `None` while nothing has a `seen`.
pub fn horizon(lake: &Lake) -> Result<Option<Timestamp>, SinkError> {
    let mut calendar = Calendar::default();
    for manifest in lake.manifests()? {
        calendar.add(&manifest?);
    }
    Ok(calendar.horizon_ms().map(|ms| Timestamp(ms.saturating_mul(1_000))))
}

/// What manifests say of `seen`, by UTC day.
#[derive(Default)]
pub(crate) struct Calendar {
    days: BTreeMap<i64, Stretch>,
    /// Newest manifest in it; 0 is none.
    pub(crate) through: u64,
}

#[derive(Clone, Copy, Default)]
struct Stretch {
    /// Certificates and entries. Findings do not count: one message may have any number.
    rows: u64,
    newest_ms: i64,
}

impl Calendar {
    /// Takes the manifest after the last one.
    pub(crate) fn add(&mut self, manifest: &Manifest) {
        for file in &manifest.files {
            // A file holds rows of one day.
            // Gaps are told by our own clock, coverage by a log's.
            let told_by_input = !matches!(file.table, Table::Gaps | Table::Coverage);
            let Some(newest) = file.max_seen.map(Timestamp).filter(|_| told_by_input) else { continue };
            let first = Stretch { rows: 0, newest_ms: newest.millis() };
            let day = self.days.entry(newest.day().0).or_insert(first);
            day.newest_ms = day.newest_ms.max(newest.millis());
            if matches!(file.table, Table::Certificates | Table::Entries) {
                day.rows += file.rows;
            }
        }
        self.through = manifest.sequence;
    }

    /// In milliseconds; `None` while nothing has a `seen`.
    pub(crate) fn horizon_ms(&self) -> Option<i64> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut yesterday = None;
        for (&day, seen) in &self.days {
            match stretches.last_mut() {
                Some(stretch) if yesterday == day.checked_sub(1) => {
                    *stretch = Stretch { rows: stretch.rows + seen.rows, newest_ms: seen.newest_ms };
                }
                _ => stretches.push(*seen),
            }
            yesterday = Some(day);
        }
        let large = stretches.iter().rfind(|stretch| stretch.rows >= ROWS_MIN);
        // Of equal ones the newest.
        let chosen = large.or_else(|| stretches.iter().max_by_key(|stretch| stretch.rows));
        chosen.map(|stretch| stretch.newest_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days and their rows in; the day of the horizon out.
    #[track_caller]
    fn check(days: &[(i64, u64)], want: i64) {
        let newest_ms = |day: i64| day * 86_400_000 + 5;
        let days = days.iter().map(|&(day, rows)| (day, Stretch { rows, newest_ms: newest_ms(day) })).collect();
        assert_eq!(Calendar { days, through: 1 }.horizon_ms(), Some(newest_ms(want)));
    }

    #[test]
    fn a_day_without_a_gap_is_believed() {
        check(&[(20_000, 1)], 20_000);
        check(&[(20_000, 5_000), (20_001, 1)], 20_001);
    }

    #[test]
    fn a_jump_takes_many() {
        check(&[(20_000, 5_000), (20_002, 999)], 20_000);
        check(&[(20_000, 5_000), (20_002, 600), (20_003, 400)], 20_003);
        check(&[(20_000, 5_000), (30_000, 999), (40_000, 999)], 20_000);
    }

    #[test]
    fn of_few_rows_most_count() {
        check(&[(20_000, 9), (47_482, 1)], 20_000);
        check(&[(-700_000, 1), (20_000, 1)], 20_000);
    }

    #[test]
    fn nothing_seen_is_no_horizon() {
        assert_eq!(Calendar::default().horizon_ms(), None);
    }
}
