//! Lines that a reader of logs makes: entries of a log, and what it knows of the log's coverage.
//!
//! ```text
//! {"message_type":"log_entry","data":{"log":"ct.example.com/2026h2","index":7,"leaf_input":"AAAA…"}}
//! {"message_type":"log_entry","data":{"log":"ct.example.com/2026h2","index":8,"leaf_input":"AAAA…","precertificate":"MIIE…"}}
//! {"message_type":"log_coverage","data":{"log":"ct.example.com/2026h2","first":0,"last":8,"tree_size":9,"root":"5f…","head_ms":1795132801033,"verified":true}}
//! ```
//!
//! `leaf_input` is the MerkleTreeLeaf (RFC 6962 section 3.4), `precertificate` the DER as it was submitted, both base64.
//! An entry is seen when its log says it was submitted: whoever reads the log later sees the same. The chain of an
//! entry is left out; nothing here looks at it, and it is most of the bytes.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::json::Scalar;
use super::{Body, Message, Reader, Reason, Sighting, Unusable, decode_base64, unusable};
use crate::ctlog::leaf::{Entry, Leaf};
use crate::id::{self, CertId};
use crate::record::{Coverage, EntryKind};
use crate::time::Timestamp;
use crate::x509;

/// How every such line begins.
pub(super) const HEAD: &str = "{\"message_type\":\"log_";
const ENTRY: &str = "log_entry";
const COVERAGE: &str = "log_coverage";

/// Appends the line of an entry, line end included. `precertificate` is the one that was submitted, of a precertificate.
pub fn write_entry(out: &mut Vec<u8>, log: &str, index: u64, leaf_input: &[u8], precertificate: Option<&[u8]>) {
    write_head(out, ENTRY, log);
    out.extend_from_slice(format!(",\"index\":{index},\"leaf_input\":\"").as_bytes());
    append_base64(out, leaf_input);
    if let Some(der) = precertificate {
        out.extend_from_slice(b"\",\"precertificate\":\"");
        append_base64(out, der);
    }
    out.extend_from_slice(b"\"}}\n");
}

