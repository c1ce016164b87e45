//! What feeds delivered: by the segments that were kept of them, or by what the lake has from each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use ct_model::EntryKind;
use ct_model::message::{Message, Reader, Sighting};
use ct_sinks::lake::Lake;
use ct_source::journal::Lines;
use ct_source::{Chunk, Options, Placement, Segment, Step, logs};
use tokio::runtime::Runtime;

use crate::holes::{Shown, sha256_of};

/// By feed. Takes some 100 bytes a message.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) feeds: BTreeMap<Arc<str>, Feed>,
}

#[derive(Debug, Default)]
pub(super) struct Feed {
    /// By log; sorted and each once when all are there.
    indexes: BTreeMap<Box<str>, Vec<u64>>,
    /// SHA-256 of the certificates, as they are or as the feed claims it.
    pub(super) certificates: HashSet<[u8; 32]>,
}

impl Delivered {
    /// By rows of `entries`, each of which has the name of the feed that brought it first.
    pub(super) fn by_lake(lake: &Lake, only: Option<&str>) -> Result<Self> {
        let mut delivered = Self::default();
        lake.entries(&mut |row| {
            if row.feed != logs::FEED && only.is_none_or(|only| row.feed == only) {
                delivered.feed(row.feed).add(row.log, row.index, row.sha256);
            }
        })?;
        Ok(delivered.sorted())
    }

    /// By messages. Those that stand behind no mark of a journal are of the feed `only`, or else of `replay`.
    pub(super) fn by_segments(arguments: &[String], only: Option<&str>, runtime: &Runtime) -> Result<Self> {
        let mut delivered = Self::default();
        let segments = ct_source::expand(arguments, &[], runtime.handle())?;
        let mut reader = Reader::default();
        let mut lines = (0, Lines::default());
        read(&segments, runtime, &mut |chunk| {
            if lines.0 != chunk.segment {
                lines = (chunk.segment, Lines::default());
            }
            for line in chunk.text.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let Some(feed) = lines.1.take(line) else { continue };
                let feed: &str = match feed {
                    Some(feed) => feed,
                    None => only.unwrap_or("replay"),
                };
                if feed == logs::FEED || only.is_some_and(|only| feed != only) || line.trim_ascii().is_empty() {
                    continue;
                }
                // What cannot be used was not delivered.
                if let Ok(Message::Sighting(sighting)) = reader.read(line) {
                    let Sighting { log, index, .. } = &sighting;
                    let log = log.as_ref().map(|log| &*log.name);
                    delivered.feed(feed).add(log, *index, sha256_of(&sighting));
                }
            }
        })?;
        Ok(delivered.sorted())
    }

    fn feed(&mut self, name: &str) -> &mut Feed {
        if !self.feeds.contains_key(name) {
            self.feeds.insert(name.into(), Feed::default());
        }
        self.feeds.get_mut(name).expect("it was just put there")
    }

    fn sorted(mut self) -> Self {
        for indexes in self.feeds.values_mut().flat_map(|feed| feed.indexes.values_mut()) {
            indexes.sort_unstable();
            indexes.dedup();
        }
        self
    }
}

impl Feed {
    fn add(&mut self, log: Option<&str>, index: Option<u64>, sha256: Option<[u8; 32]>) {
        self.certificates.extend(sha256);
        let (Some(log), Some(index)) = (log, index) else { return };
        match self.indexes.get_mut(log) {
            Some(indexes) => indexes.push(index),
            None => drop(self.indexes.insert(log.into(), vec![index])),
        }
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = (&str, Shown)> {
        self.indexes.iter().filter_map(|(log, indexes)| {
            let (first, last) = (*indexes.first()?, *indexes.last()?);
            let holes = indexes.windows(2).filter(|pair| pair[1] - pair[0] > 1).map(|pair| (pair[0] + 1, pair[1]));
            Some((&**log, Shown { first, last, delivered: indexes.len() as u64, holes: holes.collect() }))
        })
    }
}

/// Hands the chunks of all segments to `each`, in order.
fn read(segments: &[Segment], runtime: &Runtime, each: &mut dyn FnMut(Chunk)) -> Result<()> {
    let alone = Placement { process: 0, processes: 1, workers: 1 };
    let receivers = ct_source::start(segments.into(), alone, (0, 0), Options::new(runtime.handle().clone()))?;
    for mut receiver in receivers {
        let reader = std::thread::current();
        receiver.on_ready(move || reader.unpark());
        loop {
            match receiver.try_recv()? {
                Some(Step::Chunk(chunk)) => {
                    if let Some(why) = &chunk.broken {
                        let name = segments.get(chunk.segment as usize).map_or("", |segment| &segment.name);
                        return Err(anyhow::anyhow!("{why}").context(format!("reading {name}")));
                    }
                    each(chunk);
                }
                Some(Step::End) => break,
                None => std::thread::park(),
            }
        }
    }
    Ok(())
}

/// The same precertificate, as far as a log vouches for it: its issuance. Of a final certificate there is none.
pub(super) type Issuances = HashSet<[u8; 32]>;

/// The issuances of precertificates in `wanted` that `feed` delivered, by what the lake knows of them.
pub(super) fn issuances(lake: &Lake, feed: &Feed, wanted: &Issuances) -> Result<Issuances> {
    let mut found = Issuances::new();
    lake.issuances(&mut |row| {
        if let Some(tbs) = row.tbs_sha256.filter(|tbs| wanted.contains(tbs))
            && row.kind == Some(EntryKind::Precert)
            && feed.certificates.contains(&row.sha256)
        {
            found.insert(tbs);
        }
    })
    .context("reading what the feed delivered")?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_lie_between_what_was_delivered() {
        let mut delivered = Delivered::default();
        for (index, certificate) in [(5, 1), (9, 2), (6, 3), (9, 2), (12, 4)] {
            delivered.feed("a").add(Some("log"), Some(index), Some([certificate; 32]));
        }
        delivered.feed("a").add(Some("other"), Some(3), None);
        delivered.feed("a").add(None, Some(4), Some([5; 32]));
        let delivered = delivered.sorted();
        let feed = &delivered.feeds["a"];
        let log = Shown { first: 5, last: 12, delivered: 4, holes: vec![(7, 9), (10, 12)] };
        let other = Shown { first: 3, last: 3, delivered: 1, holes: vec![] };
        assert_eq!(feed.shown().collect::<Vec<_>>(), [("log", log), ("other", other)]);
        assert_eq!(feed.certificates.len(), 5);
    }
}
