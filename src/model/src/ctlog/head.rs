//! Tree heads: what a log signs of its tree. An STH of RFC 6962, or a checkpoint of a static log.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::ctlog::tile::number;
use crate::ctlog::wire::Cursor;
use crate::ctlog::{Hash, TREE_SIZE_MAX};

/// The longest answer that is read. A head takes some 250 bytes, and each witness of a checkpoint some 150.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Size and root of a log's tree at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Entries, at most [`TREE_SIZE_MAX`].
    pub size: u64,
    pub root: Hash,
    /// When the log says it signed: milliseconds since 1970-01-01T00:00:00 UTC.
    pub timestamp_ms: u64,
}

impl TreeHead {
    /// What the log's key signs (RFC 6962 section 3.5): version v1 and type tree_hash, time, size and root.
    pub fn signed_bytes(&self) -> [u8; 50] {
        let mut bytes = [0; 50];
        bytes[1] = 1;
        bytes[2..10].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.size.to_be_bytes());
        bytes[18..].copy_from_slice(&self.root);
        bytes
    }
}

/// A signature and its algorithms (RFC 5246 section 4.7), as yet unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigitallySigned {
    /// HashAlgorithm (RFC 5246 section 7.4.1.4.1): 4 is SHA-256.
    pub hash: u8,
    /// SignatureAlgorithm: 1 is RSA, 3 is ECDSA.
    pub algorithm: u8,
    pub signature: Box<[u8]>,
}

impl DigitallySigned {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let (hash, algorithm, signature) = (cursor.u8()?, cursor.u8()?, cursor.vector16()?);
        cursor.rest().is_empty().then(|| Self { hash, algorithm, signature: signature.into() })
    }
}

/// Why an answer is no tree head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("more than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    #[error("not the JSON of a signed tree head")]
    Json,
    #[error("not a signed note")]
    Note,
    #[error("the origin is that of another log")]
    Origin,
    #[error("a size that is none, or of more than {TREE_SIZE_MAX} entries")]
    Size,
    #[error("a root that is no SHA-256 in base64")]
    Root,
    #[error("no signature by the log's key")]
    Unsigned,
    #[error("a signature that is none")]
    Signature,
}

/// A tree head and the log's signature over [`TreeHead::signed_bytes`], as yet unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    pub head: TreeHead,
    pub signature: DigitallySigned,
}

#[derive(Deserialize)]
struct Sth {
    tree_size: u64,
    timestamp: u64,
    sha256_root_hash: String,
    tree_head_signature: String,
}

impl SignedHead {
    /// Reads the answer to get-sth (RFC 6962 section 4.3).
    pub fn from_sth(json: &[u8]) -> Result<Self, HeadError> {
        if json.len() > HEAD_BYTES_MAX {
            return Err(HeadError::TooLong);
        }
        let sth: Sth = serde_json::from_slice(json).map_err(|_| HeadError::Json)?;
        let size = Some(sth.tree_size).filter(|size| *size <= TREE_SIZE_MAX).ok_or(HeadError::Size)?;
        let root = root(&sth.sha256_root_hash).ok_or(HeadError::Root)?;
        let signature = base64(&sth.tree_head_signature)
            .and_then(|bytes| DigitallySigned::parse(&bytes))
            .ok_or(HeadError::Signature)?;
        Ok(Self { head: TreeHead { size, root, timestamp_ms: sth.timestamp }, signature })
    }

    /// Reads a checkpoint (static-ct-api, "Checkpoints"): a note whose text is origin, size and root, signed by the
    /// log whose submission prefix is `origin` (see [`crate::ctlog::list::Urls::origin`]). Signatures of others are
    /// passed over. Of several by the log's key the first counts.
    pub fn from_checkpoint(note: &[u8], origin: &str, log_id: &Hash) -> Result<Self, HeadError> {
        if note.len() > HEAD_BYTES_MAX {
            return Err(HeadError::TooLong);
        }
        let note = std::str::from_utf8(note).map_err(|_| HeadError::Note)?;
        // c2sp.org/signed-note: lines end in a newline, and have no other control characters.
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(HeadError::Note);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(HeadError::Note)?;
        let signatures = signatures.strip_suffix('\n').ok_or(HeadError::Note)?;
        let mut lines = text.split('\n');
        let (Some(named), Some(size), Some(root_text), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(HeadError::Note);
        };
        if named != origin {
            return Err(HeadError::Origin);
        }
        let size = number(size).filter(|size| *size <= TREE_SIZE_MAX).ok_or(HeadError::Size)?;
        let root = root(root_text).ok_or(HeadError::Root)?;

        let key_id = key_id(origin, log_id);
        let mut own = None;
        for line in signatures.split('\n') {
            let (name, bytes) = signature_line(line).ok_or(HeadError::Note)?;
            if own.is_none() && name == origin {
                own = bytes.strip_prefix(&key_id).map(<[u8]>::to_vec);
            }
        }
        let own = own.ok_or(HeadError::Unsigned)?;
        let mut cursor = Cursor::new(&own);
        let timestamp_ms = cursor.u64().ok_or(HeadError::Signature)?;
        let signature = DigitallySigned::parse(cursor.rest()).ok_or(HeadError::Signature)?;
        Ok(Self { head: TreeHead { size, root, timestamp_ms }, signature })
    }
}

