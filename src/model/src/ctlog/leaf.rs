//! An entry of a log: the leaf that the tree is made of, and the certificates that are kept beside it.
//!
//! Everything read here borrows from the bytes it was read from. A certificate is passed on whatever it is, an empty
//! one too: to judge it is the business of [`crate::x509`].

use sha2::{Digest, Sha256};

use crate::ctlog::Hash;
use crate::ctlog::wire::Cursor;
use crate::record::EntryKind;

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("ends too early")]
    Short,
    #[error("bytes behind the end")]
    Trailing,
    #[error("a version of the leaf other than v1")]
    Version,
    #[error("a type of leaf other than timestamped_entry")]
    LeafType,
    #[error("an entry that is neither x509_entry nor precert_entry")]
    EntryType,
    #[error("extensions that are none")]
    Extensions,
    #[error("a leaf_index that is not the entry's place")]
    Index,
    #[error("fingerprints of issuers that are no SHA-256")]
    Fingerprints,
}

impl LeafError {
    /// A short fixed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Trailing => "trailing",
            Self::Version => "version",
            Self::LeafType => "leaf_type",
            Self::EntryType => "entry_type",
            Self::Extensions => "extensions",
            Self::Index => "index",
            Self::Fingerprints => "fingerprints",
        }
    }
}

/// A MerkleTreeLeaf (RFC 6962 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// When the log says it took the entry: milliseconds since 1970-01-01T00:00:00 UTC.
    pub timestamp_ms: u64,
    pub entry: Entry<'a>,
    /// Empty in RFC 6962; see [`leaf_index`].
    pub extensions: &'a [u8],
}

/// What was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Final {
        der: &'a [u8],
    },
    Precert {
        /// SHA-256 of the SubjectPublicKeyInfo of the issuer of the final certificate.
        issuer_key_hash: &'a [u8; 32],
        /// The TBSCertificate without the poison, as the final certificate will have it but for its SCTs.
        tbs: &'a [u8],
    },
}

impl Entry<'_> {
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Final { .. } => EntryKind::Final,
            Self::Precert { .. } => EntryKind::Precert,
        }
    }
}

impl<'a> Leaf<'a> {
    /// Reads `leaf_input`, all of it.
    pub fn parse(leaf_input: &'a [u8]) -> Result<Self, LeafError> {
        let mut cursor = Cursor::new(leaf_input);
        match cursor.array() {
            None => return Err(LeafError::Short),
            Some([0, 0]) => {}
            Some([0, _]) => return Err(LeafError::LeafType),
            Some(_) => return Err(LeafError::Version),
        }
        let leaf = Self::timestamped_entry(&mut cursor)?;
        if cursor.rest().is_empty() { Ok(leaf) } else { Err(LeafError::Trailing) }
    }

    /// Reads a TimestampedEntry, and leaves what comes behind it.
    pub(super) fn timestamped_entry(cursor: &mut Cursor<'a>) -> Result<Self, LeafError> {
        let (timestamp_ms, entry_type) = cursor.u64().zip(cursor.u16()).ok_or(LeafError::Short)?;
        let entry = match entry_type {
            0 => cursor.vector24().map(|der| Entry::Final { der }),
            1 => cursor
                .array()
                .zip(cursor.vector24())
                .map(|(issuer_key_hash, tbs)| Entry::Precert { issuer_key_hash, tbs }),
            _ => return Err(LeafError::EntryType),
        };
        let (entry, extensions) = entry.zip(cursor.vector16()).ok_or(LeafError::Short)?;
        Ok(Self { timestamp_ms, entry, extensions })
    }
}

/// What the tree holds of an entry (RFC 6962 section 2.1).
pub fn leaf_hash(leaf_input: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(leaf_input).finalize().into()
}

/// The same of an entry whose leaf lacks its first two bytes, version v1 and type timestamped_entry.
pub(super) fn timestamped_entry_hash(timestamped_entry: &[u8]) -> Hash {
    Sha256::new_with_prefix([0, 0, 0]).chain_update(timestamped_entry).finalize().into()
}

/// The index that the entry of a static log has in its extensions (static-ct-api, "Merkle Tree Leaf"); `None` when
/// they have none. Extensions of other types are passed over.
pub fn leaf_index(extensions: &[u8]) -> Result<Option<u64>, LeafError> {
    const LEAF_INDEX: u8 = 0;
    let mut cursor = Cursor::new(extensions);
    let mut index = None;
    while let Some(kind) = cursor.u8() {
        let data = cursor.vector16().ok_or(LeafError::Extensions)?;
        if kind == LEAF_INDEX {
            let &[a, b, c, d, e] = data else { return Err(LeafError::Extensions) };
            if index.replace(u64::from_be_bytes([0, 0, 0, a, b, c, d, e])).is_some() {
                return Err(LeafError::Extensions);
            }
        }
    }
    Ok(index)
}

/// `extra_data` of get-entries: what the log keeps beside a leaf (RFC 6962 section 4.6). No hash vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraData<'a> {
    /// As it was submitted; of a precertificate only.
    pub precertificate: Option<&'a [u8]>,
    pub chain: Chain<'a>,
}

