//! `coverage` and `fill`: what the lake has of logs, and how it gets the rest.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use ct_model::Coverage;
use ct_sinks::Store;
use ct_sinks::lake::Lake;
use ct_source::{Segment, logs};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::open;
use crate::cli::{CoverageArgs, FillArgs, Format};
use crate::cluster::exit::Exit;
use crate::config::{Config, LogsConfig};
use crate::fail::{self, Failure};
use crate::job::{Source, batch, runtime};
use crate::live;
use crate::stretches::{Stretches, count, merged, without};
use crate::summary::{self, grouped, printable};

/// What the lake has of one log.
#[derive(Default)]
pub(super) struct Held {
    pub(super) held: Stretches,
    verified: Stretches,
    /// Of the newest tree head that the lake knows, or the log itself.
    size: u64,
    head_ms: Option<i64>,
    /// Why the log could not be asked.
    error: Option<String>,
}

impl Held {
    /// What is between the first entry that is held and the newest that is signed, and not in the lake.
    fn missing(&self) -> Stretches {
        let from = self.held.first().map_or(self.size, |(first, _)| *first);
        without((from, self.size), &self.held)
    }
}

/// Says what the lake has of each log. Logs that contradict the lake are not this command's to find.
pub fn coverage(args: &CoverageArgs) -> Result<Exit, Failure> {
    let (config, lake) = open(&args.common)?;
    let mut logs = held(&lake)?;
    if args.log_list.is_some() || config.logs.any() {
        let config = with_list(&config.logs, args.log_list.as_ref());
        let runtime = runtime()?;
        let known = live::logs(&config, BTreeMap::new()).map_err(Failure::usage)?;
        for (name, head) in runtime.block_on(known.heads())? {
            let log = logs.entry(name).or_default();
            match head {
                Ok(head) if head.size >= log.size => {
                    (log.size, log.head_ms) = (head.size, i64::try_from(head.timestamp_ms).ok());
                }
                Ok(_) => {}
                Err(error) => log.error = Some(error),
            }
        }
    }
    let now_ms = i64::try_from(live::now_ms()).unwrap_or(i64::MAX);
    let text = match args.format {
        Format::Json => {
            let rows: Vec<Value> = logs.iter().map(|(name, log)| row(name, log, now_ms)).collect();
            format!("{}\n", Value::Array(rows))
        }
        Format::Text => table(&logs, now_ms),
    };
    summary::print(&text).context("writing the report")?;
    Ok(Exit::Done)
}

fn row(name: &str, log: &Held, now_ms: i64) -> Value {
    let list = |stretches: &[(u64, u64)]| -> Value {
        stretches.iter().map(|(first, end)| json!([first, end - 1])).collect::<Vec<_>>().into()
    };
    json!({
        "log": name,
        "tree_size": log.size,
        "head_age_s": log.head_ms.map(|at| (now_ms - at).max(0) as f64 / 1e3),
        "held": count(&log.held),
        "verified": count(&log.verified),
        "missing": count(&log.missing()),
        "behind": log.size.saturating_sub(log.held.last().map_or(log.size, |(_, end)| *end)),
        "held_ranges": list(&log.held),
        "verified_ranges": list(&log.verified),
        "missing_ranges": list(&log.missing()),
        "error": log.error,
    })
}

fn table(logs: &BTreeMap<String, Held>, now_ms: i64) -> String {
    if logs.is_empty() {
        return "the lake holds nothing of any log; `run` with a log list, or `fill`, reads them\n".to_owned();
    }
    let mut text = format!(
        "{:<44} {:>15} {:>15} {:>13} {:>13} {:>10}\n",
        "log", "held", "verified", "missing", "tree size", "head age"
    );
    for (name, log) in logs {
        let age = log
            .head_ms
            .map_or_else(|| "-".to_owned(), |at| format!("{} s", grouped((now_ms - at).max(0) as u64 / 1_000)));
        text += &format!(
            "{:<44} {:>15} {:>15} {:>13} {:>13} {:>10}\n",
            printable(name),
            grouped(count(&log.held)),
            grouped(count(&log.verified)),
            grouped(count(&log.missing())),
            grouped(log.size),
            age
        );
        for (first, end) in log.missing().iter().take(MISSING_SHOWN) {
            text += &format!("    missing {} to {}\n", grouped(*first), grouped(end - 1));
        }
        let more = log.missing().len().saturating_sub(MISSING_SHOWN);
        if more > 0 {
            text += &format!("    and {more} more; --format json has them all\n");
        }
        if let Some(error) = &log.error {
            text += &format!("    cannot be asked: {}\n", printable(error));
        }
    }
    text
}

