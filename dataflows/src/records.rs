//! What flows between operators.
//!
//! Certificates never cross from one worker to another: they wait where they were read, and only keys, answers and
//! names of files are exchanged. Those are the types with `Serialize`.

use std::sync::Arc;

use bytes::Bytes;
use ct_model::message::Sighting;
use ct_model::name::NameLists;
use ct_model::{
    Age, CertRecord, Counts, Coverage, EntryPlace, EntryRecord, Finding, Gap, Key, MessageId, Rejected, Rows, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::epoch::Position;
use crate::modules::Fact;

/// One chunk of a segment: an epoch's input.
#[derive(Clone, Debug, Default)]
pub struct Block {
    pub position: Position,
    /// The configured name of the feed that the text came from.
    pub feed: Arc<str>,
    /// When the text arrived, where that is known.
    pub at: Option<Timestamp>,
    /// How long journals were written up to here.
    pub age: Age,
    /// By which dedup remembers and forgets. It never goes back with the position; 0 where nothing is forgotten.
    pub generation: u32,
    pub segment_name: Arc<str>,
    /// Of `text`, in bytes from the start of the decompressed segment.
    pub offset: u64,
    /// Lines of the segment between the block before and `text`.
    pub lines_before: u64,
    /// Whole lines.
    pub text: Bytes,
    /// What is known to be missing before `text`.
    pub gaps: Vec<Gap>,
    /// A reader of logs made the text: what it states of their coverage is so. Anybody else's word on that is nothing.
    pub of_logs: bool,
    /// The last line that starts in this chunk, if it is longer than a message may be.
    pub overlong: Option<Overlong>,
    /// The segment ends with this chunk.
    pub last: bool,
    /// What follows, where it is neither the next chunk nor the next segment.
    pub next: Option<Position>,
    /// Why the segment could not be read to its end.
    pub broken: Option<String>,
}

/// A line that is not in the block's text because of its length.
#[derive(Clone, Debug)]
pub struct Overlong {
    /// In bytes from the start of the segment.
    pub offset: u64,
    /// The line's first 4 KiB.
    pub head: Vec<u8>,
}

/// Something the lake holds already, read back when a job starts.
#[derive(Clone, Debug)]
pub enum Known {
    /// A certificate, an entry without a place, or a rejected message.
    Key(Key),
    Entry {
        place: EntryPlace,
        tag: u32,
    },
    /// A finding that is reported once.
    Finding(Key),
    /// A certificate that modules remember, with the columns that [`crate::modules::Remember::facts`] lists.
    Certificate(Box<CertRecord>),
}

/// "Is this key seen for the first time?", asked by worker `from` for item `ordinal` of an epoch.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct KeyQuestion {
    pub key: Key,
    pub ordinal: u32,
    pub from: u32,
    /// Of the epoch.
    pub generation: u32,
    /// What the item is if the key is new.
    pub news: News,
}

/// "Is this certificate seen here for the first time?"
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EntryQuestion {
    pub place: EntryPlace,
    pub tag: u32,
    pub ordinal: u32,
    pub from: u32,
    /// Of the epoch.
    pub generation: u32,
}

/// A yes; a no is not sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answer {
    pub ordinal: u32,
    pub to: u32,
    pub news: News,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    Certificate,
    Entry,
    /// An entry where another certificate stands already.
    Conflict,
    Rejected,
    Coverage,
}

/// What a message of an epoch left to be settled, in input order.
#[derive(Debug)]
pub enum Item {
    Sighting(Sighting),
    Rejected(Rejected),
    Coverage(Coverage),
    Names(NameLists),
}

/// An epoch, read.
#[derive(Debug, Default)]
pub struct Peeked {
    pub feed: Arc<str>,
    pub items: Vec<Item>,
    /// Which messages the items are, if debug is logged; else empty.
    pub ids: Vec<MessageId>,
    pub gaps: Vec<Gap>,
    pub tail: Tail,
}

/// What is known of an epoch besides its rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tail {
    pub position: Position,
    /// When the epoch's input arrived, where that is known.
    pub at: Option<Timestamp>,
    /// As in the block.
    pub age: Age,
    pub generation: u32,
    pub lines: u64,
    /// As in the block.
    pub last: bool,
    pub next: Option<Position>,
    /// The segment's name, and why it could not be read to its end.
    pub broken: Option<(String, String)>,
    pub counts: Counts,
    /// Lines of logs that stood before it in the journal, or in it, are lost.
    pub lost_of_logs: bool,
    /// For each row of coverage that came by a journal, the segment in which its entries begin.
    pub covered_since: Vec<u32>,
}

