//! Feeds what the lake knows already into the sets and memories that need it, before any input.
//!
//! Of certificates that modules remember it makes facts, as `examine` does of new ones.
//!
//! Frontier: holds epoch 0 until the worker's share is read; nothing of a later epoch is settled before.

use std::sync::Arc;

use ct_model::{EntryPlace, Key};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use crate::epoch::Epoch;
use crate::modules::{Fact, Modules, Subject};
use crate::ports::{KnownRows, Poll};
use crate::records::Known;

/// Known keys, known entries, and known findings, for the three sets, each behind its generation, and facts for the
/// memories.
pub struct KnownStreams<'s> {
    pub keys: StreamVec<'s, Epoch, (u32, Key)>,
    pub entries: StreamVec<'s, Epoch, (u32, EntryPlace, u32)>,
    pub findings: StreamVec<'s, Epoch, (u32, Key)>,
    pub facts: StreamVec<'s, Epoch, Fact>,
}

pub fn known<'s, K: KnownRows + 'static>(
    scope: Scope<'s, Epoch>,
    mut rows: K,
    modules: Arc<Modules>,
) -> KnownStreams<'s> {
    let mut builder = OperatorBuilder::new("known".to_owned(), scope);
    let info = builder.operator_info();
    let (keys_out, keys) = builder.new_output::<Vec<(u32, Key)>>();
    let (entries_out, entries) = builder.new_output::<Vec<(u32, EntryPlace, u32)>>();
    let (findings_out, findings) = builder.new_output::<Vec<(u32, Key)>>();
    let (facts_out, facts) = builder.new_output::<Vec<Fact>>();
    let (mut keys_out, mut entries_out) = (OutputBuilder::from(keys_out), OutputBuilder::from(entries_out));
    let (mut findings_out, mut facts_out) = (OutputBuilder::from(findings_out), OutputBuilder::from(facts_out));
    rows.wake_by(scope.worker().sync_activator_for(info.address.to_vec()));
    let activator = scope.activator_for(info.address);
    builder.build(move |capabilities| {
        let mut held = Some(capabilities);
        move |_frontiers| {
            let Some(capabilities) = held.as_ref() else { return };
            match rows.poll() {
                Poll::Ready((generation, batch)) => {
                    let (mut keys, mut entries) = (keys_out.activate(), entries_out.activate());
                    let (mut findings, mut facts) = (findings_out.activate(), facts_out.activate());
                    let mut keys = keys.session(&capabilities[0]);
                    let mut entries = entries.session(&capabilities[1]);
                    let mut findings = findings.session(&capabilities[2]);
                    let mut facts = facts.session(&capabilities[3]);
                    let (mut stated, mut told) = (Vec::new(), Vec::new());
                    for row in batch {
                        match row {
                            Known::Key(key) => keys.give((generation, key)),
                            Known::Entry { place, tag } => entries.give((generation, place, tag)),
                            Known::Finding(key) => findings.give((generation, key)),
                            Known::Certificate(record) => {
                                modules.facts(&Subject::certificate(&record, &[]), &mut stated, &mut told);
                                facts.give_iterator(stated.drain(..));
                                // Failures were reported when the certificate was new.
                                told.clear();
                            }
                        }
                    }
                    activator.activate();
                }
                Poll::Pending => {}
                Poll::End => held = None,
            }
        }
    });
    KnownStreams { keys, entries, findings, facts }
}
