//! The newest part of the lake, row by row, for whoever computes over a window of event time.
//!
//! A [`Window`] follows the manifests in order, as an applier does, and lives up to the same horizon. Of files it reads
//! only those in which something was seen within the window.

use arrow_array::cast::AsArray;
use arrow_array::{Array, Int64Array, RecordBatch, StringArray};
use ct_model::id::from_hex;
use ct_model::{CertId, EntryKind, Table, Timestamp};

use crate::error::SinkError;
use crate::hot::horizon::Calendar;
use crate::hot::row::{list_column, list_items, text_column, time_column};
use crate::lake::Lake;
use crate::manifest::{FileEntry, Manifest};

const CERTIFICATE_COLUMNS: &[&str] = &[
    "id_kind",
    "id",
    "kind",
    "tbs_sha256",
    "issuer_org",
    "issuer_cn",
    "key_algorithm",
    "key_bits",
    "registered_domains",
    "names",
    "seen",
];
const ENTRY_COLUMNS: &[&str] = &["log", "seen"];

/// A row within the window.
pub enum WindowRow<'a> {
    Certificate(CertificateRow<'a>),
    Entry { seen_ms: i64, log: &'a str },
}

/// A row of `certificates` that has a `seen` and an id.
pub struct CertificateRow<'a> {
    columns: &'a Columns<'a>,
    row: usize,
    pub seen_ms: i64,
    pub id: CertId,
}

struct Columns<'a> {
    batch: &'a RecordBatch,
    id_kind: Option<&'a StringArray>,
    id: Option<&'a StringArray>,
    key_bits: Option<&'a Int64Array>,
}

impl<'a> CertificateRow<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        text_at(text_column(self.columns.batch, column), self.row)
    }

    fn list(&self, column: &str) -> impl Iterator<Item = &'a str> {
        let row = self.row;
        list_column(self.columns.batch, column).into_iter().flat_map(move |list| list_items(list, row))
    }

    pub fn kind(&self) -> Option<EntryKind> {
        [EntryKind::Precert, EntryKind::Final].into_iter().find(|kind| self.text("kind") == Some(kind.as_str()))
    }

    pub fn tbs_sha256(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        from_hex(self.text("tbs_sha256")?, &mut bytes).map(|()| bytes)
    }

    /// Organisation, else common name.
    pub fn issuer(&self) -> Option<&'a str> {
        self.text("issuer_org").or_else(|| self.text("issuer_cn"))
    }

    pub fn key_algorithm(&self) -> Option<&'a str> {
        self.text("key_algorithm")
    }

    pub fn key_bits(&self) -> Option<i64> {
        self.columns.key_bits.filter(|array| array.is_valid(self.row)).map(|array| array.value(self.row))
    }

    pub fn registered_domains(&self) -> impl Iterator<Item = &'a str> {
        self.list("registered_domains")
    }

    /// None where the window was opened without names.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.list("names")
    }
}

fn text_at(array: Option<&StringArray>, row: usize) -> Option<&str> {
    array.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

/// How far a window has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowState {
    /// The lake's id; empty while it has no manifest.
    pub lake: String,
    /// The newest manifest read, 0 for none.
    pub published: u64,
    /// Milliseconds; `None` while nothing has a `seen`.
    pub horizon_ms: Option<i64>,
}

/// Follows the manifests of a lake.
pub struct Window {
    lake: Lake,
    span_ms: i64,
    names: bool,
    calendar: Calendar,
    state: WindowState,
}

impl Window {
    /// `span_ms`: how far it reaches back from the horizon. `names`: whether names are read too.
    pub fn new(lake: Lake, span_ms: i64, names: bool) -> Self {
        Self { lake, span_ms, names, calendar: Calendar::default(), state: WindowState::default() }
    }

    pub fn state(&self) -> &WindowState {
        &self.state
    }

    /// Hands over what the manifests up to `newest` add, within the window that they make. `false` when the horizon
    /// went back, as it may in a small lake: what was left out before belongs into the window now, and only a new one
    /// has it all. After an error too.
    pub fn read(&mut self, newest: u64, each: &mut dyn FnMut(WindowRow<'_>)) -> Result<bool, SinkError> {
        let mut lake = std::mem::take(&mut self.state.lake);
        for sequence in self.calendar.through + 1..=newest {
            let manifest = self.manifest(sequence)?;
            self.calendar.add(&manifest);
            lake = manifest.lake;
        }
        let horizon_ms = self.calendar.horizon_ms();
        if self.state.horizon_ms > horizon_ms {
            return Ok(false);
        }
        let expired_ms = horizon_ms.map_or(i64::MIN, |horizon_ms| horizon_ms.saturating_sub(self.span_ms));
        let is_live = |seen: Option<i64>| seen.is_some_and(|seen| Timestamp(seen).millis() > expired_ms);
        let is_read =
            |file: &FileEntry| matches!(file.table, Table::Certificates | Table::Entries) && is_live(file.max_seen);
        // A lake may have years of files, and only those of the window are kept in mind: newest first.
        let mut files: Vec<FileEntry> = Vec::new();
        for sequence in (self.state.published + 1..=newest).rev() {
            let manifest = self.manifest(sequence)?;
            // Everything up to here has expired.
            if !is_live(manifest.newest_seen) {
                break;
            }
            files.extend(manifest.files.into_iter().rev().filter(is_read));
        }
        for file in files.iter().rev() {
            self.scan(file, expired_ms, each)?;
        }
        self.state = WindowState { lake, published: newest.max(self.state.published), horizon_ms };
        Ok(true)
    }

    fn manifest(&self, sequence: u64) -> Result<Manifest, SinkError> {
        Manifest::decode(&self.lake.store().get(&Manifest::path(sequence))?, sequence)
    }

    fn scan(&self, file: &FileEntry, expired_ms: i64, each: &mut dyn FnMut(WindowRow<'_>)) -> Result<(), SinkError> {
        let is_entries = file.table == Table::Entries;
        let columns = if is_entries { ENTRY_COLUMNS } else { CERTIFICATE_COLUMNS };
        let columns: Vec<_> = columns.iter().copied().filter(|column| self.names || *column != "names").collect();
        self.lake.scan(file, &columns, &mut |batch| {
            let seen = time_column(&batch, "seen");
            let seen_at = |row| {
                let seen = seen.filter(|array| array.is_valid(row)).map(|array| Timestamp(array.value(row)).millis());
                seen.filter(|seen_ms| *seen_ms > expired_ms)
            };
            if is_entries {
                let log = text_column(&batch, "log");
                for row in 0..batch.num_rows() {
                    if let (Some(seen_ms), Some(log)) = (seen_at(row), text_at(log, row)) {
                        each(WindowRow::Entry { seen_ms, log });
                    }
                }
                return Ok(());
            }
            let columns = Columns {
                batch: &batch,
                id_kind: text_column(&batch, "id_kind"),
                id: text_column(&batch, "id"),
                key_bits: batch.column_by_name("key_bits").and_then(|array| array.as_primitive_opt()),
            };
            for row in 0..batch.num_rows() {
                let id = || CertId::from_columns(text_at(columns.id_kind, row)?, text_at(columns.id, row)?);
                if let (Some(seen_ms), Some(id)) = (seen_at(row), id()) {
                    each(WindowRow::Certificate(CertificateRow { columns: &columns, row, seen_ms, id }));
                }
            }
            Ok(())
        })
    }
}
