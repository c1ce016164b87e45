//! Words that stand in a name, whole or in pieces, with others around them or alone.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::brand::Brand;
use super::changes::distance;
use super::class::Class;
use super::glyphs::{Folded, is_separator};
use super::lures::is_lure_run;
use super::search::{ANY_SUFFIX_LEN_MIN, Place, SHORT_LEN_MAX, Search, Sighting};

/// A word of so many letters is found between any others, without a hyphen or a lure beside it.
const GLUED_LEN_MIN: usize = 7;
/// Beside a short word, a lure has at least so many letters.
const LONG_LURE_LEN_MIN: usize = 5;
/// A word of so many letters may have digits beside it.
const DIGITS_LEN_MIN: usize = 5;

/// What is beside a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The end of a label, or of the name.
    Label,
    /// Another separator.
    Token,
    /// A letter or digit.
    Glued,
}

impl Side {
    fn of(byte: Option<&u8>) -> Self {
        match byte {
            None | Some(b'.') => Self::Label,
            Some(byte) if is_separator(*byte) => Self::Token,
            Some(_) => Self::Glued,
        }
    }
}

/// How a word is set off from what is around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// Separators or digits on both sides.
    Apart,
    /// A lure on one side at least, and on the other another or a separator.
    Lured,
    /// Other letters.
    Amid,
}

impl Search {
    pub(super) fn look_inside(&self, place: &Place<'_>, out: &mut Vec<Sighting>) {
        let text = place.text.bytes();
        let mut look = |automaton: &AhoCorasick, folded: &Folded, start: usize| {
            for found in automaton.find_overlapping_iter(folded.bytes()) {
                let at = folded.source(found.range());
                let at = start + at.start..start + at.end;
                if let Some(sighting) = self.inside(found.pattern().as_u32(), at, place) {
                    self.offer(sighting, out);
                }
            }
        };
        look(&self.singles, &Folded::single(text), 0);
        for token in tokens(text) {
            if let Some(paired) = Folded::paired(&text[token.clone()]) {
                look(&self.pairs, &paired, token.start);
            }
        }
    }

    /// What it means that the part of the name at `at` reads like the word.
    fn inside(&self, number: u32, at: Range<usize>, place: &Place<'_>) -> Option<Sighting> {
        let word = &self.words[number as usize];
        let found = &place.text.bytes()[at.clone()];
        let is_foreign = place.text.is_foreign(at.clone());
        let (class, score, changes) = if found.iter().any(|byte| is_separator(*byte)) {
            let letters = found.iter().filter(|byte| !is_separator(**byte));
            let is_word = !is_foreign && letters.eq(word.text.iter());
            let class = in_pieces(self.brand(number), word.text.len(), &at, place).filter(|_| is_word)?;
            (class, class.weight(), found.len() - word.text.len())
        } else if is_foreign || *found != *word.text {
            let score = looks_like(self.brand(number), word.text.len(), &at, place)?;
            let foreign = at.clone().filter(|at| place.text.is_foreign(*at..at + 1)).count();
            (Class::Homoglyph, score, distance(&word.text, found).max(foreign))
        } else {
            let (class, score) = as_it_is(self.brand(number), word.text.len(), &at, place)?;
            (class, score, 0)
        };
        let distance = u8::try_from(changes).unwrap_or(u8::MAX);
        Some(Sighting { brand: word.brand, word: number, class, distance, score, at })
    }
}

/// The word with separators in between.
fn in_pieces(brand: &Brand, len: usize, at: &Range<usize>, place: &Place<'_>) -> Option<Class> {
    let text = place.text.bytes();
    let (left, right) = sides(text, at);
    if left == Side::Glued || right == Side::Glued || len < brand.min_len {
        return None;
    }
    let is_whole = left == Side::Label && at.end == text.len() && place.is_under_suffix_of(brand);
    let class = if text[at.clone()].contains(&b'.') { Class::SubdomainSplit } else { Class::Hyphenation };
    (is_whole || len >= ANY_SUFFIX_LEN_MIN).then_some(class)
}

/// Other letters that read like the word. The score.
fn looks_like(brand: &Brand, len: usize, at: &Range<usize>, place: &Place<'_>) -> Option<f64> {
    let text = place.text.bytes();
    if len < brand.min_len {
        return None;
    }
    let is_registered = at.end == text.len() && at.start == place.registered;
    match setting(text, at, len) {
        _ if is_registered && (len >= ANY_SUFFIX_LEN_MIN || place.is_under_suffix_of(brand)) => {
            Some(Class::Homoglyph.weight())
        }
        Setting::Apart | Setting::Lured if len >= ANY_SUFFIX_LEN_MIN => Some(0.85),
        _ => None,
    }
}

