//! Logs as somebody saved them: what is proven of them, and what is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ct_model::ctlog::list;
use ct_source::{Encoding, Segment, Sizes, expand};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::stretches::Text;
use super::{decode, one};
use crate::test_log::{Kind, Log, LogOptions, Page, Pool, Server, base64};
use crate::test_log_probe::{get, tile_path};
use crate::{read_all, runtime};

fn logs_of(server: &Server) -> Vec<list::Log> {
    list::LogList::parse(server.log_list().to_string().as_bytes()).unwrap().logs
}

fn save(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// As a mirror leaves a static log: what it sent, byte by byte.
fn tiles(log: &Log) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = vec!["checkpoint".to_owned()];
    let mut level_size = log.size();
    for level in 0..2 {
        for number in 0..level_size.div_ceil(256) {
            let width = 256.min(level_size - 256 * number);
            paths.push(tile_path(&level.to_string(), number, width));
            if level == 0 {
                paths.push(tile_path("data", number, width));
            }
        }
        level_size /= 256;
    }
    for path in paths {
        let got = get(&format!("{}{path}", log.url()));
        assert_eq!(got.status, 200, "{path}");
        save(dir.path(), &path, &got.body);
    }
    dir
}

/// Answers of an RFC 6962 log, in files with these names.
fn pages(log: &Log, name: impl Fn(u64, u64) -> String) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "ct/v1/get-sth", &get(&format!("{}ct/v1/get-sth", log.url())).body);
    let mut first = 0;
    while first < log.size() {
        let got = get(&format!("{}ct/v1/get-entries?start={first}&end={}", log.url(), log.size() - 1));
        let count = got.json()["entries"].as_array().unwrap().len() as u64;
        save(dir.path(), &format!("ct/v1/get-entries/{}", name(first, first + count - 1)), &got.body);
        first += count;
    }
    dir
}

fn by_range(first: u64, last: u64) -> String {
    format!("{first}-{last}.json")
}

fn expand_dir(dir: &Path, logs: &[list::Log]) -> Vec<Segment> {
    expand(&[dir.to_str().unwrap().to_owned()], logs, runtime().handle()).unwrap()
}

fn read(segments: &[Segment]) -> Text {
    Text::of(&read_all(&runtime(), segments, (1, 2), (0, 0), Sizes::new(256 << 10, 16 << 20)))
}

/// The text of an archive that is one segment.
fn read_dir(dir: &Path, logs: &[list::Log]) -> Text {
    let segments = expand_dir(dir, logs);
    assert_eq!(segments.len(), 1);
    read(&segments)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Turns a byte within the first certificate of a data tile, which may be compressed.
fn spoil_tile(dir: &Path, tile: &str) {
    change(&dir.join(tile), |bytes| {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
            std::io::copy(&mut decoder, &mut plain).unwrap();
            *bytes = plain;
        }
        bytes[80] ^= 1;
    });
}

#[test]
fn tiles_are_proven() {
    for kind in [Kind::Static, Kind::Hybrid] {
        for size in [1, 256, 700, 1_024] {
            let server = one(kind, size, size);
            let dir = tiles(server.log(0));
            let segments = expand_dir(dir.path(), &logs_of(&server));
            assert_eq!((segments.len(), segments[0].encoding), (1, Encoding::Tiles));
            let text = read(&segments);
            text.check(server.log(0), 0..size);
            assert_eq!((text.covered(), text.broken), (vec![(0, size - 1, true)], vec![]));
        }
    }
}

#[test]
fn pages_are_proven() {
    let names: [fn(u64, u64) -> String; 4] = [
        by_range,
        |first, last| format!("get-entries?start={first}&end={last}"),
        |first, _| format!("{first:08}.json"),
        |first, _| first.to_string(),
    ];
    let pool = Arc::new(Pool::synthetic(1, 700));
    for page in [Page::Aligned(256), Page::Aligned(32), Page::UpTo(99)] {
        let server = Server::start(vec![LogOptions::new("log", Kind::Rfc6962, &pool).page(page)]);
        for name in names {
            let dir = pages(server.log(0), name);
            let text = read_dir(dir.path(), &logs_of(&server));
            text.check(server.log(0), 0..700);
            assert_eq!((text.covered(), text.broken), (vec![(0, 699, true)], vec![]));
        }
    }
}

