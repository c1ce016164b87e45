//! How a text is cut into chunks: by position, whole lines only, in bounded memory.
//!
//! Chunk `c` has the lines that *start* at offsets `c * chunk_bytes ..(c + 1) * chunk_bytes` of the text. A long line makes
//! the chunks it runs across empty, so chunk numbers have no gaps: a text of `n` bytes has `max(1, ceil(n / chunk_bytes))`.
//! The cut depends on nothing but the text, so positions mean the same for every encoding, reader and restart.

use std::fmt;
use std::io::Read;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use crate::buffers::{Buffer, Buffers};

/// The text one timestamp stands for.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// A line longer than this is not held in memory.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// What is kept of such a line.
pub const OVERLONG_HEAD_BYTES: usize = 4 << 10;

/// How much is read at a time while the end of a line is looked for.
const PIECE_BYTES: u64 = 64 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The lines that start in one stretch of a segment's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Position of the segment in the list.
    pub segment: u32,
    pub chunk: u32,
    /// Of `text[0]` in the text of the segment; of the stretch when `text` is empty.
    pub offset: u64,
    /// Whole lines with their line ends; only the last line of a segment may lack its own.
    pub text: Bytes,
    /// The line after `text`, when it was too long to be in it. No other line of the chunk can be that long.
    pub overlong: Option<Overlong>,
    /// No line starts behind this chunk.
    pub last: bool,
    /// Why lines are missing behind `text`: from here to the end of the segment, or (plain) of the chunk.
    pub broken: Option<String>,
    /// Stored bytes this chunk accounts for. Over all chunks they add up to the size of the segment.
    pub stored_bytes: u64,
}

/// A line of more than [`LINE_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlong {
    /// Of its first byte in the text of the segment.
    pub offset: u64,
    /// Its first [`OVERLONG_HEAD_BYTES`].
    pub head: Vec<u8>,
}

/// Short enough for a log: the text is only measured.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("segment", &self.segment)
            .field("chunk", &self.chunk)
            .field("offset", &self.offset)
            .field("text_bytes", &self.text.len())
            .field("overlong", &self.overlong.as_ref().map(|line| line.offset))
            .field("last", &self.last)
            .field("broken", &self.broken)
            .field("stored_bytes", &self.stored_bytes)
            .finish()
    }
}

/// The sizes of the cut. They are part of what a position means: one lake, one chunk size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    chunk_bytes: u64,
    line_bytes_max: usize,
}

impl Sizes {
    /// # Panics
    /// When a chunk is empty or longer than the longest line: an overlong line is always the last of its chunk.
    pub fn new(chunk_bytes: u64, line_bytes_max: usize) -> Self {
        assert!(0 < chunk_bytes && chunk_bytes <= line_bytes_max as u64, "0 < chunk_bytes <= line_bytes_max");
        Self { chunk_bytes, line_bytes_max }
    }

    /// Where the stretch of a chunk begins.
    pub(crate) fn start(self, chunk: u32) -> u64 {
        u64::from(chunk).saturating_mul(self.chunk_bytes)
    }

    /// Where reading begins: the byte before the stretch tells whether a line starts with it.
    pub(crate) fn first_byte(self, chunk: u32) -> u64 {
        self.start(chunk).saturating_sub(1)
    }

    /// Where the stretch of a chunk ends.
    pub(crate) fn end(self, chunk: u32) -> u64 {
        self.start(chunk).saturating_add(self.chunk_bytes)
    }

    /// How many chunks a text of `bytes` has.
    pub(crate) fn chunks(self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(self.chunk_bytes)).unwrap_or(u32::MAX).max(1)
    }

    /// As much as a chunk usually needs to be read: the byte before it, itself, and the rest of its last line.
    pub(crate) fn window(self) -> u64 {
        1 + self.chunk_bytes + self.piece()
    }

    fn piece(self) -> u64 {
        PIECE_BYTES.min(self.chunk_bytes)
    }

    /// Buffers for the chunks of one reader.
    pub(crate) fn buffers(self) -> Buffers {
        // Twice a window: buffers grow by doubling.
        Buffers::new(2 * self.window() as usize)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::new(CHUNK_BYTES, LINE_BYTES_MAX)
    }
}

/// Cuts what `input` reads. `segment` and `stored_bytes` of its chunks are left 0 for the caller to fill in.
///
/// Holds at most one chunk, one line of `line_bytes_max` and one piece.
/// An input that breaks off ends the text with its last whole line: half a line is no line.
pub(crate) struct Splitter<R> {
    input: R,
    sizes: Sizes,
    /// Of the whole text, where it is known beforehand.
    length: Option<u64>,
    /// The chunk to be cut next; `None` after the last.
    next: Option<u32>,
    /// Of `buffer[0]` in the text.
    at: u64,
    /// Read, and not part of a chunk so far.
    buffer: Buffer,
    buffers: Buffers,
    /// `buffer` begins inside a line that belongs to an earlier chunk.
    inside_line: bool,
    end: Option<End>,
}

enum End {
    Complete,
    Broken(String),
}

impl<R: Read> Splitter<R> {
    /// A text of unknown length, from its beginning.
    pub(crate) fn stream(input: R, sizes: Sizes, buffers: Buffers) -> Self {
        let buffer = buffers.take();
        Self { input, sizes, length: None, next: Some(0), at: 0, buffer, buffers, inside_line: false, end: None }
    }

