//! `settle`, `cut`, `stage` and `publish`: what is published together, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ct_dataflows::operators::cut::{self, CutRule, CutStart};
use ct_dataflows::operators::stage::CutsWaiting;
use ct_dataflows::operators::{peek, publish, settle, stage};
use ct_dataflows::records::{Answer, Block, Cut, Decision, Item, News, Peeked, Settled, Tail, Weight};
use ct_dataflows::{Epoch, Meter, Position};
use ct_model::message::Reader;
use ct_model::{Age, CertId, Counts, Rejected, Rows, Timestamp};
use timely::dataflow::operators::vec::Map;

use crate::feed::update;
use crate::random::Random;
use crate::run::{ARRIVALS, Arrival, WORKERS, feed, run, share};
use crate::world::{Lake, MemoryPublish, MemoryStage, SharedLake};

/// An epoch of 12 certificates, 2 broken lines and a list of names.
fn peeked(chunk: u32) -> Peeked {
    let mut text = String::new();
    for number in 0..12 {
        let number = u64::from(chunk) * 12 + number;
        text += &update(number, Some(1), Some(number), 1_795_392_000 + number);
        text += match number % 6 {
            0 => "\nbroken\n",
            3 => "\n{\"message_type\":\"dns_entries\",\"data\":[\"a.example\"]}\n",
            _ => "\n",
        };
    }
    let position = Position { segment: 0, chunk };
    let block = Block { position, feed: "feed".into(), text: text.into(), ..Block::default() };
    peek::read_block(&mut Reader::default(), block)
}

/// What an item of an epoch is, or nothing. An entry may be new without its certificate, and the other way round.
fn news(random: &mut Random, item: &Item) -> Vec<News> {
    let news = match item {
        Item::Sighting(_) => {
            let certificate = random.one_in(2).then_some(News::Certificate);
            let entry = [None, Some(News::Entry), Some(News::Conflict)][random.below(3) as usize];
            vec![certificate, entry]
        }
        Item::Rejected(_) => vec![random.one_in(2).then_some(News::Rejected)],
        Item::Coverage(_) => vec![random.one_in(2).then_some(News::Coverage)],
        Item::Names(_) => Vec::new(),
    };
    news.into_iter().flatten().collect()
}

/// What is compared of a settled epoch: ids in order, rejected lines, lists of names, and counts.
type Told = (Vec<CertId>, Vec<CertId>, Vec<u64>, usize, Counts);

fn told(settled: &Settled) -> Told {
    (
        settled.certificates.iter().map(|sighting| sighting.id).collect(),
        settled.entries.iter().map(|row| row.id).collect(),
        settled.rejected.iter().map(|row| row.line).collect(),
        settled.names.len(),
        settled.tail.counts.clone(),
    )
}

fn settle_by_loop(peeked: &Peeked, news: &[Vec<News>]) -> Told {
    let (mut certificates, mut entries, mut rejected, mut names) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut counts = peeked.tail.counts.clone();
    for (item, news) in peeked.items.iter().zip(news) {
        let conflict = news.contains(&News::Conflict);
        let (certificate, entry) = (news.contains(&News::Certificate), conflict || news.contains(&News::Entry));
        match item {
            Item::Sighting(sighting) => {
                certificates.extend(certificate.then_some(sighting.id));
                entries.extend(entry.then_some(sighting.id));
                *(if entry { &mut counts.entries } else { &mut counts.redelivered }) += 1;
                counts.known += u64::from(entry && !certificate);
                counts.conflicts += u64::from(conflict);
                counts.certificates += u64::from(certificate);
            }
            Item::Rejected(row) => {
                rejected.extend(news.contains(&News::Rejected).then_some(row.line));
                counts.rejected_new = rejected.len() as u64;
            }
            Item::Coverage(_) => counts.coverage += u64::from(!news.is_empty()),
            Item::Names(_) => names += 1,
        }
    }
    (certificates, entries, rejected, names, counts)
}

