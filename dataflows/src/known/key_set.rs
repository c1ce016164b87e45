//! A set of [`Key`]s at about 22 bytes each, 25 at the worst.

use std::hash::{BuildHasher, RandomState};

use ct_model::Key;

/// Tables grow one at a time, so growing copies 1/64 of the keys.
const TABLES: usize = 64;
/// Linear probing: at a load of 4/5 a miss looks at 13 slots, that is 3 or 4 cache lines.
const LOAD_MAX: (usize, usize) = (4, 5);
const SLOTS_MIN: usize = 16;
/// No key is zero: its lowest bits are a kind, and a digest whose other 125 bits are zero is not to be had.
const EMPTY: u128 = 0;

pub struct KeySet {
    tables: Vec<Table>,
    /// Multiplies keys before they choose a slot, different in each process: nobody can aim certificates at one slot.
    /// Nothing that leaves the set depends on it.
    spread: u64,
}

#[derive(Default)]
struct Table {
    slots: Vec<u128>,
    len: usize,
}

impl Default for KeySet {
    #[expect(
        clippy::disallowed_methods,
        reason = "a seed that differs between processes is wanted; nothing routes by it"
    )]
    fn default() -> Self {
        let tables = (0..TABLES).map(|_| Table::default()).collect();
        Self { tables, spread: RandomState::new().hash_one(0_u8) | 1 }
    }
}

impl KeySet {
    /// Whether `key` was not in the set before.
    pub fn insert(&mut self, key: Key) -> bool {
        let hash = self.hash(key.0);
        let table = &mut self.tables[(hash >> 58) as usize];
        if table.len * LOAD_MAX.1 >= table.slots.len() * LOAD_MAX.0 {
            table.grow(self.spread);
        }
        table.insert(key.0, hash)
    }

    pub fn contains(&self, key: Key) -> bool {
        let hash = self.hash(key.0);
        self.tables[(hash >> 58) as usize].place(key.0, hash).is_err()
    }

    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|table| table.len == 0)
    }

    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|table| table.slots.capacity() * size_of::<u128>() + size_of::<Table>()).sum()
    }

    fn hash(&self, key: u128) -> u64 {
        hash(key, self.spread)
    }
}

impl Table {
    fn insert(&mut self, key: u128, hash: u64) -> bool {
        let place = self.place(key, hash);
        if let Ok(slot) = place {
            self.slots[slot] = key;
            self.len += 1;
        }
        place.is_ok()
    }

    /// The slot for a new key, or the one that has it. There must be an empty one, or none at all.
    fn place(&self, key: u128, hash: u64) -> Result<usize, usize> {
        let mut slot = home(hash, self.slots.len());
        loop {
            match self.slots.get(slot).copied().unwrap_or(EMPTY) {
                EMPTY => return Ok(slot),
                held if held == key => return Err(slot),
                _ => slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 },
            }
        }
    }

    fn grow(&mut self, spread: u64) {
        let slots = (self.slots.len() + self.slots.len() / 4).max(SLOTS_MIN);
        let held = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        self.len = 0;
        for key in held.into_iter().filter(|key| *key != EMPTY) {
            self.insert(key, hash(key, spread));
        }
    }
}

fn hash(key: u128, spread: u64) -> u64 {
    let folded = (key >> 64) as u64 ^ (key as u64).rotate_left(32);
    let product = u128::from(folded) * u128::from(spread);
    (product >> 64) as u64 ^ product as u64
}

/// Maps a hash onto any number of slots (Lemire, "Fast random integer generation in an interval", 2019). The top six
/// bits have chosen the table already.
fn home(hash: u64, slots: usize) -> usize {
    ((u128::from(hash << 6) * slots as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn keys(count: u64) -> impl Iterator<Item = Key> {
        (0..count).map(|n| ct_model::CertId::entry("test", n).key())
    }

    #[test]
    fn agrees_with_a_hash_set() {
        let (mut set, mut oracle) = (KeySet::default(), HashSet::new());
        for key in keys(20_000).chain(keys(30_000)) {
            assert_eq!(set.contains(key), oracle.contains(&key));
            assert_eq!(set.insert(key), oracle.insert(key));
        }
        assert_eq!(set.len(), oracle.len());
    }

    #[test]
    fn takes_at_most_25_bytes_a_key_at_any_size() {
        let mut set = KeySet::default();
        for (n, key) in keys(60_000).enumerate() {
            set.insert(key);
            if n > 10_000 {
                assert!(set.bytes() <= 27 * set.len(), "{} bytes for {} keys", set.bytes(), set.len());
            }
        }
    }
}
