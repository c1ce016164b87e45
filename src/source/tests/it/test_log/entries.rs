//! What a log holds, and the bytes in which it says so: RFC 6962 section 3.4 and 4.6, static-ct-api "Log Entries".

use std::sync::Arc;

use super::tree::{Hash, sha256};

pub(crate) type Bytes = Arc<[u8]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    Final(Bytes),
    Precert {
        issuer_key_hash: Hash,
        /// Without the poison.
        tbs: Bytes,
        /// As it came.
        submitted: Bytes,
    },
}

impl Certificate {
    /// The DER that was handed in.
    pub(crate) fn submitted(&self) -> &Bytes {
        match self {
            Self::Final(der) | Self::Precert { submitted: der, .. } => der,
        }
    }
}

/// A certificate on its way into a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    pub(crate) certificate: Certificate,
    /// Its issuer first.
    pub(crate) chain: Vec<Bytes>,
    /// When another log took it, if that is known.
    pub(crate) timestamp_ms: Option<u64>,
}

/// A submission at its place in a log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) certificate: Certificate,
    pub(crate) chain: Vec<Bytes>,
    pub(crate) timestamp_ms: u64,
    pub(crate) extensions: Vec<u8>,
}

impl Entry {
    pub(crate) fn leaf_input(&self) -> Vec<u8> {
        let mut bytes = vec![0, 0]; // v1, timestamped_entry
        self.put_timestamped(&mut bytes);
        bytes
    }

    pub(crate) fn extra_data(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Certificate::Precert { submitted, .. } = &self.certificate {
            put_u24(&mut bytes, submitted);
        }
        let mut chain = Vec::new();
        self.chain.iter().for_each(|issuer| put_u24(&mut chain, issuer));
        put_u24(&mut bytes, &chain);
        bytes
    }

    /// The entry as a data tile holds it.
    pub(crate) fn put_tile_leaf(&self, bytes: &mut Vec<u8>) {
        self.put_timestamped(bytes);
        if let Certificate::Precert { submitted, .. } = &self.certificate {
            put_u24(bytes, submitted);
        }
        bytes.extend_from_slice(&(32 * self.chain.len() as u16).to_be_bytes());
        self.chain.iter().for_each(|issuer| bytes.extend_from_slice(&sha256(&[issuer])));
    }

    fn put_timestamped(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        match &self.certificate {
            Certificate::Final(der) => {
                bytes.extend_from_slice(&[0, 0]);
                put_u24(bytes, der);
            }
            Certificate::Precert { issuer_key_hash, tbs, .. } => {
                bytes.extend_from_slice(&[0, 1]);
                bytes.extend_from_slice(issuer_key_hash);
                put_u24(bytes, tbs);
            }
        }
        bytes.extend_from_slice(&(self.extensions.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&self.extensions);
    }
}

/// The extension that says the entry's own index (static-ct-api, "SCT Extension").
pub(crate) fn leaf_index_extension(index: u64) -> Vec<u8> {
    let mut bytes = vec![0, 0, 5];
    bytes.extend_from_slice(&index.to_be_bytes()[3..]);
    bytes
}

fn put_u24(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(content);
}

/// The submission behind an entry of some other log; its extensions are that log's own and are not kept.
pub(crate) fn submission_of(leaf_input: &[u8], extra_data: &[u8]) -> Option<Submission> {
    let rest = leaf_input.strip_prefix(&[0, 0])?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (certificate, chain) = match u16::from_be_bytes(*kind) {
        0 => (Certificate::Final(take_u24(rest)?.0.into()), extra_data),
        1 => {
            let (issuer_key_hash, rest) = rest.split_first_chunk()?;
            let (submitted, chain) = take_u24(extra_data)?;
            let (tbs, submitted) = (take_u24(rest)?.0.into(), submitted.into());
            (Certificate::Precert { issuer_key_hash: *issuer_key_hash, tbs, submitted }, chain)
        }
        _ => return None,
    };
    let mut rest = take_u24(chain)?.0;
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let (issuer, after) = take_u24(rest)?;
        chain.push(issuer.into());
        rest = after;
    }
    Some(Submission { certificate, chain, timestamp_ms: Some(u64::from_be_bytes(*timestamp)) })
}

fn take_u24(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([a, b, c], rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes([0, *a, *b, *c]) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(certificate: Certificate) -> Entry {
        let chain = vec![Bytes::from(*b"issuer"), Bytes::from(*b"root")];
        Entry { certificate, chain, timestamp_ms: 0x0102_0304_0506_0708, extensions: Vec::new() }
    }

    fn precert() -> Certificate {
        Certificate::Precert { issuer_key_hash: [9; 32], tbs: (*b"tbs").into(), submitted: (*b"poisoned").into() }
    }

    #[test]
    fn layout_of_a_final_certificate() {
        let mut entry = entry(Certificate::Final((*b"der").into()));
        entry.extensions = leaf_index_extension(0x01_0203_0405);
        let leaf = b"\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\x03der\0\x08\0\0\x05\x01\x02\x03\x04\x05";
        assert_eq!(entry.leaf_input(), leaf);
        assert_eq!(entry.extra_data(), b"\0\0\x10\0\0\x06issuer\0\0\x04root");
        let mut tile = Vec::new();
        entry.put_tile_leaf(&mut tile);
        assert_eq!(tile, [&leaf[2..], b"\0\x40", &sha256(&[b"issuer"]), &sha256(&[b"root"])].concat());
    }

    #[test]
    fn layout_of_a_precertificate() {
        let entry = entry(precert());
        let leaf = [b"\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\x01".as_slice(), &[9; 32], b"\0\0\x03tbs\0\0"].concat();
        assert_eq!(entry.leaf_input(), leaf);
        assert_eq!(entry.extra_data(), b"\0\0\x08poisoned\0\0\x10\0\0\x06issuer\0\0\x04root");
        let mut tile = Vec::new();
        entry.put_tile_leaf(&mut tile);
        let head = [&leaf[2..], b"\0\0\x08poisoned\0\x40"].concat();
        assert_eq!(tile[..head.len()], head);
        assert_eq!(tile.len(), head.len() + 64);
    }

    #[test]
    fn entries_of_another_log() {
        for certificate in [Certificate::Final((*b"der").into()), precert()] {
            let entry = entry(certificate.clone());
            let (leaf_input, extra_data) = (entry.leaf_input(), entry.extra_data());
            let want = Submission { certificate, chain: entry.chain, timestamp_ms: Some(entry.timestamp_ms) };
            assert_eq!(submission_of(&leaf_input, &extra_data), Some(want));
            for end in 0..extra_data.len() {
                assert_eq!(submission_of(&leaf_input, &extra_data[..end]), None);
            }
            for end in 0..leaf_input.len() - 2 {
                assert_eq!(submission_of(&leaf_input[..end], &extra_data), None);
            }
        }
    }
}
