//! Keeps the first of each finding that is reported once.
//!
//! Route: by the finding's bin. State: one [`KeySet`]. Frontier: as `dedup`; the finding that comes first in the input
//! stays, on the worker that holds its bin.

use std::sync::Arc;

use ct_model::{Key, Rows};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::known::KeySet;
use crate::meter::Meter;
use crate::records::{Candidate, EpochRows};

pub fn once<'s>(
    candidates: StreamVec<'s, Epoch, Candidate>,
    known: StreamVec<'s, Epoch, Key>,
    meter: Arc<Meter>,
) -> StreamVec<'s, Epoch, EpochRows> {
    let route = Exchange::new(|candidate: &Candidate| u64::from(Key::finding(&candidate.finding.id).bin()));
    let route_known = Exchange::new(|key: &Key| u64::from(key.bin()));
    candidates.binary_frontier::<_, VecBuilder<EpochRows>, _, _, _, _>(
        known,
        route,
        route_known,
        "once",
        |initial, _info| {
            drop(initial);
            let mut set = KeySet::default();
            let mut open = Waiting::default();
            move |(candidates, frontier), (known, known_frontier), output| {
                let before = (set.len(), set.bytes());
                known.for_each(|_, keys| {
                    for key in keys.drain(..) {
                        set.insert(key);
                    }
                });
                candidates.for_each(|capability, candidates| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, candidates);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || known_frontier.less_equal(epoch);
                while let Some((capability, mut candidates)) = open.next_closed(is_open) {
                    candidates.sort_by_key(|candidate| candidate.ordinal);
                    let findings: Vec<_> = candidates
                        .into_iter()
                        .map(|candidate| candidate.finding)
                        .filter(|finding| set.insert(Key::finding(&finding.id)))
                        .collect();
                    if !findings.is_empty() {
                        let rows = Rows { findings, ..Rows::default() };
                        output.session(&capability).give(EpochRows { rows, tail: None });
                    }
                }
                meter.known(before, (set.len(), set.bytes()));
            }
        },
    )
}
