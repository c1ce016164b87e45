//! Rows of the lake as hot state shows them: a text for every column that is not NULL.
//!
//! Numbers are decimal, flags `true` and `false`, times RFC 3339 in UTC with microseconds, lists JSON. Both kinds of
//! hot state go through here, hence they give the same answers. Columns are taken as they come: one that a later
//! version of the lake adds shows without a change.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, TimeUnit};
use ct_model::Timestamp;
use serde_json::Value;

use crate::error::SinkError;

/// A row: its columns that are not NULL, as text.
pub type HotRow = BTreeMap<String, String>;

/// The columns of `certificates` that hot state shows: all but `der`, which is for the lake.
pub(crate) const CERTIFICATE_COLUMNS: &[&str] = &[
    "id_kind",
    "id",
    "sha256",
    "sha1",
    "tbs_sha256",
    "spki_sha256",
    "kind",
    "serial",
    "issuer_dn",
    "issuer_cn",
    "issuer_org",
    "subject_dn",
    "subject_cn",
    "not_before",
    "not_after",
    "names",
    "registered_domains",
    "apex_rev",
    "ips",
    "key_algorithm",
    "key_bits",
    "signature_algorithm",
    "is_ca",
    "sct_count",
    "parse",
    "parse_error",
    "der_bytes",
    "seen",
    "log",
    "log_index",
    "feed",
    "sct_logs",
];

pub(crate) const FINDING_COLUMNS: &[&str] =
    &["id", "module", "check", "severity", "score", "name", "sha256", "tbs_sha256", "seen", "detail"];

/// The value of a column as JSON: numbers, flags and lists in their own types, anything else a string.
pub fn json_of(column: &str, text: &str) -> Value {
    let typed = match column {
        "names" | "registered_domains" | "ips" | "sct_logs" | "key_bits" | "is_ca" | "sct_count" | "der_bytes"
        | "log_index" | "score" | "detail" => serde_json::from_str(text).ok(),
        _ => None,
    };
    typed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// One column of a batch, its type known.
enum Column<'a> {
    Text(&'a StringArray),
    Time(&'a TimestampMicrosecondArray),
    Flag(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt32(&'a UInt32Array),
    UInt64(&'a UInt64Array),
    Float(&'a Float64Array),
    List(&'a ListArray),
}

/// The columns of a batch, ready to be read row by row.
pub(crate) struct Cells<'a>(Vec<(&'a str, Column<'a>)>);

impl<'a> Cells<'a> {
    /// `path` is for the error of a column whose type is none of the lake's.
    pub(crate) fn of(batch: &'a RecordBatch, path: &str) -> Result<Self, SinkError> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let column = match field.data_type() {
                DataType::Utf8 => Column::Text(array.as_string()),
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    Column::Time(array.as_primitive::<TimestampMicrosecondType>())
                }
                DataType::Boolean => Column::Flag(array.as_boolean()),
                DataType::Int32 => Column::Int32(array.as_primitive::<Int32Type>()),
                DataType::Int64 => Column::Int64(array.as_primitive::<Int64Type>()),
                DataType::UInt32 => Column::UInt32(array.as_primitive::<UInt32Type>()),
                DataType::UInt64 => Column::UInt64(array.as_primitive::<UInt64Type>()),
                DataType::Float64 => Column::Float(array.as_primitive::<Float64Type>()),
                DataType::List(item) if *item.data_type() == DataType::Utf8 => Column::List(array.as_list()),
                DataType::Binary => continue,
                other => {
                    let what = format!("column {} is a {other}, which hot state cannot show", field.name());
                    return Err(SinkError::Damaged { path: path.to_owned(), what });
                }
            };
            columns.push((field.name().as_str(), column));
        }
        Ok(Self(columns))
    }

    /// Calls `each` with every column of `row` that is not NULL.
    pub(crate) fn for_each(&self, row: usize, scratch: &mut String, mut each: impl FnMut(&str, &str)) {
        for (name, column) in &self.0 {
            if let Some(text) = column.text(row, scratch) {
                each(name, text);
            }
        }
    }

    pub(crate) fn row(&self, row: usize) -> HotRow {
        let mut out = HotRow::new();
        self.for_each(row, &mut String::new(), |name, text| {
            out.insert(name.to_owned(), text.to_owned());
        });
        out
    }
}

impl Column<'_> {
    fn text<'b>(&'b self, row: usize, scratch: &'b mut String) -> Option<&'b str> {
        fn number(value: impl std::fmt::Display, scratch: &mut String) -> &str {
            scratch.clear();
            write!(scratch, "{value}").expect("a String takes any text");
            scratch
        }
        let array: &dyn Array = match self {
            Self::Text(array) => *array,
            Self::Time(array) => *array,
            Self::Flag(array) => *array,
            Self::Int32(array) => *array,
            Self::Int64(array) => *array,
            Self::UInt32(array) => *array,
            Self::UInt64(array) => *array,
            Self::Float(array) => *array,
            Self::List(array) => *array,
        };
        if array.is_null(row) {
            return None;
        }
        Some(match self {
            Self::Text(array) => array.value(row),
            Self::Time(array) => number(Timestamp(array.value(row)), scratch),
            Self::Flag(array) => number(array.value(row), scratch),
            Self::Int32(array) => number(array.value(row), scratch),
            Self::Int64(array) => number(array.value(row), scratch),
            Self::UInt32(array) => number(array.value(row), scratch),
            Self::UInt64(array) => number(array.value(row), scratch),
            Self::Float(array) => number(array.value(row), scratch),
            Self::List(array) => {
                list_json(array, row, scratch);
                scratch
            }
        })
    }
}

fn list_json(array: &ListArray, row: usize, out: &mut String) {
    out.clear();
    out.push('[');
    for (at, item) in list_items(array, row).enumerate() {
        if at > 0 {
            out.push(',');
        }
        json_string(item, out);
    }
    out.push(']');
}

/// RFC 8259 section 7: quote, backslash and the control characters are escaped, all else stands for itself.
fn json_string(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// The texts of a list cell; none when it is NULL.
pub(crate) fn list_items(array: &ListArray, row: usize) -> impl Iterator<Item = &str> + use<'_> {
    let offsets = array.value_offsets();
    let range = if array.is_null(row) { 0..0 } else { offsets[row] as usize..offsets[row + 1] as usize };
    let values = array.values().as_string::<i32>();
    range.filter(|&at| values.is_valid(at)).map(|at| values.value(at))
}

/// What hot state must know of every certificate, whatever else it shows.
pub(crate) struct CertificateKeys<'a> {
    sha256: Option<&'a StringArray>,
    id_kind: Option<&'a StringArray>,
    seen: Option<&'a TimestampMicrosecondArray>,
    registered_domains: Option<&'a ListArray>,
}

impl<'a> CertificateKeys<'a> {
    pub(crate) const COLUMNS: &'static [&'static str] = &["id_kind", "sha256", "registered_domains", "seen"];

    pub(crate) fn of(batch: &'a RecordBatch) -> Self {
        Self {
            sha256: text_column(batch, "sha256"),
            id_kind: text_column(batch, "id_kind"),
            seen: time_column(batch, "seen"),
            registered_domains: list_column(batch, "registered_domains"),
        }
    }

    /// Fingerprint and `seen` in milliseconds of a certificate that has both.
    pub(crate) fn key(&self, row: usize) -> Option<(&'a str, i64)> {
        let sha256 = self.sha256.filter(|array| array.is_valid(row))?.value(row);
        let seen = self.seen.filter(|array| array.is_valid(row))?.value(row);
        Some((sha256, Timestamp(seen).millis()))
    }

    pub(crate) fn id_kind(&self, row: usize) -> &'a str {
        self.id_kind.filter(|array| array.is_valid(row)).map_or("", |array| array.value(row))
    }

    pub(crate) fn domains(&self, row: usize) -> impl Iterator<Item = &'a str> {
        self.registered_domains.into_iter().flat_map(move |list| list_items(list, row))
    }
}

