//! Reads the messages of a block as far as identity needs it.
//!
//! Route: none; messages stay where they were read. State: the reader's log names. Frontier: holds nothing back. Three
//! outputs: the items of the epoch, to wait for their answers; a question for each thing that may be new; and a
//! question for each entry.

use std::sync::Arc;

use ct_model::message::{Message, Reader, Reason, Unusable};
use ct_model::name::{self, NameSource, Names};
use ct_model::{Coverage, Key, MessageId, Rejected};
use memchr::memchr;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use tracing::{Level, debug, enabled};

use crate::epoch::Epoch;
use crate::meter::Meter;
use crate::records::{Block, EntryQuestion, Item, KeyQuestion, News, Overlong, Peeked, Tail};

/// The feed of lines that a reader of logs put into a journal.
const LOGS: &str = "logs";

pub struct PeekStreams<'s> {
    pub peeked: StreamVec<'s, Epoch, Peeked>,
    pub keys: StreamVec<'s, Epoch, KeyQuestion>,
    pub entries: StreamVec<'s, Epoch, EntryQuestion>,
}

pub fn peek<'s>(blocks: StreamVec<'s, Epoch, Block>, meter: Arc<Meter>) -> PeekStreams<'s> {
    let scope = blocks.scope();
    let worker = u32::try_from(scope.index()).expect("workers are counted in 32 bits");
    let mut builder = OperatorBuilder::new("peek".to_owned(), scope);
    let mut input = builder.new_input(blocks, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (peeked_out, peeked) = builder.new_output::<Vec<Peeked>>();
    let (keys_out, keys) = builder.new_output::<Vec<KeyQuestion>>();
    let (entries_out, entries) = builder.new_output::<Vec<EntryQuestion>>();
    let (mut peeked_out, mut keys_out, mut entries_out) =
        (OutputBuilder::from(peeked_out), OutputBuilder::from(keys_out), OutputBuilder::from(entries_out));
    builder.build(move |_capabilities| {
        let mut reader = Reader::default();
        move |_frontiers| {
            let (mut peeked, mut keys, mut entries) =
                (peeked_out.activate(), keys_out.activate(), entries_out.activate());
            input.for_each_stamp(|capability, data| {
                let (mut peeked, mut keys, mut entries) =
                    (peeked.session(&capability), keys.session(&capability), entries.session(&capability));
                for block in data.flat_map(|blocks| blocks.drain(..)) {
                    let epoch = read_block(&mut reader, block);
                    meter.read_block(epoch.tail.counts.messages, epoch.tail.counts.bytes);
                    let generation = epoch.tail.generation;
                    for (ordinal, item) in (0_u32..).zip(&epoch.items) {
                        let asker = Asker { ordinal, from: worker, generation };
                        asker.ask(item, |question| keys.give(question), |question| entries.give(question));
                    }
                    peeked.give(epoch);
                }
            });
        }
    });
    PeekStreams { peeked, keys, entries }
}

/// Whose questions are asked.
#[derive(Clone, Copy)]
struct Asker {
    ordinal: u32,
    from: u32,
    generation: u32,
}

impl Asker {
    /// Asks what must be known of an item before it can become rows.
    fn ask(self, item: &Item, mut keys: impl FnMut(KeyQuestion), entries: impl FnOnce(EntryQuestion)) {
        let Self { ordinal, from, generation } = self;
        let mut key = |key, news| keys(KeyQuestion { key, ordinal, from, generation, news });
        match item {
            Item::Sighting(sighting) => {
                key(sighting.id.key(), News::Certificate);
                match sighting.place() {
                    Some(place) => {
                        entries(EntryQuestion { place, tag: sighting.id.tag(), ordinal, from, generation });
                    }
                    None => key(sighting.unplaced_key(), News::Entry),
                }
            }
            Item::Rejected(row) => {
                key(Key::rejected(&row.feed, &row.segment, row.offset, &row.raw), News::Rejected);
            }
            Item::Coverage(row) => key(Key::coverage(row), News::Coverage),
            Item::Names(_) => {}
        }
    }
}

