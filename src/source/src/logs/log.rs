//! One log and what it can be asked: its tree head, pages of entries, and the hashes that place them in its tree.
//!
//! What comes from here is what the log said, and a tree head also what it signed. Whether entries are those of a signed
//! tree is for the caller to find out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ct_model::ctlog::Hash;
use ct_model::ctlog::head::{SignedHead, TreeHead};
use ct_model::ctlog::leaf::{ExtraData, Leaf, leaf_hash};
use ct_model::ctlog::list::{self, State, Urls};
use ct_model::ctlog::merkle::compact::CompactRange;
use ct_model::ctlog::merkle::proof::{siblings, verify_inclusion};
use ct_model::ctlog::merkle::range::{Outside, nodes_needed, outside_from_audit_paths, range_root};
use ct_model::ctlog::merkle::{Span, peaks};
use ct_model::ctlog::tile::data::Entries;
use ct_model::ctlog::tile::hashes::{HashTile, tile_of, tiles_needed};
use ct_model::ctlog::tile::{TILE_WIDTH, Tile};
use ct_model::message::log_line;
use serde::Deserialize;
use url::Url;

use super::client::{Client, base};
use super::error::LogError;
use super::operator::Operator;
use super::verify::PublicKey;

/// Of an answer with entries: 256 of them have some 700 KB, and 4 MB is what a log accepts at most of one.
const ENTRIES_BYTES_MAX: usize = 64 << 20;
/// Of leaf and precertificate together: in base64 they fit into a line of 4 MiB. Logs take far less.
const ENTRY_BYTES_MAX: usize = 3_000_000;
const HEAD_BYTES_MAX: usize = 64 << 10;
const PROOF_BYTES_MAX: usize = 64 << 10;

/// A log that is read.
pub(super) struct Log {
    name: Arc<str>,
    id: Hash,
    key: PublicKey,
    /// The last tree of a log that takes no more entries.
    last: Option<(u64, Hash)>,
    place: Place,
    client: Client,
    operator: Arc<Operator>,
}

enum Place {
    /// Of the API, with `ct/v1/` at its end.
    Rfc6962 { api: Url },
    /// Some static logs have no checkpoint and answer get-sth instead.
    Tiled { monitoring: Url, origin: Box<str>, api: Url, by_sth: AtomicBool },
}

/// Entries in a row, as lines.
pub(super) struct Page {
    pub(super) first: u64,
    pub(super) lines: Vec<u8>,
    /// What the tree has of each.
    pub(super) leaf_hashes: Vec<Hash>,
}

impl Page {
    /// Entries of a data tile, and a multiple of every page size that logs are known to have.
    pub(super) const ENTRIES_MAX: u64 = TILE_WIDTH as u64;

    /// The stretch `from..to` cut at multiples of [`Self::ENTRIES_MAX`].
    pub(super) fn windows(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        (from / Self::ENTRIES_MAX..to.div_ceil(Self::ENTRIES_MAX)).map(move |window| {
            let first = window * Self::ENTRIES_MAX;
            (first.max(from), (first + Self::ENTRIES_MAX).min(to))
        })
    }

    pub(super) fn new(first: u64) -> Self {
        Self { first, lines: Vec::new(), leaf_hashes: Vec::new() }
    }

    fn next(&self) -> u64 {
        self.first + self.leaf_hashes.len() as u64
    }

    fn push(&mut self, log: &str, leaf_input: &[u8], precertificate: Option<&[u8]>) {
        let index = self.next();
        self.leaf_hashes.push(leaf_hash(leaf_input));
        let bytes = leaf_input.len() + precertificate.map_or(0, <[u8]>::len);
        // What is too long for a line is rejected where its line is read, for having no leaf.
        let (leaf_input, precertificate) =
            if bytes <= ENTRY_BYTES_MAX { (leaf_input, precertificate) } else { (&[][..], None) };
        log_line::write_entry(&mut self.lines, log, index, leaf_input, precertificate);
    }
}

/// The answer to get-entries.
#[derive(Deserialize)]
pub(super) struct GetEntries {
    pub(super) entries: Vec<RawEntry>,
}

