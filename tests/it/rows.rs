//! The rows of a lake as text, in an order that is theirs alone.

use std::path::Path;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use ct_model::Table;
use ct_sinks::Store;
use ct_sinks::lake::{Lake, schema};
use ct_sinks::manifest::Manifest;
use tokio::runtime::Runtime;

/// A handle to a local lake, with the runtime it needs.
pub(crate) struct Reader {
    pub(crate) lake: Lake,
    _runtime: Runtime,
}

impl Reader {
    pub(crate) fn open(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = Store::open(folder.to_str().unwrap(), runtime.handle().clone()).unwrap();
        Self { lake: Lake::open(store), _runtime: runtime }
    }

    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        self.lake.manifests().unwrap().map(Result::unwrap).collect()
    }

    /// The rows of a table, sorted: its folder, then each column as `name=value`.
    pub(crate) fn rows(&self, table: Table, without: &[&str]) -> Vec<String> {
        let schema = schema::of(table, false);
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let columns: Vec<&str> = columns.filter(|column| !without.contains(column)).collect();
        let mut rows = Vec::new();
        for file in self.manifests().iter().flat_map(|manifest| &manifest.files).filter(|file| file.table == table) {
            let folder = file.path.rsplit_once('/').unwrap().0;
            let mut each = |batch: arrow_array::RecordBatch| {
                for row in 0..batch.num_rows() {
                    let values = columns.iter().zip(batch.columns());
                    let values = values.map(|(name, values)| format!(" {name}={}", text(values, row)));
                    rows.push(values.fold(folder.to_owned(), |line, value| line + &value));
                }
                Ok(())
            };
            self.lake.scan(file, &columns, &mut each).unwrap();
        }
        rows.sort_unstable();
        rows
    }
}

/// The rows of all tables of the lake in `folder`.
pub(crate) fn rows_of(folder: &Path) -> Vec<String> {
    rows_without(folder, &[])
}

/// The same but for some columns.
pub(crate) fn rows_without(folder: &Path, columns: &[&str]) -> Vec<String> {
    let reader = Reader::open(folder);
    Table::ALL.into_iter().flat_map(|table| reader.rows(table, columns)).collect()
}

/// Compares two lists of rows, and shows the first that only one of them has.
#[track_caller]
pub(crate) fn assert_same(got: &[String], want: &[String], what: &str) {
    let missing = want.iter().find(|row| got.binary_search(row).is_err());
    let surplus = got.iter().find(|row| want.binary_search(row).is_err());
    let (is, should) = (got.len(), want.len());
    assert!(got == want, "{what}: {is} rows, {should} wanted; missing: {missing:?}; too much: {surplus:?}");
}

fn text(values: &dyn Array, row: usize) -> String {
    if values.is_null(row) {
        "NULL".to_owned()
    } else if let Some(values) = values.as_string_opt::<i32>() {
        format!("{:?}", values.value(row))
    } else if let Some(values) = values.as_primitive_opt::<Int64Type>() {
        values.value(row).to_string()
    } else if let Some(values) = values.as_primitive_opt::<TimestampMicrosecondType>() {
        values.value(row).to_string()
    } else if let Some(values) = values.as_primitive_opt::<Float64Type>() {
        values.value(row).to_string()
    } else if let Some(values) = values.as_boolean_opt() {
        values.value(row).to_string()
    } else if let Some(values) = values.as_binary_opt::<i32>() {
        values.value(row).escape_ascii().to_string()
    } else if let Some(lists) = values.as_list_opt::<i32>() {
        let list = lists.value(row);
        format!("{:?}", (0..list.len()).map(|item| text(&list, item)).collect::<Vec<_>>())
    } else {
        panic!("no text for {}", values.data_type())
    }
}
