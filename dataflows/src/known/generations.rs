//! What is known, by when it came, so that what came long ago can be forgotten as a whole.
//!
//! A generation is told by the position in the input (`Tail::generation`) or by the manifest, and never goes back with the
//! input. A replay has only generation 0, and forgets nothing.

use std::collections::BTreeMap;

use ct_model::{EntryPlace, Horizon, Key};

use super::{EntrySet, KeySet, Sight};

/// A set for each generation that is remembered. The newest takes what is new; what is known is not moved into it.
#[derive(Default)]
pub struct Generations<S>(BTreeMap<u32, S>);

impl<S: Default> Generations<S> {
    /// The set of a generation, to be filled with what is known of it.
    pub fn of(&mut self, generation: u32) -> &mut S {
        self.0.entry(generation).or_default()
    }

    /// From here on questions are of this generation, or of a later one.
    pub fn reach(&mut self, generation: u32) {
        while self.0.first_key_value().is_some_and(|(first, _)| Horizon::forgets(*first, generation)) {
            self.0.pop_first();
        }
    }

    fn others(&self, generation: u32) -> impl Iterator<Item = &S> {
        self.0.iter().filter(move |(other, _)| **other != generation).map(|(_, set)| set)
    }
}

impl Generations<KeySet> {
    /// Whether `key` is not remembered; it is then remembered as of `generation`.
    pub fn insert(&mut self, generation: u32, key: Key) -> bool {
        !self.others(generation).any(|set| set.contains(key)) && self.of(generation).insert(key)
    }

    /// Keys, and the memory they take.
    pub fn size(&self) -> (usize, usize) {
        self.0.values().fold((0, 0), |(keys, bytes), set| (keys + set.len(), bytes + set.bytes()))
    }
}

impl Generations<EntrySet> {
    /// What a sighting of the certificate with `tag` at `place` is; it is then remembered as of `generation`.
    pub fn insert(&mut self, generation: u32, place: EntryPlace, tag: u32) -> Sight {
        let mut sight = Sight::New;
        for set in self.others(generation) {
            match set.sight(place, tag) {
                Sight::Repeat => return Sight::Repeat,
                Sight::Conflict => sight = Sight::Conflict,
                Sight::New => {}
            }
        }
        match self.of(generation).insert(place, tag) {
            Sight::New => sight,
            same_generation => same_generation,
        }
    }

    /// Entries, and the memory they take.
    pub fn size(&self) -> (usize, usize) {
        self.0.values().fold((0, 0), |(entries, bytes), set| (entries + set.len(), bytes + set.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(number: u64) -> Key {
        ct_model::CertId::entry("test", number).key()
    }

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// The rule as a map from what is known to the generation in which it came.
    #[test]
    fn keys_agree_with_a_map_of_first_generations() {
        let (mut sets, mut oracle, mut state) = (Generations::<KeySet>::default(), HashMap::<u64, u32>::new(), 11);
        for step in 0..60_000_u32 {
            let generation = step / 1_000;
            let number = random(&mut state) % 9_000;
            sets.reach(generation);
            oracle.retain(|_, first| generation - *first <= Horizon::GENERATIONS);
            let is_new = !oracle.contains_key(&number);
            oracle.entry(number).or_insert(generation);
            assert_eq!(sets.insert(generation, key(number)), is_new, "step {step}");
            assert_eq!(sets.size().0, oracle.len(), "step {step}");
        }
    }

    #[test]
    fn entries_agree_with_a_map_of_first_generations() {
        type Tags = HashMap<u32, u32>;
        let (mut sets, mut oracle, mut state) =
            (Generations::<EntrySet>::default(), HashMap::<EntryPlace, Tags>::new(), 12);
        for step in 0..60_000_u32 {
            let generation = step / 1_000;
            let place = EntryPlace { log: random(&mut state) % 2, index: random(&mut state) % 2_500 };
            let tag = random(&mut state) as u32 % 3 + 1;
            sets.reach(generation);
            let tags = oracle.entry(place).or_default();
            tags.retain(|_, first| generation - *first <= Horizon::GENERATIONS);
            let want = match (tags.is_empty(), tags.contains_key(&tag)) {
                (_, true) => Sight::Repeat,
                (true, false) => Sight::New,
                (false, false) => Sight::Conflict,
            };
            tags.entry(tag).or_insert(generation);
            assert_eq!(sets.insert(generation, place, tag), want, "step {step}");
        }
    }

    /// What is read back comes in any order of generations.
    #[test]
    fn sets_read_back_answer_as_those_that_were_there() {
        let mut sets = Generations::<KeySet>::default();
        for generation in [7, 2, 9] {
            sets.of(generation).insert(key(u64::from(generation)));
        }
        sets.reach(11);
        assert!(sets.insert(11, key(2)), "forgotten");
        assert!(!sets.insert(11, key(7)));
        assert!(!sets.insert(11, key(9)));
    }

    /// The memory of a key does not grow with the number of generations.
    #[test]
    fn a_key_takes_at_most_32_bytes() {
        let mut sets = Generations::<KeySet>::default();
        for number in 0..180_000 {
            sets.insert((number / 20_000) as u32, key(number));
        }
        let (keys, bytes) = sets.size();
        assert!(bytes <= 32 * keys, "{bytes} bytes for {keys} keys");
    }
}
