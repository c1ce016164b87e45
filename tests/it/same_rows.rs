//! How a job is spread and how its input is stored changes nothing of what is in the lake.

use std::fs;

use crate::place::{Place, count};
use crate::rows::{assert_same, rows_of, rows_without};

const FLAGS: &str = "--messages 4000 --seed 12 --malformed 0.01 --redelivered 0.05";

#[test]
fn workers_and_processes() {
    let place = Place::new();
    place.generate("s.jsonl", FLAGS);
    place.replay("s.jsonl", "one", "-c often.toml -w 1").ends(0);
    let want = rows_of(&place.path("one"));
    assert!(want.iter().any(|row| row.starts_with("findings/")), "the comparison has findings in it");
    for (lake, flags) in [("w2", "-w 2"), ("n2", "-n 2"), ("n2w2", "-n 2 -w 2")] {
        let summary = place.replay("s.jsonl", lake, &format!("-c often.toml {flags}")).ends(0).summary();
        assert_eq!(count(&summary, "restarts"), 0, "{flags}");
        assert_same(&rows_of(&place.path(lake)), &want, flags);
        place.verified(lake);
    }
}

#[test]
fn compression() {
    // The place of a rejected message names the file.
    const WITHOUT: &[&str] = &["segment"];
    let place = Place::new();
    place.generate("s.jsonl", FLAGS);
    place.replay("s.jsonl", "plain", "-c often.toml").ends(0);
    let want = rows_without(&place.path("plain"), WITHOUT);
    for (name, flags) in [("s.jsonl.gz", "-w 1"), ("s.jsonl.zst", "-w 1"), ("s.jsonl.zst", "-n 2 -w 2")] {
        place.generate(name, FLAGS);
        let lake = format!("{name}{flags}").replace(' ', "");
        place.replay(name, &lake, &format!("-c often.toml {flags}")).ends(0);
        assert_same(&rows_without(&place.path(&lake), WITHOUT), &want, &lake);
    }
}

#[test]
fn one_file_or_many() {
    // Where a line stands is another place; what it says is the same.
    const WITHOUT: &[&str] = &["segment", "line", "offset"];
    let place = Place::new();
    place.generate("s.jsonl", FLAGS);
    let stream = fs::read(place.path("s.jsonl")).unwrap();
    let lines: Vec<&[u8]> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    fs::create_dir(place.path("parts")).unwrap();
    for (index, part) in lines.chunks(lines.len() / 5).enumerate() {
        place.write(&format!("parts/{index}.jsonl"), part.concat());
    }
    place.replay("s.jsonl", "one", "-c often.toml").ends(0);
    place.replay("parts", "many", "-c often.toml -n 2").ends(0);
    let want = rows_without(&place.path("one"), WITHOUT);
    assert_same(&rows_without(&place.path("many"), WITHOUT), &want, "a folder of five");
}

#[test]
fn again() {
    let place = Place::new();
    let truth = place.generate("s.jsonl", FLAGS);
    place.replay("s.jsonl", "lake", "-c often.toml").ends(0);
    let without_rejected =
        |rows: Vec<String>| -> Vec<String> { rows.into_iter().filter(|row| !row.starts_with("rejected/")).collect() };
    let want = without_rejected(rows_of(&place.path("lake")));
    for flags in ["", "-n 2 -w 2", "--feed other"] {
        let summary = place.replay("s.jsonl", "lake", &format!("-c often.toml {flags}")).ends(0).summary();
        for new in ["entries", "certificates", "findings"] {
            assert_eq!(count(&summary, new), 0, "{new} {flags}");
        }
        let [entries, redelivered] = ["entries", "redelivered"].map(|name| count(&truth.totals, name));
        assert_eq!(count(&summary, "redelivered"), entries + redelivered, "{flags}");
        assert_same(&without_rejected(rows_of(&place.path("lake"))), &want, flags);
    }
    place.verified("lake");
}