#[test]
fn settle_joins_items_with_answers_from_anywhere() {
    const EPOCHS: u32 = 23;
    let mut random = Random::new(5);
    let news: Vec<Vec<Vec<News>>> =
        (0..EPOCHS).map(|chunk| peeked(chunk).items.iter().map(|item| news(&mut random, item)).collect()).collect();
    for workers in WORKERS {
        let owner = move |chunk: u32| chunk as usize % workers;
        let mut answers: Vec<(Epoch, Answer)> = Vec::new();
        let mut want = HashMap::new();
        for (chunk, news) in (0..EPOCHS).zip(&news) {
            let epoch = Position { segment: 0, chunk }.epoch();
            for (ordinal, news) in (0..).zip(news) {
                let to = owner(chunk) as u32;
                answers.extend(news.iter().map(|news| (epoch, Answer { ordinal, to, news: *news })));
            }
            want.insert((epoch, owner(chunk)), settle_by_loop(&peeked(chunk), news));
        }
        for arrival in ARRIVALS {
            let answers = answers.clone();
            let settled = run(workers, move |scope, settled| {
                let (index, peers) = (scope.index(), scope.peers());
                let mine: Vec<(Epoch, u32)> = (0..EPOCHS)
                    .filter(|chunk| owner(*chunk) == index)
                    .map(|chunk| (Position { segment: 0, chunk }.epoch(), chunk))
                    .collect();
                let mine = share(&mine, arrival, 0, 1);
                let answers = feed(scope, share(&answers, arrival, index, peers));
                let items = feed(scope, mine).map(peeked);
                let out = settle::settle(items, answers, Arc::new(Meter::default()));
                settled.gather(out, move |epoch, out| ((epoch, index), told(&out)));
            });
            assert_eq!(settled.len(), EPOCHS as usize, "workers={workers} {arrival:?}");
            assert_eq!(HashMap::from_iter(settled), want, "workers={workers} {arrival:?}");
        }
    }
}

/// An epoch of so many messages, each of 10 bytes and on a line of its own.
#[derive(Clone, Copy)]
struct Chunk {
    segment: u32,
    chunk: u32,
    messages: u64,
    last: bool,
    /// It has a rejected row.
    numbered: bool,
}

impl Chunk {
    fn position(self) -> Position {
        Position { segment: self.segment, chunk: self.chunk }
    }

    /// The epoch's own weight, and one of findings that came later.
    fn weights(self) -> [(Epoch, Weight); 2] {
        let counts = Counts { messages: self.messages, other: self.messages, ..Counts::default() };
        let tail = Tail { position: self.position(), lines: self.messages, last: self.last, counts, ..Tail::default() };
        let newest_seen = Some(i64::from(self.chunk));
        let (bytes, numbered) = (10 * self.messages, self.numbered);
        let own = Weight { bytes, newest_seen, numbered, counts: Counts::default(), tail: Some(tail) };
        let findings = Counts { findings: 1, ..Counts::default() };
        let late = Weight { bytes: 1, newest_seen: None, numbered: false, counts: findings, tail: None };
        [(self.position().epoch(), own), (self.position().epoch(), late)]
    }
}

/// What is compared of a cut: number, epoch, next position, lines, end, messages, findings, newest, lines before.
type CutTold = (u64, Epoch, Position, u64, bool, u64, u64, Option<i64>, Vec<(u64, u64)>);

fn cut_told(cut: &Cut) -> CutTold {
    let counts = &cut.counts;
    let lines_before = cut.lines_before.clone();
    let (messages, findings) = (counts.messages, counts.findings);
    (cut.sequence, cut.epoch, cut.next, cut.lines, cut.complete, messages, findings, cut.newest_seen, lines_before)
}

/// `chunks` in order of position.
fn cuts_by_loop(chunks: &[Chunk], rule: CutRule, start: CutStart) -> Vec<CutTold> {
    let mut cuts = Vec::new();
    let (mut sequence, mut expected, mut lines) = (start.sequence, start.from, start.lines);
    let (mut bytes, mut messages, mut findings, mut newest, mut before) = (0, 0, 0, None, Vec::new());
    let mut at: usize = 0;
    while chunks.get(at).is_some_and(|chunk| chunk.position() == expected) {
        let chunk = chunks[at];
        at += 1;
        bytes += 10 * chunk.messages + 1;
        messages += chunk.messages;
        findings += 1;
        newest = newest.max(Some(i64::from(chunk.chunk)));
        if chunk.numbered {
            before.push((chunk.position().epoch(), lines));
        }
        lines += chunk.messages;
        expected.chunk += 1;
        if chunk.last {
            (expected, lines) = (Position { segment: chunk.segment + 1, chunk: 0 }, 0);
        }
        let ends = chunks.get(at).is_none_or(|next| next.position() != expected);
        if bytes >= rule.bytes || messages >= rule.messages || ends {
            let complete = expected.segment == start.segments;
            let lines_before = std::mem::take(&mut before);
            cuts.push((
                sequence,
                chunk.position().epoch(),
                expected,
                lines,
                complete,
                messages,
                findings,
                newest,
                lines_before,
            ));
            sequence += 1;
            (bytes, messages, findings, newest) = (0, 0, 0, None);
        }
    }
    cuts
}

