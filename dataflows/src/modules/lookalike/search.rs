//! The search of a name for all brands at once.
//!
//! Words are found inside a name by one pass of an Aho-Corasick automaton over the name as it looks (twice where two
//! letters read like one), and changed words by their hashes in the [`Index`]. Either way a candidate is then held
//! against its word alone, so the number of brands hardly shows.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};
use ct_model::name::registered_domain;

use super::brand::Brand;
use super::class::Class;
use super::glyphs::{Folded, Text};
use super::index::Index;
use super::inside::tokens;
use super::lures::is_lure_run;
use super::near;

/// A changed word of fewer letters counts only under the brand's own public suffix: under any other, most such labels
/// are words or initials of their own.
pub(super) const ANY_SUFFIX_LEN_MIN: usize = 6;
/// Words of so few letters are part of many others, and initials of many.
pub(super) const SHORT_LEN_MAX: usize = 3;
/// What is left of a score where the word is short.
const SHORT_FACTOR: f64 = 0.8;

/// More words than this are looked for by an automaton that takes less memory.
const DFA_WORDS_MAX: usize = 10_000;

/// What looks like which word, where, and how.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) brand: u32,
    pub(super) word: u32,
    pub(super) class: Class,
    /// How many letters differ, or separators are in between.
    pub(super) distance: u8,
    pub(super) score: f64,
    /// In the text.
    pub(super) at: Range<usize>,
}

pub(super) struct Word {
    /// Lower-case ASCII letters and digits.
    pub(super) text: Box<[u8]>,
    pub(super) brand: u32,
}

/// A name, taken apart.
pub(super) struct Place<'a> {
    /// What stands in front of the public suffix.
    pub(super) text: &'a Text,
    /// Where in it the registered label begins, which ends with it.
    pub(super) registered: usize,
    pub(super) suffix: &'a str,
    /// Whether a run of its letters is a lure, once somebody asked.
    has_lure: OnceCell<bool>,
}

pub(super) struct Search {
    pub(super) brands: Vec<Brand>,
    pub(super) words: Vec<Word>,
    own: BTreeSet<Box<str>>,
    /// The words letter by letter, and with pairs of letters read as one; both in the order of `words`.
    pub(super) singles: AhoCorasick,
    pub(super) pairs: AhoCorasick,
    pub(super) index: Index,
    pub(super) lengths: near::Lengths,
}

impl Search {
    pub(super) fn new(brands: Vec<Brand>) -> Result<Self, BuildError> {
        let mut words = Vec::new();
        let mut entries = Vec::new();
        let mut lengths = near::Lengths::default();
        for (number, brand) in brands.iter().enumerate() {
            for text in &brand.words {
                let word = u32::try_from(words.len()).expect("words are fewer than 2^32");
                words.push(Word { text: text.clone(), brand: u32::try_from(number).expect("as are brands") });
                if text.len() >= brand.min_len {
                    near::enter(word, text, brand.distance, &mut entries);
                    lengths.insert(text.len());
                }
            }
        }
        let automaton = |fold: fn(&[u8]) -> Folded| {
            let patterns = words.iter().map(|word| fold(&word.text).bytes().to_vec());
            // Twice as fast, at about 1 KiB a word.
            let kind = if words.len() <= DFA_WORDS_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
            AhoCorasick::builder().kind(Some(kind)).build(patterns)
        };
        Ok(Self {
            singles: automaton(Folded::single)?,
            pairs: automaton(|text| Folded::paired(text).unwrap_or_else(|| Folded::single(text)))?,
            own: brands.iter().flat_map(|brand| brand.domains.iter().cloned()).collect(),
            index: Index::new(entries),
            words,
            brands,
            lengths,
        })
    }

    /// Appends the best sighting of every brand in a lower-case `name` without trailing dot, in the order of the
    /// brands. If there is any: the text that they are in.
    pub(super) fn look(&self, name: &str, out: &mut Vec<Sighting>) -> Option<Text> {
        let name = name.strip_prefix("*.").unwrap_or(name);
        let (front, suffix) = split(name)?;
        let text = Text::read(front)?;
        let registered = text.bytes().iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
        let place = Place { text: &text, registered, suffix, has_lure: OnceCell::new() };
        self.look_inside(&place, out);
        self.look_near(&place, out);
        if out.is_empty() || self.is_own(name) {
            out.clear();
            return None;
        }
        out.retain(|sighting| !self.brand(sighting.word).allows(name));
        out.sort_unstable_by_key(|sighting| sighting.brand);
        (!out.is_empty()).then_some(text)
    }

    pub(super) fn brand(&self, word: u32) -> &Brand {
        &self.brands[self.words[word as usize].brand as usize]
    }

    /// Whether a watched brand owns the name, be it this or another one.
    fn is_own(&self, name: &str) -> bool {
        let labels = name.match_indices('.').map(|(dot, _)| dot + 1);
        std::iter::once(0).chain(labels).any(|start| self.own.contains(&name[start..]))
    }

    /// Keeps the sighting if it is the best of its brand so far and the brand asks for such.
    pub(super) fn offer(&self, mut sighting: Sighting, out: &mut Vec<Sighting>) {
        let brand = self.brand(sighting.word);
        // Two stands for whatever is looked for at all.
        let is_near = sighting.distance <= brand.distance || brand.distance >= 2 || !sighting.class.is_edit();
        if !is_near || !brand.classes.contains(sighting.class) {
            return;
        }
        if self.words[sighting.word as usize].text.len() <= SHORT_LEN_MAX {
            sighting.score = (sighting.score * SHORT_FACTOR * 100.0).round() / 100.0;
        }
        match out.iter_mut().find(|known| known.brand == sighting.brand) {
            // The first wins where both say as much, so that the answer is the same everywhere.
            Some(known) if known.score < sighting.score => *known = sighting,
            Some(_) => {}
            None => out.push(sighting),
        }
    }
}

impl Place<'_> {
    pub(super) fn is_under_suffix_of(&self, brand: &Brand) -> bool {
        brand.suffixes.iter().any(|suffix| &**suffix == self.suffix)
    }

    pub(super) fn has_lure(&self) -> bool {
        let text = self.text.bytes();
        *self.has_lure.get_or_init(|| tokens(text).any(|token| is_lure_run(&text[token])))
    }
}

/// What stands in front of the public suffix, and that suffix.
fn split(name: &str) -> Option<(&str, &str)> {
    // A name that is a public suffix itself, where customers register, still has an owner's label in front.
    let domain = registered_domain(name).unwrap_or(name);
    let (_, suffix) = domain.split_once('.')?;
    let front = name.len().checked_sub(suffix.len() + 1)?;
    Some((&name[..front], suffix))
}
