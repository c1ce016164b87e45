//! What an RSA modulus leaves when divided by small primes: tells small factors, and the fingerprint of ROCA.
//!
//! Dividing a long number is slow. So the primes are gathered into products of 32 bits, and the remainder by a product
//! is a sum over the number's digits, each times the remainder of its place, which is in a table.

/// Longer moduli are not looked into.
pub(super) const MODULUS_BITS_MAX: usize = 16_384;

const DIGITS_MAX: usize = MODULUS_BITS_MAX / 32;
/// Odd primes below 752 (BR 6.1.6).
const PRIMES: usize = 132;
const PRIME_LIST: [u16; PRIMES] = primes();
const GROUPS: usize = groups();
const PRODUCTS: [Product; GROUPS] = products();
/// By product: 2^(32 i) mod the product.
static PLACES: [[u32; DIGITS_MAX]; GROUPS] = places();

/// Primes whose product fits 32 bits: those at `first..end`.
#[derive(Clone, Copy)]
struct Product {
    value: u32,
    first: usize,
    end: usize,
}

const fn primes() -> [u16; PRIMES] {
    let mut list = [0; PRIMES];
    let (mut count, mut candidate) = (0, 3_u16);
    while candidate < 752 {
        let mut divisor = 3;
        while divisor * divisor <= candidate && candidate % divisor != 0 {
            divisor += 2;
        }
        if divisor * divisor > candidate {
            list[count] = candidate;
            count += 1;
        }
        candidate += 2;
    }
    assert!(count == PRIMES, "there are as many odd primes below 752");
    list
}

/// The product that begins with the prime at `first`.
const fn product(first: usize) -> Product {
    let (mut value, mut end) = (1_u64, first);
    while end < PRIMES && value * PRIME_LIST[end] as u64 <= u32::MAX as u64 {
        value *= PRIME_LIST[end] as u64;
        end += 1;
    }
    Product { value: value as u32, first, end }
}

const fn groups() -> usize {
    let (mut count, mut first) = (0, 0);
    while first < PRIMES {
        first = product(first).end;
        count += 1;
    }
    count
}

const fn products() -> [Product; GROUPS] {
    let mut all = [Product { value: 1, first: 0, end: 0 }; GROUPS];
    let (mut group, mut first) = (0, 0);
    while group < GROUPS {
        all[group] = product(first);
        first = all[group].end;
        group += 1;
    }
    all
}

const fn places() -> [[u32; DIGITS_MAX]; GROUPS] {
    let mut all = [[1; DIGITS_MAX]; GROUPS];
    let mut group = 0;
    while group < GROUPS {
        let mut digit = 1;
        while digit < DIGITS_MAX {
            all[group][digit] = (((all[group][digit - 1] as u64) << 32) % PRODUCTS[group].value as u64) as u32;
            digit += 1;
        }
        group += 1;
    }
    all
}

/// ROCA (CVE-2017-15361): primes of the form k M + (65537^a mod M), where M is a product of small primes. So the
/// modulus is a power of 65537 modulo each of them. The first 38 odd primes, up to 167, tell it from a random number.
const ROCA_PRIMES: usize = 38;
/// By prime, the powers of 65537: a bit for each.
const POWERS: [[u64; 3]; ROCA_PRIMES] = powers();

const fn powers() -> [[u64; 3]; ROCA_PRIMES] {
    let mut all = [[0; 3]; ROCA_PRIMES];
    let mut at = 0;
    while at < ROCA_PRIMES {
        let prime = PRIME_LIST[at] as u64;
        let mut power = 1;
        while all[at][power as usize / 64] & (1 << (power % 64)) == 0 {
            all[at][power as usize / 64] |= 1 << (power % 64);
            power = power * 65_537 % prime;
        }
        at += 1;
    }
    all
}

/// The remainders of a modulus.
#[derive(Debug)]
pub(super) struct Residues([u16; PRIMES]);

impl Residues {
    /// Of a big-endian number; `None` if it is longer than [`MODULUS_BITS_MAX`] bits, or zero.
    pub(super) fn of(modulus: &[u8]) -> Option<Self> {
        if modulus.len() * 8 > MODULUS_BITS_MAX || modulus.iter().all(|byte| *byte == 0) {
            return None;
        }
        let digits: Vec<u32> =
            modulus.rchunks(4).map(|bytes| bytes.iter().fold(0, |digit, byte| digit << 8 | u32::from(*byte))).collect();
        let mut residues = [0; PRIMES];
        for (product, places) in PRODUCTS.iter().zip(&PLACES) {
            let terms = digits.iter().zip(places).map(|(digit, place)| u64::from(*digit) * u64::from(*place));
            // Halves of the terms, so that 512 of them fit.
            let (low, high) =
                terms.fold((0_u64, 0_u64), |(low, high), term| (low + (term & 0xffff_ffff), high + (term >> 32)));
            let value = u64::from(product.value);
            let rest = (((high % value) << 32) + low % value) % value;
            for at in product.first..product.end {
                residues[at] = (rest % u64::from(PRIME_LIST[at])) as u16;
            }
        }
        Some(Self(residues))
    }

    /// The smallest odd prime factor below 752.
    pub(super) fn factor(&self) -> Option<u16> {
        self.0.iter().zip(PRIME_LIST).find(|(residue, _)| **residue == 0).map(|(_, prime)| prime)
    }

    pub(super) fn are_of_roca(&self) -> bool {
        let is_power = |residue: u16, powers: &[u64; 3]| powers[usize::from(residue) / 64] >> (residue % 64) & 1 == 1;
        self.0.iter().zip(&POWERS).all(|(residue, powers)| is_power(*residue, powers))
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;

    #[test]
    fn remainders_are_those_of_long_division() {
        // A fixed sequence of bytes; lengths around a digit, a usual key, and the longest.
        let bytes: Vec<u8> = (0..MODULUS_BITS_MAX / 8).map(|at| (at * 167 + at / 251 * 13 + 5) as u8).collect();
        for length in [1, 2, 3, 4, 5, 31, 128, 256, 257, 512, 1_024, MODULUS_BITS_MAX / 8] {
            let residues = Residues::of(&bytes[..length]).expect("short enough");
            let number = BigUint::from_bytes_be(&bytes[..length]);
            for (residue, prime) in residues.0.iter().zip(PRIME_LIST) {
                assert_eq!(BigUint::from(*residue), &number % prime, "{length} bytes, {prime}");
            }
        }
        let all_ones = vec![0xff; MODULUS_BITS_MAX / 8];
        let residues = Residues::of(&all_ones).expect("short enough");
        for (residue, prime) in residues.0.iter().zip(PRIME_LIST) {
            assert_eq!(BigUint::from(*residue), BigUint::from_bytes_be(&all_ones) % prime);
        }
    }
    #[test]
    fn bounds() {
        assert!(Residues::of(&vec![1; MODULUS_BITS_MAX / 8 + 1]).is_none());
        assert!(Residues::of(&[]).is_none() && Residues::of(&[0, 0]).is_none());
    }
    #[test]
    fn factors() {
        let factor = |number: u64| Residues::of(&number.to_be_bytes()).expect("not zero").factor();
        assert_eq!(factor(751 * 757), Some(751));
        assert_eq!(factor(757 * 761), None);
        assert_eq!(factor(3 * 5), Some(3));
    }
    #[test]
    fn the_list_of_primes() {
        assert_eq!((PRIME_LIST[0], PRIME_LIST[ROCA_PRIMES - 1], PRIME_LIST[PRIMES - 1]), (3, 167, 751));
    }
}
