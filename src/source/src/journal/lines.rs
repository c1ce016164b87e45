//! The text of a segment line by line: which feed each line came from.

use std::sync::Arc;

use super::mark::{About, Mark};

/// Follows the lines of one segment, from its first on. Damage is for [`super::JournalReader`] to find.
#[derive(Debug, Default)]
pub struct Lines {
    feed: Option<Arc<str>>,
    /// Of the body that is being read.
    bytes_left: u64,
}

impl Lines {
    /// Takes a line, given without its line end. `None` for a mark; else the feed, where a mark before it names one.
    pub fn take(&mut self, line: &[u8]) -> Option<Option<&Arc<str>>> {
        if self.bytes_left == 0
            && let Some(mark) = Mark::decode_of_any(line)
        {
            self.bytes_left = mark.bytes();
            if let About::Frames { feed, .. } = mark.about {
                self.feed = Some(feed);
            }
            return None;
        }
        self.bytes_left = self.bytes_left.saturating_sub(line.len() as u64 + 1);
        Some(self.feed.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::super::JournalId;
    use super::super::mark::Seal;
    use super::*;

    fn mark(feed: &str, bytes: u64) -> Vec<u8> {
        let about = About::Frames { feed: feed.into(), lines: 1, bytes, crc32: 0 };
        let mut line = Vec::new();
        Mark { batch: 0, at_ms: 1, about }.encode(Seal::of(JournalId::of([1; 16]), 1), &mut line);
        line.pop();
        line
    }

    #[test]
    fn lines_belong_to_the_feed_of_the_mark_before_them() {
        let imitation = mark("c", 5);
        let lines = [
            (mark("a", 4), None),
            (b"x".to_vec(), Some(Some("a"))),
            (b"y".to_vec(), Some(Some("a"))),
            (mark("b", imitation.len() as u64 + 3), None),
            (imitation, Some(Some("b"))),
            (b"z".to_vec(), Some(Some("b"))),
            (mark("a", 2), None),
            (b"x".to_vec(), Some(Some("a"))),
        ];
        let mut reader = Lines::default();
        for (line, want) in lines {
            assert_eq!(reader.take(&line).map(|feed| feed.map(|feed| &**feed)), want);
        }
    }

    #[test]
    fn lines_without_marks_have_no_feed() {
        let mut reader = Lines::default();
        assert_eq!(reader.take(br#"{"message_type":"heartbeat"}"#), Some(None));
    }
}
