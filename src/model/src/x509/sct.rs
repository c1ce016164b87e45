//! Signed certificate timestamps that are embedded in a certificate.

use super::walk::{Element, OCTET_STRING};

/// What a certificate is remembered for. A list that a log made has two to six of them; one of 64 KiB could have
/// 1,400.
pub const SCTS_MAX: usize = 32;

/// One timestamp of version 1 (RFC 6962 section 3.2): the promise of a log. Its signature is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sct {
    /// SHA-256 of the log's public key.
    pub log_id: [u8; 32],
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
}

/// A SignedCertificateTimestampList (RFC 6962 section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SctList {
    /// Items of any kind.
    pub count: u32,
    /// The items of version 1, in order, at most [`SCTS_MAX`]. Others must be passed over (RFC 6962 section 3.3).
    pub scts: Vec<Sct>,
}

impl SctList {
    /// Reads the value of the extension: lengths of two bytes around the list and around each item, in an OCTET
    /// STRING. `None` if it is not such a list; what the items are is not part of that.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (mut items, []) = split(Element::only(value, OCTET_STRING)?.content)? else { return None };
        let mut list = Self::default();
        while !items.is_empty() {
            let (item, rest) = split(items)?;
            items = rest;
            list.count += 1;
            if list.scts.len() < SCTS_MAX {
                list.scts.extend(Sct::read(item));
            }
        }
        Some(list)
    }
}

impl Sct {
    /// Version, log, timestamp, extensions with a length of two bytes, signature (RFC 6962 section 3.2).
    fn read(item: &[u8]) -> Option<Self> {
        const V1: u8 = 0;
        let (&V1, rest) = item.split_first()? else { return None };
        let (log_id, rest) = rest.split_first_chunk()?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        split(rest)?;
        Some(Self { log_id: *log_id, timestamp_ms: u64::from_be_bytes(*timestamp) })
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(version: u8, log: u8, timestamp_ms: u64) -> Vec<u8> {
        let timestamp = timestamp_ms.to_be_bytes();
        [&[version][..], &[log; 32], &timestamp, &[0, 0], &[4, 3, 0, 1, 7]].concat()
    }

    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let framed: Vec<u8> = items.iter().flat_map(|item| [&[0, item.len() as u8][..], item].concat()).collect();
        let bytes = framed.len() as u16;
        let [high, low] = bytes.to_be_bytes();
        let [outer_high, outer_low] = (bytes + 2).to_be_bytes();
        [&[OCTET_STRING, 0x82, outer_high, outer_low, high, low][..], &framed].concat()
    }

    fn sct(log: u8, timestamp_ms: u64) -> Sct {
        Sct { log_id: [log; 32], timestamp_ms }
    }

    #[test]
    fn items_in_order() {
        let read = SctList::read(&list(&[item(0, 9, 5), item(0, 3, u64::MAX)]));
        assert_eq!(read, Some(SctList { count: 2, scts: vec![sct(9, 5), sct(3, u64::MAX)] }));
    }
    #[test]
    fn other_versions_and_short_items_only_count() {
        let read = SctList::read(&list(&[item(1, 9, 5), vec![0; 42], vec![], item(0, 3, 4)]));
        assert_eq!(read, Some(SctList { count: 4, scts: vec![sct(3, 4)] }));
    }
    #[test]
    fn bounded() {
        let read = SctList::read(&list(&vec![item(0, 1, 1); SCTS_MAX + 1])).expect("a list");
        assert_eq!((read.count as usize, read.scts.len()), (SCTS_MAX + 1, SCTS_MAX));
    }
    #[test]
    fn no_list() {
        let whole = list(&[item(0, 9, 5)]);
        for length in 0..whole.len() {
            assert_eq!(SctList::read(&whole[..length]), None);
        }
        assert_eq!(SctList::read(&[OCTET_STRING, 2, 0, 0]), Some(SctList::default()));
    }
}
