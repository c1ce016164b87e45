//! Certificate Transparency: how timestamps are embedded, and whether they are enough for Chrome and for Apple.
//!
//! Only what is embedded is seen; a server may send more by TLS. Not to comply is not to be mis-issued. Signatures of
//! timestamps are not verified. Precertificates have no timestamps by nature, so nothing is asked of theirs.

use std::collections::{BTreeMap, BTreeSet};

use ct_model::Timestamp;
use ct_model::x509::raw::oid_text;
use ct_model::x509::sct::Sct;
use ct_model::x509::{POISON, SCT_LIST};

use super::check::{Check, Profile};
use super::log_list::{Log, LogList, Standing, is_rfc6962, standing_at};
use super::validity::months_later;
use super::view::{Context, View, any, subscriber};

const CHROME: &[Profile] = &[Profile::ChromeCt];
const APPLE: &[Profile] = &[Profile::AppleCt];
const BOTH: &[Profile] = &[Profile::ChromeCt, Profile::AppleCt];
const CHROME_POLICY: &str = "Chrome Certificate Transparency Policy";
const APPLE_POLICY: &str = "Apple's Certificate Transparency policy (103214)";

pub(super) const CHECKS: &[Check] = &[
    Check::error("ct.empty_list", "RFC 6962 3.3", final_certificate, empty_list).since(2013, 6, 1),
    Check::error("ct.bad_list", "RFC 6962 3.3", final_certificate, bad_list).since(2013, 6, 1),
    Check::error("ct.precert_with_scts", "RFC 6962 3.3", precertificate, precert_with_scts),
    Check::error("ct.poison_not_critical", "RFC 6962 3.1", precertificate, poison_not_critical).since(2013, 6, 1),
    Check::error("ct.bad_poison", "RFC 6962 3.1", precertificate, bad_poison).since(2013, 6, 1),
    Check::notice("ct.chrome_sct_count", CHROME_POLICY, final_certificate, chrome_sct_count)
        .since(2022, 4, 15)
        .of(CHROME),
    Check::notice("ct.chrome_live_log", CHROME_POLICY, with_logs_and_scts, no_live_log).since(2022, 4, 15).of(CHROME),
    Check::notice("ct.chrome_operators", CHROME_POLICY, with_logs_and_scts, chrome_operators)
        .since(2022, 4, 15)
        .of(CHROME),
    Check::notice("ct.apple_sct_count", APPLE_POLICY, final_certificate, apple_sct_count_by_months)
        .since(2018, 10, 15)
        .until(2021, 4, 21)
        .of(APPLE),
    Check::notice("ct.apple_sct_count", APPLE_POLICY, final_certificate, apple_sct_count).since(2021, 4, 21).of(APPLE),
    Check::notice("ct.apple_live_log", APPLE_POLICY, with_logs_and_scts, no_live_log).since(2018, 10, 15).of(APPLE),
    Check::notice("ct.apple_operators", APPLE_POLICY, with_logs_and_scts, apple_operators).since(2021, 4, 21).of(APPLE),
    Check::notice("ct.apple_rfc6962_log", APPLE_POLICY, with_logs_and_scts, no_rfc6962_log)
        .since(2021, 4, 21)
        .of(APPLE),
    Check::notice("ct.unknown_log", "log list", with_logs_and_scts, unknown_log).of(BOTH),
    Check::notice("ct.sct_after_interval", "log list", with_logs_and_scts, outside_interval).of(BOTH),
];

fn precertificate(view: &View<'_>, context: &Context<'_>) -> bool {
    any(view, context) && view.is_precertificate
}

fn final_certificate(view: &View<'_>, context: &Context<'_>) -> bool {
    subscriber(view, context) && !view.is_precertificate
}

fn with_logs_and_scts(view: &View<'_>, context: &Context<'_>) -> bool {
    final_certificate(view, context) && context.logs.is_some() && !scts(view).is_empty()
}

fn scts<'v>(view: &'v View<'_>) -> &'v [Sct] {
    view.scts.as_ref().map_or(&[], |list| &list.scts)
}

fn empty_list(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (view.scts.as_ref()?.count == 0).then(|| "a list of no SCTs".to_owned())
}

fn bad_list(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (view.has(SCT_LIST) && view.scts.is_none()).then(|| format!("{} is no list of SCTs", oid_text(SCT_LIST)))
}

fn precert_with_scts(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.has(SCT_LIST).then(|| "a precertificate with a list of SCTs".to_owned())
}

fn poison_not_critical(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!view.raw.extension(POISON)?.critical).then(|| "the poison is not critical".to_owned())
}

fn bad_poison(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    const NULL: [u8; 2] = [5, 0];
    (view.value(POISON)? != NULL).then(|| "the poison is not NULL".to_owned())
}

/// The first timestamp of each log, with what the list says of it at the time of the entry.
struct Promise<'a> {
    at: Timestamp,
    log: &'a Log,
    standing: Standing,
}

impl Promise<'_> {
    fn operator(&self) -> &str {
        self.log.operator_at(self.at)
    }
}

fn at(sct: &Sct) -> Timestamp {
    Timestamp(i64::try_from(sct.timestamp_ms).ok().and_then(|ms| ms.checked_mul(1_000)).unwrap_or(i64::MAX))
}

