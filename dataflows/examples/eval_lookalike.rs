//! How well module `lookalike` finds look-alikes, and at what cost.
//!
//! `CT_STREAM_DATA=DIR eval_lookalike [--errors CLASS]` reads `DIR/detect/brands.txt` (a watched domain a line),
//! `DIR/detect/brands.tsv` (label, generator:class or list, brand, host) and `DIR/domains/*.txt` (a host a line; made
//! with `zstd -d`). Brands are parted by the low bit of the FNV-1a hash of their domain: "tuned" are those whose misses
//! were looked at, "held out" the others. Every host is looked at with all brands watched, and a look-alike is found if
//! the brand it was made from is named. Prints misses and false alarms of the tuned half with `--errors`.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not an operator")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use ct_dataflows::modules::{Lookalike, Options};
use serde_json::{Value, json};

/// The best counts.
const PASSES: usize = 15;

struct Row {
    is_lookalike: bool,
    source: String,
    brand: String,
    host: String,
}

/// Found, right class and all.
#[derive(Clone, Copy, Default)]
struct Count {
    found: u32,
    right: u32,
    all: u32,
}

impl Count {
    fn add(&mut self, found: bool, right: bool) {
        self.all += 1;
        self.found += u32::from(found);
        self.right += u32::from(right);
    }

    fn share(part: u32, of: u32) -> String {
        if of == 0 { "-".to_owned() } else { format!("{:.3}", f64::from(part) / f64::from(of)) }
    }
}

fn is_tuned(brand: &str) -> bool {
    let hash = brand
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash & 1 == 0
}

/// The classes that are right for a generator's class. Empty where it says nothing of one.
fn right_classes(source: &str) -> &'static [&'static str] {
    const REPLACED: &[&str] = &["replacement", "keyboard", "bit-flip", "vowel-swap", "homoglyph"];
    const ADDED: &[&str] = &["addition", "repetition", "plural"];
    match source {
        "dnstwist:homoglyph" | "dnstwist:cyrillic" | "ail:homoglyph" => &["homoglyph"],
        "dnstwist:omission" | "ail:omission" => &["omission"],
        "dnstwist:repetition" | "ail:repetition" => &["repetition"],
        "dnstwist:addition" | "dnstwist:insertion" | "ail:addition" => ADDED,
        "dnstwist:replacement" | "dnstwist:bitsquatting" | "ail:replacement" => REPLACED,
        "dnstwist:vowel-swap" | "ail:vowelSwap" => &["vowel-swap", "homoglyph"],
        "dnstwist:transposition" => &["transposition"],
        "dnstwist:hyphenation" | "ail:addDash" => &["hyphenation"],
        "dnstwist:subdomain" | "ail:subdomain" => &["subdomain-split"],
        "dnstwist:tld-swap" | "ail:wrongTld" => &["tld-swap"],
        "ail:addTld" => &["tld-added"],
        "dnstwist:plural" => ADDED,
        "ail:singularPluralize" => &["plural"],
        "ail:missingDot" | "ail:changeDotDash" | "dnstwist:various" => &["missing-dot"],
        "ail:changeOrder" => &["moved-letter", "transposition"],
        "ail:doubleReplacement" => &["double-replacement", "addition"],
        "dnstwist:dictionary" | "ours:combo" => &["combosquat"],
        "ours:subdomain-brand" => &["subdomain", "tld-added"],
        _ => &[],
    }
}

