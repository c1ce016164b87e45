//! The whole graph: the same rows for any number of workers and any size of chunks, and those of a plain loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ct_dataflows::graph::{Ports, Settings, build};
use ct_dataflows::modules::Modules;
use ct_dataflows::operators::cut::{CutRule, CutStart};
use ct_dataflows::operators::peek;
use ct_dataflows::records::{Block, Cut, Item, Known};
use ct_dataflows::{Epoch, Meter, Position};
use ct_model::id::log_digest;
use ct_model::message::Reader;
use ct_model::{Age, CertRecord, Counts, EntryPlace, Horizon, Key, Rows};
use serde_json::json;

use crate::feed::{Segment, blocks, segments};
use crate::oracle::{self, check_same_rows};
use crate::random::Random;
use crate::run::{Links, WORKERS};
use crate::world::{Lake, MemoryBlocks, MemoryKnown, MemoryPublish, MemoryStage, Part, SharedLake};

/// Every host name and every wildcard once, odd names with each certificate, and modules with a memory.
fn modules() -> Arc<Modules> {
    let options = json!({
        "names": { "track_wildcards": true, "first_seen": "host" },
        "rate-anomaly": {
            "by": ["domain"], "window_minutes": 1, "history": 4, "learn_windows": 1, "z": 1, "minimum_domain": 3
        },
        "clusters": { "k": 2, "shapes": ["digits"] },
    });
    let options: BTreeMap<_, _> = serde_json::from_value(options).expect("tables of options");
    let selected: Vec<String> = options.keys().cloned().collect();
    Arc::new(Modules::prepare(&selected, &options).expect("the options are good"))
}

/// Goes on by a millisecond with each look.
fn clock() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(1_000_000, Ordering::Relaxed)
}

struct Job<'a> {
    segments: &'a [Segment],
    chunk_bytes: usize,
    workers: usize,
    links: Links,
    rule: CutRule,
    start: CutStart,
    /// What the lake has, with its generation.
    known: &'a [(u32, Known)],
    /// Blocks of the input that make a generation, if anything is to be forgotten.
    generation_blocks: Option<usize>,
    /// This worker stops reading after so many blocks.
    stop: Option<(usize, usize)>,
}

const SMALL_CUTS: CutRule = CutRule { bytes: 60_000, messages: 150, interval: None };

impl<'a> Job<'a> {
    fn new(segments: &'a [Segment], chunk_bytes: usize, workers: usize) -> Self {
        let start = CutStart {
            sequence: 1,
            from: Position::default(),
            lines: 0,
            segments: segments.len() as u32,
            damaged: None,
        };
        Self {
            segments,
            chunk_bytes,
            workers,
            links: Links::Bytes,
            rule: SMALL_CUTS,
            start,
            known: &[],
            generation_blocks: None,
            stop: None,
        }
    }

    /// The whole input. How old it is goes by generations.
    fn blocks(&self) -> impl Iterator<Item = Block> {
        let all = self.segments.iter().zip(0..).flat_map(|(segment, number)| blocks(segment, number, self.chunk_bytes));
        all.enumerate().map(|(ordinal, block)| {
            let generation = self.generation_blocks.map_or(0, |blocks| (ordinal / blocks) as u32);
            let age = Age { ms: u64::from(generation), at_ms: 0 };
            Block { generation, age, ..block }
        })
    }

    /// The share of one worker; neighbouring chunks go to different workers.
    fn blocks_of(&self, worker: usize) -> Vec<Block> {
        let mine = self.blocks().filter(|block| {
            let Position { segment, chunk } = block.position;
            block.position >= self.start.from && (segment + chunk) as usize % self.workers == worker
        });
        let stop = self.stop.filter(|(stopping, _)| *stopping == worker).map_or(usize::MAX, |(_, blocks)| blocks);
        mine.take(stop).collect()
    }

