//! `audit`: what feeds left out of the logs they show, by the logs themselves.
//!
//! ```text
//! what a feed delivered ─► holes in the indexes of each log ─► what the lake does not hold of them is filled
//!                                                           └► each hole is judged by what the lake has there
//! ```

mod delivered;
mod judge;

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use ct_model::id::to_hex;
use ct_sinks::Store;
use ct_sinks::lake::Lake;
use serde_json::Value;

use self::delivered::Delivered;
use self::judge::{Accounts, judge};
use super::logs::{find, held, source, with_list};
use crate::cli::{AuditArgs, BatchArgs, Format, JobArgs, Progress, Summary};
use crate::cluster::exit::Exit;
use crate::fail::{self, Failure};
use crate::holes::{Class, JOIN_ENTRIES};
use crate::job::Prepared;
use crate::stretches::{Stretches, common, count, joined, merged, newest, without};
use crate::summary::{self, grouped, printable};

/// Entries that are shown of a log.
const SHOWN_MAX: usize = 5;

/// Says of each feed and log what was delivered, and what became of the rest.
pub fn audit(args: &AuditArgs) -> Result<Exit, Failure> {
    let batch = BatchArgs {
        common: args.common.clone(),
        job: JobArgs::default(),
        progress: Progress::None,
        summary: Summary::None,
    };
    let prepared = Prepared::new(&batch)?;
    let (config, runtime) = (prepared.config.clone(), prepared.runtime);
    let lake = Lake::open(Store::open(&config.lake.url, runtime.handle().clone())?);
    let only = args.feed.as_deref();
    let delivered = match &args.segments[..] {
        [] => Delivered::by_lake(&lake, only)?,
        segments => Delivered::by_segments(segments, only, runtime)?,
    };
    let is_named = |log: &str| args.logs.is_empty() || args.logs.iter().any(|text| log.contains(text.as_str()));
    let before = stretches_held(&lake)?;
    let missing = missing(&delivered, &before, &is_named);

    let logs = with_list(&config.logs, args.log_list.as_ref());
    let (mut exit, mut failed) = (Exit::Done, Vec::new());
    if !missing.is_empty() && !args.no_fill && logs.any() {
        let wanted = |name: &str, size: u64| {
            let stretches = missing.get(name).map_or(&[][..], Vec::as_slice);
            newest(&common(stretches, &[(0, size)]), args.entries_max)
        };
        let found = find(&logs, &args.logs, runtime, &wanted)?;
        failed = found.failed;
        if !found.segments.is_empty() {
            exit = prepared.read(&batch, source(&config, &logs, found.segments)?)?;
        }
    }
    let mut accounts = judge(&lake, &delivered, (&before, &stretches_held(&lake)?), args.entries_max)?;
    accounts.retain(|(_, log), _| is_named(log));
    let text = match args.format {
        Format::Json => {
            let rows: Vec<Value> =
                accounts.iter().map(|((feed, log), account)| account.row(feed, log, usize::MAX)).collect();
            format!("{}\n", Value::Array(rows))
        }
        Format::Text => table(&accounts),
    };
    summary::print(&text).context("writing the report")?;
    for (log, why) in &failed {
        fail::report(&anyhow!("{log} cannot be asked: {why}"));
    }
    Ok(if exit == Exit::Done && !failed.is_empty() { Exit::Input } else { exit })
}

fn stretches_held(lake: &Lake) -> anyhow::Result<BTreeMap<String, Stretches>> {
    Ok(held(lake)?.into_iter().map(|(log, held)| (log, held.held)).collect())
}

/// What must be read of each log to judge the holes of all feeds.
fn missing(
    delivered: &Delivered,
    held: &BTreeMap<String, Stretches>,
    is_named: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Stretches> {
    let mut holes: BTreeMap<String, Stretches> = BTreeMap::new();
    for (log, shown) in delivered.feeds.values().flat_map(|feed| feed.shown()).filter(|(log, _)| is_named(log)) {
        holes.entry(log.to_owned()).or_default().extend(shown.holes);
    }
    for (log, holes) in &mut holes {
        let held = held.get(log).map_or(&[][..], Vec::as_slice);
        let unheld: Stretches = merged(holes).into_iter().flat_map(|hole| without(hole, held)).collect();
        *holes = joined(&unheld, JOIN_ENTRIES);
    }
    holes.retain(|_, missing| !missing.is_empty());
    holes
}

fn table(accounts: &Accounts) -> String {
    if accounts.is_empty() {
        return "no feed delivered an entry of a log\n".to_owned();
    }
    let mut text = format!(
        "{:<12} {:<44} {:>13} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9}\n",
        "feed", "log", "delivered", "holes", "explained", "unparseable", "lost", "filled", "unknown"
    );
    for ((feed, log), account) in accounts {
        text += &format!(
            "{:<12} {:<44} {:>13} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9}\n",
            printable(feed),
            printable(log),
            grouped(account.shown.delivered),
            grouped(count(&account.shown.holes)),
            grouped(account.of_class(Class::Explained)),
            grouped(account.of_class(Class::Unparseable)),
            grouped(account.of_class(Class::Lost)),
            grouped(account.filled),
            grouped(account.unknown),
        );
        let lost = || account.verdicts.iter().filter(|(_, verdict)| verdict.class == Class::Lost);
        for (index, verdict) in lost().take(SHOWN_MAX) {
            let sha256 = verdict.sha256.map_or_else(|| "-".to_owned(), |sha256| to_hex(&sha256));
            text += &format!("    lost {:>15}  {sha256}\n", grouped(*index));
        }
        let more = lost().count().saturating_sub(SHOWN_MAX);
        if more > 0 {
            text += &format!("    and {more} more; --format json has them all\n");
        }
    }
    text
}
