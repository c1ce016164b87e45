//! Lines that are made as they are read.

use std::io::{self, Read};

/// What makes the next lines, and how many stored bytes they were made of; `None` is the end.
type Make = Box<dyn FnMut() -> io::Result<Option<(Vec<u8>, u64)>> + Send>;

pub(crate) struct Lines {
    make: Make,
    lines: Vec<u8>,
    at: usize,
    stored: u64,
}

impl Lines {
    pub(crate) fn new(make: impl FnMut() -> io::Result<Option<(Vec<u8>, u64)>> + Send + 'static) -> Self {
        Self { make: Box::new(make), lines: Vec::new(), at: 0, stored: 0 }
    }

    /// Stored bytes that became lines so far.
    pub(crate) fn stored_read(&self) -> u64 {
        self.stored
    }
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.lines.len() {
            let Some((lines, stored)) = (self.make)()? else { return Ok(0) };
            (self.lines, self.at) = (lines, 0);
            self.stored += stored;
        }
        let count = out.len().min(self.lines.len() - self.at);
        out[..count].copy_from_slice(&self.lines[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
