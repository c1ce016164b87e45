//! What can go wrong in a sink.

use std::path::PathBuf;

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
    /// Another job committed to this lake.
    #[error("another job owns the lake: manifest {sequence} is not ours")]
    Fenced { sequence: u64 },
    #[error("hot state: {action}")]
    Hot { action: &'static str, source: redis::RedisError },
}
