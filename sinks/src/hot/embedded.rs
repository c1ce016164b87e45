//! Hot state inside the lake's own store, for those who run no server.
//!
//! ```text
//! LAKE/_ct/hot/state.json                         position, counters, which files below are live
//! LAKE/_ct/hot/postings/<sequence>-<part>.bin     where the certificates of a manifest stand, see `posting`
//! LAKE/_ct/hot/views.json                         all views, replaced in one put
//! ```
//!
//! Posting files are immutable; `state.json` is replaced in one put and alone decides what counts. One that is missing or
//! is not as long as `state.json` says is a loss, after which an applier follows the lake anew. Certificates and
//! findings are not copied: they are read from the published Parquet files. Expiry needs no clock and no sweep, every
//! answer is held against the horizon on record.
//!
//! Order of a manifest, and what a crash leaves:
//! 1. put its posting files. Crash: files that `state.json` does not name; the repeat overwrites or removes them.
//! 2. put `state.json`. Crash: posting files that expired are still there; the next manifest removes them.
//! 3. delete posting files that `state.json` does not name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ct_model::id::from_hex;
use ct_model::{Table, Timestamp};
use object_store::{GetOptions, ObjectStore, PutMode};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::error::SinkError;
use crate::hot::posting::{HEADER_BYTES, Posted, PostingBuilder, PostingHeader};
use crate::hot::row::{Cells, CertificateKeys, FINDING_COLUMNS, HotRow, kind_rank};
use crate::hot::stats::{Counters, Stats};
use crate::hot::views::{self, ViewChanges, ViewValue};
use crate::hot::{Applied, FORMAT, HotFinding, HotOptions, HotState, Piece, State, one_line};
use crate::lake::Lake;
use crate::manifest::{FileEntry, Manifest};
use crate::store::Store;

const STATE: &str = "_ct/hot/state.json";
const POSTINGS: &str = "_ct/hot/postings";
const VIEWS: &str = "_ct/hot/views.json";
/// Certificates in a posting file: bounds the memory of a writer, about 120 bytes each.
const POSTING_CERTIFICATES_MAX: usize = 1 << 18;
/// How often a reader starts over because what it read about was replaced meanwhile.
const READS_MAX: usize = 4;

pub(crate) struct Embedded {
    lake: Lake,
    options: HotOptions,
    applying: Option<Applying>,
    /// The newest `state.json` read, with its version.
    contents: Option<(Option<String>, Arc<Contents>)>,
    /// Of live posting files.
    headers: HashMap<String, PostingHeader>,
}

struct Applying {
    manifest: Manifest,
    horizon_ms: Option<i64>,
    postings: Vec<Posting>,
    /// The posting file that is being filled, and the Parquet files it speaks of.
    builder: PostingBuilder,
    files: Vec<FileEntry>,
}

