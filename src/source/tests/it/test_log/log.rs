//! A log: its entries, its tree, the heads it has published, and what it says about them.
//!
//! The tree stands over the whole pool from the start; growth only moves the published size. A fork is a second tree
//! over the same pool with one other certificate.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::calls::{Call, Target};
use super::entries::{Bytes, Entry, leaf_index_extension};
use super::faults::{Fault, Rule, Rules};
use super::http::{Answer, Request};
use super::ledger::Ledger;
use super::pool::Pool;
use super::signing::{Head, Key, checkpoint_key_id};
use super::synthetic::Synthetic;
use super::tree::{Hash, Tree, leaf_hash};

/// 2026-01-01T00:00:00Z: the first entry of a pool that brings no times.
const FIRST_ENTRY_MS: u64 = 1_767_225_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rfc6962,
    /// static-ct-api 1.0.
    Static,
    /// Both in full.
    Hybrid,
    /// RFC 6962 and full data tiles; no checkpoint, no hash tiles, no partial tiles.
    HybridNoCheckpoint,
}

impl Kind {
    fn serves(self, call: Call) -> bool {
        match call {
            Call::Unknown => false,
            // RFC 6962 section 4.7; static-ct-api has it under the submission prefix.
            Call::GetRoots => true,
            Call::DataTile => self != Self::Rfc6962,
            Call::Checkpoint | Call::HashTile | Call::HashTilePartial | Call::DataTilePartial | Call::Issuer => {
                matches!(self, Self::Static | Self::Hybrid)
            }
            _ => self != Self::Static,
        }
    }

    /// In which part of a log list it stands.
    pub(crate) fn is_tiled(self) -> bool {
        matches!(self, Self::Static | Self::Hybrid)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rfc6962 => "rfc6962",
            Self::Static => "static",
            Self::Hybrid => "hybrid",
            Self::HybridNoCheckpoint => "hybrid-no-checkpoint",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Rfc6962, Self::Static, Self::Hybrid, Self::HybridNoCheckpoint]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// How get-entries cuts its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// At most so many entries.
    UpTo(u64),
    /// At most so many, and never across a multiple of it.
    Aligned(u64),
}

pub(crate) struct LogOptions {
    /// The first part of its paths.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) pool: Arc<Pool>,
    /// The size of the first head.
    pub(crate) start: u64,
    pub(crate) page: Page,
    /// Whether entries say their index.
    pub(crate) leaf_index: bool,
    /// Of entries that bring no time; the next ones follow a millisecond apart.
    pub(crate) first_entry_ms: u64,
    pub(crate) key: Key,
}

impl LogOptions {
    /// A whole pool under a new key, in pages of 256.
    pub(crate) fn new(name: &str, kind: Kind, pool: &Arc<Pool>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            pool: Arc::clone(pool),
            start: pool.len(),
            page: Page::Aligned(256),
            leaf_index: kind != Kind::Rfc6962,
            first_entry_ms: FIRST_ENTRY_MS,
            key: Key::ecdsa(),
        }
    }

    pub(crate) fn start(self, start: u64) -> Self {
        Self { start, ..self }
    }

    pub(crate) fn page(self, page: Page) -> Self {
        Self { page, ..self }
    }

    pub(crate) fn key(self, key: Key) -> Self {
        Self { key, ..self }
    }
}

/// One history: the pool's entries but perhaps one, and their tree.
pub(super) struct Branch {
    changed: Option<u64>,
    pub(super) tree: Tree,
}

pub(super) struct Published {
    /// Oldest first.
    pub(super) heads: Vec<Head>,
    /// Every size ever signed: the widths that partial tiles may have.
    pub(super) sizes: BTreeSet<u64>,
}

/// Branch and number of a full data tile.
type TileKey = (Option<u64>, u64);

pub(crate) struct Log {
    pub(super) options: LogOptions,
    url: String,
    other_key: Key,
    main: Arc<Branch>,
    forks: Mutex<HashMap<u64, Arc<Branch>>>,
    forged: Synthetic,
    published: Mutex<Published>,
    rules: Mutex<Rules>,
    /// Compressed.
    pub(super) data_tiles: Mutex<HashMap<TileKey, Bytes>>,
    pub(super) issuers: HashMap<Hash, Bytes>,
    pub(super) roots: Vec<Bytes>,
    pub(crate) ledger: Ledger,
}