#[test]
fn without_a_key_nothing_is_verified() {
    let server = one(Kind::Hybrid, 700, 700);
    let others = logs_of(&one(Kind::Hybrid, 1, 1));
    for logs in [&[][..], &others] {
        for dir in [tiles(server.log(0)), pages(server.log(0), by_range)] {
            let text = read_dir(dir.path(), logs);
            assert_eq!(text.lines, 700);
            assert!(text.coverage.iter().all(|row| !row.verified), "{:?}", text.coverage);
        }
    }
}

#[test]
fn a_head_that_is_not_signed_proves_nothing() {
    let server = one(Kind::Hybrid, 700, 700);
    let dir = pages(server.log(0), by_range);
    let path = dir.path().join("ct/v1/get-sth");
    let mut sth: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    sth["timestamp"] = json!(sth["timestamp"].as_u64().unwrap() + 1);
    fs::write(&path, sth.to_string()).unwrap();
    let tiles = tiles(server.log(0));
    change(&tiles.path().join("checkpoint"), |note| {
        let at = note.len() - 20;
        note[at] = if note[at] == b'A' { b'B' } else { b'A' };
    });
    for dir in [dir, tiles] {
        let text = read_dir(dir.path(), &logs_of(&server));
        assert_eq!(text.lines, 700);
        assert!(text.coverage.iter().all(|row| !row.verified), "{:?}", text.coverage);
    }
}

#[test]
fn a_flipped_byte_in_a_tile_is_seen_in_that_tile() {
    let server = one(Kind::Static, 700, 700);
    for (tile, want) in [
        ("tile/data/000", vec![(0, 255, false), (256, 699, true)]),
        ("tile/data/001", vec![(0, 255, true), (256, 511, false), (512, 699, true)]),
        ("tile/data/002.p/188", vec![(0, 511, true), (512, 699, false)]),
    ] {
        let dir = tiles(server.log(0));
        spoil_tile(dir.path(), tile);
        let text = read_dir(dir.path(), &logs_of(&server));
        assert_eq!((text.lines, text.covered()), (700, want), "{tile}");
    }
    // A hash proves nothing but its own neighbours' places, and lends its place to none.
    let dir = tiles(server.log(0));
    change(&dir.path().join("tile/1/000.p/2"), |hashes| hashes[40] ^= 1);
    let text = read_dir(dir.path(), &logs_of(&server));
    assert_eq!(text.lines, 700);
    assert!(text.covered().iter().all(|(first, _, verified)| !verified || *first == 256), "{:?}", text.covered());
}

#[test]
fn a_flipped_byte_in_a_page_is_seen() {
    let server = one(Kind::Rfc6962, 700, 700);
    let dir = pages(server.log(0), by_range);
    let path = dir.path().join("ct/v1/get-entries/256-511.json");
    let mut page: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut leaf = decode(page["entries"][7]["leaf_input"].as_str().unwrap());
    leaf[80] ^= 1;
    page["entries"][7]["leaf_input"] = base64(&leaf).into();
    fs::write(&path, page.to_string()).unwrap();
    let text = read_dir(dir.path(), &logs_of(&server));
    assert_eq!((text.lines, text.covered()), (700, vec![(0, 699, false)]));
}

