//! Buffers that are used again.
//!
//! A chunk is read by one thread and dropped by another. Asking the system for fresh pages for each costs as much as
//! copying the text into them, so what is dropped goes back to the reader.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Empty buffers of one reader. It never has more than were in use at once.
#[derive(Clone)]
pub(crate) struct Buffers {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    /// A buffer that grew beyond this, for one long line, is given up.
    capacity_max: usize,
}

impl Buffers {
    pub(crate) fn new(capacity_max: usize) -> Self {
        Self { spare: Arc::default(), capacity_max }
    }

    /// An empty buffer, with room if one is spare.
    pub(crate) fn take(&self) -> Buffer {
        let bytes = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Buffer { bytes, home: self.clone() }
    }
}

/// Goes back where it was taken from.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if 0 < bytes.capacity() && bytes.capacity() <= self.home.capacity_max {
            bytes.clear();
            self.home.spare.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_used_again() {
        let buffers = Buffers::new(100);
        let (mut first, mut second) = (buffers.take(), buffers.take());
        first.reserve_exact(100);
        first.extend_from_slice(b"text");
        second.reserve_exact(101);
        let place = first.as_ptr();
        drop((first, second));

        let (again, fresh) = (buffers.take(), buffers.take());
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, 100));
        assert_eq!(fresh.capacity(), 0, "what is too large is given up");
    }
}
