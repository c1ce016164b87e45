//! Words that were changed: letters left out, put in, replaced, swapped, moved.

use std::ops::Range;

use super::changes::{distance, is_double_replacement, is_moved, is_vowel, one_change, vowels_swapped};
use super::class::Class;
use super::glyphs::loosened;
use super::index::{Index, Key, Prefixes, bag, sequence};
use super::inside::tokens;
use super::lures::is_lure_run;
use super::search::{ANY_SUFFIX_LEN_MIN, Place, Search, Sighting};

/// Two changes are looked for in words of this length or more: in shorter ones they make other words.
const TWO_CHANGES_LEN_MIN: usize = 10;
/// A changed word that is only a part of the registered label, or stands in front of it, has at least so many letters.
const PART_LEN_MIN: usize = 7;
/// Two neighbours of fewer letters are most of the word.
const DOUBLED_LEN_MIN: usize = 4;
/// As are letters that only hurried eyes confuse.
const LOOSE_LEN_MIN: usize = 5;

/// The lengths that changed words may have, as bits.
#[derive(Clone, Copy, Default)]
pub(super) struct Lengths {
    one: u64,
    one_of_part: u64,
    two: u64,
}

impl Lengths {
    pub(super) fn insert(&mut self, len: usize) {
        let around = |by: usize| (len.saturating_sub(by)..=len + by).fold(0, |bits, len| bits | bit(len));
        self.one |= around(1);
        if len >= PART_LEN_MIN {
            self.one_of_part |= around(1);
        }
        if len >= TWO_CHANGES_LEN_MIN {
            self.two |= around(2);
        }
    }
}

const fn bit(len: usize) -> u64 {
    if len < 64 { 1 << len } else { 0 }
}

/// Enters a word under all that the look-ups below may ask for.
pub(super) fn enter(number: u32, word: &[u8], max_distance: u8, entries: &mut Vec<(u64, u32)>) {
    let prefixes = Prefixes::of(word).expect("words are short");
    let mut add = |key, value| entries.push((Index::hash(key, value), number));
    if max_distance >= 1 {
        add(Key::Deleted, prefixes.whole());
        (0..word.len()).for_each(|at| add(Key::Deleted, prefixes.without_one(at)));
    }
    if max_distance >= 2 {
        add(Key::Letters, bag(word));
        add(Key::Consonants, sequence(word.iter().copied().map(vowels_alike)));
        if word.len() >= DOUBLED_LEN_MIN {
            (0..word.len() - 1).for_each(|at| add(Key::Doubled, prefixes.without_pair(at)));
            (0..word.len()).for_each(|at| add(Key::Single, prefixes.without_one(at)));
        }
        if word.len() >= TWO_CHANGES_LEN_MIN {
            prefixes.without_two(|hash| add(Key::Deleted, hash));
        }
    }
    if word.len() >= LOOSE_LEN_MIN {
        add(Key::Loose, sequence(loosened(word)));
    }
    add(Key::Plural, sequence(word.iter().chain(b"es").copied()));
    if let [stem @ .., b'y'] = word {
        add(Key::Plural, sequence(stem.iter().chain(b"ies").copied()));
    }
}

const fn vowels_alike(byte: u8) -> u8 {
    if is_vowel(byte) { b'a' } else { byte }
}

/// A part of a name that is looked up.
struct Part<'a> {
    place: &'a Place<'a>,
    at: Range<usize>,
    label: &'a [u8],
    prefixes: Prefixes,
    is_foreign: bool,
}

impl Search {
    pub(super) fn look_near(&self, place: &Place<'_>, out: &mut Vec<Sighting>) {
        let text = place.text.bytes();
        let registered = place.registered..text.len();
        if let Some(part) = Part::of(place, registered.clone()) {
            self.letters_deleted(&part, 0, out);
            if self.lengths.one & bit(part.label.len()) != 0 {
                self.more_changes(&part, out);
            }
            self.other_forms(&part, out);
        }
        for token in tokens(text).filter(|token| self.lengths.one_of_part & bit(token.len()) != 0) {
            if let Some(part) = Part::of(place, token.clone()).filter(|_| token != registered) {
                self.letters_deleted(&part, PART_LEN_MIN, out);
            }
        }
    }

