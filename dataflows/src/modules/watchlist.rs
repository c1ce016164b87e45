//! Module `watchlist`: names that somebody watches, with the semantics of certspotter's watch list.
//!
//! | item | matches |
//! |---|---|
//! | `example.com` | that name only |
//! | `.example.com` | that name and everything below it |
//! | `.` | every DNS name |
//!
//! Labels are compared from the right, and doubt alerts: a `*` in a label of the certificate stands for zero or more
//! characters (alone: for exactly one label), a label that is redacted or could not be read for any label. A `*` in an
//! item is a plain character. A certificate that could not be read at all is reported whatever the items are. Every
//! pair of an item and a name that match is one finding.

use std::borrow::Cow;

use ct_model::{CertRecord, Finding, ParseState, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::options::type_name;
use super::trie::{Likeness, Reached, Trie, below};
use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "watchlist",
    by_default: true,
    doc: "certificates for names on a list of your own",
    options: &[
        OptionDef {
            name: "items",
            kind: OptionKind::List,
            default: "[]",
            doc: "what to watch: `example.com` (that name), `.example.com` (and all below it), `.` (everything), or a \
                  table {item, tags, allow_issuers, ignore_issuers}; tags are lists of words that come back in the \
                  finding; a certificate whose issuer's common name or organization contains one of the texts is not \
                  reported, neither an authority the owner uses (allow) nor one that is of no interest (ignore). That \
                  is a convenience and no protection: an issuer's name proves nothing",
        },
        OptionDef {
            name: "list",
            kind: OptionKind::File,
            default: "\"\"",
            doc: "a certspotter watch list: an item a line, `#` begins a comment line",
        },
    ],
    prepare: |settings| Ok(Box::new(Watchlist::new(settings)?)),
};

/// Names are at most this long (RFC 1035 section 2.3.4, without the final dot).
const NAME_BYTES_MAX: usize = 253;
/// Likewise a label. Punycode takes time quadratic in it.
const LABEL_BYTES_MAX: usize = 63;
const ITEMS_MAX: usize = 10_000_000;
/// Findings about one subject: `*.com` alone may match a whole list.
const MATCHES_MAX: usize = 1_000;
/// Nodes of the tree looked at for one subject; or all of them once, if they are more.
const NODES_MAX: u64 = 1 << 20;

pub(crate) struct Watchlist {
    trie: Trie,
    /// By node of the trie.
    marks: Vec<Marks>,
    items: Vec<Item>,
}

/// The items that end at a node.
#[derive(Clone, Copy, Default)]
struct Marks {
    /// For this name only.
    exact: Option<u32>,
    /// For this name and all below it.
    suffix: Option<u32>,
}

pub(super) struct Item {
    /// `.` in front if it stands for all below it too.
    pub(super) text: Box<str>,
    pub(super) tags: Vec<Box<str>>,
    /// The certificates of issuers with one of these texts in their names are not reported; each list is what one
    /// mention of the item says, and only all mentions together suppress.
    known_issuers: Vec<Vec<Box<str>>>,
}

/// An item as it is written, on its own or in a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParsedItem {
    /// Lower case, A-labels, no dot at either end; empty for `.`.
    pub(crate) domain: String,
    /// With a leading dot.
    below: bool,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ItemError {
    #[error("the item is empty")]
    Empty,
    #[error("unknown parameter {0:?} after the item")]
    Parameter(String),
    #[error("{0:?} names no domain: a label is empty")]
    EmptyLabel(String),
    #[error("{0:?} is longer than a name can be ({NAME_BYTES_MAX} bytes)")]
    TooLong(String),
    #[error("{0:?} has no ASCII form (IDNA)")]
    Idna(String),
    #[error("more than {ITEMS_MAX} items")]
    TooMany,
}

impl ParsedItem {
    fn parse(text: &str) -> Result<Self, ItemError> {
        let mut fields = text.split_whitespace();
        let item = fields.next().ok_or(ItemError::Empty)?;
        // Old lists say since when an item holds; certspotter reads over it too.
        if let Some(field) = fields.find(|field| !field.starts_with("valid_at:")) {
            return Err(ItemError::Parameter(field.to_owned()));
        }
        if item == "." {
            return Ok(Self { domain: String::new(), below: true });
        }
        let (below, domain) = item.strip_prefix('.').map_or((false, item), |domain| (true, domain));
        let domain = match domain.is_ascii() {
            true => domain.to_ascii_lowercase(),
            // UTS #46 also maps what people type (upper case, other forms of a letter) to what certificates have.
            false => idna::domain_to_ascii(domain).map_err(|_| ItemError::Idna(item.to_owned()))?,
        };
        let domain = domain.trim_end_matches('.');
        if domain.split('.').any(str::is_empty) {
            return Err(ItemError::EmptyLabel(item.to_owned()));
        }
        // ToASCII fails on an A-label that does not decode.
        let codes = domain.split('.').filter_map(|label| label.strip_prefix("xn--"));
        if codes.clone().any(|code| code.len() > LABEL_BYTES_MAX || idna::punycode::decode(code).is_none()) {
            return Err(ItemError::Idna(item.to_owned()));
        }
        if domain.len() > NAME_BYTES_MAX {
            return Err(ItemError::TooLong(item.to_owned()));
        }
        Ok(Self { domain: domain.to_owned(), below })
    }

