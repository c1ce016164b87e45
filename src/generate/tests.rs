//! Whole streams against independent readers: the X.509 parser, the JSON parser, and the project's own reading.

use std::collections::{BTreeMap, HashMap, HashSet};

use ct_model::message::{Message, Reader};
use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_parser::prelude::*;

use super::generator::{Generator, Kind};
use super::malformed::{Expect, Malformed};
use super::options::{Options, Shape, Stream};
use super::truth::{CertificateTruth, Totals};

const SHAPES: [Shape; 3] = [Shape::Go, Shape::Rust, Shape::Elixir];
const STREAMS: [Stream; 3] = [Stream::Full, Stream::Lite, Stream::Domains];

struct Written {
    lines: Vec<(Kind, Vec<u8>)>,
    certificates: Vec<CertificateTruth>,
    totals: Totals,
}

fn write(options: &Options) -> Written {
    let mut generator = Generator::new(options);
    let (mut lines, mut certificates) = (Vec::new(), Vec::new());
    loop {
        let mut line = Vec::new();
        let kind = generator.next_line(&mut line);
        certificates.extend_from_slice(generator.retired());
        let Some(kind) = kind else { break };
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "a line has one end");
        line.pop();
        lines.push((kind, line));
        assert_eq!(generator.line(), lines.len() as u64);
    }
    Written { lines, certificates, totals: generator.totals().clone() }
}

fn options(shape: Shape, stream: Stream) -> Options {
    Options { messages: 4_000, shape, stream, malformed: 0.01, redelivered: 0.02, ..Options::default() }
}

fn each_stream(check: impl Fn(&Options, &Written)) {
    for shape in SHAPES {
        for stream in STREAMS {
            let options = options(shape, stream);
            check(&options, &write(&options));
        }
    }
}

/// The certificates of a full stream, each once.
fn certificates(written: &Written) -> BTreeMap<[u8; 32], Vec<u8>> {
    let mut found = BTreeMap::new();
    for (_, line) in written.lines.iter().filter(|(kind, _)| matches!(kind, Kind::Entry { .. })) {
        let message: Value = serde_json::from_slice(line).expect("an entry is JSON");
        let data = &message["data"];
        let chain = data["chain"].as_array().into_iter().flatten();
        for text in chain.chain([&data["leaf_cert"]]).filter_map(|certificate| certificate["as_der"].as_str()) {
            let der = base64_simd::STANDARD.decode_to_vec(text).expect("as_der is base64");
            found.insert(Sha256::digest(&der).into(), der);
        }
    }
    found
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    each_stream(|options, written| {
        let again = write(options);
        assert!(written.lines == again.lines && written.certificates == again.certificates, "{options:?}");
        let other = write(&Options { seed: 2, messages: 100, ..options.clone() });
        assert_ne!(written.lines[..100], other.lines[..], "{options:?}");
    });
}

#[test]
fn totals_add_up() {
    each_stream(|options, Written { lines, certificates, totals }| {
        let Totals { messages, heartbeats, other, rejected, redelivered, entries, names_only, .. } = *totals;
        assert_eq!(messages, options.messages);
        assert_eq!(messages, heartbeats + other + rejected + redelivered + entries + names_only, "{options:?}");
        assert_eq!(messages + totals.blank, lines.len() as u64);
        assert_eq!(totals.bytes, lines.iter().map(|(_, line)| line.len() as u64 + 1).sum::<u64>());
        assert_eq!(totals.certificates, certificates.len() as u64);
        assert_eq!(entries, certificates.iter().map(|certificate| certificate.log_entries).sum::<u64>());
        assert_eq!(names_only > 0, options.stream == Stream::Domains);
        assert_eq!(redelivered > 0, options.stream != Stream::Domains);
    });
}

