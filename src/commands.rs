//! The commands that run no job: verify, check, hot, rebuild-hot, views, modules.

mod audit;
mod check;
mod logs;
mod tools;

use anyhow::{Context, Result};
use ct_dataflows::modules::{MODULES, OptionKind};
use ct_dataflows::views::watch_list;
use ct_model::id;
use ct_sinks::Store;
use ct_sinks::hot::{HotState, Stats, VIEW_STATE, rebuild, redacted};
use ct_sinks::lake::{Lake, Verified};
use serde_json::{Map, Value, json};

use crate::cli::{CommonArgs, Format, HotArgs, HotQuery, ModulesArgs, RebuildHotArgs, VerifyArgs, ViewsArgs};
use crate::cluster::exit::Exit;
use crate::config::Config;
use crate::fail::Failure;
use crate::job::{open_hot, runtime};
use crate::summary::{self, grouped, printable};
use crate::telemetry;
use crate::views;

pub use audit::audit;
pub use check::check;
pub use logs::{coverage, fill};
pub use tools::{lint, rules, score};

/// Prints a line for each fault of the lake; a lake with faults ends with exit code 1.
pub fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let (config, lake) = open(&args.common)?;
    let mut faults = Vec::new();
    let mut written = Ok(());
    let verified = lake.verify(&mut |fault| {
        if args.format == Format::Text && written.is_ok() {
            written = summary::print(&format!("{}\n", printable(&fault.to_string())));
        }
        faults.push(fault.to_string());
    })?;
    written.context("writing the report")?;
    let verdict = match args.format {
        Format::Text if faults.is_empty() => {
            format!("{}: proven, {}\n", printable(&config.lake.url), told(&verified))
        }
        Format::Text => format!("{}: {} faults; {}\n", printable(&config.lake.url), faults.len(), told(&verified)),
        Format::Json => format!(
            "{}\n",
            json!({
                "lake": config.lake.url, "faults": faults,
                "manifests": verified.manifests, "files": verified.files, "rows": verified.rows, "bytes": verified.bytes,
                "again": verified.again,
            })
        ),
    };
    summary::print(&verdict).context("writing the report")?;
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Failed })
}

fn told(verified: &Verified) -> String {
    let Verified { manifests, files, rows, bytes, again, .. } = verified;
    let (manifests, files, rows) = (grouped(*manifests), grouped(*files), grouped(*rows));
    let again = match again {
        0 => String::new(),
        again => format!(", {} of them came again beyond the horizon of dedup", grouped(*again)),
    };
    format!("{manifests} manifests, {files} files, {rows} rows{again}, {}", summary::bytes(*bytes))
}

/// Empties hot state and builds it from the lake.
pub fn rebuild_hot(args: &RebuildHotArgs) -> Result<Exit, Failure> {
    let (config, lake) = open(&args.common)?;
    let Some(state) = open_hot(&config.hot, &lake)? else {
        return Err(Failure::usage(anyhow::anyhow!("--hot none: there is no hot state to build")));
    };
    // Embedded state has one writer. A server takes several, so there a job may go on; without one, what a killed job
    // left half published is published first.
    let is_embedded = config.hot.url == "embedded";
    let lock = match lake.lock() {
        Err(error) if is_embedded || !error.is_fenced() => return Err(error.into()),
        lock => lock.ok().flatten(),
    };
    if lock.is_some() {
        lake.recover()?;
    }
    let _lock = lock.filter(|_| is_embedded);
    let manifests = rebuild(&lake, state)?;
    if config.views.enabled
        && let Some(mut state) = open_hot(&config.hot, &lake)?
    {
        views::rebuild(&lake, &config.views, state.as_mut())?;
    }
    let (hot, lake) = (redacted(&config.hot.url), redacted(&config.lake.url));
    let text = format!("{}: built from {} manifests of {}\n", printable(&hot), grouped(manifests), printable(&lake));
    summary::print(&text).context("writing the report")?;
    Ok(Exit::Done)
}

/// Computes the live views from the lake.
pub fn views(args: &ViewsArgs) -> Result<Exit, Failure> {
    let (mut config, lake) = open(&args.common)?;
    let views = &mut config.views;
    views.horizon_s = args.horizon_s.unwrap_or(views.horizon_s);
    views.top = args.top.unwrap_or(views.top);
    views.watch_file = args.watch_file.clone().or(views.watch_file.take());
    views.check().map_err(Failure::usage)?;
    let values = views::compute(&lake, views)?;
    summary::print(&format!("{}\n", views::document(&values))).context("writing the views")?;
    Ok(Exit::Done)
}