/// The word itself.
fn as_it_is(brand: &Brand, len: usize, at: &Range<usize>, place: &Place<'_>) -> Option<(Class, f64)> {
    let text = place.text.bytes();
    let (left, right) = sides(text, at);
    let is_label = (left, right) == (Side::Label, Side::Label);
    let in_registered = at.start >= place.registered;
    let of = |class: Class| Some((class, class.weight()));
    if is_label && in_registered {
        return of(Class::TldSwap);
    }
    let setting = setting(text, at, len);
    if let Some((joint, end)) = suffix_after(brand, text, at.end) {
        let opens = left != Side::Glued || setting_beside(beside_left(text, at.start), len) != Setting::Amid;
        match joint {
            Some(b'.') if is_label && end == text.len() => return of(Class::TldAdded),
            Some(b'.') if opens => return Some((Class::Subdomain, 0.9)),
            Some(b'.') => {}
            _ if opens => return of(Class::MissingDot),
            _ => {}
        }
    }
    if len < brand.min_len {
        return None;
    }
    let class = if in_registered { Class::Combosquat } else { Class::Subdomain };
    match setting {
        Setting::Lured => Some((class, 0.85)),
        Setting::Apart if place.has_lure() => Some((class, 0.8)),
        Setting::Apart if in_registered => Some((class, 0.6)),
        Setting::Apart => Some((class, 0.4)),
        Setting::Amid if len >= GLUED_LEN_MIN => Some((class, 0.5)),
        Setting::Amid => None,
    }
}

fn sides(text: &[u8], at: &Range<usize>) -> (Side, Side) {
    (Side::of(text[..at.start].last()), Side::of(text.get(at.end)))
}

fn beside_left(text: &[u8], end: usize) -> &[u8] {
    let start = text[..end].iter().rposition(|byte| is_separator(*byte)).map_or(0, |at| at + 1);
    &text[start..end]
}

fn beside_right(text: &[u8], start: usize) -> &[u8] {
    let rest = &text[start..];
    &rest[..rest.iter().position(|byte| is_separator(*byte)).unwrap_or(rest.len())]
}

/// How a word of `len` letters at `at` is set off on both sides.
fn setting(text: &[u8], at: &Range<usize>, len: usize) -> Setting {
    match setting_beside(beside_left(text, at.start), len) {
        Setting::Amid => Setting::Amid,
        left => match setting_beside(beside_right(text, at.end), len) {
            Setting::Apart => left,
            right => right,
        },
    }
}

fn setting_beside(letters: &[u8], len: usize) -> Setting {
    let is_long = len > SHORT_LEN_MAX || letters.len() >= LONG_LURE_LEN_MIN || letters == b"www";
    match () {
        () if letters.is_empty() => Setting::Apart,
        () if len >= DIGITS_LEN_MIN && letters.iter().all(u8::is_ascii_digit) => Setting::Apart,
        () if is_long && is_lure_run(letters) => Setting::Lured,
        () => Setting::Amid,
    }
}

/// If one of the brand's public suffixes comes next and then an end or a separator: what joins it to the word
/// (nothing, a dot or another separator), and where it ends. Its own dots may be missing or other separators too.
fn suffix_after(brand: &Brand, text: &[u8], start: usize) -> Option<(Option<u8>, usize)> {
    let joint = text.get(start).copied().filter(|byte| is_separator(*byte));
    let start = start + usize::from(joint.is_some());
    let end_of = |suffix: &str| {
        let mut at = start;
        for byte in suffix.bytes() {
            match text.get(at) {
                Some(found) if *found == byte || byte == b'.' && is_separator(*found) => at += 1,
                _ if byte == b'.' => {}
                _ => return None,
            }
        }
        (Side::of(text.get(at)) != Side::Glued).then_some(at)
    };
    let end = brand.suffixes.iter().find_map(|suffix| end_of(suffix))?;
    Some((joint, end))
}

/// The runs between separators, also empty ones.
pub(super) fn tokens(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    (0..=text.len()).filter(|end| text.get(*end).is_none_or(|byte| is_separator(*byte))).map(move |end| {
        let token = start..end;
        start = end + 1;
        token
    })
}
