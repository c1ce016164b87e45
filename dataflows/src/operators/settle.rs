//! Joins an epoch's items with the answers to its questions.
//!
//! Route: answers go back to the worker that asked. State: the items of open epochs, which the reader's brake bounds.
//! Frontier: an epoch is settled when neither of its inputs can bring more. Everything that is not a first sighting
//! ends here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ct_model::EntryRecord;
use ct_model::IdKind;
use ct_model::message::Sighting;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use tracing::debug;

use super::VecBuilder;
use super::waiting::Waiting;
use crate::epoch::Epoch;
use crate::meter::Meter;
use crate::records::{Answer, Item, NamesOnly, News, Peeked, Settled};

pub fn settle<'s>(
    peeked: StreamVec<'s, Epoch, Peeked>,
    answers: StreamVec<'s, Epoch, Answer>,
    meter: Arc<Meter>,
) -> StreamVec<'s, Epoch, Settled> {
    let route = Exchange::new(|answer: &Answer| u64::from(answer.to));
    peeked.binary_frontier::<_, VecBuilder<Settled>, _, _, _, _>(
        answers,
        Pipeline,
        route,
        "settle",
        |initial, _info| {
            drop(initial);
            let mut open = Waiting::default();
            let mut answered: BTreeMap<Epoch, Vec<Answer>> = BTreeMap::new();
            move |(peeked, frontier), (answers, answers_frontier), output| {
                peeked.for_each(|capability, peeked| {
                    let Some(capability) = capability.retain_least(output.output_index()) else { return };
                    open.add(capability, peeked);
                });
                answers.for_each(|capability, answers| {
                    let Some(&epoch) = capability.least() else { return };
                    answered.entry(epoch).or_default().append(answers);
                });
                let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || answers_frontier.less_equal(epoch);
                while let Some((capability, peeked)) = open.next_closed(is_open) {
                    let answers = answered.remove(capability.time()).unwrap_or_default();
                    let mut session = output.session(&capability);
                    // An epoch is one chunk, read by one worker: there is one item list in it.
                    for peeked in peeked {
                        let settled = settle_epoch(peeked, &answers);
                        meter.settled(settled.certificates.len() as u64);
                        session.give(settled);
                    }
                }
            }
        },
    )
}

/// What an item's answers add up to.
#[derive(Clone, Copy, Default)]
struct Verdict {
    certificate: bool,
    entry: bool,
    conflict: bool,
    /// It is neither, and was not seen before.
    new: bool,
}

pub fn settle_epoch(peeked: Peeked, answers: &[Answer]) -> Settled {
    let Peeked { feed, items, ids, gaps, tail } = peeked;
    let mut verdicts = vec![Verdict::default(); items.len()];
    for answer in answers {
        let verdict = &mut verdicts[answer.ordinal as usize];
        match answer.news {
            News::Certificate => verdict.certificate = true,
            News::Entry => verdict.entry = true,
            News::Conflict => (verdict.entry, verdict.conflict) = (true, true),
            News::Rejected | News::Coverage => verdict.new = true,
        }
    }
    let new = |is_new: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| is_new(verdict)).count();
    let (certificates, entries) = (new(|verdict| verdict.certificate), new(|verdict| verdict.entry));
    let mut settled = Settled { feed, gaps, tail, ..Settled::default() };
    settled.certificates.reserve_exact(certificates);
    settled.entries.reserve_exact(entries);
    let counts = &mut settled.tail.counts;
    let mut ids = ids.into_iter();
    for (item, verdict) in items.into_iter().zip(verdicts) {
        let id = ids.next();
        match item {
            Item::Sighting(sighting) => {
                if let Some(message_id) = id {
                    let Verdict { certificate, entry, .. } = verdict;
                    debug!(%message_id, new_certificate = certificate, new_entry = entry, "a message was settled");
                }
                if verdict.entry {
                    counts.entries += 1;
                    counts.conflicts += u64::from(verdict.conflict);
                    counts.known += u64::from(!verdict.certificate);
                    settled.entries.push(entry(&sighting, &settled.feed));
                } else {
                    counts.redelivered += 1;
                }
                if verdict.certificate {
                    counts.certificates += 1;
                    settled.certificates.push(sighting);
                    settled.ids.extend(id);
                }
            }
            Item::Rejected(row) if verdict.new => {
                counts.rejected_new += 1;
                settled.rejected.push(row);
            }
            Item::Coverage(row) if verdict.new => {
                counts.coverage += 1;
                settled.tail.covered_since.extend(row.since);
                settled.coverage.push(row);
            }
            Item::Rejected(_) | Item::Coverage(_) => {}
            Item::Names(names) => settled.names.push(NamesOnly { names, after: settled.certificates.len() }),
        }
    }
    settled
}

fn entry(sighting: &Sighting, feed: &Arc<str>) -> EntryRecord {
    let sha256 = match sighting.id.kind {
        IdKind::Der | IdKind::Sha256 => sighting.id.bytes().try_into().ok(),
        IdKind::Sha1 | IdKind::IssuerSerial | IdKind::Entry => None,
    };
    EntryRecord {
        log: sighting.log.as_ref().map(|log| log.name.clone()),
        log_index: sighting.index,
        kind: sighting.kind,
        id: sighting.id,
        sha256,
        submitted: sighting.submitted,
        seen: sighting.seen,
        feed: feed.clone(),
    }
}
