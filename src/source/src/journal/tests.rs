//! A journal as its users see it. Frames are compared with what was appended, kept in a plain list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::head::Head;
use super::*;

/// What a reader got, without regard to how it was cut into batches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Line(String, Vec<u8>),
    Tick(u64),
    Gap(Gap),
    Damaged,
    Missing(u32, u32),
}

fn line(feed: &str, text: impl AsRef<[u8]>) -> Event {
    Event::Line(feed.to_owned(), text.as_ref().to_vec())
}

fn gap(feed: &str) -> Gap {
    let (reason, detail) = ("lagging".to_owned(), "the feed said \"bye\"\n".to_owned());
    Gap { feed: feed.to_owned(), from_ms: Some(3), to_ms: 4, reason, detail }
}

fn events(reader: &JournalReader, batch: &Batch) -> Vec<Event> {
    match (&batch.kind, reader.body(batch).unwrap()) {
        (Kind::Frames { feed, lines, bytes, .. }, Body::Whole(body)) => {
            assert_eq!(body.len() as u64, *bytes);
            let body = body.strip_suffix(b"\n").expect("a body ends with a line end");
            let events: Vec<Event> = body.split(|b| *b == b'\n').map(|text| line(feed, text)).collect();
            assert_eq!(events.len() as u64, *lines);
            events
        }
        (Kind::Tick { at_ms }, _) => vec![Event::Tick(*at_ms)],
        (Kind::Gap { gap, .. }, _) => vec![Event::Gap(gap.clone())],
        (Kind::Missing { from_segment, to_segment }, _) => vec![Event::Missing(*from_segment, *to_segment)],
        (Kind::Frames { .. } | Kind::Damaged { .. }, _) => vec![Event::Damaged],
    }
}

fn drain(reader: &mut JournalReader) -> Vec<(Batch, Vec<Event>)> {
    let mut items = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        let events = events(reader, &batch);
        items.push((batch, events));
    }
    items
}

fn read(dir: &Path, from: (u32, u32)) -> Vec<Event> {
    drain(&mut JournalReader::open(dir, from)).into_iter().flat_map(|(_, events)| events).collect()
}

fn open(dir: &Path) -> Journal {
    open_with(dir, u64::MAX).0
}

/// A process that another test has just forked holds all locks of this one until it runs its own program.
fn open_with(dir: &Path, segment_bytes: u64) -> (Journal, Recovery) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Journal::open(dir, Options { segment_bytes, ..Options::default() }, [1; 16]) {
            Err(JournalError::Locked { .. }) if Instant::now() < until => thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn write_head(dir: &Path, segment: u32, bytes: u64) {
    let file = fs::File::create(Head::path(dir)).unwrap();
    Head { segment, bytes }.write(&file).unwrap();
}

fn segment(dir: &Path, number: u32) -> Vec<u8> {
    fs::read(segment_path(dir, number)).unwrap()
}

/// For the tests that open hundreds of journals: in memory where there is such a place, since syncs are free there.
fn light_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn letters(&mut self, bytes: u64) -> String {
        (0..bytes).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

/// A tick as it stands in a segment, which a feed can send as a frame.
fn look_alike(batch: u32) -> String {
    look_alike_in(1, batch)
}

/// In a segment of the journal with the id that the tests give.
fn look_alike_in(segment: u32, batch: u32) -> String {
    let text = format!(
        r#"{{"message_type":"ct_stream_batch","data":{{"batch":{batch},"at_ms":66,"lines":0,"bytes":0,"crc32":"00000000""#
    );
    let name = format!("{}-{segment:010}", "01".repeat(16));
    format!("{text},\"check\":\"{:08x}\"}}}}", crc32fast::hash([name, text.clone()].concat().as_bytes()))
}

#[test]
fn a_segment_is_what_the_format_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append("a", 5, b"{}").unwrap();
    journal.append("a", 7, b"[\n1]").unwrap();
    journal.tick(8).unwrap();
    journal.gap(9, gap("b")).unwrap();
    assert_eq!((journal.bytes(), segment_path(dir.path(), 1).exists()), (0, false));
    journal.commit().unwrap();
    // The checksums are those of Python's zlib.crc32.
    let golden = include_str!("golden.jsonl");
    assert_eq!(String::from_utf8(segment(dir.path(), 1)).unwrap(), golden);
    assert_eq!((journal.bytes(), journal.oldest_ms()), (golden.len() as u64, Some(7)));
    let want = [line("a", "{}"), line("a", "[ 1]"), Event::Tick(8), Event::Gap(gap("b"))];
    assert_eq!(read(dir.path(), (0, 0)), want);
    drop(journal);
    assert_eq!(open_with(dir.path(), 1).1.last_ms, BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 4)]));
}