fn promises<'a>(view: &View<'_>, context: &Context<'_>, logs: &'a LogList) -> Vec<Promise<'a>> {
    // A replay knows no other "now" than the entry's.
    let now = context.seen.or(view.raw.not_before).unwrap_or(Timestamp(0));
    let mut seen = BTreeSet::new();
    let new = scts(view).iter().filter(|sct| seen.insert(sct.log_id));
    new.filter_map(|sct| {
        let log = logs.log(&sct.log_id)?;
        Some(Promise { at: at(sct), log, standing: standing_at(log, now) })
    })
    .collect()
}

/// What counts for Chrome: of approved logs; of retired ones, if the certificate's earliest timestamp is from before.
fn counting_for_chrome<'a>(view: &View<'_>, context: &Context<'_>, logs: &'a LogList) -> Vec<Promise<'a>> {
    let issued = scts(view).iter().map(at).min();
    let mut promises = promises(view, context, logs);
    promises.retain(|promise| match promise.standing {
        Standing::Approved => true,
        Standing::Retired(since) => issued.is_some_and(|issued| issued < since),
        Standing::Unapproved => false,
    });
    promises
}

/// What counts for Apple: of logs that are approved, or once were.
fn counting_for_apple<'a>(view: &View<'_>, context: &Context<'_>, logs: &'a LogList) -> Vec<Promise<'a>> {
    let mut promises = promises(view, context, logs);
    promises.retain(|promise| promise.standing != Standing::Unapproved);
    promises
}

/// Distinct logs, whatever they are worth.
fn distinct_logs(view: &View<'_>) -> usize {
    scts(view).iter().map(|sct| sct.log_id).collect::<BTreeSet<_>>().len()
}

fn is_long(view: &View<'_>) -> bool {
    view.validity_seconds().is_none_or(|seconds| seconds > 180 * 86_400)
}

/// Both browsers ask for two, and three for more than 180 days.
fn needed(view: &View<'_>) -> usize {
    if is_long(view) { 3 } else { 2 }
}

fn too_few(count: usize, needed: usize, context: &Context<'_>) -> Option<String> {
    let kind = if context.logs.is_some() { "logs that count" } else { "distinct logs" };
    (count < needed).then(|| format!("embedded SCTs of {count} {kind}, {needed} needed"))
}

fn chrome_sct_count(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let count = match context.logs {
        Some(logs) => counting_for_chrome(view, context, logs).len(),
        None => distinct_logs(view),
    };
    too_few(count, needed(view), context)
}

fn chrome_operators(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let promises = counting_for_chrome(view, context, context.logs?);
    let operators: BTreeSet<&str> = promises.iter().map(Promise::operator).collect();
    (operators.len() < 2).then(|| format!("SCTs of {} operators count, 2 needed", operators.len()))
}

fn no_live_log(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let mut promises = promises(view, context, context.logs?).into_iter();
    let found = promises.any(|promise| promise.standing == Standing::Approved);
    (!found).then(|| "no SCT of a log that is approved now".to_owned())
}

fn apple_count(view: &View<'_>, context: &Context<'_>) -> usize {
    match context.logs {
        Some(logs) => counting_for_apple(view, context, logs).len(),
        None => distinct_logs(view),
    }
}

fn apple_sct_count(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    too_few(apple_count(view, context), needed(view), context)
}

/// The table for certificates from before 2021-04-21: 2 for less than 15 months, 3 up to 27, 4 up to 39, then 5.
fn apple_sct_count_by_months(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let (not_before, not_after) = (view.raw.not_before?, view.raw.not_after?);
    let steps = [15, 27, 39].into_iter().filter(|months| not_after >= months_later(not_before, *months)).count();
    too_few(apple_count(view, context), 2 + steps, context)
}

/// Of each operator only so many count: one, or two for more than 180 days.
fn apple_operators(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let promises = counting_for_apple(view, context, context.logs?);
    let per_operator_max = if is_long(view) { 2 } else { 1 };
    let mut counts = BTreeMap::<&str, usize>::new();
    for promise in &promises {
        *counts.entry(promise.operator()).or_default() += 1;
    }
    let count: usize = counts.values().map(|count| per_operator_max.min(*count)).sum();
    let needed = needed(view);
    (count < needed).then(|| format!("{count} SCTs count, at most {per_operator_max} of an operator; {needed} needed"))
}

fn no_rfc6962_log(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let promises = counting_for_apple(view, context, context.logs?);
    (!promises.iter().any(|promise| is_rfc6962(promise.log))).then(|| "no SCT of an RFC 6962 log".to_owned())
}

fn unknown_log(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let logs = context.logs?;
    let unknown = scts(view).iter().find(|sct| logs.log(&sct.log_id).is_none())?;
    Some(format!("an SCT of log {}, which the list does not have", ct_model::id::to_hex(&unknown.log_id)))
}

fn outside_interval(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let (logs, not_after) = (context.logs?, view.raw.not_after?);
    let mut known = scts(view).iter().filter_map(|sct| logs.log(&sct.log_id));
    let log =
        known.find(|log| log.temporal_interval.is_some_and(|(start, end)| not_after < start || not_after >= end))?;
    Some(format!("not after {not_after}, outside the interval of {}", log.description.as_ref().unwrap_or(&log.name)))
}
