//! What cannot be read is told once, wherever a job was ended and goes on.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::journal::{Journal, Options};

/// Three segments of four batches and a tick, of a line each; the last has one tick more.
struct Case {
    dir: tempfile::TempDir,
    journal: Journal,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) =
            Journal::open(dir.path(), Options { segment_bytes: 1, ..Options::default() }, [1; 16]).unwrap();
        for segment in 1..=3 {
            for (batch, feed) in (0..).zip(["a", "b", "a", "b"]) {
                journal
                    .append(feed, 1_000 * segment + batch, format!("\"{segment}{feed}{batch}\"").as_bytes())
                    .unwrap();
            }
            journal.tick(1_000 * segment + 4).unwrap();
            journal.commit().unwrap();
        }
        let mut case = Self { dir, journal };
        case.tick(9_000);
        case
    }

    fn tick(&mut self, at_ms: u64) {
        self.journal.tick(at_ms).unwrap();
        self.journal.commit().unwrap();
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.dir.path().join(format!("{segment:010}.jsonl"))
    }

    /// Flips a bit in the mark of a batch, or in its body.
    fn damage(&self, segment: u32, batch: usize, body: bool) {
        let mut text = fs::read(self.path(segment)).unwrap();
        let mark = format!("{{\"message_type\":\"ct_stream_batch\",\"data\":{{\"batch\":{batch},").into_bytes();
        let at = text.windows(mark.len()).position(|window| window == mark).unwrap();
        let line = text[at..].iter().position(|byte| *byte == b'\n').unwrap();
        text[if body { at + line + 1 } else { at + mark.len() }] ^= 1;
        fs::write(self.path(segment), text).unwrap();
    }

    fn follower(&self, worker: usize, workers: usize, from: (u32, u32), age: Age) -> (Follower, JournalInlet) {
        let (outlet, inlet) = inlet(worker, 1_000);
        let placement = Placement { process: 0, processes: 1, workers };
        (Follower::new(self.dir.path(), placement, worker, from, age, outlet), inlet)
    }

    /// All blocks of all workers from there on, in order.
    fn read(&self, workers: usize, from: (u32, u32), age: Age) -> Vec<JournalBlock> {
        let blocks = (0..workers).flat_map(|worker| {
            let (mut follower, mut inlet) = self.follower(worker, workers, from, age);
            go_on(&mut follower);
            taken(&mut inlet)
        });
        let mut blocks: Vec<JournalBlock> = blocks.collect();
        blocks.sort_by_key(|block| (block.segment, block.batch));
        blocks
    }

    /// The rows told, the same wherever the job is cut in two.
    #[track_caller]
    fn check(&self, want: &[(&str, Option<u64>, u64, &str)]) {
        let all = self.read(1, (1, 0), Age::default());
        let gaps: Vec<_> = all.iter().flat_map(|block| &block.gaps).collect();
        let told: Vec<_> = gaps.iter().map(|gap| (&*gap.feed, gap.from_ms, gap.to_ms, &*gap.reason)).collect();
        assert_eq!(told, want);
        for workers in [1, 2, 3] {
            let (mut from, mut age) = ((1, 0), Age::default());
            for published in 0..=all.len() {
                assert_eq!(self.read(workers, from, age), all[published..], "{workers} workers from {from:?}");
                let Some(block) = all.get(published) else { break };
                assert_eq!((block.segment, block.batch), from, "no position is left out");
                from = behind(block);
                age = block.age;
            }
        }
    }
}

fn behind(block: &JournalBlock) -> (u32, u32) {
    let usual = if block.last { (block.segment + 1, 0) } else { (block.segment, block.batch + 1) };
    block.next.unwrap_or(usual)
}

/// Takes all that there is.
fn go_on(follower: &mut Follower) {
    while let Some(batch) = follower.reader.next_batch().unwrap() {
        assert!(follower.take(&batch).is_ok());
    }
}

fn taken(inlet: &mut JournalInlet) -> Vec<JournalBlock> {
    std::iter::from_fn(|| inlet.try_recv().ok().flatten())
        .filter_map(|news| match news.unwrap() {
            News::Block(block) => Some(block),
            News::Reached(..) => None,
        })
        .collect()
}

#[test]
fn nothing_is_wrong() {
    Case::new().check(&[]);
}