/// `want`: the last position of each cut.
#[track_caller]
fn check_cut(chunks: &[Chunk], rule: CutRule, start: CutStart, want: &[(u32, u32)]) {
    let by_loop = cuts_by_loop(chunks, rule, start);
    let ends: Vec<Epoch> =
        want.iter().map(|(segment, chunk)| Position { segment: *segment, chunk: *chunk }.epoch()).collect();
    assert_eq!(by_loop.iter().map(|cut| cut.1).collect::<Vec<_>>(), ends);
    let weights: Vec<(Epoch, Weight)> = chunks.iter().flat_map(|chunk| chunk.weights()).collect();
    for workers in WORKERS {
        for arrival in ARRIVALS {
            let weights = weights.clone();
            let mut cuts = run(workers, move |scope, cuts| {
                let index = scope.index();
                let weights = feed(scope, share(&weights, arrival, index, scope.peers()));
                let decisions = cut::cut(weights, rule, start);
                cuts.gather(decisions, move |epoch, decision| {
                    let told = match decision {
                        Decision::Cut(cut) => Some(cut_told(&cut)),
                        Decision::Stop => None,
                    };
                    (index, epoch, told)
                });
            });
            cuts.sort();
            let place = format!("workers={workers} {arrival:?}");
            assert!(
                cuts.iter().all(|(worker, epoch, cut)| *worker == 0 && cut.as_ref().is_none_or(|cut| *epoch == cut.1))
            );
            let stops = cuts.iter().filter(|(_, _, cut)| cut.is_none()).count();
            assert_eq!(stops, usize::from(has_gap(chunks, start)), "{place}");
            let cuts: Vec<CutTold> = cuts.into_iter().filter_map(|(_, _, cut)| cut).collect();
            assert_eq!(cuts, by_loop, "{place}");
        }
    }
}

/// Whether a chunk before the last is missing.
fn has_gap(chunks: &[Chunk], start: CutStart) -> bool {
    let mut expected = start.from;
    chunks.iter().any(|chunk| {
        let follows = chunk.position() == std::mem::replace(&mut expected, chunk.position().next(chunk.last));
        !follows
    })
}

const NEVER: CutRule = CutRule { bytes: u64::MAX, messages: u64::MAX, interval: None };

fn from_the_start(segments: u32) -> CutStart {
    CutStart { sequence: 1, from: Position::default(), lines: 0, segments, damaged: None }
}

/// Segment 0 of `counts.len()` chunks with so many messages.
fn one_segment(counts: &[u64]) -> Vec<Chunk> {
    let chunks = (0..).zip(counts).map(|(chunk, messages)| {
        let last = chunk as usize + 1 == counts.len();
        Chunk { segment: 0, chunk, messages: *messages, last, numbered: chunk % 2 == 1 }
    });
    chunks.collect()
}

#[test]
fn cut_at_the_end() {
    check_cut(&one_segment(&[3, 4, 5]), NEVER, from_the_start(1), &[(0, 2)]);
}

#[test]
fn cut_of_no_input() {
    check_cut(&[], NEVER, from_the_start(1), &[]);
}

#[test]
fn cut_by_messages() {
    check_cut(
        &one_segment(&[3, 4, 5, 20, 1, 2]),
        CutRule { messages: 10, ..NEVER },
        from_the_start(1),
        &[(0, 2), (0, 3), (0, 5)],
    );
}

#[test]
fn cut_by_bytes_of_late_findings_too() {
    check_cut(&one_segment(&[1, 1, 1, 1]), CutRule { bytes: 22, ..NEVER }, from_the_start(1), &[(0, 1), (0, 3)]);
}

