//! Chunks of segments agree with a loop over the lines, however they are stored and dealt out.

use std::fs;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use ct_source::{CHUNK_BYTES, Chunk, LINE_BYTES_MAX, OVERLONG_HEAD_BYTES, Segment, Sizes};
use flate2::write::GzEncoder;
use tokio::runtime::Runtime;

use crate::{expand_one, read_all, runtime};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Lines of many lengths: blank ones, CRLF, some that end exactly where a chunk of 64 bytes does, some overlong.
fn lines(seed: u64, count: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut text = b"{}\n".to_vec();
    for _ in 0..count {
        let length = match dice.below(10) {
            0 | 1 => 0,
            2 => 63 - text.len() % 64,
            3 => 128 + dice.below(700),
            _ => dice.below(90),
        };
        for _ in 0..length {
            text.push(b'!' + dice.below(90) as u8);
        }
        text.extend_from_slice(if dice.below(5) == 0 { b"\r\n" } else { b"\n" });
    }
    text
}

fn gzip(text: &[u8], members: usize) -> Vec<u8> {
    let mut stored = Vec::new();
    for part in text.chunks(text.len().div_ceil(members).max(1)) {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        stored.extend(encoder.finish().unwrap());
    }
    stored
}

fn zstd(text: &[u8], frames: usize) -> Vec<u8> {
    let mut stored = Vec::new();
    for part in text.chunks(text.len().div_ceil(frames).max(1)) {
        // RFC 8878 section 3.1.2
        stored.extend_from_slice(b"\x51\x2a\x4d\x18\x03\0\0\0abc");
        stored.extend(zstd::encode_all(part, 1).unwrap());
    }
    stored
}

/// The chunks of `text` by a loop over its lines; `stored_bytes` is left 0.
fn chunks_by_loop(text: &[u8], chunk_bytes: usize, line_bytes_max: usize) -> Vec<Chunk> {
    let count = text.len().div_ceil(chunk_bytes).max(1);
    let mut chunks: Vec<_> = (0..count)
        .map(|chunk| Chunk {
            segment: 0,
            chunk: chunk as u32,
            offset: (chunk * chunk_bytes) as u64,
            text: Bytes::new(),
            overlong: None,
            last: chunk + 1 == count,
            broken: None,
            stored_bytes: 0,
        })
        .collect();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let chunk = &mut chunks[start / chunk_bytes];
        let (mut at, mut kept) = (start, line);
        if start == 0 && line.starts_with(b"\xef\xbb\xbf") {
            (at, kept) = (3, &line[3..]);
        }
        if line.strip_suffix(b"\n").unwrap_or(line).len() > line_bytes_max {
            let head = line[..line.len().min(OVERLONG_HEAD_BYTES).min(line_bytes_max + 1)].to_vec();
            let head = head.strip_prefix(b"\xef\xbb\xbf").filter(|_| start == 0).unwrap_or(&head).to_vec();
            assert_eq!(chunk.overlong.replace(ct_source::Overlong { offset: at as u64, head }), None);
        } else {
            if chunk.text.is_empty() && !kept.is_empty() {
                chunk.offset = at as u64;
            }
            chunk.text = [&chunk.text, kept].concat().into();
        }
        start += line.len();
    }
    chunks
}

fn without_stored_bytes(chunks: Vec<Chunk>) -> Vec<Chunk> {
    chunks.into_iter().map(|chunk| Chunk { stored_bytes: 0, ..chunk }).collect()
}

fn store(runtime: &Runtime, dir: &Path, name: &str, stored: &[u8]) -> Segment {
    let path = dir.join(name);
    fs::write(&path, stored).unwrap();
    expand_one(runtime, path.to_str().unwrap())
}

/// Every way to store `text`, read by every split of the work, is what the loop says.
#[track_caller]
fn check(text: &[u8], chunk_bytes: usize, line_bytes_max: usize) {
    let splits = [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (3, 1), (3, 2), (3, 4)];
    check_splits(text, chunk_bytes, line_bytes_max, &splits);
}