#[test]
fn a_damaged_mark() {
    for batch in 0..5 {
        let case = Case::new();
        case.damage(2, batch, false);
        let before = if batch == 0 { 1_004 } else { 1_999 + batch as u64 };
        let after = if batch == 4 { 3_000 } else { 2_001 + batch as u64 };
        case.check(&[("*", Some(before), after, "journal_damaged")]);
    }
}

#[test]
fn damaged_marks_in_a_row_are_one_stretch() {
    let case = Case::new();
    (1..4).for_each(|batch| case.damage(2, batch, false));
    case.check(&[("*", Some(2_000), 2_004, "journal_damaged")]);
}

#[test]
fn a_damaged_body() {
    let case = Case::new();
    case.damage(2, 1, true);
    case.check(&[("b", Some(2_000), 2_001, "journal_damaged")]);
}

#[test]
fn two_stretches() {
    let case = Case::new();
    case.damage(1, 0, false);
    case.damage(1, 2, false);
    case.check(&[("*", None, 1_001, "journal_damaged"), ("*", Some(1_001), 1_003, "journal_damaged")]);
}

#[test]
fn across_the_end_of_a_segment() {
    let case = Case::new();
    case.damage(1, 4, false);
    case.damage(2, 0, false);
    let row = ("*", Some(1_003), 2_001, "journal_damaged");
    case.check(&[row, row]);
}

#[test]
fn a_segment_without_a_good_mark() {
    let case = Case::new();
    fs::write(case.path(2), [b'x'; 700]).unwrap();
    case.check(&[("*", Some(1_004), 3_000, "journal_damaged")]);
}

#[test]
fn missing_segments() {
    for segments in [&[1][..], &[2], &[3], &[1, 2], &[2, 3], &[1, 2, 3]] {
        let case = Case::new();
        segments.iter().for_each(|segment| fs::remove_file(case.path(*segment)).unwrap());
        let before = (segments[0] > 1).then(|| 1_000 * (u64::from(segments[0]) - 1) + 4);
        let after = match segments.last() {
            Some(3) => 9_000,
            last => 1_000 * (u64::from(*last.unwrap()) + 1),
        };
        case.check(&[("*", before, after, "journal_missing")]);
    }
}

#[test]
fn damage_behind_missing_segments() {
    let case = Case::new();
    fs::remove_file(case.path(2)).unwrap();
    case.damage(3, 0, false);
    case.damage(3, 1, false);
    case.check(&[("*", Some(1_004), 3_002, "journal_missing"), ("*", Some(1_004), 3_002, "journal_damaged")]);
}

/// What was published of a stretch that is damaged later is not asked for again; the rest is told.
#[test]
fn damage_that_begins_before_the_resume_point() {
    let case = Case::new();
    let all = case.read(1, (1, 0), Age::default());
    (0..4).for_each(|batch| case.damage(2, batch, false));
    let at = all.iter().position(|block| (block.segment, block.batch) == (2, 2)).unwrap();
    let blocks = case.read(1, (2, 2), all[at - 1].age);
    assert_eq!((blocks[0].gaps.len(), behind(&blocks[0])), (1, (2, 4)));
    assert_eq!(blocks.iter().map(|block| block.gaps.len()).sum::<usize>(), 1);
}

/// A follower that meets the damage at the end of what is durable says the same as one that comes later.
#[test]
fn damage_at_the_end_of_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), Options::default(), [1; 16]).unwrap();
    let mut case = Case { dir, journal };
    case.tick(1);
    let (mut follower, mut inlet) = case.follower(0, 1, (1, 0), Age::default());
    for batch in [1, 2] {
        case.journal.append("a", 2, b"\"lost\"").unwrap();
        case.journal.commit().unwrap();
        case.damage(1, batch, false);
        go_on(&mut follower);
    }
    assert_eq!(taken(&mut inlet).len(), 1, "nothing is told before it is known what follows");
    case.tick(3);
    go_on(&mut follower);
    let mut blocks = taken(&mut inlet);
    assert_eq!(blocks, case.read(1, (1, 1), Age { ms: 0, at_ms: 1 }));
    assert_eq!(blocks.remove(0).gaps.len(), 1);
    case.check(&[("*", Some(1), 3, "journal_damaged")]);
}
