//! What modules with a memory cost, and what they say of lists of names.
//!
//! ```text
//! cargo run --release -p ct-dataflows --example memories -- cost
//! cargo run --release -p ct-dataflows --example memories -- clusters K SHAPES FILE ...
//! ```
//!
//! `cost` prints nanoseconds a certificate, on one core, for a million made-up certificates of an hour: facts, and
//! what the memories do with them. `clusters` takes files with a name a line as the certificates of one day and one
//! issuer, and prints the groups that are reported; SHAPES is a list with commas.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not a dataflow")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use ct_dataflows::modules::{Memories, Modules, Subject};
use ct_model::name::registered_domains;
use ct_model::{CertId, CertRecord, ParseState, Timestamp};
use serde_json::{Value, json};

const CERTIFICATES: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["cost"] => cost(),
        ["clusters", k, shapes, files @ ..] => clusters(k.parse()?, shapes, files),
        _ => Err("cost, or clusters K SHAPES FILE ...".into()),
    }
}

fn prepare(module: &str, options: &Value) -> Result<Arc<Modules>, Box<dyn Error>> {
    let options = BTreeMap::from([(module.to_owned(), options.as_object().cloned().unwrap_or_default())]);
    Ok(Arc::new(Modules::prepare(&[module.to_owned()], &options)?))
}

fn certificate(number: u64, name: &str) -> CertRecord {
    let id = CertId::entry("log", number);
    let names: Vec<Box<str>> = vec![name.into()];
    CertRecord {
        id,
        sha256: id.bytes().try_into().ok(),
        sha1: None,
        tbs_sha256: None,
        // A precertificate and its final certificate have one key.
        spki_sha256: CertId::entry("key", number / 2).bytes().try_into().ok(),
        kind: None,
        serial: None,
        issuer_dn: None,
        issuer_cn: None,
        issuer_org: Some(if number % 4 < 2 { "Let's Encrypt" } else { "Google Trust Services" }.into()),
        subject_dn: None,
        subject_cn: None,
        not_before: None,
        not_after: None,
        registered_domains: registered_domains(&names),
        names,
        ips: Vec::new(),
        key_algorithm: None,
        key_bits: None,
        signature_algorithm: None,
        is_ca: None,
        sct_count: None,
        scts: Vec::new(),
        parse: ParseState::Ok,
        parse_error: None,
        der_bytes: None,
        seen: Some(Timestamp::from_seconds(1_795_392_000 + number as i64 / 300)),
        log: None,
        log_index: None,
        feed: "".into(),
        der: None,
    }
}

fn cost() -> Result<(), Box<dyn Error>> {
    // Every pair a domain of its own; one domain in eight has a shape.
    let name = |number: u64| match number / 2 {
        pair if pair % 8 == 0 => format!("www.shop{pair}-{}.example", pair % 97),
        pair => {
            let letters: String = (0..7).map(|at| (b'a' + (pair >> (3 * at)) as u8 % 8) as char).collect();
            format!("www.{letters}.com")
        }
    };
    let certificates: Vec<CertRecord> = (0..CERTIFICATES).map(|number| certificate(number, &name(number))).collect();
    for module in ["key-reuse", "rate-anomaly", "clusters"] {
        let modules = prepare(module, &json!({}))?;
        let (mut facts, mut failed, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let start = Instant::now();
        for row in &certificates {
            modules.facts(&Subject::certificate(row, &[]), &mut facts, &mut failed);
        }
        let stated = start.elapsed();
        let (count, start) = (facts.len(), Instant::now());
        let mut memories = Memories::new(modules);
        facts.into_iter().for_each(|fact| memories.learn(fact, &mut found));
        let learned = start.elapsed();
        let ns = |time: std::time::Duration| time.as_nanos() / u128::from(CERTIFICATES);
        println!(
            "{module}: {count} facts, {} ns to state and {} ns to learn a certificate, {} findings",
            ns(stated),
            ns(learned),
            found.len()
        );
    }
    Ok(())
}

fn clusters(k: u64, shapes: &str, files: &[&str]) -> Result<(), Box<dyn Error>> {
    let shapes: Vec<&str> = shapes.split(',').collect();
    let modules = prepare("clusters", &json!({"k": k, "shapes": shapes, "by_issuer": false}))?;
    let mut memories = Memories::new(modules.clone());
    let (mut facts, mut failed, mut found, mut domains) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for file in files {
        for (number, name) in (0..).zip(std::fs::read_to_string(file)?.lines()) {
            let row = CertRecord { seen: Some(Timestamp(0)), ..certificate(number, name) };
            domains += row.registered_domains.len();
            modules.facts(&Subject::certificate(&row, &[]), &mut facts, &mut failed);
            facts.drain(..).for_each(|fact| memories.learn(fact, &mut found));
        }
    }
    println!("{domains} names, {} findings", found.len());
    for finding in found {
        println!("{}", finding.detail);
    }
    Ok(())
}
