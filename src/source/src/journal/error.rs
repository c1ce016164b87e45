//! What goes wrong with a journal, other than damage in a segment: that is an item, since reading goes on behind it.

use std::io;
use std::path::{Path, PathBuf};

/// Text of the system below is the `source`, never part of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("{}: another process writes this journal; stop it, or name another directory", path.display())]
    Locked { path: PathBuf },

    #[error("{}: is not a journal's id (32 hex digits); move the directory away to begin a new journal", path.display())]
    Id { path: PathBuf },

    #[error(
        "{}: an earlier version wrote this journal (format 1); publish what it has with that version, then move the \
         directory away to begin a new journal",
        path.display()
    )]
    Format { path: PathBuf },

    #[error("{}: {action} failed", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// The system may have dropped what it could not write, so that a second try would succeed without writing it.
    #[error(
        "{}: the system could not make it durable; what came after the last commit is lost, open the journal anew",
        path.display()
    )]
    Sync { path: PathBuf, source: io::Error },

    #[error("{}: an earlier error has closed this journal for writing; open it anew", path.display())]
    Poisoned { path: PathBuf },

    #[error("feed {feed}: a frame of {bytes} bytes is over the limit of {}", super::FRAME_BYTES_MAX)]
    Frame { feed: String, bytes: usize },

    #[error("a feed's name of {bytes} bytes is over the limit of {}", super::FEED_BYTES_MAX)]
    Feed { bytes: usize },

    #[error("segment {segment} was deleted before it was read")]
    Gone { segment: u32 },

    #[error("segment {segment} is the newest; it stays, so that no number is used twice")]
    Newest { segment: u32 },

    #[error("{}: all segment numbers are used; begin a new journal", path.display())]
    Numbers { path: PathBuf },
}

impl JournalError {
    /// Whether the same call can succeed later: the disk is full, or the user's share of it.
    pub fn retry(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Locked { .. }
            | Self::Id { .. }
            | Self::Format { .. }
            | Self::Sync { .. }
            | Self::Poisoned { .. }
            | Self::Frame { .. }
            | Self::Feed { .. }
            | Self::Gone { .. }
            | Self::Newest { .. }
            | Self::Numbers { .. } => false,
        }
    }

    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
