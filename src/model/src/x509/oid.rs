//! Object identifiers: the words for algorithms, and the dotted form of all others.

use std::fmt::Write;

use super::walk::{Element, Elements, INTEGER, OID, SEQUENCE};

/// Content of an OID as `1.2.840.113549`. One that is no OID, or longer than any real one, is `unknown`.
pub(super) fn text(content: &[u8]) -> String {
    dotted(content).unwrap_or_else(|| "unknown".to_owned())
}

fn dotted(content: &[u8]) -> Option<String> {
    const OID_BYTES_MAX: usize = 64;
    if content.len() > OID_BYTES_MAX || content.last()? & 0x80 != 0 {
        return None;
    }
    let mut text = String::with_capacity(content.len() * 3);
    let mut arc = 0_u64;
    for &byte in content {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // X.690 section 8.19.4: the first number holds two arcs.
        match text.is_empty() {
            true => {
                let root = (arc / 40).min(2);
                write!(text, "{root}.{}", arc - root * 40)
            }
            false => write!(text, ".{arc}"),
        }
        .expect("a String takes what is written to it");
        arc = 0;
    }
    Some(text)
}

/// Where a public key's size stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySize {
    Fixed(u32),
    /// The modulus of an RSA key (RFC 8017 appendix A.1.1).
    RsaModulus,
    /// The prime of the parameters (RFC 3279 section 2.3.2).
    DsaPrime,
    Unknown,
}

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

const KEYS: [(&[u8], &str, KeySize); 10] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], "rsa", KeySize::RsaModulus),
    (RSA_PSS, "rsapss", KeySize::RsaModulus),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "dsa", KeySize::DsaPrime),
    (&[0x2b, 0x65, 0x70], "ed25519", KeySize::Fixed(256)),
    (&[0x2b, 0x65, 0x71], "ed448", KeySize::Fixed(456)),
    (&[0x2b, 0x65, 0x6e], "x25519", KeySize::Fixed(256)),
    (&[0x2b, 0x65, 0x6f], "x448", KeySize::Fixed(448)),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17], "ml-dsa-44", KeySize::Unknown),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18], "ml-dsa-65", KeySize::Unknown),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19], "ml-dsa-87", KeySize::Unknown),
];

const CURVES: [(&[u8], &str, u32); 10] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "ecdsa-p256", 256),
    (&[0x2b, 0x81, 4, 0, 34], "ecdsa-p384", 384),
    (&[0x2b, 0x81, 4, 0, 35], "ecdsa-p521", 521),
    (&[0x2b, 0x81, 4, 0, 33], "ecdsa-p224", 224),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1], "ecdsa-p192", 192),
    (&[0x2b, 0x81, 4, 0, 10], "ecdsa-secp256k1", 256),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], "ecdsa-brainpoolp256r1", 256),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], "ecdsa-brainpoolp384r1", 384),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], "ecdsa-brainpoolp512r1", 512),
    (&[0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x82, 0x2d], "sm2", 256),
];

/// Go's names of signature algorithms in lower case, and names made like them.
const SIGNATURES: [(&[u8], &str); 32] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "ecdsa-sha256"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], "ecdsa-sha384"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], "sha256-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], "sha384-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], "sha512-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], "sha224-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "sha1-rsa"),
    (&[0x2b, 0x0e, 3, 2, 29], "sha1-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "md5-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 3], "md4-rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2], "md2-rsa"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 13], "sha3-224-rsa"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 14], "sha3-256-rsa"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 15], "sha3-384-rsa"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 16], "sha3-512-rsa"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "ecdsa-sha1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], "ecdsa-sha224"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "ecdsa-sha512"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 9], "ecdsa-sha3-224"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 10], "ecdsa-sha3-256"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 11], "ecdsa-sha3-384"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 12], "ecdsa-sha3-512"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], "dsa-sha1"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 1], "dsa-sha224"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "dsa-sha256"),
    (&[0x2b, 0x65, 0x70], "ed25519"),
    (&[0x2b, 0x65, 0x71], "ed448"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17], "ml-dsa-44"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18], "ml-dsa-65"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19], "ml-dsa-87"),
    (&[0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x83, 0x75], "sm2-sm3"),
    (&[0x2b, 0x24, 3, 3, 1, 2], "ripemd160-rsa"),
];

