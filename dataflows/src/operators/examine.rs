//! Runs the modules over new certificates and over messages of names alone.
//!
//! Route: none. State: none; modules are pure functions. Frontier: holds nothing back. Findings that count only once,
//! whatever shows them, leave by a second output as candidates; what modules want to remember leaves by a third.

use std::collections::HashMap;
use std::sync::Arc;

use ct_model::name::NameLists;
use ct_model::{Finding, MessageId, Rows};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use tracing::debug;

use crate::epoch::Epoch;
use crate::meter::Meter;
use crate::modules::{Fact, Modules, Subject};
use crate::ports::Clock;
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

pub fn examine<'s>(
    decoded: StreamVec<'s, Epoch, Decoded>,
    modules: Arc<Modules>,
    clock: Clock,
    meter: Arc<Meter>,
) -> ExaminedStreams<'s> {
    let mut builder = OperatorBuilder::new("examine".to_owned(), decoded.scope());
    let mut input = builder.new_input(decoded, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (rows_out, rows) = builder.new_output::<Vec<EpochRows>>();
    let (candidates_out, candidates) = builder.new_output::<Vec<Candidate>>();
    let (facts_out, facts) = builder.new_output::<Vec<NewFact>>();
    let (mut rows_out, mut candidates_out) = (OutputBuilder::from(rows_out), OutputBuilder::from(candidates_out));
    let mut facts_out = OutputBuilder::from(facts_out);
    builder.build(move |_capabilities| {
        let mut spent: Vec<(&'static str, u64)> = Vec::new();
        move |_frontiers| {
            let (mut rows, mut candidates) = (rows_out.activate(), candidates_out.activate());
            let mut facts = facts_out.activate();
            input.for_each_stamp(|capability, data| {
                let (mut rows, mut candidates) = (rows.session(&capability), candidates.session(&capability));
                let mut facts = facts.session(&capability);
                for decoded in data.flat_map(|list| list.drain(..)) {
                    let generation = decoded.tail.generation;
                    let mut since = clock();
                    let examined = examine_epoch(decoded, &modules, |module| {
                        let now = clock();
                        spent.push((module, now.saturating_sub(std::mem::replace(&mut since, now))));
                    });
                    meter.examined(spent.drain(..));
                    rows.give(examined.rows);
                    let once = (0_u32..).zip(examined.once);
                    candidates.give_iterator(once.map(|(ordinal, finding)| Candidate { finding, ordinal, generation }));
                    let remembered = (0_u32..).zip(examined.facts);
                    facts.give_iterator(remembered.map(|(ordinal, fact)| NewFact { fact, ordinal, generation }));
                }
            });
        }
    });
    ExaminedStreams { rows, candidates, facts }
}

/// Examines everything in the order of the input: what shows a name first is what its finding tells of. `done` hears of
/// each module that is through.
pub fn examine_epoch(decoded: Decoded, modules: &Modules, done: impl FnMut(&'static str)) -> Examined {
    let Decoded { certificates, ids, entries, rejected, gaps, coverage, names, tail } = decoded;
    let mut subjects = Vec::with_capacity(certificates.len() + names.len());
    let mut named = names.iter().peekable();
    for (at, subject) in certificates.iter().enumerate() {
        while let Some(before) = named.next_if(|names| names.after <= at) {
            subjects.push(names_only(&before.names));
        }
        let der = subject.record.der.as_deref().or(subject.der.as_deref());
        subjects.push(Subject { der, ..Subject::certificate(&subject.record, &subject.odd_names) });
    }
    subjects.extend(named.map(|last| names_only(&last.names)));
    let mut findings = modules.examine_all(&subjects, done);
    let mut facts = Vec::new();
    for subject in &subjects {
        modules.facts(subject, &mut facts, &mut findings);
    }
    trace(&ids, &subjects, &findings);
    let (once, findings) = findings.into_iter().partition(|finding| finding.once);
    let certificates = certificates.into_iter().map(|subject| subject.record).collect();
    let rows = Rows { certificates, entries, findings, rejected, gaps, coverage };
    Examined { rows: EpochRows { rows, tail: Some(tail) }, once, facts }
}

/// Says which messages findings are about, if that is known.
fn trace(ids: &[MessageId], subjects: &[Subject<'_>], findings: &[Finding]) {
    if ids.is_empty() {
        return;
    }
    let certificates = subjects.iter().filter_map(|subject| subject.certificate);
    let messages: HashMap<_, _> = certificates.map(|record| record.sha256).zip(ids).collect();
    for finding in findings.iter().filter(|finding| finding.sha256.is_some()) {
        let Some(message_id) = messages.get(&finding.sha256) else { continue };
        let Finding { module, check, name, .. } = finding;
        debug!(%message_id, %module, %check, name = name.as_deref(), "a finding was made");
    }
}

fn names_only(names: &NameLists) -> Subject<'_> {
    Subject { odd_names: &names.odd, ips: &names.ips, ..Subject::names_only(&names.names) }
}
