//! The text of a segment as a stream, whatever its encoding, in bounded memory.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::logs::lines::Lines;
use crate::segments::Encoding;
use crate::stored::Unopened;

/// As much is read from storage at a time.
const STORED_PIECE_BYTES: usize = 256 << 10;
/// Allows a window of 128 MiB: what `zstd --long` writes, and what every `zstd -d` agrees to hold.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Decompresses all members (gzip, RFC 1952 section 2.2) or frames (zstd, skippable ones included) of a segment.
pub(crate) enum Decoder<R: Read> {
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zstd(zstd::Decoder<'static, BufReader<Counted<R>>>),
    Plain(Counted<R>),
    /// Not decompressed, but made.
    Lines(Lines),
    Failed(Unopened),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(encoding: Encoding, stored: R) -> io::Result<Self> {
        let stored = Counted { input: stored, read: 0 };
        let buffered = |stored| BufReader::with_capacity(STORED_PIECE_BYTES, stored);
        Ok(match encoding {
            // What reads logs makes lines instead.
            Encoding::Plain | Encoding::Tiles | Encoding::Pages | Encoding::Remote => Self::Plain(stored),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(buffered(stored)))),
            Encoding::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(buffered(stored))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// Text that breaks at once.
    pub(crate) fn failed(why: io::Error) -> Self {
        Self::Failed(Unopened::new(why))
    }

    /// Stored bytes read so far.
    pub(crate) fn stored_read(&self) -> u64 {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().get_ref().read,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().read,
            Self::Plain(stored) => stored.read,
            Self::Lines(lines) => lines.stored_read(),
            Self::Failed(_) => 0,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(out),
            Self::Zstd(decoder) => decoder.read(out),
            Self::Plain(stored) => stored.read(out),
            Self::Lines(lines) => lines.read(out),
            Self::Failed(unopened) => unopened.read(out),
        }
    }
}

pub(crate) struct Counted<R> {
    input: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.read += read as u64;
        Ok(read)
    }
}
