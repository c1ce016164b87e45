//! Turns rows into Parquet files in memory: pure computation, on whatever thread calls it.
//!
//! The same rows give the same bytes, in whatever order they come: a file is sorted by what identifies its rows, and
//! its metadata holds no clock and no random name. Rows are grouped by the UTC day of `seen`, because that is the
//! folder they go to. Sorting moves indices, not rows, and one row group at a time exists as Arrow arrays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use ct_model::id::to_hex;
use ct_model::time::Day;
use ct_model::{CertRecord, Coverage, EntryKind, EntryRecord, Finding, Gap, Rejected, Rows, Table, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use super::schema;
use crate::error::SinkError;

/// Rows in a row group: what a look-up by id or domain reads.
const GROUP_ROWS: usize = 30_720;
/// Rows that are columns at a time on their way into a group: what they take besides the rows stays in the cache.
const BATCH_ROWS: usize = 1_024;
/// Fewer where a row holds up to 4 KiB of a message.
const GROUP_ROWS_REJECTED: usize = 4_096;
/// Rows in a page, for readers that use the page index.
const PAGE_ROWS: usize = 10_240;
const ZSTD_LEVEL: i32 = 3;
const ZSTD_LEVEL_HASHES: i32 = 1;
/// Share of look-ups for an absent id that read a row group in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

#[derive(Clone, Debug, Default)]
pub struct EncodeOptions {
    /// Certificates carry their DER.
    pub der: bool,
}

/// A Parquet file that is not yet anywhere.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    pub table: Table,
    /// The UTC day all its rows were seen; `None` for rows without `seen`.
    pub day: Option<Day>,
    pub bytes: Bytes,
    pub rows: u64,
    pub sha256: [u8; 32],
    pub min_seen: Option<Timestamp>,
    pub max_seen: Option<Timestamp>,
}

/// Encodes `rows` as one file for each table and day they have.
///
/// Rows of equal identity (which deduplication lets nobody pass) stay in the order they came.
pub fn encode(rows: Rows, options: &EncodeOptions) -> Result<Vec<EncodedFile>, SinkError> {
    let Rows { certificates, entries, findings, rejected, gaps, coverage } = rows;
    let mut files = Vec::new();
    encode_table(&certificates, options, &mut files)?;
    // Rows are several times the size of their files.
    drop(certificates);
    encode_table(&entries, options, &mut files)?;
    drop(entries);
    encode_table(&findings, options, &mut files)?;
    encode_table(&rejected, options, &mut files)?;
    encode_table(&gaps, options, &mut files)?;
    encode_table(&coverage, options, &mut files)?;
    Ok(files)
}

/// Rows as columns, in their order, without their DER.
pub(crate) fn certificates_batch(rows: &[CertRecord]) -> RecordBatch {
    batch_of(rows)
}

pub(crate) fn findings_batch(rows: &[Finding]) -> RecordBatch {
    batch_of(rows)
}

fn batch_of<R: Row>(rows: &[R]) -> RecordBatch {
    let schema = schema::of(R::TABLE, false);
    let mut columns = R::columns(rows.len());
    let options = EncodeOptions { der: false };
    rows.iter().for_each(|row| row.append(&mut columns, &options));
    let mut arrays = R::finish(columns);
    arrays.truncate(schema.fields().len());
    RecordBatch::try_new(schema, arrays).expect("the columns are those of the table")
}

fn encode_table<R: Row>(rows: &[R], options: &EncodeOptions, files: &mut Vec<EncodedFile>) -> Result<(), SinkError> {
    let mut days: BTreeMap<Option<Day>, Vec<usize>> = BTreeMap::new();
    for (position, row) in rows.iter().enumerate() {
        days.entry(row.seen().map(Timestamp::day)).or_default().push(position);
    }
    for (day, mut order) in days {
        R::sort(rows, &mut order);
        let file = encode_file(rows, &order, day, options);
        files.push(file.map_err(|source| SinkError::Encode { table: R::TABLE.as_str(), source })?);
    }
    Ok(())
}

