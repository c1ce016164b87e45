//! Gathers rows and hands them over at each cut.
//!
//! Route: none; cuts are broadcast. State: the rows since the last cut, which the cut rule bounds, and the reader's
//! brake counts how many cuts wait. Frontier: a cut's epoch is held until its parts are durable where no reader looks.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ct_model::Rows;
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::VecBuilder;
use crate::epoch::Epoch;
use crate::ports;
use crate::records::{Cut, Decision};

/// A part of a cut, staged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Staged<Part> {
    pub sequence: u64,
    pub part: Part,
}

/// What a worker's reader must know of the cuts.
#[derive(Default)]
pub struct Cuts {
    /// Epochs of those that nobody has published yet.
    pub waiting: VecDeque<Epoch>,
    /// There will be no further one.
    pub stopped: bool,
}

pub type CutsWaiting = Rc<RefCell<Cuts>>;

pub fn stage<'s, Part: ExchangeData, S: ports::Stage<Part> + 'static>(
    rows: StreamVec<'s, Epoch, Rows>,
    cuts: StreamVec<'s, Epoch, Decision>,
    mut stage: S,
    waiting: CutsWaiting,
) -> StreamVec<'s, Epoch, Staged<Part>> {
    let scope = rows.scope();
    rows.binary_frontier::<_, VecBuilder<Staged<Part>>, _, _, _, _>(
        cuts,
        Pipeline,
        Pipeline,
        "stage",
        move |initial, info| {
            drop(initial);
            stage.wake_by(scope.worker().sync_activator_for(info.address.to_vec()));
            let mut gathered: BTreeMap<Epoch, Vec<Rows>> = BTreeMap::new();
            let mut decided: VecDeque<(Capability<Epoch>, Cut)> = VecDeque::new();
            let mut writing: VecDeque<(Capability<Epoch>, u64)> = VecDeque::new();
            move |(rows, rows_frontier), (cuts, _), output| {
                rows.for_each(|capability, rows| {
                    let Some(&epoch) = capability.least() else { return };
                    gathered.entry(epoch).or_default().append(rows);
                });
                cuts.for_each(|capability, cuts| {
                    for decision in cuts.drain(..) {
                        let Decision::Cut(cut) = decision else {
                            waiting.borrow_mut().stopped = true;
                            continue;
                        };
                        let Some(capability) = capability.retain_least(output.output_index()) else { return };
                        waiting.borrow_mut().waiting.push_back(cut.epoch);
                        decided.push_back((capability, cut));
                    }
                });
                while decided.front().is_some_and(|(_, cut)| !rows_frontier.less_equal(&cut.epoch)) {
                    let (capability, cut) = decided.pop_front().expect("it has a front");
                    let later = gathered.split_off(&(cut.epoch + 1));
                    let rows = rows_of(std::mem::replace(&mut gathered, later), &cut);
                    stage.submit(cut.sequence, rows);
                    writing.push_back((capability, cut.sequence));
                }
                while let Some((sequence, parts)) = stage.poll() {
                    let (capability, submitted) = writing.pop_front().expect("what is durable was submitted");
                    assert_eq!(sequence, submitted, "parts become durable in the order of their cuts");
                    let parts = parts.into_iter().map(|part| Staged { sequence, part });
                    output.session(&capability).give_iterator(parts);
                }
            }
        },
    )
}

/// All rows of a cut, with lines of rejected rows counted from the start of their segments, and without coverage that
/// damage made untrue.
fn rows_of(mut gathered: BTreeMap<Epoch, Vec<Rows>>, cut: &Cut) -> Rows {
    for (epoch, before) in &cut.lines_before {
        let rows = gathered.get_mut(epoch).into_iter().flatten();
        rows.flat_map(|rows| &mut rows.rejected).for_each(|row| row.line += before);
    }
    if !cut.damage.is_empty() {
        for (epoch, rows) in &mut gathered {
            rows.iter_mut().for_each(|rows| rows.coverage.retain(|row| cut.believes(*epoch, row.since)));
        }
    }
    Rows::concat(gathered.into_values().flatten().collect())
}
