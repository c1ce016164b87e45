//! What arguments name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ct_source::{Encoding, Segment, SourceError, expand};
use tempfile::TempDir;

use crate::runtime;

fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "b.jsonl",
        "a.ndjson",
        "x/c.json",
        "x/_ct/m.json",
        "x/.hidden/h.json",
        "x/.h.jsonl",
        "x/read.me",
        "x-y/d.jsonl",
        "none/read.me",
        "we[ird]/*.jsonl",
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}\n").unwrap();
    }
    fs::write(dir.path().join("x/e.jsonl.gz"), b"\x1f\x8b\x08\0").unwrap();
    fs::write(dir.path().join("x/f.jsonl.zst"), b"\x28\xb5\x2f\xfd\0").unwrap();
    fs::write(dir.path().join("empty.txt"), "").unwrap();
    fs::write(dir.path().join("binary.txt"), b"\x7fELF\0\0").unwrap();
    dir
}

fn expand_in(dir: &Path, args: &[&str]) -> Result<Vec<Segment>, SourceError> {
    let args: Vec<_> = args.iter().map(|arg| arg.replace("DIR", dir.to_str().unwrap())).collect();
    expand(&args, &[], runtime().handle())
}

#[track_caller]
fn check(args: &[&str], want: &[&str]) {
    let dir = tree();
    let found = expand_in(dir.path(), args).unwrap();
    let names: Vec<_> =
        found.iter().map(|s| Path::new(&s.name).strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, want);
}

#[track_caller]
fn check_refused(args: &[&str], want: &str) {
    let dir = tree();
    let error = expand_in(dir.path(), args).unwrap_err();
    assert!(error.is_usage());
    assert!(error.to_string().contains(want), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn files_in_their_order() {
    check(&["DIR/b.jsonl", "DIR/a.ndjson", "DIR/x/read.me"], &["b.jsonl", "a.ndjson", "x/read.me"]);
}

#[test]
fn an_empty_file_is_a_segment() {
    check(&["DIR/empty.txt"], &["empty.txt"]);
}

#[test]
fn directories_by_name() {
    check(&["DIR/x"], &["x/c.json", "x/e.jsonl.gz", "x/f.jsonl.zst"]);
    check(&["DIR/x/_ct/", "DIR/x/.hidden"], &["x/_ct/m.json", "x/.hidden/h.json"]);
    let all = ["a.ndjson", "b.jsonl", "we[ird]/*.jsonl", "x-y/d.jsonl", "x/c.json", "x/e.jsonl.gz", "x/f.jsonl.zst"];
    check(&["DIR"], &all);
}

#[test]
fn patterns() {
    check(&["DIR/*.?sonl"], &["b.jsonl"]);
    check(&["DIR/[ab].*"], &["a.ndjson", "b.jsonl"]);
    check(&["DIR/x*/d*"], &["x-y/d.jsonl"]);
    check(&["DIR/x*"], &["x-y/d.jsonl", "x/c.json", "x/e.jsonl.gz", "x/f.jsonl.zst"]);
    check(&["DIR/we[ird]/*.jsonl"], &["we[ird]/*.jsonl"]);
}

#[test]
fn urls_of_files() {
    check(&["file://DIR/b.jsonl"], &["b.jsonl"]);
    check(&["FILE://DIR/x/"], &["x/c.json", "x/e.jsonl.gz", "x/f.jsonl.zst"]);
    check(&["file://DIR/*.jsonl"], &["b.jsonl"]);
    check(&["file://DIR/we%5Bird%5D/"], &["we[ird]/*.jsonl"]);
}

#[test]
fn named_twice_is_read_once() {
    check(&["DIR/b.jsonl", "DIR/x/../*.*json*", "file://DIR/b.jsonl", "DIR//x/./../b.jsonl"], &["b.jsonl", "a.ndjson"]);
}

#[test]
fn links() {
    let dir = tree();
    symlink(dir.path(), dir.path().join("x/circle")).unwrap();
    symlink(dir.path().join("b.jsonl"), dir.path().join("x/a-link.jsonl")).unwrap();
    symlink(dir.path().join("gone"), dir.path().join("x/dangling")).unwrap();
    let found = expand_in(dir.path(), &["DIR/x", "DIR/b.jsonl"]).unwrap();
    assert!(found[0].name.ends_with("/x/a-link.jsonl"), "{}", found[0].name);
    assert_eq!(found.len(), 7);

    // Behind a link, `..` is where the link leads.
    symlink(dir.path().join("x/_ct"), dir.path().join("link")).unwrap();
    let found = expand_in(dir.path(), &["DIR/link/../c.json"]).unwrap();
    assert!(found[0].name.ends_with("/x/c.json"));
}

#[test]
fn what_is_known_of_a_segment() {
    let dir = tree();
    let found = expand_in(dir.path(), &["DIR/x"]).unwrap();
    assert_eq!(found.iter().map(|s| s.encoding).collect::<Vec<_>>(), [Encoding::Plain, Encoding::Gzip, Encoding::Zstd]);
    assert_eq!(found.iter().map(|s| s.bytes).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(expand_in(dir.path(), &["DIR/x"]).unwrap(), found);
    fs::write(dir.path().join("x/c.json"), "{}\n\n").unwrap();
    assert_ne!(expand_in(dir.path(), &["DIR/x"]).unwrap()[0].version, found[0].version);
}

#[test]
fn refused() {
    check_refused(&["DIR/b.jsonl", "DIR/c.jsonl"], "c.jsonl: no such file or directory; name a file");
    check_refused(&["DIR/b.jsonl/c"], "no such file");
    check_refused(&[""], ": no such file");
    check_refused(&["file:///a%00b"], "a\\u{0}b: no such file");
    check_refused(&["DIR/none"], "looked for names ending in .jsonl, .ndjson or .json");
    check_refused(&["DIR/*.parquet"], "the pattern matches nothing");
    check_refused(&["DIR/***"], "bad pattern");
    check_refused(&["DIR/binary.txt"], "is not a segment");
    check_refused(&["/dev/null"], "is not a regular file");
    check_refused(&["ftp://host/a.jsonl"], "unknown scheme \"ftp\"; known are file, s3");
    check_refused(&["file://host/a.jsonl"], "three slashes");
    check_refused(&["http://"], "bad URL");
    check_refused(&["http://host/a?b"], "%3F");
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let error = expand(&["https://user:hunter2@host/a".to_owned()], &[], runtime().handle()).unwrap_err();
    assert!(error.is_usage() && !error.to_string().contains("hunter2"), "{error}");
}
