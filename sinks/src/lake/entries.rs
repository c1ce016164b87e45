//! Reads back which entries the lake has, and what their certificates are known by.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, StringArray};
use ct_model::id::from_hex;
use ct_model::{EntryKind, Table};

use super::Lake;
use crate::error::SinkError;

const ENTRIES: &[&str] = &["log", "log_index", "sha256", "feed"];
const CERTIFICATES: &[&str] = &["sha256", "kind", "tbs_sha256", "parse"];

/// What a row of `entries` says of where it stands and whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRow<'a> {
    pub log: Option<&'a str>,
    pub index: Option<u64>,
    pub sha256: Option<[u8; 32]>,
    /// Whoever brought it first.
    pub feed: &'a str,
}

/// What a row of `certificates` says of its issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuanceRow {
    pub sha256: [u8; 32],
    pub kind: Option<EntryKind>,
    pub tbs_sha256: Option<[u8; 32]>,
    /// All of the certificate could be read.
    pub is_whole: bool,
}

impl Lake {
    /// Hands every row of `entries` to `each`.
    pub fn entries(&self, each: &mut dyn FnMut(EntryRow<'_>)) -> Result<(), SinkError> {
        self.each_batch(Table::Entries, ENTRIES, &mut |batch| {
            let (logs, sha256s, feeds) = (text(batch, 0), text(batch, 2), text(batch, 3));
            let indexes = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let index = indexes.is_valid(row).then(|| u64::try_from(indexes.value(row)).ok()).flatten();
                let log = logs.is_valid(row).then(|| logs.value(row));
                each(EntryRow { log, index, sha256: hash(sha256s, row), feed: feeds.value(row) });
            }
        })
    }

    /// Hands every row of `certificates` that has a SHA-256 to `each`.
    pub fn issuances(&self, each: &mut dyn FnMut(IssuanceRow)) -> Result<(), SinkError> {
        self.each_batch(Table::Certificates, CERTIFICATES, &mut |batch| {
            let [sha256s, kinds, tbs, parse] = [0, 1, 2, 3].map(|column| text(batch, column));
            for row in 0..batch.num_rows() {
                let Some(sha256) = hash(sha256s, row) else { continue };
                let kinds_of = [EntryKind::Precert, EntryKind::Final];
                let kind = kinds_of.into_iter().find(|kind| kinds.is_valid(row) && kind.as_str() == kinds.value(row));
                each(IssuanceRow { sha256, kind, tbs_sha256: hash(tbs, row), is_whole: parse.value(row) == "ok" });
            }
        })
    }

    fn each_batch(&self, table: Table, columns: &[&str], each: &mut dyn FnMut(&RecordBatch)) -> Result<(), SinkError> {
        for manifest in self.manifests()? {
            for file in manifest?.files.iter().filter(|file| file.table == table) {
                self.scan(file, columns, &mut |batch| {
                    each(&batch);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

fn text(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_string()
}

fn hash(column: &StringArray, row: usize) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    column.is_valid(row).then(|| from_hex(column.value(row), &mut hash)).flatten().map(|()| hash)
}