/// The messages of a block in order. Lines of rejected rows are counted from the end of the block before, from 1; where
/// the block stands in its segment is known only when all before it are read.
pub fn read_block(reader: &mut Reader, block: Block) -> Peeked {
    let Block { position, feed, at, age, generation, segment_name, offset, lines_before, text, .. } = block;
    let Block { gaps, of_logs, overlong, last, next, broken, .. } = block;
    let mut tail = Tail { position, at, age, generation, last, next, ..Tail::default() };
    tail.counts.gaps = gaps.len() as u64;
    tail.lost_of_logs = gaps.iter().any(|gap| gap.loses_lines_of(LOGS));
    tail.counts.bytes = text.len() as u64;
    tail.counts.unreadable = u64::from(broken.is_some());
    tail.broken = broken.map(|why| (segment_name.to_string(), why));
    let mut items = Vec::with_capacity(text.len() / 4_096);
    let (mut ids, traced) = (Vec::new(), enabled!(Level::DEBUG));
    let id = |offset| MessageId { segment: position.segment, batch: position.chunk, offset };

    let reject = |tail: &mut Tail, line: u64, offset: u64, raw: &[u8], unusable: Unusable| {
        tail.counts.rejected += 1;
        *tail.counts.rejected_by_reason.entry(unusable.reason.as_str().to_owned()).or_default() += 1;
        Item::Rejected(Rejected {
            feed: feed.clone(),
            segment: segment_name.clone(),
            line,
            offset,
            reason: unusable.reason.as_str(),
            detail: unusable.detail,
            seen: unusable.seen,
            raw: raw[..raw.len().min(Rejected::RAW_BYTES_MAX)].into(),
        })
    };
    let mut read_names = Names::default();
    let (mut line, mut at) = (lines_before, 0);
    while at < text.len() {
        line += 1;
        let start = at;
        at = memchr(b'\n', &text[start..]).map_or(text.len(), |length| start + length + 1);
        let message = text[start..at].trim_ascii();
        if message.is_empty() {
            continue;
        }
        tail.counts.messages += 1;
        match reader.read(message) {
            Ok(Message::Sighting(sighting)) => {
                tail.counts.wrong_claims += u64::from(sighting.wrong_claim);
                items.push(Item::Sighting(sighting));
            }
            Ok(Message::Names(names)) => {
                tail.counts.names_only += 1;
                tail.counts.names += names.len() as u64;
                names.iter().for_each(|name| name::readings(name.as_bytes(), NameSource::San, &mut read_names));
                items.push(Item::Names(read_names.take()));
            }
            Ok(Message::Coverage(stretch)) if of_logs => {
                tail.counts.heartbeats += 1;
                items.push(Item::Coverage(Coverage { feed: feed.clone(), ..stretch }));
            }
            Ok(Message::Heartbeat) => tail.counts.heartbeats += 1,
            Ok(Message::Other | Message::Coverage(_)) => tail.counts.other += 1,
            Err(unusable) => items.push(reject(&mut tail, line, offset + start as u64, message, unusable)),
        }
        if traced && items.len() > ids.len() {
            ids.push(id(offset + start as u64));
        }
    }
    if let Some(Overlong { offset, head }) = overlong {
        line += 1;
        tail.counts.messages += 1;
        let detail = "longer than a message may be".into();
        let unusable = Unusable { reason: Reason::TooLong, detail, seen: None };
        items.push(reject(&mut tail, line, offset, &head, unusable));
        ids.extend(traced.then(|| id(offset)));
    }
    for (id, item) in ids.iter().zip(&items) {
        trace(*id, item);
    }
    tail.lines = line;
    Peeked { feed, items, ids, gaps, tail }
}

fn trace(message_id: MessageId, item: &Item) {
    match item {
        Item::Sighting(sighting) => {
            let log = sighting.log.as_ref().map(|log| &*log.name);
            debug!(%message_id, id = %sighting.id, log, index = sighting.index, "a certificate was seen");
        }
        Item::Rejected(row) => debug!(%message_id, reason = row.reason, "a message was rejected"),
        Item::Coverage(row) => debug!(%message_id, log = &*row.log, "a log told what is held of it"),
        Item::Names(_) => debug!(%message_id, "names were seen"),
    }
}
