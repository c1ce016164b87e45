//! What goes wrong with logs.

use std::io;
use std::path::PathBuf;

/// What a log, or the way to it, did. Texts of logs are escaped and bounded.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{url}: {why}")]
    Url { url: String, why: String },
    #[error("the contact has characters that no header may have")]
    Contact,
    #[error("reading {path}")]
    Ca { path: PathBuf, source: io::Error },
    #[error("preparing to speak HTTP")]
    Client { source: reqwest::Error },
    #[error("asking {url}")]
    Request { url: String, source: reqwest::Error },
    #[error("{url} answers with status {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers with more than {bytes_max} bytes")]
    TooLarge { url: String, bytes_max: usize },
    #[error("{url} is not gzip throughout")]
    Gzip { url: String, source: io::Error },
    #[error("{url} does not exist")]
    Absent { url: String },
    /// It came whole, and is not what it should be.
    #[error("{url}: {why}")]
    Answer { url: String, why: String },
    /// The log contradicts itself or what it signed: evidence, to be kept and told.
    #[error("{log}: {why}")]
    Proof { log: String, why: String },
    #[error("log list: {why}")]
    List { why: String },
    #[error("reading the log list {place}")]
    ListFile { place: String, source: io::Error },
    #[error("starting a thread")]
    Thread { source: io::Error },
}

impl LogError {
    /// The same request may be answered another time.
    pub fn retry(&self) -> bool {
        match self {
            Self::Request { source, .. } => !source.is_redirect() && !source.is_builder(),
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            Self::Gzip { .. } => true,
            _ => false,
        }
    }
}
