//! What a cluster is to do. The plan is made once and read by every process; where to start is what each process finds
//! in the lake, and processes that found different things refuse each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ct_dataflows::modules::Modules;
use ct_dataflows::operators::cut::{CutRule, CutStart};
use ct_dataflows::{Position, Settings};
use ct_model::{Age, Counts, Horizon, id};
use ct_sinks::ResumePoint;
use ct_sinks::lake::{Head, Lake};
use ct_source::Segment;
use ct_source::logs::AccessOptions;
use serde::{Deserialize, Serialize};

use crate::config::{Config, HotConfig, ModuleOptions};

/// Messages after which a cut is made even if few rows gathered.
const CUT_MESSAGES: u64 = 4_000_000;
/// Epochs that a worker may have read and not settled: one in each hand and one in between.
const EPOCHS_INFLIGHT: usize = 3;
/// The same for batches of a journal, which are a sixteenth of a chunk.
const BATCHES_INFLIGHT: usize = 24;
/// Cuts that may be on their way to the store while reading goes on.
const CUTS_INFLIGHT: usize = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Random id (hex) of this job; stands in every manifest it writes.
    pub job: String,
    pub processes: usize,
    pub workers: usize,
    pub lake: String,
    /// How long processes look for each other.
    pub connect: Duration,
    pub keep_der: bool,
    pub buffer_bytes: u64,
    pub modules: Vec<String>,
    pub module_options: ModuleOptions,
    pub source: Source,
    /// How long dedup remembers, if not for ever.
    pub horizon: Option<Horizon>,
    /// Where rows are shown before they are published.
    pub announce: Option<HotConfig>,
    /// Digest (hex) of what identifies the source.
    pub input: String,
}

/// What is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Source {
    /// To its end.
    Segments {
        feed: String,
        segments: Vec<Segment>,
        /// How logs are asked, where segments are to be read from them.
        logs: Option<AccessOptions>,
    },
    /// For as long as somebody writes it.
    Journal {
        dir: PathBuf,
        /// Its own (hex).
        id: String,
        /// What is this old is published.
        publish_interval: Duration,
    },
}

impl Source {
    /// Nobody waits for the end of it.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Journal { .. })
    }

    /// Digest (hex): the same feed and the same bytes in the same order have the same, and a journal keeps its own.
    pub fn digest(&self) -> String {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        match self {
            Self::Segments { feed, segments, .. } => {
                parts.push(feed.clone().into());
                for segment in segments {
                    parts.extend([
                        segment.name.clone().into_bytes(),
                        segment.bytes.to_be_bytes().to_vec(),
                        segment.version.clone().into_bytes(),
                    ]);
                }
            }
            Self::Journal { id, .. } => parts.extend([b"journal".to_vec(), id.clone().into()]),
        }
        id::to_hex(&id::digest(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }
}

/// What the lake held, and where the input continues.
#[derive(Clone, Debug)]
pub struct Start {
    pub lake: String,
    /// Number of the newest manifest, and the SHA-256 (hex) of its bytes.
    pub newest: u64,
    pub newest_sha256: Option<String>,
    pub totals: Counts,
    pub newest_seen: Option<i64>,
    /// How long journals were written up to the newest manifest.
    pub age: Age,
    pub from: Position,
    /// Lines of that segment before that position.
    pub lines: u64,
    /// Segments before `from` that could not be read to their end.
    pub unreadable: BTreeMap<String, String>,
    /// The last segment of a journal of which lines of logs are lost.
    pub damaged: Option<u32>,
}

impl Start {
    /// Where to go on after `head`: behind what an unfinished job read of the same input, else from the beginning.
    ///
    /// A journal is never finished, and cannot be read again from its beginning: other jobs may have come in between.
    pub fn after(lake: &Lake, head: &Head, plan: &Plan) -> Result<Self> {
        let manifest = head.manifest.as_ref();
        let is_ours = |at: &ResumePoint| at.input == plan.input && !at.complete;
        let mut resume = manifest.map(|manifest| manifest.resume.clone()).filter(is_ours);
        if resume.is_none() && plan.source.is_live() {
            for manifest in lake.manifests()? {
                resume = Some(manifest?.resume).filter(is_ours).or(resume);
            }
        }
        let resume = resume.unwrap_or_default();
        Ok(Self {
            lake: match manifest {
                Some(manifest) => manifest.lake.clone(),
                None => random_id()?,
            },
            newest: head.sequence,
            newest_sha256: head.sha256.clone(),
            totals: manifest.map(|manifest| manifest.totals.clone()).unwrap_or_default(),
            newest_seen: manifest.and_then(|manifest| manifest.newest_seen),
            age: manifest.map(|manifest| manifest.age).unwrap_or_default(),
            from: Position { segment: resume.segment, chunk: resume.chunk },
            lines: resume.lines,
            unreadable: resume.unreadable,
            damaged: resume.damaged,
        })
    }
}

impl Plan {
    /// A new job of `config`. A live one announces its rows where hot state is.
    pub fn new(config: &Config, modules: Vec<String>, module_options: ModuleOptions, source: Source) -> Result<Self> {
        Ok(Self {
            job: random_id()?,
            processes: config.cluster.processes,
            workers: config.cluster.workers,
            lake: config.lake.url.clone(),
            connect: Duration::from_secs(config.cluster.connect_s),
            keep_der: config.lake.der,
            buffer_bytes: config.lake.buffer_mb << 20,
            modules,
            module_options,
            input: source.digest(),
            horizon: config.dedup.horizon().filter(|_| source.is_live()),
            announce: source.is_live().then(|| config.hot.clone()),
            source,
        })
    }

    pub fn settings(&self, start: &Start) -> Result<Settings> {
        let modules = Modules::prepare(&self.modules, &self.module_options)?;
        let (segments, interval, epochs_inflight) = match &self.source {
            Source::Segments { segments, .. } => {
                let count = u32::try_from(segments.len()).context("more than 4,294,967,295 segments")?;
                (count, None, EPOCHS_INFLIGHT)
            }
            Source::Journal { publish_interval, .. } => {
                let interval = i64::try_from(publish_interval.as_micros()).context("the publish interval")?;
                (u32::MAX, Some(interval), BATCHES_INFLIGHT)
            }
        };
        Ok(Settings {
            keep_der: self.keep_der,
            modules: Arc::new(modules),
            rule: CutRule { bytes: self.buffer_bytes * self.processes as u64, messages: CUT_MESSAGES, interval },
            start: CutStart {
                sequence: start.newest + 1,
                from: start.from,
                lines: start.lines,
                segments,
                damaged: start.damaged,
            },
            epochs_inflight,
            cuts_inflight: CUTS_INFLIGHT,
        })
    }

    /// Everything that shapes the graph and its answers: processes that differ in it must not meet.
    pub fn graph_digest(&self, start: &Start) -> Result<[u8; 32]> {
        let text = serde_json::to_vec(&(
            env!("CARGO_PKG_VERSION"),
            (self.processes, self.workers),
            (&self.lake, self.keep_der, self.buffer_bytes, self.horizon),
            (&self.modules, &self.module_options),
            (&self.input, start.newest, start.from, &start.newest_sha256),
        ))?;
        Ok(id::digest(&[&text]))
    }
}

/// 128 random bits as hex.
pub fn random_id() -> Result<String> {
    random_bytes().map(|bytes| id::to_hex(&bytes))
}

pub fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("asking the system for random bytes")?;
    Ok(bytes)
}