#[test]
fn frames_of_all_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let huge = format!("\"{}\"", "x".repeat(FRAME_BYTES_MAX - 2));
    let cases: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"{\"a\":\r\n1}\n".to_vec(), b"{\"a\":  1} ".to_vec()),
        (b"".to_vec(), b"\"\"".to_vec()),
        (b" \n\t\r ".to_vec(), b"\"\"".to_vec()),
        (look_alike(1).into_bytes(), look_alike(1).into_bytes()),
        (format!("{}\n", look_alike(0)).into_bytes(), format!("{} ", look_alike(0)).into_bytes()),
        (PREFIX_TEXT.into(), PREFIX_TEXT.into()),
        (huge.clone().into_bytes(), huge.into_bytes()),
        (b"\xff\x00\x1b".to_vec(), b"\xff\x00\x1b".to_vec()),
    ];
    let mut want = Vec::new();
    for (frame, text) in &cases {
        journal.append("a", 1, frame).unwrap();
        want.push(line("a", text));
    }
    let over = journal.append("a", 1, &vec![b'1'; FRAME_BYTES_MAX + 1]);
    assert!(matches!(over, Err(JournalError::Frame { bytes, .. }) if bytes == FRAME_BYTES_MAX + 1));
    assert!(matches!(journal.append(&"f".repeat(257), 1, b"1"), Err(JournalError::Feed { bytes: 257 })));
    journal.append("", 1, b"1").unwrap();
    want.push(line("", "1"));
    journal.commit().unwrap();
    assert_eq!(read(dir.path(), (0, 0)), want);

    let text = segment(dir.path(), 1);
    let broken = |line: &&[u8]| serde_json::from_slice::<serde_json::Value>(line).is_err();
    let broken: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').filter(broken).collect();
    assert_eq!(broken, [PREFIX_TEXT.as_bytes(), b"\xff\x00\x1b"]);
}

const PREFIX_TEXT: &str = r#"{"message_type":"ct_stream_batch","data":{"batch":"#;

#[test]
fn batches_have_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let frame = vec![b'1'; 1000];
    for _ in 0..600 {
        journal.append("a", 1, &frame).unwrap();
    }
    journal.commit().unwrap();
    let sizes: Vec<u64> = drain(&mut JournalReader::open(dir.path(), (0, 0)))
        .iter()
        .map(|(batch, _)| if let Kind::Frames { bytes, .. } = batch.kind { bytes } else { 0 })
        .collect();
    assert_eq!(sizes, [262 * 1001, 262 * 1001, 76 * 1001]);
}