#[derive(Deserialize)]
pub(super) struct RawEntry {
    leaf_input: String,
    #[serde(default)]
    extra_data: String,
}

#[derive(Deserialize)]
struct ProofByHash {
    leaf_index: u64,
    audit_path: Vec<String>,
}

impl Log {
    pub(super) fn new(
        described: &list::Log,
        client: Client,
        operator: Arc<Operator>,
        allow_plaintext: bool,
    ) -> Result<Self, LogError> {
        let join = |base: &Url, path: &str| {
            let refuse = |error: url::ParseError| LogError::Url { url: base.to_string(), why: error.to_string() };
            base.join(path).map_err(refuse)
        };
        let place = match &described.urls {
            Urls::Rfc6962 { url } => Place::Rfc6962 { api: join(&base(url, allow_plaintext)?, "ct/v1/")? },
            Urls::Tiled { submission, monitoring } => Place::Tiled {
                monitoring: base(monitoring, allow_plaintext)?,
                api: join(&base(submission, allow_plaintext)?, "ct/v1/")?,
                origin: described.urls.origin().into(),
                by_sth: AtomicBool::new(false),
            },
        };
        let key = PublicKey::from_spki(&described.key)
            .map_err(|why| LogError::List { why: format!("the key of {}: {why}", described.name) })?;
        let last = match described.state {
            Some(State::Readonly { size, root }) => Some((size, root)),
            _ => None,
        };
        Ok(Self { name: Arc::from(&*described.name), id: described.id, key, last, place, client, operator })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// SHA-256 of its key.
    pub(super) fn id(&self) -> &Hash {
        &self.id
    }

    /// Entries of the last tree, of a log that takes no more.
    pub(super) fn final_size(&self) -> Option<u64> {
        self.last.map(|(size, _)| size)
    }

    pub(super) fn has_tiles(&self) -> bool {
        matches!(self.place, Place::Tiled { .. })
    }

    /// The newest tree head, its signature checked. [`LogError::Proof`] is one that the log did not sign.
    pub(super) async fn head(&self) -> Result<TreeHead, LogError> {
        let (url, signed) = match &self.place {
            Place::Rfc6962 { api } => self.sth(api).await?,
            Place::Tiled { api, by_sth, .. } if by_sth.load(Ordering::Relaxed) => self.sth(api).await?,
            Place::Tiled { monitoring, origin, api, by_sth } => {
                let url = at(monitoring, "checkpoint");
                match self.client.get(&self.operator, &url, HEAD_BYTES_MAX).await? {
                    Some(note) => {
                        let signed = SignedHead::from_checkpoint(&note, origin, &self.id);
                        (url.clone(), signed.map_err(|why| answer(&url, why))?)
                    }
                    None => {
                        let signed = self.sth(api).await?;
                        by_sth.store(true, Ordering::Relaxed);
                        signed
                    }
                }
            }
        };
        let head = signed.head;
        self.key.verify_head(&signed).map_err(|why| LogError::Proof {
            log: self.name.to_string(),
            why: format!("the tree head at {url}: {why}"),
        })?;
        match self.last {
            Some((size, root)) if head.size == size && head.root != root => Err(LogError::Proof {
                log: self.name.to_string(),
                why: format!("the tree head at {url}: another root than the log list gives for the last tree"),
            }),
            _ => Ok(head),
        }
    }

    async fn sth(&self, api: &Url) -> Result<(Url, SignedHead), LogError> {
        let url = at(api, "get-sth");
        let json = self.need(&url, HEAD_BYTES_MAX).await?;
        let signed = SignedHead::from_sth(&json).map_err(|why| answer(&url, why))?;
        Ok((url, signed))
    }

    /// The entries `first..end`, which lie in one window of [`Page::ENTRIES_MAX`], of a tree of `size` entries.
    pub(super) async fn page(&self, first: u64, end: u64, size: u64) -> Result<Page, LogError> {
        match &self.place {
            Place::Rfc6962 { api } => self.get_entries(api, first, end).await,
            Place::Tiled { monitoring, .. } => match self.data_tile(monitoring, first, end, size).await {
                Err(LogError::Absent { url }) => match self.api_beside_tiles().await {
                    Some(api) => self.get_entries(api, first, end).await,
                    None => Err(LogError::Absent { url }),
                },
                page => page,
            },
        }
    }

    /// The API of a log with tiles, where it answers: some logs have full data tiles, and the API for the rest.
    async fn api_beside_tiles(&self) -> Option<&Url> {
        let Place::Tiled { api, by_sth, .. } = &self.place else { return None };
        let answers = by_sth.load(Ordering::Relaxed) || self.sth(api).await.is_ok();
        answers.then_some(api)
    }

    /// Logs answer with fewer entries than they are asked for.
    async fn get_entries(&self, api: &Url, first: u64, end: u64) -> Result<Page, LogError> {
        let mut page = Page::new(first);
        let mut bytes_left = ENTRIES_BYTES_MAX;
        while page.next() < end {
            let mut url = at(api, "get-entries");
            url.set_query(Some(&format!("start={}&end={}", page.next(), end - 1)));
            let json = self.need(&url, bytes_left).await?;
            bytes_left -= json.len();
            let GetEntries { entries } = serde_json::from_slice(&json).map_err(|why| answer(&url, why))?;
            if entries.is_empty() {
                return Err(answer(&url, "no entries"));
            }
            let left = usize::try_from(end - page.next()).unwrap_or(usize::MAX);
            for entry in entries.into_iter().take(left) {
                push_entry(&mut page, &self.name, &entry).map_err(|why| answer(&url, why))?;
            }
        }
        Ok(page)
    }

    async fn data_tile(&self, monitoring: &Url, first: u64, end: u64, size: u64) -> Result<Page, LogError> {
        let tile = Tile::data_tiles(size, first).next().ok_or_else(|| answer(monitoring, "no such tile"))?;
        let (url, tile, bytes) = self.tile(monitoring, tile, ENTRIES_BYTES_MAX).await?;
        push_tile(&self.name, tile, &bytes, first, end).map_err(|why| answer(&url, why))
    }

    /// A tile, or the full one where a partial one is gone; with where it is, and which it is.
    async fn tile(&self, monitoring: &Url, tile: Tile, bytes_max: usize) -> Result<(Url, Tile, Vec<u8>), LogError> {
        let url = at(monitoring, &tile.to_string());
        if let Some(bytes) = self.client.get(&self.operator, &url, bytes_max).await? {
            return Ok((url, tile, bytes));
        }
        let Some(full) = tile.full().filter(|_| tile.is_partial()) else {
            return Err(LogError::Absent { url: url.to_string() });
        };
        let url = at(monitoring, &full.to_string());
        let bytes = self.need(&url, bytes_max).await?;
        Ok((url, full, bytes))
    }

    /// Hashes of the tiles that answer for `nodes` in a tree of `size` entries.
    async fn hashes(&self, monitoring: &Url, size: u64, nodes: &[Span]) -> Result<Vec<(Tile, Vec<u8>)>, LogError> {
        const HASH_BYTES: usize = 32;
        let mut tiles = Vec::new();
        for tile in tiles_needed(size, nodes) {
            let (url, _, mut bytes) = self.tile(monitoring, tile, usize::from(TILE_WIDTH) * HASH_BYTES).await?;
            // Where the full tile stood in for a partial one.
            bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
            HashTile::new(tile, &bytes).ok_or_else(|| answer(&url, "not as many hashes as the tile is wide"))?;
            tiles.push((tile, bytes));
        }
        Ok(tiles)
    }

    /// The right edge of the first `size` entries of the tree of `head`, proven to belong to that tree.
    pub(super) async fn edge_at(&self, size: u64, head: &TreeHead) -> Result<CompactRange, LogError> {
        if size > head.size {
            return Err(self.contradiction(&"an index beyond the tree"));
        }
        let edge = match &self.place {
            _ if size == 0 => CompactRange::new(),
            Place::Rfc6962 { api } => self.edge_by_proof(api, size, head).await?,
            Place::Tiled { monitoring, .. } => match self.edge_by_tiles(monitoring, size, head).await {
                Err(LogError::Absent { url }) => match self.api_beside_tiles().await {
                    Some(api) => self.edge_by_proof(api, size, head).await?,
                    None => return Err(LogError::Absent { url }),
                },
                edge => edge?,
            },
        };
        if size == head.size && edge.root() != head.root {
            return Err(self.contradiction(&"its tree has another root than it signed"));
        }
        Ok(edge)
    }

    /// What is left of the last leaf, by the proof that the leaf is in the tree.
    async fn edge_by_proof(&self, api: &Url, size: u64, head: &TreeHead) -> Result<CompactRange, LogError> {
        let last = self.get_entries(api, size - 1, size).await?.leaf_hashes[0];
        let path = self.audit_path(api, &last, size - 1, head).await?;
        let siblings = siblings(head.size, size - 1).unwrap_or_default();
        let left = siblings.iter().zip(&path).filter(|(span, _)| span.hi < size);
        // From the leaf up; peaks come largest first.
        let mut hashes: Vec<Hash> = left.map(|(_, hash)| *hash).collect();
        hashes.reverse();
        let edge = CompactRange::restore(size - 1, hashes);
        let mut edge = edge.ok_or_else(|| self.contradiction(&"a proof of odd shape"))?;
        edge.push(last);
        Ok(edge)
    }

    /// The peaks, by the hash tiles that have them and what is right of them.
    async fn edge_by_tiles(&self, monitoring: &Url, size: u64, head: &TreeHead) -> Result<CompactRange, LogError> {
        let tiles = self.hashes(monitoring, head.size, &nodes_needed(head.size, size, 0)).await?;
        let hash = |span| look_up(&tiles, head.size, span);
        if range_root(head.size, size, &[], hash) != Ok(head.root) {
            return Err(self.contradiction(&"its hash tiles make another root than it signed"));
        }
        let edge = peaks(size).map(hash).collect::<Option<_>>().and_then(|hashes| CompactRange::restore(size, hashes));
        edge.ok_or_else(|| self.contradiction(&"hash tiles without the hashes they should have"))
    }

    /// What a tree head says of the entries beside a stretch of it: see [`ct_model::ctlog::merkle::range`].
    pub(super) async fn beside(
        &self,
        first: u64,
        leaf_hashes: &[Hash],
        head: &TreeHead,
    ) -> Result<impl Fn(Span) -> Option<Hash> + use<>, LogError> {
        let nodes = nodes_needed(head.size, first, leaf_hashes.len() as u64);
        let (mut outside, mut tiles) = (None::<Outside>, Vec::new());
        if !nodes.is_empty() {
            match &self.place {
                Place::Rfc6962 { api } => outside = Some(self.beside_by_proofs(api, first, leaf_hashes, head).await?),
                Place::Tiled { monitoring, .. } => match self.hashes(monitoring, head.size, &nodes).await {
                    Err(LogError::Absent { url }) => match self.api_beside_tiles().await {
                        Some(api) => outside = Some(self.beside_by_proofs(api, first, leaf_hashes, head).await?),
                        None => return Err(LogError::Absent { url }),
                    },
                    found => tiles = found?,
                },
            }
        }
        let size = head.size;
        Ok(move |span| match &outside {
            Some(outside) => outside.get(span),
            None => look_up(&tiles, size, span),
        })
    }

    async fn beside_by_proofs(
        &self,
        api: &Url,
        first: u64,
        leaf_hashes: &[Hash],
        head: &TreeHead,
    ) -> Result<Outside, LogError> {
        let ([first_hash, ..], [.., last_hash]) = (leaf_hashes, leaf_hashes) else {
            return Err(self.contradiction(&"no entries to prove"));
        };
        let last = first + leaf_hashes.len() as u64 - 1;
        let first_path = self.audit_path(api, first_hash, first, head).await?;
        let last_path = self.audit_path(api, last_hash, last, head).await?;
        let paths = outside_from_audit_paths(head.size, (first, &first_path), (last, &last_path));
        paths.map_err(|why| self.contradiction(&why))
    }

    fn contradiction(&self, why: &dyn std::fmt::Display) -> LogError {
        LogError::Proof { log: self.name.to_string(), why: why.to_string() }
    }

    /// The proof that leaf `index` is in the tree of `head`, checked.
    async fn audit_path(&self, api: &Url, leaf: &Hash, index: u64, head: &TreeHead) -> Result<Vec<Hash>, LogError> {
        let mut url = at(api, "get-proof-by-hash");
        url.query_pairs_mut()
            .append_pair("hash", &base64_simd::STANDARD.encode_to_string(leaf))
            .append_pair("tree_size", &head.size.to_string());
        let json = match self.need(&url, PROOF_BYTES_MAX).await {
            // The log has no such leaf: what it gave as entry is none.
            Err(LogError::Status { status: 400 | 404, .. } | LogError::Absent { .. }) => {
                let why = format!("it has no proof for the entry it gave at {index}");
                return Err(LogError::Proof { log: self.name.to_string(), why });
            }
            json => json?,
        };
        let proof: ProofByHash = serde_json::from_slice(&json).map_err(|why| answer(&url, why))?;
        let path = proof.audit_path.iter().map(|hash| decode(hash)?.try_into().ok()).collect::<Option<Vec<Hash>>>();
        let path = path.ok_or_else(|| answer(&url, "a hash that is none"))?;
        // Equal entries have one hash, and the log may prove any of them.
        if proof.leaf_index != index {
            return Err(answer(&url, format!("the proof is for entry {}, an equal one", proof.leaf_index)));
        }
        verify_inclusion(head.size, &head.root, index, leaf, &path)
            .map_err(|why| LogError::Proof { log: self.name.to_string(), why: format!("entry {index}: {why}") })?;
        Ok(path)
    }

    async fn need(&self, url: &Url, bytes_max: usize) -> Result<Vec<u8>, LogError> {
        let body = self.client.get(&self.operator, url, bytes_max).await?;
        body.ok_or_else(|| LogError::Absent { url: url.to_string() })
    }
}

/// Adds an entry of get-entries. What is in it is judged where its line is read.
pub(super) fn push_entry(page: &mut Page, log: &str, entry: &RawEntry) -> Result<(), &'static str> {
    let leaf_input = decode(&entry.leaf_input).ok_or("a leaf_input that is not base64")?;
    let extra_data = decode(&entry.extra_data).unwrap_or_default();
    let leaf = Leaf::parse(&leaf_input).ok();
    let extra = leaf.and_then(|leaf| ExtraData::parse(leaf.entry.kind(), &extra_data).ok());
    page.push(log, &leaf_input, extra.and_then(|extra| extra.precertificate));
    Ok(())
}

