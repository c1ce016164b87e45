//! What to watch for: brands as users write them, checked.

use std::ops::RangeInclusive;

use ct_model::name::{normalize, registered_domain};
use serde_json::{Map, Value};

use super::class::{Class, Classes};
use super::glyphs::{Text, UNREADABLE, is_separator};
use super::index::WORD_BYTES_MAX;
use crate::modules::OptionError;
use crate::modules::options::type_name;

/// One that somebody watches.
pub(super) struct Brand {
    /// What findings call it.
    pub(super) name: Box<str>,
    /// Its own registered domains: they and everything below are never reported.
    pub(super) domains: Vec<Box<str>>,
    /// The public suffixes of `domains`.
    pub(super) suffixes: Vec<Box<str>>,
    /// What is looked for: the labels in front of those suffixes and the words given besides, as they look.
    pub(super) words: Vec<Box<[u8]>>,
    /// Other names that are never reported, with everything below.
    pub(super) allow: Vec<Box<str>>,
    pub(super) min_len: usize,
    pub(super) distance: u8,
    pub(super) classes: Classes,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BrandError {
    #[error("{0:?} is no domain name")]
    NotDomain(String),
    #[error("{0:?} is no word: letters, digits and hyphens make one, at most {WORD_BYTES_MAX}")]
    NotWord(String),
    #[error("no word to look for: none of the domains reads like Latin letters; give `words`")]
    NoWord,
}

impl Brand {
    /// A domain, or a table with at least `domains`.
    pub(super) fn parse(key: &str, value: &Value) -> Result<Self, OptionError> {
        match value {
            Value::String(domain) => {
                let invalid = |why: BrandError| OptionError::Invalid { key: key.to_owned(), source: why.into() };
                Self::of_domain(domain).map_err(invalid)
            }
            Value::Object(table) => Self::of_table(key, table),
            other => Err(wrong_type(key.to_owned(), other, "text or a table")),
        }
    }

    /// A brand of one domain, all else as it is by default.
    pub(super) fn of_domain(domain: &str) -> Result<Self, BrandError> {
        let mut brand = Self::named(domain);
        brand.add_domain(domain)?;
        brand.finished()
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            domains: Vec::new(),
            suffixes: Vec::new(),
            words: Vec::new(),
            allow: Vec::new(),
            min_len: 3,
            distance: 2,
            classes: Classes::ALL,
        }
    }

    fn of_table(key: &str, table: &Map<String, Value>) -> Result<Self, OptionError> {
        const KEYS: [&str; 7] = ["name", "domains", "words", "allow", "min_len", "distance", "classes"];
        if let Some(name) = table.keys().find(|name| !KEYS.contains(&name.as_str())) {
            let known = KEYS.map(str::to_owned).to_vec();
            return Err(OptionError::Unknown { key: key.to_owned(), what: "key", name: name.clone(), known });
        }
        let sub_key = |name: &str| format!("{key}.{name}");
        let domains = texts(key, table, "domains")?.ok_or_else(|| OptionError::Missing { key: sub_key("domains") })?;
        let name = match table.get("name") {
            Some(Value::String(name)) => name,
            Some(other) => return Err(wrong_type(sub_key("name"), other, "text")),
            None => domains.first().copied().unwrap_or_default(),
        };
        let mut brand = Self::named(name);
        if let Some(number) = number(key, table, "min_len", 1..=63)? {
            brand.min_len = usize::from(number);
        }
        if let Some(number) = number(key, table, "distance", 0..=2)? {
            brand.distance = number;
        }
        if let Some(names) = texts(key, table, "classes")? {
            brand.classes = classes(key, &names)?;
        }
        let mut add_all = |name: &str, add: fn(&mut Self, &str) -> Result<(), BrandError>| {
            for (index, text) in texts(key, table, name)?.unwrap_or_default().into_iter().enumerate() {
                let key = || format!("{key}.{name}[{index}]");
                add(&mut brand, text).map_err(|why| OptionError::Invalid { key: key(), source: why.into() })?;
            }
            Ok(())
        };
        add_all("domains", Self::add_domain)?;
        add_all("words", Self::add_word)?;
        add_all("allow", |brand, text| {
            brand.allow.push(domain(text)?);
            Ok(())
        })?;
        brand.finished().map_err(|why| OptionError::Invalid { key: sub_key("domains"), source: why.into() })
    }