/// Batches of two feeds, a tick and a gap; some bodies look like marks. Returns what they hold, and where each begins.
fn small_journal(dir: &Path) -> (Vec<Vec<Event>>, Vec<usize>) {
    let mut journal = open(dir);
    // Its ordinal cannot be, here: there is no room for the batches before it.
    let (fake, cut) = (look_alike(900), PREFIX_TEXT);
    journal.append("a", 1, br#"{"x":1}"#).unwrap();
    journal.append("a", 2, br#"{"x":2}"#).unwrap();
    journal.append("b", 3, fake.as_bytes()).unwrap();
    journal.append("b", 3, cut.as_bytes()).unwrap();
    journal.tick(4).unwrap();
    journal.append("a", 5, b"").unwrap();
    journal.gap(6, gap("b")).unwrap();
    journal.append("a", 7, b"7").unwrap();
    journal.commit().unwrap();
    let want = vec![
        vec![line("a", r#"{"x":1}"#), line("a", r#"{"x":2}"#)],
        vec![line("b", fake), line("b", cut)],
        vec![Event::Tick(4)],
        vec![line("a", "\"\"")],
        vec![Event::Gap(gap("b"))],
        vec![line("a", "7")],
    ];
    let items = drain(&mut JournalReader::open(dir, (0, 0)));
    assert_eq!(items.iter().map(|(_, events)| events.clone()).collect::<Vec<_>>(), want);
    let text = segment(dir, 1);
    let mut begins = vec![0];
    for (batch, _) in &items {
        let bytes = if let Kind::Frames { bytes, .. } = batch.kind { bytes } else { 0 };
        begins.push((batch.offset + bytes) as usize);
    }
    assert_eq!(begins.pop(), Some(text.len()));
    (want, begins)
}

#[test]
fn a_tail_torn_at_any_byte() {
    let made = light_dir();
    let (batches, begins) = small_journal(made.path());
    let text = segment(made.path(), 1);
    let new = [line("c", "new")];
    for length in 0..=text.len() {
        let dir = light_dir();
        fs::write(segment_path(dir.path(), 1), &text[..length]).unwrap();
        let (mut journal, recovery) = open_with(dir.path(), u64::MAX);
        let whole = (1..=batches.len()).rfind(|n| *begins.get(*n).unwrap_or(&text.len()) <= length).unwrap_or(0);
        let kept = if whole == batches.len() { text.len() } else { begins[whole] };
        assert_eq!((recovery.truncated_bytes, recovery.lost_bytes), ((length - kept) as u64, 0), "length {length}");
        assert_eq!(segment(dir.path(), 1), text[..kept]);
        assert_eq!(journal.bytes(), kept as u64);
        journal.append("c", 9, b"new").unwrap();
        journal.commit().unwrap();
        let want: Vec<Event> = batches[..whole].concat().into_iter().chain(new.clone()).collect();
        assert_eq!(read(dir.path(), (0, 0)), want);
        // An empty segment is used, others are left as they are.
        assert_eq!(segment_path(dir.path(), 2).exists(), kept > 0);
        assert!(segment(dir.path(), 1).starts_with(&text[..kept]));
    }
}

/// The one damaged batch is reported, in its place, and all others are as they were.
#[track_caller]
fn check_damage(dir: &Path, batches: &[Vec<Event>], hit: usize, what: &str) {
    let items = drain(&mut JournalReader::open(dir, (1, 0)));
    let mut want = batches.to_vec();
    want[hit] = vec![Event::Damaged];
    assert_eq!(items.iter().map(|(_, events)| events.clone()).collect::<Vec<_>>(), want, "{what}");
    let places: Vec<_> = items.iter().map(|(batch, _)| (batch.segment, batch.batch)).collect();
    let in_first = batches.len() as u32 - 1;
    assert!((0..in_first).map(|n| (1, n)).chain([(2, 0)]).eq(places), "{what}");
    // Whoever goes on behind the damage gets it no more.
    let behind = drain(&mut JournalReader::open(dir, (1, hit as u32 + 1)));
    assert_eq!(behind, items[hit + 1..], "{what}");
}

#[test]
fn any_flipped_bit() {
    let dir = light_dir();
    let (mut batches, begins) = small_journal(dir.path());
    let text = segment(dir.path(), 1);
    // A second segment closes the first.
    let mut journal = open(dir.path());
    journal.append("z", 9, b"end").unwrap();
    journal.commit().unwrap();
    batches.push(vec![line("z", "end")]);
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(segment_path(dir.path(), 1), &flipped).unwrap();
        let hit = begins.iter().rposition(|begin| *begin <= bit / 8).unwrap();
        check_damage(dir.path(), &batches, hit, &format!("bit {bit}"));
    }
}

/// A batch that stands where it stood in another segment, or in an earlier life of the file, is damage.
#[test]
fn a_batch_of_another_segment_or_journal() {
    let other = light_dir();
    drop(Journal::open(other.path(), Options { segment_bytes: 1, ..Options::default() }, [2; 16]).unwrap());
    let dir = light_dir();
    for path in [dir.path(), other.path()] {
        let (mut journal, _) = open_with(path, 1);
        for text in ["one", "two"] {
            for (at_ms, feed) in (1..).zip(["a", "b", "c"]) {
                journal.append(feed, at_ms, text.as_bytes()).unwrap();
            }
            journal.commit().unwrap();
        }
    }
    let whole = segment(dir.path(), 1);
    let length = whole.len() / 3;
    for from in [segment(dir.path(), 2), segment(other.path(), 1)] {
        assert_eq!(from.len(), whole.len());
        let mut text = whole.clone();
        text[length..2 * length].copy_from_slice(&from[length..2 * length]);
        fs::write(segment_path(dir.path(), 1), text).unwrap();
        let want =
            [line("a", "one"), Event::Damaged, line("c", "one"), line("a", "two"), line("b", "two"), line("c", "two")];
        assert_eq!(read(dir.path(), (1, 0)), want);
    }
}

/// What the head promises is not cut, so that damage is seen as such.
#[test]
fn a_flipped_bit_before_recovery() {
    let made = light_dir();
    let (mut batches, begins) = small_journal(made.path());
    let text = segment(made.path(), 1);
    batches.push(vec![line("z", "end")]);
    for byte in (0..text.len()).step_by(7) {
        let dir = light_dir();
        let mut flipped = text.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::write(segment_path(dir.path(), 1), &flipped).unwrap();
        write_head(dir.path(), 1, text.len() as u64);
        let (mut journal, recovery) = open_with(dir.path(), u64::MAX);
        assert_eq!((recovery.truncated_bytes, recovery.lost_bytes), (0, 0));
        journal.append("z", 9, b"end").unwrap();
        journal.commit().unwrap();
        let hit = begins.iter().rposition(|begin| *begin <= byte).unwrap();
        check_damage(dir.path(), &batches, hit, &format!("byte {byte}"));
    }
}

#[test]
fn a_damaged_head_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, _) = small_journal(dir.path());
    let head = fs::read(Head::path(dir.path())).unwrap();
    let mut reader = JournalReader::open(dir.path(), (0, 0));
    for bit in 0..head.len() * 8 {
        let mut flipped = head.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(Head::path(dir.path()), &flipped).unwrap();
        assert_eq!(reader.next_batch().unwrap(), None);
    }
    for end in 0..head.len() {
        fs::write(Head::path(dir.path()), &head[..end]).unwrap();
        assert_eq!(reader.next_batch().unwrap(), None);
    }
    fs::write(Head::path(dir.path()), &head).unwrap();
    assert_eq!(drain(&mut reader).into_iter().flat_map(|(_, events)| events).collect::<Vec<_>>(), batches.concat());
}

/// Seeds 0..300: a stretch of any length is overwritten, and every batch outside of it is still read.
#[test]
fn an_overwritten_stretch() {
    let dir = light_dir();
    let mut journal = open(dir.path());
    let mut random = Random(11);
    for n in 0..200 {
        let text = random.letters(1 + random.0 % 3000);
        journal.append(["a", "b"][n % 2], n as u64, text.as_bytes()).unwrap();
    }
    journal.commit().unwrap();
    let clean = drain(&mut JournalReader::open(dir.path(), (0, 0)));
    let text = segment(dir.path(), 1);
    assert_eq!(clean.len(), 200);
    let begin = |n: usize| if n == 0 { 0 } else { clean[n - 1].0.offset + bytes(&clean[n - 1].0) };
    for seed in 0..300 {
        let mut random = Random(seed);
        let from = random.below(text.len() as u64);
        let most = if seed % 3 == 0 { 200_000 } else { 4000 };
        let to = (from + 1 + random.below(most)).min(text.len() as u64);
        let mut damaged = text.clone();
        // Not what was there in any place.
        damaged[from as usize..to as usize].fill(b"\0\n{"[seed as usize % 3]);
        if seed % 3 != 0 {
            damaged[from as usize..to as usize].iter_mut().for_each(|byte| *byte ^= 0x80);
        }
        fs::write(segment_path(dir.path(), 1), &damaged).unwrap();

        let good: Vec<_> =
            (0..clean.len()).filter(|n| begin(n + 1) <= from || begin(*n) >= to).map(|n| clean[n].clone()).collect();
        let mut reader = JournalReader::open(dir.path(), (0, 0));
        let items = drain(&mut reader);
        let is_damaged = |events: &[Event]| events == [Event::Damaged];
        let read: Vec<_> = items.iter().filter(|(_, events)| !is_damaged(events)).cloned().collect();
        assert!(read == good, "seed {seed}: {} batches read, {} are good", read.len(), good.len());
        // Every batch that is not good lies in a reported stretch.
        assert!(items.is_sorted_by_key(|(batch, _)| batch.batch) && read.len() < items.len());
        let reported: u64 = items.iter().filter(|(_, events)| is_damaged(events)).map(|(batch, _)| bytes(batch)).sum();
        assert!(reported > 0 && reported <= text.len() as u64);
    }
}

fn bytes(batch: &Batch) -> u64 {
    match &batch.kind {
        Kind::Frames { bytes, .. } => *bytes,
        Kind::Damaged { damage, .. } => damage.bytes,
        _ => 0,
    }
}

/// While a segment is written to, nobody knows how many batches damage at its end has hit.
#[test]
fn damage_at_the_end_of_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let mut reader = JournalReader::open(dir.path(), (0, 0));
    for text in ["0", "1", "2"] {
        journal.append(text, 1, text.as_bytes()).unwrap();
    }
    journal.commit().unwrap();
    let mut text = segment(dir.path(), 1);
    let second = text.len() / 3;
    text[second..].fill(b'#');
    let file = fs::OpenOptions::new().write(true).open(segment_path(dir.path(), 1)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &text, 0).unwrap();
    let events = |items: Vec<(Batch, Vec<Event>)>| items.into_iter().flat_map(|(_, e)| e).collect::<Vec<_>>();
    assert_eq!(events(drain(&mut reader)), [line("0", "0"), Event::Damaged]);
    assert_eq!(reader.position(), (1, 2));
    journal.append("3", 1, b"3").unwrap();
    journal.commit().unwrap();
    assert_eq!(events(drain(&mut reader)), [line("3", "3")]);
    assert_eq!(reader.position(), (1, 4));
    assert_eq!(read(dir.path(), (1, 1)), [Event::Damaged, line("3", "3")]);
}

