//! A message's place in what is read: the same from the journal to the lake, in every process and every run.

use std::fmt;

/// Shown as `segment:batch:offset`, which logs have in the field `message_id`. What was published with a manifest is
/// what lies before the segment and batch where it says to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    pub segment: u32,
    /// Of the segment: a batch of a journal, a chunk of a replay.
    pub batch: u32,
    /// Of the message's first byte, from the start of the segment, decompressed; as in `rejected.offset`.
    pub offset: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, batch, offset } = self;
        write!(f, "{segment}:{batch}:{offset}")
    }
}
