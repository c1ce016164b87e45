//! Certificates made up one by one, each a function of the seed and its index. None is kept.
//!
//! They come in pairs: a precertificate at an even index, its final certificate at the next. Form and names are those of
//! X.509 v3, keys are points on P-256, and no signature verifies.

use std::sync::Arc;

use super::der::{
    BIT_STRING, EXTENSIONS, INTEGER, OCTET_STRING, OID, POISON, SCT_LIST, SEQUENCE, SET, UTC_TIME, UTF8_STRING,
    VERSION, key_hash, value, without_poison,
};
use super::entries::{Bytes, Certificate, Submission};
use super::tree::{Hash, sha256};

// 1.2.840.10045.4.3.2, ecdsa-with-SHA256.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// SubjectPublicKeyInfo of a P-256 key up to the point's coordinates (RFC 5480 section 2).
pub(crate) const P256_SPKI_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3,
    0x42, 0,
];
// SEC 2 section 2.4.2: the base point, the key of every leaf.
const BASE_POINT: [u8; 64] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d,
    0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
    0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb,
    0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];
// RFC 6979 appendix A.2.5: the issuers' key.
const ISSUER_POINT: [u8; 64] = [
    0x60, 0xfe, 0xd4, 0xba, 0x25, 0x5a, 0x9d, 0x31, 0xc9, 0x61, 0xeb, 0x74, 0xc6, 0x35, 0x6d, 0x68, 0xc0, 0x49, 0xb8,
    0x92, 0x3b, 0x61, 0xfa, 0x6c, 0xe6, 0x69, 0x62, 0x2e, 0x60, 0xf2, 0x9f, 0xb6, 0x79, 0x03, 0xfe, 0x10, 0x08, 0xb8,
    0xbc, 0x99, 0xa4, 0x1a, 0xe9, 0xe9, 0x56, 0x28, 0xbc, 0x64, 0xf2, 0xf1, 0xb2, 0x0c, 0x2d, 0x7e, 0x9f, 0x51, 0x77,
    0xa3, 0xc2, 0x94, 0xd4, 0x46, 0x22, 0x99,
];

pub(crate) struct Synthetic {
    seed: u64,
    issuer_name: Vec<u8>,
    issuer_key_hash: Hash,
    /// Intermediate and root.
    chain: Vec<Bytes>,
}

impl Synthetic {
    pub(crate) fn new(seed: u64) -> Self {
        let (root_name, issuer_name) = (name("Test Log Root"), name(&format!("Test Log Issuer {seed}")));
        // basicConstraints, critical, CA:TRUE.
        let ca = value(SEQUENCE, &[&[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff, 4, 5, 0x30, 3, 1, 1, 0xff]]);
        let root = certificate(&[1], &root_name, &root_name, &ISSUER_POINT, &[&ca]);
        let issuer = certificate(&[2], &root_name, &issuer_name, &ISSUER_POINT, &[&ca]);
        let issuer_key_hash = key_hash(&issuer).expect("written just now");
        Self { seed, issuer_name, issuer_key_hash, chain: vec![issuer.into(), root.into()] }
    }

    pub(crate) fn chain(&self) -> &[Bytes] {
        &self.chain
    }

    /// The one DNS name of the certificate at this index.
    pub(crate) fn host(&self, index: u64) -> String {
        format!("host-{}.seed-{}.example.com", index / 2, self.seed)
    }

