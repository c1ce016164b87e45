//! The manifest: the one object that makes an epoch of the lake true.
//!
//! Manifests are numbered from 1 without a gap and each names the SHA-256 of the one before it. Manifest `n` is
//! written with put-if-absent to `_ct/manifests/<n, 12 digits>.json` after every file it lists is staged, and manifest
//! `n + 1` only after every file of `n` is visible.

use std::collections::BTreeMap;

use ct_model::{Age, Counts, Horizon, Table};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::SinkError;

/// Version of the manifest's own format. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

pub(crate) const FOLDER: &str = "_ct/manifests";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Position in the chain, from 1.
    pub sequence: u64,
    /// SHA-256 (hex) of the bytes of manifest `sequence - 1`; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Random id (hex) that the lake got with its first manifest and keeps.
    pub lake: String,
    /// Random id (hex) of the job that wrote this: tells "my write, answer lost" from "somebody else's write".
    pub job: String,
    /// Where the input continues after this manifest.
    pub resume: ResumePoint,
    /// What this manifest adds.
    pub counts: Counts,
    /// Everything up to and including this manifest.
    pub totals: Counts,
    /// Newest `seen` (microseconds) in the lake up to and including this manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_seen: Option<i64>,
    /// How long journals were written up to here; what reads no journal carries it on.
    #[serde(default, skip_serializing_if = "Age::is_unknown")]
    pub age: Age,
    /// For how long the job that wrote this remembers what is in the lake, if not for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
    /// In publishing order: by table as in [`Table::ALL`], then by path.
    pub files: Vec<FileEntry>,
}

/// How far an input was consumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// Digest (hex) of the input: feed name and ordered segments with their sizes and versions. A resume point holds
    /// for this input only.
    pub input: String,
    /// Next segment (0-based position in the input) and next chunk of it.
    pub segment: u32,
    pub chunk: u32,
    /// Lines of `segment` before that chunk.
    pub lines: u64,
    /// The input was consumed to its end.
    pub complete: bool,
    /// Segments that could not be read to their end, with the reason, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// The last segment of the input, a journal, of which lines of logs are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<u32>,
}

/// A file of a manifest. It also crosses worker links in a format that knows no missing fields: none may be skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub table: Table,
    /// Where it was staged, relative to the lake.
    pub staged: String,
    /// Where readers find it, relative to the lake: `certificates/date=2026-11-23/000000000001-0000.parquet`.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Oldest and newest `seen` of its rows, microseconds; absent when no row has one.
    pub min_seen: Option<i64>,
    pub max_seen: Option<i64>,
}

impl Manifest {
    /// Where manifest `sequence` stands, relative to the lake.
    pub fn path(sequence: u64) -> String {
        format!("{FOLDER}/{sequence:012}.json")
    }

    /// The sequence number of what stands at `path`; `None` for anything that is not a manifest's name.
    pub(crate) fn sequence_at(path: &str) -> Option<u64> {
        let digits = path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".json")?;
        let sequence = digits.parse().ok()?;
        (Self::path(sequence) == path).then_some(sequence)
    }

    /// The bytes as they are stored: the same manifest, the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest has only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads manifest `sequence` back.
    pub fn decode(bytes: &[u8], sequence: u64) -> Result<Self, SinkError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = || Self::path(sequence);
        let damaged = |why: serde_json::Error| SinkError::Damaged { path: path(), what: why.to_string() };
        // A newer format may have changed everything but this field.
        let Version { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(SinkError::NewerFormat { path: path(), format, known: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        if manifest.sequence != sequence {
            let what = format!("is manifest {} under another's name", manifest.sequence);
            return Err(SinkError::Damaged { path: path(), what });
        }
        Ok(manifest)
    }

    /// Refuses a manifest that is not the next of a chain whose newest one has this digest, in this lake.
    pub(crate) fn follows(&self, previous: Option<&str>, lake: Option<&str>) -> Result<(), SinkError> {
        let what = if self.previous.as_deref() != previous {
            "does not follow the manifest before it"
        } else if lake.is_some_and(|lake| lake != self.lake) {
            "belongs to another lake"
        } else {
            return Ok(());
        };
        Err(SinkError::Damaged { path: Self::path(self.sequence), what: what.to_owned() })
    }

    /// What the next manifest names as `previous`: SHA-256 (hex) of the stored bytes.
    pub fn digest(bytes: &[u8]) -> String {
        ct_model::id::to_hex(&Sha256::digest(bytes))
    }
}
