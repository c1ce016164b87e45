//! The journal's id: what tells a resume point in this journal from one in another that had the same directory.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::{JournalError, sync_dir};

const HEX_DIGITS: usize = 32;
/// Behind the id. Format 1 had nothing there, and marks whose check did not tell where they belong.
const FORMAT: &str = "format 2\n";

/// 128 random bits; shown as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalId(u128);

impl JournalId {
    /// Reads the id of the journal in `dir`; `None` when there is none yet.
    pub fn read(dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = dir.join("id");
        let mut text = Vec::new();
        match File::open(&path)
            .and_then(|file| file.take((HEX_DIGITS + FORMAT.len()) as u64 + 2).read_to_end(&mut text))
        {
            Ok(_) => match text.strip_suffix(FORMAT.as_bytes()) {
                Some(id) => Self::parse(id).map(Some).ok_or(JournalError::Id { path }),
                None if Self::parse(&text).is_some() => Err(JournalError::Format { path: dir.to_owned() }),
                None => Err(JournalError::Id { path }),
            },
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(JournalError::io("reading", &path)(source)),
        }
    }

    /// Reads the id, or makes it of `random` once and for all. For the holder of the lock.
    pub(super) fn read_or_create(dir: &Path, random: [u8; 16]) -> Result<Self, JournalError> {
        if let Some(id) = Self::read(dir)? {
            return Ok(id);
        }
        let id = Self::of(random);
        let (path, new) = (dir.join("id"), dir.join("id.new"));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(format!("{id}\n{FORMAT}").as_bytes())?;
            file.sync_all()
        });
        written.map_err(JournalError::io("writing", &new))?;
        fs::rename(&new, &path).and_then(|()| sync_dir(dir)).map_err(JournalError::io("writing", &path))?;
        Ok(id)
    }

    pub(super) fn of(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let id = u128::from_str_radix(std::str::from_utf8(text).ok()?.strip_suffix('\n')?, 16).map(Self).ok()?;
        // Signs, capitals and other lengths are not how an id is written.
        (format!("{id}\n").as_bytes() == text).then_some(id)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0HEX_DIGITS$x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<u128>) {
        assert_eq!(JournalId::parse(text.as_bytes()), want.map(JournalId));
    }

    #[test]
    fn ids() {
        check("00000000000000000000000000000a0b\n", Some(0xa0b));
        check("ffffffffffffffffffffffffffffffff\n", Some(u128::MAX));
        check("0000000000000000000000000000000A\n", None);
        check("+0000000000000000000000000000001\n", None);
        check("00000000000000000000000000000001", None);
        check("0000000000000000000000000000001\n", None);
        check("", None);
    }

    #[test]
    fn it_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(JournalId::read(dir.path()).unwrap(), None);
        let id = JournalId::read_or_create(dir.path(), [7; 16]).unwrap();
        assert_eq!(id.to_string(), "07".repeat(16));
        assert_eq!(JournalId::read_or_create(dir.path(), [8; 16]).unwrap(), id);
        let path = dir.path().join("id");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{id}\nformat 2\n"));
        for text in ["not an id", "format 2\n", &format!("{id}\nformat 3\n"), &format!("{id}\nformat 2\n\n")] {
            fs::write(&path, text).unwrap();
            assert!(matches!(JournalId::read_or_create(dir.path(), [8; 16]), Err(JournalError::Id { .. })), "{text}");
        }
        fs::write(&path, format!("{id}\n")).unwrap();
        assert!(matches!(JournalId::read_or_create(dir.path(), [8; 16]), Err(JournalError::Format { .. })));
    }
}
