//! Indexes of a log as few stretches, however they come.

use std::collections::BTreeMap;

use crate::stretches::{Stretches, without};

/// First index of each stretch, and the one behind its last.
#[derive(Debug, Default)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn insert(&mut self, index: u64) {
        let Some(mut end) = index.checked_add(1).filter(|_| !self.contains(index)) else { return };
        if let Some(behind) = self.0.remove(&end) {
            end = behind;
        }
        match self.0.range_mut(..index).next_back() {
            Some((_, before)) if *before == index => *before = end,
            _ => drop(self.0.insert(index, end)),
        }
    }

    pub fn contains(&self, index: u64) -> bool {
        self.0.range(..=index).next_back().is_some_and(|(_, end)| index < *end)
    }

    pub fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(first, _)| *first)
    }

    pub fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, end)| end - 1)
    }

    /// How many stretches there are: what the memory goes by.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What of `first..end` is not among them.
    pub fn holes(&self, first: u64, end: u64) -> Stretches {
        let parts: Stretches = self.0.range(..end).map(|(first, end)| (*first, *end)).collect();
        without((first, end), &parts)
    }

    /// Forgets indexes before `first`.
    pub fn forget_before(&mut self, first: u64) {
        let kept = self.0.split_off(&first);
        if let Some(end) = self.0.last_key_value().map(|(_, end)| *end).filter(|end| *end > first) {
            self.0 = kept;
            self.0.insert(first, end);
        } else {
            self.0 = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Against a set.
    #[test]
    fn ranges_are_sets() {
        for step in [1, 3, 7, 11] {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for at in 0..40 {
                let index = at * step % 37;
                ranges.insert(index);
                set.insert(index);
                assert_eq!((ranges.first(), ranges.last()), (set.first().copied(), set.last().copied()));
                let holes: Vec<u64> = ranges.holes(2, 36).into_iter().flat_map(|(first, end)| first..end).collect();
                assert_eq!(holes, (2..36).filter(|index| !set.contains(index)).collect::<Vec<_>>());
            }
            for first in [0, 1, 10, 11, 36, 50] {
                ranges.forget_before(first);
                set.retain(|index| *index >= first);
                assert!((0..60).all(|index| ranges.contains(index) == set.contains(&index)));
            }
            assert_eq!(ranges.len(), 0);
        }
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX);
        assert_eq!(ranges.first(), None, "no log has such an index");
    }
}