/// A list of texts.
pub(crate) fn list_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a ListArray> {
    let list = batch.column_by_name(name)?.as_list_opt::<i32>()?;
    (*list.values().data_type() == DataType::Utf8).then_some(list)
}

pub(crate) fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name)?.as_string_opt()
}

pub(crate) fn time_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a TimestampMicrosecondArray> {
    batch.column_by_name(name)?.as_primitive_opt()
}

/// How good an identity is, best first: a proof hides a claim of the same fingerprint.
pub(crate) fn kind_rank(id_kind: &str) -> u8 {
    ct_model::IdKind::from_name(id_kind).map_or(u8::MAX, |kind| kind as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(column: &str, text: &str, want: impl Into<Value>) {
        assert_eq!(json_of(column, text), want.into());
    }
    #[test]
    fn numbers_are_numbers() {
        check("key_bits", "2048", 2048);
    }
    #[test]
    fn a_serial_of_digits_stays_text() {
        check("serial", "1234", "1234");
    }
    #[test]
    fn lists_are_lists() {
        check("names", r#"["a.example","b\u0000"]"#, serde_json::json!(["a.example", "b\0"]));
    }
    #[test]
    fn what_is_not_json_stays_text() {
        check("detail", "{", "{");
    }

    #[test]
    fn no_column_is_left_out() {
        let names = |table| {
            let schema = crate::lake::schema::of(table, false);
            schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(ct_model::Table::Certificates), CERTIFICATE_COLUMNS);
        let findings = names(ct_model::Table::Findings);
        assert!(FINDING_COLUMNS.iter().all(|column| findings.iter().any(|name| name == column)));
    }

    #[test]
    fn hostile_text_is_json() {
        for text in ["", "plain", "\"\\", "\0\r\n\u{1b}[31m", "\u{202e}\u{1f600}", "</script>"] {
            let mut out = String::new();
            json_string(text, &mut out);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
