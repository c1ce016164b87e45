//! The lake: Parquet files in `<table>/date=<day>/`, made true by manifests in `_ct/manifests/`.
//!
//! Everything a run adds becomes visible in this order, and nobody but one writer gets through it:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | [`Lake::stage`]: put the files of manifest `n` under `_ct/staging/<job>/<n>/` | objects no manifest names; no reader looks there; [`Lake::recover`] deletes them |
//! | [`Lake::commit`]: put manifest `n` if there is none | a commit nobody sees yet; recovery publishes it |
//! | [`Lake::publish`], file by file: move it (local) or copy it (remote) to its table | whole files of a part of `n`, each row once; recovery does the rest, certificates before what refers to them |
//! | the same, remote only: delete the staged copies when all files are in place | objects that are also in their table; recovery deletes them |
//!
//! Manifest `n + 1` comes after all of this, so only the newest manifest can be unfinished, and a chain without a gap
//! is proof for the others. A published file is never written again with other bytes.
//!
//! Who writes: a local lake is locked by one job; on a remote lake the manifest decides, and who loses it stops. A
//! staged object belongs to whoever staged it until manifest `n` exists; only then may another job sweep it away.
//!
//! Rows without `seen` go to `date=__HIVE_DEFAULT_PARTITION__`, which readers of Hive folders take for NULL. Where it
//! is a table's only folder, DuckDB has no date to tell the column's type from: `hive_types = {'date': DATE}` does.
//!
//! Every method blocks; none may be called from a timely worker or from inside the runtime.

pub mod encode;
pub mod schema;

mod commit;
mod coverage;
mod entries;
mod known;
mod lock;
mod lookup;
mod manifests;
mod read;
mod recall;
mod verify;

use ct_model::Table;
use ct_model::time::Day;

pub use self::commit::Head;
pub use self::encode::{EncodeOptions, EncodedFile, encode};
pub use self::entries::{EntryRow, IssuanceRow};
pub use self::known::Known;
pub use self::lock::Lock;
pub use self::manifests::Manifests;
pub use self::verify::{Fault, Verified};
use crate::store::Store;

/// Never matched by `<table>/*/*.parquet`, and nothing in it has that ending either.
const STAGING: &str = "_ct/staging";

/// A handle to a lake; clones share the store.
#[derive(Clone)]
pub struct Lake {
    store: Store,
}

impl Lake {
    pub fn open(store: Store) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Where `part` of what `job` writes for manifest `sequence` waits.
fn staged_path(job: &str, sequence: u64, part: u32, table: Table, day: Option<Day>) -> String {
    let table = table.as_str();
    match day {
        Some(day) => format!("{STAGING}/{job}/{sequence:012}/{table}-{day}-{part:04}"),
        None => format!("{STAGING}/{job}/{sequence:012}/{table}-unknown-{part:04}"),
    }
}

/// The manifest that decides about a staged object; `None` for what no job staged.
fn staged_sequence(path: &str) -> Option<u64> {
    let (_job, rest) = path.strip_prefix(STAGING)?.strip_prefix('/')?.split_once('/')?;
    rest.split_once('/')?.0.parse().ok()
}

/// Where readers find it. The sequence number makes the name new: nothing published is ever replaced.
fn published_path(sequence: u64, part: u32, table: Table, day: Option<Day>) -> String {
    let table = table.as_str();
    match day {
        Some(day) => format!("{table}/date={day}/{sequence:012}-{part:04}.parquet"),
        None => format!("{table}/date=__HIVE_DEFAULT_PARTITION__/{sequence:012}-{part:04}.parquet"),
    }
}
