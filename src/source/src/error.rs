//! What goes wrong before and while segments are read. A message is one line that names the place and the way out.

use std::io;

/// Text of the store or system below is the `source`, never part of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    #[error("{}: no such file or directory; name a file, a directory, a quoted glob or a URL", shown(path))]
    Missing { path: String },

    #[error("{}: no such object; end the URL with \"/\" to read every segment below it", shown(url))]
    NoObject { url: String },

    #[error(
        "{}: no segment below it; looked for names ending in .jsonl, .ndjson or .json, also with .gz, .zst or .zstd",
        shown(place)
    )]
    NoSegments { place: String },

    #[error("{}: the pattern matches nothing", shown(pattern))]
    NoMatch { pattern: String },

    #[error("{}: bad pattern ({why}); put [ ] around a character to mean itself", shown(pattern))]
    Pattern { pattern: String, why: String },

    #[error("{}: is not a segment: neither JSON text nor gzip nor zstd", shown(name))]
    NotASegment { name: String },

    #[error("{}: is not a regular file; write the stream to a file first, since a restart reads it again", shown(path))]
    NotAFile { path: String },

    #[error("{}: the name is not UTF-8; rename it", shown(path))]
    NotUtf8 { path: String },

    #[error("{}: bad URL: {why}", shown(url))]
    Url { url: String, why: String },

    #[error("{}: {action} failed; check that this user may read it", shown(path))]
    File { action: &'static str, path: String, source: io::Error },

    #[error("{}: {action} failed; check its credentials and endpoint in the environment", shown(url))]
    Object { action: &'static str, url: String, source: object_store::Error },

    #[error("the logs cannot be asked")]
    Logs { source: crate::logs::LogError },

    #[error("a reader could not be started; allow this user more threads")]
    Thread { source: io::Error },

    /// A panic: the message of it is on stderr.
    #[error("the reader of worker {worker} died; what it had not delivered is unread")]
    ReaderDied { worker: usize },
}

impl SourceError {
    /// Whether the arguments are at fault, and not the reading.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::NoObject { .. }
            | Self::NoSegments { .. }
            | Self::NoMatch { .. }
            | Self::Pattern { .. }
            | Self::NotASegment { .. }
            | Self::NotAFile { .. }
            | Self::NotUtf8 { .. }
            | Self::Url { .. } => true,
            Self::File { .. }
            | Self::Object { .. }
            | Self::Logs { .. }
            | Self::Thread { .. }
            | Self::ReaderDied { .. } => false,
        }
    }

    pub(crate) fn file(action: &'static str, path: &str, source: io::Error) -> Self {
        match source.kind() {
            // The last two: an empty or impossible name.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename => Self::Missing { path: path.to_owned() },
            _ => Self::File { action, path: path.to_owned(), source },
        }
    }

    pub(crate) fn object(action: &'static str, url: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::NoObject { url: url.to_owned() },
            source => Self::Object { action, url: url.to_owned(), source },
        }
    }
}

/// A name from outside, fit for a terminal and for one line.
fn shown(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let error = SourceError::Missing { path: "a\u{1b}[2J\nb".to_owned() };
        assert!(error.to_string().starts_with("a\\u{1b}[2J\\nb: no such file"), "{error}");
    }

    #[test]
    fn a_forbidden_file_is_no_usage_error() {
        let denied = SourceError::file("opening", "a", io::ErrorKind::PermissionDenied.into());
        assert!(!denied.is_usage());
        assert!(SourceError::file("opening", "a", io::ErrorKind::NotFound.into()).is_usage());
    }
}