/// Where one change can be read in several ways.
fn is_disjoint(source: &str) -> bool {
    !matches!(source, "ail:doubleReplacement" | "dnstwist:plural")
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = std::env::var("CT_STREAM_DATA")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let errors = arguments.iter().position(|argument| argument == "--errors").map(|at| &arguments[at + 1]);
    let brands: Vec<String> = lines(&Path::new(&data).join("detect/brands.txt"))?;
    let lookalike = watching(&brands.iter().map(|brand| json!({"name": brand, "domains": [brand]})).collect())?;
    let rows = rows(&Path::new(&data).join("detect/brands.tsv"))?;

    let mut by_source: BTreeMap<(&str, bool), Count> = BTreeMap::new();
    let mut benign: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut true_alarms, mut false_alarms, mut strong_false) = (0, 0, 0);
    let mut false_by_half = [0, 0];
    for row in &rows {
        let hits = lookalike.look_all(&row.host);
        if row.is_lookalike {
            let hit = hits.iter().find(|hit| hit.brand == row.brand);
            let right = hit.is_some_and(|hit| right_classes(&row.source).contains(&hit.class.as_str()));
            by_source.entry((&row.source, is_tuned(&row.brand))).or_default().add(hit.is_some(), right);
            true_alarms += u32::from(hit.is_some());
            if errors == Some(&row.source) && is_tuned(&row.brand) && !right {
                println!("{} {:?}", row.host, hit.map(|hit| (hit.class, hit.score)));
            }
        } else {
            benign.entry(&row.source).or_default().add(!hits.is_empty(), false);
            false_alarms += u32::from(!hits.is_empty());
            for (half, count) in [true, false].into_iter().zip(&mut false_by_half) {
                *count += u32::from(hits.iter().any(|hit| is_tuned(hit.brand) == half));
            }
            strong_false += u32::from(hits.iter().any(|hit| hit.score >= 0.5));
            if errors == Some(&row.source) {
                for hit in hits.iter().filter(|hit| is_tuned(hit.brand)) {
                    println!("{} {:?} {} {}", row.host, hit.class, hit.brand, hit.score);
                }
            }
        }
    }

    println!("{:<24} {:>6} {:>7} {:>7} {:>7} {:>7}", "class", "rows", "tuned", "held", "recall", "class");
    let sources: Vec<&str> = by_source.keys().map(|(source, _)| *source).collect();
    for source in sources.iter().copied().zip(sources.iter().copied().skip(1).chain([""])).filter(|(a, b)| a != b) {
        print_recall(source.0, &by_source, |known| known == source.0);
    }
    print_recall("all dnstwist (no various)", &by_source, |source| {
        source.starts_with("dnstwist:") && source != "dnstwist:various"
    });
    print_recall("all ail", &by_source, |source| source.starts_with("ail:"));
    print_recall("combo + subdomain-brand", &by_source, |source| source.starts_with("ours:"));
    print_recall("where disjoint", &by_source, is_disjoint);

    println!("\n{:<44} {:>8} {:>8} {:>8}", "benign list", "names", "flagged", "share");
    for (source, count) in &benign {
        println!(
            "{source:<44} {:>8} {:>8} {:>8.5}",
            count.all,
            count.found,
            f64::from(count.found) / f64::from(count.all)
        );
    }
    let all: u32 = benign.values().map(|count| count.all).sum();
    println!("{:<44} {all:>8} {false_alarms:>8} {:>8.5}", "all", f64::from(false_alarms) / f64::from(all));
    println!(
        "{:<44} {all:>8} {strong_false:>8} {:>8.5}",
        "all, score 0.5 or more",
        f64::from(strong_false) / f64::from(all)
    );
    println!("flagged for tuned brands {}, for held-out ones {}", false_by_half[0], false_by_half[1]);
    println!(
        "tuned brands {}, held out {}",
        brands.iter().filter(|brand| is_tuned(brand)).count(),
        brands.iter().filter(|brand| !is_tuned(brand)).count()
    );
    println!("precision on these rows: {}", Count::share(true_alarms, true_alarms + false_alarms));
    let mut files: Vec<_> = fs::read_dir(Path::new(&data).join("domains"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|extension| extension == "txt")) {
        let names = lines(&file.path())?;
        let found = names.iter().filter(|name| lookalike.look(name).is_some()).count();
        let name = file.file_name().to_string_lossy().into_owned();
        println!("{name:<44} {:>8} {found:>8} {:>8.5}", names.len(), found as f64 / names.len() as f64);
    }

    println!();
    let hosts: Vec<&str> = rows.iter().filter(|row| !row.is_lookalike).map(|row| row.host.as_str()).collect();
    let mut fifty: Vec<Value> = brands.iter().map(|brand| json!(brand)).collect();
    let more = hosts
        .iter()
        .filter(|host| host.matches('.').count() == 1 && !host.contains("xn--"))
        .step_by(31)
        .map(|host| json!(host));
    let mut thousand = fifty.clone();
    thousand.extend(more);
    thousand.truncate(1000);
    fifty.extend(thousand.iter().skip(fifty.len()).take(50 - fifty.len()).cloned().collect::<Vec<_>>());
    let (small, large) = (watching(&fifty)?, watching(&thousand)?);
    let owned: std::collections::HashSet<&str> = thousand.iter().filter_map(Value::as_str).collect();
    let is_owned =
        |host: &str| host.match_indices('.').map(|(dot, _)| dot + 1).chain([0]).any(|at| owned.contains(&host[at..]));
    let hosts: Vec<&str> = hosts.into_iter().filter(|host| !is_owned(host)).collect();
    for (brands, lookalike) in [(fifty.len(), &small), (thousand.len(), &large)] {
        let found: usize = hosts.iter().map(|host| lookalike.look_all(host).len()).sum();
        println!("{brands} brands: {found} hits on {} names", hosts.len());
    }
    // In turns, so that what else the machine does falls on both.
    let (mut fast, mut slow) = (0.0_f64, 0.0_f64);
    for _ in 0..PASSES {
        fast = fast.max(rate(&small, &hosts));
        slow = slow.max(rate(&large, &hosts));
    }
    println!(
        "{} brands: {fast:.0} names/s; {} brands: {slow:.0} names/s; ratio {:.2}",
        fifty.len(),
        thousand.len(),
        fast / slow
    );
    Ok(())
}

