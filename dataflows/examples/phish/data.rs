//! The labelled names: where they come from, what is left out, and how they are split.

use std::collections::{HashMap, HashSet};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::process::Command;

use ct_dataflows::modules::phish::features::Parts;

/// A list of names.
pub(crate) struct List {
    pub name: &'static str,
    file: &'static str,
    pub phishing: bool,
    /// The list whose mass it shares: two slices of one list are one source.
    pub source: usize,
    /// What the names of a source weigh together in training.
    pub mass: f64,
}

const fn list(name: &'static str, file: &'static str, phishing: bool, source: usize, mass: f64) -> List {
    List { name, file, phishing, source, mass }
}

/// The index of a list is its id below. Licences: Phishing.Database and the bounty list MIT, streamingphish and
/// polkadot Apache-2.0, the popular lists (MISP warning lists) and the government's CC0.
pub(crate) const LISTS: &[List] = &[
    list("phishdb", "detect/phishdb.tsv", true, 0, 12_000.0),
    list("phishdb-2", "domains/phishing__phishing_database_active2.txt.zst", true, 0, 0.0),
    list("streamingphish", "domains/phishing__streamingphish_malicious.txt.zst", true, 2, 3_000.0),
    list("polkadot", "domains/phishing__polkadot_deny.txt.zst", true, 3, 6_000.0),
    list("streamingphish-benign", "domains/benign__streamingphish_benign.txt.zst", false, 4, 3_000.0),
    list("umbrella", "domains/popular__cisco_umbrella_top20k.txt.zst", false, 5, 5_000.0),
    list("radar", "domains/popular__cloudflare_radar_top100k.txt.zst", false, 6, 20_000.0),
    list("tranco", "domains/popular__tranco10k.txt.zst", false, 7, 5_000.0),
    list("majestic", "domains/popular__majestic_million.txt.zst", false, 8, 5_000.0),
    list("alexa", "domains/popular__alexa.txt.zst", false, 9, 1_000.0),
    list("bounty", "domains/hostnames__bounty_domains.txt.zst", false, 10, 20_000.0),
    list("gov-pulse", "domains/hostnames__gov_pulse_subdomains.txt.zst", false, 11, 1_500.0),
    list("gov-censys", "domains/hostnames__gov_censys_cert_hosts.txt.zst", false, 12, 1_500.0),
    list("gov-eot", "domains/hostnames__gov_eot2016.txt.zst", false, 13, 3_000.0),
    list("gov-other", "domains/hostnames__gov_other.txt.zst", false, 14, 1_500.0),
];

pub(crate) struct Row {
    pub name: String,
    pub domain: String,
    pub list: usize,
    pub phishing: bool,
    /// Below [`FOLDS`], the same for all names of a registered domain.
    pub fold: u64,
}

pub(crate) const FOLDS: u64 = 5;

/// All names, each once a list, in the order of the lists; without names below a platform's suffix if they are
/// phishing (they show up in no log), and without names that are in lists of both kinds.
pub(crate) fn load(root: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut platforms: HashMap<String, usize> = HashMap::new();
    for (id, list) in LISTS.iter().enumerate() {
        let path = root.join(list.file);
        let text = read(&path).map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let mut seen = HashSet::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let name = fields[fields.len() - 1].trim().to_ascii_lowercase();
            let parts = Parts::of(&name);
            if fields.get(1) == Some(&"phishdb-platform") {
                if parts.suffix().contains('.') {
                    *platforms.entry(parts.suffix().to_owned()).or_default() += 1;
                }
                continue;
            }
            // An address, or nothing that anybody could have registered.
            if parts.domain().is_empty() || !seen.insert(parts.name.to_owned()) {
                continue;
            }
            rows.push(Row {
                name: parts.name.to_owned(),
                domain: parts.domain().to_owned(),
                list: id,
                phishing: list.phishing,
                fold: fold(parts.domain()),
            });
        }
    }
    let is_platform = |row: &Row| platforms.get(Parts::of(&row.name).suffix()).is_some_and(|names| *names > 1);
    rows.retain(|row| !(row.phishing && row.list > 0 && is_platform(row)));
    let names = |phishing| rows.iter().filter(|row| row.phishing == phishing).map(|row| row.name.clone()).collect();
    let (bad, good): (HashSet<String>, HashSet<String>) = (names(true), names(false));
    rows.retain(|row| !(bad.contains(&row.name) && good.contains(&row.name)));
    Ok(rows)
}

/// A list on its own, `.zst` unpacked by the program zstd.
fn read(path: &Path) -> Result<String> {
    if path.extension().is_none_or(|extension| extension != "zst") {
        return std::fs::read_to_string(path);
    }
    let output = Command::new("zstd").arg("-dqc").arg(path).output();
    let output = output.map_err(|error| Error::new(error.kind(), format!("the program zstd: {error}")))?;
    if !output.status.success() {
        return Err(Error::other(format!("zstd: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// FNV-1a, so that the split is the same everywhere.
fn fold(domain: &str) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    domain.bytes().fold(0xcbf2_9ce4_8422_2325, hash) % FOLDS
}
