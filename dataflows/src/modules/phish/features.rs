//! What the model sees of a name: runs of characters, words, and its shape.
//!
//! The trainer and the module read names through this file alone, so a weights file fits it or names another
//! version ([`VERSION`]). A name is bytes here: whatever stands in it is hashed and never interpreted, and the work is
//! linear in its length, of which at most 253 bytes are looked at.

use ct_model::name::registered_domain;

use super::keywords::Hits;

/// Raise it when anything below changes what a name looks like to the model: old weights mean nothing then.
pub const VERSION: u32 = 1;
/// A weight for each hash of a run or a word: 2^17 slots.
pub const SLOT_BITS: u32 = 17;

/// RFC 1035 section 2.3.4, as text.
const NAME_BYTES_MAX: usize = 253;
/// Lengths of the runs.
const RUN_BYTES_MIN: usize = 2;
const RUN_BYTES_MAX: usize = 5;

/// The multiplier of FxHash; the upper bits of the product depend on all bytes before it.
const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
const WORD_SEED: u64 = 0x5eed_0001;
const SUFFIX_SEED: u64 = 0x5eed_0002;

/// A name cut for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Without `*.` and `www.` in front and a dot at the end; at most 253 bytes.
    pub name: &'a str,
    /// Where in it the registered domain begins; its length if there is none.
    pub domain_at: usize,
    /// Where in it the public suffix begins; its length if there is no registered domain.
    pub suffix_at: usize,
}

impl<'a> Parts<'a> {
    pub fn of(name: &'a str) -> Self {
        let parts = Self::with_www(name);
        match parts.name.strip_prefix("www.") {
            Some(bare) if bare.contains('.') => Self::cut(bare),
            _ => parts,
        }
    }

    /// As [`Parts::of`], but `www.` stays.
    pub(super) fn with_www(name: &'a str) -> Self {
        let name = name.trim_end_matches('.');
        Self::cut(name.strip_prefix("*.").unwrap_or(name))
    }

    fn cut(name: &'a str) -> Self {
        let mut end = name.len().min(NAME_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        let domain_at = registered_domain(name).map_or(name.len(), |domain| name.len() - domain.len());
        let suffix_at = name[domain_at..].find('.').map_or(name.len(), |dot| domain_at + dot + 1);
        Self { name, domain_at, suffix_at }
    }

    /// The registered domain; empty if there is none.
    pub fn domain(&self) -> &'a str {
        &self.name[self.domain_at..]
    }

    /// The label in front of the public suffix; empty if there is no registered domain.
    pub fn label(&self) -> &'a str {
        self.name[self.domain_at..self.suffix_at].trim_end_matches('.')
    }

    pub fn suffix(&self) -> &'a str {
        &self.name[self.suffix_at..]
    }

    /// What stands in front of the registered domain, without the dot between.
    fn below(&self) -> &'a str {
        self.name[..self.domain_at].trim_end_matches('.')
    }
}

/// Calls `see` with every run and word: its slot, and the bytes of the name it covers.
pub fn visit_runs(parts: &Parts<'_>, mut see: impl FnMut(usize, std::ops::Range<usize>)) {
    let name = parts.name.as_bytes();
    // The first and the last label are marked by dots, like those between.
    let byte = |at: usize| if at == 0 || at > name.len() { b'.' } else { name[at - 1] };
    for start in 0..=name.len() {
        let mut hash = 0;
        for at in start..(start + RUN_BYTES_MAX).min(name.len() + 2) {
            hash = mixed(hash, byte(at));
            // Where a name begins in the alphabet says nothing, but a list may be a slice of one.
            let is_first_letter = start <= 1 && at <= 2;
            if at + 1 - start >= RUN_BYTES_MIN && !is_first_letter {
                see(slot(hash), start.saturating_sub(1)..at.min(name.len()));
            }
        }
    }
    let words = parts.name[..parts.suffix_at].split_inclusive(['.', '-']);
    let mut start = 0;
    for word in words {
        let bytes = word.trim_end_matches(['.', '-']);
        if !bytes.is_empty() {
            see(slot(bytes.bytes().fold(WORD_SEED, mixed)), start..start + bytes.len());
        }
        start += word.len();
    }
    if !parts.suffix().is_empty() {
        see(slot(parts.suffix().bytes().fold(SUFFIX_SEED, mixed)), parts.suffix_at..name.len());
    }
}

