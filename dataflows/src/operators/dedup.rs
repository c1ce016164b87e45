//! Answers which keys are seen for the first time.
//!
//! Route: by the key's bin, so one worker sees every question about a key. State: a [`KeySet`] for each generation
//! that is remembered, about 22 bytes a key.
//! Frontier: an epoch's questions wait until no earlier one can come, then they are answered in input order; what is
//! first is decided by position, never by arrival. What the lake knows comes in under epoch 0, before all else.

use std::sync::Arc;

use ct_model::Key;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::known::{Generations, KeySet};
use crate::meter::Meter;
use crate::records::{Answer, KeyQuestion};

pub fn dedup<'s>(
    questions: StreamVec<'s, Epoch, KeyQuestion>,
    known: StreamVec<'s, Epoch, (u32, Key)>,
    meter: Arc<Meter>,
) -> StreamVec<'s, Epoch, Answer> {
    let route = Exchange::new(|question: &KeyQuestion| u64::from(question.key.bin()));
    let route_known = Exchange::new(|(_, key): &(u32, Key)| u64::from(key.bin()));
    questions.binary_frontier::<_, VecBuilder<Answer>, _, _, _, _>(
        known,
        route,
        route_known,
        "dedup",
        |initial, _info| {
            drop(initial);
            let mut sets = Generations::<KeySet>::default();
            let mut open = Waiting::default();
            move |(questions, frontier), (known, known_frontier), output| {
                let before = sets.size();
                known.for_each(|_, keys| {
                    for (generation, key) in keys.drain(..) {
                        sets.of(generation).insert(key);
                    }
                });
                questions.for_each(|capability, questions| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, questions);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || known_frontier.less_equal(epoch);
                while let Some((capability, mut questions)) = open.next_closed(is_open) {
                    questions.sort_by_key(|question| question.ordinal);
                    // All questions of an epoch are of one generation.
                    questions.first().iter().for_each(|question| sets.reach(question.generation));
                    let first_sightings =
                        questions.into_iter().filter(|question| sets.insert(question.generation, question.key));
                    output.session(&capability).give_iterator(first_sightings.map(|question| Answer {
                        ordinal: question.ordinal,
                        to: question.from,
                        news: question.news,
                    }));
                }
                meter.known(before, sets.size());
            }
        },
    )
}