/// Log and index of the line of an entry, as [`write_entry`] writes it, without reading the rest of it.
pub fn place(line: &[u8]) -> Option<(&str, u64)> {
    let rest = line.strip_prefix(HEAD.as_bytes())?.strip_prefix(b"entry\",\"data\":{\"log\":\"")?;
    let (log, rest) = rest.split_at(rest.iter().position(|byte| *byte == b'"')?);
    let rest = rest.strip_prefix(b"\",\"index\":")?;
    let digits = &rest[..rest.iter().position(|byte| !byte.is_ascii_digit())?];
    // A name that is written in another way is not that of a log that anybody reads.
    let log = std::str::from_utf8(log).ok().filter(|log| !log.contains('\\'))?;
    Some((log, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// Appends the line of a stretch, line end included. Its feed is whoever reads the line.
pub fn write_coverage(out: &mut Vec<u8>, row: &Coverage) {
    let Coverage { log, first, last, tree_size, root, head_at, verified, feed: _, since: _ } = row;
    write_head(out, COVERAGE, log);
    let (root, head_ms) = (id::to_hex(root), head_at.millis());
    let rest = format!(
        ",\"first\":{first},\"last\":{last},\"tree_size\":{tree_size},\"root\":\"{root}\",\"head_ms\":{head_ms},\
         \"verified\":{verified}}}}}\n"
    );
    out.extend_from_slice(rest.as_bytes());
}

/// The line of a stretch, without its line end, with the segment of the journal in which its entries begin; `None` of
/// other lines.
pub fn with_since(line: &[u8], segment: u32) -> Option<Vec<u8>> {
    let body = line.strip_prefix(HEAD.as_bytes()).filter(|rest| rest.starts_with(b"coverage\""))?;
    let length = HEAD.len() + body.strip_suffix(b"}}")?.len();
    Some([&line[..length], format!(",\"since\":{segment}}}}}").as_bytes()].concat())
}

fn write_head(out: &mut Vec<u8>, kind: &str, log: &str) {
    let log = serde_json::Value::from(log);
    out.extend_from_slice(format!("{{\"message_type\":\"{kind}\",\"data\":{{\"log\":{log}").as_bytes());
}

fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    base64_simd::STANDARD.encode_append(bytes, out);
}

#[derive(Deserialize)]
#[serde(tag = "message_type", content = "data", rename_all = "snake_case")]
enum Line<'a> {
    LogEntry {
        #[serde(borrow)]
        log: Cow<'a, str>,
        index: u64,
        #[serde(borrow)]
        leaf_input: Cow<'a, str>,
        #[serde(borrow, default)]
        precertificate: Scalar<'a>,
    },
    LogCoverage {
        #[serde(borrow)]
        log: Cow<'a, str>,
        first: u64,
        last: u64,
        tree_size: u64,
        #[serde(borrow)]
        root: Cow<'a, str>,
        head_ms: i64,
        verified: bool,
        since: Option<u32>,
    },
}

impl Reader {
    /// Reads a line that begins with [`HEAD`].
    pub(super) fn log_line(&mut self, text: &str) -> Result<Message<'static>, Unusable> {
        match serde_json::from_str(text).map_err(|why| unusable(Reason::Json, why, None))? {
            Line::LogEntry { log, index, leaf_input, precertificate } => {
                let refuse = |reason, why: &str, seen| unusable(reason, format!("{log} {index}: {why}"), seen);
                if i64::try_from(index).is_err() {
                    return Err(refuse(Reason::Index, "an index that is none", None));
                }
                let Some(leaf_input) = decode_base64(&leaf_input) else {
                    return Err(refuse(Reason::Base64, "`leaf_input` is not base64", None));
                };
                let leaf = Leaf::parse(&leaf_input).map_err(|why| refuse(Reason::Leaf, &why.to_string(), None))?;
                let seen = Timestamp::from_unix_ms(leaf.timestamp_ms);
                let (kind, der, tbs_sha256) = match leaf.entry {
                    Entry::Final { der } => (EntryKind::Final, der.to_vec(), None),
                    Entry::Precert { tbs, .. } => {
                        let der = precertificate.text().and_then(decode_base64);
                        let der = der.ok_or_else(|| refuse(Reason::Base64, "no `precertificate` in base64", seen))?;
                        // No hash vouches for it, and anybody could stand in for what was logged.
                        if !x509::is_precertificate_of(&der, tbs) {
                            return Err(refuse(
                                Reason::Precertificate,
                                "the precertificate is not that of the leaf",
                                seen,
                            ));
                        }
                        (EntryKind::Precert, der, Some(Sha256::digest(tbs).into()))
                    }
                };
                let id = CertId::der(Sha256::digest(&der).into());
                Ok(Message::Sighting(Sighting {
                    id,
                    log: Some(self.log(&log)),
                    index: Some(index),
                    kind: Some(kind),
                    seen,
                    submitted: seen,
                    wrong_claim: false,
                    tbs_sha256,
                    body: Body::Der(der),
                }))
            }
            Line::LogCoverage { log, first, last, tree_size, root: hex, head_ms, verified, since } => {
                let refuse = || unusable(Reason::Data, "coverage of nothing", None);
                let mut root = [0; 32];
                id::from_hex(&hex, &mut root).ok_or_else(refuse)?;
                let head_at = u64::try_from(head_ms).ok().and_then(Timestamp::from_unix_ms).ok_or_else(refuse)?;
                if first > last || last >= tree_size || i64::try_from(tree_size).is_err() {
                    return Err(refuse());
                }
                let (log, feed) = (self.log(&log).name, Arc::from(""));
                Ok(Message::Coverage(Coverage { log, first, last, tree_size, root, head_at, verified, feed, since }))
            }
        }
    }
}