    fn add_domain(&mut self, text: &str) -> Result<(), BrandError> {
        let name = domain(text)?;
        // A service whose customers register below it is a public suffix itself.
        let own = registered_domain(&name).unwrap_or(&name);
        let (label, suffix) = own.split_once('.').ok_or_else(|| BrandError::NotDomain(text.to_owned()))?;
        if let Some(word) = word(label) {
            push_new(&mut self.words, word);
        }
        push_new(&mut self.suffixes, suffix.into());
        push_new(&mut self.domains, own.into());
        Ok(())
    }

    fn add_word(&mut self, text: &str) -> Result<(), BrandError> {
        let word = word(text).ok_or_else(|| BrandError::NotWord(text.to_owned()))?;
        push_new(&mut self.words, word);
        Ok(())
    }

    fn finished(self) -> Result<Self, BrandError> {
        if self.words.is_empty() { Err(BrandError::NoWord) } else { Ok(self) }
    }

    /// Whether the name is one of the exceptions or below.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.allow.iter().any(|allowed| is_at_or_below(name, allowed))
    }
}

pub(super) fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// As certificates write it.
fn domain(text: &str) -> Result<Box<str>, BrandError> {
    let text = text.trim();
    let text = text.strip_prefix("*.").unwrap_or(text);
    normalize(text.trim_matches('.')).ok_or_else(|| BrandError::NotDomain(text.to_owned()))
}

/// A label as it looks, without its separators. `None` if some of it resembles no Latin letter.
fn word(label: &str) -> Option<Box<[u8]>> {
    let text = Text::read(label)?;
    let word: Box<[u8]> = text.bytes().iter().copied().filter(|byte| !is_separator(*byte)).collect();
    let is_word = !label.contains('.') && (1..=WORD_BYTES_MAX).contains(&word.len());
    (is_word && word.iter().all(|byte| *byte != UNREADABLE && byte.is_ascii_alphanumeric())).then_some(word)
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn wrong_type(key: String, found: &Value, expected: &'static str) -> OptionError {
    OptionError::WrongType { key, found: type_name(found), expected }
}

fn texts<'a>(key: &str, table: &'a Map<String, Value>, name: &str) -> Result<Option<Vec<&'a str>>, OptionError> {
    let Some(value) = table.get(name) else { return Ok(None) };
    let members = value.as_array().ok_or_else(|| wrong_type(format!("{key}.{name}"), value, "a list of texts"))?;
    let text = |(index, member): (usize, &'a Value)| {
        member.as_str().ok_or_else(|| wrong_type(format!("{key}.{name}[{index}]"), member, "text"))
    };
    members.iter().enumerate().map(text).collect::<Result<_, _>>().map(Some)
}

/// A whole number within `allowed`.
fn number(
    key: &str,
    table: &Map<String, Value>,
    name: &str,
    allowed: RangeInclusive<u8>,
) -> Result<Option<u8>, OptionError> {
    let Some(value) = table.get(name) else { return Ok(None) };
    let key = format!("{key}.{name}");
    let Value::Number(number) = value else { return Err(wrong_type(key, value, "a whole number")) };
    let small = number.as_u64().and_then(|number| u8::try_from(number).ok());
    small.filter(|number| allowed.contains(number)).map(Some).ok_or_else(|| OptionError::NotAllowed {
        key,
        value: number.to_string(),
        allowed: format!("{}..={}", allowed.start(), allowed.end()),
    })
}

fn classes(key: &str, names: &[&str]) -> Result<Classes, OptionError> {
    names.iter().enumerate().try_fold(Classes::NONE, |classes, (index, name)| match Class::parse(name) {
        Some(class) => Ok(classes.with(class)),
        None => Err(OptionError::Unknown {
            key: format!("{key}.classes[{index}]"),
            what: "class",
            name: (*name).to_owned(),
            known: Class::ALL.map(|class| class.as_str().to_owned()).to_vec(),
        }),
    })
}
