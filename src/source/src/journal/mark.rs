//! The line that a batch begins with. There is one way to write a mark, and only that way reads back.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BODY_BYTES_MAX, FEED_BYTES_MAX, Gap, JournalError, JournalId};

/// How every mark begins.
pub(super) const PREFIX: &[u8] = br#"{"message_type":"ct_stream_batch","data":{"batch":"#;
/// No mark is shorter than this, line end included.
pub(super) const MARK_BYTES_MIN: u64 = 122;
/// No mark is longer: JSON writes a byte of a text in at most 6.
pub(super) const MARK_BYTES_MAX: u64 = (6 * (FEED_BYTES_MAX + REASON_BYTES_MAX + DETAIL_BYTES_MAX) + 512) as u64;

const REASON_BYTES_MAX: usize = 64;
const DETAIL_BYTES_MAX: usize = 1 << 10;
const MESSAGE_TYPE: &str = "ct_stream_batch";
const NO_BODY_CRC32: &str = "00000000";
const CHECK: &[u8] = br#","check":"01234567"}}"#;

/// What the checks of a segment's marks begin with, so that a mark of another segment, of another journal, or of what the
/// file held in an earlier life is not taken for one of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(u32);

impl Seal {
    /// The CRC-32 of the name under which the segment is archived.
    pub(super) fn of(journal: JournalId, segment: u32) -> Self {
        Self(crc32fast::hash(format!("{journal}-{segment:010}").as_bytes()))
    }

    fn check(self, text: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(text);
        hasher.finalize()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Ordinal in the segment.
    pub(super) batch: u32,
    /// Unix ms.
    pub(super) at_ms: u64,
    pub(super) about: About,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// `bytes` bytes of body follow.
    Frames {
        feed: Arc<str>,
        lines: u64,
        bytes: u64,
        crc32: u32,
    },
    Tick,
    Gap(Gap),
}

/// The mark without its check, in the order in which it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data<'a> {
    batch: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    feed: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<Cow<'a, Gap>>,
    at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    bytes: u64,
    #[serde(borrow)]
    crc32: Cow<'a, str>,
}

impl Mark {
    /// Appends the mark and its line end.
    pub(super) fn encode(&self, seal: Seal, out: &mut Vec<u8>) {
        self.encode_by(|text| seal.check(text), out);
    }

    fn encode_by(&self, check: impl FnOnce(&[u8]) -> u32, out: &mut Vec<u8>) {
        let mut data = Data {
            batch: self.batch,
            feed: None,
            gap: None,
            at_ms: self.at_ms,
            lines: None,
            bytes: 0,
            crc32: NO_BODY_CRC32.into(),
        };
        match &self.about {
            About::Frames { feed, lines, bytes, crc32 } => {
                (data.feed, data.lines, data.bytes) = (Some(Cow::Borrowed(&**feed)), Some(*lines), *bytes);
                data.crc32 = format!("{crc32:08x}").into();
            }
            About::Tick => data.lines = Some(0),
            About::Gap(gap) => data.gap = Some(Cow::Borrowed(gap)),
        }
        let begin = out.len();
        let line = Line { message_type: MESSAGE_TYPE.into(), data };
        serde_json::to_writer(&mut *out, &line).expect("numbers and texts are JSON, and memory takes them");
        out.truncate(out.len() - b"}}".len());
        let check = check(&out[begin..]);
        out.extend_from_slice(format!(",\"check\":\"{check:08x}\"}}}}\n").as_bytes());
    }

    /// Reads a mark from a line of the segment, given without its line end.
    pub(super) fn decode(line: &[u8], seal: Seal) -> Option<Self> {
        Self::decode_by(line, |text| seal.check(text))
    }

    /// The same of a segment that is not known. Whether the mark is one of its own, and whole, is not.
    pub(super) fn decode_of_any(line: &[u8]) -> Option<Self> {
        let digits =
            line.len().checked_sub(CHECK.len()).and_then(|at| line[at..].get(b",\"check\":\"".len()..)?.get(..8))?;
        let check = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        Self::decode_by(line, |_| check)
    }

    fn decode_by(line: &[u8], check: impl FnOnce(&[u8]) -> u32) -> Option<Self> {
        let text = &line[..line.len().checked_sub(CHECK.len())?];
        // Most lines that are no marks stop here.
        if !text.starts_with(PREFIX) {
            return None;
        }
        let whole = [text, b"}}"].concat();
        let Line { data, .. } = serde_json::from_slice(&whole).ok()?;
        let about = match (data.feed, data.gap, data.lines) {
            (Some(feed), None, Some(lines)) if data.bytes <= BODY_BYTES_MAX => {
                let crc32 = u32::from_str_radix(&data.crc32, 16).ok()?;
                About::Frames { feed: Arc::from(feed), lines, bytes: data.bytes, crc32 }
            }
            (None, None, Some(0)) => About::Tick,
            (None, Some(gap), None) => About::Gap(gap.into_owned()),
            _ => return None,
        };
        let mark = Self { batch: data.batch, at_ms: data.at_ms, about };
        // Also compares the check.
        let mut again = Vec::with_capacity(line.len() + 1);
        mark.encode_by(check, &mut again);
        (again.strip_suffix(b"\n") == Some(line)).then_some(mark)
    }

    /// Of the body.
    pub(super) fn bytes(&self) -> u64 {
        match self.about {
            About::Frames { bytes, .. } => bytes,
            About::Tick | About::Gap(_) => 0,
        }
    }
}

/// Checks a feed's name, which must stay as it is.
pub(super) fn check_feed(feed: &str) -> Result<(), JournalError> {
    if feed.len() > FEED_BYTES_MAX {
        return Err(JournalError::Feed { bytes: feed.len() });
    }
    Ok(())
}

