//! The rows of the lake's six tables, as the dataflow builds them and the sinks write them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{CertId, digest};
use crate::time::Timestamp;
use crate::x509::sct::Sct;

/// A table of the lake, in the order in which an epoch becomes visible: what refers to a row comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    Certificates,
    Entries,
    Findings,
    Rejected,
    Gaps,
    Coverage,
}

impl Table {
    pub const ALL: [Self; 6] =
        [Self::Certificates, Self::Entries, Self::Findings, Self::Rejected, Self::Gaps, Self::Coverage];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Entries => "entries",
            Self::Findings => "findings",
            Self::Rejected => "rejected",
            Self::Gaps => "gaps",
            Self::Coverage => "coverage",
        }
    }
}

/// Whether an entry or certificate is a precertificate (RFC 6962 section 3.1) or a final one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    Precert,
    Final,
}

impl EntryKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Precert => "precert",
            Self::Final => "final",
        }
    }
}

/// How much of a certificate could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParseState {
    /// All of it.
    Ok,
    /// The strict parser refused it or one of its extensions; what a tolerant walk found is there.
    Partial,
    /// Nothing but its bytes.
    Failed,
    /// The feed sent no DER; the columns are the feed's word.
    Absent,
}

impl ParseState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
}

/// A row of `certificates`. `None` and empty text mean unknown and become NULL.
#[derive(Clone, Debug, PartialEq)]
pub struct CertRecord {
    pub id: CertId,
    /// Computed over the DER, else the feed's claim.
    pub sha256: Option<[u8; 32]>,
    pub sha1: Option<[u8; 20]>,
    /// The issuance: SHA-256 of the TBSCertificate without poison and SCT list.
    pub tbs_sha256: Option<[u8; 32]>,
    pub spki_sha256: Option<[u8; 32]>,
    pub kind: Option<EntryKind>,
    /// Lower-case hex without leading zeros ("0" for zero), a minus sign in front of a negative one.
    pub serial: Option<Box<str>>,
    pub issuer_dn: Option<Arc<str>>,
    pub issuer_cn: Option<Arc<str>>,
    pub issuer_org: Option<Arc<str>>,
    pub subject_dn: Option<Box<str>>,
    pub subject_cn: Option<Box<str>>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
    /// DNS names: lower case, A-labels, no trailing dot, each once, in certificate order (SANs, then CNs).
    pub names: Vec<Box<str>>,
    /// Registered domains of `names`, each once, in that order.
    pub registered_domains: Vec<Box<str>>,
    pub ips: Vec<Box<str>>,
    pub key_algorithm: Option<Arc<str>>,
    pub key_bits: Option<u32>,
    pub signature_algorithm: Option<Arc<str>>,
    pub is_ca: Option<bool>,
    /// SCTs embedded in the certificate.
    pub sct_count: Option<u32>,
    /// Of those, the ones of a known version, in order.
    pub scts: Vec<Sct>,
    pub parse: ParseState,
    pub parse_error: Option<Box<str>>,
    pub der_bytes: Option<u32>,
    pub seen: Option<Timestamp>,
    pub log: Option<Arc<str>>,
    pub log_index: Option<u64>,
    pub feed: Arc<str>,
    /// Present only where the lake keeps DER.
    pub der: Option<Box<[u8]>>,
}

impl CertRecord {
    /// The first registered domain with its labels reversed: `com.example`.
    pub fn apex_rev(&self) -> Option<String> {
        self.registered_domains.first().map(|domain| reverse_labels(domain))
    }
}

pub fn reverse_labels(name: &str) -> String {
    name.rsplit('.').collect::<Vec<_>>().join(".")
}

