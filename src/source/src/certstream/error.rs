//! What goes wrong before a feed is connected to: its options. A message is one line that names the feed and the way out.

use std::io;
use std::path::PathBuf;

use super::Reason;

/// Why a single attempt to connect failed; one line, escaped and bounded, without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{detail} ({})", reason.as_str())]
pub struct NoConnection {
    pub reason: Reason,
    pub detail: String,
}

/// Why a feed's options are refused. Never holds a header's value, nor the query or the credentials of a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    #[error("feed {feed}: url {url}: {why}")]
    Url { feed: String, url: String, why: String },

    #[error("feed {feed}: {url} sends everything as plain text; use wss://, or set allow_plaintext for this feed")]
    Plaintext { feed: String, url: String },

    #[error("feed {feed}: bad header {name}: {why}")]
    Header { feed: String, name: String, why: &'static str },

    #[error("feed {feed}: {key} is not allowed: {why}")]
    Limit { feed: String, key: &'static str, why: &'static str },

    #[error("feed {feed}: ca_file: reading the certificates in {} failed; it must hold PEM certificates", path.display())]
    CaFile { feed: String, path: PathBuf, source: io::Error },

    #[error("feed {feed}: this system has no root certificates; install them (ca-certificates) or set ca_file")]
    NoRoots { feed: String },

    #[error("feed {feed}: TLS could not be set up")]
    Tls { feed: String, source: rustls::Error },
}
