//! What identifies a certificate, an entry, and anything else that must be known only once.
//!
//! Identity is computed, not believed: the kind says how an id came about, and ids of different kinds never meet.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::Coverage;

/// SHA-256 of the empty input: some servers send it for precertificates they threw away. It identifies nothing.
pub const SHA256_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];
/// SHA-1 of the empty input, likewise.
pub const SHA1_OF_NOTHING: [u8; 20] = [
    0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60, 0x18, 0x90, 0xaf, 0xd8, 0x07,
    0x09,
];

/// How the identity of a certificate was found, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum IdKind {
    /// SHA-256 computed over the DER in hand.
    Der = 0,
    /// SHA-256 as the feed claims it.
    Sha256 = 1,
    /// SHA-1 as the feed claims it.
    Sha1 = 2,
    /// SHA-256 over issuer, serial and kind of certificate.
    IssuerSerial = 3,
    /// SHA-256 over log and index.
    Entry = 4,
}

impl IdKind {
    pub const ALL: [Self; 5] = [Self::Der, Self::Sha256, Self::Sha1, Self::IssuerSerial, Self::Entry];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Der => "der",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::IssuerSerial => "issuer_serial",
            Self::Entry => "entry",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            _ => 32,
        }
    }
}

/// The identity of a certificate: a kind and 32 bytes (20 for SHA-1, the rest zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertId {
    pub kind: IdKind,
    bytes: [u8; 32],
}

impl CertId {
    pub const fn der(sha256: [u8; 32]) -> Self {
        Self { kind: IdKind::Der, bytes: sha256 }
    }

    pub const fn claimed_sha256(sha256: [u8; 32]) -> Self {
        Self { kind: IdKind::Sha256, bytes: sha256 }
    }

    pub fn claimed_sha1(sha1: [u8; 20]) -> Self {
        let mut bytes = [0; 32];
        bytes[..20].copy_from_slice(&sha1);
        Self { kind: IdKind::Sha1, bytes }
    }

    /// `serial` without leading zeros, `issuer` as the feed writes it.
    pub fn issuer_serial(issuer: &str, serial: &str, precert: bool) -> Self {
        Self {
            kind: IdKind::IssuerSerial,
            bytes: digest(&[issuer.as_bytes(), serial.as_bytes(), &[u8::from(precert)]]),
        }
    }

    pub fn entry(log: &str, index: u64) -> Self {
        Self { kind: IdKind::Entry, bytes: digest(&[log.as_bytes(), &index.to_be_bytes()]) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.kind.bytes()]
    }

    /// The `id` column: lower-case hex, 64 digits (40 for SHA-1).
    pub fn hex(&self) -> String {
        to_hex(self.bytes())
    }

    /// Reads back what [`CertId::hex`] and [`IdKind::as_str`] wrote.
    pub fn from_columns(kind: &str, hex: &str) -> Option<Self> {
        let kind = IdKind::from_name(kind)?;
        let mut bytes = [0; 32];
        from_hex(hex, &mut bytes[..kind.bytes()])?;
        Some(Self { kind, bytes })
    }

    pub fn key(&self) -> Key {
        Key::of_digest(&self.bytes, self.kind as u8)
    }

    /// Tells certificates at one index of one log apart: bits of the id that [`CertId::key`] does not route by.
    pub fn tag(&self) -> u32 {
        u32::from_be_bytes([self.bytes[16], self.bytes[17], self.bytes[18], self.bytes[19]]) ^ self.kind as u32
    }
}

/// What a set of known things is keyed by: 125 bits of a digest and 3 bits of kind.
///
/// Two things share a key by accident with probability 2^-125. Making two certificates in hand share one costs about
/// 2^62 hashes. A claim costs nothing to make, and counts for nothing against a certificate in hand: their kinds differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub u128);

impl Key {
    /// Rejected messages and statements of coverage: what is known by all that it says.
    const REJECTED: u8 = 5;
    const UNPLACED: u8 = 6;
    const FINDING: u8 = 7;