#[test]
fn cut_by_age() {
    let rule = CutRule { interval: Some(60), ..NEVER };
    let start = CutStart { sequence: 1, from: Position::default(), lines: 0, segments: u32::MAX, damaged: None };
    // Arrival, messages, and whether the epoch ends a cut: at an idle time nothing is cut, and a clock set back counts
    // from where it stands.
    let epochs = [(0, 0, false), (100, 5, false), (159, 1, false), (160, 0, true), (300, 0, false), (400, 2, false)];
    let epochs = epochs.into_iter().chain([(90, 1, false), (149, 0, false), (150, 0, true), (151, 0, true)]);
    let weights: Vec<(Epoch, Weight)> = epochs
        .clone()
        .zip(0..)
        .map(|((at, messages, _), chunk)| {
            let position = Position { segment: 0, chunk };
            let counts = Counts { messages, other: messages, ..Counts::default() };
            let tail = Tail { position, at: Some(Timestamp(at)), counts, ..Tail::default() };
            let weight =
                Weight { bytes: 0, newest_seen: None, numbered: false, counts: Counts::default(), tail: Some(tail) };
            (position.epoch(), weight)
        })
        .collect();
    let mut cuts = run(2, move |scope, cuts| {
        let weights = feed(scope, share(&weights, Arrival::InOrder, scope.index(), scope.peers()));
        cuts.gather(cut::cut(weights, rule, start), |epoch, _| epoch);
    });
    cuts.sort_unstable();
    let ends = epochs.zip(0..).filter(|((.., end), _)| *end);
    assert!(cuts.into_iter().eq(ends.map(|(_, chunk)| Position { segment: 0, chunk }.epoch())));
}

#[test]
fn cut_before_a_new_generation() {
    let weights: Vec<(Epoch, Weight)> = [3, 3, 3, 4, 4, 7, 7]
        .into_iter()
        .zip(0..)
        .map(|(generation, chunk)| {
            let position = Position { segment: 0, chunk };
            let age = Age { ms: u64::from(chunk) * 100, at_ms: 1 };
            let tail = Tail { position, age, generation, last: chunk == 6, ..Tail::default() };
            let counts = Counts::default();
            (position.epoch(), Weight { bytes: 0, newest_seen: None, numbered: false, counts, tail: Some(tail) })
        })
        .collect();
    for workers in WORKERS {
        let weights = weights.clone();
        let mut cuts = run(workers, move |scope, cuts| {
            let weights = feed(scope, share(&weights, Arrival::Reversed, scope.index(), scope.peers()));
            cuts.gather(cut::cut(weights, NEVER, from_the_start(1)), |epoch, decision| match decision {
                Decision::Cut(cut) => (epoch, cut.sequence, cut.age.ms),
                Decision::Stop => panic!("nothing is missing"),
            });
        });
        cuts.sort_unstable();
        let epoch = |chunk| Position { segment: 0, chunk }.epoch();
        assert_eq!(cuts, [(epoch(2), 1, 200), (epoch(4), 2, 400), (epoch(6), 3, 600)], "workers={workers}");
    }
}

#[test]
fn cut_ends_at_a_gap() {
    let mut chunks = one_segment(&[3, 4, 5, 6, 7]);
    chunks.remove(2);
    check_cut(&chunks, CutRule { messages: 6, ..NEVER }, from_the_start(1), &[(0, 1)]);
    chunks.remove(0);
    check_cut(&chunks, NEVER, from_the_start(1), &[]);
}

#[test]
fn cut_resumes_where_another_job_ended() {
    let chunks = one_segment(&[3, 4, 5, 6]).split_off(2);
    let start = CutStart { sequence: 9, from: Position { segment: 0, chunk: 2 }, lines: 7, segments: 1, damaged: None };
    check_cut(&chunks, CutRule { messages: 5, ..NEVER }, start, &[(0, 2), (0, 3)]);
}

#[test]
fn cut_of_many_segments() {
    let mut random = Random::new(6);
    let mut chunks = Vec::new();
    for segment in 0..12 {
        let count = random.below(9) as u32 + 1;
        chunks.extend((0..count).map(|chunk| Chunk {
            segment,
            chunk,
            messages: random.below(30),
            last: chunk + 1 == count,
            numbered: random.one_in(3),
        }));
    }
    for rule in [NEVER, CutRule { bytes: 900, ..NEVER }, CutRule { messages: 77, ..NEVER }] {
        let ends: Vec<(u32, u32)> = cuts_by_loop(&chunks, rule, from_the_start(12))
            .iter()
            .map(|cut| (((cut.1 - 1) >> 32) as u32, (cut.1 - 1) as u32))
            .collect();
        check_cut(&chunks, rule, from_the_start(12), &ends);
    }
}