#[test]
fn a_batch_that_was_cut_out() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, begins) = small_journal(dir.path());
    let text = segment(dir.path(), 1);
    let edited = [&text[..begins[1]], &text[begins[3]..]].concat();
    fs::write(segment_path(dir.path(), 1), &edited).unwrap();
    write_head(dir.path(), 1, edited.len() as u64);
    let items = drain(&mut JournalReader::open(dir.path(), (0, 0)));
    let Kind::Damaged { damage, .. } = &items[1].0.kind else { panic!("damage") };
    assert_eq!((damage.bytes, damage.why), (0, "batches are missing"));
    let want = [batches[0].clone(), vec![Event::Damaged], batches[3..].concat()].concat();
    assert_eq!(items.into_iter().flat_map(|(_, events)| events).collect::<Vec<_>>(), want);
}

#[test]
fn bytes_put_before_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, _) = small_journal(dir.path());
    let edited = [b"#!\n".as_slice(), &segment(dir.path(), 1)].concat();
    fs::write(segment_path(dir.path(), 1), &edited).unwrap();
    write_head(dir.path(), 1, edited.len() as u64);
    assert_eq!(read(dir.path(), (0, 0)), [vec![Event::Damaged], batches.concat()].concat());
}

/// What a torn write leaves of a body is not searched: it may hold a frame that looks like the next mark.
#[test]
fn a_look_alike_in_a_torn_body() {
    let dir = light_dir();
    let mut journal = open(dir.path());
    for frame in [look_alike(0), look_alike(1), "x".repeat(100)] {
        journal.append("a", 1, frame.as_bytes()).unwrap();
    }
    journal.commit().unwrap();
    let text = segment(dir.path(), 1);
    let torn = &text[..text.len() - 50];
    fs::write(segment_path(dir.path(), 1), torn).unwrap();
    write_head(dir.path(), 2, 0);
    let mut reader = JournalReader::open(dir.path(), (1, 0));
    let batch = reader.next_batch().unwrap().unwrap();
    let damage = Damage { bytes: torn.len() as u64, lines: Some(3), why: "the body is cut off" };
    assert_eq!(batch.kind, Kind::Damaged { after_ms: None, damage: damage.clone() });
    assert_eq!(reader.body(&batch).unwrap(), Body::Damaged(damage));
    assert_eq!(reader.next_batch().unwrap(), None);
    fs::remove_file(Head::path(dir.path())).unwrap();
    drop(journal);
    assert_eq!(open_with(dir.path(), 1).1.truncated_bytes, torn.len() as u64);
}