    fn of_digest(digest: &[u8], kind: u8) -> Self {
        let head: [u8; 16] = digest[..16].try_into().expect("a digest has at least 20 bytes");
        Self(u128::from_be_bytes(head) & !7 | u128::from(kind))
    }

    /// Of a rejected message: its place and its bytes, not its line number.
    pub fn rejected(feed: &str, segment: &str, offset: u64, raw: &[u8]) -> Self {
        Self::of_digest(&digest(&[feed.as_bytes(), segment.as_bytes(), &offset.to_be_bytes(), raw]), Self::REJECTED)
    }

    /// Of a statement of coverage: a stretch of a log, and the root it was compared with.
    pub fn coverage(row: &Coverage) -> Self {
        let numbers = [row.first, row.last, row.tree_size].map(u64::to_be_bytes).concat();
        let parts = [b"coverage", row.log.as_bytes(), &numbers, &row.root, &[u8::from(row.verified)]];
        Self::of_digest(&digest(&parts), Self::REJECTED)
    }

    /// Of an entry whose log or index is unknown.
    pub fn unplaced(log: &str, id: &CertId) -> Self {
        Self::of_digest(&digest(&[log.as_bytes(), &[id.kind as u8], id.bytes()]), Self::UNPLACED)
    }

    /// Of a finding that is reported once, whatever shows it.
    pub fn finding(id: &[u8; 16]) -> Self {
        Self::of_digest(id, Self::FINDING)
    }

    /// Whether this was made by [`Key::finding`].
    pub const fn is_finding(self) -> bool {
        self.0 as u8 & 7 == Self::FINDING
    }

    /// One of 256 fixed bins, the same in every process and every release.
    pub const fn bin(self) -> u8 {
        (self.0 >> 120) as u8
    }
}

/// Where an entry stands: a log (by a digest of its name) and an index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryPlace {
    pub log: u64,
    pub index: u64,
}

impl EntryPlace {
    /// Neighbouring entries live together: this many share a page and a bin.
    pub const PAGE_ENTRIES: u64 = 1_024;

    pub const fn page(self) -> u64 {
        self.index / Self::PAGE_ENTRIES
    }

    /// One of 256 fixed bins, the same in every process and every release.
    pub const fn bin(self) -> u8 {
        // Fibonacci hashing: the top byte of a product with 2^64 / golden ratio.
        ((self.log ^ self.page()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }
}

/// The digest of a log's name that [`EntryPlace`] holds.
pub fn log_digest(log: &str) -> u64 {
    u64::from_be_bytes(digest(&[log.as_bytes()])[..8].try_into().expect("eight bytes"))
}

/// SHA-256 over parts, each preceded by its length, so that no two lists of parts read alike.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// Fills `out` from hex digits of either case, colons between bytes allowed; `None` unless it is filled exactly.
pub fn from_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let mut digits = text.bytes().filter(|b| *b != b':').map(|b| (b as char).to_digit(16));
    for byte in out.iter_mut() {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(())
}

impl fmt::Display for CertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_and_a_proof_never_share_a_key() {
        let hash = [7; 32];
        assert_ne!(CertId::der(hash).key(), CertId::claimed_sha256(hash).key());
        assert_eq!(CertId::der(hash).key().bin(), CertId::claimed_sha256(hash).key().bin());
    }

    #[test]
    fn columns_round_trip() {
        for id in [CertId::der([0xab; 32]), CertId::claimed_sha1([1; 20]), CertId::entry("log.example", 7)] {
            assert_eq!(CertId::from_columns(id.kind.as_str(), &id.hex()), Some(id));
        }
        assert_eq!(CertId::from_columns("sha1", "00"), None);
    }

    #[test]
    fn hex_reads_colons_and_both_cases() {
        let mut out = [0; 3];
        assert_eq!(from_hex("0A:b1:Ff", &mut out), Some(()));
        assert_eq!(out, [0x0a, 0xb1, 0xff]);
        assert_eq!(from_hex("0A:b1", &mut out), None);
        assert_eq!(from_hex("0A:b1:ff:00", &mut out), None);
        assert_eq!(from_hex("zz:b1:ff", &mut out), None);
    }
}