    /// Runs the graph until all is published.
    fn run(&self) -> Lake {
        let settings = Settings {
            keep_der: false,
            modules: modules(),
            rule: self.rule,
            start: self.start,
            epochs_inflight: 3,
            cuts_inflight: 2,
        };
        let lake = SharedLake::default();
        let ports = (0..self.workers).map(|worker| {
            let seed = worker as u64;
            let known: Vec<(u32, Known)> = self.known.iter().skip(worker).step_by(self.workers).cloned().collect();
            Some(Ports {
                blocks: MemoryBlocks::new(self.blocks_of(worker), seed),
                known: MemoryKnown::new(&known, seed),
                stage: MemoryStage::new(worker, lake.clone()),
                publish: MemoryPublish::new(lake.clone()),
                show: Box::new(|_| {}),
                clock,
            })
        });
        let ports = Mutex::new(ports.collect::<Vec<_>>());
        let meter = Arc::new(Meter::default());
        let guards = timely::execute(self.links.config(self.workers), move |worker| {
            let mine = ports.lock().expect("no worker panicked")[worker.index()].take();
            let mine = mine.expect("a worker takes its ports once");
            let probe =
                worker.dataflow::<Epoch, _, _>(|scope| build::<Part, _, _, _, _>(scope, &settings, mine, &meter));
            while !probe.done() {
                worker.step_or_park(None);
            }
        });
        for ended in guards.expect("threads start").join() {
            ended.expect("no worker panics");
        }
        lake.take()
    }
}

/// All rows of a lake, its counts, and its last cut; every manifest is checked on the way.
fn published(lake: Lake, workers: usize, start: CutStart) -> (Rows, Counts, Option<Cut>) {
    let (mut rows, mut counts, mut last) = (Vec::new(), Counts::default(), None::<Cut>);
    let manifests = lake.published.len() as u64;
    for (cut, part) in lake.published {
        assert_eq!(cut.sequence, last.as_ref().map_or(start.sequence, |last| last.sequence + 1));
        assert!(last.as_ref().is_none_or(|last| last.epoch < cut.epoch && !last.complete));
        assert!(cut.counts.add_up(), "{:?}", cut.counts);
        assert_eq!(cut.counts.certificates, part.certificates.len() as u64);
        assert_eq!(cut.counts.entries, part.entries.len() as u64);
        assert_eq!(cut.counts.findings, part.findings.len() as u64);
        assert_eq!(cut.counts.rejected_new, part.rejected.len() as u64);
        let seen = (part.certificates.iter().map(|row| row.seen))
            .chain(part.entries.iter().map(|row| row.seen))
            .chain(part.findings.iter().map(|row| row.seen))
            .chain(part.rejected.iter().map(|row| row.seen));
        assert_eq!(cut.newest_seen, seen.flatten().max().map(|seen| seen.0));
        assert!(cut.lines_before.is_sorted());
        counts += &cut.counts;
        rows.push(part);
        last = Some(cut);
    }
    let mut submitted = lake.submitted;
    submitted.sort_unstable();
    let every: Vec<Part> = (0..manifests)
        .flat_map(|manifest| (0..workers).map(move |worker| (start.sequence + manifest, worker)))
        .collect();
    assert_eq!(submitted, every, "every worker stages for every manifest once");
    (Rows::concat(rows), counts, last)
}

/// What a second job reads back from the lake.
fn known(rows: &Rows) -> Vec<(u32, Known)> {
    let certificates = rows.certificates.iter().map(|row| Known::Key(row.id.key()));
    let entries = rows.entries.iter().map(|row| match (&row.log, row.log_index) {
        (Some(log), Some(index)) => {
            Known::Entry { place: EntryPlace { log: log_digest(log), index }, tag: row.id.tag() }
        }
        (log, _) => Known::Key(Key::unplaced(log.as_deref().unwrap_or_default(), &row.id)),
    });
    let findings = rows.findings.iter().filter(|row| row.once).map(|row| Known::Finding(Key::finding(&row.id)));
    let rejected =
        rows.rejected.iter().map(|row| Known::Key(Key::rejected(&row.feed, &row.segment, row.offset, &row.raw)));
    let coverage = rows.coverage.iter().map(|row| Known::Key(Key::coverage(row)));
    let remembered = rows.certificates.iter().map(|row| Known::Certificate(Box::new(recalled(row))));
    let all = certificates.chain(entries).chain(findings).chain(rejected).chain(coverage).chain(remembered);
    let mut known: Vec<(u32, Known)> = all.map(|known| (0, known)).collect();
    Random::new(rows.certificates.len() as u64).shuffle(&mut known);
    known
}

/// The columns of a certificate that are read back for modules with a memory.
fn recalled(row: &CertRecord) -> CertRecord {
    CertRecord {
        sha1: None,
        serial: None,
        subject_dn: None,
        subject_cn: None,
        ips: Vec::new(),
        key_algorithm: None,
        key_bits: None,
        signature_algorithm: None,
        is_ca: None,
        sct_count: None,
        scts: Vec::new(),
        parse_error: None,
        der_bytes: None,
        log: None,
        log_index: None,
        feed: "".into(),
        der: None,
        ..row.clone()
    }
}

