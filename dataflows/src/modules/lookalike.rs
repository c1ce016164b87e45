//! Module `lookalike`: names made to be taken for those of a brand.
//!
//! Every name of a certificate is held against all watched brands: letters that read like others, letters left out,
//! doubled, replaced or swapped, the brand with other words around it, in front of another domain, or under another
//! top-level domain. [`Class`] lists the ways. A brand's own domains are never reported.

use std::borrow::Cow;

use ct_model::{Finding, Severity};
use serde_json::Map;

use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Options, Settings, Subject};

mod brand;
mod changes;
mod class;
mod glyphs;
mod index;
mod inside;
mod lures;
mod near;
mod search;

use brand::Brand;
pub use class::Class;
use glyphs::Text;
use search::{Search, Sighting};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "lookalike",
    by_default: true,
    doc: "names that look like those of a brand",
    options: &[
        OptionDef {
            name: "brands",
            kind: OptionKind::List,
            default: "[]",
            doc: "whom to watch over: a domain, or a table {name, domains, words, allow, min_len, distance, classes}; \
                  domains are the brand's own and never reported, nor is anything below them; words are looked for \
                  besides the registered labels of the domains; allow lists other names that are not reported; words \
                  shorter than min_len (default 3) are found only unchanged and as a whole label; distance is how \
                  many letters may be changed: 0, 1, or 2 (the default: two in long words); classes keeps only these",
        },
        OptionDef {
            name: "list",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "more brands: a domain a line, `#` begins a comment line",
        },
        OptionDef {
            name: "max",
            kind: OptionKind::Integer { min: 1, max: 100_000 },
            default: "100",
            doc: "findings per certificate; that there are more is reported",
        },
    ],
    prepare: |settings| Ok(Box::new(Lookalike::new(settings)?)),
};

const BRANDS_MAX: usize = 100_000;

/// The brands, ready to be held against names.
pub struct Lookalike {
    search: Search,
    findings_max: usize,
}

/// A name that looks like one of a brand's.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit<'a> {
    /// As its owner calls it.
    pub brand: &'a str,
    /// The word of the brand that the name looks like: lower-case ASCII letters and digits.
    pub word: &'a str,
    pub class: Class,
    /// How many letters differ, or separators are in between.
    pub distance: u8,
    /// From 0 to 1: how much it says that the name was made to deceive.
    pub score: f64,
    /// The part of the name that looks like the word, each character as the Latin letter that it resembles, `?` if
    /// none.
    pub found: Box<str>,
}

#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("more than {BRANDS_MAX} brands")]
    TooMany,
    #[error("the brands are too many or too long")]
    Search(#[source] aho_corasick::BuildError),
}

impl Lookalike {
    /// From the module's options as users write them.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        Self::new(&Settings::check(MODULE.name, MODULE.options, options)?)
    }

    fn new(settings: &Settings) -> Result<Self, OptionError> {
        let mut brands = Vec::new();
        for (index, value) in settings.list("brands").iter().enumerate() {
            brands.push(Brand::parse(&settings.key(&format!("brands[{index}]")), value)?);
        }
        let text = settings.text("list");
        for (line, text) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                let key = || format!("{} line {}", settings.key("list"), line + 1);
                let brand = Brand::of_domain(text);
                brands.push(brand.map_err(|why| OptionError::Invalid { key: key(), source: why.into() })?);
            }
        }
        let invalid = |why: ListError| OptionError::Invalid { key: settings.key("brands"), source: why.into() };
        if brands.len() > BRANDS_MAX {
            return Err(invalid(ListError::TooMany));
        }
        let search = Search::new(brands).map_err(|why| invalid(ListError::Search(why)))?;
        Ok(Self { search, findings_max: usize::try_from(settings.integer("max")).expect("at most 100,000") })
    }

    /// The brand that a DNS name looks most like, and how.
    pub fn look(&self, name: &str) -> Option<Hit<'_>> {
        self.look_all(name).into_iter().reduce(|best, hit| if hit.score > best.score { hit } else { best })
    }

    /// The same for every brand that the name looks like, in their order.
    pub fn look_all(&self, name: &str) -> Vec<Hit<'_>> {
        let mut sightings = Vec::new();
        let Some(text) = self.search.look(&comparable(name), &mut sightings) else { return Vec::new() };
        sightings.iter().map(|sighting| self.hit(sighting, &text)).collect()
    }

    fn hit(&self, sighting: &Sighting, text: &Text) -> Hit<'_> {
        let word = &self.search.words[sighting.word as usize].text;
        let readable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
        Hit {
            brand: &self.search.brand(sighting.word).name,
            word: std::str::from_utf8(word).expect("words are ASCII"),
            class: sighting.class,
            distance: sighting.distance,
            score: sighting.score,
            found: text.bytes()[sighting.at.clone()].iter().map(readable).collect::<String>().into(),
        }
    }
}

