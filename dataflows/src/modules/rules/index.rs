//! What all rules look for in names and texts, found in one pass.
//!
//! Every list of values that a rule looks for is a *group*. The index holds the values of all groups, each distinct
//! value once: literals in one Aho-Corasick automaton, expressions in one `RegexSet`, whole names and suffixes in one
//! hash map. A pass over a subject yields the [`Hits`]: which value of which group in which name. Its cost depends on
//! the subject's bytes and on what hits, and hardly on how many values there are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use ct_model::name::{is_plain, registered_domain};
use regex::{RegexSet, RegexSetBuilder};

use super::networks::Networks;
use super::text::TextField;
use crate::modules::Subject;

/// Its hashes are the same in every process. Only those who write rules choose the keys; a hostile name can only miss.
pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Hits kept for one subject; 12 bytes each.
pub(super) const HITS_MAX: usize = 1 << 17;
/// The compiled `RegexSet`. It bounds the work for each byte of a name that drives the fast engines out.
pub(super) const REGEX_SET_BYTES_MAX: usize = 4 << 20;
const REGEX_CACHE_BYTES: usize = 16 << 20;
/// Names are at most this long (RFC 1035 section 2.3.4), so no longer suffix is looked up.
const NAME_BYTES_MAX: usize = 253;

/// A value of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) group: u32,
    pub(super) value: u32,
}

/// A value of a group, seen in the name of this number or, [`Hit::CERTIFICATE`], in the certificate's other fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) group: u32,
    pub(super) name: u32,
    pub(super) value: u32,
}

impl Hit {
    pub(super) const CERTIFICATE: u32 = u32::MAX;
}

/// Where in a name a literal has to stand, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u8);

impl Place {
    const NOWHERE: Self = Self(0);
    pub(super) const ANYWHERE: Self = Self(1);
    /// Within one label in front of the public suffix.
    pub(super) const IN_LABEL: Self = Self(2);
    /// Likewise, and with no letter or digit at either side.
    pub(super) const WORD: Self = Self(4);
    /// A whole label in front of the public suffix.
    pub(super) const LABEL: Self = Self(8);

    fn includes(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Which places `start..end` of `name` is, of which the first `own` bytes stand in front of the public suffix.
    fn of(name: &[u8], start: usize, end: usize, own: usize) -> Self {
        if end > own {
            return Self::ANYWHERE;
        }
        let sides = [start.checked_sub(1), Some(end)].map(|at| at.and_then(|at| name.get(at)).copied());
        let is_letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
        let word = if sides.into_iter().any(is_letter) { 0 } else { Self::WORD.0 };
        let whole = sides.into_iter().all(|byte| byte.is_none_or(|byte| byte == b'.'));
        Self(Self::ANYWHERE.0 | Self::IN_LABEL.0 | word | if whole { Self::LABEL.0 } else { 0 })
    }
}

/// How much of a text a literal has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Part,
    Whole,
}

#[derive(Default)]
pub(super) struct IndexBuilder {
    literals: Vec<Box<str>>,
    literal_numbers: Map<Box<str>, usize>,
    literal_uses: Vec<Vec<(Place, Use)>>,
    regexes: Vec<Box<str>>,
    regex_numbers: Map<Box<str>, usize>,
    regex_uses: Vec<Vec<Use>>,
    names: Map<Box<str>, Vec<Use>>,
    suffixes: Map<Box<str>, Vec<Use>>,
    texts: Vec<Box<str>>,
    text_numbers: Map<Box<str>, usize>,
    text_uses: Vec<Vec<(TextField, Extent, Use)>>,
    networks: Networks,
    keys: Map<[u8; 32], Vec<Use>>,
}

/// The number of a distinct value, and a place for what uses it.
fn number<U>(
    numbers: &mut Map<Box<str>, usize>,
    values: &mut Vec<Box<str>>,
    uses: &mut Vec<Vec<U>>,
    text: &str,
) -> usize {
    *numbers.entry(text.into()).or_insert_with(|| {
        values.push(text.into());
        uses.push(Vec::new());
        values.len() - 1
    })
}

impl IndexBuilder {
    /// A literal in names, lower case and not empty.
    pub(super) fn literal(&mut self, text: &str, place: Place, used: Use) {
        let number = number(&mut self.literal_numbers, &mut self.literals, &mut self.literal_uses, text);
        self.literal_uses[number].push((place, used));
    }

    /// An expression that compiles on its own.
    pub(super) fn regex(&mut self, text: &str, used: Use) {
        let number = number(&mut self.regex_numbers, &mut self.regexes, &mut self.regex_uses, text);
        self.regex_uses[number].push(used);
    }

    pub(super) fn name(&mut self, name: &str, used: Use) {
        self.names.entry(name.into()).or_default().push(used);
    }

    /// A name and all below it.
    pub(super) fn suffix(&mut self, name: &str, used: Use) {
        self.suffixes.entry(name.into()).or_default().push(used);
    }

    /// A literal in a text of the certificate; letters A to Z in either case.
    pub(super) fn text(&mut self, text: &str, field: TextField, extent: Extent, used: Use) {
        let text = text.to_ascii_lowercase();
        let number = number(&mut self.text_numbers, &mut self.texts, &mut self.text_uses, &text);
        self.text_uses[number].push((field, extent, used));
    }