pub fn modules(args: &ModulesArgs) -> Result<Exit, Failure> {
    let text = match args.format {
        Format::Json => {
            let list: Vec<Value> = MODULES
                .iter()
                .map(|module| {
                    let options: Vec<Value> = module
                        .options
                        .iter()
                        .map(|option| {
                            json!({ "name": option.name, "kind": kind(&option.kind), "default": option.default, "doc": option.doc })
                        })
                        .collect();
                    json!({ "name": module.name, "by_default": module.by_default, "doc": module.doc, "options": options })
                })
                .collect();
            format!("{}\n", Value::Array(list))
        }
        Format::Text => {
            let mut text = String::new();
            for module in MODULES {
                let off = if module.by_default { "" } else { " (off unless named)" };
                text += &format!("{}{off}\n    {}\n", module.name, module.doc);
                for option in module.options {
                    text += &format!(
                        "    modules.{}.{} ({}, default {})\n        {}\n",
                        module.name,
                        option.name,
                        kind(&option.kind),
                        option.default,
                        option.doc
                    );
                }
                text.push('\n');
            }
            text
        }
    };
    summary::print(&text).context("writing the list")?;
    Ok(Exit::Done)
}

/// The kind of an option, for people.
fn kind(kind: &OptionKind) -> String {
    match kind {
        OptionKind::Bool => "true or false".to_owned(),
        OptionKind::Integer { min, max } => format!("{min} to {max}"),
        OptionKind::Choice(words) => words.join(" or "),
        OptionKind::List => "list".to_owned(),
        OptionKind::Fraction => "0 to 1".to_owned(),
        OptionKind::File => "text; NAME_file names a file".to_owned(),
        OptionKind::Files => "list of {file, text}; NAME_file names files or folders".to_owned(),
    }
}

pub fn hot(args: &HotArgs) -> Result<Exit, Failure> {
    let (config, lake) = open(&args.common)?;
    let Some(mut state) = open_hot(&config.hot, &lake)? else {
        return Err(Failure::usage(anyhow::anyhow!("--hot none: there is no hot state to look into")));
    };
    let query = checked(&args.query)?;
    let (text, found) = answer(state.as_mut(), &query, args.format)?;
    summary::print(&text).context("writing the answer")?;
    Ok(if found { Exit::Done } else { Exit::Failed })
}

/// What is printed, and whether it says anything.
fn answer(state: &mut dyn HotState, query: &HotQuery, format: Format) -> Result<(String, bool)> {
    let answer = ask(state, query)?;
    let found = !answer.is_null() && answer.as_array().is_none_or(|rows| !rows.is_empty());
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Text if !found && is_empty(state)? => {
            "there is no hot state yet: a job on this lake makes it\n".to_owned()
        }
        Format::Text => table(&answer),
    };
    Ok((text, found))
}

/// Nothing was applied since hot state was begun, or it never was.
fn is_empty(state: &mut dyn HotState) -> Result<bool> {
    Ok(state.state()?.get("published").is_none_or(|published| published == "0"))
}

/// The query with its fingerprint or name in the form that hot state has.
fn checked(query: &HotQuery) -> Result<HotQuery, Failure> {
    Ok(match query {
        HotQuery::Cert { sha256 } => {
            let mut bytes = [0; 32];
            id::from_hex(sha256, &mut bytes)
                .with_context(|| format!("\"{sha256}\" is no SHA-256: 64 hex digits, colons allowed"))
                .map_err(Failure::usage)?;
            HotQuery::Cert { sha256: id::to_hex(&bytes) }
        }
        HotQuery::Domain { name } => HotQuery::Domain { name: name.trim_end_matches('.').to_ascii_lowercase() },
        HotQuery::Watch { item } => {
            let items = watch_list(item).with_context(|| format!("\"{item}\"")).map_err(Failure::usage)?;
            let [item] = items.as_slice() else {
                return Err(Failure::usage(anyhow::anyhow!("\"{item}\" is not one item of a watch list")));
            };
            HotQuery::Watch { item: item.text().into() }
        }
        other => other.clone(),
    })
}