/// What `state.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Contents {
    format: u32,
    state: BTreeMap<String, String>,
    stats: BTreeMap<String, Counters>,
    /// Those with a certificate that has not expired.
    postings: Vec<Posting>,
    /// Oldest first; the newest files that hold `findings_max` findings.
    findings: Vec<FindingsFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Posting {
    path: String,
    newest_ms: i64,
    /// Size of the file.
    bytes: u64,
    files: Vec<FileEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FindingsFile {
    sequence: u64,
    /// Number (0-based) of its first finding in its manifest.
    first_rank: u64,
    file: FileEntry,
}

impl Contents {
    fn state(&self) -> Option<State> {
        State::read(&self.state)
    }

    fn expired_ms(&self, options: &HotOptions) -> i64 {
        options.expired_ms(self.state().and_then(|state| state.horizon_ms))
    }
}

impl Embedded {
    pub(crate) fn open(lake: &Lake, options: HotOptions) -> Self {
        Self { lake: lake.clone(), options, applying: None, contents: None, headers: HashMap::new() }
    }

    fn store(&self) -> &Store {
        self.lake.store()
    }

    /// `state.json` as it is now; `None` when there is none, or none of this format.
    fn read(&mut self) -> Result<Option<Arc<Contents>>, SinkError> {
        let known = self.contents.as_ref().and_then(|(version, _)| version.clone());
        let options = GetOptions { if_none_match: known, ..GetOptions::default() };
        let objects = self.store().objects();
        let get = async {
            let found = objects.get_opts(&STATE.into(), options).await?;
            Ok((found.meta.e_tag.clone(), found.bytes().await?))
        };
        let (version, bytes): (_, Bytes) = match self.store().runtime().block_on(get) {
            Ok(found) => found,
            Err(object_store::Error::NotModified { .. }) => {
                return Ok(self.contents.as_ref().map(|(_, contents)| Arc::clone(contents)));
            }
            Err(object_store::Error::NotFound { .. }) => {
                self.contents = None;
                return Ok(None);
            }
            Err(source) => return Err(Store::failed("reading", STATE, source)),
        };
        // Anything but our own format is not ours to explain: it is rebuilt.
        let contents = serde_json::from_slice(&bytes).ok().filter(|contents: &Contents| contents.format == FORMAT);
        self.contents = contents.map(|contents| (version, Arc::new(contents)));
        let contents = self.contents.as_ref().map(|(_, contents)| Arc::clone(contents));
        let live: HashSet<_> =
            contents.iter().flat_map(|contents| &contents.postings).map(|posting| &*posting.path).collect();
        self.headers.retain(|path, _| live.contains(&**path));
        Ok(contents)
    }

    fn write(&mut self, contents: &Contents) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(contents).expect("state has only text keys");
        self.store().put("writing", STATE, bytes.into(), PutMode::Overwrite)
    }

    /// Deletes posting files that `contents` does not name. What cannot be deleted now is deleted another time.
    fn sweep(&self, contents: &Contents) {
        let swept = self.store().list(POSTINGS).and_then(|paths| {
            let live: HashSet<&str> = contents.postings.iter().map(|posting| &*posting.path).collect();
            paths.iter().filter(|path| !live.contains(&***path)).try_for_each(|path| self.store().delete(path))
        });
        if let Err(error) = swept {
            warn!("expired posting files stay for now: {}", one_line(&error));
        }
    }

    /// All views; none when there is no file of them, or not one of ours.
    fn read_views(&self) -> Result<BTreeMap<String, ViewValue>, SinkError> {
        match self.store().get(VIEWS) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(SinkError::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn applying(&mut self) -> &mut Applying {
        self.applying.as_mut().expect("begin comes before apply and finish")
    }

    /// Puts the posting file that is being filled.
    fn cut_posting(&mut self) -> Result<(), SinkError> {
        let per_domain = self.options.per_domain;
        let applying = self.applying();
        if applying.builder.is_empty() {
            return Ok(());
        }
        let path = format!("{POSTINGS}/{:012}-{:04}.bin", applying.manifest.sequence, applying.postings.len());
        let newest_ms = applying.builder.newest_ms();
        let bytes = applying.builder.encode(per_domain);
        let files = std::mem::take(&mut applying.files);
        applying.postings.push(Posting { path: path.clone(), newest_ms, bytes: bytes.len() as u64, files });
        let header = PostingHeader::decode(&bytes).expect("just encoded");
        self.headers.insert(path.clone(), header);
        self.store().put("writing", &path, bytes.into(), PutMode::Overwrite)
    }

    /// Calls `look` with what is applied now, and again when a file it needs was replaced meanwhile.
    fn look<T: Default>(
        &mut self,
        look: impl Fn(&mut Self, &Contents) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let mut reads = 0;
        loop {
            let Some(contents) = self.read()? else { return Ok(T::default()) };
            reads += 1;
            match look(self, &contents) {
                Err(SinkError::Store { source: object_store::Error::NotFound { .. }, .. }) if reads < READS_MAX => {}
                // What a store says of a range behind the end, or of an object that is gone, tells nobody what to do.
                Err(error) => {
                    let lost = self.lost(&contents).ok().flatten();
                    return Err(lost.map_or(error, |(posting, what)| damaged(posting, what)));
                }
                result => return result,
            }
        }
    }

    fn header(&mut self, posting: &Posting) -> Result<PostingHeader, SinkError> {
        if let Some(header) = self.headers.get(&posting.path) {
            return Ok(header.clone());
        }
        let bytes = self.get_range(posting, 0..HEADER_BYTES as u64)?;
        let header = PostingHeader::decode(&bytes).ok_or_else(|| damaged(posting, NOT_OURS))?;
        self.headers.insert(posting.path.clone(), header.clone());
        Ok(header)
    }

    fn get_range(&self, posting: &Posting, range: std::ops::Range<u64>) -> Result<Bytes, SinkError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.store().get_ranges(&posting.path, &[range])?.pop().ok_or_else(|| damaged(posting, NOT_OURS))
    }

    /// A posting file that is not what `contents` says of it, and how.
    fn lost<'a>(&mut self, contents: &'a Contents) -> Result<Option<(&'a Posting, &'static str)>, SinkError> {
        let there: HashMap<_, _> = self.store().list_sizes(POSTINGS)?.into_iter().collect();
        for posting in &contents.postings {
            match there.get(&posting.path) {
                None => return Ok(Some((posting, "is missing"))),
                Some(bytes) if *bytes != posting.bytes => {
                    return Ok(Some((posting, "has another size than was written")));
                }
                Some(_) => {}
            }
            // Read once; what this process wrote itself is known.
            match self.header(posting) {
                Err(SinkError::Damaged { .. }) => return Ok(Some((posting, NOT_OURS))),
                header => header.map(drop)?,
            }
        }
        Ok(None)
    }

    /// The certificate that is shown for a fingerprint, with the file it stands in.
    fn find(&mut self, contents: &Contents, sha256: &[u8; 32]) -> Result<Option<(Posted, FileEntry)>, SinkError> {
        let expired_ms = contents.expired_ms(&self.options);
        let mut best: Option<(Posted, &FileEntry)> = None;
        let order = |posted: &Posted| (posted.kind, Reverse(posted.seen_ms));
        for posting in &contents.postings {
            let header = self.header(posting)?;
            let bytes = self.get_range(posting, header.certificate_range(sha256))?;
            let Some(posted) = PostingHeader::find_certificate(&bytes, sha256) else { continue };
            let file = posting.files.get(posted.file as usize).ok_or_else(|| damaged(posting, NOT_OURS))?;
            if posted.seen_ms > expired_ms && best.is_none_or(|(best, _)| order(&posted) < order(&best)) {
                best = Some((posted, file));
            }
        }
        Ok(best.map(|(posted, file)| (posted, file.clone())))
    }

    fn mentions(&mut self, contents: &Contents, domain: &str) -> Result<Vec<Posted>, SinkError> {
        let expired_ms = contents.expired_ms(&self.options);
        let mut out = Vec::new();
        for posting in &contents.postings {
            let header = self.header(posting)?;
            let bytes = self.get_range(posting, header.mention_range(domain))?;
            let ranges = header.certificates_of(&bytes, domain);
            if ranges.is_empty() {
                continue;
            }
            for record in self.store().get_ranges(&posting.path, &ranges)? {
                let posted = PostingHeader::certificate_at(&record).ok_or_else(|| damaged(posting, NOT_OURS))?;
                if posted.seen_ms > expired_ms {
                    out.push(posted);
                }
            }
        }
        Ok(out)
    }
}

