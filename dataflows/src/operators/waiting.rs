//! Records that wait until nothing more of their epoch can come.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;

use crate::epoch::Epoch;

/// Records by epoch, with the capability to answer them.
pub(super) struct Waiting<T>(BTreeMap<Epoch, (Capability<Epoch>, Vec<T>)>);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Waiting<T> {
    pub(super) fn add(&mut self, capability: Capability<Epoch>, records: &mut Vec<T>) {
        let epoch = *capability.time();
        self.0.entry(epoch).or_insert_with(|| (capability, Vec::new())).1.append(records);
    }

    /// The records of the first epoch, unless more of it may come.
    pub(super) fn next_closed(&mut self, is_open: impl Fn(&Epoch) -> bool) -> Option<(Capability<Epoch>, Vec<T>)> {
        let first = self.0.first_entry()?;
        (!is_open(first.key())).then(|| first.remove())
    }
}
