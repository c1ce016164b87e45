//! Hot state: the newest part of the lake, ready for programs.
//!
//! **Hot state is a function of the lake.** One [`Applier`] follows the manifests in order and applies each by reading
//! the Parquet files it published; normal work, catching up and rebuilding are that one function. Every write is
//! absolute and may be repeated. Losing hot state, or part of it, costs a rebuild and nothing else, so no part of the
//! job waits for it and nothing is ever read back from it but its own position.
//!
//! **Time is event time.** The *horizon* is the newest `seen` of the lake that is to be believed, see `horizon`, and a
//! certificate is in hot state while `seen + ttl > horizon`, in whole milliseconds. Replaying an archive thus leaves the
//! last hour of the archive.

mod announcer;
mod applier;
mod embedded;
mod horizon;
mod place;
mod posting;
mod redis;
mod resp;
mod row;
mod stats;
mod views;
mod window;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use arrow_array::RecordBatch;

use crate::error::SinkError;
use crate::lake::Lake;
use crate::manifest::{FileEntry, Manifest};

pub use announcer::{Announced, Announcer};
pub use applier::{Applier, ApplierOptions, HotReport, newest_sequence, rebuild};
pub use horizon::horizon;
pub use row::{HotRow, json_of};
pub use stats::{Counters, Stats};
pub use views::{Fields, STATE as VIEW_STATE, ViewChanges, ViewValue};
pub use window::{CertificateRow, Window, WindowRow, WindowState};

/// Version of what hot state holds; another one is rebuilt.
const FORMAT: u32 = 2;

/// How much hot state holds, and how long its server is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotOptions {
    /// In front of every key.
    pub prefix: String,
    /// Event time a certificate is kept.
    pub ttl_seconds: u64,
    /// Newest certificates listed for a registered domain.
    pub per_domain: usize,
    /// Newest findings kept.
    pub findings_max: usize,
    /// For connecting, and for each answer.
    pub timeout: Duration,
}

impl Default for HotOptions {
    fn default() -> Self {
        Self {
            prefix: "ct:".to_owned(),
            ttl_seconds: 3_600,
            per_domain: 128,
            findings_max: 10_000,
            timeout: Duration::from_secs(1),
        }
    }
}

impl HotOptions {
    fn ttl_ms(&self) -> i64 {
        /// 35,000 years. A server refuses a life that would end beyond its calendar.
        const TTL_MS_MAX: i64 = 1 << 50;
        i64::try_from(self.ttl_seconds).unwrap_or(i64::MAX).saturating_mul(1_000).min(TTL_MS_MAX)
    }

    /// What is seen at this moment (milliseconds) or before has expired.
    fn expired_ms(&self, horizon_ms: Option<i64>) -> i64 {
        horizon_ms.map_or(i64::MIN, |horizon| horizon.saturating_sub(self.ttl_ms()))
    }

    /// Whatever decides what hot state holds; state of other options is rebuilt.
    fn shape(&self) -> String {
        format!("{FORMAT}/{}/{}/{}", self.ttl_seconds, self.per_domain, self.findings_max)
    }
}

/// How far hot state follows a lake: through manifest `sequence`, 0 when it was just reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The lake's id, see [`Manifest::lake`].
    pub lake: String,
    pub sequence: u64,
}

/// A finding and its place in the order of all findings, `<sequence>-<rank>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotFinding {
    pub place: String,
    pub row: HotRow,
}

/// A bounded part of a manifest.
pub enum Piece<'a> {
    /// Certificates to be shown, with the columns that [`HotState::certificate_columns`] names.
    Certificates { file: &'a FileEntry, batch: &'a RecordBatch },
    /// Findings to be shown; the first one is number `first_rank` (0-based) of its manifest.
    Findings { file: &'a FileEntry, first_rank: u64, batch: &'a RecordBatch },
    /// Certificates of earlier manifests, among them all that expired since: those seen after `before_ms` expire by the
    /// horizon of this manifest and did not by the one before.
    Passed { before_ms: i64, batch: &'a RecordBatch },
}

/// A store of hot state. Every call blocks, for at most a few time-outs.
///
/// One writer applies a manifest with [`begin`](Self::begin), any number of [`apply`](Self::apply) and one
/// [`finish`](Self::finish); only the last advances what is applied, so an attempt that stops anywhere is repeated.
pub trait HotState: Send {
    fn options(&self) -> &HotOptions;

