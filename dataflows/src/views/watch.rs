//! Matches of a watch list that changes while the views run.
//!
//! Names and items are joined by a coarse key, a hash of the last two labels, and what meets is compared by the rules
//! of module `watchlist`. So a new item meets the names under its own registered domain or so, and not all of them; a
//! removed item or certificate takes back the matches it was part of.
//!
//! | item | meets the names |
//! |---|---|
//! | `example.com`, `.example.com`, `.www.example.com` | whose last two labels are `example.com` |
//! | `.com`, `com` | of all keys below `com` that are there |
//! | `.` | of all keys that are there |
//! | any | one of whose last two labels stands for several (`*.com`): they have a key of their own |

use differential_dataflow::VecCollection;
use differential_dataflow::operators::ThresholdTotal;

use super::{Held, Step};
use crate::modules::{ItemError, WatchItem, comparable, is_pattern, items_of};

/// A line of a watch list that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}")]
pub struct ListError {
    pub line: usize,
    pub source: ItemError,
}

/// Reads a certspotter watch list: an item a line, `#` begins a comment line.
pub fn watch_list(text: &str) -> Result<Vec<WatchItem>, ListError> {
    items_of(text).map(|(line, item)| item.map_err(|source| ListError { line, source })).collect()
}

/// A name of a certificate that is held.
pub(super) type Named = (Held, Box<str>);

/// All names whose last two labels have this hash. Different ones may share a key: it only says what to compare.
type NameKey = u64;

/// Of names one of whose last two labels stands for several.
const PATTERNS: NameKey = 0;
/// Above all keys.
const ROOT: u64 = 0;

/// Each item with each name that it matches.
pub(super) fn matches<'s>(
    names: VecCollection<'s, Step, Named>,
    items: VecCollection<'s, Step, WatchItem>,
) -> VecCollection<'s, Step, (WatchItem, Named)> {
    let keyed = names.map(|(held, name)| (key(&name).key, (held, name))).arrange_by_key_named("names");
    let keys = keyed.clone().flat_map_ref(|_key, (_held, name)| {
        let key = key(name);
        (key.key != PATTERNS).then_some([(key.parent, key.key), (ROOT, key.key)]).into_iter().flatten()
    });
    let keys = keys.distinct_total();

    // Items of two labels or more have a key of their own, the others those of all names below them.
    let own = items.clone().flat_map(|item| {
        let own = (!is_short(&item)).then(|| (key(&item.domain).of_item, item.clone()));
        own.into_iter().chain([(PATTERNS, item)])
    });
    let short = items.filter(is_short).map(|item| {
        let parent = if item.domain.is_empty() { ROOT } else { hash(&[&item.domain]) };
        (parent, item)
    });
    let below = short.join_map(keys, |_parent, item, key| (*key, item.clone()));
    let items = own.concat(below).arrange_by_key_named("items");
    keyed.join_core(items, |_key, named, item| item.matches(&named.1).then(|| (item.clone(), named.clone())))
}

/// `com` or `.`
fn is_short(item: &WatchItem) -> bool {
    !item.domain.contains('.')
}

struct Key {
    key: NameKey,
    /// Of the last label.
    parent: u64,
    /// The key as of an item, in which `*` is a plain character.
    of_item: NameKey,
}

fn key(name: &str) -> Key {
    let name = comparable(name);
    let mut labels = name.rsplit('.');
    let (last, second) = (labels.next().unwrap_or(""), labels.next());
    let of_item = second.map_or_else(|| hash(&["", last]), |second| hash(&[second, last]));
    let is_odd = is_pattern(last) || second.is_some_and(is_pattern);
    Key { key: if is_odd { PATTERNS } else { of_item }, parent: hash(&[last]), of_item }
}

/// FNV-1a, and never 0: the same in every process.
fn hash(labels: &[&str]) -> u64 {
    let bytes = labels.iter().flat_map(|label| label.bytes().chain([b'.']));
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, mix).max(1)
}