#[track_caller]
fn check_splits(text: &[u8], chunk_bytes: usize, line_bytes_max: usize, splits: &[(usize, usize)]) {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let sizes = Sizes::new(chunk_bytes as u64, line_bytes_max);
    let want = chunks_by_loop(text, chunk_bytes, line_bytes_max);
    let segments = [
        store(&runtime, dir.path(), "plain", text),
        store(&runtime, dir.path(), "gz", &gzip(text, 1)),
        store(&runtime, dir.path(), "gz3", &gzip(text, 3)),
        store(&runtime, dir.path(), "zst", &zstd(text, 1)),
        store(&runtime, dir.path(), "zst3", &zstd(text, 3)),
        store(&runtime, dir.path(), "plain2", text),
    ];
    let mut wanted = Vec::new();
    for (s, segment) in segments.iter().enumerate() {
        // No bytes at all are no compressed text, but an empty file.
        let want = if segment.bytes == 0 { &chunks_by_loop(b"", chunk_bytes, line_bytes_max) } else { &want };
        wanted.extend(want.iter().map(|chunk| Chunk { segment: s as u32, ..chunk.clone() }));
    }
    for &split in splits {
        let got = without_stored_bytes(read_all(&runtime, &segments, split, (0, 0), sizes));
        if got != wanted {
            let place = got.iter().zip(&wanted).position(|(got, wanted)| got != wanted);
            let place = place.unwrap_or(got.len().min(wanted.len()));
            panic!("{split:?}: got {:?}, wanted {:?}", got.get(place), wanted.get(place));
        }
    }
}

#[test]
fn random_lines() {
    let text = lines(SEED, 400);
    for chunk_bytes in [64, 100, 1_000, 4_096, 1 << 20] {
        check(&text, chunk_bytes, 1 << 20);
    }
}

#[test]
fn tiny_chunks() {
    let text = lines(SEED + 1, 12);
    for chunk_bytes in [1, 2, 3, 7] {
        check(&text, chunk_bytes, 200);
    }
}

#[test]
fn overlong_lines() {
    let text = lines(SEED + 2, 200);
    for (chunk_bytes, line_bytes_max) in [(64, 64), (100, 128), (100, 700), (512, 512)] {
        check(&text, chunk_bytes, line_bytes_max);
    }
    let mut text = vec![b'x'; 20_000];
    check(&text, 1_000, 5_000);
    text.push(b'\n');
    check(&text, 1_000, 5_000);
    text.extend_from_slice(b"a\nb");
    check(&text, 1_000, 5_000);
}

#[test]
fn sizes_of_a_job() {
    let mut text = lines(SEED + 7, 20_000);
    for length in [9 << 20, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 100] {
        text.resize(text.len() + length, b'x');
        text.push(b'\n');
    }
    text.extend(lines(SEED + 8, 60_000));
    check_splits(&text, CHUNK_BYTES as usize, LINE_BYTES_MAX, &[(1, 2), (2, 1)]);
}

#[test]
fn lines_of_exactly_the_longest() {
    for length in [99, 100, 101] {
        let line = [&vec![b'x'; length][..], b"\n"].concat();
        check(&line.repeat(5), 50, 100);
        check(&line[..length], 50, 100);
    }
}

#[test]
fn lines_at_boundaries() {
    let line = b"0123456789abcde\n";
    for chunk_bytes in [8, 15, 16, 17, 32, 64] {
        check(&line.repeat(8), chunk_bytes, 64);
        check(&line.repeat(8)[..127], chunk_bytes, 64);
        check(&[&line.repeat(4)[..], b"\n"].concat(), chunk_bytes, 64);
    }
}

#[test]
fn no_lines() {
    check(b"", 10, 10);
    check(b"\n", 10, 10);
    check(b"\n\n\n\n", 2, 10);
}