/// Stretches that are shown of a log.
const MISSING_SHOWN: usize = 5;

/// Reads from logs what is missing, or a range. Logs that do not answer are told of when the others are read.
pub fn fill(args: &FillArgs) -> Result<Exit, Failure> {
    let range = args.range.as_deref().map(parse_range).transpose().map_err(Failure::usage)?;
    let mut failed = Vec::new();
    let exit = batch(&args.batch, |config, runtime| {
        let config_of_logs = with_list(&config.logs, args.log_list.as_ref());
        let lake = Lake::open(Store::open(&config.lake.url, runtime.handle().clone())?);
        let held = held(&lake)?;
        let found = find(&config_of_logs, &args.logs, runtime, &|name, size| match range {
            Some((first, last)) => without((first, last.map_or(size, |last| last.saturating_add(1)).min(size)), &[]),
            None => held
                .get(name)
                .map_or_else(Vec::new, |log| Held { size, held: log.held.clone(), ..Held::default() }.missing()),
        })?;
        failed = found.failed;
        source(config, &config_of_logs, found.segments)
    })?;
    for (log, why) in &failed {
        fail::report(&anyhow!("{log} cannot be asked: {why}"));
    }
    Ok(if exit == Exit::Done && !failed.is_empty() { Exit::Input } else { exit })
}

/// Segments for what is wanted of the logs whose names have one of the texts in `named`, or of all.
pub(super) fn find(
    config: &LogsConfig,
    named: &[String],
    runtime: &Runtime,
    wanted: logs::Wanted<'_>,
) -> Result<logs::Found, Failure> {
    if !config.any() {
        return Err(Failure::usage(anyhow!("no logs: name a list with --log-list or logs.list")));
    }
    let mut config = config.clone();
    config.only.extend(named.iter().cloned());
    let logs = live::logs(&config, BTreeMap::new()).map_err(Failure::usage)?;
    Ok(runtime.block_on(logs.stretches(wanted))?)
}

/// Stretches of logs as the input of a job. Its processes share the budgets of operators.
pub(super) fn source(config: &Config, logs: &LogsConfig, segments: Vec<Segment>) -> Result<Source, Failure> {
    let (processes, most) = (config.cluster.processes, logs.requests_max);
    if processes > most {
        return Err(Failure::usage(anyhow!(
            "cluster.processes (-n) {processes}: logs.requests_max has {most} requests, one for each process at least"
        )));
    }
    Ok(Source::Segments { feed: ct_source::logs::FEED.to_owned(), segments, logs: Some(live::access(logs)) })
}

/// `FIRST-LAST` or `FIRST-`.
fn parse_range(text: &str) -> Result<(u64, Option<u64>)> {
    let bad = || anyhow!("--range {text}: FIRST-LAST, or FIRST- up to the newest entry");
    let (first, last) = text.split_once('-').ok_or_else(bad)?;
    let first = first.parse().map_err(|_| bad())?;
    let last = if last.is_empty() { None } else { Some(last.parse().map_err(|_| bad())?) };
    if last.is_some_and(|last| last < first) { Err(bad()) } else { Ok((first, last)) }
}

pub(super) fn with_list(config: &LogsConfig, list: Option<&String>) -> LogsConfig {
    LogsConfig { list: list.or(config.list.as_ref()).cloned(), ..config.clone() }
}

pub(super) fn held(lake: &Lake) -> Result<BTreeMap<String, Held>> {
    let mut logs: BTreeMap<String, Held> = BTreeMap::new();
    for Coverage { log, first, last, tree_size, head_at, verified, .. } in lake.coverage()? {
        let log = logs.entry(log.to_string()).or_default();
        log.held.push((first, last + 1));
        if verified {
            log.verified.push((first, last + 1));
        }
        if tree_size >= log.size {
            (log.size, log.head_ms) = (tree_size, Some(head_at.millis()));
        }
    }
    for log in logs.values_mut() {
        (log.held, log.verified) = (merged(&log.held), merged(&log.verified));
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("5-9").unwrap(), (5, Some(9)));
        assert_eq!(parse_range("5-").unwrap(), (5, None));
        for bad in ["", "5", "-5", "9-5", "a-b", "1-2-3"] {
            assert!(parse_range(bad).unwrap_err().to_string().contains("FIRST-LAST"), "{bad}");
        }
    }
}
