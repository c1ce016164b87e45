//! Reads published files, a few columns and one row group at a time.
//!
//! Memory is bounded by the asked columns of one row group. A file of at most [`WHOLE_BYTES_MAX`] is fetched in one
//! request and checked against its manifest's SHA-256; of a larger one only the footer and the asked column chunks are
//! fetched, and a flipped bit in those is `verify`'s to find.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{ArrowError, Schema};
use bytes::{Buf, Bytes};
use ct_model::id::to_hex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use super::{Lake, schema};
use crate::error::SinkError;
use crate::manifest::FileEntry;

/// Files up to this size are fetched whole.
const WHOLE_BYTES_MAX: u64 = 8 << 20;
/// What is fetched of the end of a larger file at first; a footer is rarely longer.
const FOOTER_BYTES: u64 = 64 << 10;
/// Rows in a batch handed to a caller.
const BATCH_ROWS: usize = 4_096;

impl Lake {
    /// Hands the rows of a published file to `each`, in batches of at most 4,096 rows, in file order.
    ///
    /// Batches have exactly the columns asked for, in that order; a column that is younger than the file is NULL.
    pub fn scan(
        &self,
        file: &FileEntry,
        columns: &[&str],
        each: &mut dyn FnMut(RecordBatch) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        self.scan_while(file, columns, &mut |batch| each(batch).map(ControlFlow::Continue)).map(drop)
    }

    /// The same as [`Lake::scan`], until `each` breaks off.
    pub(super) fn scan_while(
        &self,
        file: &FileEntry,
        columns: &[&str],
        each: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, SinkError>,
    ) -> Result<ControlFlow<()>, SinkError> {
        let published = Published::open(self, file)?;
        for group in 0..published.groups() {
            let reader = published.read_group(group, columns)?.build().map_err(|e| published.failed(e))?;
            for batch in reader {
                let batch = batch.map_err(|e| published.failed(e.into()))?;
                let batch = select(&batch, file, columns).map_err(|e| published.failed(e.into()))?;
                if each(batch)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A published file with its footer read.
pub(super) struct Published<'a> {
    lake: &'a Lake,
    file: &'a FileEntry,
    footer: ArrowReaderMetadata,
    whole: Option<Bytes>,
}

impl<'a> Published<'a> {
    /// Opens a file to read much of it.
    pub(super) fn open(lake: &'a Lake, file: &'a FileEntry) -> Result<Self, SinkError> {
        if file.bytes > WHOLE_BYTES_MAX {
            return Self::open_in_pieces(lake, file);
        }
        let bytes = lake.store.get(&file.path)?;
        if to_hex(&Sha256::digest(&bytes)) != file.sha256 {
            let what = "is not the file its manifest lists: the SHA-256 differs".to_owned();
            return Err(SinkError::Damaged { path: file.path.clone(), what });
        }
        let window = Window { bytes_of_file: file.bytes, parts: vec![(0, bytes.clone())] };
        Self::with_footer(lake, file, footer(&window), Some(bytes))
    }

    /// Opens a file to read a little of it.
    pub(super) fn open_in_pieces(lake: &'a Lake, file: &'a FileEntry) -> Result<Self, SinkError> {
        let mut tail_bytes = FOOTER_BYTES;
        loop {
            let tail = file.bytes.saturating_sub(tail_bytes)..file.bytes;
            match footer(&lake.window(file, std::slice::from_ref(&tail))?) {
                // Asking for less than there was would go on for ever.
                Err(ParquetError::NeedMoreData(bytes)) if bytes as u64 > tail_bytes => tail_bytes = bytes as u64,
                metadata => return Self::with_footer(lake, file, metadata, None),
            }
        }
    }

    fn with_footer(
        lake: &'a Lake,
        file: &'a FileEntry,
        metadata: Result<ParquetMetaData, ParquetError>,
        whole: Option<Bytes>,
    ) -> Result<Self, SinkError> {
        // The schema is that of the Parquet file itself.
        let footer = metadata.and_then(|it| ArrowReaderMetadata::try_new(Arc::new(it), ArrowReaderOptions::new()));
        let footer = footer.map_err(|source| SinkError::Read { path: file.path.clone(), source })?;
        Ok(Self { lake, file, footer, whole })
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    pub(super) fn groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    pub(super) fn failed(&self, source: ParquetError) -> SinkError {
        SinkError::Read { path: self.file.path.clone(), source }
    }

    /// Some bytes of the file.
    pub(super) fn bytes(&self, range: Range<u64>) -> Result<Bytes, SinkError> {
        let length = (range.end - range.start) as usize;
        self.fetch(std::slice::from_ref(&range))?.get_bytes(range.start, length).map_err(|e| self.failed(e))
    }

    /// A reader of `columns` of one row group, whose bytes are in memory.
    pub(super) fn read_group(
        &self,
        group: usize,
        columns: &[&str],
    ) -> Result<ParquetRecordBatchReaderBuilder<Window>, SinkError> {
        let parquet = self.footer.parquet_schema();
        let fields = self.footer.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(root, _)| root);
        let mask = ProjectionMask::roots(parquet, roots);
        let chunks = self.metadata().row_group(group).columns().iter().enumerate();
        let ranges: Vec<_> = chunks
            .filter(|(leaf, _)| mask.leaf_included(*leaf))
            .map(|(_, chunk)| chunk.byte_range())
            .map(|(start, length)| start..start.saturating_add(length))
            .collect();
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(self.fetch(&ranges)?, self.footer.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS))
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Window, SinkError> {
        match &self.whole {
            Some(bytes) => Ok(Window { bytes_of_file: self.file.bytes, parts: vec![(0, bytes.clone())] }),
            None => self.lake.window(self.file, ranges),
        }
    }
}

impl Lake {
    fn window(&self, file: &FileEntry, ranges: &[Range<u64>]) -> Result<Window, SinkError> {
        let parts = self.store.get_ranges(&file.path, ranges)?;
        let parts = ranges.iter().map(|range| range.start).zip(parts).collect();
        Ok(Window { bytes_of_file: file.bytes, parts })
    }
}

fn footer(window: &Window) -> Result<ParquetMetaData, ParquetError> {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    reader.try_parse_sized(window, window.bytes_of_file)?;
    reader.finish()
}

/// Puts the columns in the order asked for, with NULL for those the file does not have.
pub(super) fn select(batch: &RecordBatch, file: &FileEntry, columns: &[&str]) -> Result<RecordBatch, ArrowError> {
    let known = schema::of(file.table, true);
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        if let Some((position, field)) = batch.schema_ref().column_with_name(column) {
            fields.push(field.clone());
            arrays.push(Arc::clone(batch.column(position)));
        } else {
            let field = known.field_with_name(column)?.clone().with_nullable(true);
            arrays.push(new_null_array(field.data_type(), batch.num_rows()));
            fields.push(field);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

/// Parts of a file that are in memory, by their place in it. What was not fetched cannot be read.
pub(super) struct Window {
    bytes_of_file: u64,
    parts: Vec<(u64, Bytes)>,
}

impl Window {
    /// From `start` to the end of the part it lies in.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        for (begin, bytes) in &self.parts {
            if let Some(skip) = start.checked_sub(*begin).filter(|skip| *skip < bytes.len() as u64) {
                return Ok(bytes.slice(skip as usize..));
            }
        }
        Err(ParquetError::NeedMoreData((self.bytes_of_file.saturating_sub(start)) as usize))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.bytes_of_file
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} reach beyond what belongs to them")));
        }
        Ok(bytes.slice(..length))
    }
}