/// Behind damage, a mark of frames needs the right body.
#[test]
fn a_look_alike_in_a_damaged_batch() {
    let dir = light_dir();
    let mut journal = open(dir.path());
    let fake = format!(r#"{PREFIX_TEXT}1,"feed":"b","at_ms":66,"lines":1,"bytes":2,"crc32":"00000000""#);
    let fake = format!("{fake},\"check\":\"{:08x}\"}}}}", crc32fast::hash(fake.as_bytes()));
    journal.append("a", 1, fake.as_bytes()).unwrap();
    journal.append("a", 1, b"1").unwrap();
    journal.tick(7).unwrap();
    journal.commit().unwrap();
    let mut text = segment(dir.path(), 1);
    text[5] ^= 1;
    fs::write(segment_path(dir.path(), 1), &text).unwrap();
    assert_eq!(read(dir.path(), (0, 0)), [Event::Damaged, Event::Tick(7)]);
}

/// The search for the next mark reads 64 KiB at a time.
#[test]
fn a_mark_across_two_pieces() {
    for before in 0..=PREFIX_TEXT.len() {
        let dir = light_dir();
        let mut journal = open(dir.path());
        // The first mark has 149 bytes, the body one more than the frame.
        let frame = vec![b'1'; (64 << 10) - before - 150];
        journal.append("a", 1_790_000_000_000, &frame).unwrap();
        journal.tick(7).unwrap();
        journal.commit().unwrap();
        let mut text = segment(dir.path(), 1);
        let tick = text.len() - look_alike(1).len();
        assert_eq!(tick + before, 64 << 10);
        text[5] ^= 1;
        fs::write(segment_path(dir.path(), 1), &text).unwrap();
        assert_eq!(read(dir.path(), (0, 0)), [Event::Damaged, Event::Tick(7)]);
    }
}

#[test]
fn two_writers() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = Journal::open(dir.path(), Options::default(), [2; 16]);
    let error = second.err().expect("the first has the lock");
    assert!(matches!(error, JournalError::Locked { .. }) && !error.retry());
    assert!(error.to_string().contains("another process writes this journal"), "{error}");
    let id = first.id();
    drop(first);
    let (again, _) = Journal::open(dir.path(), Options::default(), [2; 16]).unwrap();
    assert_eq!((again.id(), JournalId::read(dir.path()).unwrap()), (id, Some(id)));
}

#[test]
fn readers_follow_a_living_writer() {
    const FRAMES: usize = 4000;
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let frames: Vec<(String, String)> = (0..FRAMES)
        .map(|n| {
            (["a", "b", "c"][random.below(3) as usize].to_owned(), format!("{n}{}", random.letters(n as u64 % 50)))
        })
        .collect();
    let want: Vec<Event> = frames.iter().map(|(feed, text)| line(feed, text)).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Before the writer has made the directory.
                let mut reader = JournalReader::open(&dir.path().join("j/k"), (0, 0));
                let (mut got, mut last) = (Vec::new(), (0, 0));
                while got.len() < FRAMES {
                    let Some(batch) = reader.next_batch().unwrap() else {
                        thread::yield_now();
                        continue;
                    };
                    assert!((batch.segment, batch.batch) >= last);
                    last = reader.position();
                    got.extend(events(&reader, &batch));
                }
                assert_eq!(got, want);
                assert_eq!(reader.next_batch().unwrap(), None);
            });
        }
        let (mut journal, _) = open_with(&dir.path().join("j/k"), 20_000);
        for (n, (feed, text)) in frames.iter().enumerate() {
            journal.append(feed, n as u64, text.as_bytes()).unwrap();
            if n % 37 == 0 || n + 1 == FRAMES {
                journal.commit().unwrap();
            }
        }
    });
}

/// Three segments of three batches.
fn three_segments(dir: &Path) -> Journal {
    let (mut journal, _) = open_with(dir, 1);
    for segment in 1..=3 {
        for feed in ["a", "b", "c"] {
            journal.append(feed, segment, format!("{segment}{feed}").as_bytes()).unwrap();
        }
        journal.commit().unwrap();
    }
    journal
}