    /// What is applied; `None` when there is no state, or not one of this version and these options.
    fn applied(&mut self) -> Result<Option<Applied>, SinkError>;

    /// Forgets what is applied, with findings and counters, and follows `lake` from its start.
    fn reset(&mut self, lake: &str) -> Result<(), SinkError>;

    /// Removes what [`reset`](Self::reset) leaves to expire by itself, of whatever lake it is.
    fn clear(&mut self) -> Result<(), SinkError>;

    /// The columns of `certificates` that the pieces need.
    fn certificate_columns(&self) -> &'static [&'static str];

    /// Whether findings and passed certificates are wanted as pieces; without, they are read from the lake, or told
    /// by the horizon.
    fn wants_copies(&self) -> bool;

    /// Starts `manifest`. `horizon_ms` is that of the lake with the newest manifest there is; `None` while nothing has a
    /// `seen`.
    fn begin(&mut self, manifest: &Manifest, horizon_ms: Option<i64>) -> Result<(), SinkError>;

    fn apply(&mut self, piece: Piece<'_>) -> Result<(), SinkError>;

    /// Records counters and position in one step. `false` when the position was no longer that of the manifest before:
    /// the store was emptied meanwhile, or somebody else writes to it. Nothing is recorded then.
    fn finish(&mut self, stats: &Stats) -> Result<bool, SinkError>;

    /// Whether it can be written to now, without changing anything that is shown.
    fn try_out(&mut self) -> Result<(), SinkError>;

    /// The certificate with this fingerprint (lower-case hex).
    fn cert(&mut self, sha256: &str) -> Result<Option<HotRow>, SinkError>;

    /// Fingerprints and `seen` (milliseconds) of the certificates for a registered domain, newest first.
    fn domain(&mut self, registered_domain: &str) -> Result<Vec<(String, i64)>, SinkError>;

    /// Newest first.
    fn findings(&mut self, limit: usize) -> Result<Vec<HotFinding>, SinkError>;

    /// One of [`Stats::NAMES`]; empty when unknown.
    fn stats(&mut self, name: &str) -> Result<Counters, SinkError>;

    /// The fields of `ct:state`; empty when there is none.
    fn state(&mut self) -> Result<BTreeMap<String, String>, SinkError>;

    /// Writes views. `false` when the state is no longer the one before: the store was emptied, or somebody else writes
    /// to it. Then some of them may be written, and all have to be.
    fn set_views(&mut self, changes: &ViewChanges<'_>) -> Result<bool, SinkError>;

    /// The names of all views that are there, but for the state.
    fn view_names(&mut self) -> Result<Vec<String>, SinkError>;

    /// One view, or [`VIEW_STATE`]; `None` when nothing stands under this name.
    fn view(&mut self, name: &str) -> Result<Option<ViewValue>, SinkError>;
}

/// What a URL of hot state can be, for whoever wrote another one.
pub const KINDS: &str =
    "hot state is redis://, rediss://, redis+unix://, redis+sentinel://, rediss+sentinel://, embedded or none";

/// Opens `embedded` or what [`open_server`] knows; `none` is no hot state.
pub fn open(url: &str, lake: &Lake, options: HotOptions) -> Result<Option<Box<dyn HotState>>, SinkError> {
    match url {
        "none" => Ok(None),
        "embedded" => Ok(Some(Box::new(embedded::Embedded::open(lake, options)))),
        url => open_server(url, options).map(Some),
    }
}

/// Opens `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://` or `rediss+sentinel://`.
///
/// A server that is away is no error here.
pub fn open_server(url: &str, options: HotOptions) -> Result<Box<dyn HotState>, SinkError> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis" | "rediss" | "redis+unix" | "redis+sentinel" | "rediss+sentinel") => {
            Ok(Box::new(redis::Redis::open(url, options)?))
        }
        _ => Err(SinkError::Url { url: redacted(url), why: KINDS.to_owned() }),
    }
}

/// A URL without what it may hold of secrets: user, password, query and fragment.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (place, hidden) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    // A password may hold an unescaped "@", "/", "?" or "#": the last "@" ends it, and one behind a "?" may, too.
    let place = match place.rsplit_once('@') {
        Some((_, place)) => place,
        None if hidden.contains('@') => "…",
        None => place,
    };
    if scheme.is_empty() { place.to_owned() } else { format!("{scheme}://{place}") }
}

