//! What can go wrong in a sink.
//!
//! A variant says what was being done and where; the cause is its `source` and is not repeated in its text.

use std::path::PathBuf;

use ct_model::Table;

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The URL of a lake or of hot state cannot be used; `why` names the way out.
    #[error("{url}: {why}")]
    Url { url: String, why: String },
    #[error("{action} {path}")]
    Store { action: &'static str, path: String, source: object_store::Error },
    #[error("{action} {path}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("encoding a file of {table}")]
    Encode { table: &'static str, source: parquet::errors::ParquetError },
    #[error("reading {path}")]
    Read { path: String, source: parquet::errors::ParquetError },
    /// Something in the lake is not what its manifest says.
    #[error("{path}: {what}")]
    Damaged { path: String, what: String },
    /// Written by a later version of this program. Nothing was touched.
    #[error("{path} has format {format}, this version reads up to {known}: use a newer version for this lake")]
    NewerFormat { path: String, format: u32, known: u32 },
    /// The lake can perhaps be read, but no job can work on it.
    #[error("the lake {url} cannot be written to")]
    NotWritable { url: String, source: Box<SinkError> },
    /// Another job on this machine works on the lake.
    #[error("another job is writing to this lake ({path} is locked)")]
    Locked { path: PathBuf },
    /// Another job committed to this lake.
    #[error("another job owns the lake: manifest {sequence} is not ours")]
    Fenced { sequence: u64 },
    #[error("hot state: {action}")]
    Hot { action: &'static str, source: redis::RedisError },
}

impl SinkError {
    /// Another job owns the lake: this one must stop and write nothing more.
    pub const fn is_fenced(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Fenced { .. })
    }

    /// Something of the lake is gone, or is not what its manifests say: `verify` can tell all that is wrong.
    pub fn is_damage(&self) -> bool {
        // Embedded hot state says itself what to do.
        let is_of_lake = |path: &str| !path.starts_with("_ct/hot/");
        let is_in_table = |path: &str| Table::ALL.iter().any(|table| path.starts_with(&format!("{}/", table.as_str())));
        match self {
            Self::Damaged { path, .. } => is_of_lake(path),
            Self::Read { .. } => true,
            Self::Store { path, source: object_store::Error::NotFound { .. }, .. } => is_in_table(path),
            _ => false,
        }
    }

    /// Whether the same call can succeed later without anybody's help, or after space or a connection came back.
    ///
    /// Every operation of a sink may be repeated, also when the failed try took effect and only its answer was lost.
    pub fn retry(&self) -> bool {
        use object_store::Error as E;
        match self {
            Self::Store { source, .. } => !matches!(
                source,
                E::NotFound { .. }
                    | E::InvalidPath { .. }
                    | E::NotSupported { .. }
                    | E::NotImplemented { .. }
                    | E::PermissionDenied { .. }
                    | E::Unauthenticated { .. }
                    | E::UnknownConfigurationKey { .. }
            ),
            Self::File { .. } | Self::Hot { .. } => true,
            _ => false,
        }
    }
}