#[test]
fn resuming_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = three_segments(dir.path());
    let all = drain(&mut JournalReader::open(dir.path(), (0, 0)));
    assert_eq!(all.len(), 9);
    let mut reader = JournalReader::open(dir.path(), (0, 0));
    for (n, item) in all.iter().enumerate() {
        for from in [(item.0.segment, item.0.batch), reader.position()] {
            let mut resumed = JournalReader::open(dir.path(), from);
            assert_eq!(resumed.position(), from);
            assert_eq!(drain(&mut resumed), all[n..]);
            assert_eq!(resumed.position(), (3, 3));
        }
        assert_eq!(reader.next_batch().unwrap().as_ref(), Some(&item.0));
    }
    // A body can be had later, too.
    for (batch, want) in &all {
        assert_eq!(events(&reader, batch), *want);
    }
    // A position behind the end of a closed segment is the beginning of the next.
    assert_eq!(drain(&mut JournalReader::open(dir.path(), (1, 7))), all[3..]);
}

#[test]
fn a_position_behind_the_end_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = three_segments(dir.path());
    let mut readers: Vec<_> =
        [(3, 4), (4, 0), (5, 1)].into_iter().map(|from| JournalReader::open(dir.path(), from)).collect();
    for reader in &mut readers {
        assert_eq!(reader.next_batch().unwrap(), None);
    }
    for segment in 4..=5 {
        for text in ["x", "y"] {
            journal.append(text, 1, format!("{segment}{text}").as_bytes()).unwrap();
        }
        journal.commit().unwrap();
    }
    let all = [line("x", "4x"), line("y", "4y"), line("x", "5x"), line("y", "5y")];
    for (reader, from) in readers.iter_mut().zip([0, 0, 3]) {
        let got: Vec<Event> = drain(reader).into_iter().flat_map(|(_, events)| events).collect();
        assert_eq!(got, all[from..]);
    }
}

#[test]
fn a_head_that_goes_back_or_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = three_segments(dir.path());
    let mut reader = JournalReader::open(dir.path(), (0, 0));
    assert_eq!(drain(&mut reader).len(), 9);
    let head = fs::read(Head::path(dir.path())).unwrap();
    for (segment, bytes) in [(3, 10), (2, 1000), (0, 0), (3, 1 << 40)] {
        write_head(dir.path(), segment, bytes);
        assert_eq!(reader.next_batch().unwrap(), None);
    }
    fs::remove_file(Head::path(dir.path())).unwrap();
    assert_eq!(reader.next_batch().unwrap(), None);
    fs::write(Head::path(dir.path()), head).unwrap();
    assert_eq!(reader.next_batch().unwrap(), None);
    drop(journal);
    journal = open(dir.path());
    journal.tick(77).unwrap();
    journal.commit().unwrap();
    assert_eq!(drain(&mut reader)[0].1, [Event::Tick(77)]);
}

#[test]
fn deleted_segments_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = three_segments(dir.path());
    let all = drain(&mut JournalReader::open(dir.path(), (0, 0)));
    let mut slow = JournalReader::open(dir.path(), (1, 0));
    assert_eq!(slow.next_batch().unwrap().as_ref(), Some(&all[0].0));
    assert!(matches!(journal.remove(3), Err(JournalError::Newest { segment: 3 })));
    assert_eq!(journal.releasable(2), [(1, segment_path(dir.path(), 1))]);
    // An archive may have moved it away.
    fs::rename(segment_path(dir.path(), 1), dir.path().join("archived")).unwrap();
    assert_eq!(journal.release(u32::MAX).unwrap(), [1, 2]);
    assert_eq!((journal.bytes(), journal.oldest_ms()), (segment(dir.path(), 3).len() as u64, Some(3)));

    let last: Vec<Event> = all[6..].iter().flat_map(|(_, events)| events.clone()).collect();
    let with_hole = |hole: Event| [vec![hole], last.clone()].concat();
    // It has the first segment open, and reads it to its end.
    let mut rest: Vec<Event> = drain(&mut slow).into_iter().flat_map(|(_, events)| events).collect();
    assert_eq!(rest.split_off(2), with_hole(Event::Missing(2, 2)));
    assert_eq!(rest, [line("b", "1b"), line("c", "1c")]);
    assert_eq!(read(dir.path(), (1, 2)), with_hole(Event::Missing(1, 2)));
    assert_eq!(read(dir.path(), (2, 0)), with_hole(Event::Missing(2, 2)));
    assert_eq!(read(dir.path(), (0, 0)), last);
    assert!(matches!(slow.body(&all[0].0), Err(JournalError::Gone { segment: 1 })));
}

/// Closed at half the age, deleted at all of it, whoever has read them; by the times of batches and never by a clock.
#[test]
fn old_segments_are_closed_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_ms: 50, ..Options::default() };
    let (mut journal, _) = Journal::open(dir.path(), options, [1; 16]).unwrap();
    let mut add = |at_ms: u64| {
        journal.append("a", at_ms, at_ms.to_string().as_bytes()).unwrap();
        journal.commit().unwrap();
        let aged = journal.aged(100, at_ms);
        aged.iter().for_each(|(segment, _)| journal.remove(*segment).unwrap());
        aged.iter().map(|(segment, bytes)| (*segment, *bytes > 0)).collect::<Vec<_>>()
    };
    // A clock that is set back makes nothing older.
    for (at_ms, gone) in [(1_000, vec![]), (1_049, vec![]), (900, vec![]), (1_050, vec![]), (1_060, vec![])] {
        assert_eq!(add(at_ms), gone, "{at_ms}");
    }
    assert_eq!(add(1_099), []);
    assert_eq!(add(1_100), [(1, true)]);
    assert_eq!(
        read(dir.path(), (1, 2)),
        [vec![Event::Missing(1, 1)], [1_060, 1_099, 1_100].map(frame).to_vec()].concat()
    );
    // The newest stays however old it is.
    assert_eq!(add(2_000), []);
    assert_eq!(add(2_001), [(2, true)]);
    assert_eq!(read(dir.path(), (2, 0)), [Event::Missing(2, 2), frame(2_001)]);
    drop(journal);
    let (journal, _) = Journal::open(dir.path(), options, [1; 16]).unwrap();
    assert_eq!(journal.aged(100, 9_000), []);

    fn frame(at_ms: u64) -> Event {
        line("a", at_ms.to_string())
    }
}