    /// One change of a word of `len_min` letters or more, or two changes of a long one that is the whole label.
    fn letters_deleted(&self, part: &Part<'_>, len_min: usize, out: &mut Vec<Sighting>) {
        let len = bit(part.label.len());
        let is_two = part.is_registered() && self.lengths.two & len != 0;
        if !is_two && self.lengths.one & len == 0 {
            return;
        }
        let mut last = None;
        let mut check = |number: u32| {
            // The forms of a label that is the word itself all lead to it.
            if last.replace(number) == Some(number) {
                return;
            }
            let word = &self.words[number as usize].text;
            if word.len() < len_min || **word == *part.label {
                return;
            }
            if let Some(class) = one_change(word, part.label) {
                self.changed(part, number, class, 1, out);
            } else if is_two && word.len() >= TWO_CHANGES_LEN_MIN && distance(word, part.label) == 2 {
                self.changed(part, number, Class::TwoChanges, 2, out);
            }
        };
        self.index.words(Key::Deleted, part.prefixes.whole()).for_each(&mut check);
        for at in 0..part.label.len() {
            self.index.words(Key::Deleted, part.prefixes.without_one(at)).for_each(&mut check);
        }
        // Two letters are too many in the label only if it is as long as the word, or longer.
        if is_two && part.label.len() >= TWO_CHANGES_LEN_MIN {
            part.prefixes.without_two(|hash| self.index.words(Key::Deleted, hash).for_each(&mut check));
        }
    }

    /// More than one change of certain kinds.
    fn more_changes(&self, part: &Part<'_>, out: &mut Vec<Sighting>) {
        let label = part.label;
        for number in self.index.words(Key::Letters, bag(label)) {
            if is_moved(&self.words[number as usize].text, label) {
                self.changed(part, number, Class::MovedLetter, 2, out);
            }
        }
        for number in self.index.words(Key::Consonants, sequence(label.iter().copied().map(vowels_alike))) {
            if let Some(count) = vowels_swapped(&self.words[number as usize].text, label) {
                self.changed(part, number, Class::VowelSwap, count, out);
            }
        }
        for at in (1..label.len()).filter(|at| label[at - 1] == label[*at]) {
            let rest = part.prefixes.without_pair(at - 1);
            for number in self.index.words(Key::Doubled, rest).chain(self.index.words(Key::Single, rest)) {
                if is_double_replacement(&self.words[number as usize].text, label) {
                    self.changed(part, number, Class::DoubleReplacement, 2, out);
                }
            }
        }
    }

    /// Plurals, and letters that only hurried eyes confuse.
    fn other_forms(&self, part: &Part<'_>, out: &mut Vec<Sighting>) {
        for number in self.index.words(Key::Plural, part.prefixes.whole()) {
            self.changed(part, number, Class::Plural, 2, out);
        }
        for number in self.index.words(Key::Loose, sequence(loosened(part.label))) {
            let word = &self.words[number as usize].text;
            if **word != *part.label && loosened(word).eq(loosened(part.label)) {
                self.changed(part, number, Class::Homoglyph, distance(word, part.label), out);
            }
        }
    }

    fn changed(&self, part: &Part<'_>, number: u32, class: Class, changes: usize, out: &mut Vec<Sighting>) {
        let word = &self.words[number as usize];
        if word.text.len() < ANY_SUFFIX_LEN_MIN && !part.place.is_under_suffix_of(self.brand(number)) {
            return;
        }
        // A common word is meant as it is written: `cloud`, `finance`.
        if is_lure_run(part.label) {
            return;
        }
        // Letters from elsewhere are there to look like others, also where no table says like which.
        let class = if part.is_foreign { Class::Homoglyph } else { class };
        let distance = u8::try_from(changes).unwrap_or(u8::MAX);
        let score = class.weight();
        self.offer(Sighting { brand: word.brand, word: number, class, distance, score, at: part.at.clone() }, out);
    }
}

impl<'a> Part<'a> {
    /// `None` if no word is as long.
    fn of(place: &'a Place<'a>, at: Range<usize>) -> Option<Self> {
        let label = &place.text.bytes()[at.clone()];
        let prefixes = Prefixes::of(label)?;
        Some(Self { place, is_foreign: place.text.is_foreign(at.clone()), at, label, prefixes })
    }

    fn is_registered(&self) -> bool {
        self.at.start == self.place.registered && self.at.end == self.place.text.bytes().len()
    }
}
