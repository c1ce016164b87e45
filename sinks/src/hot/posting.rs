//! Posting files: which certificates of a manifest stand where, and which registered domains they name.
//!
//! Immutable, sorted, little-endian; a look-up fetches the header once and then a few kilobytes:
//!
//! ```text
//! magic "CTHP" | format u32 | certificates u32 | mentions u32
//! 256 x u32    certificates whose fingerprint starts with at most this byte
//! 256 x u32    mentions whose domain digest starts with at most this byte
//! certificates: fingerprint [32] | seen, ms i64 | file u32 | kind of id u8      by fingerprint, each once
//! mentions:     digest of a registered domain [16] | certificate u32            by digest, newest certificate first
//! ```
//!
//! `file` counts in a list that the reader has. Domains are digests, hence hostile names are as long as any.

use std::cmp::Reverse;
use std::ops::Range;

use ct_model::id::{from_hex, to_hex};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 4] = b"CTHP";
const FORMAT: u32 = 1;
const BUCKETS: usize = 256;
pub(crate) const HEADER_BYTES: usize = 16 + 2 * BUCKETS * 4;
const CERTIFICATE_BYTES: usize = 32 + 8 + 4 + 1;
const MENTION_BYTES: usize = 16 + 4;

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) sha256: [u8; 32],
    pub(crate) seen_ms: i64,
    pub(crate) file: u32,
    /// [`crate::hot::row::kind_rank`]
    pub(crate) kind: u8,
}

type DomainDigest = [u8; 16];

fn domain_digest(domain: &str) -> DomainDigest {
    Sha256::digest(domain)[..16].try_into().expect("a digest has 32 bytes")
}

/// Collects certificates and writes them down.
#[derive(Default)]
pub(crate) struct PostingBuilder {
    certificates: Vec<Posted>,
    /// A domain and a position in `certificates`.
    mentions: Vec<(DomainDigest, u32)>,
    /// Certificates come sorted by domain: the same one is often asked for again.
    last_domain: (String, DomainDigest),
}

impl PostingBuilder {
    pub(crate) fn len(&self) -> usize {
        self.certificates.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    pub(crate) fn newest_ms(&self) -> i64 {
        self.certificates.iter().map(|posted| posted.seen_ms).max().unwrap_or(i64::MIN)
    }

    /// Takes a certificate whose fingerprint is hex; any other cannot be asked for.
    pub(crate) fn push<'a>(
        &mut self,
        sha256: &str,
        seen_ms: i64,
        file: u32,
        kind: u8,
        domains: impl Iterator<Item = &'a str>,
    ) {
        let mut bytes = [0; 32];
        if from_hex(sha256, &mut bytes).is_none() {
            return;
        }
        let position = u32::try_from(self.certificates.len()).expect("a posting file is cut long before");
        self.certificates.push(Posted { sha256: bytes, seen_ms, file, kind });
        for domain in domains {
            if self.last_domain.0 != domain {
                self.last_domain = (domain.to_owned(), domain_digest(domain));
            }
            self.mentions.push((self.last_domain.1, position));
        }
    }

    /// The file, with at most `per_domain` mentions of a domain. Empties the builder.
    pub(crate) fn encode(&mut self, per_domain: usize) -> Vec<u8> {
        let Self { certificates: collected, mentions, .. } = std::mem::take(self);
        // Of rows with one fingerprint, the proof hides the claim.
        let mut order: Vec<u32> = (0..collected.len() as u32).collect();
        let row = |position: u32| &collected[position as usize];
        order.sort_unstable_by_key(|&at| (row(at).sha256, row(at).kind, Reverse(row(at).seen_ms)));
        let mut new_position = vec![0_u32; collected.len()];
        let mut certificates: Vec<Posted> = Vec::with_capacity(collected.len());
        for at in order {
            if certificates.last().is_none_or(|last| last.sha256 != row(at).sha256) {
                certificates.push(*row(at));
            }
            new_position[at as usize] = certificates.len() as u32 - 1;
        }
        let mut mentions: Vec<_> =
            mentions.into_iter().map(|(domain, position)| (domain, new_position[position as usize])).collect();
        let newest_first = |position: u32| {
            let posted = &certificates[position as usize];
            Reverse((posted.seen_ms, posted.sha256))
        };
        mentions.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| newest_first(a.1).cmp(&newest_first(b.1))));
        mentions.dedup();
        let mut run = 0;
        let mut previous: Option<DomainDigest> = None;
        mentions.retain(|(domain, _)| {
            run = if previous.replace(*domain) == Some(*domain) { run + 1 } else { 1 };
            run <= per_domain
        });

        let mut out =
            Vec::with_capacity(HEADER_BYTES + certificates.len() * CERTIFICATE_BYTES + mentions.len() * MENTION_BYTES);
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend((certificates.len() as u32).to_le_bytes());
        out.extend((mentions.len() as u32).to_le_bytes());
        push_fences(&mut out, certificates.iter().map(|posted| posted.sha256[0]));
        push_fences(&mut out, mentions.iter().map(|(domain, _)| domain[0]));
        for posted in &certificates {
            out.extend(posted.sha256);
            out.extend(posted.seen_ms.to_le_bytes());
            out.extend(posted.file.to_le_bytes());
            out.push(posted.kind);
        }
        for (domain, certificate) in &mentions {
            out.extend(domain);
            out.extend(certificate.to_le_bytes());
        }
        out
    }
}