/// The entries `first..end` of a data tile as lines.
pub(super) fn push_tile(log: &str, tile: Tile, bytes: &[u8], first: u64, end: u64) -> Result<Page, String> {
    let mut page = Page::new(first);
    let mut leaf_input = Vec::new();
    for entry in Entries::of(tile, bytes) {
        if page.next() >= end {
            break;
        }
        let entry = entry.map_err(|why| format!("entry {}: {why}", page.next()))?;
        entry.check_index().map_err(|why| format!("entry {}: {why}", entry.index))?;
        if entry.index >= first {
            leaf_input.clear();
            leaf_input.extend_from_slice(&[0, 0]);
            leaf_input.extend_from_slice(entry.timestamped_entry());
            page.push(log, &leaf_input, entry.precertificate);
        }
    }
    if page.next() < end { Err(format!("it ends before entry {}", page.next())) } else { Ok(page) }
}

fn look_up(tiles: &[(Tile, Vec<u8>)], size: u64, span: Span) -> Option<Hash> {
    let wanted = tile_of(size, span)?;
    let (tile, bytes) = tiles.iter().find(|(tile, _)| *tile == wanted)?;
    HashTile::new(*tile, bytes)?.node(span)
}

/// Standard alphabet with padding, as RFC 6962 has it.
fn decode(base64: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(base64).ok()
}

fn at(base: &Url, path: &str) -> Url {
    // The base ends in a slash, and paths are plain.
    base.join(path).unwrap_or_else(|_| base.clone())
}

fn answer(url: &Url, why: impl std::fmt::Display) -> LogError {
    let why: String = format!("{why}").chars().filter(|c| !c.is_control()).take(200).collect();
    LogError::Answer { url: url.to_string(), why }
}
