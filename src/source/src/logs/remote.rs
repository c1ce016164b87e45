//! A stretch of a log as a segment: read from the log, page by page, and proven at its end.

use std::io;
use std::sync::Arc;

use ct_model::ctlog::head::TreeHead;
use ct_model::ctlog::merkle::range::range_root;
use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::access::Access;
use super::error::LogError;
use super::follow::{PageTask, told};
use super::lines::Lines;
use super::log::{Log, Page};
use super::stretch::Stretch;
use super::{HeadTold, SingleLog, single};
use crate::segments::Segment;

/// Pages that are asked for at a time, as far as the operator's budget goes.
const PAGES_AHEAD: usize = 8;
/// Pages that wait for the reader.
const PAGES_WAITING_MAX: usize = 2;
/// What an entry counts for in a segment's length, which nobody knows before it is read.
pub(super) const ENTRY_BYTES: u64 = 3_000;

/// Lines of a page and the entries in it; `None` behind the last.
type Item = Result<Option<(Vec<u8>, u64)>, LogError>;

/// The text of a stretch. It ends with an error when the log cannot be read, or its entries are not those it signed.
pub(crate) fn open(segment: &Segment, access: &Access, runtime: &Handle) -> io::Result<Lines> {
    let missing = || io::Error::other("nothing says where to read the log");
    let source = segment.log.as_ref().ok_or_else(missing)?;
    let remote = source.remote.clone().ok_or_else(missing)?;
    let head = source.head.as_ref().and_then(HeadTold::head).ok_or_else(missing)?;
    let described = SingleLog { url: remote.url, key: remote.key, submission_url: remote.submission_url };
    let mut described = single(&described).map_err(|error| failed(&error))?;
    described.operator = remote.operator.into();
    let log = Arc::new(access.open(&described).map_err(|error| failed(&error))?);
    let (out, mut items) = mpsc::channel(PAGES_WAITING_MAX);
    runtime.spawn(async move {
        let read = tokio::select! {
            read = read(&log, (remote.first, remote.end), &head, &out) => read,
            // A reader that is gone needs no word, and the log is left alone.
            () = out.closed() => return,
        };
        if let Err(error) = read {
            let _ = out.send(Err(error)).await;
        }
    });
    Ok(Lines::new(move || match items.blocking_recv() {
        Some(item) => Ok(item.map_err(|error| failed(&error))?.map(|(lines, entries)| (lines, entries * ENTRY_BYTES))),
        None => Err(io::Error::other("reading the log ended too early")),
    }))
}

async fn read(
    log: &Arc<Log>,
    (first, end): (u64, u64),
    head: &TreeHead,
    out: &mpsc::Sender<Item>,
) -> Result<(), LogError> {
    let size = head.size;
    let pages = stream::iter(Page::windows(first, end));
    let pages = pages.map(|window| PageTask::spawn(Arc::clone(log), window, size).join());
    let mut pages = std::pin::pin!(pages.buffered(PAGES_AHEAD));
    let mut stretch = Stretch::new(log.name(), Some(*head), true);
    let mut leaf_hashes = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page?;
        let entries = page.leaf_hashes.len() as u64;
        stretch.add(page.first, entries, true);
        leaf_hashes.extend_from_slice(&page.leaf_hashes);
        if out.send(Ok(Some((page.lines, entries)))).await.is_err() {
            return Ok(());
        }
    }
    let beside = log.beside(first, &leaf_hashes, head).await?;
    if range_root(size, first, &leaf_hashes, beside) != Ok(head.root) {
        let why = format!("entries {first} to {} are not those of the tree it signed", end - 1);
        return Err(LogError::Proof { log: log.name().to_string(), why });
    }
    for last in [Some((stretch.end(true), 0)), None] {
        let _ = out.send(Ok(last)).await;
    }
    Ok(())
}

fn failed(error: &LogError) -> io::Error {
    io::Error::other(told(error))
}
