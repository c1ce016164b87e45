//! The input of a replay: an ordered list of segments, made from arguments.
//!
//! The list is made once and sent to every process, so that all of them mean the same bytes by the same position.

use std::collections::HashSet;
use std::path::Path;

use ct_model::ctlog::list;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::error::SourceError;
use crate::logs::{LogSource, archive};
use crate::objects::Stores;
use crate::{files, objects};

/// One immutable file or object of messages, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// An absolute path, or the URL of an object.
    pub name: String,
    /// As stored. What a file has beyond it, or gains later, is not part of the segment.
    pub bytes: u64,
    pub encoding: Encoding,
    /// Changes when the content does: modification time and size of a file, ETag of an object.
    pub version: String,
    /// The log that it is of, or a stretch of.
    pub log: Option<LogSource>,
}

/// How the text of a segment is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Plain,
    Gzip,
    Zstd,
    /// A folder with the tiles of a static log.
    Tiles,
    /// A folder with answers of an RFC 6962 log.
    Pages,
    /// The log itself.
    Remote,
}

impl Encoding {
    /// A reader of logs makes the text, see [`crate::logs`].
    pub const fn is_of_logs(self) -> bool {
        matches!(self, Self::Tiles | Self::Pages | Self::Remote)
    }

    /// As many bytes of a segment's beginning as are looked at.
    pub(crate) const HEAD_BYTES: u64 = 4 << 10;

    /// By content, since names lie; `None` when `head` begins neither text nor a known compression.
    pub(crate) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            // RFC 1952 section 2.3.1
            [0x1f, 0x8b, ..] => return Some(Self::Gzip),
            // RFC 8878 sections 3.1.1 and 3.1.2: a frame, or a skippable frame before it
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Some(Self::Zstd),
            _ => {}
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        // Past the beginning of a JSON value, stray bytes spoil their line, not the segment.
        let json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
        let binary = |byte: &u8| matches!(byte, 0..0x20 | 0x7f) && !byte.is_ascii_whitespace();
        (json || !head.iter().any(binary)).then_some(Self::Plain)
    }
}

/// Lists the segments that `args` name: files, directories, globs, URLs of objects, of prefixes and of globs. A folder
/// that is the archive of a log is one segment; what `logs` signed in it is believed.
///
/// Arguments come in their order, what one names by name; what is named twice comes once, at its first place.
/// Blocks, so it must not be called from inside the runtime.
pub fn expand(args: &[String], logs: &[list::Log], runtime: &Handle) -> Result<Vec<Segment>, SourceError> {
    let stores = Stores::new(runtime.clone());
    let mut segments = Vec::new();
    let mut seen = HashSet::new();
    for arg in args {
        let scheme = arg.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let found = match scheme.as_deref() {
            None => files::find(arg)?,
            Some("file") => files::find(&files::path_of_url(arg)?)?,
            Some(scheme) if objects::SCHEMES.contains(&scheme) => {
                segments.extend(objects::find(arg, &stores)?.into_iter().filter(|s| seen.insert(s.name.clone())));
                continue;
            }
            Some(scheme) => {
                let why = format!("unknown scheme \"{scheme}\"; known are file, {}", objects::SCHEMES.join(", "));
                return Err(SourceError::Url { url: arg.clone(), why });
            }
        };
        for name in found {
            if seen.insert(files::identity(&name)?) {
                segments.push(match archive::detect(Path::new(&name)) {
                    Some(encoding) => archive::examine(Path::new(&name), encoding, logs)?,
                    None => files::examine(name)?,
                });
            }
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], want: Option<Encoding>) {
        assert_eq!(Encoding::detect(head), want);
    }

    #[test]
    fn empty_is_text() {
        check(b"", Some(Encoding::Plain));
        check(b"\xef\xbb\xbf", Some(Encoding::Plain));
    }

    #[test]
    fn json_is_text() {
        check(b"\r\n\t {\"a\":1}\n", Some(Encoding::Plain));
        check(b"\xef\xbb\xbf{\"a\":1}\n\0\0\0", Some(Encoding::Plain));
        check(b"hello {\n", Some(Encoding::Plain));
    }

    #[test]
    fn compressed() {
        check(b"\x1f\x8b\x08", Some(Encoding::Gzip));
        check(b"\x28\xb5\x2f\xfd\x00", Some(Encoding::Zstd));
        check(b"\x53\x2a\x4d\x18\x00", Some(Encoding::Zstd));
    }

    #[test]
    fn binary() {
        check(b"PAR1\x15\x04", None);
        check(b"\x7fELF", None);
        check(b"\xff\xfe{\0\"\0", None);
        check(b"BZh91AY&SY\x00", None);
        check(b"\x1f", None);
    }

    #[test]
    fn form_on_the_wire() {
        let segment =
            Segment { name: "/a".to_owned(), bytes: 3, encoding: Encoding::Zstd, version: "1-3".to_owned(), log: None };
        let json = r#"{"name":"/a","bytes":3,"encoding":"zstd","version":"1-3","log":null}"#;
        assert_eq!(serde_json::to_string(&segment).unwrap(), json);
        assert_eq!(serde_json::from_str::<Segment>(json).unwrap(), segment);
    }
}
