//! How long certificates may be valid, and the dates that say so.
//!
//! A day is 86,400 seconds, both ends of the validity count, and any excess is one more day (BR 6.3.2). That is so
//! since the limit of 398 days. Before, the period was "measured from the date when the Certificate is issued until
//! the Expiry Date" (BR 1.6.0, 1.6.1): 825 days after notBefore were 825 days, not a second more.

use ct_model::Timestamp;
use ct_model::time::Day;

use super::check::Check;
use super::view::{Context, View, any, subscriber, tls_leaf};

const MAX_DAYS: &str = "validity.max_days";
const NEAR_MAX: &str = "validity.near_max";
const BR: &str = "BR 6.3.2";
const BR_AND_APPLE: &str = "BR 6.3.2; Apple, About upcoming limits on trusted certificates (HT211025)";

pub(super) const CHECKS: &[Check] = &[
    Check::error(MAX_DAYS, BR, subscriber, over_39_months).since(2016, 7, 2).until(2018, 3, 2),
    Check::error(MAX_DAYS, BR, subscriber, over_825_days).since(2018, 3, 2).until(2020, 9, 1),
    Check::error(MAX_DAYS, BR_AND_APPLE, tls_leaf, over::<398>).since(2020, 9, 1).until(2026, 3, 15),
    Check::error(MAX_DAYS, BR, tls_leaf, over::<200>).since(2026, 3, 15).until(2027, 3, 15),
    Check::error(MAX_DAYS, BR, tls_leaf, over::<100>).since(2027, 3, 15).until(2029, 3, 15),
    Check::error(MAX_DAYS, BR, tls_leaf, over::<47>).since(2029, 3, 15),
    Check::warn(NEAR_MAX, BR_AND_APPLE, tls_leaf, over::<397>).since(2020, 9, 1).until(2026, 3, 15),
    Check::warn(NEAR_MAX, BR, tls_leaf, over::<199>).since(2026, 3, 15).until(2027, 3, 15),
    Check::warn(NEAR_MAX, BR, tls_leaf, over::<99>).since(2027, 3, 15).until(2029, 3, 15),
    Check::warn(NEAR_MAX, BR, tls_leaf, over::<46>).since(2029, 3, 15),
    Check::error("validity.not_positive", "RFC 5280 4.1.2.5", any, not_positive),
];

const SECONDS_PER_DAY: i64 = 86_400;

fn over<const DAYS: i64>(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    longer_than(view.validity_seconds()?, DAYS)
}

fn over_825_days(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    longer_than(view.raw.not_after?.seconds() - view.raw.not_before?.seconds(), 825)
}

fn longer_than(seconds: i64, limit_days: i64) -> Option<String> {
    (seconds > limit_days * SECONDS_PER_DAY).then(|| {
        let (days, rest) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        format!("valid for {days} days and {rest} seconds, limit {limit_days} days")
    })
}

fn over_39_months(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let (not_before, not_after) = (view.raw.not_before?, view.raw.not_after?);
    let end = months_later(not_before, 39);
    (not_after > end).then(|| format!("valid through {not_after}, limit 39 months"))
}

/// The same time of day, so many months later. A day that the month does not have runs on into the next month.
pub(in crate::modules) fn months_later(time: Timestamp, months: i64) -> Timestamp {
    let (year, month, day) = time.day().civil();
    let month = year * 12 + month - 1 + months;
    let end = Day::from_civil(month.div_euclid(12), month.rem_euclid(12) + 1, day);
    Timestamp::from_seconds(time.seconds() + (end.0 - time.day().0) * SECONDS_PER_DAY)
}

fn not_positive(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let (not_before, not_after) = (view.raw.not_before?, view.raw.not_after?);
    (not_after < not_before).then(|| format!("not after {not_after}, not before {not_before}"))
}