    /// As people write it.
    pub fn text(&self) -> Box<str> {
        let dot = if self.below { "." } else { "" };
        [dot, &self.domain].concat().into()
    }

    /// Whether this item alone, as a list, would report the name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        below(&self.domain, &comparable(name)).is_some_and(|is_below| self.below || !is_below)
    }
}

/// The items of a certspotter watch list with the numbers (from 1) of their lines.
pub(crate) fn items_of(list: &str) -> impl Iterator<Item = (usize, Result<ParsedItem, ItemError>)> {
    let lines = (1..).zip(list.strip_prefix('\u{feff}').unwrap_or(list).lines());
    let told = lines.filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    told.map(|(line, text)| (line, ParsedItem::parse(text)))
}

impl Watchlist {
    pub(super) fn new(settings: &Settings) -> Result<Self, OptionError> {
        let mut list = Self { trie: Trie::new(), marks: vec![Marks::default()], items: Vec::new() };
        for (index, value) in settings.list("items").iter().enumerate() {
            list.add_value(settings.key(&format!("items[{index}]")), value)?;
        }
        for (line, item) in items_of(settings.text("list")) {
            let key = || format!("{} line {line}", settings.key("list"));
            let invalid = |why: ItemError| OptionError::Invalid { key: key(), source: why.into() };
            list.add(&item.map_err(invalid)?, Vec::new(), Vec::new()).map_err(invalid)?;
        }
        Ok(list)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// For the names of one subject.
    pub(super) fn budget(&self) -> u64 {
        NODES_MAX.max(self.trie.node_count() as u64)
    }

    /// Calls `found` for each item that `name` matches. `name` is in lower case, without a trailing dot. What is
    /// looked at is taken from `budget`; `false` means that it ran out.
    pub(super) fn each_match<'a>(
        &'a self,
        name: &str,
        budget: &mut u64,
        found: &mut impl FnMut(&'a Item, Reached),
    ) -> bool {
        name.is_empty()
            || self.trie.walk(name, budget, &mut |reached| {
                let marks = self.marks[reached.node as usize];
                let exact = marks.exact.filter(|_| !reached.below);
                for item in exact.into_iter().chain(marks.suffix) {
                    found(&self.items[item as usize], reached);
                }
            })
    }

    /// One member of the option `items`: a text, or a table with a text.
    fn add_value(&mut self, key: String, value: &Value) -> Result<(), OptionError> {
        const KEYS: [&str; 4] = ["item", "tags", "allow_issuers", "ignore_issuers"];
        let (text, tags, issuers) = match value {
            Value::String(text) => (text, Vec::new(), Vec::new()),
            Value::Object(table) => {
                if let Some(name) = table.keys().find(|name| !KEYS.contains(&name.as_str())) {
                    let known = KEYS.map(str::to_owned).to_vec();
                    return Err(OptionError::Unknown { key, what: "key", name: name.clone(), known });
                }
                let text = match table.get("item") {
                    Some(Value::String(text)) => text,
                    Some(other) => return Err(wrong_type(format!("{key}.item"), other, "text")),
                    None => return Err(OptionError::Missing { key: format!("{key}.item") }),
                };
                let mut issuers = texts(&key, table, "allow_issuers")?;
                issuers.append(&mut texts(&key, table, "ignore_issuers")?);
                (text, texts(&key, table, "tags")?, issuers)
            }
            other => return Err(wrong_type(key, other, "text or a table")),
        };
        let added = ParsedItem::parse(text).and_then(|item| self.add(&item, tags, issuers));
        added.map_err(|why| OptionError::Invalid { key, source: why.into() })
    }

    /// Adds an item, or what one more mention of it says.
    fn add(&mut self, item: &ParsedItem, tags: Vec<Box<str>>, issuers: Vec<Box<str>>) -> Result<(), ItemError> {
        let node = self.trie.insert(&item.domain);
        self.marks.resize(self.trie.node_count(), Marks::default());
        let marks = &mut self.marks[node as usize];
        let mark = if item.below { &mut marks.suffix } else { &mut marks.exact };
        let index = match *mark {
            Some(index) => index as usize,
            None if self.items.len() == ITEMS_MAX => return Err(ItemError::TooMany),
            None => {
                let index = self.items.len();
                *mark = Some(u32::try_from(index).expect("fewer than ITEMS_MAX"));
                self.items.push(Item { text: item.text(), tags: Vec::new(), known_issuers: Vec::new() });
                index
            }
        };
        let item = &mut self.items[index];
        for tag in tags {
            if !item.tags.contains(&tag) {
                item.tags.push(tag);
            }
        }
        item.known_issuers.push(issuers);
        Ok(())
    }
}

/// A list of texts in the table of an item, none of them empty: an empty one would be part of every name.
fn texts(key: &str, table: &Map<String, Value>, name: &str) -> Result<Vec<Box<str>>, OptionError> {
    let Some(value) = table.get(name) else { return Ok(Vec::new()) };
    let members = value.as_array().ok_or_else(|| wrong_type(format!("{key}.{name}"), value, "a list of texts"))?;
    let text = |(index, member): (usize, &Value)| {
        let key = format!("{key}.{name}[{index}]");
        match member {
            Value::String(text) if text.is_empty() => Err(OptionError::NotAllowed {
                key,
                value: "an empty text".to_owned(),
                allowed: "1 character or more".into(),
            }),
            Value::String(text) => Ok(text.as_str().into()),
            other => Err(wrong_type(key, other, "text")),
        }
    };
    members.iter().enumerate().map(text).collect()
}

fn wrong_type(key: String, found: &Value, expected: &'static str) -> OptionError {
    OptionError::WrongType { key, found: type_name(found), expected }
}

impl Item {
    /// Whether the certificate comes from an issuer that every mention of the item excepts. Of an unknown issuer
    /// nothing is known.
    pub(super) fn excepts(&self, certificate: Option<&CertRecord>) -> bool {
        let Some(certificate) = certificate else { return false };
        let names = [certificate.issuer_cn.as_deref(), certificate.issuer_org.as_deref()];
        let is_known = |text: &str| names.into_iter().flatten().any(|name| name.contains(text));
        self.known_issuers.iter().all(|issuers| issuers.iter().any(|text| is_known(text)))
    }
}

impl Examine for Watchlist {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<Finding>) {
        if self.items.is_empty() {
            return;
        }
        if let Some(certificate) = subject.certificate.filter(|certificate| certificate.parse == ParseState::Failed) {
            out.push(malformed(subject, certificate));
        }
        let start = out.len();
        let mut budget = self.budget();
        for (index, name) in subject.all_names().enumerate() {
            let finished = self.each_match(&comparable(name), &mut budget, &mut |item, reached| {
                if out.len() - start <= MATCHES_MAX && !item.excepts(subject.certificate) {
                    out.push(matched(subject, item, name, reached));
                }
            });
            if !finished || out.len() - start > MATCHES_MAX {
                out.truncate(start + MATCHES_MAX);
                out.push(subject.unfinished(MODULE.name, index, name));
                return;
            }
        }
    }
}