/// Hashes that RSASSA-PSS parameters name.
const PSS_HASHES: [(&[u8], &str); 5] = [
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], "sha256-rsapss"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], "sha384-rsapss"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], "sha512-rsapss"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4], "sha224-rsapss"),
    (&[0x2b, 0x0e, 3, 2, 26], "sha1-rsapss"),
];

fn word(table: &[(&[u8], &'static str)], oid: &[u8]) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == oid).map(|(_, word)| *word)
}

/// The word for the algorithm of a public key, of the content of its AlgorithmIdentifier; `None` if that holds none.
///
/// `rsa`, `ecdsa-p256`, `ed25519` and so on; `ecdsa-` and the dotted OID for any other named curve, `ecdsa` for one
/// written out; the dotted OID of any other algorithm.
pub(super) fn key_algorithm(content: &[u8]) -> Option<(String, KeySize)> {
    let mut parts = Elements::of(content);
    let oid = parts.next_if(|tag| tag == OID)?.content;
    if oid == EC_PUBLIC_KEY {
        let Some(curve) = parts.next_if(|tag| tag == OID) else { return Some(("ecdsa".to_owned(), KeySize::Unknown)) };
        return Some(match CURVES.iter().find(|(known, ..)| *known == curve.content) {
            Some((_, word, bits)) => ((*word).to_owned(), KeySize::Fixed(*bits)),
            None => (format!("ecdsa-{}", text(curve.content)), KeySize::Unknown),
        });
    }
    Some(match KEYS.iter().find(|(known, ..)| *known == oid) {
        Some((_, word, size)) => ((*word).to_owned(), *size),
        None => (text(oid), KeySize::Unknown),
    })
}

/// The size in bits of a public key, given the two parts of its SubjectPublicKeyInfo.
pub(super) fn key_bits(algorithm: Element<'_>, key: Option<Element<'_>>, size: KeySize) -> Option<u32> {
    match size {
        KeySize::Fixed(bits) => Some(bits),
        KeySize::Unknown => None,
        KeySize::RsaModulus => {
            let (key, _) = Element::read(key?.content.strip_prefix(&[0])?)?;
            bits_of_first_integer(key)
        }
        KeySize::DsaPrime => bits_of_first_integer(Elements::of(algorithm.content).nth(1)?),
    }
}

fn bits_of_first_integer(sequence: Element<'_>) -> Option<u32> {
    let number = Elements::of(sequence.content).next_if(|tag| tag == INTEGER)?.content;
    let zeros = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros());
    u32::try_from((number.len() - zeros) * 8).ok().map(|bits| bits - first)
}

/// The word for a signature algorithm, of the content of its AlgorithmIdentifier: `sha256-rsa`, `ecdsa-sha384`,
/// `sha256-rsapss`, `ed25519` and so on, the dotted OID of any other; `None` if that holds none.
pub(super) fn signature_algorithm(content: &[u8]) -> Option<String> {
    let mut parts = Elements::of(content);
    let oid = parts.next_if(|tag| tag == OID)?.content;
    if oid == RSA_PSS {
        return Some(pss_word(parts.next()).map_or_else(|| text(oid), str::to_owned));
    }
    Some(word(&SIGNATURES, oid).map_or_else(|| text(oid), str::to_owned))
}

/// RFC 4055 section 3.1: the hash is the first of the parameters, SHA-1 if absent.
fn pss_word(parameters: Option<Element<'_>>) -> Option<&'static str> {
    const HASH: u8 = 0xa0;
    let parameters = parameters.filter(|parameters| parameters.tag == SEQUENCE)?;
    let Some(hash) = Elements::of(parameters.content).next_if(|tag| tag == HASH) else { return Some("sha1-rsapss") };
    let algorithm = Element::only(hash.content, SEQUENCE)?;
    word(&PSS_HASHES, Elements::of(algorithm.content).next_if(|tag| tag == OID)?.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_text() {
        assert_eq!(text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), "1.2.840.113549.1.1.11");
        assert_eq!(text(&[0x55, 4, 3]), "2.5.4.3");
        // X.690 section 8.19.5 has this example.
        assert_eq!(text(&[0x88, 0x37, 3]), "2.999.3");
        assert_eq!(text(&[0]), "0.0");
    }
    #[test]
    fn no_dotted_text() {
        assert_eq!(text(&[]), "unknown");
        assert_eq!(text(&[0x2a, 0x86]), "unknown");
        assert_eq!(text(&[0xff; 20]), "unknown");
        assert_eq!(text(&[1; 100]), "unknown");
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "unknown");
    }
}
