//! `check`: what a job would be, and whether everything it needs can be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ct_dataflows::modules::Modules;
use ct_sinks::Store;
use ct_sinks::hot::{HotOptions, open_server, redacted};
use ct_sinks::lake::Lake;
use ct_source::certstream::Feed;
use ct_source::logs::Logs;
use tokio::runtime::Runtime;

use super::local_path;
use super::tools::rule_set;
use crate::cli::CheckArgs;
use crate::cluster::exit::Exit;
use crate::config::{Config, HotConfig, ViewsConfig};
use crate::fail::{self, Failure};
use crate::job::{open_hot, random_id, runtime};
use crate::live;
use crate::summary::{self, printable};
use crate::telemetry;
use crate::views::read_items;

/// For the handshake with a feed.
const FEED_WAIT: Duration = Duration::from_secs(10);
/// For the few calls to the lake's store, which tries again by itself for minutes.
const LAKE_WAIT: Duration = Duration::from_secs(30);

/// Prints what a job with these flags would be, and with `--connect` tries what it would connect to.
pub fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let config = Config::load(&args.common).and_then(|config| config.with_job(&args.job)).map_err(Failure::usage)?;
    let (modules, options) = config.modules().map_err(Failure::usage)?;
    Modules::prepare(&modules, &options).map_err(Failure::usage)?;
    let feeds = config.feeds.iter().map(|feed| Ok((printable(&feed.name), live::feed(feed)?)));
    let feeds: Vec<(String, Feed)> = feeds.collect::<Result<_>>().map_err(Failure::usage)?;
    http_addr(&config.http.addr).map_err(Failure::usage)?;
    let logs = config.logs.any().then(|| live::logs(&config.logs, BTreeMap::new())).transpose();
    let logs = logs.map_err(Failure::usage)?;
    let mut text = told(&config, &modules, &feeds);
    text += &views_told(&config.views).map_err(Failure::usage)?;
    for warning in rule_set(&options).map_err(Failure::usage)?.warnings() {
        text += &format!("warning   {}\n", printable(warning));
    }
    summary::print(&text).context("writing the report")?;
    if !args.connect {
        return Ok(Exit::Done);
    }
    telemetry::start(config.log.level, config.log.format);
    Ok(if all_connect(&config, feeds, logs)? { Exit::Done } else { Exit::Failed })
}

fn told(config: &Config, modules: &[String], feeds: &[(String, Feed)]) -> String {
    let mut text = format!(
        "lake      {}{}\nhot       {}\ncluster   {} x {} workers\nmodules   {}\nbuffer    {} MiB a process\n",
        printable(&redacted(&config.lake.url)),
        if config.lake.der { ", with DER" } else { "" },
        printable(&redacted(&config.hot.url)),
        config.cluster.processes,
        config.cluster.workers,
        modules.join(", "),
        config.lake.buffer_mb,
    );
    for (name, feed) in feeds {
        text += &format!("feed      {name}  {}\n", feed.url());
    }
    let (list, singles) = (config.logs.list.as_ref(), config.logs.log.iter().map(|log| &log.url));
    for place in list.into_iter().chain(singles) {
        text += &format!("logs      {}\n", printable(place));
    }
    let journal = printable(&config.journal.dir.display().to_string());
    text + &format!("journal   {journal}\nhttp      {}\n", printable(&config.http.addr))
}

/// Nothing where there are no views. A watch list that cannot be read is an error.
fn views_told(config: &ViewsConfig) -> Result<String> {
    let items = config.watch_file.as_deref().map(read_items).transpose()?;
    if !config.enabled {
        return Ok(String::new());
    }
    let watched = items.map(|items| format!(", {} items watched", items.len())).unwrap_or_default();
    let ViewsConfig { horizon_s, top, certificates_max, .. } = config;
    Ok(format!("views     {horizon_s} s, top {top}, {certificates_max} certificates at most{watched}\n"))
}

