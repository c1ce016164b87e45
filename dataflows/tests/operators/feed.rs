//! Made-up segments of messages, and how they are cut into blocks.

use std::sync::Arc;

use ct_dataflows::Position;
use ct_dataflows::records::{Block, Overlong};
use ct_model::message::log_line;
use ct_model::{Coverage, Timestamp};

use crate::oracle::FEED;
use crate::random::Random;

/// A line with its line end.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    /// Too long to be in a block's text.
    pub(crate) overlong: bool,
}

/// Bytes of an overlong line that are shown.
pub(crate) const HEAD_BYTES: usize = 4 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: Arc<str>,
    pub(crate) lines: Vec<Line>,
    /// A reader of logs made it.
    pub(crate) of_logs: bool,
    /// Why it could not be read to its end.
    pub(crate) broken: Option<String>,
}

/// A message about certificate `number` as entry `index` of log `log`.
pub(crate) fn update(number: u64, log: Option<u64>, index: Option<u64>, seen: u64) -> String {
    let index = index.map_or(String::new(), |index| format!(r#""cert_index":{index},"#));
    let source = log.map_or(String::new(), |log| format!(r#","source":{{"url":"https://log{log}.example/"}}"#));
    // Some hosts are shared by many certificates, so that they are new only once.
    let hosts = format!(r#""host{}.example","www.shop{}.example""#, number % 17, number % 5);
    // Identities and their bins are taken from a fingerprint as they are.
    let mut random = Random::new(number);
    let mut hex = |bytes: usize| (0..bytes).map(|_| format!("{:02x}", random.below(256))).collect::<String>();
    let claim = if number.is_multiple_of(6) {
        format!(r#""sha1":"{}""#, hex(20))
    } else {
        format!(r#""sha256":"{}""#, hex(32))
    };
    format!(
        r#"{{"message_type":"certificate_update","data":{{{index}"leaf_cert":{{{claim},"all_domains":[{hosts}]}},"seen":{seen}.25{source}}}}}"#
    )
}

fn message(random: &mut Random, sent: &mut Vec<String>, number: u64) -> Vec<u8> {
    let seen = 1_795_392_000 + number;
    let text = match random.below(20) {
        0 => r#"{"message_type":"heartbeat","timestamp":1795392000.5}"#.to_owned(),
        1 => r#"{"message_type":"weather","data":{}}"#.to_owned(),
        2 => format!(
            r#"{{"message_type":"dns_entries","data":["host{}.example","*.wild{}.example"]}}"#,
            random.below(40),
            random.below(9)
        ),
        3 => r#"{"message_type":"certificate_update","data":{"leaf_"#.to_owned(),
        4 => return b"{\"message_type\":\"\xff\xfe\"}".to_vec(),
        5 => r#"{"message_type":"certificate_update","data":{"seen":1795392001.5}}"#.to_owned(),
        6 => [" ", "", "\t"][random.below(3) as usize].to_owned(),
        11 => {
            let (first, size) = (random.below(20), 40 + random.below(3));
            let row = Coverage {
                log: "log1.example".into(),
                first,
                last: first + random.below(20),
                tree_size: size,
                root: [size as u8; 32],
                head_at: Timestamp::from_seconds(1_795_392_000),
                verified: random.one_in(2),
                feed: "".into(),
                since: None,
            };
            let mut line = Vec::new();
            log_line::write_coverage(&mut line, &row);
            return line.trim_ascii_end().to_vec();
        }
        7 | 8 if !sent.is_empty() => sent[random.below(sent.len() as u64) as usize].clone(),
        9 => update(random.below(300), random.one_in(2).then_some(1), None, seen),
        10 => update(random.below(300), None, Some(random.below(50)), seen),
        _ => update(random.below(300), Some(random.below(3)), Some(random.below(400)), seen),
    };
    sent.push(text.clone());
    text.into_bytes()
}

/// Six segments of some hundred lines; one is empty, one is broken, and the last is the first again.
pub(crate) fn segments(seed: u64) -> Vec<Segment> {
    let mut random = Random::new(seed);
    let mut sent = Vec::new();
    let mut segments: Vec<Segment> = [310, 0, 205, 420, 1]
        .into_iter()
        .enumerate()
        .map(|(segment, count)| {
            let lines = (0..count).map(|number| {
                if random.one_in(60) {
                    return Line { bytes: [&[b'x'; 6_000][..], b"\n"].concat(), overlong: true };
                }
                let mut bytes = message(&mut random, &mut sent, number);
                bytes.extend_from_slice(if random.one_in(8) { b"\r\n" } else { b"\n" });
                Line { bytes, overlong: false }
            });
            let lines = lines.collect();
            let name = format!("segment-{segment}.jsonl").into();
            Segment { name, lines, of_logs: segment % 2 == 0, broken: None }
        })
        .collect();
    segments[2].broken = Some("the file ends too early".to_owned());
    let last = segments[3].lines.last_mut().expect("it has lines");
    // The last line of a file may lack its line end.
    last.bytes.truncate(last.bytes.trim_ascii_end().len());
    segments.push(segments[0].clone());
    segments
}

/// Cuts a segment as a reader does: a block ends with the line that fills it, or with one that is too long.
pub(crate) fn blocks(segment: &Segment, number: u32, chunk_bytes: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut at, mut start, mut text) = (0_u64, 0_u64, Vec::new());
    let mut end_block = |offset: u64, text: Vec<u8>, overlong: Option<Overlong>| {
        let position = Position { segment: number, chunk: blocks.len() as u32 };
        let (segment_name, text) = (segment.name.clone(), text.into());
        let (feed, of_logs) = (FEED.into(), segment.of_logs);
        blocks.push(Block { position, feed, segment_name, offset, text, of_logs, overlong, ..Block::default() });
    };
    for line in &segment.lines {
        let offset = at;
        at += line.bytes.len() as u64;
        let mut overlong = None;
        if line.overlong {
            overlong = Some(Overlong { offset, head: line.bytes[..HEAD_BYTES].to_vec() });
        } else {
            text.extend_from_slice(&line.bytes);
        }
        if overlong.is_some() || text.len() >= chunk_bytes {
            end_block(start, std::mem::take(&mut text), overlong);
            start = at;
        }
    }
    // A segment has at least one block, and an empty one may be its last.
    end_block(start, text, None);
    let last = blocks.last_mut().expect("one was added");
    (last.last, last.broken) = (true, segment.broken.clone());
    blocks
}