fn encode_file<R: Row>(
    rows: &[R],
    order: &[usize],
    day: Option<Day>,
    options: &EncodeOptions,
) -> Result<EncodedFile, ParquetError> {
    let schema = schema::of(R::TABLE, options.der);
    let writer_options = ArrowWriterOptions::new()
        .with_properties(properties(R::TABLE))
        .with_schema_root(R::TABLE.as_str().to_owned())
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), writer_options)?;
    for batch in order.chunks(BATCH_ROWS) {
        let mut columns = R::columns(batch.len());
        for &position in batch {
            rows[position].append(&mut columns, options);
        }
        let mut arrays = R::finish(columns);
        // The last column of certificates is optional.
        arrays.truncate(schema.fields().len());
        writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
    }
    let bytes = Bytes::from(writer.into_inner()?);
    let seen = || order.iter().filter_map(|&position| rows[position].seen());
    Ok(EncodedFile {
        table: R::TABLE,
        day,
        rows: order.len() as u64,
        sha256: Sha256::digest(&bytes).into(),
        bytes,
        min_seen: seen().min(),
        max_seen: seen().max(),
    })
}

const fn group_rows(table: Table) -> usize {
    match table {
        Table::Rejected => GROUP_ROWS_REJECTED,
        _ => GROUP_ROWS,
    }
}

fn properties(table: Table) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has this level");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(group_rows(table)))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page);
    // Never one on a binary column: DuckDB 1.5 would find nothing there.
    let blooms: &[&str] = match table {
        Table::Certificates => &["sha256", "id", "apex_rev"],
        Table::Entries => &["id"],
        Table::Findings => &["sha256"],
        Table::Rejected | Table::Gaps | Table::Coverage => &[],
    };
    for column in blooms {
        let column = ColumnPath::from(*column);
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(column, group_rows(table) as u64);
    }
    // Digits of hashes repeat nowhere, so what helps is to keep their lengths apart. A higher level searches in vain:
    // the same size for twice the time of the whole file.
    let level = ZstdLevel::try_new(ZSTD_LEVEL_HASHES).expect("zstd has this level");
    for column in ["id", "sha256", "sha1", "tbs_sha256", "spki_sha256", "serial"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_compression(ColumnPath::from(column), Compression::ZSTD(level));
    }
    // A dictionary of values that rarely repeat, or repeat next to each other, is work for nothing.
    for column in ["apex_rev", "subject_dn", "subject_cn", "detail"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    for column in ["names", "registered_domains"] {
        let column = ColumnPath::from([column, "list", "element"].map(str::to_owned).to_vec());
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    for column in ["log_index", "seen", "submitted", "line", "offset"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
    }
    for column in ["der", "raw"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None);
    }
    properties.build()
}

/// A row of a table, and how it becomes columns.
trait Row: Sized {
    const TABLE: Table;
    type Columns;

    fn seen(&self) -> Option<Timestamp>;
    fn columns(rows: usize) -> Self::Columns;
    /// Puts positions in `rows` into file order.
    fn sort(rows: &[Self], order: &mut [usize]);
    fn append(&self, columns: &mut Self::Columns, options: &EncodeOptions);
    fn finish(columns: Self::Columns) -> Vec<ArrayRef>;
}

/// A struct of builders, one for each column, and the arrays they make, in that order. A number is the usual length of
/// a value, to reserve.
macro_rules! columns {
    ($name:ident { $($column:ident: $kind:ident $(($bytes:literal))?),* $(,)? }) => {
        struct $name {
            $($column: $kind,)*
        }

        impl $name {
            fn with_rows(rows: usize) -> Self {
                Self { $($column: $kind::with_rows(rows $(, $bytes)?),)* }
            }

            fn finish(mut self) -> Vec<ArrayRef> {
                vec![$(ArrayBuilder::finish(&mut self.$column.0),)*]
            }
        }
    };
}

