//! `verify` names each fault of a lake in a line of its own, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place::Place;
use serde_json::Value;

/// A lake of several manifests.
fn lake() -> Place {
    let place = Place::new();
    place.generate("s.jsonl", "--messages 5000 --seed 17 --malformed 0.01");
    place.replay("s.jsonl", "lake", "-c often.toml").ends(0);
    let run = place.run("verify --lake lake").ends(0);
    assert!(run.out.lines().count() == 1 && run.out.contains("proven") && run.err.is_empty(), "{run:?}");
    place
}

/// The files of a table, by name.
fn files(place: &Place, table: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(place.path("lake").join(table)).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    files
}

fn manifest(place: &Place, sequence: u64) -> PathBuf {
    place.path("lake").join(ct_sinks::manifest::Manifest::path(sequence))
}

/// Does harm to a lake; `verify` then prints a line for each of the files that `harm` names, in any order.
#[track_caller]
fn check(harm: impl Fn(&Place) -> Vec<PathBuf>) {
    let place = lake();
    let mut harmed: Vec<String> = harm(&place).iter().map(|path| below_lake(&place, path)).collect();
    harmed.sort_unstable();

    let run = place.run("verify --lake lake").ends(1);
    let mut lines: Vec<&str> = run.out.lines().collect();
    let verdict = lines.pop().unwrap();
    assert!(verdict.contains(&format!("{} fault", harmed.len())), "{run:?}");
    lines.sort_unstable();
    assert_eq!(lines.len(), harmed.len(), "{harmed:?} {run:?}");
    for (line, path) in lines.iter().zip(&harmed) {
        assert!(line.starts_with(&format!("{path}: ")), "no line for {path}: {run:?}");
    }

    let run = place.run("verify --lake lake --format json").ends(1);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let mut faults: Vec<&str> =
        report["faults"].as_array().unwrap().iter().map(|fault| fault.as_str().unwrap()).collect();
    faults.sort_unstable();
    assert_eq!(faults, lines);
}

fn below_lake(place: &Place, path: &Path) -> String {
    path.strip_prefix(place.path("lake")).unwrap().to_str().unwrap().to_owned()
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn missing(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "certificates").remove(0);
    fs::remove_file(&path).unwrap();
    vec![path]
}

fn truncated(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "entries").remove(1);
    edit(&path, |bytes| bytes.truncate(bytes.len() - 100));
    vec![path]
}

fn longer(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "rejected").remove(0);
    edit(&path, |bytes| bytes.push(b'\n'));
    vec![path]
}

fn flipped_bit(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "certificates").remove(1);
    edit(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    vec![path]
}

fn surplus(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "findings").remove(0).with_file_name("surplus.parquet");
    fs::write(&path, "no Parquet").unwrap();
    vec![path]
}

fn copied(place: &Place) -> Vec<PathBuf> {
    let path = files(place, "entries").remove(0);
    let copy = path.with_file_name("000000999999-0000.parquet");
    fs::copy(path, &copy).unwrap();
    vec![copy]
}

fn swapped(place: &Place) -> Vec<PathBuf> {
    let mut files = files(place, "entries");
    files.truncate(2);
    let [left, right] = [0, 1].map(|index| fs::read(&files[index]).unwrap());
    fs::write(&files[0], right).unwrap();
    fs::write(&files[1], left).unwrap();
    files
}

#[test]
fn one_file() {
    [missing, truncated, longer, flipped_bit, surplus, copied, swapped].into_iter().for_each(check);
}

#[test]
fn several_at_once() {
    check(|place| {
        [missing, truncated, flipped_bit, surplus, longer].into_iter().flat_map(|harm| harm(place)).collect()
    });
}

/// A broken chain of manifests is named; what hangs on it is named too.
#[track_caller]
fn check_manifest(sequence: u64, harm: impl Fn(&Path)) {
    let place = lake();
    let path = manifest(&place, sequence);
    harm(&path);
    let run = place.run("verify --lake lake").ends(1);
    let name = below_lake(&place, &path);
    assert!(run.out.lines().any(|line| line.starts_with(&format!("{name}: "))), "no line for {name}: {run:?}");
}

#[test]
fn manifests() {
    check_manifest(1, |path| fs::remove_file(path).unwrap());
    check_manifest(2, |path| fs::remove_file(path).unwrap());
    check_manifest(2, |path| edit(path, |bytes| bytes.truncate(bytes.len() / 2)));
    check_manifest(2, |path| fs::write(path, "").unwrap());
    check_manifest(2, |path| {
        fs::copy(path.with_file_name("000000000001.json"), path).unwrap();
    });
    // Another byte in the first one is what the second one denies.
    check_manifest(2, |path| edit(&path.with_file_name("000000000001.json"), |bytes| bytes.push(b' ')));
}

/// Nobody goes on with a lake whose chain is broken.
#[test]
fn a_job_refuses_a_gap() {
    let place = lake();
    fs::remove_file(manifest(&place, 2)).unwrap();
    let run = place.replay("s.jsonl", "lake", "").ends(1);
    assert!(run.out.is_empty() && run.err.contains("000000000002.json"), "{run:?}");
}