/// An error and its causes on one line of bounded length, control characters escaped.
pub(crate) fn one_line(error: &dyn Error) -> String {
    const CHARS_MAX: usize = 300;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    let mut line = String::with_capacity(text.len().min(CHARS_MAX));
    for (at, char) in text.chars().enumerate() {
        if at == CHARS_MAX {
            line.push('…');
            break;
        }
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

/// The fields of `ct:state`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    lake: String,
    /// Newest manifest applied.
    published: u64,
    /// [`HotOptions::shape`] of the writer.
    shape: String,
    /// [`Stats::sum`]: counters that do not add up to it were lost in part.
    stats_sum: u64,
    horizon_ms: Option<i64>,
    /// [`Manifest::job`] and, as JSON, [`Manifest::resume`] of the newest manifest applied.
    job: String,
    resume: String,
}

impl State {
    /// Of hot state that was just reset.
    fn empty(lake: &str, options: &HotOptions) -> Self {
        Self {
            lake: lake.to_owned(),
            published: 0,
            shape: options.shape(),
            stats_sum: Stats::default().sum(),
            horizon_ms: None,
            job: String::new(),
            resume: String::new(),
        }
    }

    fn after(manifest: &Manifest, horizon_ms: Option<i64>, stats: &Stats, options: &HotOptions) -> Self {
        Self {
            lake: manifest.lake.clone(),
            published: manifest.sequence,
            shape: options.shape(),
            stats_sum: stats.sum(),
            horizon_ms,
            job: manifest.job.clone(),
            resume: serde_json::to_string(&manifest.resume).expect("a resume point is always JSON"),
        }
    }

    fn fields(&self) -> BTreeMap<String, String> {
        let horizon = self.horizon_ms.map(|horizon| horizon.to_string()).unwrap_or_default();
        [
            ("lake", self.lake.clone()),
            ("published", self.published.to_string()),
            ("shape", self.shape.clone()),
            ("stats_sum", self.stats_sum.to_string()),
            ("horizon", horizon),
            ("job", self.job.clone()),
            ("resume", self.resume.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// `None` unless all that decides is there.
    fn read(fields: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| fields.get(name).cloned();
        Some(Self {
            lake: text("lake")?,
            published: text("published")?.parse().ok()?,
            shape: text("shape")?,
            stats_sum: text("stats_sum")?.parse().ok()?,
            horizon_ms: text("horizon")?.parse().ok(),
            job: text("job").unwrap_or_default(),
            resume: text("resume").unwrap_or_default(),
        })
    }

    fn applied(self, options: &HotOptions) -> Option<Applied> {
        (self.shape == options.shape()).then_some(Applied { lake: self.lake, sequence: self.published })
    }

    /// Whether `manifest` is the next one.
    fn precedes(&self, manifest: &Manifest) -> bool {
        self.lake == manifest.lake && self.published.checked_add(1) == Some(manifest.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_redacted(url: &str, want: &str) {
        assert_eq!(redacted(url), want);
    }
    #[test]
    fn password() {
        check_redacted("redis://:secret@host:6379/0", "redis://host:6379/0");
    }
    #[test]
    fn unescaped_password() {
        check_redacted("rediss://user:p@ss/w@host", "rediss://host");
    }
    #[test]
    fn password_in_a_query() {
        check_redacted("redis+unix:///run/redis.sock?pass=secret", "redis+unix:///run/redis.sock");
    }
    #[test]
    fn password_with_a_question_mark() {
        check_redacted("redis://:sec?ret@host", "redis://…");
    }
    #[test]
    fn no_secret() {
        check_redacted("embedded", "embedded");
    }

    #[test]
    fn errors_are_one_escaped_line() {
        let error = std::io::Error::other(format!("a\r\n\u{1b}[31m{}", "x".repeat(1_000)));
        let line = one_line(&error);
        assert!(line.starts_with("a\\r\\n\\u{1b}[31mx") && line.ends_with('…') && line.len() < 340, "{line}");
    }

    #[test]
    fn state_reads_back() {
        let mut state = State::empty("ab", &HotOptions::default());
        assert_eq!(State::read(&state.fields()).as_ref(), Some(&state));
        state.horizon_ms = Some(-5);
        assert_eq!(State::read(&state.fields()).as_ref(), Some(&state));
        assert_eq!(State::read(&BTreeMap::new()), None);
        let other = HotOptions { per_domain: 1, ..HotOptions::default() };
        assert_eq!(state.applied(&other), None);
    }
}