const NOT_OURS: &str = "is not the posting file that was written";

fn damaged(posting: &Posting, what: &str) -> SinkError {
    let what = format!("{what}; the next job on this lake builds hot state anew");
    SinkError::Damaged { path: posting.path.clone(), what }
}

impl HotState for Embedded {
    fn options(&self) -> &HotOptions {
        &self.options
    }

    fn applied(&mut self) -> Result<Option<Applied>, SinkError> {
        let Some(contents) = self.read()? else { return Ok(None) };
        if let Some((posting, what)) = self.lost(&contents)? {
            warn!("{} {what}: hot state is of no use any more", posting.path);
            return Ok(None);
        }
        Ok(contents.state().and_then(|state| state.applied(&self.options)))
    }

    fn reset(&mut self, lake: &str) -> Result<(), SinkError> {
        self.applying = None;
        let contents = Contents {
            format: FORMAT,
            state: State::empty(lake, &self.options).fields(),
            stats: BTreeMap::new(),
            postings: Vec::new(),
            findings: Vec::new(),
        };
        self.write(&contents)?;
        self.sweep(&contents);
        Ok(())
    }

    /// A reset leaves nothing but the views.
    fn clear(&mut self) -> Result<(), SinkError> {
        self.store().delete(VIEWS)
    }

