//! Which certificate stands at which index of which log, at about 4 bytes an entry where a log is read without gaps.
//!
//! Indexes live in pages of [`EntryPlace::PAGE_ENTRIES`]. A page with few entries is a sorted list of 8 bytes each, a
//! page with many an array of 4-byte tags. A lone entry far from all others costs some 80 bytes.

use std::collections::{BTreeSet, HashMap};

use ct_model::EntryPlace;

/// What a sighting of a certificate at a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    New,
    /// New, and another certificate stands at that place.
    Conflict,
    Repeat,
}

#[derive(Default)]
pub struct EntrySet {
    pages: HashMap<(u64, u64), Page>,
    /// Second and further certificates at one place.
    conflicts: BTreeSet<(EntryPlace, u32)>,
    len: usize,
    bytes: usize,
}

enum Page {
    /// `offset << 32 | tag`, sorted.
    Sparse(Vec<u64>),
    /// By offset; 0 is nobody.
    Dense(Box<[u32]>),
}

const PAGE_BYTES: usize = EntryPlace::PAGE_ENTRIES as usize * size_of::<u32>();
/// From here on an array is the smaller of the two.
const SPARSE_MAX: usize = PAGE_BYTES / size_of::<u64>();
/// A page's share of the map, at the map's usual load.
const PAGE_OVERHEAD_BYTES: usize = 2 * size_of::<((u64, u64), Page)>();

impl EntrySet {
    /// Records that the certificate with `tag` stands at `place`.
    pub fn insert(&mut self, place: EntryPlace, tag: u32) -> Sight {
        let tag = tag.max(1);
        let offset = (place.index % EntryPlace::PAGE_ENTRIES) as usize;
        let page = self.pages.entry((place.log, place.page())).or_insert_with(|| {
            self.bytes += PAGE_OVERHEAD_BYTES;
            Page::Sparse(Vec::new())
        });
        let held = match page {
            Page::Dense(tags) => {
                let held = tags[offset];
                if held == 0 {
                    tags[offset] = tag;
                }
                held
            }
            Page::Sparse(list) => match list.binary_search_by_key(&(offset as u64), |item| item >> 32) {
                Ok(at) => list[at] as u32,
                Err(at) => {
                    let before = list.capacity();
                    list.insert(at, (offset as u64) << 32 | u64::from(tag));
                    self.bytes += (list.capacity() - before) * size_of::<u64>();
                    if list.len() > SPARSE_MAX {
                        self.bytes = self.bytes + PAGE_BYTES - list.capacity() * size_of::<u64>();
                        let dense = dense(list);
                        *page = dense;
                    }
                    0
                }
            },
        };
        let sight = match held {
            0 => Sight::New,
            held if held == tag => Sight::Repeat,
            _ if self.conflicts.insert((place, tag)) => Sight::Conflict,
            _ => Sight::Repeat,
        };
        self.len += usize::from(sight != Sight::Repeat);
        sight
    }

    /// What [`insert`](Self::insert) would say.
    pub fn sight(&self, place: EntryPlace, tag: u32) -> Sight {
        let tag = tag.max(1);
        let offset = place.index % EntryPlace::PAGE_ENTRIES;
        let held = match self.pages.get(&(place.log, place.page())) {
            None => 0,
            Some(Page::Dense(tags)) => tags[offset as usize],
            Some(Page::Sparse(list)) => {
                list.binary_search_by_key(&offset, |item| item >> 32).map_or(0, |at| list[at] as u32)
            }
        };
        match held {
            0 => Sight::New,
            held if held == tag || self.conflicts.contains(&(place, tag)) => Sight::Repeat,
            _ => Sight::Conflict,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.conflicts.len() * 2 * size_of::<(EntryPlace, u32)>()
    }
}

fn dense(list: &[u64]) -> Page {
    let mut tags = vec![0; EntryPlace::PAGE_ENTRIES as usize].into_boxed_slice();
    for item in list {
        tags[(item >> 32) as usize] = *item as u32;
    }
    Page::Dense(tags)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// The same rule, written as a map of sets.
    #[derive(Default)]
    struct Oracle(HashMap<EntryPlace, HashSet<u32>>);

    impl Oracle {
        fn insert(&mut self, place: EntryPlace, tag: u32) -> Sight {
            let tags = self.0.entry(place).or_default();
            match (tags.is_empty(), tags.insert(tag)) {
                (_, false) => Sight::Repeat,
                (true, true) => Sight::New,
                (false, true) => Sight::Conflict,
            }
        }
    }

    #[test]
    fn agrees_with_a_map_of_sets() {
        let (mut set, mut oracle) = (EntrySet::default(), Oracle::default());
        let mut random = 7_u64; // seed
        for _ in 0..60_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = EntryPlace { log: random >> 63, index: (random >> 40) % 3_000 };
            let tag = (random >> 33) as u32 % 3 + 1;
            let sight = set.sight(place, tag);
            assert_eq!(set.insert(place, tag), sight, "{place:?} {tag}");
            assert_eq!(sight, oracle.insert(place, tag), "{place:?} {tag}");
        }
        assert_eq!(set.len(), oracle.0.values().map(HashSet::len).sum::<usize>());
    }

    #[test]
    fn a_log_without_gaps_takes_little_more_than_4_bytes_an_entry() {
        let mut set = EntrySet::default();
        for index in 0..100_000 {
            set.insert(EntryPlace { log: 1, index }, index as u32);
        }
        assert!(set.bytes() < 5 * set.len(), "{} bytes", set.bytes());
    }
}