    pub(super) fn network(&mut self, address: IpAddr, prefix: u8, used: Use) {
        self.networks.insert(address, prefix, used);
    }

    /// The SHA-256 of a public key (SubjectPublicKeyInfo).
    pub(super) fn key(&mut self, spki_sha256: [u8; 32], used: Use) {
        self.keys.entry(spki_sha256).or_default().push(used);
    }

    pub(super) fn build(self) -> Result<Index, IndexError> {
        // The automaton reports every literal at every place: keywords overlap.
        let automaton = |literals: &[Box<str>], any_case| {
            let literals = literals.iter().map(|literal| literal.as_bytes());
            AhoCorasick::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(any_case).build(literals)
        };
        let literals = (!self.literals.is_empty()).then(|| automaton(&self.literals, false)).transpose()?;
        let texts = (!self.texts.is_empty()).then(|| automaton(&self.texts, true)).transpose()?;
        let mut set = RegexSetBuilder::new(self.regexes.iter().map(AsRef::as_ref));
        let set = set.size_limit(REGEX_SET_BYTES_MAX).dfa_size_limit(REGEX_CACHE_BYTES).build()?;
        let text_fields = TextField::ALL
            .into_iter()
            .filter(|field| self.text_uses.iter().flatten().any(|(used, _, _)| used == field))
            .collect();
        Ok(Index {
            literals,
            literal_uses: self.literal_uses,
            regexes: (!self.regexes.is_empty()).then_some(set),
            regex_uses: self.regex_uses,
            names: self.names,
            suffixes: self.suffixes,
            texts,
            text_uses: self.text_uses,
            text_fields,
            networks: self.networks,
            keys: self.keys,
        })
    }
}

/// The values together are too many, though each on its own is not.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("the keywords together are too large for one automaton")]
    Literals(#[from] BuildError),
    #[error(
        "the expressions together compile to more than {REGEX_SET_BYTES_MAX} bytes; use fewer, smaller repetitions, and \
         [a-z0-9] in place of \\w"
    )]
    Regexes(#[from] regex::Error),
}

pub(super) struct Index {
    literals: Option<AhoCorasick>,
    literal_uses: Vec<Vec<(Place, Use)>>,
    regexes: Option<RegexSet>,
    regex_uses: Vec<Vec<Use>>,
    names: Map<Box<str>, Vec<Use>>,
    suffixes: Map<Box<str>, Vec<Use>>,
    texts: Option<AhoCorasick>,
    text_uses: Vec<Vec<(TextField, Extent, Use)>>,
    text_fields: Vec<TextField>,
    networks: Networks,
    keys: Map<[u8; 32], Vec<Use>>,
}

/// Everything that was found in one subject, in order, each once.
#[derive(Debug, Default)]
pub(super) struct Hits {
    hits: Vec<Hit>,
    /// How many names were looked at in full, if not all of them.
    pub(super) cut_at: Option<usize>,
}

impl Hits {
    /// What was found of one group, by name.
    pub(super) fn of(&self, group: u32) -> &[Hit] {
        let start = self.hits.partition_point(|hit| hit.group < group);
        let end = start + self.hits[start..].partition_point(|hit| hit.group == group);
        &self.hits[start..end]
    }

    /// What was found of one group in one name.
    pub(super) fn in_name(&self, group: u32, name: u32) -> &[Hit] {
        let at = |name| self.hits.partition_point(|hit| (hit.group, hit.name) < (group, name));
        let start = at(name);
        let end = start + self.hits[start..].partition_point(|hit| (hit.group, hit.name) == (group, name));
        &self.hits[start..end]
    }

    /// The groups of which something was found, in order, each once.
    pub(super) fn groups(&self) -> impl Iterator<Item = u32> {
        self.hits.chunk_by(|left, right| left.group == right.group).map(|hits| hits[0].group)
    }

    /// `false` means that no more is taken.
    fn push(&mut self, used: Use, name: u32) -> bool {
        if self.hits.len() == HITS_MAX {
            return false;
        }
        self.hits.push(Hit { group: used.group, name, value: used.value });
        true
    }

    fn extend(&mut self, uses: impl IntoIterator<Item = Use>, name: u32) -> bool {
        uses.into_iter().all(|used| self.push(used, name))
    }
}

/// The literals found in one text and all places of each, which may be many.
#[derive(Default)]
struct Found {
    /// By literal; empty until one is found.
    places: Vec<Place>,
    literals: Vec<usize>,
}

impl Found {
    fn add(&mut self, literal: usize, place: Place, literals: usize) {
        if self.places.is_empty() {
            self.places.resize(literals, Place::NOWHERE);
        }
        let places = &mut self.places[literal];
        if *places == Place::NOWHERE {
            self.literals.push(literal);
        }
        places.0 |= place.0;
    }

    fn take(&mut self) -> Option<(usize, Place)> {
        let literal = self.literals.pop()?;
        Some((literal, std::mem::replace(&mut self.places[literal], Place::NOWHERE)))
    }
}