    pub(crate) fn submission(&self, index: u64) -> Submission {
        let precert = index.is_multiple_of(2);
        let host = self.host(index);
        let random = sha256(&[&self.seed.to_be_bytes(), &(index / 2).to_be_bytes()]);
        // Above zero and without a needless zero.
        let serial = [&[0x40 | random[0] >> 2], &random[1..16]].concat();
        let alternative = value(SEQUENCE, &[&value(0x82, &[host.as_bytes()])]);
        let names = value(SEQUENCE, &[&[6, 3, 0x55, 0x1d, 0x11], &value(OCTET_STRING, &[&alternative])]);
        // extendedKeyUsage: serverAuth.
        let usage: &[u8] = b"\x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
        let ct = if precert {
            value(SEQUENCE, &[&value(OID, &[POISON]), &[1, 1, 0xff, 4, 2, 5, 0]])
        } else {
            value(
                SEQUENCE,
                &[&value(OID, &[SCT_LIST]), &value(OCTET_STRING, &[&value(OCTET_STRING, &[&scts(&random)])])],
            )
        };
        let der = certificate(
            &serial,
            &self.issuer_name,
            &name(&host),
            &BASE_POINT,
            &[usage, names.as_slice(), ct.as_slice()],
        );
        let certificate = if precert {
            Certificate::Precert {
                issuer_key_hash: self.issuer_key_hash,
                tbs: without_poison(&der).expect("written just now").into(),
                submitted: der.into(),
            }
        } else {
            Certificate::Final(der.into())
        };
        Submission { certificate, chain: self.chain.iter().map(Arc::clone).collect(), timestamp_ms: None }
    }
}

fn certificate(serial: &[u8], issuer: &[u8], subject: &[u8], key: &[u8; 64], extensions: &[&[u8]]) -> Vec<u8> {
    let algorithm = value(SEQUENCE, &[&value(OID, &[ECDSA_SHA256])]);
    let validity = value(
        SEQUENCE,
        &[&value(UTC_TIME, &[b"260101000000Z".as_slice()]), &value(UTC_TIME, &[b"271231235959Z".as_slice()])],
    );
    let tbs = value(
        SEQUENCE,
        &[
            &value(VERSION, &[&[INTEGER, 1, 2]]),
            &value(INTEGER, &[serial]),
            &algorithm,
            issuer,
            &validity,
            subject,
            &[P256_SPKI_HEAD, &[4], key].concat(),
            &value(EXTENSIONS, &[&value(SEQUENCE, extensions)]),
        ],
    );
    value(SEQUENCE, &[&tbs, &algorithm, &value(BIT_STRING, &[&[0], &signature(&sha256(&[&tbs]))])])
}

/// An Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of numbers that mean nothing.
fn signature(random: &Hash) -> Vec<u8> {
    let mut number = *random;
    number[0] = 0x40 | number[0] >> 2;
    let number = value(INTEGER, &[&number]);
    value(SEQUENCE, &[&number, &number])
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = value(SEQUENCE, &[&[OID, 3, 0x55, 4, 3], &value(UTF8_STRING, &[common_name.as_bytes()])]);
    value(SEQUENCE, &[&value(SET, &[&attribute])])
}

/// A SignedCertificateTimestampList of one SCT by a log that nobody knows (RFC 6962 section 3.3).
fn scts(random: &Hash) -> Vec<u8> {
    let signature = signature(random);
    let time = 1_767_225_600_000_u64.to_be_bytes();
    let length = (signature.len() as u16).to_be_bytes();
    let sct = [&[0], random.as_slice(), &time, &[0, 0, 4, 3], &length, &signature].concat();
    let bytes = sct.len() as u16;
    [(bytes + 2).to_be_bytes().as_slice(), &bytes.to_be_bytes(), &sct].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_and_repeatable() {
        let (one, again, other) = (Synthetic::new(1), Synthetic::new(1), Synthetic::new(2));
        let mut seen = std::collections::HashSet::new();
        for index in 0..1_000 {
            let submission = one.submission(index);
            assert_eq!(submission, again.submission(index));
            assert!(seen.insert(submission.certificate.submitted().to_vec()));
            assert!(seen.insert(other.submission(index).certificate.submitted().to_vec()));
        }
    }

    #[test]
    fn a_pair_shares_its_serial_and_name() {
        let made = Synthetic::new(7);
        let (Certificate::Precert { tbs, issuer_key_hash, .. }, Certificate::Final(der)) =
            (made.submission(10).certificate, made.submission(11).certificate)
        else {
            panic!("a precertificate, then its final certificate")
        };
        // Version and serial stand behind the two lengths of three octets.
        assert_eq!(tbs[4..27], der[8..31]);
        assert!(der.windows(made.host(10).len()).any(|part| part == made.host(11).as_bytes()));
        assert_eq!(Some(issuer_key_hash), key_hash(&made.chain()[0]));
    }
}
