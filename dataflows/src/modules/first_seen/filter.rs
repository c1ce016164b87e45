//! A Bloom filter (Bloom, 1970) of fixed size over digests.
//!
//! Its bits are a function of the set of digests put in, whatever their order. A digest that is not in it is taken for
//! known with a probability that grows with the bits that are set.

/// How large a filter is, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    bits: u64,
    /// Bits of each digest.
    probes: u32,
    /// With so many bits set, it errs as often as it may.
    ones_max: u64,
}

impl Shape {
    /// For one of `groups` over which `expected` digests are spread by chance.
    pub(super) fn of_group(expected: u64, groups: u64, error: f64) -> Self {
        let mean = expected as f64 / groups as f64;
        // Four standard deviations: one group in 30,000 is larger.
        let digests = mean + 4.0 * mean.sqrt();
        let probes = (-error.log2()).ceil().max(1.0);
        // The size at which so many probes err with that probability: (1 - e^(-probes * digests / bits))^probes.
        let fill = error.powf(1.0 / probes);
        let bits = (-probes * digests / (-fill).ln_1p()).ceil().max(64.0);
        Self { bits: bits as u64, probes: probes as u32, ones_max: (fill * bits).floor() as u64 }
    }

    /// The bits of a digest: each a word and a mask.
    ///
    /// Two hashes give any number of them (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006). The first
    /// byte of the digest has chosen the group, so it says nothing here.
    fn places(self, digest: &[u8; 16]) -> impl Iterator<Item = (usize, u64)> {
        let digest = u128::from_be_bytes(*digest);
        let (start, step) = ((digest >> 56) as u64, digest as u64 | 1);
        (0..u64::from(self.probes)).map(move |probe| {
            let hash = start.wrapping_add(step.wrapping_mul(probe));
            let bit = (u128::from(hash) * u128::from(self.bits)) >> 64;
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }
}

pub(super) struct Filter {
    shape: Shape,
    words: Vec<u64>,
    ones: u64,
}

impl Filter {
    pub(super) fn new(shape: Shape) -> Self {
        let words = usize::try_from(shape.bits.div_ceil(64)).expect("a filter fits into memory");
        Self { shape, words: vec![0; words], ones: 0 }
    }

    /// Whether the digest changed anything; if not, it was in before, or is taken for one that was.
    pub(super) fn insert(&mut self, digest: &[u8; 16]) -> bool {
        let before = self.ones;
        for (word, mask) in self.shape.places(digest) {
            self.ones += u64::from(self.words[word] & mask == 0);
            self.words[word] |= mask;
        }
        self.ones > before
    }

    /// Whether it holds so many digests that it errs more often than stated.
    pub(super) fn is_saturated(&self) -> bool {
        self.ones > self.shape.ones_max
    }

    #[cfg(test)]
    fn has(&self, digest: &[u8; 16]) -> bool {
        self.shape.places(digest).all(|(word, mask)| self.words[word] & mask != 0)
    }
}

#[cfg(test)]
mod tests {
    use ct_model::Finding;

    use super::*;

    fn digest(n: u64) -> [u8; 16] {
        Finding::id_of("test", "", &n.to_string(), None)
    }

    fn filled(shape: Shape, digests: impl Iterator<Item = u64>) -> Filter {
        let mut filter = Filter::new(shape);
        for n in digests {
            filter.insert(&digest(n));
        }
        filter
    }

    #[test]
    fn any_order_gives_the_same_bits() {
        let shape = Shape::of_group(10_000, 1, 0.01);
        let up = filled(shape, 0..10_000);
        let down = filled(shape, (0..10_000).rev().chain(0..10));
        assert!((&up.words, up.ones) == (&down.words, down.ones));
        assert_eq!(up.ones, up.words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>());
    }

    #[test]
    fn a_digest_that_is_in_is_known() {
        let mut filter = filled(Shape::of_group(10_000, 1, 0.01), 0..10_000);
        assert!((0..10_000).all(|n| !filter.insert(&digest(n))));
    }

    #[test]
    fn errs_as_stated_when_full_and_says_when_it_is_fuller() {
        const FULL: u64 = 100_000;
        const TRIES: u64 = 1_000_000;
        for stated in [0.5, 0.1, 0.01, 0.001] {
            let mut filter = filled(Shape::of_group(FULL, 1, stated), 0..FULL);
            assert!(!filter.is_saturated(), "{stated}");
            let known = |n: &u64| filter.has(&digest(*n));
            let measured = (FULL..FULL + TRIES).filter(known).count() as f64 / TRIES as f64;
            assert!((0.7 * stated..=stated).contains(&measured), "{measured} where {stated} was stated");
            for n in FULL..FULL + FULL / 20 {
                filter.insert(&digest(n));
            }
            assert!(filter.is_saturated(), "{stated}");
        }
    }

    #[test]
    fn the_largest_filters_of_all_groups_stay_below_a_gibibyte() {
        let largest = Shape::of_group(250_000_000, 64, 0.000_001);
        assert!(largest.bits.div_ceil(8) * 64 < 1 << 30, "{largest:?}");
        // 14.4 bits a name: log2(e) * log2(1 / error).
        let usual = Shape::of_group(100_000_000, 64, 0.001);
        assert_eq!(usual.bits * 64 / 10_000_000, 144, "{usual:?}");
    }
}
