//! Runs the modules over new certificates and over messages of names alone.
//!
//! Route: none. State: none; modules are pure functions. Frontier: holds nothing back. Findings that count only once,
//! whatever shows them, leave by a second output as candidates; what modules want to remember leaves by a third.

use std::sync::Arc;

use ct_model::name::NameLists;
use ct_model::{Finding, Rows};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::epoch::Epoch;
use crate::modules::{Fact, Modules, Subject};
use crate::records::{Candidate, Decoded, EpochRows, NewFact};

/// What comes of an epoch.
pub struct Examined {
    pub rows: EpochRows,
    /// Findings that count only if nothing before has them.
    pub once: Vec<Finding>,
    /// What is to be remembered of its certificates.
    pub facts: Vec<Fact>,
}

/// Rows, candidates and facts.
pub struct ExaminedStreams<'s> {
    pub rows: StreamVec<'s, Epoch, EpochRows>,
    pub candidates: StreamVec<'s, Epoch, Candidate>,
    pub facts: StreamVec<'s, Epoch, NewFact>,
}

pub fn examine<'s>(decoded: StreamVec<'s, Epoch, Decoded>, modules: Arc<Modules>) -> ExaminedStreams<'s> {
    let mut builder = OperatorBuilder::new("examine".to_owned(), decoded.scope());
    let mut input = builder.new_input(decoded, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (rows_out, rows) = builder.new_output::<Vec<EpochRows>>();
    let (candidates_out, candidates) = builder.new_output::<Vec<Candidate>>();
    let (facts_out, facts) = builder.new_output::<Vec<NewFact>>();
    let (mut rows_out, mut candidates_out) = (OutputBuilder::from(rows_out), OutputBuilder::from(candidates_out));
    let mut facts_out = OutputBuilder::from(facts_out);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut rows, mut candidates) = (rows_out.activate(), candidates_out.activate());
            let mut facts = facts_out.activate();
            input.for_each_stamp(|capability, data| {
                let (mut rows, mut candidates) = (rows.session(&capability), candidates.session(&capability));
                let mut facts = facts.session(&capability);
                for decoded in data.flat_map(|list| list.drain(..)) {
                    let examined = examine_epoch(decoded, &modules);
                    rows.give(examined.rows);
                    let once = (0_u32..).zip(examined.once);
                    candidates.give_iterator(once.map(|(ordinal, finding)| Candidate { finding, ordinal }));
                    let remembered = (0_u32..).zip(examined.facts);
                    facts.give_iterator(remembered.map(|(ordinal, fact)| NewFact { fact, ordinal }));
                }
            });
        }
    });
    ExaminedStreams { rows, candidates, facts }
}

/// Examines everything in the order of the input: what shows a name first is what its finding tells of.
pub fn examine_epoch(decoded: Decoded, modules: &Modules) -> Examined {
    let Decoded { certificates, entries, rejected, gaps, coverage, names, tail } = decoded;
    let (mut findings, mut facts) = (Vec::new(), Vec::new());
    let mut records = Vec::with_capacity(certificates.len());
    let mut names = names.into_iter().peekable();
    for subject in certificates {
        while let Some(before) = names.next_if(|names| names.after <= records.len()) {
            modules.examine(&names_only(&before.names), &mut findings);
        }
        let der = subject.record.der.as_deref().or(subject.der.as_deref());
        let seen = Subject { der, ..Subject::certificate(&subject.record, &subject.odd_names) };
        modules.examine(&seen, &mut findings);
        modules.facts(&seen, &mut facts, &mut findings);
        records.push(subject.record);
    }
    for last in names {
        modules.examine(&names_only(&last.names), &mut findings);
    }
    let (once, findings) = findings.into_iter().partition(|finding| finding.once);
    let rows = Rows { certificates: records, entries, findings, rejected, gaps, coverage };
    Examined { rows: EpochRows { rows, tail: Some(tail) }, once, facts }
}

fn names_only(names: &NameLists) -> Subject<'_> {
    Subject { odd_names: &names.odd, ips: &names.ips, ..Subject::names_only(&names.names) }
}
