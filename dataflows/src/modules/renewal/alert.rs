//! When a certificate that runs out is worth an alert, and what the alert says.

use ct_model::{Finding, Severity, Timestamp};
use serde_json::{Map, Value, json};

use super::super::Claim;
use super::super::memory::Fact;
use super::super::trie::Likeness;
use super::super::watchlist::Watchlist;
use super::MODULE;
use super::table::End;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Whoever renews by hand needs a week, whatever the lifetime.
const DUE_LEFT_MIN: i64 = 7 * MICROS_PER_DAY;
/// BR 1.6.1: a short-lived certificate is valid for at most 10 days (7 from 2026-03-15 on). Nobody renews it by hand.
const SHORT_LIVED_MAX: i64 = 10 * MICROS_PER_DAY;

/// How much of the lifetime is left when renewal is due, and when it is urgent.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    pub(super) due: f64,
    pub(super) urgent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Due,
    Urgent,
    Expired,
}

impl Level {
    const fn check(self) -> &'static str {
        match self {
            Self::Due => "renewal-due",
            Self::Urgent => "renewal-urgent",
            Self::Expired => "expired",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Due => Severity::Medium,
            Self::Urgent => Severity::High,
            Self::Expired => Severity::Critical,
        }
    }
}

impl Levels {
    /// The moments of the levels, in microseconds, ascending.
    pub(super) fn moments(self, end: &End) -> [(Level, i64); 3] {
        let lifetime = end.not_after.saturating_sub(end.not_before);
        let left = |fraction: f64| (lifetime as f64 * fraction) as i64;
        let due = match lifetime > SHORT_LIVED_MAX {
            true => left(self.due).max(DUE_LEFT_MIN),
            false => left(self.due),
        };
        let before_end = |left: i64| end.not_after.saturating_sub(left);
        [(Level::Due, before_end(due)), (Level::Urgent, before_end(left(self.urgent))), (Level::Expired, end.not_after)]
    }
}

/// The alert that `name` has reached a level at `now`.
pub(super) fn finding(name: &str, covered_by: &str, end: &End, level: Level, now: i64, list: &Watchlist) -> Finding {
    let mut items = Vec::new();
    let mut tags: Vec<&str> = Vec::new();
    list.each_match(name, &mut list.budget(), &mut |item, reached| {
        // The item of another name that a wildcard stands for is an alert of its own.
        if reached.likeness != Likeness::Equal {
            return;
        }
        items.push(&*item.text);
        for tag in &item.tags {
            if !tags.contains(&&**tag) {
                tags.push(tag);
            }
        }
    });
    let mut detail = Map::from_iter([
        ("not_after".to_owned(), json!(Timestamp(end.not_after).to_string())),
        ("lifetime_days".to_owned(), days(end.not_after.saturating_sub(end.not_before))),
        ("left_days".to_owned(), days(end.not_after.saturating_sub(now))),
        ("covered_by".to_owned(), covered_by.into()),
        ("items".to_owned(), items.into()),
    ]);
    if !tags.is_empty() {
        detail.insert("tags".to_owned(), tags.into());
    }
    let key = format!("{name} {}", end.not_after);
    let (check, severity, name) = (level.check(), level.severity(), Some(name));
    let claim = Claim { check, severity, key: &key, name, once: true, detail };
    about(end, now).finding(MODULE.name, claim)
}

/// In tenths.
fn days(micros: i64) -> Value {
    json!((micros as f64 / MICROS_PER_DAY as f64 * 10.0).round() / 10.0)
}

/// The certificate that runs out, at a moment.
fn about(end: &End, now: i64) -> Fact {
    Fact {
        module: 0,
        key: 0,
        seen: Some(Timestamp(now)),
        sha256: end.sha256,
        tbs_sha256: end.tbs_sha256,
        name: None,
        text: Box::default(),
        numbers: [0; 3],
    }
}