/// What the project's reader finds is what the generator says.
#[test]
fn a_reader_finds_the_truth() {
    each_stream(|options, written| {
        let mut reader = Reader::default();
        let mut sent = HashMap::new();
        let mut entries_of = HashMap::<_, u64>::new();
        for (number, (kind, line)) in (1..).zip(&written.lines) {
            let place = format!("{options:?} line {number}");
            match (kind, reader.read(line)) {
                (Kind::Malformed(malformed), answer) => match malformed.expect() {
                    Expect::Rejected => assert!(answer.is_err(), "{place}: {malformed:?} gives {answer:?}"),
                    Expect::Other => assert_eq!(answer, Ok(Message::Other), "{place}"),
                    Expect::Blank => assert!(line.iter().all(|byte| *byte == b' '), "{place}"),
                },
                (Kind::Heartbeat, answer) => assert_eq!(answer, Ok(Message::Heartbeat), "{place}"),
                (Kind::NamesOnly { names }, Ok(Message::Names(found))) => assert_eq!(*names, found.len(), "{place}"),
                (Kind::Entry { first }, Ok(Message::Sighting(sighting))) => {
                    let entry = (sighting.place().expect("log and index are known"), sighting.id);
                    assert!(sent.insert(entry, line).is_none(), "{place} repeats an entry");
                    let entries = entries_of.entry(sighting.id).or_default();
                    assert_eq!(*first, *entries == 0, "{place}");
                    *entries += 1;
                    assert!(!sighting.wrong_claim && sighting.kind.is_some() && sighting.seen.is_some(), "{place}");
                }
                (Kind::Redelivered, Ok(Message::Sighting(sighting))) => {
                    let entry = (sighting.place().expect("log and index are known"), sighting.id);
                    assert_eq!(sent.get(&entry), Some(&line), "{place}");
                }
                (kind, answer) => panic!("{place}: {kind:?} reads as {answer:?}"),
            }
        }
        let mut found: Vec<u64> = entries_of.into_values().collect();
        let mut truth: Vec<u64> = written.certificates.iter().map(|row| row.log_entries).collect();
        found.sort_unstable();
        truth.sort_unstable();
        assert_eq!(found, truth, "{options:?}");
    });
}

#[test]
fn a_truth_row_names_its_first_line() {
    let written = write(&options(Shape::Go, Stream::Full));
    let mut untold = 0;
    for row in &written.certificates {
        let (kind, line) = &written.lines[row.first_line as usize - 1];
        assert_eq!(*kind, Kind::Entry { first: true });
        let message: Value = serde_json::from_slice(line).unwrap();
        let leaf = &message["data"]["leaf_cert"];
        assert_eq!(message["data"]["update_type"] == "PrecertLogEntry", row.precert);
        assert_eq!(leaf["all_domains"].as_array().unwrap().len(), row.names);
        match row.sha256 {
            Some(sha256) => {
                let der = base64_simd::STANDARD.decode_to_vec(leaf["as_der"].as_str().unwrap()).unwrap();
                assert_eq!(Sha256::digest(der)[..], sha256);
            }
            None => {
                assert!(leaf.get("as_der").is_none());
                untold += 1;
            }
        }
    }
    assert!(untold > 0, "the Go server tells nothing of some precertificates");
}

#[test]
fn indexes_of_a_log_have_no_holes_but_those_of_malformed_lines() {
    let written = write(&Options { malformed: 0.0, ..options(Shape::Go, Stream::Lite) });
    let mut next = HashMap::new();
    for (_, line) in written.lines.iter().filter(|(kind, _)| matches!(kind, Kind::Entry { .. })) {
        let message: Value = serde_json::from_slice(line).unwrap();
        let index = message["data"]["cert_index"].as_u64().unwrap();
        let log = message["data"]["source"]["url"].as_str().unwrap().to_owned();
        if let Some(expected) = next.insert(log, index + 1) {
            assert_eq!(index, expected);
        }
    }
    assert!(next.len() >= 10, "about a dozen logs, {} of them used", next.len());
}

