//! Finds single certificates in published files without reading the files.

use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch, StringArray};
use ct_model::Table;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ColumnChunkMetaData;

use super::read::{Published, select};
use super::{Lake, schema};
use crate::error::SinkError;
use crate::manifest::FileEntry;

impl Lake {
    /// All columns of the certificates whose `sha256` is this one (hex, lower case), from the certificate files among
    /// `files`; usually none or one row, two when a certificate was first claimed and later proven.
    ///
    /// Reads a footer for each file and a Bloom filter for each row group; rows only where both allow the value.
    pub fn find_certificates(&self, files: &[FileEntry], sha256: &str) -> Result<Vec<RecordBatch>, SinkError> {
        let columns = schema::of(Table::Certificates, true);
        let columns: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        let mut found = Vec::new();
        for file in files.iter().filter(|file| file.table == Table::Certificates) {
            let published = Published::open_in_pieces(self, file)?;
            for group in 0..published.groups() {
                if !published.may_have(group, "sha256", sha256)? {
                    continue;
                }
                let reader = published.read_group(group, &columns)?;
                let mask = ProjectionMask::columns(reader.parquet_schema(), ["sha256"]);
                let wanted = sha256.to_owned();
                let equal = ArrowPredicateFn::new(mask, move |batch| {
                    let values: &StringArray = batch.column(0).as_string();
                    Ok(values.iter().map(|value| Some(value == Some(wanted.as_str()))).collect::<BooleanArray>())
                });
                let reader = reader.with_row_filter(RowFilter::new(vec![Box::new(equal)]));
                for batch in reader.build().map_err(|e| published.failed(e))? {
                    let batch = batch.and_then(|batch| select(&batch, file, &columns));
                    found.push(batch.map_err(|e| published.failed(e.into()))?);
                }
            }
        }
        found.retain(|batch| batch.num_rows() > 0);
        Ok(found)
    }
}

impl Published<'_> {
    /// Whether a text column of a row group can hold `value`, by its statistics and its Bloom filter.
    fn may_have(&self, group: usize, column: &str, value: &str) -> Result<bool, SinkError> {
        let chunks = self.metadata().row_group(group).columns();
        let Some(chunk) = chunks.iter().find(|chunk| chunk.column_path().string() == column) else {
            return Ok(false);
        };
        if !in_range(chunk, value.as_bytes()) {
            return Ok(false);
        }
        let (Some(offset), Some(length)) = (chunk.bloom_filter_offset(), chunk.bloom_filter_length()) else {
            return Ok(true);
        };
        let (offset, length) = (offset.cast_unsigned(), u64::from(length.cast_unsigned()));
        let bytes = self.bytes(offset..offset.saturating_add(length))?;
        let bloom = Sbbf::from_bytes(&bytes).map_err(|e| self.failed(e))?;
        Ok(bloom.check(value))
    }
}

/// A shortened bound is still a bound.
fn in_range(chunk: &ColumnChunkMetaData, value: &[u8]) -> bool {
    let Some(statistics) = chunk.statistics() else { return true };
    statistics.min_bytes_opt().is_none_or(|min| min <= value)
        && statistics.max_bytes_opt().is_none_or(|max| value <= max)
}