impl Log {
    /// `server` is the URL of the server, without a slash at its end.
    pub(super) fn new(options: LogOptions, server: &str) -> Self {
        let (issuers, roots) = options.pool.issuers();
        let url = format!("{server}/{}/", options.name);
        let leaves = leaf_hashes(&options);
        let log = Self {
            url,
            other_key: Key::ecdsa(),
            main: Arc::new(Branch { changed: None, tree: Tree::new(leaves) }),
            forks: Mutex::default(),
            forged: Synthetic::new(u64::MAX),
            published: Mutex::new(Published { heads: Vec::new(), sizes: BTreeSet::new() }),
            rules: Mutex::default(),
            data_tiles: Mutex::default(),
            issuers,
            roots,
            ledger: Ledger::default(),
            options,
        };
        log.grow(log.options.start);
        log
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    pub(crate) fn kind(&self) -> Kind {
        self.options.kind
    }

    /// With a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name in its checkpoints: the submission prefix without scheme and slash.
    pub(crate) fn origin(&self) -> &str {
        let url = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        url.trim_end_matches('/')
    }

    pub(crate) fn key(&self) -> &Key {
        &self.options.key
    }

    pub(crate) fn size(&self) -> u64 {
        self.published().heads.last().map_or(0, |head| head.size)
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        self.main.tree.root(size)
    }

    /// As the log holds it, whether published or not.
    pub(crate) fn entry(&self, index: u64) -> Entry {
        entry(&self.options, index)
    }

    /// Publishes so many more entries, as far as there are any, under a new head; gives its size. Without new entries
    /// the new head has the old size and a later time.
    pub(crate) fn grow(&self, entries: u64) -> u64 {
        let mut published = self.published();
        let (size, before_ms) = published.heads.last().map_or((0, 0), |head| (head.size, head.timestamp_ms));
        let size = size.saturating_add(entries).min(self.options.pool.len());
        // A head is no older than its entries, and later than the head before it.
        let newest_ms = if size == 0 { 0 } else { self.entry(size - 1).timestamp_ms };
        let timestamp_ms = now_ms().max(newest_ms).max(before_ms + 1);
        published.heads.push(Head::sign(&self.options.key, timestamp_ms, size, self.root(size)));
        published.sizes.insert(size);
        size
    }

    pub(crate) fn fail(&self, rule: impl Into<Rule>) {
        lock(&self.rules).add(rule.into());
    }

    /// No faults from now on.
    pub(crate) fn heal(&self) {
        lock(&self.rules).clear();
    }

    pub(super) fn meet(&self, call: Call) -> Vec<Fault> {
        lock(&self.rules).meet(call)
    }

    pub(super) fn published(&self) -> MutexGuard<'_, Published> {
        lock(&self.published)
    }

    /// The history that is shown under these faults: of the entries, or of everything else.
    pub(super) fn branch(&self, faults: &[Fault], entries: bool) -> Arc<Branch> {
        let at = faults.iter().find_map(|fault| match fault {
            Fault::Fork(at) => Some(*at),
            Fault::OtherEntry(at) if entries => Some(*at),
            _ => None,
        });
        match at.filter(|at| *at < self.options.pool.len()) {
            Some(at) => self.fork(at),
            None => Arc::clone(&self.main),
        }
    }

    fn fork(&self, at: u64) -> Arc<Branch> {
        let mut forks = lock(&self.forks);
        let fork = forks.entry(at).or_insert_with(|| {
            let mut leaves = self.main.tree.leaves().to_vec();
            leaves[at as usize] = leaf_hash(&self.forged_entry(at).leaf_input());
            Arc::new(Branch { changed: Some(at), tree: Tree::new(leaves) })
        });
        Arc::clone(fork)
    }