#[test]
fn every_certificate_parses_and_says_what_its_message_says() {
    for shape in SHAPES {
        let written = write(&options(shape, Stream::Full));
        for (_, line) in written.lines.iter().filter(|(kind, _)| matches!(kind, Kind::Entry { .. })) {
            let message: Value = serde_json::from_slice(line).unwrap();
            let leaf = &message["data"]["leaf_cert"];
            let Some(text) = leaf["as_der"].as_str() else { continue };
            let der = base64_simd::STANDARD.decode_to_vec(text).unwrap();
            let (rest, certificate) = X509Certificate::from_der(&der).expect("a leaf parses");
            assert!(rest.is_empty());
            assert_eq!(certificate.version(), X509Version::V3);
            assert_eq!(leaf["not_before"].as_i64(), Some(certificate.validity().not_before.timestamp()));
            let not_after = leaf["not_after"].as_i64().unwrap_or(253_402_300_799);
            assert_eq!(not_after, certificate.validity().not_after.timestamp());
            let serial = format!("{:x}", certificate.tbs_certificate.serial).to_uppercase();
            assert_eq!(leaf["serial_number"].as_str().unwrap().trim_start_matches('0'), serial);

            let names = certificate.subject_alternative_name().unwrap().expect("a leaf has names");
            let mut names: Vec<&str> = (names.value.general_names.iter())
                .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
                .collect();
            if shape == Shape::Elixir {
                names.sort_unstable();
            }
            assert_eq!(leaf["all_domains"], Value::from(names));
            let poisoned = has_extension(&certificate, "1.3.6.1.4.1.11129.2.4.3");
            assert_eq!(poisoned, message["data"]["update_type"] == "PrecertLogEntry");
            assert_eq!(poisoned, !has_extension(&certificate, "1.3.6.1.4.1.11129.2.4.2"));
            for extension in certificate.extensions() {
                let parsed = extension.parsed_extension();
                assert!(extension.oid.to_id_string().ends_with(".2.4.3") || !parsed.unsupported(), "{extension:?}");
                assert!(parsed.error().is_none(), "{extension:?}");
            }
        }
        for der in certificates(&written).values() {
            let (rest, certificate) = X509Certificate::from_der(der).expect("a certificate parses");
            assert!(rest.is_empty());
            certificate.public_key().parsed().expect("a key is well-formed");
        }
    }
}

fn has_extension(certificate: &X509Certificate<'_>, oid: &str) -> bool {
    certificate.extensions().iter().any(|extension| extension.oid.to_id_string() == oid)
}

/// RFC 6962 section 3.1: the same TBSCertificate but for the poison and the SCT list.
#[test]
fn precertificates_pair_with_final_certificates() {
    let written = write(&options(Shape::Go, Stream::Full));
    let mut decoder = ct_model::x509::Decoder::new();
    let mut kinds = HashMap::<_, HashSet<bool>>::new();
    let mut fields = HashMap::new();
    for der in certificates(&written).values() {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        if certificate.is_ca() {
            continue;
        }
        let tbs_sha256 = decoder.decode(der).tbs_sha256.expect("a generated certificate decodes");
        let tbs = &certificate.tbs_certificate;
        let rest: Vec<_> = (tbs.extensions().iter())
            .filter(|extension| !extension.oid.to_id_string().starts_with("1.3.6.1.4.1.11129.2.4."))
            .map(|extension| (extension.oid.to_id_string(), extension.critical, extension.value.to_vec()))
            .collect();
        let all = (tbs.raw_serial().to_vec(), tbs.subject_pki.raw.to_vec(), tbs.subject.as_raw().to_vec(), rest);
        assert_eq!(*fields.entry(tbs_sha256).or_insert(all.clone()), all);
        kinds.entry(tbs_sha256).or_default().insert(has_extension(&certificate, "1.3.6.1.4.1.11129.2.4.3"));
    }
    let pairs = kinds.values().filter(|kinds| kinds.len() == 2).count();
    assert!(pairs > 200, "{pairs} pairs");
    let serials: HashSet<_> = fields.values().map(|all| &all.0).collect();
    assert_eq!(serials.len(), fields.len(), "one issuance, one TBS");
}

