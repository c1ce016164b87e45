//! The stored bytes of a segment, wherever they lie.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::objects::{Object, Stores};
use crate::segments::Segment;

/// An opened segment. It has the bytes it had when the plan was made, even if a file has grown since.
pub(crate) struct Stored<'a> {
    segment: &'a Segment,
    place: Place,
}

enum Place {
    File(File),
    Object(Object),
}

impl<'a> Stored<'a> {
    pub(crate) fn open(segment: &'a Segment, stores: &Stores) -> io::Result<Self> {
        // A file's name is an absolute path, which no URL is.
        let place = if segment.name.starts_with('/') {
            Place::File(File::open(&segment.name)?)
        } else {
            Place::Object(stores.locate(&segment.name).map_err(io::Error::other)?)
        };
        Ok(Self { segment, place })
    }

    /// Reads from `offset` on. An object is asked for `window` bytes at a time.
    pub(crate) fn read_from(&self, offset: u64, window: u64) -> io::Result<Box<dyn Read + '_>> {
        let left = self.segment.bytes.saturating_sub(offset);
        match &self.place {
            Place::File(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file.take(left)))
            }
            Place::Object(object) => Ok(Box::new(object.read(self.segment, offset, window))),
        }
    }
}

/// Stands in for an input that could not be opened: all it gives is why.
pub(crate) struct Unopened(Option<io::Error>);

impl Unopened {
    pub(crate) fn new(why: io::Error) -> Self {
        Self(Some(why))
    }
}

impl Read for Unopened {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
