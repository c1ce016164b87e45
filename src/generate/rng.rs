//! The generator's randomness: xoshiro256++ (Blackman and Vigna, 2019), its state filled by splitmix64.
//!
//! The same seed gives the same numbers on every machine and in every release: streams are named by their seed.

/// What splitmix64 adds to its state at each step.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// What splitmix64 answers in state `number`: a fixed mixing of 64 bits into 64 bits.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self { state: [0, 1, 2, 3].map(|step: u64| mix(seed.wrapping_add(GAMMA.wrapping_mul(step)))) }
    }

    pub fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, which is not zero; the bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in this share of the calls.
    pub fn chance(&mut self, share: f64) -> bool {
        ((self.next() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A position in `weights`, each drawn as often as its weight says.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut rest = self.below(total);
        for (position, weight) in weights.iter().enumerate() {
            let Some(left) = rest.checked_sub(u64::from(*weight)) else { return position };
            rest = left;
        }
        unreachable!("a number below the sum of the weights lies within one of them")
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // First outputs of splitmix64 from state 0, as in the published test vectors of Java's SplittableRandom.
    #[test]
    fn splitmix_as_published() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GAMMA), 0x6e78_9e6a_a1b9_65f4);
    }

    // The reference implementation in C, run from the state 1, 2, 3, 4.
    #[test]
    fn xoshiro_as_published() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| rng.next()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn shares_come_out() {
        let mut rng = Rng::new(7);
        let hits = (0..100_000).filter(|_| rng.chance(0.25)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        let mut drawn = [0; 3];
        (0..100_000).for_each(|_| drawn[rng.weighted(&[1, 0, 3])] += 1);
        assert!((24_000..26_000).contains(&drawn[0]) && drawn[1] == 0, "{drawn:?}");
    }
}