#[test]
fn without_a_final_newline() {
    check(b"a\nbc", 10, 10);
    check(b"a\nbc", 2, 10);
    check(b"abc\r", 4, 10);
}

#[test]
fn byte_order_mark() {
    for chunk_bytes in [1, 2, 3, 4, 100] {
        check(b"\xef\xbb\xbfab\n\xef\xbb\xbfc\n", chunk_bytes, 100);
        check(b"\xef\xbb\xbf", chunk_bytes, 100);
        check(b"\xef\xbb\xbf\n", chunk_bytes, 100);
        check(b"\xef\xbb", chunk_bytes, 100);
        check(b"\xef\xbb\xbfabcdefgh\n\xef\xbb\xbfabcdefgh", chunk_bytes.min(5), 5);
    }
}

#[test]
fn resumed_anywhere() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let text = lines(SEED + 3, 30);
    let sizes = Sizes::new(200, 400);
    let segments = [
        store(&runtime, dir.path(), "a", &text),
        store(&runtime, dir.path(), "b", &zstd(&text, 2)),
        store(&runtime, dir.path(), "c", &gzip(&text, 2)),
        store(&runtime, dir.path(), "d", b""),
        store(&runtime, dir.path(), "e", &text),
    ];
    let all = without_stored_bytes(read_all(&runtime, &segments, (1, 1), (0, 0), sizes));
    let chunks = all.iter().filter(|chunk| chunk.segment == 0).count() as u32;
    for segment in 0..=segments.len() as u32 {
        for chunk in 0..=chunks + 1 {
            for split in [(1, 1), (2, 3)] {
                let rest = without_stored_bytes(read_all(&runtime, &segments, split, (segment, chunk), sizes));
                let want = all.iter().filter(|c| (c.segment, c.chunk) >= (segment, chunk));
                assert!(rest.iter().eq(want), "from ({segment}, {chunk}) by {split:?}");
            }
        }
    }
}

/// A prefix in whole lines, then why there is no more.
#[track_caller]
fn check_broken(text: &[u8], chunks: &[Chunk], from: u32) {
    let (last, whole) = chunks.split_last().unwrap();
    assert!(last.last && last.broken.is_some(), "{last:?}");
    assert!(whole.iter().all(|chunk| !chunk.last && chunk.broken.is_none()));
    assert!(chunks.iter().zip(from..).all(|(chunk, number)| chunk.chunk == number));
    if from == 0 {
        let got: Vec<u8> = chunks.iter().flat_map(|chunk| &chunk.text).copied().collect();
        assert!(text.starts_with(&got));
        assert!(got.is_empty() || got.ends_with(b"\n"));
    }
}

#[test]
fn truncated() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let text = lines(SEED + 4, 2_000);
    let sizes = Sizes::new(10_000, 10_000);
    // One frame, so that every cut is inside of one.
    for (name, stored) in [("a.zst", zstd::encode_all(&text[..], 1).unwrap()), ("a.gz", gzip(&text, 1))] {
        let mut longest = 0;
        for length in (20..stored.len()).step_by(97) {
            let segment = [store(&runtime, dir.path(), name, &stored[..length])];
            let chunks = read_all(&runtime, &segment, (1, 2), (0, 0), sizes);
            check_broken(&text, &chunks, 0);
            longest = longest.max(chunks.iter().map(|chunk| chunk.text.len()).sum());
            check_broken(&text, &read_all(&runtime, &segment, (1, 1), (0, 3), sizes), 3);
        }
        assert!(longest > text.len() / 2, "{name}: only {longest} bytes of {} came", text.len());
    }
}

#[test]
fn damaged() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let text = lines(SEED + 5, 300);
    let sizes = Sizes::new(1_000, 1_000);
    for (name, stored) in [("a.zst", zstd(&text, 2)), ("a.gz", gzip(&text, 2))] {
        for at in (20..stored.len()).step_by(97) {
            let mut stored = stored.clone();
            stored[at] ^= 0x55;
            let segment = [store(&runtime, dir.path(), name, &stored)];
            read_all(&runtime, &segment, (1, 2), (0, 0), sizes);
        }
        let garbage = [&stored[..], b"no frame"].concat();
        let segment = [store(&runtime, dir.path(), name, &garbage)];
        check_broken(&text, &read_all(&runtime, &segment, (1, 2), (0, 0), sizes), 0);
    }
}

