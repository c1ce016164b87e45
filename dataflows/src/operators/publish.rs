//! Publishes cuts, one after the other, on worker 0.
//!
//! Route: staged parts go to worker 0; it sees every cut. State: cuts in the works. Frontier: a cut's epoch is held
//! until it is durable and visible, so a probe behind this operator means "published".

use std::collections::{BTreeMap, VecDeque};

use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::stage::Staged;
use crate::epoch::Epoch;
use crate::ports;
use crate::records::{Cut, Decision};

/// The numbers of published manifests.
pub fn publish<'s, Part: ExchangeData, P: ports::Publish<Part> + 'static>(
    cuts: StreamVec<'s, Epoch, Decision>,
    parts: StreamVec<'s, Epoch, Staged<Part>>,
    mut publish: P,
) -> StreamVec<'s, Epoch, u64> {
    let scope = cuts.scope();
    let first = scope.index() == 0;
    let route = Exchange::new(|_: &Staged<Part>| 0);
    cuts.binary_frontier::<_, VecBuilder<u64>, _, _, _, _>(parts, Pipeline, route, "publish", move |initial, info| {
        drop(initial);
        publish.wake_by(scope.worker().sync_activator_for(info.address.to_vec()));
        let mut decided: VecDeque<(Capability<Epoch>, Cut)> = VecDeque::new();
        let mut staged: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
        let mut publishing: VecDeque<(Capability<Epoch>, u64)> = VecDeque::new();
        move |(cuts, _), (parts, parts_frontier), output| {
            cuts.for_each(|capability, cuts| {
                if first {
                    for decision in cuts.drain(..) {
                        let Decision::Cut(cut) = decision else { continue };
                        let Some(capability) = capability.retain_least(output.output_index()) else { return };
                        decided.push_back((capability, cut));
                    }
                }
            });
            parts.for_each(|_, parts| {
                for Staged { sequence, part } in parts.drain(..) {
                    staged.entry(sequence).or_default().push(part);
                }
            });
            while decided.front().is_some_and(|(_, cut)| !parts_frontier.less_equal(&cut.epoch)) {
                let (capability, cut) = decided.pop_front().expect("it has a front");
                let parts = staged.remove(&cut.sequence).unwrap_or_default();
                publishing.push_back((capability, cut.sequence));
                publish.submit(cut, parts);
            }
            while let Some(sequence) = publish.poll() {
                let (capability, submitted) = publishing.pop_front().expect("what is published was submitted");
                assert_eq!(sequence, submitted, "manifests are published in order");
                output.session(&capability).give(sequence);
            }
        }
    })
}