columns!(CertificateColumns {
    id_kind: Text(4),
    id: Text(64),
    sha256: Text(64),
    sha1: Text(40),
    tbs_sha256: Text(64),
    spki_sha256: Text(64),
    kind: Text(7),
    serial: Text(36),
    issuer_dn: Text(64),
    issuer_cn: Text(24),
    issuer_org: Text(24),
    subject_dn: Text(32),
    subject_cn: Text(24),
    not_before: Time,
    not_after: Time,
    names: Texts(64),
    registered_domains: Texts(24),
    apex_rev: Text(20),
    ips: Texts(0),
    key_algorithm: Text(3),
    key_bits: Number,
    signature_algorithm: Text(24),
    is_ca: Flag,
    sct_count: Number,
    parse: Text(2),
    parse_error: Text(0),
    der_bytes: Number,
    seen: Time,
    log: Text(24),
    log_index: Number,
    feed: Text(12),
    sct_logs: Texts(128),
    der: Blob(0),
});

columns!(EntryColumns {
    log: Text(24),
    log_index: Number,
    kind: Text(7),
    id_kind: Text(4),
    id: Text(64),
    sha256: Text(64),
    submitted: Time,
    seen: Time,
    feed: Text(12),
    verified: Flag,
});

columns!(FindingColumns {
    id: Text(64),
    module: Text(12),
    check: Text(16),
    severity: Text(8),
    score: Real,
    name: Text(24),
    sha256: Text(64),
    tbs_sha256: Text(64),
    seen: Time,
    detail: Text(64),
    once: Flag,
});

columns!(RejectedColumns {
    feed: Text(12),
    segment: Text(24),
    line: Number,
    offset: Number,
    reason: Text(12),
    detail: Text(64),
    seen: Time,
    raw: Blob(256),
});

columns!(CoverageColumns {
    log: Text(24),
    first: Number,
    last: Number,
    tree_size: Number,
    root: Text(64),
    head_at: Time,
    verified: Flag,
    feed: Text(12),
});

columns!(GapColumns { feed: Text(12), gap_from: Time, gap_to: Time, reason: Text(12), detail: Text(64) });

impl Row for CertRecord {
    const TABLE: Table = Table::Certificates;
    type Columns = CertificateColumns;