/// Makes a gap fit into a mark.
pub(super) fn cut_gap(mut gap: Gap) -> Gap {
    gap.reason.truncate(gap.reason.floor_char_boundary(REASON_BYTES_MAX));
    gap.detail.truncate(gap.detail.floor_char_boundary(DETAIL_BYTES_MAX));
    gap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Mark {
        let about = About::Frames { feed: "a \"b\"".into(), lines: 12, bytes: 34_567, crc32: 0x89ab_cdef };
        Mark { batch: 0, at_ms: 1_790_000_000_000, about }
    }

    fn gap(detail: &str) -> Mark {
        let (feed, reason) = ("a".to_owned(), "lagging".to_owned());
        let gap = Gap { feed, from_ms: None, to_ms: 5, reason, detail: detail.to_owned() };
        Mark { batch: u32::MAX, at_ms: 6, about: About::Gap(gap) }
    }

    /// Of the segment 0707…07-0000000003.
    fn seal() -> Seal {
        Seal::of(JournalId::of([7; 16]), 3)
    }

    fn text(mark: &Mark) -> String {
        let mut out = Vec::new();
        mark.encode(seal(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The checks in the lines wanted are those of Python's zlib.crc32.
    #[track_caller]
    fn check(mark: &Mark, want: &str) {
        assert_eq!(text(mark), format!("{want}\n"));
        assert_eq!(Mark::decode(want.as_bytes(), seal()).as_ref(), Some(mark));
        assert_eq!(Mark::decode_of_any(want.as_bytes()).as_ref(), Some(mark));
        for (journal, segment) in [([7; 16], 2), ([8; 16], 3)] {
            assert_eq!(Mark::decode(want.as_bytes(), Seal::of(JournalId::of(journal), segment)), None);
        }
        for bit in 0..want.len() * 8 {
            let mut line = want.as_bytes().to_vec();
            line[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&line, seal()), None, "bit {bit}");
        }
        for end in 0..want.len() {
            assert_eq!(Mark::decode(&want.as_bytes()[..end], seal()), None);
            assert_eq!(Mark::decode_of_any(&want.as_bytes()[..end]), None);
        }
    }

    #[test]
    fn a_mark_of_frames() {
        check(
            &frames(),
            r#"{"message_type":"ct_stream_batch","data":{"batch":0,"feed":"a \"b\"","at_ms":1790000000000,"lines":12,"bytes":34567,"crc32":"89abcdef","check":"50352239"}}"#,
        );
    }

    #[test]
    fn a_tick() {
        check(
            &Mark { batch: 1, at_ms: 1_790_000_000_000, about: About::Tick },
            r#"{"message_type":"ct_stream_batch","data":{"batch":1,"at_ms":1790000000000,"lines":0,"bytes":0,"crc32":"00000000","check":"91a76a38"}}"#,
        );
    }

    #[test]
    fn a_gap() {
        check(
            &gap("x\ny"),
            r#"{"message_type":"ct_stream_batch","data":{"batch":4294967295,"gap":{"feed":"a","from_ms":null,"to_ms":5,"reason":"lagging","detail":"x\ny"},"at_ms":6,"bytes":0,"crc32":"00000000","check":"171a2279"}}"#,
        );
    }

    #[test]
    fn the_shortest_and_the_longest() {
        assert_eq!(text(&Mark { batch: 0, at_ms: 0, about: About::Tick }).len() as u64, MARK_BYTES_MIN);
        let Mark { about: About::Gap(gap), .. } = gap(&"\u{1}".repeat(2000)) else { panic!("a gap") };
        let (feed, reason) = ("\u{2}".repeat(FEED_BYTES_MAX), "é\u{3}".repeat(100));
        let gap = cut_gap(Gap { feed, reason, from_ms: Some(u64::MAX), to_ms: u64::MAX, ..gap });
        assert_eq!((gap.reason.len(), gap.detail.len()), (63, 1024));
        let longest = Mark { batch: u32::MAX, at_ms: u64::MAX, about: About::Gap(gap) };
        let line = text(&longest);
        assert!(line.len() as u64 <= MARK_BYTES_MAX, "{}", line.len());
        assert_eq!(Mark::decode(line.trim_end().as_bytes(), seal()), Some(longest));
    }

    /// A right check is not enough: there is one way to write a mark.
    #[test]
    fn other_ways_to_write_it() {
        let with_check = |text: &str| format!("{text},\"check\":\"{:08x}\"}}}}", seal().check(text.as_bytes()));
        let line = text(&frames());
        let bare = line.rsplit_once(",\"check\"").unwrap().0;
        assert!(Mark::decode(with_check(bare).as_bytes(), seal()).is_some());
        for (from, to) in [
            ("\"batch\":0", "\"batch\":00"),
            ("\"batch\":0", "\"batch\":0 "),
            ("89abcdef", "89ABCDEF"),
            ("89abcdef", "9abcdef"),
            ("\"bytes\":34567", "\"bytes\":99999999"),
            ("\"lines\":12,", ""),
            ("\"lines\":12", "\"x\":12"),
            ("\"at_ms\"", "\"at_ms\":1,\"at_ms\""),
            ("\"feed\":\"a", "\"feed\":\"\\u0061"),
            ("\"feed\":\"a \\\"b\\\"\",", ""),
        ] {
            let other = bare.replacen(from, to, 1);
            assert_ne!(other, bare, "{from}");
            assert_eq!(Mark::decode(with_check(&other).as_bytes(), seal()), None, "{other}");
        }
    }
}
