//! The head: how far the journal is durable, in a file of 16 bytes that is overwritten in place.
//!
//! It is written after what it speaks of was made durable, and is itself never made durable: on any copy of it that a power
//! loss leaves, it is true, and may be old.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Segment (u32), bytes (u64), CRC-32 of these; all little-endian.
const HEAD_BYTES: usize = 16;
/// A write of 16 bytes in place takes well below a microsecond; a head that stays torn that long is damaged.
const READS_MAX: usize = 64;

/// Segments before `segment` are durable and closed, and `bytes` bytes of it are durable: whole batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 0 when there is none.
    pub(super) segment: u32,
    pub(super) bytes: u64,
}

impl Head {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("head")
    }

    /// `None` when it is not there or cannot be trusted; its writer will renew it.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(Self::path(dir)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        for _ in 0..READS_MAX {
            let mut bytes = [0; HEAD_BYTES];
            match file.read_exact_at(&mut bytes, 0) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            // Some file systems let a reader see half of a write.
            if let Some(head) = Self::decode(bytes) {
                return Ok(Some(head));
            }
            std::hint::spin_loop();
        }
        Ok(None)
    }

    pub(super) fn write(self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.encode(), 0)
    }

    fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.segment.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.bytes.to_le_bytes());
        let crc32 = crc32fast::hash(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc32.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; HEAD_BYTES]) -> Option<Self> {
        let segment = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
        let durable = u64::from_le_bytes(bytes[4..12].try_into().expect("8 bytes"));
        let head = Self { segment, bytes: durable };
        (head.encode() == bytes).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout() {
        let bytes = Head { segment: 0x0102_0304, bytes: 0x1112_1314_1516_1718 }.encode();
        // The checksum is that of Python's zlib.crc32.
        assert_eq!(bytes, *b"\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\x05\xa3\x48\x51");
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let bytes = Head { segment: 7, bytes: 123_456 }.encode();
        assert_eq!(Head::decode(bytes), Some(Head { segment: 7, bytes: 123_456 }));
        for bit in 0..HEAD_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(bytes), None);
        }
        assert_eq!(Head::decode([0; HEAD_BYTES]), None);
    }
}
