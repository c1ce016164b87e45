//! Trains and measures the model of the module `phish`.
//!
//! ```text
//! cargo run --release -p ct-dataflows --example phish -- WHAT
//!
//! weights                the weights file, on standard output
//! popular                the popular domains whose hashes are in it
//! measure                tables on held-out names
//! names                  all names that were read, one a line
//! speed                  names a second on one core
//! score NAME ...         score, level and reasons of names
//! judge NAMES            the shipped model on `label<TAB>name` lines
//! points KEYWORDS NAMES  `points<TAB>name`, as phishing_catcher counts
//! ```
//!
//! NAMES and KEYWORDS are files. The first five read the lists of `data.rs`, in the folder that CT_STREAM_DATA names,
//! and need the program `zstd`.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not a dataflow")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::error::Error;
use std::path::Path;

use ct_dataflows::modules::phish::Phish;
use ct_dataflows::modules::phish::allow::Allow;
use ct_dataflows::modules::phish::keywords::Keywords;
use ct_dataflows::modules::phish::popular::Popular;
use ct_dataflows::modules::{Modules, Subject};
use serde_json::{Value, json};

mod data;
mod measure;
mod train;

use data::{LISTS, Row};
use train::Seen;

/// All names with what the model sees of them.
pub(crate) struct Rows {
    rows: Vec<(Row, Seen)>,
    pub keywords: Keywords,
}

impl Rows {
    fn load() -> Result<Self, Box<dyn Error>> {
        let root = std::env::var("CT_STREAM_DATA").map_err(|_| "CT_STREAM_DATA must name the folder of the lists")?;
        let keywords = Keywords::shipped();
        let rows = data::load(Path::new(&root))?;
        let rows = rows.into_iter().map(|row| (Seen::of(&row.name, &keywords), row)).map(|(seen, row)| (row, seen));
        Ok(Self { rows: rows.collect(), keywords })
    }

    pub(crate) fn select(&self, wanted: impl Fn(&Row) -> bool) -> Vec<(&Row, &Seen)> {
        self.rows.iter().filter(|(row, _)| wanted(row)).map(|(row, seen)| (row, seen)).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().map(|(row, _)| row)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("weights") => {
            let rows = Rows::load()?;
            let mut weights = measure::shipped(&rows);
            let used: BTreeSet<&str> = rows.all().map(|row| LISTS[row.list].name).collect();
            weights.data = used.into_iter().collect::<Vec<_>>().join(", ");
            weights.popular = Popular::of(popular(&rows));
            print!("{}", weights.to_text());
        }
        Some("popular") => popular(&Rows::load()?).iter().for_each(|domain| println!("{domain}")),
        Some("measure") => tables(&Rows::load()?),
        Some("names") => Rows::load()?.all().for_each(|row| println!("{}", row.name)),
        Some("judge") => judge(&std::fs::read_to_string(arguments.next().ok_or("judge what file?")?)?),
        Some("points") => {
            let (Some(keywords), Some(names)) = (arguments.next(), arguments.next()) else {
                return Err("points by what keywords, of what names?".into());
            };
            points(&std::fs::read_to_string(keywords)?, &std::fs::read_to_string(names)?)?;
        }
        Some("score") => {
            let phish = Phish::shipped();
            arguments.for_each(|name| println!("{name}: {:#?}", phish.score(&name)));
        }
        Some("speed") => measure::speed(&Rows::load()?),
        _ => {
            return Err(
                "what to do: weights, popular, measure, names, speed, score NAME ..., judge NAMES or points KEYWORDS NAMES".into()
            );
        }
    }
    Ok(())
}

fn tables(rows: &Rows) {
    for (id, list) in LISTS.iter().enumerate() {
        println!("{:22} {:6} names", list.name, rows.all().filter(|row| row.list == id).count());
    }
    let phishing: Vec<usize> = (0..LISTS.len()).filter(|id| LISTS[*id].phishing).collect();
    println!("\nheld out by registered domain, five folds");
    let judged = measure::held_out(rows, None);
    let cuts = measure::cuts(&judged);
    measure::report(&judged, &phishing, cuts.0);
    println!();
    measure::report_flagged(&judged, cuts, &Allow::built_in(Popular::of(popular(rows))));
    for source in phishing.iter().filter(|id| LISTS[**id].source == **id) {
        println!("\ntrained without {}; other names held out by registered domain", LISTS[*source].name);
        let judged = measure::held_out(rows, Some(*source));
        let lists: Vec<usize> = phishing.iter().copied().filter(|id| LISTS[*id].source == *source).collect();
        measure::report(&judged, &lists, measure::cuts(&judged).0);
    }
}

/// Lines of the shipped model's scores: of each label how many names, and how many reach each level.
fn judge(text: &str) {
    let phish = Phish::shipped();
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (label, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        counts.entry(label).or_default()[phish.score(name).level as usize] += 1;
    }
    for (label, [clear, suspicious, likely]) in counts {
        let all = clear + suspicious + likely;
        println!("{label}: {all} names, {} suspicious, {likely} of them likely", suspicious + likely);
    }
}

/// Every name with the points that the module gives it in the place of phishing_catcher.
fn points(keywords: &str, names: &str) -> Result<(), Box<dyn Error>> {
    let options = json!({"phish": {"compat": "phishing_catcher", "threshold": 0, "keywords": keywords}});
    let modules = Modules::prepare(&["phish".to_owned()], &serde_json::from_value(options)?)?;
    let mut found = Vec::new();
    for name in names.lines() {
        modules.examine(&Subject::names_only(&[name.into()]), &mut found);
    }
    for finding in found {
        let detail: Value = serde_json::from_str(&finding.detail)?;
        println!("{}\t{}", detail["points"], finding.name.unwrap_or_default());
    }
    Ok(())
}

/// The registered domains that stand in three of the popular lists (or more) and have no phishing name, in order.
fn popular(rows: &Rows) -> Vec<&str> {
    let mut lists: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let phishing: HashSet<&str> = rows.all().filter(|row| row.phishing).map(|row| row.domain.as_str()).collect();
    for row in rows.all() {
        if ["umbrella", "radar", "tranco", "majestic", "alexa"].contains(&LISTS[row.list].name) {
            lists.entry(&row.domain).or_default().insert(row.list);
        }
    }
    let is_popular = |domain: &&str, lists: BTreeSet<usize>| lists.len() >= 3 && !phishing.contains(domain);
    lists.into_iter().filter_map(|(domain, lists)| is_popular(&domain, lists).then_some(domain)).collect()
}
