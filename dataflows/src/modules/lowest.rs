//! A map of bounded size that is a function of the set of keys put in, whatever their order.
//!
//! It keeps the lowest keys. A key that is kept was kept from its first moment on, so what is known of it is complete;
//! a key that had to go never comes back. Where keys are digests, those kept are a fair sample.

use std::collections::BTreeMap;

pub(super) struct Lowest<K, V> {
    kept: BTreeMap<K, V>,
    max: usize,
    /// The lowest key that had to go: from here on nothing is kept.
    end: Option<K>,
}

impl<K: Ord + Copy, V: Default> Lowest<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: BTreeMap::new(), max, end: None }
    }

    /// Whether the key is kept, or would be if it came.
    pub(super) fn covers(&self, key: K) -> bool {
        self.end.is_none_or(|end| key < end)
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.kept.get(&key)
    }

    /// What is known of `key`; `None` if it is not among the lowest.
    pub(super) fn entry(&mut self, key: K) -> Option<&mut V> {
        if !self.covers(key) {
            return None;
        }
        if self.kept.len() >= self.max && !self.kept.contains_key(&key) {
            self.kept.insert(key, V::default());
            self.end = self.kept.pop_last().map(|(last, _)| last);
            return self.kept.get_mut(&key);
        }
        Some(self.kept.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts each key of `keys`, and gives what is kept.
    fn counts(max: usize, keys: &[u8]) -> Vec<(u8, u32)> {
        let mut lowest = Lowest::<u8, u32>::new(max);
        for key in keys {
            if let Some(count) = lowest.entry(*key) {
                *count += 1;
            }
        }
        assert!(lowest.kept.keys().all(|key| lowest.covers(*key)));
        lowest.kept.into_iter().collect()
    }

    #[test]
    fn keeps_the_lowest_whole_in_any_order() {
        let keys = [7, 3, 9, 3, 1, 7, 7, 5, 3, 1, 9, 9];
        let want = [(1, 2), (3, 3), (5, 1)];
        for turn in 0..keys.len() {
            let mut keys = keys;
            keys.rotate_left(turn);
            assert_eq!(counts(3, &keys), want, "{keys:?}");
            keys.reverse();
            assert_eq!(counts(3, &keys), want, "{keys:?}");
        }
        assert_eq!(counts(9, &keys), [(1, 2), (3, 3), (5, 1), (7, 3), (9, 3)]);
    }
}
