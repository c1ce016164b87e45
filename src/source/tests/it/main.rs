//! Segments from arguments to lines, as a job reads them: real files, a loopback server, several processes' worth of
//! readers in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod certstream;
mod expanding;
mod faulty_feed;
mod logs;
mod reading;
mod test_log;
mod test_log_itself;
mod test_log_probe;
mod web;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ct_source::logs::AccessOptions;
use ct_source::{Chunk, Options, Placement, Segment, Sizes, Step, expand, start};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn expand_one(runtime: &Runtime, arg: &str) -> Segment {
    let mut segments = expand(&[arg.to_owned()], &[], runtime.handle()).unwrap();
    assert_eq!(segments.len(), 1, "{arg}");
    segments.remove(0)
}

/// Reads the whole job, and checks what each worker must see. Gives all chunks by position.
#[track_caller]
fn read_all(
    runtime: &Runtime,
    segments: &[Segment],
    (processes, workers): (usize, usize),
    from: (u32, u32),
    sizes: Sizes,
) -> Vec<Chunk> {
    read_all_with(runtime, segments, (processes, workers), from, sizes, None)
}

/// The same of segments that may be read from logs.
#[track_caller]
fn read_all_with(
    runtime: &Runtime,
    segments: &[Segment],
    (processes, workers): (usize, usize),
    from: (u32, u32),
    sizes: Sizes,
    logs: Option<&AccessOptions>,
) -> Vec<Chunk> {
    let segments: Arc<[Segment]> = segments.into();
    let mut receivers = Vec::new();
    let mut progress = Vec::new();
    for process in 0..processes {
        let options = Options { sizes, logs: logs.cloned(), ..Options::new(runtime.handle().clone()) };
        progress.push(Arc::clone(&options.progress));
        receivers.extend(start(segments.clone(), Placement { process, processes, workers }, from, options).unwrap());
    }
    let thread = std::thread::current();
    for receiver in &receivers {
        let thread = thread.clone();
        receiver.on_ready(move || thread.unpark());
    }

    let mut seen: Vec<Vec<Chunk>> = receivers.iter().map(|_| Vec::new()).collect();
    let mut open: Vec<bool> = vec![true; receivers.len()];
    let deadline = Instant::now() + Duration::from_secs(60);
    while open.contains(&true) {
        let mut idle = true;
        for (worker, receiver) in receivers.iter_mut().enumerate() {
            match receiver.try_recv().unwrap() {
                Some(Step::Chunk(chunk)) => seen[worker].push(chunk),
                Some(Step::End) => {
                    open[worker] = false;
                    continue;
                }
                None => continue,
            }
            idle = false;
        }
        assert!(Instant::now() < deadline, "no end in sight: {open:?}");
        if idle && open.contains(&true) {
            // Whatever arrives wakes this thread: a lost wake shows as the deadline.
            std::thread::park_timeout(Duration::from_secs(60));
        }
    }

    for chunks in &seen {
        assert!(chunks.is_sorted_by_key(|chunk| (chunk.segment, chunk.chunk)));
    }
    let read: u64 = progress.iter().map(|progress| progress.read_bytes()).sum();
    assert_eq!(read, progress[0].total_bytes());
    let mut chunks: Vec<Chunk> = seen.into_iter().flatten().collect();
    chunks.sort_by_key(|chunk| (chunk.segment, chunk.chunk));
    // A resume may read through a compressed segment and find nothing more to deliver.
    let accounted: u64 = chunks.iter().map(|chunk| chunk.stored_bytes).sum();
    assert!(accounted == read || accounted < read && from.1 > 0, "{accounted} of {read}");
    chunks
}
