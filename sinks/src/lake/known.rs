//! Reads back what a new run must know: every certificate, entry, rejected message, statement of coverage and once-only
//! finding of the lake.

use std::ops::ControlFlow;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, StringArray};
use ct_model::id::{from_hex, log_digest};
use ct_model::{Age, CertId, EntryPlace, Horizon, Key, Table};

use super::{Lake, coverage};
use crate::error::SinkError;
use crate::manifest::FileEntry;

/// One thing the lake has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Certificate(Key),
    /// An entry of a known log and index; `tag` is [`CertId::tag`].
    Entry {
        place: EntryPlace,
        tag: u32,
    },
    /// An entry whose log or index is unknown.
    Unplaced(Key),
    /// A rejected message, a statement of coverage, or a finding that is reported once.
    Other(Key),
}

impl Lake {
    /// Hands `part` of `parts` of everything known to `each`, in batches of at most 4,096, until it breaks off. With each
    /// batch comes its generation: 0, or with `within` a horizon and the age now, that of the manifest it is from.
    ///
    /// What lies beyond the horizon is not read.
    ///
    /// File `i` of the lake belongs to part `i % parts`, so all parts together read everything once. Memory is bounded
    /// by a few columns of one row group. Call [`Lake::recover`] before: all files of the newest manifest must be there.
    pub fn known(
        &self,
        part: usize,
        parts: usize,
        within: Option<(Horizon, Age)>,
        each: &mut dyn FnMut(u32, Vec<Known>) -> ControlFlow<()>,
    ) -> Result<(), SinkError> {
        let mut position = 0;
        for manifest in self.manifests()? {
            let manifest = manifest?;
            let generation = within.map_or(0, |(horizon, _)| horizon.generation(manifest.age));
            if within.is_some_and(|(horizon, now)| horizon.is_beyond(manifest.age, now)) {
                continue;
            }
            for file in manifest.files {
                if !columns(file.table).is_empty() && position % parts == part {
                    let mut read = |batch: RecordBatch| {
                        let known = match file.table {
                            Table::Certificates => certificates(&batch),
                            Table::Entries => entries(&batch),
                            Table::Findings => findings(&batch),
                            Table::Rejected => Some(rejected(&batch)),
                            Table::Gaps => Some(Vec::new()),
                            Table::Coverage => stretches(&batch),
                        };
                        let known = known.ok_or_else(|| not_an_id(&file))?;
                        Ok(if known.is_empty() { ControlFlow::Continue(()) } else { each(generation, known) })
                    };
                    if self.scan_while(&file, columns(file.table), &mut read)?.is_break() {
                        return Ok(());
                    }
                }
                position += 1;
            }
        }
        Ok(())
    }
}

const fn columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Certificates => &["id_kind", "id"],
        Table::Entries => &["log", "log_index", "id_kind", "id"],
        Table::Findings => &["id", "once"],
        Table::Rejected => &["feed", "segment", "offset", "raw"],
        // A gap is noted once, where the journal has it.
        Table::Gaps => &[],
        Table::Coverage => coverage::COLUMNS,
    }
}

fn not_an_id(file: &FileEntry) -> SinkError {
    SinkError::Damaged { path: file.path.clone(), what: "has an id that is none".to_owned() }
}

fn certificates(batch: &RecordBatch) -> Option<Vec<Known>> {
    let ids = ids(batch.column(0).as_string(), batch.column(1).as_string());
    ids.map(|id| Some(Known::Certificate(id?.key()))).collect()
}

fn entries(batch: &RecordBatch) -> Option<Vec<Known>> {
    let logs: &StringArray = batch.column(0).as_string();
    let indexes = batch.column(1).as_primitive::<Int64Type>();
    let ids = ids(batch.column(2).as_string(), batch.column(3).as_string());
    // Rows are sorted by log.
    let mut digest_of = (None, 0);
    logs.iter()
        .zip(indexes)
        .zip(ids)
        .map(|((log, index), id)| {
            let id = id?;
            let (Some(log), Some(index)) = (log, index.and_then(|index| u64::try_from(index).ok())) else {
                return Some(Known::Unplaced(Key::unplaced(log.unwrap_or(""), &id)));
            };
            if digest_of.0 != Some(log) {
                digest_of = (Some(log), log_digest(log));
            }
            Some(Known::Entry { place: EntryPlace { log: digest_of.1, index }, tag: id.tag() })
        })
        .collect()
}

fn findings(batch: &RecordBatch) -> Option<Vec<Known>> {
    let ids: &StringArray = batch.column(0).as_string();
    let once = batch.column(1).as_boolean();
    let ids = ids.iter().zip(once).filter(|(_, once)| *once == Some(true)).map(|(id, _)| {
        let mut bytes = [0; 16];
        from_hex(id?, &mut bytes)?;
        Some(Known::Other(Key::finding(&bytes)))
    });
    ids.collect()
}

fn rejected(batch: &RecordBatch) -> Vec<Known> {
    let feeds: &StringArray = batch.column(0).as_string();
    let segments: &StringArray = batch.column(1).as_string();
    let offsets = batch.column(2).as_primitive::<Int64Type>();
    let raws = batch.column(3).as_binary::<i32>();
    (0..batch.num_rows())
        .map(|row| {
            // Written from an offset that fits.
            let offset = offsets.value(row).cast_unsigned();
            Known::Other(Key::rejected(feeds.value(row), segments.value(row), offset, raws.value(row)))
        })
        .collect()
}

fn stretches(batch: &RecordBatch) -> Option<Vec<Known>> {
    Some(coverage::rows(batch)?.iter().map(|row| Known::Other(Key::coverage(row))).collect())
}

/// The ids of two columns; `None` for a pair that no version of this program wrote.
pub(super) fn ids<'a>(kinds: &'a StringArray, ids: &'a StringArray) -> impl Iterator<Item = Option<CertId>> + use<'a> {
    kinds.iter().zip(ids).map(|(kind, id)| CertId::from_columns(kind?, id?))
}