#[test]
fn a_missing_file_is_a_hole() {
    let server = one(Kind::Hybrid, 700, 700);
    let dir = tiles(server.log(0));
    fs::remove_file(dir.path().join("tile/data/001")).unwrap();
    let text = read_dir(dir.path(), &logs_of(&server));
    text.check(server.log(0), (0..256).chain(512..700));
    assert_eq!(text.covered(), [(0, 255, true), (512, 699, true)]);
    // Without the hashes beside them the entries are those of nobody.
    let dir = tiles(server.log(0));
    fs::remove_dir_all(dir.path().join("tile/0")).unwrap();
    fs::remove_dir_all(dir.path().join("tile/1")).unwrap();
    let text = read_dir(dir.path(), &logs_of(&server));
    text.check(server.log(0), 0..700);
    assert_eq!(text.covered(), [(0, 699, false)]);
    let dir = pages(server.log(0), by_range);
    fs::remove_file(dir.path().join("ct/v1/get-entries/256-511.json")).unwrap();
    let text = read_dir(dir.path(), &logs_of(&server));
    text.check(server.log(0), (0..256).chain(512..700));
    assert_eq!(text.covered(), [(0, 255, false), (512, 699, false)]);
}

#[test]
fn a_file_that_cannot_be_read_breaks_the_segment() {
    let server = one(Kind::Static, 700, 700);
    for spoil in [b"noise".to_vec(), vec![], vec![0x1f, 0x8b, 8, 0]] {
        let dir = tiles(server.log(0));
        fs::write(dir.path().join("tile/data/001"), &spoil).unwrap();
        let text = read_dir(dir.path(), &logs_of(&server));
        assert_eq!(text.broken.len(), 1);
        assert!(text.broken[0].contains("tile/data/001"), "{:?}", text.broken);
        text.check(server.log(0), 0..256);
    }
}

/// The pages were saved while the log grew: what the head does not speak of is not covered, and harms nothing.
#[test]
fn entries_beyond_the_head() {
    let server = one(Kind::Rfc6962, 700, 500);
    let sth = get(&format!("{}ct/v1/get-sth", server.log(0).url())).body;
    server.log(0).grow(200);
    let dir = pages(server.log(0), by_range);
    save(dir.path(), "ct/v1/get-sth", &sth);
    let text = read_dir(dir.path(), &logs_of(&server));
    text.check(server.log(0), 0..700);
    assert_eq!(text.covered(), [(0, 499, true)]);
}

#[test]
fn links_in_circles() {
    let server = one(Kind::Static, 300, 300);
    let dir = tiles(server.log(0));
    for name in ["a", "b", "c"] {
        std::os::unix::fs::symlink(dir.path(), dir.path().join("tile/data").join(name)).unwrap();
    }
    let text = read_dir(dir.path(), &logs_of(&server));
    text.check(server.log(0), 0..300);
}

/// Logs that another program made: 4,000 entries of 23 logs, tiles and pages.
#[expect(clippy::disallowed_macros, reason = "a test that is skipped says so")]
fn generated() -> Option<(TempDir, PathBuf)> {
    let Some(data) = std::env::var_os("CT_STREAM_DATA").map(PathBuf::from) else {
        eprintln!("skipped: CT_STREAM_DATA names no folder of data from logs");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let archive = data.join("synthetic/ctlog-4k-entries.tar.zst");
    let tar = Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(dir.path()).status().unwrap();
    assert!(tar.success());
    let logs = dir.path().join("ctlog");
    Some((dir, logs))
}

#[test]
fn logs_of_another_program() {
    let Some((_dir, dir)) = generated() else { return };
    let list = list::LogList::parse(&fs::read(dir.join("log_list.json")).unwrap()).unwrap();
    let archives = |logs: &[list::Log]| {
        let mut segments = expand_dir(&dir, logs);
        segments.retain(|segment| segment.encoding.is_of_logs());
        segments
    };
    let segments = archives(&list.logs);
    assert_eq!(segments.len(), 23);
    let text = read(&segments);
    assert_eq!((text.lines, text.entries.len(), &text.broken[..]), (4_000, 4_000, &[][..]));
    let covered: u64 = text.coverage.iter().map(|row| row.last + 1 - row.first).sum();
    assert!(text.coverage.iter().all(|row| row.verified) && text.coverage.len() == 23);
    assert_eq!(covered, 4_000);

    let text = read(&archives(&[]));
    assert_eq!(text.lines, 4_000);
    assert!(text.coverage.iter().all(|row| !row.verified));
}
