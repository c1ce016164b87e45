//! Nothing that a stream says can steer the terminal of whoever looks at it.

use std::collections::BTreeSet;
use std::fs;

use base64_simd::STANDARD;
use serde_json::{Value, json};

use crate::place::{Place, Run};

/// Colors, a line of its own, an end of text, a reversal of direction, the C1 form of an escape, markup.
const NASTY: &str = "\u{1b}[31m\r\nct-stream: fine\0\u{202e}\u{9b}2J\u{8}<script>alert(1)</script>\u{7f}";

/// The program has printed text and no control character.
#[track_caller]
fn is_plain(run: Run) -> Run {
    for (name, text) in [("stdout", &run.out), ("stderr", &run.err)] {
        let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
        let at = text.char_indices().find(|(_, c)| odd(*c)).map(|(at, _)| at);
        let around = at.map(|at| text[..at].chars().rev().take(80).collect::<Vec<_>>());
        let around = around.map(|chars| chars.into_iter().rev().collect::<String>());
        assert!(at.is_none(), "ct-stream {:?}, {name}, at byte {at:?} after {around:?}", run.command);
        assert!(!text.contains("\nct-stream: fine"), "a line of the stream's own: {run:?}");
    }
    run
}

/// Asks everything that prints text about a lake with embedded hot state.
#[track_caller]
fn look_around(place: &Place) {
    let mut told = String::new();
    let mut look =
        |args: &[&str]| told += &is_plain(place.start_args(&[args, &["--lake", "lake"]].concat()).finish()).out;
    look(&["verify"]);
    look(&["hot", "stats"]);
    look(&["hot", "findings", "--limit", "1000"]);
    let rows = place.run("hot findings --limit 1000 --lake lake --format json").ends(0);
    let rows: Vec<Value> = serde_json::from_str(&rows.out).unwrap();
    let texts = |key: &str| rows.iter().filter_map(|row| row[key].as_str()).map(str::to_owned).collect::<BTreeSet<_>>();
    let (certificates, names) = (texts("sha256"), texts("name"));
    assert!(!certificates.is_empty() && !names.is_empty());
    certificates.iter().take(10).for_each(|sha256| look(&["hot", "cert", sha256]));
    // No argument can hold a NUL.
    look(&["hot", "domain", &NASTY.replace('\0', "")]);
    names.iter().take(10).for_each(|name| look(&["hot", "domain", name]));
    assert!(told.contains("[31m"), "what is nasty is told in a readable form");
}

/// Replays the stream `s.jsonl` with everything told that can be.
#[track_caller]
fn replay(place: &Place, flags: &str) -> Run {
    place.write("all.toml", "[modules.watchlist]\nitems = [\".\"]\n[modules.names]\nfirst_seen = \"host\"\n");
    let told = "--log-level debug --progress plain --summary text";
    is_plain(place.run(&format!("replay s.jsonl --lake lake -c all.toml {told} {flags}")).ends(0))
}

/// What a server claims of its certificates.
#[test]
fn claims() {
    let place = Place::new();
    place.generate("good.jsonl", "--messages 200 --seed 18 --stream lite --malformed 0");
    let mut stream = Vec::new();
    for line in fs::read_to_string(place.path("good.jsonl")).unwrap().lines() {
        let mut message: Value = serde_json::from_str(line).unwrap();
        if let Some(leaf) = message["data"]["leaf_cert"].as_object_mut() {
            let names = leaf["all_domains"].as_array_mut().unwrap();
            names.extend([json!(NASTY), json!(format!("{NASTY}.example.com")), json!(format!("*.{NASTY}"))]);
            leaf["serial_number"] = NASTY.into();
            leaf["signature_algorithm"] = NASTY.into();
            for party in ["subject", "issuer"] {
                leaf[party].as_object_mut().unwrap().values_mut().for_each(|value| *value = NASTY.into());
            }
            message["data"]["source"] = json!({ "name": NASTY, "url": format!("https://{NASTY}/") });
        }
        stream.extend(format!("{message}\n").bytes());
    }
    let good = stream.clone();
    // And lines that cannot be used, for several reasons.
    for text in [json!({ "message_type": NASTY }), json!({ "message_type": "certificate_update", "data": NASTY })] {
        stream.extend(format!("{text}\n").bytes());
    }
    stream.extend(format!("{}\n", NASTY.replace(['\r', '\n'], "")).bytes());
    stream.extend(&good[..good.len() / 300]);
    place.write("s.jsonl", stream);
    replay(&place, "");
    look_around(&place);
    replay(&place, "-n 2");
}

/// What certificates say themselves.
#[test]
fn certificates() {
    const BYTES: &[u8] = b"\x1b[31m\r\n\0\x08<b>";
    /// Of a name; it stays a name below its own domain.
    const END: usize = 4;
    let place = Place::new();
    place.generate("good.jsonl", "--messages 300 --seed 19 --malformed 0 --shape rust");
    let mut stream = Vec::new();
    for line in fs::read_to_string(place.path("good.jsonl")).unwrap().lines() {
        let mut message: Value = serde_json::from_str(line).unwrap();
        let leaf = &mut message["data"]["leaf_cert"];
        if let Some(der) = leaf["as_der"].as_str().map(|text| STANDARD.decode_to_vec(text).unwrap()) {
            let mut der = der;
            for name in leaf["all_domains"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
                let nasty: Vec<u8> = BYTES.iter().cycle().copied().take(name.len() - END).collect();
                while let Some(at) = der.windows(name.len()).position(|bytes| bytes == name.as_bytes()) {
                    der[at..at + nasty.len()].copy_from_slice(&nasty);
                }
            }
            leaf["as_der"] = STANDARD.encode_to_string(der).into();
        }
        stream.extend(format!("{message}\n").bytes());
    }
    place.write("s.jsonl", stream);
    let run = replay(&place, "");
    assert!(run.out.contains("wrong claims"), "the certificates are others than the stream says: {run:?}");
    look_around(&place);
}

/// Names of files come from whoever fills the folder.
#[test]
fn names_of_files() {
    let place = Place::new();
    place.generate("good.jsonl", "--messages 300 --seed 20 --stream lite");
    let whole = zstd::encode_all(&fs::read(place.path("good.jsonl")).unwrap()[..], 1).unwrap();
    fs::create_dir(place.path("in")).unwrap();
    let name = NASTY.replace(['\0', '/'], "");
    place.write(&format!("in/{name}.jsonl.zst"), &whole[..whole.len() / 2]);
    for flags in ["", "-n 2"] {
        is_plain(place.run(&format!("replay in --lake lake {flags}")).ends(3));
    }

    let damaged = place.path("lake/entries/date=2026-11-23");
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join(format!("{name}.parquet")), "no Parquet").unwrap();
    let run = is_plain(place.run("verify --lake lake").ends(1));
    assert!(format!("{run:?}").contains("alert(1)"), "{run:?}");

    place.write(&format!("in/{name}.jsonl.zst"), b"\x89PNG\r\n\x1a\n\0\0\0\r");
    is_plain(place.run("replay in --lake refused").ends(2));
    is_plain(place.start_args(&["replay", &name, "--lake", "refused"]).finish().ends(2));
}