/// Whatever the reader: these kinds are no JSON objects, those are.
#[test]
fn malformed_lines_are_what_they_are_called() {
    let all = Malformed::ALL;
    let written = write(&Options { malformed: 0.2, ..options(Shape::Go, Stream::Full) });
    let mut met = HashSet::new();
    for (kind, line) in &written.lines {
        let Kind::Malformed(malformed) = kind else { continue };
        met.insert(malformed.name());
        let parsed = serde_json::from_slice::<Value>(line);
        let leaf = parsed.as_ref().map(|message| message["data"]["leaf_cert"].clone()).unwrap_or_default();
        let as_stated = match malformed {
            Malformed::Truncated
            | Malformed::InvalidUtf8
            | Malformed::NotJson
            | Malformed::Nested
            | Malformed::Blank => parsed.is_err(),
            Malformed::Empty => parsed.is_ok_and(|message| message == serde_json::json!({})),
            Malformed::ArrayTop => parsed.is_ok_and(|message| message.is_array()),
            Malformed::NoMessageType => parsed.is_ok_and(|message| message.get("message_type").is_none()),
            Malformed::UnknownType => parsed.is_ok_and(|message| message["message_type"] == "server_notice"),
            Malformed::LeafNull | Malformed::LeafMissing => leaf.is_null(),
            Malformed::WrongTypes => leaf.is_array(),
            Malformed::BadBase64 => base64_simd::STANDARD.decode_to_vec(leaf["as_der"].as_str().unwrap()).is_err(),
            Malformed::DerTruncated | Malformed::DerGarbage => {
                let der = base64_simd::STANDARD.decode_to_vec(leaf["as_der"].as_str().unwrap()).unwrap();
                X509Certificate::from_der(&der).is_err()
            }
            Malformed::NegativeIndex => parsed.is_ok_and(|message| message["data"]["cert_index"] == -17),
            Malformed::FloatIndex => parsed.is_ok_and(|message| message["data"]["cert_index"] == 1234.5),
        };
        assert!(as_stated, "{malformed:?}: {}", String::from_utf8_lossy(line));
    }
    assert_eq!(met.len(), all.len(), "every kind takes its turn");
}

#[test]
fn what_is_planned_stays_small() {
    let mut generator = Generator::new(&Options { messages: 200_000, ..options(Shape::Go, Stream::Lite) });
    let (mut line, mut planned_max) = (Vec::new(), 0);
    while generator.next_line(&mut line).is_some() {
        line.clear();
        planned_max = planned_max.max(generator.planned());
    }
    assert!(planned_max < 5_000, "{planned_max}");
}

#[test]
fn extreme_options() {
    for (seed, tiled, rate) in [(1, 0.0, 0.01), (2, 1.0, 1e6), (u64::MAX, 0.5, 3.7)] {
        for shape in SHAPES {
            let options = Options {
                messages: 500,
                seed,
                tiled,
                rate,
                malformed: 1.0 / 3.0,
                redelivered: 1.0,
                ..options(shape, Stream::Full)
            };
            assert_eq!(write(&options).totals.messages, 500);
        }
    }
    assert_eq!(write(&Options { messages: 0, ..Options::default() }).lines.len(), 0);
    let all_malformed = write(&Options { messages: 50, malformed: 1.0, ..Options::default() });
    assert_eq!(all_malformed.totals.rejected + all_malformed.totals.other + all_malformed.totals.heartbeats, 50);
}

/// `samples/README.md` gives the command; these are its flags.
#[test]
fn the_sample_is_what_its_command_makes() {
    let options = Options { messages: 2_000, malformed: 0.012, rate: 50.0, ..Options::default() };
    let written = write(&options);
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let read = |name: &str| std::fs::read(samples.join(name)).expect("the sample is in the repository");
    let sample = zstd::decode_all(&*read("certstream-go-2k.jsonl.zst")).unwrap();
    let lines: Vec<&[u8]> = sample.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
    assert!(lines.into_iter().eq(written.lines.iter().map(|(_, line)| line.as_slice())));
    let totals: Value = serde_json::from_slice(&read("certstream-go-2k.truth.csv.json")).unwrap();
    assert_eq!(totals, serde_json::to_value(&written.totals).unwrap());
}
