//! Keeps published segments of the journal: compressed, under a name of their own, before they are deleted.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ct_sinks::Store;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::warn;

/// As the lake's files.
const ZSTD_LEVEL: i32 = 3;
/// Before a segment that could not be kept is tried again.
const PAUSE: Duration = Duration::from_secs(10);

type Segment = (u32, PathBuf);

/// A thread that stores one segment after the other.
pub struct Archive {
    waiting: std::sync::mpsc::Sender<Segment>,
    done: mpsc::UnboundedReceiver<Segment>,
    /// On their way.
    taken: BTreeSet<u32>,
}

impl Archive {
    /// `journal` is the id of the journal; names begin with it, so that several journals share a place.
    pub fn open(url: &str, journal: String, runtime: &Handle) -> Result<Self> {
        let store = Store::open(url, runtime.clone()).context("journal.keep")?;
        let (waiting, segments) = std::sync::mpsc::channel::<Segment>();
        let (kept, done) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            for segment in segments {
                // It stays in the journal until it is kept.
                while let Err(error) = keep(&store, &journal, &segment) {
                    if !segment.1.exists() {
                        warn!(path = %segment.1.display(), "a segment of the journal was deleted before it was kept");
                        break;
                    }
                    let path = segment.1.display();
                    warn!(%path, error = format!("{error:#}"), "a segment of the journal cannot be kept; it is tried again");
                    std::thread::sleep(PAUSE);
                }
                if kept.send(segment).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { waiting, done, taken: BTreeSet::new() })
    }

    /// Takes those that it does not have already.
    pub fn keep(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            if self.taken.insert(segment.0) {
                // The thread ends with this process only.
                let _ = self.waiting.send(segment);
            }
        }
    }

    /// The next segment that is kept; never, without an archive.
    pub async fn done(archive: &mut Option<Self>) -> u32 {
        match archive {
            Some(archive) => match archive.done.recv().await {
                Some((number, _)) => {
                    archive.taken.remove(&number);
                    number
                }
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

fn keep(store: &Store, journal: &str, (number, path): &Segment) -> Result<()> {
    let bytes = compress(path).with_context(|| path.display().to_string())?;
    store.write(&format!("{journal}-{number:010}.jsonl.zst"), bytes.into())?;
    Ok(())
}

fn compress(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut file, &mut encoder)?;
    encoder.finish()
}
