//! Throughput of the stages, each alone on one thread (`exchange`: two workers).
//!
//! Input: 30,000 messages of `ct-stream generate` (the Go server's full stream), seed 7; for `dedup` and `exchange`
//! 2,000,000 made-up keys, a third of them repeats. Prints the median of ten runs and records a second; the input of a
//! run is made before its clock starts. `dedup` stands beside its baseline, a `HashSet` of the standard library.
//!
//! `cargo bench --bench stages` runs all, `cargo bench --bench stages -- dedup parse` those named.

mod input;

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ct_dataflows::Epoch;
use ct_dataflows::known::KeySet;
use ct_dataflows::operators::{decode, peek};
use ct_dataflows::records::{KeyQuestion, News};
use ct_model::message::Reader;
use ct_model::x509::Decoder;
use ct_model::{CertId, Key};
use ct_sinks::lake::{EncodeOptions, encode};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Input;
use timely::{CommunicationConfig, Config, WorkerConfig};

const RUNS: usize = 10;
const KEYS: u64 = 2_000_000;
const ENCODED_ROWS: usize = 30_000;

type Stage = (&'static str, fn());

const STAGES: [Stage; 6] = [
    ("peek", bench_peek),
    ("parse", bench_parse),
    ("decode", bench_decode),
    ("dedup", bench_dedup),
    ("exchange", bench_exchange),
    ("encode", bench_encode),
];

fn main() {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| STAGES.iter().all(|(name, _)| name != wanted)) {
        eprintln!("no stage {unknown:?}; there are {}", STAGES.map(|(name, _)| name).join(", "));
        std::process::exit(2);
    }
    println!("{:24}{:>12}{:>12}{:>16}", "stage", "records", "median ms", "records/s");
    for (name, stage) in STAGES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            stage();
        }
    }
}

/// Prints the median of ten runs over `records`; `prepare` makes the input of each run.
fn measure<I, O>(name: &str, records: u64, mut prepare: impl FnMut() -> I, mut work: impl FnMut(I) -> O) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let input = prepare();
            let start = Instant::now();
            let output = black_box(work(input));
            let time = start.elapsed();
            drop(output);
            time
        })
        .collect();
    times.sort_unstable();
    let median = (times[(RUNS - 1) / 2] + times[RUNS / 2]) / 2;
    let rate = records as f64 / median.as_secs_f64();
    println!("{name:24}{records:12}{:12.1}{rate:16.0}", median.as_secs_f64() * 1e3);
}

/// Lines to sightings: JSON, base64, SHA-256.
fn bench_peek() {
    let blocks = input::blocks();
    let mut reader = Reader::default();
    let read =
        |blocks: Vec<_>| -> Vec<_> { blocks.into_iter().map(|block| peek::read_block(&mut reader, block)).collect() };
    measure("peek", input::MESSAGES, || blocks.clone(), read);
}

/// X.509 alone.
fn bench_parse() {
    let sightings = input::first_sightings(&input::sightings(&input::blocks()));
    let ders = input::ders(&sightings);
    let mut decoder = Decoder::default();
    let parse = |()| ders.iter().filter(|der| decoder.decode(der).tbs_sha256.is_some()).count();
    measure("parse", ders.len() as u64, || (), parse);
}

/// Sightings to rows: X.509, or the rest of the JSON where there is no certificate.
fn bench_decode() {
    let (sightings, feed) = (input::first_sightings(&input::sightings(&input::blocks())), Arc::from("bench"));
    let mut decoder = Decoder::default();
    let rows = |sightings: Vec<_>| -> Vec<_> {
        sightings
            .into_iter()
            .map(|sighting| decode::subject(&mut decoder, sighting, &feed, decode::Der::Drop))
            .collect()
    };
    measure("decode", sightings.len() as u64, || sightings.clone(), rows);
}

/// A third of them repeats.
fn keys() -> Vec<Key> {
    (0..KEYS).map(|number| CertId::entry("bench", if number % 3 == 2 { number / 2 } else { number }).key()).collect()
}

fn bench_dedup() {
    let keys = keys();
    let in_key_set = |mut set: KeySet| (keys.iter().filter(|key| set.insert(**key)).count(), set);
    measure("dedup", KEYS, KeySet::default, in_key_set);
    let in_hash_set = |mut set: HashSet<Key>| (keys.iter().filter(|key| set.insert(**key)).count(), set);
    measure("dedup (std HashSet)", KEYS, HashSet::new, in_hash_set);
}

/// Questions from two workers to two workers, as values within a process and as bytes between processes.
fn bench_exchange() {
    for (name, communication) in
        [("exchange", CommunicationConfig::Process(2)), ("exchange (bytes)", CommunicationConfig::ProcessBinary(2))]
    {
        let questions: Arc<Vec<KeyQuestion>> = Arc::new(
            (0_u32..)
                .zip(keys())
                .map(|(ordinal, key)| KeyQuestion {
                    key,
                    ordinal,
                    from: ordinal % 2,
                    generation: 0,
                    news: News::Certificate,
                })
                .collect(),
        );
        measure(name, KEYS, || questions.clone(), |questions| exchange(communication.clone(), questions));
    }
}

/// How many questions arrived.
fn exchange(communication: CommunicationConfig, questions: Arc<Vec<KeyQuestion>>) -> u64 {
    const EPOCH_QUESTIONS: usize = 4_096;
    let arrived = Arc::new(AtomicU64::new(0));
    let (count, asked) = (arrived.clone(), questions.len() as u64);
    let guards = timely::execute(Config { communication, worker: WorkerConfig::default() }, move |worker| {
        let count = count.clone();
        let mut input = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input();
            let route = Exchange::new(|question: &KeyQuestion| u64::from(question.key.bin()));
            stream.sink(route, "count", move |(input, _frontier)| {
                input.for_each(|_, questions| {
                    count.fetch_add(questions.len() as u64, Ordering::Relaxed);
                    questions.clear();
                });
            });
            input
        });
        let share = questions.len() / worker.peers();
        let mine = &questions[share * worker.index()..][..share];
        for (epoch, questions) in (1..).zip(mine.chunks(EPOCH_QUESTIONS)) {
            input.send_batch(&mut questions.to_vec());
            input.advance_to(epoch);
            worker.step();
        }
    });
    for ended in guards.expect("threads start").join() {
        ended.expect("no worker panics");
    }
    let arrived = arrived.load(Ordering::Relaxed);
    assert_eq!(arrived, asked, "every question arrives");
    arrived
}

/// Rows of certificates to a Parquet file.
fn bench_encode() {
    let rows = input::rows(input::first_sightings(&input::sightings(&input::blocks())), ENCODED_ROWS);
    let options = EncodeOptions { der: false };
    let encode = |rows| encode(rows, &options).expect("rows of the generator can be encoded");
    measure("encode", ENCODED_ROWS as u64, || rows.clone(), encode);
}