fn http_addr(addr: &str) -> Result<Option<SocketAddr>> {
    match addr {
        "none" => Ok(None),
        addr => addr.parse().map(Some).with_context(|| format!("http.addr: {addr}: not HOST:PORT or none")),
    }
}

/// A line for each of feeds, logs, lake and hot state; whether all are well.
fn all_connect(config: &Config, feeds: Vec<(String, Feed)>, logs: Option<Logs>) -> Result<bool> {
    let runtime = runtime()?;
    let attempts: Vec<_> = feeds.into_iter().map(|(name, feed)| (name, runtime.spawn(feed.probe(FEED_WAIT)))).collect();
    let mut all = true;
    for (name, attempt) in attempts {
        all &= say("feed", &name, runtime.block_on(attempt)?.map_err(anyhow::Error::from))?;
    }
    if let Some(logs) = logs {
        match runtime.block_on(logs.heads()) {
            Err(error) => all &= say("logs", "list", Err(error.into()))?,
            Ok(heads) => {
                for (name, head) in heads {
                    all &= say("log", &printable(&name), head.map(drop).map_err(|why| anyhow!(why)))?;
                }
            }
        }
    }
    let lake = lake(&config.lake.url, runtime);
    let hot = match (config.hot.url.as_str(), &lake) {
        ("none", _) => None,
        ("embedded", Err(_)) => Some(Err(anyhow!("it is in the lake"))),
        ("embedded", Ok(None)) => Some(Ok(())),
        ("embedded", Ok(Some(lake))) => Some(embedded(config, lake)),
        _ => Some(server(config)),
    };
    all &= say("lake", &printable(&redacted(&config.lake.url)), lake.map(drop))?;
    if let Some(hot) = hot {
        all &= say("hot", &printable(&redacted(&config.hot.url)), hot)?;
    }
    Ok(all)
}

/// Says how one attempt ended.
fn say(kind: &str, name: &str, ended: Result<()>) -> Result<bool> {
    let is_well = ended.is_ok();
    let verdict = ended.map_or_else(|error| fail::line_of(&error), |()| "ok".to_owned());
    summary::print(&format!("{kind} {name}: {verdict}\n")).context("writing the report")?;
    Ok(is_well)
}

/// Tries the lake's store; `None` for a local lake that is yet to be made, which is not made here.
fn lake(url: &str, runtime: &'static Runtime) -> Result<Option<Lake>> {
    if let Some(path) = local_path(url)
        && !Path::new(path).join("_ct").is_dir()
    {
        let wanted = std::path::absolute(path).with_context(|| path.to_owned())?;
        let there = wanted.ancestors().find(|folder| folder.exists()).unwrap_or(&wanted);
        tempfile::tempfile_in(there).with_context(|| format!("making a file in {}", there.display()))?;
        return Ok(None);
    }
    let lake = Lake::open(Store::open(url, runtime.handle().clone())?);
    let name = format!("check-{}", random_id()?);
    let (out, done) = std::sync::mpsc::channel();
    let tried = lake.clone();
    // A store that does not answer is left alone with its thread: the process ends soon.
    std::thread::spawn(move || out.send(tried.try_out(&name)));
    done.recv_timeout(LAKE_WAIT).with_context(|| format!("no answer within {} s", LAKE_WAIT.as_secs()))??;
    Ok(Some(lake))
}

fn embedded(config: &Config, lake: &Lake) -> Result<()> {
    Ok(open_hot(&config.hot, lake)?.map_or(Ok(()), |mut state| state.try_out())?)
}

fn server(config: &Config) -> Result<()> {
    let HotConfig { url, prefix, timeout_ms, .. } = &config.hot;
    let timeout = Duration::from_millis(*timeout_ms);
    Ok(open_server(url, HotOptions { prefix: prefix.clone(), timeout, ..HotOptions::default() })?.try_out()?)
}