impl<'a> ExtraData<'a> {
    /// Reads what stands beside an entry of `kind`. Bytes behind the end of the chain are left alone.
    pub fn parse(kind: EntryKind, extra_data: &'a [u8]) -> Result<Self, LeafError> {
        let mut cursor = Cursor::new(extra_data);
        let precertificate = match kind {
            EntryKind::Precert => Some(cursor.vector24().ok_or(LeafError::Short)?),
            EntryKind::Final => None,
        };
        let chain = Chain { rest: Cursor::new(cursor.vector24().ok_or(LeafError::Short)?) };
        let mut items = chain;
        items.by_ref().for_each(drop);
        if items.rest.rest().is_empty() { Ok(Self { precertificate, chain }) } else { Err(LeafError::Short) }
    }
}

/// Issuers as DER, the one of the entry first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    rest: Cursor<'a>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut cursor = self.rest;
        let certificate = cursor.vector24()?;
        self.rest = cursor;
        Some(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctlog::testing::{Random, hash};

    fn final_leaf(extensions: &[u8]) -> Vec<u8> {
        let head = [&[0, 0][..], &1_795_132_801_033_u64.to_be_bytes(), &[0, 0], b"\0\0\x03der"].concat();
        [&head[..], &(extensions.len() as u16).to_be_bytes(), extensions].concat()
    }

    fn precert_leaf() -> Vec<u8> {
        [&[0, 0][..], &[0; 7], &[1, 0, 1], &[7; 32], b"\0\0\x03tbs", &[0, 0]].concat()
    }

    #[test]
    fn leaves() {
        let bytes = final_leaf(&[]);
        let leaf = Leaf::parse(&bytes).unwrap();
        assert_eq!((leaf.timestamp_ms, leaf.entry.kind()), (1_795_132_801_033, EntryKind::Final));
        assert_eq!(leaf.entry, Entry::Final { der: b"der" });
        let bytes = precert_leaf();
        let leaf = Leaf::parse(&bytes).unwrap();
        assert_eq!((leaf.timestamp_ms, leaf.entry.kind()), (1, EntryKind::Precert));
        assert_eq!(leaf.entry, Entry::Precert { issuer_key_hash: &[7; 32], tbs: b"tbs" });
        // printf '\0' | sha256sum
        assert_eq!(leaf_hash(&[]), hash("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"));
    }

    #[test]
    fn broken_leaves() {
        for leaf in [final_leaf(&[1, 2]), precert_leaf()] {
            for end in 0..leaf.len() {
                assert_eq!(Leaf::parse(&leaf[..end]), Err(LeafError::Short), "{end}");
            }
            assert_eq!(Leaf::parse(&[&leaf[..], &[0]].concat()), Err(LeafError::Trailing));
            for (at, want) in [(0, LeafError::Version), (1, LeafError::LeafType), (10, LeafError::EntryType)] {
                let mut leaf = leaf.clone();
                leaf[at] = 9;
                assert_eq!(Leaf::parse(&leaf), Err(want));
            }
        }
    }

    #[test]
    fn indexes() {
        assert_eq!(leaf_index(&[]), Ok(None));
        assert_eq!(leaf_index(&[0, 0, 5, 1, 0, 0, 0, 2]), Ok(Some((1 << 32) + 2)));
        assert_eq!(leaf_index(&[9, 0, 1, 7, 0, 0, 5, 0, 0, 0, 0, 2, 8, 0, 0]), Ok(Some(2)));
        for wrong in [&[0][..], &[0, 0, 5, 0, 0, 0, 0], &[0, 0, 4, 0, 0, 0, 0], &[0, 0, 5, 0, 0, 0, 0, 1, 9]] {
            assert_eq!(leaf_index(wrong), Err(LeafError::Extensions));
        }
        let twice = [[0, 0, 5, 0, 0, 0, 0, 1]; 2].concat();
        assert_eq!(leaf_index(&twice), Err(LeafError::Extensions));
    }

    #[test]
    fn chains() {
        let chain = b"\0\0\x07\0\0\x01a\0\0\0";
        let extra = ExtraData::parse(EntryKind::Final, chain).unwrap();
        assert_eq!((extra.precertificate, extra.chain.collect::<Vec<_>>()), (None, vec![&b"a"[..], b""]));
        let whole = [b"\0\0\x02pc", &chain[..]].concat();
        let extra = ExtraData::parse(EntryKind::Precert, &whole).unwrap();
        assert_eq!((extra.precertificate, extra.chain.count()), (Some(&b"pc"[..]), 2));
        for end in 0..whole.len() {
            assert_eq!(ExtraData::parse(EntryKind::Precert, &whole[..end]), Err(LeafError::Short));
        }
        // The second certificate reaches beyond the chain, though not beyond the bytes.
        assert_eq!(ExtraData::parse(EntryKind::Final, b"\0\0\x07\0\0\x01a\0\0\x01b"), Err(LeafError::Short));
        assert_eq!(ExtraData::parse(EntryKind::Final, b"\0\0\x05\0\0\x01a\0b"), Err(LeafError::Short));
        // What is behind the chain is nobody's.
        assert_eq!(ExtraData::parse(EntryKind::Final, b"\0\0\0behind").unwrap().chain.count(), 0);
    }

    #[test]
    fn noise_is_survived() {
        let mut random = Random(14);
        for _ in 0..20_000 {
            for bytes in [random.bytes(100), random.spoil(&precert_leaf()), random.spoil(&final_leaf(&[0; 8]))] {
                if let Ok(leaf) = Leaf::parse(&bytes) {
                    let _ = leaf_index(leaf.extensions);
                }
                for kind in [EntryKind::Final, EntryKind::Precert] {
                    if let Ok(extra) = ExtraData::parse(kind, &bytes) {
                        assert!(extra.chain.count() <= bytes.len() / 3);
                    }
                }
            }
        }
    }
}