    fn certificate_columns(&self) -> &'static [&'static str] {
        CertificateKeys::COLUMNS
    }

    fn wants_copies(&self) -> bool {
        false
    }

    fn begin(&mut self, manifest: &Manifest, horizon_ms: Option<i64>) -> Result<(), SinkError> {
        self.applying = Some(Applying {
            manifest: manifest.clone(),
            horizon_ms,
            postings: Vec::new(),
            builder: PostingBuilder::default(),
            files: Vec::new(),
        });
        Ok(())
    }

    fn apply(&mut self, piece: Piece<'_>) -> Result<(), SinkError> {
        // Findings are read from the lake, and what the horizon passed is told by `seen`.
        let Piece::Certificates { file, batch } = piece else { return Ok(()) };
        let horizon_ms = self.applying().horizon_ms;
        let expired_ms = self.options.expired_ms(horizon_ms);
        // A posting file stays until the last of its certificates expires, which a few of a time to come put off.
        let is_of_later_days = self.applying().files.last().is_some_and(|last| days_between(last, file) > 1);
        if is_of_later_days || self.applying().builder.len() >= POSTING_CERTIFICATES_MAX {
            self.cut_posting()?;
        }
        let applying = self.applying();
        if applying.files.last() != Some(file) {
            applying.files.push(file.clone());
        }
        let number = applying.files.len() as u32 - 1;
        let keys = CertificateKeys::of(batch);
        for row in 0..batch.num_rows() {
            if let Some((sha256, seen_ms)) = keys.key(row).filter(|&(_, seen_ms)| seen_ms > expired_ms) {
                applying.builder.push(sha256, seen_ms, number, kind_rank(keys.id_kind(row)), keys.domains(row));
            }
        }
        Ok(())
    }

    fn finish(&mut self, stats: &Stats) -> Result<bool, SinkError> {
        self.cut_posting()?;
        let Applying { manifest, horizon_ms, postings, .. } = self.applying.take().expect("checked by cut_posting");
        let Some(before) = self.read()? else { return Ok(false) };
        if !before.state().is_some_and(|state| state.precedes(&manifest)) {
            return Ok(false);
        }
        let mut contents = Contents {
            format: FORMAT,
            state: State::after(&manifest, horizon_ms, stats, &self.options).fields(),
            stats: stats.named().map(|(name, counters)| (name.to_owned(), counters)).into(),
            postings: before.postings.iter().cloned().chain(postings).collect(),
            findings: before.findings.clone(),
        };
        let expired_ms = self.options.expired_ms(horizon_ms);
        contents.postings.retain(|posting| posting.newest_ms > expired_ms);
        contents.findings.extend(findings_of(&manifest));
        let mut newer = 0;
        let needed = contents.findings.iter().rev().take_while(|findings| {
            let wanted = newer < self.options.findings_max as u64;
            newer += findings.file.rows;
            wanted
        });
        let unneeded = contents.findings.len() - needed.count();
        contents.findings.drain(..unneeded);
        self.write(&contents)?;
        self.sweep(&contents);
        Ok(true)
    }

    /// The lake's store, where it is, is tried out with the lake.
    fn try_out(&mut self) -> Result<(), SinkError> {
        self.read().map(drop)
    }

    fn cert(&mut self, sha256: &str) -> Result<Option<HotRow>, SinkError> {
        let mut bytes = [0; 32];
        if from_hex(sha256, &mut bytes).is_none() {
            return Ok(None);
        }
        let found = self.look(|hot, contents| hot.find(contents, &bytes))?;
        let Some((posted, file)) = found else { return Ok(None) };
        for batch in self.lake.find_certificates(&[file], &posted.hex())? {
            let keys = CertificateKeys::of(&batch);
            if let Some(row) = (0..batch.num_rows()).find(|&row| kind_rank(keys.id_kind(row)) == posted.kind) {
                return Ok(Some(Cells::of(&batch, STATE)?.row(row)));
            }
        }
        Ok(None)
    }

    fn domain(&mut self, registered_domain: &str) -> Result<Vec<(String, i64)>, SinkError> {
        let mut found = self.look(|hot, contents| hot.mentions(contents, registered_domain))?;
        found.sort_unstable_by_key(|posted| Reverse((posted.seen_ms, posted.sha256)));
        let mut met = HashSet::new();
        found.retain(|posted| met.insert(posted.sha256));
        found.truncate(self.options.per_domain);
        Ok(found.iter().map(|posted| (posted.hex(), posted.seen_ms)).collect())
    }

    fn findings(&mut self, limit: usize) -> Result<Vec<HotFinding>, SinkError> {
        let limit = limit.min(self.options.findings_max);
        self.look(|hot, contents| {
            let mut out: Vec<HotFinding> = Vec::new();
            for FindingsFile { sequence, first_rank, file } in contents.findings.iter().rev() {
                let needed = (limit - out.len()) as u64;
                if needed == 0 {
                    break;
                }
                let mut number = 0;
                let mut newest = Vec::new();
                hot.lake.scan(file, FINDING_COLUMNS, &mut |batch| {
                    let cells = Cells::of(&batch, &file.path)?;
                    for row in 0..batch.num_rows() {
                        if number + needed >= file.rows {
                            let place = format!("{sequence}-{}", first_rank + number);
                            newest.push(HotFinding { place, row: cells.row(row) });
                        }
                        number += 1;
                    }
                    Ok(())
                })?;
                out.extend(newest.into_iter().rev().take(needed as usize));
            }
            Ok(out)
        })
    }

    fn stats(&mut self, name: &str) -> Result<Counters, SinkError> {
        self.look(|_, contents| Ok(contents.stats.get(name).cloned().unwrap_or_default()))
    }

    fn state(&mut self) -> Result<BTreeMap<String, String>, SinkError> {
        self.look(|_, contents| Ok(contents.state.clone()))
    }

    fn set_views(&mut self, changes: &ViewChanges<'_>) -> Result<bool, SinkError> {
        let mut views = match changes.before {
            None => BTreeMap::new(),
            Some(before) => {
                let views = self.read_views()?;
                if !matches!(views.get(views::STATE), Some(ViewValue::Hash(state)) if state == before) {
                    return Ok(false);
                }
                views
            }
        };
        views.extend(changes.values.iter().map(|(name, value)| (name.clone(), value.clone())));
        views.insert(views::STATE.to_owned(), ViewValue::Hash(changes.state.clone()));
        views.retain(|_, value| !value.is_empty());
        let bytes = serde_json::to_vec(&views).expect("views have only text keys");
        self.store().put("writing", VIEWS, bytes.into(), PutMode::Overwrite)?;
        Ok(true)
    }

    fn view_names(&mut self) -> Result<Vec<String>, SinkError> {
        let mut views = self.read_views()?;
        views.remove(views::STATE);
        Ok(views.into_keys().collect())
    }

    fn view(&mut self, name: &str) -> Result<Option<ViewValue>, SinkError> {
        Ok(self.read_views()?.remove(name))
    }
}

/// How many days the certificates of `right` were seen after those of `left`; a file holds one day.
fn days_between(left: &FileEntry, right: &FileEntry) -> i64 {
    let day = |file: &FileEntry| file.max_seen.map_or(0, |seen| Timestamp(seen).day().0);
    day(right).saturating_sub(day(left))
}

fn findings_of(manifest: &Manifest) -> impl Iterator<Item = FindingsFile> {
    let mut first_rank = 0;
    manifest.files.iter().filter(|file| file.table == Table::Findings).map(move |file| {
        let entry = FindingsFile { sequence: manifest.sequence, first_rank, file: file.clone() };
        first_rank += file.rows;
        entry
    })
}