fn mixed(hash: u64, byte: u8) -> u64 {
    (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(MULTIPLIER)
}

fn slot(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - SLOT_BITS)).expect("at most 17 bits")
}

/// Calls `see` once for each of [`SHAPES`], in their order: the index of its weight, and the number itself.
pub fn visit_shapes(parts: &Parts<'_>, hits: &Hits, mut see: impl FnMut(usize, usize)) {
    let label = parts.label().as_bytes();
    let below = parts.below();
    let count = |bytes: &[u8], is: fn(&u8) -> bool| bytes.iter().filter(|byte| is(byte)).count();
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let letters = count(label, u8::is_ascii_alphabetic);
    let vowels = count(label, |byte| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y'));
    let labels_below = if below.is_empty() { 0 } else { below.split('.').count() };
    let values = [
        labels_below,
        parts.name.bytes().filter(|byte| *byte == b'-').count(),
        count(label, is_digit),
        count(below.as_bytes(), is_digit),
        label.len(),
        parts.name.len(),
        longest_run(label, |byte| byte.is_ascii_alphabetic() && !b"aeiouy".contains(&byte)),
        (vowels * 100).checked_div(letters).unwrap_or(0),
        switches(label),
        below.split('.').map(str::len).max().unwrap_or(0),
        usize::from(parts.name.contains("xn--")),
        usize::from(parts.name.contains("--")),
        suffix_words(parts),
        hits.brands,
        hits.lures,
        usize::from(hits.suffix),
        2 * hits.brands.min(1) + hits.lures.min(1),
    ];
    let mut first = 0;
    for (shape, value) in SHAPES.iter().zip(values) {
        let index = shape.bounds.iter().take_while(|bound| value > **bound).count();
        see(first + index, value);
        first += shape.bounds.len() + 1;
    }
}

/// One group of the shape: a number, and where its buckets end (each up to and including its bound, the last open).
pub struct Shape {
    pub name: &'static str,
    pub bounds: &'static [usize],
    /// What it says to people; the number, or the words, stand where `{}` is.
    pub text: &'static str,
}

const fn shape(name: &'static str, bounds: &'static [usize], text: &'static str) -> Shape {
    Shape { name, bounds, text }
}

/// In the order of the weights.
pub const SHAPES: &[Shape] = &[
    shape("labels_below", &[0, 1, 2, 3], "labels below the registered domain: {}"),
    shape("dashes", &[0, 1, 2, 3], "dashes: {}"),
    shape("label_digits", &[0, 1, 2, 4], "digits in the registered label: {}"),
    shape("digits_below", &[0, 2], "digits below the registered domain: {}"),
    shape("label_bytes", &[4, 7, 10, 14, 19, 27], "characters in the registered label: {}"),
    shape("name_bytes", &[12, 20, 30, 45, 70], "characters in the name: {}"),
    shape("consonants", &[3, 4, 5, 6], "consonants in a row: {}"),
    shape("vowels_percent", &[12, 24, 36, 48], "vowels among the letters: {} %"),
    shape("switches", &[0, 1, 2, 3], "changes between letters and digits: {}"),
    shape("longest_below", &[8, 16, 28], "characters in the longest label below the registered domain: {}"),
    shape("punycode", &[0], "Punycode"),
    shape("double_dash", &[0], "two dashes in a row"),
    shape("suffix_words", &[0], "words like \"com\" in front of the public suffix: {}"),
    shape("brands", &[0, 1], "brand words: {}"),
    shape("lures", &[0, 1, 2], "lure words: {}"),
    shape("suffix", &[0], "suffix .{}"),
    // 0 neither, 1 lures, 2 brands, 3 both.
    shape("brand_and_lure", &[0, 1, 2], "{}"),
];

pub const SHAPE_SLOTS: usize = {
    let (mut slots, mut at) = (0, 0);
    while at < SHAPES.len() {
        slots += SHAPES[at].bounds.len() + 1;
        at += 1;
    }
    slots
};

fn longest_run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let (mut longest, mut run) = (0, 0);
    for &byte in bytes {
        run = if is(byte) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// How often a letter stands next to a digit.
fn switches(bytes: &[u8]) -> usize {
    let differ = |pair: &&[u8]| {
        pair.iter().all(u8::is_ascii_alphanumeric) && pair[0].is_ascii_digit() != pair[1].is_ascii_digit()
    };
    bytes.windows(2).filter(differ).count()
}

/// Words in front of the public suffix that look like one: `paypal.com.example.net`, `com-login.example`.
fn suffix_words(parts: &Parts<'_>) -> usize {
    let words = parts.name[..parts.suffix_at].split(['.', '-']);
    words.filter(|word| matches!(*word, "com" | "net" | "org" | "gov" | "co" | "info")).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::phish::keywords::Keywords;

    #[track_caller]
    fn check_parts(name: &str, label: &str, suffix: &str, domain: &str) {
        let parts = Parts::of(name);
        assert_eq!((parts.label(), parts.suffix(), parts.domain()), (label, suffix, domain), "{name}");
    }

    #[test]
    fn names_are_cut() {
        check_parts("a.b.example.co.uk", "example", "co.uk", "example.co.uk");
        check_parts("*.www.example.com.", "example", "com", "example.com");
        check_parts("www.com", "www", "com", "www.com");
        check_parts("localhost", "", "", "");
        check_parts("", "", "", "");
        assert_eq!(Parts::of("*.www.example.com").name, "example.com");
        assert_eq!(Parts::of("www.com").name, "www.com");
        assert_eq!(Parts::of(&format!("{}é.com", "a".repeat(252))).name.len(), 252, "cut between characters");
    }

    /// The runs of a plain loop over all lengths, first letters left out, then words and suffix.
    #[test]
    fn runs_cover_the_name() {
        for name in ["example.com", "a.bc", "pay-pal.login.example.co.uk", "x"] {
            let parts = Parts::of(name);
            let marked = format!(".{name}.");
            let mut want = 0;
            for length in RUN_BYTES_MIN..=RUN_BYTES_MAX {
                want += (0..(marked.len() + 1).saturating_sub(length)).filter(|start| start + length > 3).count();
            }
            want += name[..parts.suffix_at].split(['.', '-']).filter(|word| !word.is_empty()).count();
            want += usize::from(!parts.suffix().is_empty());
            let mut got = 0;
            visit_runs(&parts, |slot, range| {
                got += 1;
                assert!(slot < 1 << SLOT_BITS && range.end <= name.len(), "{name} {range:?}");
            });
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn the_first_letters_alone_say_nothing() {
        let slots = |name| {
            let mut slots = Vec::new();
            visit_runs(&Parts::of(name), |slot, range| {
                if range.end <= 2 {
                    slots.push(slot);
                }
            });
            slots
        };
        assert_eq!(slots("zzexample.com"), Vec::<usize>::new());
    }

    #[test]
    fn shapes_are_counted() {
        let shape = |name: &str, wanted: &str| {
            let keywords = Keywords::parse("keywords:\n  paypal: 90\n  login: 20\ntlds:\n  .top:\n").expect("a file");
            let parts = Parts::of(name);
            let mut values = Vec::new();
            visit_shapes(&parts, &keywords.hits(&parts), |index, value| values.push((index, value)));
            assert_eq!(values.len(), SHAPES.len());
            assert!(values.is_sorted() && values.iter().all(|(index, _)| *index < SHAPE_SLOTS));
            values[SHAPES.iter().position(|shape| shape.name == wanted).expect("a shape")].1
        };
        for (name, wanted, value) in [
            ("a.b.example.com", "labels_below", 2),
            ("a-b.c--d.com", "dashes", 3),
            ("a-b.c--d.com", "double_dash", 1),
            ("1.a2b3.com", "label_digits", 2),
            ("1.a2b3.com", "digits_below", 1),
            ("1.a2b3.com", "switches", 3),
            ("schtroumpf.de", "consonants", 5),
            ("eau.fr", "vowels_percent", 100),
            ("paypal.com.example.net", "suffix_words", 1),
            ("paypal-login.top", "brands", 1),
            ("paypal-login.top", "lures", 1),
            ("paypal-login.top", "suffix", 1),
            ("paypal-login.top", "brand_and_lure", 3),
            ("xn--bcher-kva.de", "punycode", 1),
        ] {
            assert_eq!(shape(name, wanted), value, "{name} {wanted}");
        }
    }
}
