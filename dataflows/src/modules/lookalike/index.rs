//! From a changed word back to the words that it may come from, at a cost that does not grow with their number.
//!
//! Every word is entered under the hashes of what a change leaves as it is: the word without any one or two of its
//! letters (symmetric deletion: two words at distance 1 share a form with one letter less), its letters in any order,
//! its consonants. A label is looked up under the same hashes. An answer is a candidate that the caller checks.

/// What of a word a hash is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Without some of its letters, or with all.
    Deleted = 1,
    /// Without two neighbours.
    Doubled,
    /// Without one letter.
    Single,
    /// All letters, in any order.
    Letters,
    /// With all vowels alike.
    Consonants,
    /// As [`super::glyphs::loosened`] reads it.
    Loose,
    Plural,
}

const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
const BASE_INVERSE: u64 = inverse(BASE);
const LETTERS: [u64; 256] = letters();

/// Of an odd number, modulo 2^64: every step of Newton's method doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// A fixed number for every byte (the splitmix64 sequence): hashes are the same in every process.
const fn letters() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut z = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[byte] = z ^ (z >> 31);
        byte += 1;
    }
    table
}

/// The hash of a sequence of bytes: the sum of their numbers, each times the base to the power of its place.
pub(super) fn sequence(bytes: impl Iterator<Item = u8>) -> u64 {
    let mut power = 1u64;
    bytes.fold(0, |sum: u64, byte| {
        let term = LETTERS[usize::from(byte)].wrapping_mul(power);
        power = power.wrapping_mul(BASE);
        sum.wrapping_add(term)
    })
}

/// The hash of a bag of bytes.
pub(super) fn bag(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_add(LETTERS[usize::from(*byte)]))
}

/// Longer words are not looked for: no label is.
pub(super) const WORD_BYTES_MAX: usize = 63;

/// The hashes of a label's beginnings, from which those of its forms with letters left out follow.
pub(super) struct Prefixes {
    sums: [u64; WORD_BYTES_MAX + 1],
    len: usize,
}

impl Prefixes {
    /// `None` if there is no word of such a length.
    pub(super) fn of(label: &[u8]) -> Option<Self> {
        if label.len() > WORD_BYTES_MAX {
            return None;
        }
        let mut sums = [0u64; WORD_BYTES_MAX + 1];
        let mut power = 1u64;
        for (at, byte) in label.iter().enumerate() {
            sums[at + 1] = sums[at].wrapping_add(LETTERS[usize::from(*byte)].wrapping_mul(power));
            power = power.wrapping_mul(BASE);
        }
        Some(Self { sums, len: label.len() })
    }

    pub(super) fn whole(&self) -> u64 {
        self.sums[self.len]
    }

    /// What follows `from`, moved `by` places to the left.
    fn tail(&self, from: usize, inverse: u64) -> u64 {
        self.sums[self.len].wrapping_sub(self.sums[from]).wrapping_mul(inverse)
    }

    pub(super) fn without_one(&self, at: usize) -> u64 {
        self.sums[at].wrapping_add(self.tail(at + 1, BASE_INVERSE))
    }

    /// Without two neighbours.
    pub(super) fn without_pair(&self, at: usize) -> u64 {
        self.sums[at].wrapping_add(self.tail(at + 2, BASE_INVERSE.wrapping_mul(BASE_INVERSE)))
    }

    /// Calls `each` with the hash of every form that lacks two bytes.
    pub(super) fn without_two(&self, mut each: impl FnMut(u64)) {
        let twice = BASE_INVERSE.wrapping_mul(BASE_INVERSE);
        let mut tails = [0u64; WORD_BYTES_MAX + 1];
        for (second, tail) in tails.iter_mut().enumerate().take(self.len) {
            *tail = self.sums[second].wrapping_mul(BASE_INVERSE).wrapping_add(self.tail(second + 1, twice));
        }
        for first in 0..self.len {
            let head = self.sums[first].wrapping_sub(self.sums[first + 1].wrapping_mul(BASE_INVERSE));
            for tail in &tails[first + 1..self.len] {
                each(head.wrapping_add(*tail));
            }
        }
    }
}