/// Lower case and without trailing dots, whoever made the subject.
pub(crate) fn comparable(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

fn matched(subject: &Subject<'_>, item: &Item, name: &str, reached: Reached) -> Finding {
    let reason = match reached.likeness {
        _ if &*item.text == "." => "any",
        Likeness::Unparsable => "unparsable",
        Likeness::Redacted => "redacted",
        Likeness::Wildcard => "wildcard",
        Likeness::Equal if reached.below => "suffix",
        Likeness::Equal => "exact",
    };
    let mut detail = Map::from_iter([("item".to_owned(), (*item.text).into()), ("reason".to_owned(), reason.into())]);
    if !item.tags.is_empty() {
        detail.insert("tags".to_owned(), item.tags.iter().map(|tag| &**tag).collect());
    }
    // An item has no white space, so no two pairs read alike.
    let key = format!("{} {name}", item.text);
    let claim = Claim { check: "match", severity: Severity::High, key: &key, name: Some(name), once: false, detail };
    subject.finding(MODULE.name, claim)
}

/// Nobody knows what it is for, so it may be for a watched name.
fn malformed(subject: &Subject<'_>, certificate: &CertRecord) -> Finding {
    let error = certificate.parse_error.as_deref().map_or(Value::Null, Value::from);
    let detail = Map::from_iter([("error".to_owned(), error)]);
    let claim = Claim { check: "malformed", severity: Severity::Medium, key: "", name: None, once: false, detail };
    subject.finding(MODULE.name, claim)
}

#[cfg(test)]
mod tests;