#[test]
fn agrees_with_a_loop_for_any_workers_and_any_chunks() {
    for seed in [1, 2] {
        let segments = segments(seed);
        let modules = modules();
        let want = oracle::read(&segments, segments.len() as u32, 0, &modules);
        // The input has what this test is about.
        let c = &want.counts;
        assert!(
            [c.heartbeats, c.other, c.rejected, c.redelivered, c.known, c.names_only, c.conflicts]
                .iter()
                .all(|n| *n > 5)
        );
        assert!(want.rows.findings.len() > 20 && want.counts.add_up());
        assert!(["names", "rate-anomaly", "clusters"].iter().all(|name| c.findings_by_module[*name] > 1), "{c:?}");
        assert!(want.rows.rejected.len() < c.rejected as usize, "the same segment twice rejects the same lines");
        for (workers, links) in
            WORKERS.into_iter().flat_map(|workers| [(workers, Links::Typed), (workers, Links::Bytes)])
        {
            for chunk_bytes in [1, 700, 5_000, 1 << 20] {
                let job = Job { links, ..Job::new(&segments, chunk_bytes, workers) };
                let (rows, counts, last) = published(job.run(), workers, job.start);
                let place = format!("seed={seed} workers={workers} links={links:?} chunk_bytes={chunk_bytes}");
                check_same_rows(&rows, &want.rows, &place);
                assert_eq!(counts, want.counts, "{place}");
                let last = last.expect("something was published");
                assert!(last.complete, "{place}");
                assert_eq!((last.next, last.lines), (Position { segment: 6, chunk: 0 }, 0), "{place}");
            }
        }
    }
}

#[test]
fn cuts_are_the_same_for_any_workers() {
    let segments = segments(3);
    type CutParts = (u64, Epoch, u64, bool, Vec<(u64, u64)>);
    let cuts = |workers| -> Vec<CutParts> {
        let lake = Job::new(&segments, 2_000, workers).run();
        let cuts = lake.published.into_iter().map(|(cut, _)| cut);
        cuts.map(|cut| (cut.sequence, cut.epoch, cut.lines, cut.complete, cut.lines_before)).collect()
    };
    let want = cuts(1);
    assert!(want.len() > 3);
    for workers in WORKERS {
        assert_eq!(cuts(workers), want, "workers={workers}");
    }
}

#[test]
fn lines_of_rejected_rows_are_those_of_the_file() {
    let segments = segments(4);
    for workers in WORKERS {
        let job = Job::new(&segments, 1_500, workers);
        let (rows, ..) = published(job.run(), workers, job.start);
        assert!(rows.rejected.len() > 50);
        for row in &rows.rejected {
            let segment = segments.iter().find(|segment| segment.name == row.segment).expect("a row names its segment");
            let line = &segment.lines[row.line as usize - 1];
            let before: usize = segment.lines[..row.line as usize - 1].iter().map(|line| line.bytes.len()).sum();
            assert_eq!(row.offset, before as u64);
            assert!(line.bytes.trim_ascii().starts_with(&row.raw));
        }
    }
}

#[test]
fn broken_segments_are_named() {
    let segments = segments(5);
    let lake = Job::new(&segments, 2_000, 3).run();
    let broken: Vec<_> = lake.published.into_iter().flat_map(|(cut, _)| cut.broken).collect();
    assert_eq!(broken, [("segment-2.jsonl".to_owned(), "the file ends too early".to_owned())]);
}