/// Words by hash. Only those who write the list choose the keys; a hostile name can only miss.
pub(super) struct Index {
    /// A bit for every hash, so that nearly all that miss do so in few cache lines.
    filter: Vec<u64>,
    /// By the first bits of the hash: where its entries begin. One more at the end.
    starts: Vec<u32>,
    /// How many first bits these are.
    start_bits: u32,
    /// Sorted.
    entries: Vec<(u64, u32)>,
}

impl Index {
    /// Filter bits for every start, as a power of two.
    const FILTER_BITS: u32 = 5;

    pub(super) fn new(mut entries: Vec<(u64, u32)>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        let start_bits = entries.len().next_power_of_two().trailing_zeros().max(1);
        let mut starts = Vec::with_capacity((1 << start_bits) + 1);
        let mut filter = vec![0; 1 << (start_bits + Self::FILTER_BITS - 6)];
        for (at, (hash, _)) in entries.iter().enumerate() {
            let start = (hash >> (64 - start_bits)) as usize;
            starts.resize(starts.len().max(start + 1), u32::try_from(at).expect("entries are fewer than 2^32"));
            let bit = hash >> (64 - start_bits - Self::FILTER_BITS);
            filter[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        starts.resize((1 << start_bits) + 1, u32::try_from(entries.len()).expect("entries are fewer than 2^32"));
        Self { filter, starts, start_bits, entries }
    }

    pub(super) fn hash(key: Key, value: u64) -> u64 {
        // The high bits of a sum are as good as those of its terms.
        (value ^ key as u64).wrapping_mul(0xff51_afd7_ed55_8ccd)
    }

    /// The words entered under the hash.
    #[inline]
    pub(super) fn words(&self, key: Key, value: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = Self::hash(key, value);
        let bit = hash >> (64 - self.start_bits - Self::FILTER_BITS);
        let known = self.filter[(bit / 64) as usize] & 1 << (bit % 64) != 0;
        let entries = if known { self.entries_beside(hash) } else { &[] };
        entries.iter().filter(move |entry| entry.0 == hash).map(|entry| entry.1)
    }

    fn entries_beside(&self, hash: u64) -> &[(u64, u32)] {
        let start = (hash >> (64 - self.start_bits)) as usize;
        &self.entries[self.starts[start] as usize..self.starts[start + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> u64 {
        sequence(text.bytes())
    }

    #[test]
    fn hashes_of_shortened_forms_are_those_of_the_shorter_words() {
        let label = "microsoft";
        let prefixes = Prefixes::of(label.as_bytes()).expect("short");
        assert_eq!(prefixes.whole(), hash(label));
        let without = |places: &[usize]| -> String {
            label.char_indices().filter(|(at, _)| !places.contains(at)).map(|(_, c)| c).collect()
        };
        let mut two = Vec::new();
        for first in 0..label.len() {
            assert_eq!(prefixes.without_one(first), hash(&without(&[first])));
            two.extend((first + 1..label.len()).map(|second| hash(&without(&[first, second]))));
            if first + 1 < label.len() {
                assert_eq!(prefixes.without_pair(first), hash(&without(&[first, first + 1])));
            }
        }
        let mut found = Vec::new();
        prefixes.without_two(|hash| found.push(hash));
        assert_eq!(found, two);
    }

    #[test]
    fn a_bag_has_no_order_and_a_sequence_has() {
        assert_eq!(bag(b"paypal"), bag(b"lapyap"));
        assert_ne!(bag(b"paypal"), bag(b"paypa"));
        assert_ne!(hash("paypal"), hash("papyal"));
    }

    #[test]
    fn the_index_answers_with_all_words_of_a_hash() {
        let entries = vec![(Index::hash(Key::Deleted, 7), 2), (Index::hash(Key::Deleted, 7), 1)];
        let index = Index::new(entries);
        assert_eq!(index.words(Key::Deleted, 7).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(index.words(Key::Loose, 7).count(), 0);
        assert_eq!(index.words(Key::Deleted, 8).count(), 0);
        assert_eq!(Index::new(Vec::new()).words(Key::Deleted, 0).count(), 0);
    }
}
