//! Runs a timely dataflow on the workers of this process and, over its links, with those of the others.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use thiserror::Error;
use timely::WorkerConfig;
use timely::communication::allocator::thread::ThreadBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;

use super::links::Links;

#[derive(Debug, Error)]
pub(crate) enum ExecuteError {
    #[error("handing the links to timely")]
    Links { source: io::Error },
    #[error("starting the timely workers: {why}")]
    Start { why: String },
    /// Its panic has been reported by the panic hook.
    #[error("timely worker {worker} of process {process} panicked")]
    Worker { process: usize, worker: usize },
    #[error("process {process} lost the link with a peer")]
    Communication { process: usize },
}

/// Runs `func` on `workers` timely workers of process `index` and returns their results, in the order of the workers.
///
/// Blocks until every dataflow that `func` built is complete. `links` is `None` for a cluster of one process. With the
/// panic hook of this crate installed, the last two errors are never seen: the process ends before.
pub(crate) fn execute<T, F>(workers: usize, links: Option<Links>, index: usize, func: F) -> Result<Vec<T>, ExecuteError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let (builders, communication) = match links {
        None if workers == 1 => (vec![AllocatorBuilder::Thread(ThreadBuilder)], Box::new(()) as Box<dyn Any + Send>),
        None => {
            let Hooks { refill, spill, .. } = Hooks::default();
            let builders = ProcessBuilder::new_typed_vector(workers, refill, spill);
            (builders.into_iter().map(AllocatorBuilder::Process).collect(), Box::new(()) as Box<dyn Any + Send>)
        }
        Some(Links::Unix(streams)) => over_links(workers, streams, index)?,
        Some(Links::Tcp(streams)) => over_links(workers, streams, index)?,
    };
    let guards = timely::execute::execute_from(builders, communication, WorkerConfig::default(), func)
        .map_err(|why| ExecuteError::Start { why })?;
    join(guards, index)
}

type Allocators = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

fn over_links<S: Stream + 'static>(
    workers: usize,
    streams: Vec<Option<S>>,
    index: usize,
) -> Result<Allocators, ExecuteError> {
    let hooks = Hooks::default();
    let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
    let (builders, guard) = initialize_networking_from_sockets(local, streams, index, workers, hooks)
        .map_err(|source| ExecuteError::Links { source })?;
    Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
}

fn join<T: Send + 'static>(guards: WorkerGuards<T>, process: usize) -> Result<Vec<T>, ExecuteError> {
    // timely joins its communication threads in a destructor, which panics when one of them did.
    let joined = panic::catch_unwind(AssertUnwindSafe(|| guards.join()));
    let results = joined.map_err(|_| ExecuteError::Communication { process })?;
    let named =
        |(worker, result): (usize, Result<T, String>)| result.map_err(|_| ExecuteError::Worker { process, worker });
    results.into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};

    use super::super::hello::Member;
    use super::super::links::{Addresses, connect};
    use super::super::secret::Secret;
    use super::super::wire::tests::own_host;
    use super::*;

    /// Every worker sends 0..1000; each number goes to the worker that it names, modulo all.
    fn sums(workers: usize, links: Option<Links>, index: usize) -> Vec<u64> {
        let run = execute(workers, links, index, |worker| {
            let sum = Arc::new(Mutex::new(0));
            let total = Arc::clone(&sum);
            let peers = worker.peers() as u64;
            let me = worker.index() as u64;
            let mut input = InputHandle::<u64, _>::new();
            let probe = worker.dataflow(|scope| {
                let numbers = scope.input_from(&mut input).exchange(|number: &u64| *number).container::<Vec<_>>();
                let seen = numbers.inspect(move |number| {
                    assert_eq!(number % peers, me);
                    *total.lock().expect("one thread") += number;
                });
                seen.probe().0
            });
            (0..1_000u64).for_each(|number| input.send(number));
            input.close();
            while !probe.done() {
                worker.step_or_park(None);
            }
            *sum.lock().expect("one thread")
        });
        run.expect("no worker fails")
    }

    fn sums_by_loop(peers: u64) -> Vec<u64> {
        (0..peers).map(|me| (0..1_000).filter(|number| number % peers == me).sum::<u64>() * peers).collect()
    }

    #[test]
    fn one_process() {
        for workers in [1, 2, 3] {
            assert_eq!(sums(workers, None, 0), sums_by_loop(workers as u64), "workers={workers}");
        }
    }

    fn check(processes: usize, workers: usize, addresses: &Addresses) {
        let secret = Secret::random().expect("random");
        let all = thread::scope(|scope| {
            let run = |index| {
                let (cluster, graph, secret) = ([1; 16], [2; 32], secret.clone());
                let member = Member { cluster, generation: 1, processes, workers, index, graph, secret };
                scope.spawn(move || {
                    let links = connect(member, addresses, Duration::from_secs(30)).expect("all come");
                    sums(workers, Some(links), index)
                })
            };
            let runs: Vec<_> = (0..processes).map(run).collect();
            runs.into_iter().flat_map(|run| run.join().expect("no thread panics")).collect::<Vec<_>>()
        });
        assert_eq!(all, sums_by_loop((processes * workers) as u64), "processes={processes} workers={workers}");
    }

    #[test]
    fn processes_over_unix_sockets() {
        for (processes, workers) in [(2, 1), (2, 2), (3, 2)] {
            let private = fs::Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a folder");
            check(processes, workers, &Addresses::Unix(folder.path().to_owned()));
        }
    }

    #[test]
    fn processes_over_tcp() {
        let host = own_host();
        check(2, 2, &Addresses::Tcp(vec![format!("{host}:2101"), format!("{host}:2102")]));
    }

    #[test]
    fn a_panic_is_an_error() {
        let run = execute(2, None, 4, |worker| assert_eq!(worker.index(), 0, "the second worker fails"));
        assert!(matches!(run, Err(ExecuteError::Worker { process: 4, worker: 1 })), "{run:?}");
    }
}
