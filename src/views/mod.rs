//! Live views: the computation of `ct_dataflows::views`, fed from the lake, and its results as keys of hot state.
//!
//! | key | type | what |
//! |---|---|---|
//! | `ct:view:counts:<dimension>` | hash | the largest counts of `issuer`, `domain`, `key`, `log`, `hour` |
//! | `ct:top:<dimension>` | sorted set | the same of `issuer`, `domain`, `log`, by count |
//! | `ct:issuances` | hash | pairs of precertificates and final certificates, and what has no other side |
//! | `ct:view:watch` | hash | items of the watch list, with the number of their open matches |
//! | `ct:watch:<item>` | sorted set | the newest matches of an item, `<certificate> <name>`, by `seen` in milliseconds |
//! | `ct:view:state` | hash | which lake and manifest, the horizon, what is held, and totals |

mod follow;
mod keys;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ct_dataflows::modules::WatchItem;
use ct_dataflows::views::{Certificate, Entry, Lines, Options, Views, watch_list};
use ct_sinks::SinkError;
use ct_sinks::hot::newest_sequence;
use ct_sinks::hot::{CertificateRow, Fields, HotState, VIEW_STATE, ViewChanges, ViewValue, Window, WindowRow};
use ct_sinks::lake::Lake;

use crate::config::ViewsConfig;
pub use follow::Follower;
use keys::Told;
pub use keys::{document, item_key, matches, ranks, top_key};

/// Rows that the views take in before they are brought up to date: bounds what waits in batches.
const ROWS_MAX: usize = 100_000;
/// Longer texts are cut: what a certificate says of its issuer has no bound of its own.
const TEXT_BYTES_MAX: usize = 256;
const UNKNOWN: &str = "unknown";

/// Views over a lake, up to some manifest.
pub struct LakeViews {
    views: Views,
    window: Window,
    told: Told,
    texts: Texts,
    /// Rows taken since the views were last up to date.
    rows: usize,
}

impl LakeViews {
    pub fn new(lake: Lake, config: &ViewsConfig) -> Self {
        let horizon_ms = config.horizon_ms();
        let watch = config.watch_file.is_some();
        let options = Options { horizon_ms, top: config.top, certificates_max: config.certificates_max, watch };
        Self {
            views: Views::new(options),
            window: Window::new(lake, horizon_ms, watch),
            told: Told::default(),
            texts: Texts::default(),
            rows: 0,
        }
    }

    /// Follows the lake up to manifest `newest`. `false`: only new views can, see [`Window::read`].
    pub fn read(&mut self, newest: u64) -> Result<bool, SinkError> {
        let Self { views, window, texts, rows, .. } = self;
        let whole = window.read(newest, &mut |row| {
            match row {
                WindowRow::Certificate(row) => views.insert(certificate(&row, texts)),
                WindowRow::Entry { seen_ms, log } => views.insert_entry(Entry { seen_ms, log: texts.shared(log) }),
            }
            *rows += 1;
            if *rows >= ROWS_MAX {
                *rows = 0;
                views.advance(None);
            }
        })?;
        self.views.advance(self.window.state().horizon_ms);
        self.rows = 0;
        Ok(whole)
    }

    pub fn set_items(&mut self, items: Vec<WatchItem>) {
        self.views.set_items(items);
        self.views.advance(None);
    }

    /// Everything counts as changed.
    fn touch(&mut self) {
        self.views.touch();
    }

    /// Values of the keys that changed since this was last called.
    fn take(&mut self) -> BTreeMap<String, ViewValue> {
        self.told.values(self.views.take_changes())
    }

    fn state(&self) -> Fields {
        self.told.state(self.window.state(), &self.views.standing())
    }
}

/// Reads a watch list in the form of certspotter.
pub fn read_items(path: &Path) -> Result<Vec<WatchItem>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    items_of(path, &text)
}

fn items_of(path: &Path, text: &str) -> Result<Vec<WatchItem>> {
    watch_list(text).with_context(|| format!("views.watch_file {}", path.display()))
}

/// The views over the lake as it is now, as keys of hot state, `view:state` among them.
pub fn compute(lake: &Lake, config: &ViewsConfig) -> Result<BTreeMap<String, ViewValue>> {
    let items = config.watch_file.as_deref().map(read_items).transpose()?;
    let mut views = LakeViews::new(lake.clone(), config);
    let newest = newest_sequence(lake)?;
    views.read(newest)?;
    views.set_items(items.unwrap_or_default());
    let mut values = views.take();
    values.insert(VIEW_STATE.to_owned(), ViewValue::Hash(views.state()));
    values.retain(|_, value| !value.is_empty());
    Ok(values)
}

/// Writes the views over the lake as it is now to hot state, in place of those that are there.
pub fn rebuild(lake: &Lake, config: &ViewsConfig, hot: &mut dyn HotState) -> Result<()> {
    let mut values = compute(lake, config)?;
    if let Some(ViewValue::Hash(state)) = values.remove(VIEW_STATE) {
        hot.set_views(&ViewChanges { values: &values, before: None, state: &state })?;
    }
    Ok(())
}

/// All views of hot state; none when nobody wrote any.
pub fn of_hot_state(hot: &mut dyn HotState) -> Result<BTreeMap<String, ViewValue>, SinkError> {
    let mut values = BTreeMap::new();
    for name in hot.view_names()?.into_iter().chain([VIEW_STATE.to_owned()]) {
        if let Some(value) = hot.view(&name)? {
            values.insert(name, value);
        }
    }
    Ok(values)
}

fn certificate(row: &CertificateRow<'_>, texts: &mut Texts) -> Certificate {
    let key = match (row.key_algorithm(), row.key_bits()) {
        (Some(algorithm), Some(bits)) => texts.shared(&format!("{algorithm} {bits}")),
        (algorithm, _) => texts.shared(algorithm.unwrap_or(UNKNOWN)),
    };
    Certificate {
        seen_ms: row.seen_ms,
        id: row.id,
        kind: row.kind(),
        tbs_sha256: row.tbs_sha256(),
        issuer: texts.shared(row.issuer().unwrap_or(UNKNOWN)),
        key,
        domains: Lines::of(row.registered_domains()),
        names: Lines::of(row.names()),
    }
}

/// Texts that many rows have in common, each once.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    /// Beyond these, the set begins anew; who has a text keeps it.
    const TEXTS_MAX: usize = 100_000;

    fn shared(&mut self, text: &str) -> Arc<str> {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= Self::TEXTS_MAX {
            self.0.clear();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}
