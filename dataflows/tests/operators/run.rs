//! Runs a piece of dataflow on some workers and gathers what comes out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ct_dataflows::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::dataflow::{Scope, StreamVec};
use timely::{CommunicationConfig, Config, WorkerConfig};

use crate::random::Random;

pub(crate) const WORKERS: [usize; 4] = [1, 2, 3, 4];

/// How so many workers of one process exchange records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Links {
    /// As they are.
    Typed,
    /// As bytes, as between processes.
    Bytes,
}

impl Links {
    pub(crate) fn config(self, workers: usize) -> Config {
        let communication = match self {
            Self::Typed => CommunicationConfig::Process(workers),
            Self::Bytes => CommunicationConfig::ProcessBinary(workers),
        };
        Config { communication, worker: WorkerConfig::default() }
    }
}

/// The order in which records reach a dataflow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    InOrder,
    Reversed,
    Shuffled { seed: u64 },
}

pub(crate) const ARRIVALS: [Arrival; 3] = [Arrival::InOrder, Arrival::Reversed, Arrival::Shuffled { seed: 11 }];

/// The share of worker `index` of `peers` in `records`, in the order of `arrival`. Neighbours go to different workers.
pub(crate) fn share<T: Clone>(records: &[(Epoch, T)], arrival: Arrival, index: usize, peers: usize) -> Vec<(Epoch, T)> {
    let mut share: Vec<_> = records.iter().skip(index).step_by(peers).cloned().collect();
    match arrival {
        Arrival::InOrder => {}
        Arrival::Reversed => share.reverse(),
        Arrival::Shuffled { seed } => Random::new(seed + index as u64).shuffle(&mut share),
    }
    share
}

/// A stream of `records`, one at a time and in that order, whatever their epochs.
pub(crate) fn feed<'s, T: Clone + 'static>(
    scope: Scope<'s, Epoch>,
    records: Vec<(Epoch, T)>,
) -> StreamVec<'s, Epoch, T> {
    source::<_, CapacityContainerBuilder<Vec<T>>, _, _>(scope, "feed", move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut left: VecDeque<_> =
            records.into_iter().map(|(epoch, record)| (capability.delayed(&epoch), record)).collect();
        drop(capability);
        move |output| {
            if let Some((capability, record)) = left.pop_front() {
                output.session(&capability).give(record);
                activator.activate();
            }
        }
    })
}

/// What workers gathered, in any order.
pub(crate) struct Gathered<T>(Arc<Mutex<Vec<T>>>);

impl<T: 'static> Gathered<T> {
    /// Keeps `row` of each record of `stream`.
    pub(crate) fn gather<D: 'static>(&self, stream: StreamVec<'_, Epoch, D>, row: impl Fn(Epoch, D) -> T + 'static) {
        let rows = self.0.clone();
        stream.sink(Pipeline, "gather", move |(input, _frontier)| {
            input.for_each(|capability, records| {
                let epoch = *capability.least().expect("a record has an epoch");
                let records = records.drain(..).map(|record| row(epoch, record));
                rows.lock().expect("no worker panicked").extend(records);
            });
        });
    }
}

/// Runs `dataflow` on so many workers until nothing is left to do.
pub(crate) fn run<T: Send + 'static>(
    workers: usize,
    dataflow: impl Fn(Scope<'_, Epoch>, &Gathered<T>) + Send + Sync + 'static,
) -> Vec<T> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let gathered = Gathered(rows.clone());
    let guards = timely::execute(Links::Typed.config(workers), move |worker| {
        worker.dataflow(|scope| dataflow(scope, &gathered));
    });
    for ended in guards.expect("threads start").join() {
        ended.expect("no worker panics");
    }
    let mut rows = rows.lock().expect("no worker panicked");
    std::mem::take(&mut rows)
}