fn push_fences(out: &mut Vec<u8>, first_bytes: impl Iterator<Item = u8>) {
    let mut counts = [0_u32; BUCKETS];
    for byte in first_bytes {
        counts[usize::from(byte)] += 1;
    }
    let mut total = 0;
    for count in counts {
        total += count;
        out.extend(total.to_le_bytes());
    }
}

/// The head of a posting file: enough to know which bytes to fetch.
#[derive(Clone)]
pub(crate) struct PostingHeader {
    certificate_fences: [u32; BUCKETS],
    mention_fences: [u32; BUCKETS],
}

impl PostingHeader {
    /// `None` for bytes that are no header of this format, or one whose numbers contradict each other.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
        let mut next = || words.next();
        if next()? != u32::from_le_bytes(*MAGIC) || next()? != FORMAT {
            return None;
        }
        let (certificates, mentions) = (next()?, next()?);
        let mut fences = |total| {
            let mut fences = [0; BUCKETS];
            for fence in &mut fences {
                *fence = next()?;
            }
            (fences.is_sorted() && fences[BUCKETS - 1] == total).then_some(fences)
        };
        Some(Self { certificate_fences: fences(certificates)?, mention_fences: fences(mentions)? })
    }

    /// The bytes of the file in which the certificate would stand.
    pub(crate) fn certificate_range(&self, sha256: &[u8; 32]) -> Range<u64> {
        bucket(&self.certificate_fences, sha256[0], CERTIFICATE_BYTES, HEADER_BYTES)
    }

    /// The certificate among the bytes of [`Self::certificate_range`].
    pub(crate) fn find_certificate(bytes: &[u8], sha256: &[u8; 32]) -> Option<Posted> {
        let (records, _) = bytes.as_chunks::<CERTIFICATE_BYTES>();
        let position = records.binary_search_by(|record| record[..32].cmp(sha256)).ok()?;
        Some(read_certificate(&records[position]))
    }

    /// The bytes of the file in which mentions of the domain would stand.
    pub(crate) fn mention_range(&self, domain: &str) -> Range<u64> {
        let before = self.certificate_fences[BUCKETS - 1] as usize * CERTIFICATE_BYTES;
        bucket(&self.mention_fences, domain_digest(domain)[0], MENTION_BYTES, HEADER_BYTES + before)
    }

    /// Where the certificates stand that name the domain, newest first, from the bytes of [`Self::mention_range`].
    pub(crate) fn certificates_of(&self, bytes: &[u8], domain: &str) -> Vec<Range<u64>> {
        let digest = domain_digest(domain);
        let (records, _) = bytes.as_chunks::<MENTION_BYTES>();
        let start = records.partition_point(|record| record[..16] < digest[..]);
        let of_domain = records[start..].iter().take_while(|record| record[..16] == digest);
        let positions = of_domain.map(|record| u32::from_le_bytes(record[16..].try_into().expect("four bytes")));
        // A position behind the end would be a damaged file's; it names no certificate.
        let known = positions.filter(|&position| position < self.certificate_fences[BUCKETS - 1]);
        known
            .map(|position| (HEADER_BYTES + position as usize * CERTIFICATE_BYTES) as u64)
            .map(|start| start..start + CERTIFICATE_BYTES as u64)
            .collect()
    }

    /// The certificate at one of the ranges of [`Self::certificates_of`].
    pub(crate) fn certificate_at(bytes: &[u8]) -> Option<Posted> {
        Some(read_certificate(bytes.try_into().ok()?))
    }
}

impl Posted {
    pub(crate) fn hex(&self) -> String {
        to_hex(&self.sha256)
    }
}

