//! The key in a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).

use super::Algorithm;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// AlgorithmIdentifier of a key on P-256 (RFC 5480 section 2.1.1): id-ecPublicKey, secp256r1. DER has one form of it.
const EC_P256: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// AlgorithmIdentifier of an RSA key (RFC 3279 section 2.3.1): rsaEncryption, NULL.
const RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];

/// Kind of key, and the key itself.
pub(super) fn read(der: &[u8]) -> Option<(Algorithm, &[u8])> {
    let (content, []) = element(der, SEQUENCE)? else { return None };
    let (identifier, rest) = element(content, SEQUENCE)?;
    let ([0, key @ ..], []) = element(rest, BIT_STRING)? else { return None };
    // SEC 1 section 2.3.3: 4 begins an uncompressed point of two coordinates.
    let algorithm = match (identifier, key) {
        (EC_P256, [4, point @ ..]) if point.len() == 64 => Algorithm::EcdsaP256,
        (RSA, _) => Algorithm::Rsa,
        _ => return None,
    };
    Some((algorithm, key))
}

/// The content of the element of DER at the front, and what follows it. Lengths take at most two bytes: the largest
/// key that is accepted has some 1,050.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *bytes {
        [first, length @ 0..=0x7f, ref rest @ ..] if first == tag => (usize::from(length), rest),
        [first, 0x81, length @ 0x80..=0xff, ref rest @ ..] if first == tag => (usize::from(length), rest),
        [first, 0x82, high @ 1..=0xff, low, ref rest @ ..] if first == tag => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