/// A first job ends early; what it published is a prefix of the input, and a second one completes it.
#[test]
fn a_drained_job_is_completed_by_the_next() {
    let segments = segments(6);
    let modules = modules();
    let all = oracle::read(&segments, segments.len() as u32, 0, &modules);
    let chunk_bytes = 1_500;
    let mut resumed = 0;
    for workers in WORKERS {
        for stopping in 0..workers {
            for stop_after in [0, 1, 7, 15] {
                let place = format!("workers={workers} stopping={stopping} stop_after={stop_after}");
                let mut job = Job::new(&segments, chunk_bytes, workers);
                job.stop = Some((stopping, stop_after));
                let (rows, mut counts, last) = published(job.run(), workers, job.start);

                let mut start = job.start;
                if let Some(last) = last {
                    assert!(!last.complete, "{place}");
                    let prefix = oracle::read(&segments, last.next.segment, last.lines, &modules);
                    check_same_rows(&rows, &prefix.rows, &place);
                    assert_eq!(counts, prefix.counts, "{place}");
                    let (sequence, from, lines) = (last.sequence + 1, last.next, last.lines);
                    start = CutStart { sequence, from, lines, ..start };
                    resumed += 1;
                }
                // Whoever comes next may be of another size.
                let next_workers = workers % 4 + 1;
                let known = known(&rows);
                let next = Job { start, known: &known, ..Job::new(&segments, chunk_bytes, next_workers) };
                let (more, more_counts, last) = published(next.run(), next_workers, start);
                let rows = Rows::concat(vec![rows, more]);
                counts += &more_counts;
                assert!(last.is_some_and(|last| last.complete), "{place}");
                check_same_rows(&rows, &all.rows, &place);
                assert_eq!(counts, all.counts, "{place}");
            }
        }
    }
    assert!(resumed > 20, "{resumed}");
}

/// The ids of certificates in the order of a lake's manifests.
fn ids(lake: &[(Cut, Rows)]) -> Vec<String> {
    let mut ids: Vec<String> =
        lake.iter().flat_map(|(_, rows)| &rows.certificates).map(|row| row.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

/// With a horizon, any number of workers and any restart give the rows of a loop that forgets.
#[test]
fn what_is_forgotten_comes_again() {
    let segments = segments(9);
    let chunk_bytes = 1_500;
    let job = |workers| Job { generation_blocks: Some(7), ..Job::new(&segments, chunk_bytes, workers) };

    let (mut reader, mut came, mut want) = (Reader::default(), BTreeMap::<Key, u32>::new(), Vec::new());
    for block in job(1).blocks() {
        let generation = block.generation;
        for item in peek::read_block(&mut reader, block).items {
            let Item::Sighting(sighting) = item else { continue };
            let before = came.get(&sighting.id.key()).copied();
            if before.is_none_or(|before| generation - before > Horizon::GENERATIONS) {
                came.insert(sighting.id.key(), generation);
                want.push(sighting.id.to_string());
            }
        }
    }
    assert!(want.len() > came.len() + 20, "{} of {} came again", want.len() - came.len(), came.len());
    want.sort_unstable();

    for workers in WORKERS {
        let all = job(workers).run().published;
        assert_eq!(ids(&all), want, "workers={workers}");
        for stop_after in [3, 9, 20] {
            let place = format!("workers={workers} stop_after={stop_after}");
            let first = Job { stop: Some((0, stop_after)), ..job(workers) }.run().published;
            let Some((last, _)) = first.last() else { continue };
            let start =
                CutStart { sequence: last.sequence + 1, from: last.next, lines: last.lines, ..job(workers).start };
            // A manifest is of one generation.
            let known: Vec<(u32, Known)> = first
                .iter()
                .flat_map(|(cut, rows)| known(rows).into_iter().map(|(_, known)| (cut.age.ms as u32, known)))
                .collect();
            let next = Job { start, known: &known, ..job(workers % 4 + 1) }.run().published;
            let both: Vec<_> = first.into_iter().chain(next).collect();
            assert_eq!(ids(&both), want, "{place}");
            let rows = |lake: &[(Cut, Rows)]| lake.iter().map(|(_, rows)| rows.entries.len()).sum::<usize>();
            assert_eq!(rows(&both), rows(&all), "{place}");
        }
    }
}

/// A job that crashed after publishing reads the last stretch again: with everything known, nothing is new.
#[test]
fn everything_known_is_nothing_new() {
    let segments = segments(7);
    let modules = modules();
    let all = oracle::read(&segments, segments.len() as u32, 0, &modules);
    let known = known(&all.rows);
    for workers in WORKERS {
        let job = Job { known: &known, ..Job::new(&segments, 3_000, workers) };
        let (rows, counts, last) = published(job.run(), workers, job.start);
        check_same_rows(&rows, &Rows::default(), &format!("workers={workers}"));
        assert_eq!(counts.messages, all.counts.messages);
        assert_eq!(counts.redelivered, all.counts.redelivered + all.counts.entries);
        assert!(last.is_some_and(|last| last.complete));
    }
}
