//! Stretches of logs as segments of a replay: what they are read with, and what is told of them.

use base64_simd::STANDARD;
use ct_model::ctlog::head::TreeHead;
use ct_model::ctlog::list::{self, Urls};
use ct_model::id::to_hex;
use ct_model::message::log_line;
use ct_model::{Coverage, Timestamp};
use serde::{Deserialize, Serialize};

use super::remote::ENTRY_BYTES;
use super::{FEED, HeadTold};
use crate::segments::{Encoding, Segment};

/// The log that a segment is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSource {
    /// As the lake calls it.
    pub name: String,
    /// What entries are compared with.
    pub head: Option<HeadTold>,
    /// A key that is trusted signed the head.
    pub signed: bool,
    /// The log itself, where it is asked.
    pub remote: Option<Remote>,
}

/// Entries that are read from a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    pub first: u64,
    /// The index behind the last.
    pub end: u64,
    pub url: String,
    /// The submission prefix of a static log.
    pub submission_url: Option<String>,
    /// SubjectPublicKeyInfo in base64.
    pub key: String,
    pub operator: String,
}

/// Entries of a segment that is read from a log: what a job that begins again reads again.
const SEGMENT_ENTRIES: u64 = 64 << 10;

/// The entries `first..end` of a log, to be read under `head`, as segments that begin at multiples of their length.
pub(super) fn segments(
    described: &list::Log,
    head: &TreeHead,
    first: u64,
    end: u64,
) -> impl Iterator<Item = Segment> + use<> {
    let log = LogSource {
        name: described.name.to_string(),
        head: Some(HeadTold::from(head)),
        signed: true,
        remote: Some(Remote {
            first,
            end,
            url: described.urls.reading().to_owned(),
            submission_url: match &described.urls {
                Urls::Rfc6962 { .. } => None,
                Urls::Tiled { submission, .. } => Some(submission.to_string()),
            },
            key: STANDARD.encode_to_string(&described.key),
            operator: described.operator.to_string(),
        }),
    };
    let head = format!("{}-{}", head.size, to_hex(&head.root));
    let cuts = (first / SEGMENT_ENTRIES..end.div_ceil(SEGMENT_ENTRIES)).filter(move |_| first < end);
    cuts.map(move |cut| {
        let mut log = log.clone();
        let part = ((cut * SEGMENT_ENTRIES).max(first), ((cut + 1) * SEGMENT_ENTRIES).min(end));
        let remote = log.remote.as_mut().expect("it was just made");
        (remote.first, remote.end) = part;
        Segment {
            name: format!("{}#{}-{}", remote.url, part.0, part.1 - 1),
            bytes: (part.1 - part.0) * ENTRY_BYTES,
            encoding: Encoding::Remote,
            version: head.clone(),
            log: Some(log),
        }
    })
}

/// Pages in a row, and whether each is proven; says of each run of them, when it ends, what the lake holds by then.
pub(super) struct Stretch {
    log: String,
    head: Option<TreeHead>,
    signed: bool,
    run: Option<Run>,
}

struct Run {
    first: u64,
    end: u64,
    proven: bool,
}

impl Stretch {
    pub(super) fn new(log: &str, head: Option<TreeHead>, signed: bool) -> Self {
        Self { log: log.to_owned(), head, signed, run: None }
    }

    /// Adds `entries` from `first` on; the line of the run before, if this is another.
    pub(super) fn add(&mut self, first: u64, entries: u64, proven: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        match &mut self.run {
            Some(run) if run.end == first && run.proven == proven => run.end += entries,
            _ => {
                lines = self.end(false);
                self.run = Some(Run { first, end: first + entries, proven });
            }
        }
        lines
    }

    /// The line of the last run; `all_proven` when what was read as a whole is.
    pub(super) fn end(&mut self, all_proven: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        // What lies beyond the head is covered by nothing that anybody signed.
        if let (Some(run), Some(head)) = (self.run.take(), self.head)
            && run.first < run.end.min(head.size)
        {
            let row = Coverage {
                log: self.log.as_str().into(),
                first: run.first,
                last: run.end.min(head.size) - 1,
                tree_size: head.size,
                root: head.root,
                head_at: Timestamp::from_unix_ms(head.timestamp_ms).unwrap_or(Timestamp(0)),
                verified: self.signed && (run.proven || all_proven),
                feed: FEED.into(),
                since: None,
            };
            log_line::write_coverage(&mut lines, &row);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[u8]) -> Vec<(u64, u64, bool)> {
        let mut reader = ct_model::message::Reader::default();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| match reader.read(line).unwrap() {
                ct_model::message::Message::Coverage(row) => (row.first, row.last, row.verified),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_run_ends_with_a_hole_and_with_a_change_of_proof() {
        let head = TreeHead { size: 1_000, root: [1; 32], timestamp_ms: 5_000 };
        let mut stretch = Stretch::new("a.example", Some(head), true);
        let mut lines = Vec::new();
        for (first, entries, proven) in
            [(0, 256, true), (256, 256, true), (512, 256, false), (800, 100, false), (900, 200, true)]
        {
            lines.extend(stretch.add(first, entries, proven));
        }
        lines.extend(stretch.end(false));
        assert_eq!(told(&lines), [(0, 511, true), (512, 767, false), (800, 899, false), (900, 999, true)]);
    }

    #[test]
    fn nothing_is_verified_without_a_signature_and_nothing_told_without_a_head() {
        let head = TreeHead { size: 10, root: [1; 32], timestamp_ms: 5_000 };
        for (head, want) in [(None, vec![]), (Some(head), vec![(0, 9, false)])] {
            let mut stretch = Stretch::new("a.example", head, false);
            assert!(stretch.add(0, 10, true).is_empty());
            assert_eq!(told(&stretch.end(true)), want);
        }
    }
}