fn ask(state: &mut dyn HotState, query: &HotQuery) -> Result<Value> {
    Ok(match query {
        HotQuery::Cert { sha256 } => state.cert(sha256)?.map_or(Value::Null, |row| json!(row)),
        HotQuery::Domain { name } => {
            let certificates = state.domain(name)?;
            certificates.into_iter().map(|(sha256, seen_ms)| json!({ "sha256": sha256, "seen_ms": seen_ms })).collect()
        }
        HotQuery::Findings { limit } => {
            let findings = state.findings(*limit)?;
            findings
                .into_iter()
                .map(|finding| {
                    let mut row = Map::from_iter([("place".to_owned(), finding.place.into())]);
                    if let Value::Object(columns) = json!(finding.row) {
                        row.extend(columns);
                    }
                    Value::Object(row)
                })
                .collect()
        }
        HotQuery::Views if state.view(VIEW_STATE)?.is_none() => Value::Null,
        HotQuery::Views => views::document(&views::of_hot_state(state)?),
        HotQuery::Top { dimension } => {
            let top = state.view(&views::top_key(dimension.as_str()))?;
            top.as_ref().map_or_else(|| json!([]), views::ranks)
        }
        HotQuery::Watch { item } => {
            let found = state.view(&views::item_key(item))?;
            found.as_ref().map_or_else(|| json!([]), views::matches)
        }
        HotQuery::Stats if is_empty(state)? => Value::Null,
        HotQuery::Stats => {
            let mut stats = Map::new();
            for name in Stats::NAMES {
                stats.insert(name.to_owned(), json!(state.stats(name)?));
            }
            Value::Object(stats)
        }
    })
}

/// Values as lines of text, without a control character: names in certificates are not to be trusted.
fn table(answer: &Value) -> String {
    let mut text = String::new();
    match answer {
        Value::Null => text += "not in hot state\n",
        Value::Array(rows) if rows.is_empty() => text += "nothing\n",
        Value::Array(rows) => {
            for row in rows {
                text += &lines(row, 0);
                text.push('\n');
            }
        }
        other => text += &lines(other, 0),
    }
    text
}

fn lines(value: &Value, indent: usize) -> String {
    let Value::Object(fields) = value else { return printable(&value.to_string()) };
    // Issuers are keys of the statistics: names are no more to be trusted than values.
    let fields: Vec<(String, &Value)> = fields.iter().map(|(name, value)| (printable(name), value)).collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in fields {
        match value {
            Value::Object(_) => text += &format!("{name}\n{}", lines(value, indent + 2)),
            Value::String(value) => text += &format!("{:indent$}{name:<width$}  {}\n", "", printable(value)),
            value => text += &format!("{:indent$}{name:<width$}  {}\n", "", printable(&value.to_string())),
        }
    }
    text
}

/// The folder of a local lake.
fn local_path(url: &str) -> Option<&str> {
    url.strip_prefix("file://").or(Some(url).filter(|url| !url.contains("://")))
}

fn open(common: &CommonArgs) -> Result<(Config, Lake), Failure> {
    let config = Config::load(common).map_err(Failure::usage)?;
    telemetry::start(config.log.level, config.log.format);
    let runtime = runtime()?;
    let url = &config.lake.url;
    let local = local_path(url);
    if let Some(path) = local
        && !std::path::Path::new(path).join("_ct").is_dir()
    {
        return Err(Failure::usage(anyhow::anyhow!("{url} is no lake: there is no folder _ct in it (--lake)")));
    }
    let lake = Lake::open(Store::open(url, runtime.handle().clone())?);
    Ok((config, lake))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_hot_state_every_answer_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lake = Lake::open(Store::open(folder.path().to_str().unwrap(), runtime.handle().clone()).unwrap());
        let mut state = ct_sinks::hot::open("embedded", &lake, Default::default()).unwrap().unwrap();
        for begun in [false, true] {
            if begun {
                state.reset("ab").unwrap();
            }
            for query in [HotQuery::Stats, HotQuery::Findings { limit: 9 }, HotQuery::Cert { sha256: "0".repeat(64) }] {
                let (text, found) = answer(state.as_mut(), &query, Format::Text).unwrap();
                assert!(!found && text.starts_with("there is no hot state yet"), "{query:?}: {text}");
            }
            assert_eq!(answer(state.as_mut(), &HotQuery::Stats, Format::Json).unwrap(), ("null\n".to_owned(), false));
        }
    }
}
