//! What the tests of this folder share: the definitions of RFC 6962 section 2.1 written down as they stand there, a
//! source of noise, and real data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::Hash;

pub(super) fn bytes(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).expect("test data")
}

pub(super) fn hash(hex: &str) -> Hash {
    let mut out = [0; 32];
    crate::id::from_hex(hex, &mut out).expect("test data");
    out
}

/// Different hashes, as good as any for leaves.
pub(super) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect()
}

fn above(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// k of RFC 6962: the largest power of two smaller than n.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH(D\[n\]), of leaves that are hashed already.
pub(super) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            above(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D\[n\])
pub(super) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    proof.push(other);
    proof
}

/// PROOF(m, D\[n\])
pub(super) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) =
        if m <= k { (subproof(m, left, whole), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
    proof.push(other);
    proof
}

/// xorshift64
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn bytes(&mut self, below: u64) -> Vec<u8> {
        (0..self.next() % below).map(|_| self.next() as u8).collect()
    }

    /// `original` with some bytes changed, removed or added.
    pub(super) fn spoil(&mut self, original: &[u8]) -> Vec<u8> {
        let mut spoilt = original.to_vec();
        for _ in 0..self.next() % 4 + 1 {
            let at = self.next() as usize % spoilt.len();
            match self.next() % 3 {
                0 => spoilt[at] = self.next() as u8,
                1 => drop(spoilt.remove(at)),
                _ => spoilt.insert(at, self.next() as u8),
            }
        }
        spoilt
    }
}

/// A folder of real log entries, heads and lists, which are not part of this repository.
#[expect(clippy::disallowed_macros, reason = "a test that is skipped says so")]
pub(super) fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("CT_STREAM_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: CT_STREAM_DATA names no folder of data from logs");
    }
    folder
}

/// The files of the generated logs, by path: pages, heads and tiles of 23 logs.
pub(super) fn generated_logs() -> Option<BTreeMap<String, Vec<u8>>> {
    let archive = real_data()?.join("synthetic/ctlog-4k-entries.tar.zst");
    let zstd = Command::new("zstdcat").arg(archive).output().expect("zstdcat runs");
    assert!(zstd.status.success());
    let text = |field: &[u8]| String::from_utf8(field.split(|b| *b == 0).next().unwrap().to_vec()).unwrap();
    let mut files = BTreeMap::new();
    let mut rest = &zstd.stdout[..];
    // GNU tar: blocks of 512 bytes; name, size in octal and type at their places, a long name as a file before.
    let mut long_name = None;
    while rest[0] != 0 {
        let (header, behind) = rest.split_at(512);
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        match header[156] {
            b'L' => long_name = Some(text(&behind[..size])),
            b'0' => {
                let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
                files.insert(name.strip_prefix("ctlog/").unwrap().to_owned(), behind[..size].to_vec());
            }
            _ => long_name = None,
        }
        rest = &behind[size.next_multiple_of(512)..];
    }
    Some(files)
}