#[test]
fn a_frame_that_wants_too_much_memory() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let sizes = Sizes::new(1_000, 1_000);
    for (log, fits) in [(27, true), (28, false)] {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"{}\n").unwrap();
        let segment = [store(&runtime, dir.path(), "a", &encoder.finish().unwrap())];
        let chunks = read_all(&runtime, &segment, (1, 1), (0, 0), sizes);
        assert_eq!(chunks[0].text, if fits { &b"{}\n"[..] } else { b"" });
        assert_eq!(chunks[0].broken.is_none(), fits, "{chunks:?}");
    }
}

#[test]
fn broken_segments_do_not_stop_the_others() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let text = b"0123456\n".repeat(10);
    let sizes = Sizes::new(16, 16);
    let names = ["gone", "shrunk", "gone.gz", "grown", "whole"];
    let stored: [&[u8]; 5] = [&text, &text, &gzip(&text, 1), &text, &text];
    let segments: Vec<_> =
        names.iter().zip(stored).map(|(name, stored)| store(&runtime, dir.path(), name, stored)).collect();
    fs::remove_file(dir.path().join("gone")).unwrap();
    fs::remove_file(dir.path().join("gone.gz")).unwrap();
    fs::write(dir.path().join("shrunk"), &text[..37]).unwrap();
    fs::write(dir.path().join("grown"), text.repeat(2)).unwrap();

    for split in [(1, 1), (1, 3), (2, 2)] {
        let chunks = read_all(&runtime, &segments, split, (0, 0), sizes);
        let of = |s| chunks.iter().filter(move |chunk| chunk.segment == s);
        assert_eq!(of(0).count(), 5);
        assert!(of(0).all(|chunk| chunk.broken.is_some() && chunk.text.is_empty()));
        assert_eq!(of(1).map(|chunk| chunk.text.len()).collect::<Vec<_>>(), [16, 16, 0, 0, 0]);
        let broken: Vec<_> = of(1).map(|chunk| chunk.broken.as_deref()).collect();
        assert_eq!(broken[..2], [None, None]);
        assert!(
            broken[2..].iter().all(|why| why.is_some_and(|why| why.starts_with("it shrank from 80"))),
            "{broken:?}"
        );
        assert_eq!(
            of(2).map(|chunk| (chunk.chunk, chunk.last, chunk.broken.is_some())).collect::<Vec<_>>(),
            [(0, true, true)]
        );
        for s in [3, 4] {
            let got: Vec<u8> = of(s).flat_map(|chunk| &chunk.text).copied().collect();
            assert_eq!(got, text);
            assert!(of(s).all(|chunk| chunk.broken.is_none()));
        }
    }
}

#[test]
fn a_dropped_receiver_stops_nobody_else() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let text = lines(SEED + 6, 200);
    let segments = [store(&runtime, dir.path(), "a.gz", &gzip(&text, 1)), store(&runtime, dir.path(), "a", &text)];
    let placement = ct_source::Placement { process: 0, processes: 1, workers: 2 };
    let options =
        ct_source::Options { sizes: Sizes::new(1_000, 1_000), ..ct_source::Options::new(runtime.handle().clone()) };
    let mut receivers = ct_source::start(segments.into(), placement, (0, 0), options).unwrap();
    drop(receivers.remove(0));
    let mut receiver = receivers.remove(0);
    let thread = std::thread::current();
    receiver.on_ready(move || thread.unpark());
    loop {
        match receiver.try_recv().unwrap() {
            Some(ct_source::Step::End) => break,
            Some(ct_source::Step::Chunk(_)) => {}
            None => std::thread::park(),
        }
    }
}
