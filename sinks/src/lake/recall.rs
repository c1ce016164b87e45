//! Reads certificates back for what remembers them: modules with a memory, after a start.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch, StringArray};
use ct_model::id::from_hex;
use ct_model::{CertId, CertRecord, EntryKind, ParseState, Table, Timestamp};

use super::Lake;
use crate::error::SinkError;

/// What is read back of a certificate; the rest of its record is unknown.
const COLUMNS: [&str; 18] = [
    "id_kind",
    "id",
    "sha256",
    "tbs_sha256",
    "spki_sha256",
    "kind",
    "issuer_dn",
    "issuer_cn",
    "issuer_org",
    "subject_cn",
    "names",
    "registered_domains",
    "key_algorithm",
    "key_bits",
    "not_before",
    "not_after",
    "seen",
    "feed",
];

impl Lake {
    /// Hands `part` of `parts` of the certificates to `each`, in batches of at most 4,096, until it breaks off: all that
    /// were seen at `since` or later or at an unknown time, and maybe some that were seen before. Of each record the
    /// columns above are there.
    ///
    /// Files are shared out as in [`Lake::known`].
    pub fn recall(
        &self,
        part: usize,
        parts: usize,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(Vec<CertRecord>) -> ControlFlow<()>,
    ) -> Result<(), SinkError> {
        let mut position = 0;
        for manifest in self.manifests()? {
            for file in manifest?.files.iter().filter(|file| file.table == Table::Certificates) {
                let within = since.is_none_or(|since| file.max_seen.is_none_or(|newest| newest >= since.0));
                if within && position % parts == part {
                    let mut read = |batch: RecordBatch| {
                        let damaged = || {
                            let what = "has a certificate that none was written as".to_owned();
                            SinkError::Damaged { path: file.path.clone(), what }
                        };
                        Ok(each(records(&batch).ok_or_else(damaged)?))
                    };
                    if self.scan_while(file, &COLUMNS, &mut read)?.is_break() {
                        return Ok(());
                    }
                }
                position += 1;
            }
        }
        Ok(())
    }
}

/// The rows of a batch of [`COLUMNS`]; `None` for what no version of this program wrote.
fn records(batch: &RecordBatch) -> Option<Vec<CertRecord>> {
    let column = |name: &str| {
        let position = COLUMNS.iter().position(|column| *column == name).expect("one of the columns read");
        batch.column(position)
    };
    let text = |name: &str| -> &StringArray { column(name).as_string() };
    let texts = ["issuer_dn", "issuer_cn", "issuer_org", "key_algorithm"].map(text);
    let mut shared = texts.map(Shared::new);
    let hashes = ["sha256", "tbs_sha256", "spki_sha256"].map(text);
    let times = ["not_before", "not_after", "seen"].map(|name| column(name).as_primitive::<TimestampMicrosecondType>());
    let [names, domains] = ["names", "registered_domains"].map(|name| column(name).as_list::<i32>());
    let (kinds, subject_cns, feeds) = (text("kind"), text("subject_cn"), text("feed"));
    let (id_kinds, ids, key_bits) = (text("id_kind"), text("id"), column("key_bits").as_primitive::<Int64Type>());
    let mut feed = Shared::new(feeds);
    let record = |row: usize| {
        let hash = |column: usize| match hashes[column].is_valid(row) {
            true => {
                let mut hash = [0; 32];
                from_hex(hashes[column].value(row), &mut hash).map(|()| Some(hash))
            }
            false => Some(None),
        };
        let time = |column: usize| times[column].is_valid(row).then(|| Timestamp(times[column].value(row)));
        let list = |lists: &arrow_array::ListArray| -> Vec<Box<str>> {
            let values = lists.value(row);
            let values: &StringArray = values.as_string();
            values.iter().flatten().map(Box::from).collect()
        };
        let [issuer_dn, issuer_cn, issuer_org, key_algorithm] = shared.each_mut().map(|column| column.get(row));
        Some(CertRecord {
            id: CertId::from_columns(id_kinds.value(row), ids.value(row))?,
            sha256: hash(0)?,
            sha1: None,
            tbs_sha256: hash(1)?,
            spki_sha256: hash(2)?,
            kind: match kinds.is_valid(row).then(|| kinds.value(row)) {
                None => None,
                Some("precert") => Some(EntryKind::Precert),
                Some("final") => Some(EntryKind::Final),
                Some(_) => return None,
            },
            serial: None,
            issuer_dn,
            issuer_cn,
            issuer_org,
            subject_dn: None,
            subject_cn: subject_cns.is_valid(row).then(|| subject_cns.value(row).into()),
            not_before: time(0),
            not_after: time(1),
            names: list(names),
            registered_domains: list(domains),
            ips: Vec::new(),
            key_algorithm,
            key_bits: match key_bits.is_valid(row) {
                true => Some(u32::try_from(key_bits.value(row)).ok()?),
                false => None,
            },
            signature_algorithm: None,
            is_ca: None,
            sct_count: None,
            scts: Vec::new(),
            parse: ParseState::Absent,
            parse_error: None,
            der_bytes: None,
            seen: time(2),
            log: None,
            log_index: None,
            feed: feed.get(row)?,
            der: None,
        })
    };
    (0..batch.num_rows()).map(record).collect()
}

/// A column whose values repeat from row to row.
struct Shared<'a> {
    values: &'a StringArray,
    last: Option<Arc<str>>,
}

impl<'a> Shared<'a> {
    const fn new(values: &'a StringArray) -> Self {
        Self { values, last: None }
    }

    fn get(&mut self, row: usize) -> Option<Arc<str>> {
        let value = self.values.is_valid(row).then(|| self.values.value(row))?;
        if self.last.as_deref() != Some(value) {
            self.last = Some(Arc::from(value));
        }
        self.last.clone()
    }
}
