//! What live views cost. Input: certificates of 2.5 names of a registered domain each, half of the domains seen once,
//! every other one a precertificate whose final one follows, with two entries each, seed 3; one thread.
//!
//! Fills a horizon, in steps of 100,000 certificates, then goes on with expiry in steps of a second. Prints certificates
//! a second while filling, resident memory a held certificate, the time a second's step takes, and the time from a new
//! item of the watch list to its matches.
//!
//! `cargo run --release -p ct-dataflows --example views [HELD [A_SECOND [watch]]]`

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::disallowed_macros, reason = "a benchmark prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ct_dataflows::views::{Certificate, Entry, Lines, Options, Views, watch_list};
use ct_model::{CertId, EntryKind};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

struct Stream {
    random: Random,
    texts: Vec<Arc<str>>,
    number: u64,
}

impl Stream {
    fn new() -> Self {
        let texts = (0..100).map(|number| format!("Certification Authority {number}").into()).collect();
        Self { random: Random(3), texts, number: 0 }
    }

    fn push(&mut self, views: &mut Views, seen_ms: i64) {
        let issuance = self.number / 2;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&issuance.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let mut id = hash;
        id[8] = (self.number % 2) as u8;
        // Half are seen once; the others share few, and the smaller the number the more often.
        let spread = 1 << self.random.below(16);
        let number = if issuance.is_multiple_of(2) { self.random.below(spread) } else { 1_000_000 + issuance };
        let domain = format!("shop-{number}.example.com").replacen(".example", "", 1);
        let (www, star) = (format!("www.{domain}"), format!("*.{domain}"));
        let names = [domain.as_str(), &www, &star];
        views.insert(Certificate {
            seen_ms,
            id: CertId::der(id),
            kind: Some(if self.number.is_multiple_of(2) { EntryKind::Precert } else { EntryKind::Final }),
            tbs_sha256: Some(hash),
            issuer: self.texts[self.random.below(100) as usize].clone(),
            key: self.texts[self.random.below(4) as usize].clone(),
            domains: Lines::of([domain.as_str()]),
            names: Lines::of(names[..2 + (self.number % 2) as usize].iter().copied()),
        });
        for _ in 0..2 {
            let log = self.texts[self.random.below(40) as usize].clone();
            views.insert_entry(Entry { seen_ms, log });
        }
        self.number += 1;
    }
}

/// Of this process, in bytes; 0 where there is no such file.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

fn measure(held: u64, a_second: u64, watch: bool) {
    println!("{held} held, {a_second} a second, {}", if watch { "with a watch list" } else { "without a watch list" });
    let before = resident();
    let horizon_ms = (held * 1_000 / a_second) as i64;
    let mut views = Views::new(Options { horizon_ms, top: 100, certificates_max: usize::MAX / 8, watch });
    let mut stream = Stream::new();
    let at_ms = |number: u64| (number * 1_000 / a_second) as i64;

    let start = Instant::now();
    for number in 0..held {
        stream.push(&mut views, at_ms(number));
        if number % 100_000 == 99_999 {
            views.advance(Some(at_ms(number)));
            views.take_changes();
        }
    }
    views.advance(Some(at_ms(held - 1)));
    views.take_changes();
    println!("  filling {:.0} certificates/s", held as f64 / start.elapsed().as_secs_f64());

    let mut steps: Vec<Duration> = Vec::new();
    for second in 0..120 {
        let start = Instant::now();
        let first = held + second * a_second;
        for number in first..first + a_second {
            stream.push(&mut views, at_ms(number));
        }
        views.advance(Some(at_ms(first + a_second - 1)));
        views.take_changes();
        steps.push(start.elapsed());
    }
    steps.sort_unstable();
    let mean = steps.iter().sum::<Duration>().as_secs_f64() / steps.len() as f64;
    println!(
        "  a second's step {:.1} ms on average, {:.1} ms at most",
        mean * 1e3,
        steps[steps.len() - 1].as_secs_f64() * 1e3
    );
    let bytes = resident().saturating_sub(before);
    println!("  {:.0} bytes resident a certificate", bytes as f64 / views.standing().certificates as f64);

    for items in [".shop-0.com\n", ".com\n"].into_iter().filter(|_| watch) {
        let start = Instant::now();
        views.set_items(watch_list(items).expect("they are items"));
        views.advance(None);
        let changes = views.take_changes();
        let open = changes.watched.values().flatten().map(|found| found.open).sum::<u64>();
        println!("  {} with {open} matches after {:.1} ms", items.trim(), start.elapsed().as_secs_f64() * 1e3);
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |default| words.next().map_or(default, |text| text.parse().expect("a number"));
    let (held, a_second) = (number(400_000), number(400));
    // One kind a run: what the allocator keeps of one would count for the other.
    measure(held, a_second, words.next().is_some_and(|word| word == "watch"));
}
