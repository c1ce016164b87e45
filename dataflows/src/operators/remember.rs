//! Runs the memories of modules over facts.
//!
//! Route: by the fact's bin. State: a memory for each module and bin that has facts. Frontier: as `once`, whose input
//! this is; an epoch's facts wait until no earlier one can come and all that the lake knows is there, then they are
//! learned in the order of the input.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::modules::{Fact, Memories, Modules};
use crate::records::{Candidate, NewFact};

/// A finding has the ordinal of the fact that it follows from. Candidates of other operators have others; those never
/// share an id with one of these, because a module says either with its memory or without.
pub fn remember<'s>(
    facts: StreamVec<'s, Epoch, NewFact>,
    known: StreamVec<'s, Epoch, Fact>,
    modules: Arc<Modules>,
) -> StreamVec<'s, Epoch, Candidate> {
    let route = Exchange::new(|new: &NewFact| u64::from(new.fact.bin()));
    let route_known = Exchange::new(|fact: &Fact| u64::from(fact.bin()));
    facts.binary_frontier::<_, VecBuilder<Candidate>, _, _, _, _>(
        known,
        route,
        route_known,
        "remember",
        |initial, _info| {
            drop(initial);
            let mut memories = Memories::new(modules);
            let mut open = Waiting::default();
            move |(facts, frontier), (known, known_frontier), output| {
                known.for_each(|_, facts| facts.drain(..).for_each(|fact| memories.recall(fact)));
                facts.for_each(|capability, facts| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, facts);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || known_frontier.less_equal(epoch);
                let mut found = Vec::new();
                while let Some((capability, mut facts)) = open.next_closed(is_open) {
                    facts.sort_by_key(|new| new.ordinal);
                    let mut session = output.session(&capability);
                    for NewFact { fact, ordinal, generation } in facts {
                        memories.learn(fact, &mut found);
                        session.give_iterator(found.drain(..).map(|finding| Candidate {
                            finding,
                            ordinal,
                            generation,
                        }));
                    }
                }
            }
        },
    )
}
