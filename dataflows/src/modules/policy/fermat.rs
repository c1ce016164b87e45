//! Fermat's factorization: finds the primes of a modulus if they are too close to each other.
//!
//! n = a² - b² where the primes are a - b and a + b. For close primes, a is little more than the root of n: a hundred
//! candidates are tried, as everybody does who looks for such keys. Whether a² - n is a square is first asked of its
//! remainders: only about one in a thousand numbers is a square modulo 64 and modulo each of eight primes.

use num_bigint::BigUint;

const ROUNDS: u32 = 100;
/// Modulo which squares are told from others. The product of the odd ones, and the even one, are the two divisors.
const SIEVES: [u64; 9] = [64, 3, 5, 7, 11, 13, 17, 19, 23];
const ODD_PRODUCT: u64 = 3 * 5 * 7 * 11 * 13 * 17 * 19 * 23;
/// By sieve: a bit for each square.
const SQUARES: [u64; SIEVES.len()] = squares();

const fn squares() -> [u64; SIEVES.len()] {
    let mut all = [0; SIEVES.len()];
    let mut sieve = 0;
    while sieve < SIEVES.len() {
        let mut root = 0;
        while root < SIEVES[sieve] {
            all[sieve] |= 1 << (root * root % SIEVES[sieve]);
            root += 1;
        }
        sieve += 1;
    }
    all
}

/// After how many rounds the factors of a big-endian number are found, if they are within a hundred.
pub(super) fn rounds_to_factor(modulus: &[u8]) -> Option<u32> {
    /// Of short numbers, most have factors close enough; whether they do is no news.
    const BITS_MIN: u64 = 256;
    let n = BigUint::from_bytes_be(modulus);
    if n.bits() < BITS_MIN {
        return None;
    }
    let root = n.sqrt();
    let first = if &root * &root == n { root } else { root + 1_u32 };
    let difference = &first * &first - &n;
    // Modulo 64 and modulo the odd product: a, and a² - n.
    let mut parts =
        [64, ODD_PRODUCT].map(|divisor| (divisor, remainder(&first, divisor), remainder(&difference, divisor)));
    (0..ROUNDS)
        .find(|round| {
            let [even, odd] = parts.map(|(_, _, difference)| difference);
            for (divisor, a, difference) in &mut parts {
                // (a + 1)² - n = a² - n + 2 a + 1
                *difference = (*difference + 2 * *a + 1) % *divisor;
                *a = (*a + 1) % *divisor;
            }
            may_be_square(even, odd) && {
                let a = &first + *round;
                let difference = &a * &a - &n;
                let root = difference.sqrt();
                &root * &root == difference
            }
        })
        .map(|round| round + 1)
}

fn may_be_square(even: u64, odd: u64) -> bool {
    let rest = |sieve: u64| if sieve == 64 { even } else { odd % sieve };
    SIEVES.iter().zip(SQUARES).all(|(sieve, squares)| squares >> rest(*sieve) & 1 == 1)
}

fn remainder(number: &BigUint, divisor: u64) -> u64 {
    let digits = (number % divisor).to_u64_digits();
    digits.first().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(p: &BigUint, distance: &BigUint, want: Option<u32>) {
        let product = p * (p + distance);
        assert_eq!(rounds_to_factor(&product.to_bytes_be()), want);
    }

    // Whether the factors are prime makes no difference to the method.

    #[test]
    fn close_factors() {
        let p = (BigUint::from(1_u32) << 1_023_u32) + 1_155_u32;
        check(&p, &BigUint::from(2_u32), Some(1));
        check(&p, &BigUint::from(123_456_u32), Some(1));
    }
    #[test]
    fn the_last_round() {
        // The root of n is b² / 2a below a, for primes a - b and a + b.
        let p: BigUint = (BigUint::from(1_u32) << 1_023_u32) + 1_155_u32;
        let mut rounds = Vec::new();
        for scale in 1_u32..40 {
            let b = (BigUint::from(scale) << 512_u32) + 1_u32;
            let a = &p + &b;
            let round = (&b * &b) / (&a * 2_u32);
            let expected = u32::try_from(round).expect("small");
            let product = &p * (&p + &b * 2_u32);
            let found = rounds_to_factor(&product.to_bytes_be());
            assert_eq!(found, (expected < ROUNDS).then_some(expected + 1), "scale {scale}");
            rounds.push(expected);
        }
        assert!(rounds.contains(&0) && rounds.iter().any(|round| (90..100).contains(round)));
        assert!(rounds.iter().any(|round| *round >= 100));
    }
    #[test]
    fn other_numbers() {
        let p = (BigUint::from(1_u32) << 1_023_u32) + 1_155_u32;
        check(&p, &(BigUint::from(1_u32) << 1_000_u32), None);
        assert_eq!(rounds_to_factor(&[]), None);
        assert_eq!(rounds_to_factor(&[15]), None);
        // 2^2048 - 1 is (2^1024 - 1) (2^1024 + 1).
        assert_eq!(rounds_to_factor(&[0xff; 256]), Some(1));
        assert_eq!(rounds_to_factor(&[0xa5; 256]), None);
    }
    #[test]
    fn a_square() {
        let p = (BigUint::from(1_u32) << 1_023_u32) + 1_155_u32;
        check(&p, &BigUint::ZERO, Some(1));
    }
}