/// The id of a log's key in its checkpoints; 5 is the type of an RFC 6962 signature (static-ct-api, "Checkpoints").
pub fn key_id(origin: &str, log_id: &Hash) -> [u8; 4] {
    let hash = Sha256::new().chain_update(origin).chain_update(b"\n\x05").chain_update(log_id).finalize();
    *hash.first_chunk().expect("a SHA-256 has 32 bytes")
}

/// Name of the key, and key id and signature.
fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = base64(encoded)?;
    (!name.is_empty() && !name.contains('+') && bytes.len() > 4).then_some((name, bytes))
}

fn root(text: &str) -> Option<Hash> {
    base64(text)?.try_into().ok()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

/// What a newer answer says against a head whose signature was checked. Both are of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same tree, perhaps signed anew.
    Same,
    /// More entries. A consistency proof, or the entries themselves, must show that it is the old tree continued.
    Grown,
    /// Fewer entries: a replica that lags behind. No alarm; keep the larger one.
    Smaller,
    /// As many entries and another root: the log shows two histories.
    Fork,
}

/// Compares sizes and roots; times mean nothing here.
pub fn classify(verified: &TreeHead, new: &TreeHead) -> Change {
    use std::cmp::Ordering;
    match new.size.cmp(&verified.size) {
        Ordering::Greater => Change::Grown,
        Ordering::Less => Change::Smaller,
        Ordering::Equal if new.root == verified.root => Change::Same,
        Ordering::Equal => Change::Fork,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctlog::testing::{Random, bytes, hash};

    // Made and signed with Python's `cryptography`.
    const LOG_ID: &str = "0aa398734e36647a1a21df53f3d11cdbac2ae730af9a8e5212b9261183a65ad5";
    const ORIGIN: &str = "log.example.com/2026h2";
    const STH: &str = "{\"tree_size\": 3, \"timestamp\": 1795132801033, \
        \"sha256_root_hash\": \"rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=\", \"tree_head_signature\": \
        \"BAMASDBGAiEA9yDCLdslAYL3CyQ4psDmnlir9r4Cz1TCn98NXfUZJDQCIQC8MZ182h0BcQVDAzsSGiad9Zu0EpWZ6vQOQXqeapxe+Q==\"}";
    const CHECKPOINT: &str = "log.example.com/2026h2\n3\nrra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=\n\n\
        \u{2014} witness.example.org \
        YWJjZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
        \u{2014} log.example.com/2026h2 g1JEXwAAAaH2QMAJBAMASDBGAiEA9yDCLdslAYL3CyQ4psDmnlir9r4Cz1TCn98NXfUZJDQCIQC8MZ182\
        h0BcQVDAzsSGiad9Zu0EpWZ6vQOQXqeapxe+Q==\n";

    fn checkpoint(note: &str) -> Result<SignedHead, HeadError> {
        SignedHead::from_checkpoint(note.as_bytes(), ORIGIN, &hash(LOG_ID))
    }

    #[test]
    fn both_kinds_of_head() {
        let signed = SignedHead::from_sth(STH.as_bytes()).unwrap();
        let root = hash("aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
        assert_eq!(signed.head, TreeHead { size: 3, root, timestamp_ms: 1_795_132_801_033 });
        assert_eq!((signed.signature.hash, signed.signature.algorithm), (4, 3));
        assert_eq!(signed.signature.signature.len(), 72);
        assert_eq!(checkpoint(CHECKPOINT), Ok(signed));
        assert_eq!(key_id(ORIGIN, &hash(LOG_ID)), [0x83, 0x52, 0x44, 0x5f]);
    }

    #[test]
    fn what_is_signed() {
        let head = TreeHead { size: 0x0102, root: [7; 32], timestamp_ms: 0x0304 };
        let want = [&[0, 1][..], &[0; 6], &[3, 4], &[0; 6], &[1, 2], &[7; 32]].concat();
        assert_eq!(head.signed_bytes()[..], want);
    }

    #[track_caller]
    fn check_sth(from: &str, to: &str, want: HeadError) {
        assert!(STH.contains(from));
        assert_eq!(SignedHead::from_sth(STH.replace(from, to).as_bytes()), Err(want));
    }

    #[test]
    fn answers_that_are_no_sth() {
        check_sth("{", "", HeadError::Json);
        check_sth("tree_size", "size", HeadError::Json);
        check_sth(": 3", ": -3", HeadError::Json);
        check_sth(": 3", ": 1e3", HeadError::Json);
        check_sth(": 3", ": 1099511627777", HeadError::Size);
        check_sth("rra8", "", HeadError::Root);
        check_sth("rra8", "rra", HeadError::Root);
        check_sth("BAMASD", "BAMATD", HeadError::Signature);
        check_sth("BAMASD", "BAMARD", HeadError::Signature);
        check_sth("BAMASD", "AA*ASD", HeadError::Signature);
        check_sth("}", &format!("{}}}", " ".repeat(HEAD_BYTES_MAX)), HeadError::TooLong);
    }

    #[track_caller]
    fn check_note(from: &str, to: &str, want: HeadError) {
        assert!(CHECKPOINT.contains(from));
        assert_eq!(checkpoint(&CHECKPOINT.replacen(from, to, 1)), Err(want));
    }

    #[test]
    fn notes_that_are_no_checkpoint() {
        check_note("log.example.com/2026h2\n", "log.example.com/2026h1\n", HeadError::Origin);
        check_note("\n3\n", "\n03\n", HeadError::Size);
        check_note("\n3\n", "\n+3\n", HeadError::Size);
        check_note("\n3\n", "\n\n", HeadError::Note);
        check_note("\n3\n", "\n3\r\n", HeadError::Note);
        check_note("\n3\n", "\n1099511627777\n", HeadError::Size);
        check_note("rra8", "rra", HeadError::Root);
        check_note("bnc=\n", "bnc=\nan extension\n", HeadError::Note);
        check_note("\n\n", "\n", HeadError::Note);
        check_note("\u{2014} log", "- log", HeadError::Note);
        check_note("\u{2014} witness.example.org", "\u{2014} ", HeadError::Note);
        check_note("YWJjZAAA", "YWJjZAA", HeadError::Note);
        check_note("g1JEX", "g1JEY", HeadError::Unsigned);
        check_note("\u{2014} log.example.com/2026h2", "\u{2014} log.example.com/2026h1", HeadError::Unsigned);
        check_note("BAMASD", "BAMARD", HeadError::Signature);
        check_note("+Q==\n", "+Q==", HeadError::Note);
        check_note("+Q==\n", "+Q==\n\n", HeadError::Note);
        assert_eq!(checkpoint(&"x".repeat(HEAD_BYTES_MAX + 1)), Err(HeadError::TooLong));
        assert_eq!(SignedHead::from_checkpoint(b"\xff\n\n\n", ORIGIN, &[0; 32]), Err(HeadError::Note));
    }

    #[test]
    fn many_witnesses_and_a_second_signature() {
        let witness = CHECKPOINT.lines().nth(4).unwrap();
        let note = CHECKPOINT.replace(witness, &[witness; 100].join("\n"));
        assert_eq!(checkpoint(&note), checkpoint(CHECKPOINT));
        let again = format!("{CHECKPOINT}\u{2014} {ORIGIN} g1JEXwAA\n");
        assert_eq!(checkpoint(&again), checkpoint(CHECKPOINT));
    }

    #[test]
    fn changes() {
        let old = TreeHead { size: 5, root: [1; 32], timestamp_ms: 9 };
        assert_eq!(classify(&old, &TreeHead { timestamp_ms: 0, ..old }), Change::Same);
        assert_eq!(classify(&old, &TreeHead { root: [2; 32], ..old }), Change::Fork);
        assert_eq!(classify(&old, &TreeHead { size: 6, ..old }), Change::Grown);
        assert_eq!(classify(&old, &TreeHead { size: 4, ..old }), Change::Smaller);
    }

    #[test]
    fn noise_is_survived() {
        let mut random = Random(16);
        let signature = bytes("BAMABAAAAAA=");
        for _ in 0..10_000 {
            for answer in [STH, CHECKPOINT] {
                let spoilt = random.spoil(answer.as_bytes());
                let _ = SignedHead::from_sth(&spoilt);
                let _ = SignedHead::from_checkpoint(&spoilt, ORIGIN, &hash(LOG_ID));
            }
            let _ = DigitallySigned::parse(&random.spoil(&signature));
        }
    }
}