/// A row that names its epoch and its worker.
fn row(epoch: Epoch, worker: usize) -> Rows {
    let rejected = Rejected {
        feed: "feed".into(),
        segment: worker.to_string().into(),
        line: 1,
        offset: epoch,
        reason: "json",
        detail: "".into(),
        seen: None,
        raw: Box::default(),
    };
    Rows { rejected: vec![rejected], ..Rows::default() }
}

fn cut_at(sequence: u64, epoch: Epoch, lines_before: &[(u64, u64)]) -> Cut {
    Cut {
        sequence,
        epoch,
        next: Position::default(),
        lines: 0,
        complete: false,
        counts: Counts::default(),
        newest_seen: None,
        age: Age::default(),
        broken: Vec::new(),
        lines_before: lines_before.to_vec(),
        damage: Vec::new(),
    }
}

/// Stages and publishes a row for each of `epochs`, each by another worker. Gives the lake, and the output of publish
/// by worker.
fn run_publish(workers: usize, arrival: Arrival, epochs: &[Epoch], cuts: &[Cut]) -> (Lake, Vec<(usize, Epoch, u64)>) {
    let lake = SharedLake::default();
    let (shared, epochs, cuts) = (lake.clone(), epochs.to_vec(), cuts.to_vec());
    let published = run(workers, move |scope, published| {
        let index = scope.index();
        let epochs: Vec<(Epoch, Epoch)> = epochs.iter().map(|epoch| (*epoch, *epoch)).collect();
        let rows = feed(scope, share(&epochs, arrival, index, scope.peers())).map(move |epoch| row(epoch, index));
        // Every worker sees every cut, in order.
        let cuts = feed(scope, cuts.iter().map(|cut| (cut.epoch, Decision::Cut(cut.clone()))).collect());
        let waiting = CutsWaiting::default();
        let stage_port = MemoryStage::new(index, shared.clone());
        let staged = stage::stage(rows, cuts.clone(), stage_port, waiting);
        let out = publish::publish(cuts, staged, MemoryPublish::new(shared.clone()));
        published.gather(out, move |epoch, sequence| (index, epoch, sequence));
    });
    (lake.take(), published)
}

#[test]
fn staged_rows_are_published_by_cuts() {
    let epochs: Vec<Epoch> = (1..=40).collect();
    let cuts = [cut_at(5, 7, &[(3, 100), (7, 200)]), cut_at(6, 8, &[]), cut_at(7, 30, &[(9, 1), (30, 2)])];
    // Nothing beyond the last cut is published.
    let mut want: BTreeMap<u64, Vec<(Epoch, u64)>> = BTreeMap::new();
    for epoch in 1..=30_u64 {
        let cut = cuts.iter().find(|cut| epoch <= cut.epoch).expect("a cut covers it");
        let before = cut.lines_before.iter().find(|(of, _)| *of == epoch).map_or(0, |(_, lines)| *lines);
        want.entry(cut.sequence).or_default().push((epoch, 1 + before));
    }
    for workers in WORKERS {
        for arrival in ARRIVALS {
            let place = format!("workers={workers} {arrival:?}");
            let (lake, published) = run_publish(workers, arrival, &epochs, &cuts);
            assert_eq!(published, [(0, 7, 5), (0, 8, 6), (0, 30, 7)], "{place}");
            assert!(lake.published.iter().map(|(cut, _)| cut.sequence).eq(5..=7), "{place}");
            for (cut, rows) in &lake.published {
                let mut rows: Vec<(Epoch, u64)> = rows.rejected.iter().map(|row| (row.offset, row.line)).collect();
                rows.sort_unstable();
                assert_eq!(rows, want[&cut.sequence], "{place}");
            }
            for worker in 0..workers {
                let sequences = lake.submitted.iter().filter(|(_, of)| *of == worker).map(|(sequence, _)| *sequence);
                assert!(sequences.eq(5..=7), "{place}: every worker stages every manifest once, in order");
            }
        }
    }
}

#[test]
fn a_cut_without_rows_is_published() {
    for workers in WORKERS {
        let (lake, published) = run_publish(workers, Arrival::InOrder, &[], &[cut_at(1, 4, &[]), cut_at(2, 9, &[])]);
        assert_eq!(published, [(0, 4, 1), (0, 9, 2)], "workers={workers}");
        assert!(lake.published.iter().all(|(_, rows)| rows.is_empty()), "workers={workers}");
    }
}