/// A row of `entries`.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryRecord {
    /// The log's URL without scheme and trailing slash; `None` when the feed does not say.
    pub log: Option<Arc<str>>,
    pub log_index: Option<u64>,
    pub kind: Option<EntryKind>,
    pub id: CertId,
    pub sha256: Option<[u8; 32]>,
    pub submitted: Option<Timestamp>,
    pub seen: Option<Timestamp>,
    pub feed: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A row of `findings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Same input, same id: a digest of module, check, name and (unless `once`) certificate.
    pub id: [u8; 16],
    pub module: Box<str>,
    pub check: Box<str>,
    pub severity: Severity,
    pub score: Option<f64>,
    pub name: Option<Box<str>>,
    pub sha256: Option<[u8; 32]>,
    pub tbs_sha256: Option<[u8; 32]>,
    pub seen: Option<Timestamp>,
    /// A JSON object.
    pub detail: Box<str>,
    /// Reported for the first input that shows it and never again, because no certificate is part of its id.
    pub once: bool,
}

impl Finding {
    /// The id of a finding about `certificate`, or about no certificate in particular.
    pub fn id_of(module: &str, check: &str, name: &str, certificate: Option<&CertId>) -> [u8; 16] {
        let (kind, id) = certificate.map_or((u8::MAX, &[][..]), |id| (id.kind as u8, id.bytes()));
        digest(&[module.as_bytes(), check.as_bytes(), name.as_bytes(), &[kind], id])[..16]
            .try_into()
            .expect("a digest has 32 bytes")
    }
}

/// A row of `rejected`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    pub feed: Arc<str>,
    pub segment: Arc<str>,
    /// 1-based.
    pub line: u64,
    /// Bytes from the start of the (decompressed) segment.
    pub offset: u64,
    /// A short fixed word, see [`crate::message::Reason`].
    pub reason: &'static str,
    pub detail: Box<str>,
    pub seen: Option<Timestamp>,
    /// The first 4 KiB of the message.
    pub raw: Box<[u8]>,
}

impl Rejected {
    pub const RAW_BYTES_MAX: usize = 4 << 10;
}

/// A row of `gaps`: a stretch of time in which a feed may have said something that nobody heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    pub feed: Arc<str>,
    /// When the last message before it arrived; `None` when there was none.
    pub from: Option<Timestamp>,
    /// When the feed was heard again, or when the gap was noted.
    pub to: Timestamp,
    /// A short fixed word: what ended the connection, or what became of the messages.
    pub reason: Box<str>,
    pub detail: Box<str>,
}

impl Gap {
    /// Whether lines that were in the journal, and may be of this feed, were not read.
    pub fn loses_lines_of(&self, feed: &str) -> bool {
        matches!(&*self.reason, "journal_damaged" | "journal_missing") && (&*self.feed == feed || &*self.feed == "*")
    }
}

/// A row of `coverage`: a stretch of a log whose entries are all in the lake, or in `rejected`, before this row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The log's URL without scheme and trailing slash.
    pub log: Arc<str>,
    /// Indexes of the first and the last entry.
    pub first: u64,
    pub last: u64,
    /// The tree head that the entries were compared with.
    pub tree_size: u64,
    pub root: [u8; 32],
    /// When the log says it signed that head.
    pub head_at: Timestamp,
    /// The head's signature is that of the log's key, and the root was computed anew from these entries, with hashes of
    /// the log in place of entries outside the stretch.
    pub verified: bool,
    pub feed: Arc<str>,
    /// Of a row that comes by a journal: the segment in which, or behind which, its entries begin. No column.
    pub since: Option<u32>,
}

/// Rows of all six tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub certificates: Vec<CertRecord>,
    pub entries: Vec<EntryRecord>,
    pub findings: Vec<Finding>,
    pub rejected: Vec<Rejected>,
    pub gaps: Vec<Gap>,
    pub coverage: Vec<Coverage>,
}

impl Rows {
    /// All rows of `parts`, in their order.
    pub fn concat(parts: Vec<Self>) -> Self {
        let sum = |count: fn(&Self) -> usize| parts.iter().map(count).sum();
        let mut all = Self {
            certificates: Vec::with_capacity(sum(|part| part.certificates.len())),
            entries: Vec::with_capacity(sum(|part| part.entries.len())),
            findings: Vec::with_capacity(sum(|part| part.findings.len())),
            rejected: Vec::with_capacity(sum(|part| part.rejected.len())),
            gaps: Vec::with_capacity(sum(|part| part.gaps.len())),
            coverage: Vec::with_capacity(sum(|part| part.coverage.len())),
        };
        for mut part in parts {
            all.certificates.append(&mut part.certificates);
            all.entries.append(&mut part.entries);
            all.findings.append(&mut part.findings);
            all.rejected.append(&mut part.rejected);
            all.gaps.append(&mut part.gaps);
            all.coverage.append(&mut part.coverage);
        }
        all
    }

    pub fn is_empty(&self) -> bool {
        let Self { certificates, entries, findings, rejected, gaps, coverage } = self;
        certificates.is_empty()
            && entries.is_empty()
            && findings.is_empty()
            && rejected.is_empty()
            && gaps.is_empty()
            && coverage.is_empty()
    }
}
