//! Answers which entries are seen for the first time, and where two certificates stand at one index.
//!
//! Route: by the bin of log and page, so one worker sees every certificate at an index. State: an [`EntrySet`] for each
//! generation that is remembered, about 4 bytes an entry of a log that is read without gaps. Frontier: as `dedup`.

use std::sync::Arc;

use ct_model::EntryPlace;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::known::{EntrySet, Generations, Sight};
use crate::meter::Meter;
use crate::records::{Answer, EntryQuestion, News};

pub fn entries<'s>(
    questions: StreamVec<'s, Epoch, EntryQuestion>,
    known: StreamVec<'s, Epoch, (u32, EntryPlace, u32)>,
    meter: Arc<Meter>,
) -> StreamVec<'s, Epoch, Answer> {
    let route = Exchange::new(|question: &EntryQuestion| u64::from(question.place.bin()));
    let route_known = Exchange::new(|(_, place, _): &(u32, EntryPlace, u32)| u64::from(place.bin()));
    questions.binary_frontier::<_, VecBuilder<Answer>, _, _, _, _>(
        known,
        route,
        route_known,
        "entries",
        |initial, _info| {
            drop(initial);
            let mut sets = Generations::<EntrySet>::default();
            let mut open = Waiting::default();
            move |(questions, frontier), (known, known_frontier), output| {
                let before = sets.size();
                known.for_each(|_, entries| {
                    for (generation, place, tag) in entries.drain(..) {
                        sets.of(generation).insert(place, tag);
                    }
                });
                questions.for_each(|capability, questions| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, questions);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || known_frontier.less_equal(epoch);
                while let Some((capability, mut questions)) = open.next_closed(is_open) {
                    questions.sort_by_key(|question| question.ordinal);
                    questions.first().iter().for_each(|question| sets.reach(question.generation));
                    let mut session = output.session(&capability);
                    for question in questions {
                        let news = match sets.insert(question.generation, question.place, question.tag) {
                            Sight::New => News::Entry,
                            Sight::Conflict => News::Conflict,
                            Sight::Repeat => continue,
                        };
                        session.give(Answer { ordinal: question.ordinal, to: question.from, news });
                    }
                }
                meter.known(before, sets.size());
            }
        },
    )
}
