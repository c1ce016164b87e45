//! Reads back which stretches of which logs the lake holds.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{RecordBatch, StringArray};
use ct_model::id::from_hex;
use ct_model::{Coverage, Table, Timestamp};

use super::Lake;
use crate::error::SinkError;

pub(super) const COLUMNS: &[&str] = &["log", "first", "last", "tree_size", "root", "head_at", "verified", "feed"];

impl Lake {
    /// All rows of the table `coverage`, in the order in which they were published. Stretches may overlap.
    pub fn coverage(&self) -> Result<Vec<Coverage>, SinkError> {
        let mut all = Vec::new();
        for manifest in self.manifests()? {
            for file in manifest?.files.iter().filter(|file| file.table == Table::Coverage) {
                self.scan(file, COLUMNS, &mut |batch| {
                    let what = || "has a row of coverage that says nothing".to_owned();
                    let damaged = || SinkError::Damaged { path: file.path.clone(), what: what() };
                    all.extend(rows(&batch).ok_or_else(damaged)?);
                    Ok(())
                })?;
            }
        }
        Ok(all)
    }
}

/// The rows of a batch of [`COLUMNS`]; `None` for what no version of this program wrote.
pub(super) fn rows(batch: &RecordBatch) -> Option<Vec<Coverage>> {
    let text = |column: usize| -> &StringArray { batch.column(column).as_string() };
    let number =
        |column: usize, row: usize| u64::try_from(batch.column(column).as_primitive::<Int64Type>().value(row)).ok();
    let (heads_at, verified) =
        (batch.column(5).as_primitive::<TimestampMicrosecondType>(), batch.column(6).as_boolean());
    let row = |row: usize| {
        let mut root = [0; 32];
        from_hex(text(4).value(row), &mut root)?;
        Some(Coverage {
            log: Arc::from(text(0).value(row)),
            first: number(1, row)?,
            last: number(2, row)?,
            tree_size: number(3, row)?,
            root,
            head_at: Timestamp(heads_at.value(row)),
            verified: verified.value(row),
            feed: Arc::from(text(7).value(row)),
            since: None,
        })
    };
    (0..batch.num_rows()).map(row).collect()
}