/// Lower case and without trailing dots, whoever made the name.
fn comparable(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

impl Hit<'_> {
    pub fn severity(&self) -> Severity {
        match self.score {
            0.8.. => Severity::High,
            0.5.. => Severity::Medium,
            _ => Severity::Low,
        }
    }

    /// In a few words for people.
    pub fn reason(&self) -> String {
        let (found, word) = (&self.found, self.word);
        match self.class {
            Class::Homoglyph if **found == *word => format!("letters of other scripts that read like {word:?}"),
            Class::Homoglyph => format!("{found:?} reads like {word:?}"),
            Class::MissingDot => format!("{word:?} and its top-level domain without the dot between them"),
            Class::TldAdded => format!("a whole domain of {word:?} with another top-level domain behind it"),
            Class::Subdomain => format!("{word:?} in front of a domain of somebody else"),
            Class::Combosquat => format!("{word:?} with other words in the registered label"),
            Class::Hyphenation => format!("{found:?} is {word:?} with hyphens"),
            Class::SubdomainSplit => format!("{found:?} is {word:?} with dots"),
            Class::Transposition => format!("{found:?} is {word:?} with two neighbours swapped"),
            Class::Repetition => format!("{found:?} is {word:?} with a letter doubled"),
            Class::Omission => format!("{found:?} is {word:?} without one letter"),
            Class::VowelSwap => format!("{found:?} is {word:?} with another vowel"),
            Class::Keyboard => format!("{found:?} is {word:?} with the key beside one hit"),
            Class::BitFlip => format!("{found:?} is {word:?} with one bit flipped"),
            Class::Replacement => format!("{found:?} is {word:?} with one letter replaced"),
            Class::Addition => format!("{found:?} is {word:?} with a letter more"),
            Class::Plural => format!("{found:?} is a plural of {word:?}"),
            Class::MovedLetter => format!("{found:?} is {word:?} with one letter moved"),
            Class::DoubleReplacement => format!("{found:?} is {word:?} with two neighbours replaced by one letter"),
            Class::TwoChanges => format!("{found:?} is {word:?} with two changes"),
            Class::TldSwap => format!("{word:?} itself, in a domain not known to be the brand's"),
        }
    }
}

impl Examine for Lookalike {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        if self.search.words.is_empty() {
            return;
        }
        let start = out.len();
        let mut sightings = Vec::new();
        for (index, name) in subject.all_names().enumerate() {
            sightings.clear();
            let Some(text) = self.search.look(&comparable(name), &mut sightings) else { continue };
            for sighting in &sightings {
                if out.len() - start == self.findings_max {
                    out.push(subject.unfinished(MODULE.name, index, name));
                    return;
                }
                out.push(looks_alike(subject, name, &self.hit(sighting, &text)));
            }
        }
    }
}

fn looks_alike(subject: &Subject<'_>, name: &str, hit: &Hit<'_>) -> Finding {
    let mut detail = Map::from_iter([
        ("brand".to_owned(), hit.brand.into()),
        ("word".to_owned(), hit.word.into()),
        ("found".to_owned(), (*hit.found).into()),
        ("distance".to_owned(), hit.distance.into()),
        ("reason".to_owned(), hit.reason().into()),
    ]);
    if let Some(unicode) = unicode(name) {
        detail.insert("unicode".to_owned(), unicode.into());
    }
    let key = format!("{} {name}", hit.brand);
    let (check, severity) = (hit.class.as_str(), hit.severity());
    let claim = Claim { check, severity, key: &key, name: Some(name), once: false, detail };
    Finding { score: Some(hit.score), ..subject.finding(MODULE.name, claim) }
}

/// The name with its A-labels decoded, if there are any.
fn unicode(name: &str) -> Option<String> {
    let labels: Vec<_> = name.split('.').map(glyphs::unicode).collect();
    if labels.iter().all(Option::is_none) {
        return None;
    }
    let labels = name.split('.').zip(labels).map(|(label, unicode)| unicode.unwrap_or_else(|| label.to_owned()));
    Some(labels.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests;
