//! What cannot be done ends with the exit code that is promised and one line that names the culprit.

use std::fs;

use crate::place::{Place, Run, count};
use crate::rows::{Reader, assert_same, rows_without};

/// Exit code, nothing on stdout, and one line on stderr with all of `words`.
#[track_caller]
fn is_told(run: Run, code: i32, words: &[&str]) {
    let run = run.ends(code);
    assert_eq!(run.out, "", "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
    assert!(words.iter().all(|word| run.err.contains(word)), "no {words:?} in {run:?}");
}

/// A replay with these segments and flags is refused.
#[track_caller]
fn refused(place: &Place, segments: &str, flags: &str, words: &[&str]) {
    is_told(place.replay(segments, "lake", flags), 2, words);
    assert!(!place.path("lake").join("_ct/manifests").exists(), "a refused job wrote something");
}

fn place() -> Place {
    let place = Place::new();
    place.generate("s.jsonl", "--messages 300 --seed 15 --stream lite");
    place
}

#[test]
fn segments() {
    let place = place();
    refused(&place, "nowhere.jsonl", "", &["nowhere.jsonl", "no such file"]);
    refused(&place, "s.jsonl nowhere.jsonl", "", &["nowhere.jsonl"]);
    refused(&place, "nowhere-*.jsonl", "", &["nowhere-*.jsonl"]);
    fs::create_dir(place.path("hollow")).unwrap();
    place.write("hollow/readme.txt", "no segment");
    refused(&place, "hollow", "", &["hollow", ".jsonl"]);
    place.write("picture.png", [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d]);
    refused(&place, "picture.png", "", &["picture.png"]);
}

#[test]
fn flags() {
    let place = place();
    for (flags, words) in [
        ("-n 0", ["-n", "0 is not allowed"]),
        ("-w 257", ["-w", "257 is not allowed"]),
        ("--hot nonsense", ["nonsense", "embedded or none"]),
        ("--hot ftp://example", ["ftp://example", "embedded or none"]),
        ("--modules names,nonsense", ["\"nonsense\"", "known:"]),
        ("-n 2 -p 1 --hostfile s.jsonl", ["--hostfile", "--cluster-secret-file"]),
    ] {
        refused(&place, "s.jsonl", flags, &words);
    }
}

/// What the parser of the command line refuses has its usage below the first line.
#[test]
fn usage() {
    let place = place();
    for (command, word) in [
        ("replay s.jsonl --no-such-flag", "--no-such-flag"),
        ("replay s.jsonl -p 0", "--hostfile"),
        ("replay s.jsonl -w many", "many"),
        ("replay s.jsonl --summary yaml", "yaml"),
        ("replay", "required"),
        ("reply s.jsonl", "reply"),
    ] {
        let run = place.run(command).ends(2);
        assert_eq!(run.out, "", "{run:?}");
        let at = run.err.find(word).unwrap_or_else(|| panic!("no {word} in {run:?}"));
        assert!(at < run.err.find("Usage").unwrap_or(usize::MAX), "{run:?}");
    }
}

#[test]
fn configuration() {
    let place = place();
    for (text, words) in [
        ("[lake]\nbufer_mb = 1\n", ["bad.toml", "bufer_mb"]),
        ("[laek]\nurl = \"x\"\n", ["bad.toml", "laek"]),
        ("[lake]\nbuffer_mb = \"many\"\n", ["bad.toml", "buffer_mb"]),
        ("[lake]\nbuffer_mb = 0\n", ["lake.buffer_mb", "0 is not allowed"]),
        ("[lake]\n\n[hot\n", ["bad.toml", "line 3"]),
        ("feed = \"${CT_TEST_IS_NOT_SET}\"\n", ["feed", "CT_TEST_IS_NOT_SET"]),
        ("[modules]\nenabled = [\"nonsense\"]\n", ["nonsense", "known:"]),
        ("[modules.nonsense]\nmax = 1\n", ["nonsense", "known:"]),
        ("[modules.names]\nmaximum = 1\n", ["modules.names", "maximum"]),
        ("[modules.names]\nmax = 0\n", ["modules.names", "max"]),
        ("[modules.names]\nfirst_seen = \"nonsense\"\n", ["modules.names", "first_seen"]),
        ("[modules.watchlist]\nlist_file = \"nowhere.txt\"\n", ["modules.watchlist.list_file", "nowhere.txt"]),
    ] {
        place.write("bad.toml", text);
        refused(&place, "s.jsonl", "-c bad.toml", &words);
        let check = place.run("check -c bad.toml --log-level error");
        is_told(check, 2, &words);
    }
    refused(&place, "s.jsonl", "-c nowhere.toml", &["nowhere.toml"]);
}

#[test]
fn lakes() {
    let place = place();
    place.write("file", "no folder");
    is_told(place.replay("s.jsonl", "file", ""), 1, &["file"]);
    is_told(place.replay("s.jsonl", "ftp://example/lake", ""), 2, &["ftp://example/lake"]);
    for command in ["verify", "hot stats"] {
        for lake in ["nowhere", "file", "."] {
            is_told(place.run(&format!("{command} --lake {lake}")), 2, &[lake, "no lake"]);
        }
    }
    assert!(!place.path("nowhere").exists(), "looking makes no lake");
}

#[test]
fn hot_questions() {
    let place = place();
    place.replay("s.jsonl", "lake", "--hot embedded --modules names").ends(0);
    is_told(place.run("hot cert 1234 --lake lake"), 2, &["1234", "SHA-256"]);
    is_told(place.run("hot stats --lake lake --hot none"), 2, &["--hot none"]);
    for nothing in [format!("cert {}", "0".repeat(64)), "domain nowhere.example".to_owned(), "findings".to_owned()] {
        for format in ["text", "json"] {
            let run = place.run(&format!("hot {nothing} --lake lake --format {format}")).ends(1);
            assert_eq!((run.out.lines().count(), run.err.as_str()), (1, ""), "{run:?}");
        }
    }
    place.run("hot stats --lake lake").ends(0);
}

#[test]
fn another_job_owns_the_lake() {
    let place = place();
    place.replay("s.jsonl", "lake", "").ends(0);
    let other = Reader::open(&place.path("lake"));
    let lock = other.lake.lock().unwrap();
    for flags in ["", "-n 2"] {
        is_told(place.replay("s.jsonl", "lake", flags), 4, &["another job", "lock"]);
    }
    assert_eq!(other.manifests().len(), 1);
    // Reading needs no lock.
    place.verified("lake");
    drop(lock);
    place.replay("s.jsonl", "lake", "").ends(0);
}

#[test]
fn empty_inputs() {
    let place = Place::new();
    place.write("empty.jsonl", "");
    place.write("blank.jsonl", "\n\r\n  \n\n");
    place.write("empty.jsonl.zst", zstd::encode_all(&b""[..], 1).unwrap());
    for name in ["empty.jsonl", "blank.jsonl", "empty.jsonl.zst"] {
        for flags in ["", "-n 2 -w 2"] {
            let lake = format!("lake-{name}{flags}").replace(' ', "");
            let summary = place.replay(name, &lake, flags).ends(0).summary();
            assert_eq!(count(&summary, "messages"), 0, "{name} {flags}");
            assert_eq!(summary["complete"], true, "{name} {flags}");
            place.verified(&lake);
        }
    }
}

/// What could be read of a segment that breaks off is in the lake.
#[test]
fn truncated_zstd() {
    const WITHOUT: &[&str] = &["segment"];
    let place = Place::new();
    place.generate("s.jsonl", "--messages 3000 --seed 16");
    let stream = fs::read(place.path("s.jsonl")).unwrap();
    let lines: Vec<&[u8]> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    let halves = lines.split_at(lines.len() / 2);
    let [first, second] = [halves.0.concat(), halves.1.concat()];
    let mut frames = zstd::encode_all(&first[..], 1).unwrap();
    let rest = zstd::encode_all(&second[..], 1).unwrap();
    frames.extend(&rest[..rest.len() / 2]);
    place.write("first.jsonl", &first);
    place.write("cut.jsonl.zst", &frames);
    place.replay("first.jsonl", "first", "").ends(0);

    for flags in ["", "-n 2"] {
        let lake = format!("lake{flags}").replace(' ', "");
        let run = place.replay("cut.jsonl.zst", &lake, flags).ends(3);
        assert_eq!(run.err.lines().count(), 1, "{run:?}");
        assert!(run.err.contains("cut.jsonl.zst"), "{run:?}");
        let summary = run.summary();
        assert_eq!((count(&summary, "unreadable"), &summary["complete"]), (1, &true.into()), "{summary}");
        let unreadable = summary["unreadable_segments"].as_object().unwrap();
        assert!(unreadable.keys().all(|name| name.ends_with("cut.jsonl.zst")) && unreadable.len() == 1, "{summary}");

        let [first, cut] = ["first", &lake].map(|lake| rows_without(&place.path(lake), WITHOUT));
        let of_first: Vec<String> = cut.into_iter().filter(|row| first.binary_search(row).is_ok()).collect();
        assert_same(&of_first, &first, &lake);
        place.verified(&lake);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = place();
    for command in [
        "modules",
        "check",
        "generate --messages 5000 --out -",
        "replay s.jsonl --lake lake --hot none --progress none --log-level error",
        "verify --lake lake",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_ct-stream"));
        let run = run.args(command.split(' ')).current_dir(place.path("")).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(0) && !err.contains("ct-stream:"), "{command}: {:?} {err}", run.status);
    }
}
