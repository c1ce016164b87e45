//! The manifest: the one object that makes an epoch of the lake true.
//!
//! Manifests are numbered from 1 without a gap and each names the SHA-256 of the one before it. Manifest `n` is
//! written with put-if-absent to `_ct/manifests/<n, 12 digits>.json` after every file it lists is staged, and manifest
//! `n + 1` only after every file of `n` is visible.

use std::collections::BTreeMap;

use ct_model::{Counts, Table};
use serde::{Deserialize, Serialize};

/// Version of the manifest's own format. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

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
}

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_seen: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seen: Option<i64>,
}

impl Manifest {
    /// Where manifest `sequence` stands, relative to the lake.
    pub fn path(sequence: u64) -> String {
        format!("_ct/manifests/{sequence:012}.json")
    }
}