#[test]
fn no_number_is_used_twice() {
    let dir = light_dir();
    let mut random = Random(3);
    let (mut seen, mut newest) = (0, 0);
    for _ in 0..60 {
        let (mut journal, _) = open_with(dir.path(), 1);
        for _ in 0..random.below(3) {
            journal.tick(1).unwrap();
            journal.commit().unwrap();
            let last = list_segments(dir.path()).unwrap().into_iter().max().unwrap();
            assert_eq!(last, newest + 1);
            newest = last;
            seen += 1;
        }
        if random.below(2) == 0 {
            journal.release(u32::MAX).unwrap();
            assert!(list_segments(dir.path()).unwrap().len() <= 1);
        }
    }
    assert!(seen > 30);
    // Not even when somebody deletes all of them.
    fs::remove_file(segment_path(dir.path(), newest)).unwrap();
    let (mut journal, recovery) = open_with(dir.path(), 1);
    assert!(recovery.lost_bytes > 0);
    journal.tick(1).unwrap();
    journal.commit().unwrap();
    assert_eq!(list_segments(dir.path()).unwrap(), [newest + 1]);
    // A reader may stand behind what was lost of a segment.
    fs::write(segment_path(dir.path(), newest + 1), "").unwrap();
    drop(journal);
    let mut reader = JournalReader::open(dir.path(), (newest + 1, 1));
    let mut journal = open(dir.path());
    journal.tick(2).unwrap();
    journal.commit().unwrap();
    assert_eq!(drain(&mut reader)[0].1, [Event::Tick(2)]);
}

#[test]
fn names_that_are_no_segments() {
    for name in
        ["0000000000.jsonl", "9999999999.jsonl", "000000001.jsonl", "+000000001.jsonl", "0000000001.json", "head"]
    {
        assert_eq!(segment_number(name), None, "{name}");
    }
    assert_eq!(segment_number("4294967295.jsonl"), Some(u32::MAX));
    let dir = tempfile::tempdir().unwrap();
    fs::write(segment_path(dir.path(), u32::MAX), look_alike_in(u32::MAX, 0) + "\n").unwrap();
    let mut journal = open(dir.path());
    journal.tick(1).unwrap();
    assert!(matches!(journal.commit(), Err(JournalError::Numbers { .. })));
    assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })));
    assert_eq!(read(dir.path(), (0, 0)), [Event::Tick(66)]);
}

/// Seeds 0..40: appends, commits, restarts, crashes, releases; one consumer that resumes. The model is a list.
#[test]
fn any_sequence_of_operations() {
    for seed in 0..40 {
        check_operations(&mut Random(seed), &format!("seed {seed}"));
    }
}