    /// The entry at `index` in a fork that differs there: another certificate at the same time.
    pub(crate) fn forged_entry(&self, index: u64) -> Entry {
        let forged = self.forged.submission(index);
        Entry { certificate: forged.certificate, chain: self.entry(index).chain, ..self.entry(index) }
    }

    pub(super) fn entry_of(&self, branch: &Branch, index: u64) -> Entry {
        if branch.changed == Some(index) { self.forged_entry(index) } else { self.entry(index) }
    }

    pub(super) fn tile_key(&self, branch: &Branch, number: u64) -> TileKey {
        (branch.changed, number)
    }

    /// The head that is shown under these faults.
    pub(super) fn head(&self, faults: &[Fault]) -> Head {
        let mut published = self.published();
        let stale = faults.contains(&Fault::StaleHead) && published.heads.len() > 1;
        let shown = published.heads.len() - 1 - usize::from(stale);
        let mut head = published.heads[shown].clone();
        let mut signer = None;
        for fault in faults {
            match fault {
                Fault::Rollback(size) => {
                    head.size = head.size.min(*size);
                    head.timestamp_ms += 1;
                    published.sizes.insert(head.size);
                    signer.get_or_insert(&self.options.key);
                }
                Fault::Future(ahead_ms) => {
                    head.timestamp_ms = now_ms() + ahead_ms;
                    signer.get_or_insert(&self.options.key);
                }
                Fault::Fork(_) => drop(signer.get_or_insert(&self.options.key)),
                Fault::OtherKey => signer = Some(&self.other_key),
                _ => {}
            }
        }
        if let Some(key) = signer {
            let root = self.branch(faults, false).tree.root(head.size);
            head = Head::sign(key, head.timestamp_ms, head.size, root);
        }
        if faults.contains(&Fault::BadSignature)
            && let Some(last) = head.signature.last_mut()
        {
            *last ^= 1;
        }
        head
    }

    pub(super) fn checkpoint(&self, faults: &[Fault]) -> String {
        let mut origin = self.origin().to_owned();
        if faults.contains(&Fault::WrongOrigin) {
            origin += "-other";
        }
        let mut key_id = checkpoint_key_id(&origin, &self.options.key.log_id());
        if faults.contains(&Fault::WrongKeyId) {
            key_id[0] ^= 1;
        }
        let witnesses =
            faults.iter().find_map(|fault| if let Fault::Witnesses(count) = fault { Some(*count) } else { None });
        self.head(faults).to_checkpoint(&origin, key_id, witnesses.unwrap_or(0))
    }

    /// The right answer under the faults that concern what is said.
    pub(super) fn content(&self, target: Target<'_>, request: &Request, faults: &[Fault]) -> Answer {
        if !self.options.kind.serves(target.call()) {
            return Answer::refusal(404, "not served here");
        }
        match target {
            Target::Rfc6962(call) => self.rfc6962(call, request, faults),
            Target::Checkpoint => Answer::new(200, "text/plain; charset=utf-8", self.checkpoint(faults).into_bytes())
                .header("Cache-Control", "no-store"),
            Target::HashTile(level, tile) => self.hash_tile(level, tile, faults),
            Target::DataTile(tile) => self.data_tile(tile, faults),
            Target::Issuer(hex) => self.issuer(hex),
            Target::Unknown => Answer::refusal(404, "no such path"),
        }
    }
}

fn entry(options: &LogOptions, index: u64) -> Entry {
    let submission = options.pool.get(index);
    Entry {
        certificate: submission.certificate,
        chain: submission.chain,
        timestamp_ms: submission.timestamp_ms.unwrap_or(options.first_entry_ms + index),
        extensions: if options.leaf_index { leaf_index_extension(index) } else { Vec::new() },
    }
}

/// On all processors: this is most of the time that a large log takes to start.
fn leaf_hashes(options: &LogOptions) -> Vec<Hash> {
    let count = options.pool.len();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let part = count.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let indexes = (thread * part).min(count)..((thread + 1) * part).min(count);
                scope.spawn(move || {
                    indexes.map(|index| leaf_hash(&entry(options, index).leaf_input())).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("entries can be made")).collect()
    })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