    fn columns(rows: usize) -> CertificateColumns {
        CertificateColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// By registered domain, labels reversed, those without one last; then by identity.
    fn sort(rows: &[Self], order: &mut [usize]) {
        struct Key {
            /// The first bytes of the domain, which decide most comparisons without a look at the text.
            head: u128,
            start: usize,
            end: usize,
            position: usize,
        }
        let mut text = String::new();
        let mut keys: Vec<Key> = Vec::with_capacity(order.len());
        for &position in &*order {
            let start = text.len();
            // Text never begins with 0xff, so this is after all of it.
            let mut head = [0xff; 16];
            if let Some(domain) = apex(&rows[position]) {
                write_reversed(domain, &mut text);
                let reversed = &text.as_bytes()[start..];
                let length = reversed.len().min(head.len());
                head = [0; 16];
                head[..length].copy_from_slice(&reversed[..length]);
            }
            keys.push(Key { head: u128::from_be_bytes(head), start, end: text.len(), position });
        }
        keys.sort_by(|a, b| {
            a.head
                .cmp(&b.head)
                .then_with(|| text[a.start..a.end].cmp(&text[b.start..b.end]))
                .then_with(|| rows[a.position].id.cmp(&rows[b.position].id))
        });
        for (slot, key) in order.iter_mut().zip(keys) {
            *slot = key.position;
        }
    }

    fn append(&self, columns: &mut CertificateColumns, options: &EncodeOptions) {
        columns.id_kind.append(self.id.kind.as_str());
        columns.id.append_hex(Some(self.id.bytes()));
        columns.sha256.append_hex(self.sha256.as_ref());
        columns.sha1.append_hex(self.sha1.as_ref());
        columns.tbs_sha256.append_hex(self.tbs_sha256.as_ref());
        columns.spki_sha256.append_hex(self.spki_sha256.as_ref());
        columns.kind.append_known(self.kind.map(EntryKind::as_str));
        columns.serial.append_known(self.serial.as_deref());
        columns.issuer_dn.append_known(self.issuer_dn.as_deref());
        columns.issuer_cn.append_known(self.issuer_cn.as_deref());
        columns.issuer_org.append_known(self.issuer_org.as_deref());
        columns.subject_dn.append_known(self.subject_dn.as_deref());
        columns.subject_cn.append_known(self.subject_cn.as_deref());
        columns.not_before.append(self.not_before);
        columns.not_after.append(self.not_after);
        columns.names.append(&self.names);
        columns.registered_domains.append(&self.registered_domains);
        columns.apex_rev.append_apex_rev(apex(self));
        columns.ips.append(&self.ips);
        columns.key_algorithm.append_known(self.key_algorithm.as_deref());
        columns.key_bits.append(self.key_bits.map(u64::from));
        columns.signature_algorithm.append_known(self.signature_algorithm.as_deref());
        columns.is_ca.0.append_option(self.is_ca);
        columns.sct_count.append(self.sct_count.map(u64::from));
        columns.parse.append(self.parse.as_str());
        columns.parse_error.append_known(self.parse_error.as_deref());
        columns.der_bytes.append(self.der_bytes.map(u64::from));
        columns.seen.append(self.seen);
        columns.log.append_known(self.log.as_deref());
        columns.log_index.append(self.log_index);
        columns.feed.append(&self.feed);
        columns.sct_logs.append_hex(self.scts.iter().map(|sct| &sct.log_id));
        if options.der {
            columns.der.0.append_option(self.der.as_deref());
        }
    }

    fn finish(columns: CertificateColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

impl Row for EntryRecord {
    const TABLE: Table = Table::Entries;
    type Columns = EntryColumns;

    fn columns(rows: usize) -> EntryColumns {
        EntryColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// By log, index and certificate; unknown logs and indexes last.
    fn sort(rows: &[Self], order: &mut [usize]) {
        // There are few logs: compare their ranks, not their names.
        let names: BTreeSet<&str> = order.iter().filter_map(|&position| rows[position].log.as_deref()).collect();
        let ranks: HashMap<&str, usize> = names.into_iter().zip(0..).collect();
        let rank = |row: &Self| row.log.as_deref().and_then(|log| ranks.get(log)).copied().unwrap_or(usize::MAX);
        let mut keys: Vec<(usize, u64, usize)> = order
            .iter()
            .map(|&position| (rank(&rows[position]), rows[position].log_index.unwrap_or(u64::MAX), position))
            .collect();
        keys.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| (&rows[a.2].id, a.2).cmp(&(&rows[b.2].id, b.2)))
        });
        for (slot, (_, _, position)) in order.iter_mut().zip(keys) {
            *slot = position;
        }
    }

    fn append(&self, columns: &mut EntryColumns, _: &EncodeOptions) {
        columns.log.append_known(self.log.as_deref());
        columns.log_index.append(self.log_index);
        columns.kind.append_known(self.kind.map(EntryKind::as_str));
        columns.id_kind.append(self.id.kind.as_str());
        columns.id.append_hex(Some(self.id.bytes()));
        columns.sha256.append_hex(self.sha256.as_ref());
        columns.submitted.append(self.submitted);
        columns.seen.append(self.seen);
        columns.feed.append(&self.feed);
        columns.verified.0.append_option(None);
    }

    fn finish(columns: EntryColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

impl Row for Finding {
    const TABLE: Table = Table::Findings;
    type Columns = FindingColumns;

    fn columns(rows: usize) -> FindingColumns {
        FindingColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    fn sort(rows: &[Self], order: &mut [usize]) {
        order.sort_by(|&a, &b| rows[a].id.cmp(&rows[b].id));
    }

    fn append(&self, columns: &mut FindingColumns, _: &EncodeOptions) {
        columns.id.append_hex(Some(self.id));
        columns.module.append(&self.module);
        columns.check.append(&self.check);
        columns.severity.append(self.severity.as_str());
        columns.score.0.append_option(self.score);
        columns.name.append_known(self.name.as_deref());
        columns.sha256.append_hex(self.sha256.as_ref());
        columns.tbs_sha256.append_hex(self.tbs_sha256.as_ref());
        columns.seen.append(self.seen);
        columns.detail.append_known(Some(&self.detail));
        columns.once.0.append_option(Some(self.once));
    }

    fn finish(columns: FindingColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

impl Row for Rejected {
    const TABLE: Table = Table::Rejected;
    type Columns = RejectedColumns;

    fn columns(rows: usize) -> RejectedColumns {
        RejectedColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    fn sort(rows: &[Self], order: &mut [usize]) {
        fn key(row: &Rejected) -> (&str, u64, u64, &str) {
            (&row.segment, row.line, row.offset, &row.feed)
        }
        order.sort_by(|&a, &b| key(&rows[a]).cmp(&key(&rows[b])));
    }

    fn append(&self, columns: &mut RejectedColumns, _: &EncodeOptions) {
        columns.feed.append(&self.feed);
        columns.segment.append(&self.segment);
        columns.line.append_place(self.line);
        columns.offset.append_place(self.offset);
        columns.reason.append(self.reason);
        columns.detail.append_known(Some(&self.detail));
        columns.seen.append(self.seen);
        columns.raw.0.append_option(Some(&self.raw));
    }

    fn finish(columns: RejectedColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

impl Row for Gap {
    const TABLE: Table = Table::Gaps;
    type Columns = GapColumns;

    fn columns(rows: usize) -> GapColumns {
        GapColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        Some(self.to)
    }

    fn sort(rows: &[Self], order: &mut [usize]) {
        order.sort_by(|&a, &b| (rows[a].to, &rows[a].feed).cmp(&(rows[b].to, &rows[b].feed)));
    }

    fn append(&self, columns: &mut GapColumns, _: &EncodeOptions) {
        columns.feed.append(&self.feed);
        columns.gap_from.append(self.from);
        columns.gap_to.append(Some(self.to));
        columns.reason.append(&self.reason);
        columns.detail.append_known(Some(&self.detail));
    }

    fn finish(columns: GapColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

impl Row for Coverage {
    const TABLE: Table = Table::Coverage;
    type Columns = CoverageColumns;

    fn columns(rows: usize) -> CoverageColumns {
        CoverageColumns::with_rows(rows)
    }

    fn seen(&self) -> Option<Timestamp> {
        Some(self.head_at)
    }

    fn sort(rows: &[Self], order: &mut [usize]) {
        fn key(row: &Coverage) -> (&str, u64, u64, u64, &[u8]) {
            (&row.log, row.first, row.last, row.tree_size, &row.root)
        }
        order.sort_by(|&a, &b| key(&rows[a]).cmp(&key(&rows[b])));
    }

    fn append(&self, columns: &mut CoverageColumns, _: &EncodeOptions) {
        columns.log.append(&self.log);
        columns.first.append_place(self.first);
        columns.last.append_place(self.last);
        columns.tree_size.append_place(self.tree_size);
        columns.root.append_hex(Some(&self.root));
        columns.head_at.append(Some(self.head_at));
        columns.verified.0.append_value(self.verified);
        columns.feed.append(&self.feed);
    }

    fn finish(columns: CoverageColumns) -> Vec<ArrayRef> {
        columns.finish()
    }
}

struct Text(StringBuilder);

impl Text {
    fn with_rows(rows: usize, bytes: usize) -> Self {
        Self(StringBuilder::with_capacity(rows, rows * bytes))
    }

    fn append(&mut self, text: &str) {
        self.0.append_value(text);
    }

    /// Empty text means unknown.
    fn append_known(&mut self, text: Option<&str>) {
        self.0.append_option(text.filter(|text| !text.is_empty()));
    }

    fn append_hex<B: AsRef<[u8]>>(&mut self, bytes: Option<B>) {
        let Some(bytes) = bytes else { return self.0.append_null() };
        let mut digits = [0; 64];
        let pairs = digits.as_chunks_mut::<2>().0;
        let mut length = 0;
        for (pair, byte) in pairs.iter_mut().zip(bytes.as_ref()) {
            *pair = HEX_OF_BYTE[usize::from(*byte)];
            length += 2;
        }
        self.0.append_value(str::from_utf8(&digits[..length]).expect("hex digits are ASCII"));
    }

    fn append_apex_rev(&mut self, domain: Option<&str>) {
        match domain {
            Some(domain) => {
                write_reversed(domain, &mut self.0);
                self.0.append_value("");
            }
            None => self.0.append_null(),
        }
    }
}

struct Number(Int64Builder);

impl Number {
    fn with_rows(rows: usize) -> Self {
        Self(Int64Builder::with_capacity(rows))
    }
}

impl Number {
    /// What BIGINT cannot hold is unknown.
    fn append(&mut self, number: Option<u64>) {
        self.0.append_option(number.and_then(|number| i64::try_from(number).ok()));
    }

    /// A place in a segment, which no file system lets grow beyond BIGINT.
    fn append_place(&mut self, place: u64) {
        self.0.append_value(i64::try_from(place).unwrap_or(i64::MAX));
    }
}

struct Time(TimestampMicrosecondBuilder);

impl Time {
    fn with_rows(rows: usize) -> Self {
        Self(TimestampMicrosecondBuilder::with_capacity(rows))
    }
}

impl Time {
    fn append(&mut self, time: Option<Timestamp>) {
        self.0.append_option(time.map(|time| time.0));
    }
}

struct Real(Float64Builder);

impl Real {
    fn with_rows(rows: usize) -> Self {
        Self(Float64Builder::with_capacity(rows))
    }
}

struct Flag(BooleanBuilder);

impl Flag {
    fn with_rows(rows: usize) -> Self {
        Self(BooleanBuilder::with_capacity(rows))
    }
}

struct Blob(BinaryBuilder);

impl Blob {
    fn with_rows(rows: usize, bytes: usize) -> Self {
        Self(BinaryBuilder::with_capacity(rows, rows * bytes))
    }
}

struct Texts(ListBuilder<StringBuilder>);

impl Texts {
    fn with_rows(rows: usize, bytes: usize) -> Self {
        let texts = StringBuilder::with_capacity(rows, rows * bytes);
        Self(ListBuilder::with_capacity(texts, rows).with_field(schema::element()))
    }

    fn append_hex<'a>(&mut self, hashes: impl Iterator<Item = &'a [u8; 32]>) {
        hashes.for_each(|hash| self.0.values().append_value(to_hex(hash)));
        self.0.append(true);
    }

    fn append(&mut self, texts: &[Box<str>]) {
        for text in texts {
            self.0.values().append_value(text);
        }
        self.0.append(true);
    }
}

/// The registered domain that a certificate is filed under.
fn apex(row: &CertRecord) -> Option<&str> {
    row.registered_domains.first().map(|domain| &**domain).filter(|domain| !domain.is_empty())
}

/// Writes `com.example` for `example.com`.
fn write_reversed(name: &str, out: &mut impl fmt::Write) {
    let mut dot = "";
    for label in name.rsplit('.') {
        // Both strings and string builders grow as needed.
        let written = out.write_str(dot).and_then(|()| out.write_str(label));
        written.expect("memory takes all that is written to it");
        dot = ".";
    }
}

const HEX_OF_BYTE: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};