    /// A text of `length` bytes, from chunk `chunk` on. `input` must begin at [`Sizes::first_byte`].
    ///
    /// It breaks where `input` ends before `length`, and goes on behind it for whoever reads other chunks.
    pub(crate) fn at(chunk: u32, length: u64, input: R, sizes: Sizes, buffers: Buffers) -> Self {
        Self {
            length: Some(length),
            next: Some(chunk),
            at: sizes.first_byte(chunk),
            inside_line: chunk > 0,
            ..Self::stream(input, sizes, buffers)
        }
    }

    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// The next chunk; `None` after the last.
    pub(crate) fn cut(&mut self) -> Option<Chunk> {
        let chunk = self.next?;
        let end = self.sizes.end(chunk);
        self.leave_line(end);
        let (mut offset, mut text, mut overlong) = (self.at, Bytes::new(), None);
        if !self.inside_line && self.at < end {
            (text, overlong) = self.take_lines(end);
        }
        if chunk == 0 {
            offset += text.split_to(bom_bytes(&text)).len() as u64;
            if let Some(line) = overlong.as_mut().filter(|line| line.offset == 0) {
                line.offset += line.head.drain(..bom_bytes(&line.head)).len() as u64;
            }
        }
        if text.is_empty() {
            offset = self.sizes.start(chunk);
        }

        let mut last = !self.reaches_beyond(end);
        let mut broken = match &self.end {
            Some(End::Broken(why)) if last || self.length.is_some() => Some(why.clone()),
            _ => None,
        };
        if chunk == u32::MAX - 1 && !last {
            last = true;
            broken = Some("it has more than 2^32 chunks".to_owned());
        }
        self.next = if last { None } else { Some(chunk + 1) };
        Some(Chunk { segment: 0, chunk, offset, text, overlong, last, broken, stored_bytes: 0 })
    }

    /// Skips the rest of a line that started earlier, as far as it lies before `end`.
    fn leave_line(&mut self, end: u64) {
        while self.inside_line {
            if let Some(newline) = memchr(b'\n', &self.buffer) {
                self.buffer.drain(..=newline);
                self.at += newline as u64 + 1;
                self.inside_line = false;
                return;
            }
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
            if self.at > end || !self.read(self.sizes.piece()) {
                return;
            }
        }
    }

    /// Takes the lines that start before `end`, which lies behind `at`.
    fn take_lines(&mut self, end: u64) -> (Bytes, Option<Overlong>) {
        let within = (end - self.at) as usize;
        self.reserve(within as u64 + self.sizes.piece());
        while self.buffer.len() < within && self.read((within - self.buffer.len()) as u64) {}
        if self.buffer.len() < within {
            return (self.take(self.buffer.len()), None);
        }

        // The last line may go on behind `end`; it is complete when the byte before `end` is a newline already.
        let line = memrchr(b'\n', &self.buffer[..within - 1]).map_or(0, |newline| newline + 1);
        let limit = line + self.sizes.line_bytes_max;
        let mut searched = within - 1;
        loop {
            let known = self.buffer.len().min(limit + 1);
            if let Some(newline) = memchr(b'\n', &self.buffer[searched..known]) {
                return (self.take(searched + newline + 1), None);
            }
            if self.buffer.len() > limit {
                let mut text = self.take(limit + 1);
                let head = text[line..].iter().copied().take(OVERLONG_HEAD_BYTES).collect();
                let overlong = Overlong { offset: self.at - (limit + 1 - line) as u64, head };
                text.truncate(line);
                self.inside_line = true;
                return (text, Some(overlong));
            }
            searched = known;
            if !self.read(self.sizes.piece()) {
                return (self.take(self.buffer.len()), None);
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        let mut rest = self.buffers.take();
        rest.extend_from_slice(&self.buffer[bytes..]);
        self.buffer.truncate(bytes);
        self.at += bytes as u64;
        Bytes::from_owner(std::mem::replace(&mut self.buffer, rest))
    }

    /// Whether the text has a byte at `end` or behind it. All before `end` has been read, or there is no more.
    fn reaches_beyond(&mut self, end: u64) -> bool {
        match self.length {
            Some(length) => length > end,
            None => match (self.at + self.buffer.len() as u64).cmp(&end) {
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Equal => self.read(self.sizes.piece()),
                std::cmp::Ordering::Less => false,
            },
        }
    }

    /// Makes room for `bytes` from `at` on, or as many as the text has.
    fn reserve(&mut self, bytes: u64) {
        let left = self.length.map_or(u64::MAX, |length| length.saturating_sub(self.at));
        let missing = (bytes.min(left) as usize).saturating_sub(self.buffer.len());
        self.buffer.reserve(missing);
    }

    /// Reads up to `bytes` more into the buffer; false when the text ends with what is there.
    fn read(&mut self, bytes: u64) -> bool {
        if self.end.is_some() {
            return false;
        }
        let before = self.buffer.len();
        self.reserve(before as u64 + bytes);
        match self.input.by_ref().take(bytes).read_to_end(&mut self.buffer) {
            Ok(read) if read as u64 == bytes => return true,
            Ok(_) => {
                let length = self.at + self.buffer.len() as u64;
                self.end = Some(match self.length {
                    Some(expected) if length < expected => {
                        End::Broken(format!("it shrank from {expected} to {length} bytes"))
                    }
                    _ => End::Complete,
                });
            }
            Err(error) => self.end = Some(End::Broken(one_line(&error))),
        }
        if let Some(End::Broken(_)) = self.end {
            let whole = memrchr(b'\n', &self.buffer).map_or(0, |newline| newline + 1);
            self.buffer.truncate(whole);
        }
        self.buffer.len() > before
    }
}

/// How many bytes of `text` are a byte order mark.
fn bom_bytes(text: &[u8]) -> usize {
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

/// An error and what it stems from.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text.replace(char::is_control, " ")
}