fn check_operations(random: &mut Random, what: &str) {
    let dir = light_dir();
    let dir = dir.path();
    let segment_bytes = 500 + random.below(5000);
    let mut journal = open_with(dir, segment_bytes).0;
    let mut consumer = JournalReader::open(dir, (0, 0));
    let mut consumed = Vec::new();
    let (mut durable, mut pending) = (Vec::new(), Vec::new());
    for ms in 0..150 {
        match random.below(12) {
            0..=4 => {
                let feed = ["a", "b", "c"][random.below(3) as usize];
                let length = if random.below(60) == 0 { 300_000 } else { random.below(400) };
                let mut text = random.letters(length);
                if random.below(8) == 0 {
                    text = look_alike(random.below(20) as u32);
                }
                journal.append(feed, ms, text.as_bytes()).unwrap();
                pending.push(line(feed, if text.is_empty() { "\"\"" } else { &text }));
            }
            5 => {
                journal.tick(ms).unwrap();
                pending.push(Event::Tick(ms));
            }
            6 => {
                journal.gap(ms, gap("b")).unwrap();
                pending.push(Event::Gap(gap("b")));
            }
            7 | 8 => {
                journal.commit().unwrap();
                assert_eq!(journal.pending_bytes(), 0);
                durable.append(&mut pending);
            }
            9 => {
                // Killed before it wrote anything.
                drop(journal);
                pending.clear();
                let recovery;
                (journal, recovery) = open_with(dir, segment_bytes);
                assert_eq!((recovery.truncated_bytes, recovery.lost_bytes), (0, 0), "{what}");
            }
            10 => {
                // Killed in a commit: the newest segment has any part of it, the head is the old one.
                let (head, before) = (fs::read(Head::path(dir)).unwrap(), newest(dir));
                journal.commit().unwrap();
                drop(journal);
                let (number, length) = newest(dir);
                let torn = if number == before.0 { before.1 } else { 0 };
                let torn = torn + random.below(length - torn + 1);
                if number > 0 {
                    let file = fs::OpenOptions::new().write(true).open(segment_path(dir, number)).unwrap();
                    file.set_len(torn).unwrap();
                }
                fs::write(Head::path(dir), head).unwrap();
                journal = open_with(dir, segment_bytes).0;
                // All that was promised is there, and the first of what was being written.
                consumed.extend(drain(&mut consumer).into_iter().flat_map(|(_, events)| events));
                assert!(consumed.len() >= durable.len(), "{what}");
                durable.extend(pending.drain(..).take(consumed.len() - durable.len()));
                pending.clear();
                assert_eq!(consumed, durable, "{what}");
            }
            _ => {
                consumed.extend(drain(&mut consumer).into_iter().flat_map(|(_, events)| events));
                let position = consumer.position();
                journal.release(position.0).unwrap();
                if random.below(2) == 0 {
                    consumer = JournalReader::open(dir, position);
                }
            }
        }
        let stored: u64 = list_segments(dir).unwrap().into_iter().map(|n| segment(dir, n).len() as u64).sum();
        assert_eq!(journal.bytes(), stored, "{what}");
        let first = JournalReader::open(dir, (0, 0)).next_batch().unwrap();
        assert_eq!(journal.oldest_ms(), first.and_then(|batch| batch.at_ms()), "{what}");
    }
    journal.commit().unwrap();
    durable.append(&mut pending);
    consumed.extend(drain(&mut consumer).into_iter().flat_map(|(_, events)| events));
    assert_eq!(consumed, durable, "{what}");
}

/// Number and length of the newest segment; zeros when there is none.
fn newest(dir: &Path) -> (u32, u64) {
    let newest = list_segments(dir).unwrap().into_iter().max();
    newest.map_or((0, 0), |number| (number, segment(dir, number).len() as u64))
}

const CHILD_DIR: &str = "CT_JOURNAL_TEST_DIR";

/// The process that is killed below; does nothing in a usual run.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (mut journal, _) = open_with(Path::new(&dir), 100_000);
    for n in 0.. {
        journal.append("a", n, format!("{n} {}", "x".repeat((n % 700) as usize)).as_bytes()).unwrap();
        if n % 50 == 0 {
            journal.commit().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_was_shown() {
    let dir = tempfile::tempdir().unwrap();
    let module = module_path!().split_once("::").expect("the crate comes first").1;
    let mut shown_in_all = 0;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::child_that_writes_until_it_is_killed")])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut reader = JournalReader::open(dir.path(), (newest(dir.path()).0 + 1, 0));
        let mut shown = Vec::new();
        while shown.len() < 500 + round * 977 {
            match reader.next_batch().unwrap() {
                Some(batch) => shown.extend(events(&reader, &batch)),
                None => assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself"),
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let from = JournalReader::open(dir.path(), (0, 0)).position();
        drop(open(dir.path()));
        let all = read(dir.path(), from);
        assert!(!all.contains(&Event::Damaged));
        shown_in_all += shown.len();
        assert!(all.len() >= shown_in_all);
        // Each incarnation counts from 0, without a hole.
        let mut expected = 0;
        for event in &all {
            let Event::Line(_, text) = event else { panic!("a line") };
            let number: u64 = std::str::from_utf8(text).unwrap().split_once(' ').unwrap().0.parse().unwrap();
            expected = if number == 0 { 0 } else { expected };
            assert_eq!(number, expected);
            expected += 1;
        }
        assert_eq!(all.iter().filter(|event| **event == line("a", "0 ")).count(), round + 1);
    }
}

#[test]
fn what_lies_behind_a_position() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(bytes_behind(dir.path(), (0, 0)).unwrap(), 0, "no journal");
    let mut journal = open_with(dir.path(), 1).0;
    for at_ms in 1..=3 {
        journal.append("a", at_ms, b"{}").unwrap();
        journal.commit().unwrap();
    }
    let lengths: Vec<u64> =
        (1..=3).map(|segment| fs::metadata(segment_path(dir.path(), segment)).unwrap().len()).collect();
    let behind = |position| bytes_behind(dir.path(), position).unwrap();
    assert_eq!(behind((0, 0)), lengths.iter().sum::<u64>());
    assert_eq!(behind((1, 5)), lengths.iter().sum::<u64>() - 5);
    assert_eq!(behind((3, lengths[2] - 1)), 1);
    assert_eq!(behind((3, u64::MAX)), 0);
    assert_eq!(behind((4, 0)), 0, "a place that is not written so far");
    journal.release(2).unwrap();
    assert_eq!(behind((1, 5)), lengths[1] + lengths[2], "what is deleted does not wait");
    // Not durable: the file has more than the head says.
    write_head(dir.path(), 3, 1);
    assert_eq!(behind((2, 0)), lengths[1] + 1);
}