fn bucket(fences: &[u32; BUCKETS], byte: u8, record_bytes: usize, offset: usize) -> Range<u64> {
    let start = byte.checked_sub(1).map_or(0, |before| fences[usize::from(before)]);
    let place = |record: u32| (offset + record as usize * record_bytes) as u64;
    place(start)..place(fences[usize::from(byte)])
}

fn read_certificate(record: &[u8; CERTIFICATE_BYTES]) -> Posted {
    Posted {
        sha256: record[..32].try_into().expect("32 bytes"),
        seen_ms: i64::from_le_bytes(record[32..40].try_into().expect("eight bytes")),
        file: u32::from_le_bytes(record[40..44].try_into().expect("four bytes")),
        kind: record[44],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(byte: u8) -> String {
        to_hex(&[byte; 32])
    }

    fn find(file: &[u8], sha256: [u8; 32]) -> Option<Posted> {
        let header = PostingHeader::decode(&file[..HEADER_BYTES]).unwrap();
        let range = header.certificate_range(&sha256);
        PostingHeader::find_certificate(&file[range.start as usize..range.end as usize], &sha256)
    }

    fn domain(file: &[u8], domain: &str) -> Vec<(u8, i64)> {
        let header = PostingHeader::decode(&file[..HEADER_BYTES]).unwrap();
        let range = header.mention_range(domain);
        let ranges = header.certificates_of(&file[range.start as usize..range.end as usize], domain);
        let bytes = |range: &Range<u64>| &file[range.start as usize..range.end as usize];
        let posted = ranges.iter().map(|range| PostingHeader::certificate_at(bytes(range)).unwrap());
        posted.map(|posted| (posted.sha256[0], posted.seen_ms)).collect()
    }

    #[test]
    fn what_was_pushed_is_found() {
        let mut builder = PostingBuilder::default();
        for byte in (0..=255).rev() {
            let domains = ["all.example".to_owned(), format!("{}.example", byte % 16)];
            builder.push(&sha(byte), i64::from(byte) * 10, 7, 0, domains.iter().map(String::as_str));
        }
        let file = builder.encode(100);
        assert!(builder.is_empty());
        for byte in 0..=255 {
            let want = Posted { sha256: [byte; 32], seen_ms: i64::from(byte) * 10, file: 7, kind: 0 };
            assert_eq!(find(&file, [byte; 32]), Some(want));
        }
        let newest: Vec<_> = (156..=255).rev().map(|byte: u8| (byte, i64::from(byte) * 10)).collect();
        assert_eq!(domain(&file, "all.example"), newest);
        let sixteenth: Vec<_> =
            (0..16).rev().map(|n| n * 16 + 3).map(|byte: u8| (byte, i64::from(byte) * 10)).collect();
        assert_eq!(domain(&file, "3.example"), sixteenth);
        assert_eq!(domain(&file, "absent.example"), []);
        let mut absent = [7; 32];
        absent[31] = 8;
        assert_eq!(find(&file, absent), None);
    }

    #[test]
    fn a_proof_hides_a_claim() {
        let mut builder = PostingBuilder::default();
        builder.push(&sha(9), 50, 0, 1, ["a.example"].into_iter());
        builder.push(&sha(9), 40, 1, 0, ["a.example"].into_iter());
        let file = builder.encode(10);
        assert_eq!(find(&file, [9; 32]).map(|posted| (posted.kind, posted.file)), Some((0, 1)));
        assert_eq!(domain(&file, "a.example"), [(9, 40)]);
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let file = PostingBuilder::default().encode(10);
        assert_eq!(file.len(), HEADER_BYTES);
        assert_eq!(find(&file, [0; 32]), None);
        assert_eq!(domain(&file, ""), []);
    }

    #[test]
    fn no_fingerprint_is_no_certificate() {
        let mut builder = PostingBuilder::default();
        builder.push("not hex", 1, 0, 0, ["a.example"].into_iter());
        assert!(builder.is_empty());
    }

    #[test]
    fn damaged_headers_are_refused() {
        let mut builder = PostingBuilder::default();
        builder.push(&sha(9), 50, 0, 0, ["a.example"].into_iter());
        let file = builder.encode(10);
        assert!(PostingHeader::decode(&file[..HEADER_BYTES - 1]).is_none());
        for at in [0, 4, 8, 12, 16, HEADER_BYTES - 4] {
            let mut damaged = file.clone();
            damaged[at] ^= 0x40;
            assert!(PostingHeader::decode(&damaged[..HEADER_BYTES]).is_none(), "byte {at}");
        }
    }
}