fn watching(brands: &Vec<Value>) -> Result<Lookalike, Box<dyn Error>> {
    Ok(Lookalike::from_options(&Options::from_iter([("brands".to_owned(), json!(brands))]))?)
}

/// Names a second in one pass.
fn rate(lookalike: &Lookalike, hosts: &[&str]) -> f64 {
    let start = Instant::now();
    let found = hosts.iter().filter(|host| lookalike.look(host).is_some()).count();
    std::hint::black_box(found);
    hosts.len() as f64 / start.elapsed().as_secs_f64()
}

fn print_recall(name: &str, counts: &BTreeMap<(&str, bool), Count>, of: impl Fn(&str) -> bool) {
    let sum = |half: Option<bool>| {
        counts.iter().filter(|((source, tuned), _)| of(source) && half.is_none_or(|half| half == *tuned)).fold(
            Count::default(),
            |sum, (_, count)| Count {
                found: sum.found + count.found,
                right: sum.right + count.right,
                all: sum.all + count.all,
            },
        )
    };
    let (tuned, held, all) = (sum(Some(true)), sum(Some(false)), sum(None));
    println!(
        "{name:<26} {:>6} {:>7} {:>7} {:>7} {:>7}",
        all.all,
        Count::share(tuned.found, tuned.all),
        Count::share(held.found, held.all),
        Count::share(all.found, all.all),
        Count::share(all.right, all.found)
    );
}

fn lines(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn rows(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let row = |line: &String| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [label, source, brand, host] = fields[..] else { return Err(format!("no row: {line:?}")) };
        let is_lookalike = label == "1";
        Ok(Row { is_lookalike, source: source.to_owned(), brand: brand.to_owned(), host: host.to_owned() })
    };
    Ok(lines(path)?.iter().map(row).collect::<Result<_, _>>()?)
}
