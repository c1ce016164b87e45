//! Keys of logs and what they sign: tree heads (RFC 6962 section 3.5) and checkpoints (static-ct-api, "Checkpoints").

use std::io;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

use super::der::{BIT_STRING, SEQUENCE, value};
use super::synthetic::P256_SPKI_HEAD;
use super::tree::{Hash, sha256};

// 1.2.840.113549.1.1.1, rsaEncryption, and its NULL parameters (RFC 3279 section 2.3.1).
const RSA_ALGORITHM: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

pub(crate) struct Key {
    pair: Pair,
    spki: Vec<u8>,
}

impl Key {
    /// A new P-256 key.
    pub(crate) fn ecdsa() -> Self {
        Self::from_pkcs8(&Self::new_pkcs8()).expect("generated just now")
    }

    /// A new P-256 key, to be written to a file.
    pub(crate) fn new_pkcs8() -> Vec<u8> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        document.expect("the system has random bytes").as_ref().to_vec()
    }

    /// The RSA key of 2048 bits that lies beside this file. It is no secret.
    pub(crate) fn rsa() -> Self {
        Self::from_pkcs8(include_bytes!("rsa-2048.pkcs8")).expect("a PKCS #8 file")
    }

    /// A P-256 or an RSA key, unencrypted PKCS #8 in DER.
    pub(crate) fn from_pkcs8(der: &[u8]) -> io::Result<Self> {
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &SystemRandom::new());
        if let Ok(pair) = ecdsa {
            let spki = [P256_SPKI_HEAD, pair.public_key().as_ref()].concat();
            return Ok(Self { pair: Pair::Ecdsa(Box::new(pair)), spki });
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|why| io::Error::other(why.to_string()))?;
        let spki = value(SEQUENCE, &[RSA_ALGORITHM, &value(BIT_STRING, &[&[0], pair.public_key().as_ref()])]);
        Ok(Self { pair: Pair::Rsa(Box::new(pair)), spki })
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn log_id(&self) -> Hash {
        sha256(&[&self.spki])
    }

    /// A TLS DigitallySigned: the algorithms, then the signature (RFC 5246 section 4.7).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let (algorithm, signature) = match &self.pair {
            Pair::Ecdsa(pair) => (3, pair.sign(&random, message).expect("P-256 signs").as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("the length is the modulus's");
                (1, signature)
            }
        };
        [&[4, algorithm], (signature.len() as u16).to_be_bytes().as_slice(), &signature].concat()
    }
}

/// A tree head and its DigitallySigned.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) timestamp_ms: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) signature: Vec<u8>,
}

impl Head {
    pub(crate) fn sign(key: &Key, timestamp_ms: u64, size: u64, root: Hash) -> Self {
        let signature = key.sign(&signed_bytes(timestamp_ms, size, &root));
        Self { timestamp_ms, size, root, signature }
    }

    /// The body of get-sth.
    pub(crate) fn to_json(&self) -> String {
        format!(
            r#"{{"tree_size":{},"timestamp":{},"sha256_root_hash":"{}","tree_head_signature":"{}"}}"#,
            self.size,
            self.timestamp_ms,
            base64(&self.root),
            base64(&self.signature)
        )
    }

    /// A signed note by this name, with lines of witnesses that nobody knows below.
    pub(crate) fn to_checkpoint(&self, origin: &str, key_id: [u8; 4], witnesses: u64) -> String {
        let signature = [&key_id, self.timestamp_ms.to_be_bytes().as_slice(), &self.signature].concat();
        let mut note = format!("{origin}\n{}\n{}\n\n", self.size, base64(&self.root));
        note += &format!("\u{2014} {origin} {}\n", base64(&signature));
        for witness in 0..witnesses {
            let name = format!("witness-{witness}.example");
            note += &format!("\u{2014} {name} {}\n", base64(&[sha256(&[name.as_bytes()]), self.root].concat()));
        }
        note
    }
}

fn signed_bytes(timestamp_ms: u64, size: u64, root: &Hash) -> Vec<u8> {
    [&[0, 1], timestamp_ms.to_be_bytes().as_slice(), &size.to_be_bytes(), root].concat()
}

/// The key id of a log's signature line: type 5, an RFC 6962 tree head.
pub(crate) fn checkpoint_key_id(origin: &str, log_id: &Hash) -> [u8; 4] {
    *sha256(&[origin.as_bytes(), b"\n\x05", log_id]).first_chunk().expect("SHA-256 has 32 bytes")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    #[track_caller]
    fn check(key: &Key, algorithm: u8, verifier: &'static dyn VerificationAlgorithm, public_key: &[u8]) {
        let head = Head::sign(key, 1_700_000_000_123, 77, [5; 32]);
        assert_eq!(head.signature[..2], [4, algorithm]);
        assert_eq!(usize::from(u16::from_be_bytes([head.signature[2], head.signature[3]])), head.signature.len() - 4);
        let verifier = UnparsedPublicKey::new(verifier, public_key);
        let mut message = vec![0, 1];
        message.extend_from_slice(&1_700_000_000_123_u64.to_be_bytes());
        message.extend_from_slice(&77_u64.to_be_bytes());
        message.extend_from_slice(&[5; 32]);
        verifier.verify(&message, &head.signature[4..]).unwrap();
        message[2] ^= 1;
        verifier.verify(&message, &head.signature[4..]).unwrap_err();
    }

    #[test]
    fn signatures_verify() {
        let key = Key::ecdsa();
        check(&key, 3, &ECDSA_P256_SHA256_ASN1, &key.spki()[26..]);
        let key = Key::rsa();
        check(&key, 1, &RSA_PKCS1_2048_8192_SHA256, &key.spki()[24..]);
    }

    #[test]
    fn keys_come_back_from_their_file() {
        let pkcs8 = Key::new_pkcs8();
        assert_eq!(Key::from_pkcs8(&pkcs8).unwrap().spki(), Key::from_pkcs8(&pkcs8).unwrap().spki());
        assert!(Key::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn a_note_has_its_lines() {
        let head = Head::sign(&Key::ecdsa(), 5, 640, [7; 32]);
        let note = head.to_checkpoint("example.org/log", [1, 2, 3, 4], 2);
        let lines: Vec<&str> = note.split('\n').collect();
        assert_eq!(lines[..4], ["example.org/log", "640", &base64(&[7; 32]), ""]);
        let signature = lines[4].strip_prefix("— example.org/log ").unwrap();
        let bytes = base64_simd::STANDARD.decode_to_vec(signature).unwrap();
        assert_eq!(bytes[..12], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(bytes[12..], head.signature);
        assert!(lines[6].starts_with("— witness-1.example ") && lines[7].is_empty());
    }
}
