//! Reads a worker's blocks, each under its own epoch.
//!
//! Frontier: holds the epoch of the worker's next block, and none after its last or when the job stops
//! publishing. Back-pressure: a block is taken only
//! while fewer than `epochs_inflight` of this worker's epochs are unsettled and no more than `cuts_inflight` cuts wait
//! to be published; then the blocks' own bounded queue stops the reader.

use std::collections::VecDeque;
use std::time::Duration;

use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::Activator;

use super::VecBuilder;
use super::stage::CutsWaiting;
use crate::epoch::{Epoch, Position};
use crate::ports::{Blocks, Clock, Input, Poll};
use crate::records::Block;

/// How far reading may run ahead of settling and publishing.
pub struct Brake {
    /// Passes an epoch when its rows are known.
    pub settled: ProbeHandle<Epoch>,
    pub epochs_inflight: usize,
    /// Passes a cut's epoch when it is durable and visible.
    pub published: ProbeHandle<Epoch>,
    pub cuts: CutsWaiting,
    pub cuts_inflight: usize,
}

/// How soon a stopped reader looks again whether it may go on.
const BRAKED: Duration = Duration::from_micros(500);
/// How soon a reader without a block looks again whether it is to end early.
const IDLE: Duration = Duration::from_millis(100);

pub fn read<'s, B: Blocks + 'static>(
    scope: Scope<'s, Epoch>,
    mut blocks: B,
    from: Position,
    brake: Brake,
    clock: Clock,
) -> StreamVec<'s, Epoch, Block> {
    source::<_, VecBuilder<Block>, _, _>(scope, "read", move |capability, info| {
        blocks.wake_by(scope.worker().sync_activator_for(info.address.to_vec()));
        let mut nap = Nap { activator: scope.activator_for(info.address), clock, until: 0 };
        let mut held = Some(capability.delayed(&from.epoch()));
        let mut unsettled: VecDeque<Epoch> = VecDeque::new();
        move |output| {
            let Some(capability) = held.as_mut() else { return };
            while unsettled.front().is_some_and(|epoch| !brake.settled.less_equal(epoch)) {
                unsettled.pop_front();
            }
            let mut cuts = brake.cuts.borrow_mut();
            if cuts.stopped {
                held = None;
                return;
            }
            while cuts.waiting.front().is_some_and(|epoch| !brake.published.less_equal(epoch)) {
                cuts.waiting.pop_front();
            }
            if unsettled.len() >= brake.epochs_inflight || cuts.waiting.len() > brake.cuts_inflight {
                nap.take(BRAKED);
                return;
            }
            match blocks.poll() {
                Poll::Ready(Input::Block(block)) => {
                    let epoch = block.position.epoch();
                    let next = block.position.next(false).epoch();
                    capability.downgrade(&epoch);
                    unsettled.push_back(epoch);
                    output.session(&*capability).give(block);
                    capability.downgrade(&next);
                    nap.activator.activate();
                }
                Poll::Ready(Input::Reached(position)) => {
                    capability.downgrade(&position.epoch());
                    nap.activator.activate();
                }
                // Blocks wake the worker, an end that was asked for does not.
                Poll::Pending => nap.take(IDLE),
                Poll::End => held = None,
            }
        }
    })
}

/// Wakes the operator after a while, by one timer at a time.
///
/// timely keeps every timer that is asked for. An operator that asks for one whenever it is woken, by a timer or by
/// news, soon has so many that its worker does nothing else.
struct Nap {
    activator: Activator,
    clock: Clock,
    /// When the timer goes off that was asked for last, by the clock.
    until: u64,
}

impl Nap {
    fn take(&mut self, pause: Duration) {
        let now = (self.clock)();
        let until = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        if now >= self.until || until < self.until {
            self.until = until;
            self.activator.activate_after(pause);
        }
    }
}
