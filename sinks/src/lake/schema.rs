//! The columns of the lake's six tables.
//!
//! Columns are only ever added, at the end, and never change their type: readers put files of all versions side by
//! side. Ids and hashes are lower-case hex text, because DuckDB 1.5 finds nothing in a binary column that has a bloom
//! filter. Times are microseconds in UTC without a zone, so that readers print them as they are. Numbers are BIGINT.
//! Unknown is NULL; a list is never NULL and has no NULL elements.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use ct_model::Table;

/// The schema of `table`; `der` is whether certificates carry their DER.
pub fn of(table: Table, der: bool) -> SchemaRef {
    static SCHEMAS: LazyLock<[SchemaRef; 7]> = LazyLock::new(|| {
        [certificates(false), certificates(true), entries(), findings(), rejected(), gaps(), coverage()].map(Arc::new)
    });
    let position = match table {
        Table::Certificates => usize::from(der),
        Table::Entries => 2,
        Table::Findings => 3,
        Table::Rejected => 4,
        Table::Gaps => 5,
        Table::Coverage => 6,
    };
    Arc::clone(&SCHEMAS[position])
}

fn certificates(der: bool) -> Schema {
    let mut fields = vec![
        text("id_kind").with_nullable(false),
        text("id").with_nullable(false),
        text("sha256"),
        text("sha1"),
        text("tbs_sha256"),
        text("spki_sha256"),
        text("kind"),
        text("serial"),
        text("issuer_dn"),
        text("issuer_cn"),
        text("issuer_org"),
        text("subject_dn"),
        text("subject_cn"),
        time("not_before"),
        time("not_after"),
        texts("names"),
        texts("registered_domains"),
        text("apex_rev"),
        texts("ips"),
        text("key_algorithm"),
        number("key_bits"),
        text("signature_algorithm"),
        flag("is_ca"),
        number("sct_count"),
        text("parse").with_nullable(false),
        text("parse_error"),
        number("der_bytes"),
        time("seen"),
        text("log"),
        number("log_index"),
        text("feed").with_nullable(false),
        texts("sct_logs"),
    ];
    if der {
        fields.push(Field::new("der", DataType::Binary, true));
    }
    Schema::new(fields)
}

fn entries() -> Schema {
    Schema::new(vec![
        text("log"),
        number("log_index"),
        text("kind"),
        text("id_kind").with_nullable(false),
        text("id").with_nullable(false),
        text("sha256"),
        time("submitted"),
        time("seen"),
        text("feed").with_nullable(false),
        flag("verified"),
    ])
}

fn findings() -> Schema {
    Schema::new(vec![
        text("id").with_nullable(false),
        text("module").with_nullable(false),
        text("check").with_nullable(false),
        text("severity").with_nullable(false),
        Field::new("score", DataType::Float64, true),
        text("name"),
        text("sha256"),
        text("tbs_sha256"),
        time("seen"),
        text("detail"),
        flag("once").with_nullable(false),
    ])
}

fn rejected() -> Schema {
    Schema::new(vec![
        text("feed").with_nullable(false),
        text("segment").with_nullable(false),
        number("line").with_nullable(false),
        number("offset").with_nullable(false),
        text("reason").with_nullable(false),
        text("detail"),
        time("seen"),
        Field::new("raw", DataType::Binary, false),
    ])
}

fn gaps() -> Schema {
    Schema::new(vec![
        text("feed").with_nullable(false),
        time("gap_from"),
        time("gap_to").with_nullable(false),
        text("reason").with_nullable(false),
        text("detail"),
    ])
}

fn coverage() -> Schema {
    Schema::new(vec![
        text("log").with_nullable(false),
        number("first").with_nullable(false),
        number("last").with_nullable(false),
        number("tree_size").with_nullable(false),
        text("root").with_nullable(false),
        time("head_at").with_nullable(false),
        flag("verified").with_nullable(false),
        text("feed").with_nullable(false),
    ])
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), true)
}

fn texts(name: &str) -> Field {
    Field::new(name, DataType::List(Arc::new(element())), false)
}

/// What the lists hold. The name is the one the Parquet format asks for.
pub(super) fn element() -> Field {
    Field::new("element", DataType::Utf8, false)
}