/// The names of a message without a certificate.
#[derive(Debug)]
pub struct NamesOnly {
    pub names: NameLists,
    /// How many of the epoch's new certificates come before it in the input.
    pub after: usize,
}

/// An epoch whose first sightings are known.
#[derive(Debug, Default)]
pub struct Settled {
    pub feed: Arc<str>,
    pub certificates: Vec<Sighting>,
    /// Which messages brought them, if debug is logged; else empty.
    pub ids: Vec<MessageId>,
    pub entries: Vec<EntryRecord>,
    pub rejected: Vec<Rejected>,
    pub gaps: Vec<Gap>,
    pub coverage: Vec<Coverage>,
    pub names: Vec<NamesOnly>,
    pub tail: Tail,
}

/// An epoch whose certificates are parsed.
#[derive(Debug, Default)]
pub struct Decoded {
    pub certificates: Vec<Subject>,
    /// As in [`Settled`].
    pub ids: Vec<MessageId>,
    pub entries: Vec<EntryRecord>,
    pub rejected: Vec<Rejected>,
    pub gaps: Vec<Gap>,
    pub coverage: Vec<Coverage>,
    pub names: Vec<NamesOnly>,
    pub tail: Tail,
}

/// A certificate and the readings of its names that are no plain names.
#[derive(Debug)]
pub struct Subject {
    pub record: CertRecord,
    pub odd_names: Vec<Box<str>>,
    /// The certificate's bytes, where a module wants them and the row does not keep them.
    pub der: Option<Vec<u8>>,
}

/// A finding that counts only if nothing before it has its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub finding: Finding,
    /// Position among the candidates of its epoch.
    pub ordinal: u32,
    /// Of the epoch.
    pub generation: u32,
}

/// What a module wants to remember of a new certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewFact {
    pub fact: Fact,
    /// Position among the facts of its epoch.
    pub ordinal: u32,
    /// Of its epoch.
    pub generation: u32,
}

/// Rows of an epoch, and its tail where they are the epoch's own (and not findings that came later).
#[derive(Debug, Default)]
pub struct EpochRows {
    pub rows: Rows,
    pub tail: Option<Tail>,
}

/// What the committer must know of an epoch's rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Weight {
    /// Memory the rows take.
    pub bytes: u64,
    pub newest_seen: Option<i64>,
    /// Rejected rows are among them, so the lines before this epoch must be known.
    pub numbered: bool,
    /// Of the rows; what the messages were is in the tail.
    pub counts: Counts,
    pub tail: Option<Tail>,
}

/// What every worker is told about publishing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there are a few in a minute")]
pub enum Decision {
    Cut(Cut),
    /// Input is missing: nothing behind the last cut will be published by this job.
    Stop,
}

/// A decision to publish everything up to an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cut {
    /// Number of the manifest to come.
    pub sequence: u64,
    /// The last epoch in it.
    pub epoch: u64,
    /// Where the input continues.
    pub next: Position,
    /// Lines of that segment before that position.
    pub lines: u64,
    /// The input ends here.
    pub complete: bool,
    pub counts: Counts,
    pub newest_seen: Option<i64>,
    /// How long journals were written up to its last epoch.
    pub age: Age,
    pub broken: Vec<(String, String)>,
    /// For epochs with rejected rows: how many lines of the segment come before.
    pub lines_before: Vec<(u64, u64)>,
    /// Epochs at which lines of logs were found to be lost, and the segment of each; before them, by epoch 0, the last
    /// such segment of earlier cuts.
    pub damage: Vec<(u64, u32)>,
}

impl Cut {
    /// Whether a row of coverage at `epoch` is so, whose entries begin in that segment: nothing of the logs was lost
    /// between them and it. Which log's lines were lost nobody knows.
    pub fn believes(&self, epoch: u64, since: Option<u32>) -> bool {
        let damaged = self.damage.iter().rev().find(|(at, _)| *at <= epoch);
        since.zip(damaged).is_none_or(|(since, (_, damaged))| *damaged < since)
    }
}