impl Index {
    /// Everything of any group that the subject shows.
    pub(super) fn scan(&self, subject: &Subject<'_>) -> Hits {
        let mut hits = Hits::default();
        // What a certificate has only one of goes first: a flood of names does not drive it out.
        self.scan_certificate(subject, &mut hits);
        let mut found = Found::default();
        for (number, name) in subject.all_names().enumerate() {
            let start = hits.hits.len();
            let finished = u32::try_from(number).is_ok_and(|number| {
                number < Hit::CERTIFICATE && self.scan_name(&comparable(name), number, &mut found, &mut hits)
            });
            if !finished {
                // Half of what a name shows would be misread: what allows it may be in the other half.
                hits.hits.truncate(start);
                hits.cut_at = Some(number);
                break;
            }
        }
        hits.hits.sort_unstable();
        hits.hits.dedup();
        hits
    }

    fn scan_certificate(&self, subject: &Subject<'_>, hits: &mut Hits) {
        let name = Hit::CERTIFICATE;
        for ip in subject.ips {
            if let Ok(address) = ip.parse() {
                self.networks.find(address, |used| hits.push(used, name));
            }
        }
        let Some(certificate) = subject.certificate else { return };
        if let Some(uses) = certificate.spki_sha256.and_then(|key| self.keys.get(&key)) {
            hits.extend(uses.iter().copied(), name);
        }
        let Some(texts) = &self.texts else { return };
        for field in &self.text_fields {
            let Some(text) = field.of(certificate) else { continue };
            for found in texts.find_overlapping_iter(text) {
                let whole = found.start() == 0 && found.end() == text.len();
                let uses = self.text_uses[found.pattern().as_usize()].iter();
                let uses = uses.filter(|(of, extent, _)| of == field && (whole || *extent == Extent::Part));
                hits.extend(uses.map(|(_, _, used)| *used), name);
            }
        }
    }

    /// `false` means that there was no more room.
    fn scan_name(&self, name: &str, number: u32, found: &mut Found, hits: &mut Hits) -> bool {
        if !self.scan_text(name, name, number, found, hits) || !self.scan_domains(name, number, hits) {
            return false;
        }
        // Punycode takes time quadratic in a label, and the labels of plain names are short.
        if (self.literals.is_none() && self.regexes.is_none()) || !name.contains("xn--") || !is_plain(name.as_bytes()) {
            return true;
        }
        let (unicode, _) = idna::domain_to_unicode(name);
        self.scan_text(&unicode, name, number, found, hits)
    }

    fn scan_domains(&self, name: &str, number: u32, hits: &mut Hits) -> bool {
        if let Some(uses) = self.names.get(name)
            && !hits.extend(uses.iter().copied(), number)
        {
            return false;
        }
        if self.suffixes.is_empty() {
            return true;
        }
        let mut rest = Some(name);
        if name.len() > NAME_BYTES_MAX {
            let start = name.ceil_char_boundary(name.len() - NAME_BYTES_MAX - 1);
            rest = name[start..].split_once('.').map(|(_, rest)| rest);
        }
        while let Some(suffix) = rest {
            if let Some(uses) = self.suffixes.get(suffix)
                && !hits.extend(uses.iter().copied(), number)
            {
                return false;
            }
            rest = suffix.split_once('.').map(|(_, rest)| rest);
        }
        true
    }

    /// Literals and expressions in `text`, a form of `name`.
    fn scan_text(&self, text: &str, name: &str, number: u32, found: &mut Found, hits: &mut Hits) -> bool {
        if let Some(literals) = &self.literals {
            let mut own = None;
            for literal in literals.find_overlapping_iter(text) {
                let own = *own.get_or_insert_with(|| own_bytes(text, suffix_labels(name)));
                let place = Place::of(text.as_bytes(), literal.start(), literal.end(), own);
                found.add(literal.pattern().as_usize(), place, self.literal_uses.len());
            }
            while let Some((literal, places)) = found.take() {
                let uses = self.literal_uses[literal].iter().filter(|(place, _)| places.includes(*place));
                if !hits.extend(uses.map(|(_, used)| *used), number) {
                    return false;
                }
            }
        }
        match &self.regexes {
            // Asking whether any matches is the cheaper question, and most often its answer is no.
            Some(regexes) if regexes.is_match(text) => {
                let uses = regexes.matches(text).into_iter().flat_map(|regex| self.regex_uses[regex].iter().copied());
                hits.extend(uses, number)
            }
            _ => true,
        }
    }
}

/// Lower case and without trailing dots, as plain names are anyway.
pub(super) fn comparable(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// How many labels of a name are its public suffix; of a name that nobody can have registered, none.
pub(super) fn suffix_labels(name: &str) -> usize {
    registered_domain(name).map_or(0, |domain| domain.matches('.').count())
}

/// How many bytes stand in front of the last `labels` labels and their dot.
pub(super) fn own_bytes(text: &str, labels: usize) -> usize {
    match labels {
        0 => text.len(),
        _ => text.rmatch_indices('.').nth(labels - 1).map_or(text.len(), |(dot, _)| dot),
    }
}
