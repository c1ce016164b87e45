//! Keeps the first of each finding that is reported once.
//!
//! Route: by the finding's bin. State: as `dedup`. Frontier: as `dedup`; the finding that comes first in the input
//! stays, on the worker that holds its bin.

use std::sync::Arc;

use ct_model::{Key, Rows};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::known::{Generations, KeySet};
use crate::meter::Meter;
use crate::records::{Candidate, EpochRows};

pub fn once<'s>(
    candidates: StreamVec<'s, Epoch, Candidate>,
    known: StreamVec<'s, Epoch, (u32, Key)>,
    meter: Arc<Meter>,
) -> StreamVec<'s, Epoch, EpochRows> {
    let route = Exchange::new(|candidate: &Candidate| u64::from(Key::finding(&candidate.finding.id).bin()));
    let route_known = Exchange::new(|(_, key): &(u32, Key)| u64::from(key.bin()));
    candidates.binary_frontier::<_, VecBuilder<EpochRows>, _, _, _, _>(
        known,
        route,
        route_known,
        "once",
        |initial, _info| {
            drop(initial);
            let mut sets = Generations::<KeySet>::default();
            let mut open = Waiting::default();
            move |(candidates, frontier), (known, known_frontier), output| {
                let before = sets.size();
                known.for_each(|_, keys| {
                    for (generation, key) in keys.drain(..) {
                        sets.of(generation).insert(key);
                    }
                });
                candidates.for_each(|capability, candidates| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, candidates);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || known_frontier.less_equal(epoch);
                while let Some((capability, mut candidates)) = open.next_closed(is_open) {
                    candidates.sort_by_key(|candidate| candidate.ordinal);
                    candidates.first().iter().for_each(|candidate| sets.reach(candidate.generation));
                    let findings: Vec<_> = candidates
                        .into_iter()
                        .filter(|candidate| sets.insert(candidate.generation, Key::finding(&candidate.finding.id)))
                        .map(|candidate| candidate.finding)
                        .collect();
                    if !findings.is_empty() {
                        let rows = Rows { findings, ..Rows::default() };
                        output.session(&capability).give(EpochRows { rows, tail: None });
                    }
                }
                meter.known(before, sets.size());
            }
        },
    )
}
