//! What a user may set for a module, and how a mistake is told.
//!
//! A module declares its options; the job brings what the user gave as JSON values, whatever they were written in.
//! [`Settings`] is the meeting of the two: it exists only if every given option is declared and has a value of its
//! kind, and it holds a value for every declared one. An error names the key as the user would write it and the way
//! out.

use std::collections::BTreeMap;
use std::error::Error;

use serde_json::{Map, Value};

/// What the user gave for one module.
pub type Options = Map<String, Value>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    Bool,
    /// A whole number, both ends included.
    Integer {
        min: u64,
        max: u64,
    },
    /// A number from 0 to 1.
    Fraction,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list; what its members may be is the module's to say.
    List,
    /// The text of a file. Users write `NAME_file = "path"`, see [`OptionDef::file_key`].
    File,
    /// Files, each a table {file, text} of its name and its text. Users write `NAME_file = "path"` or a list of paths,
    /// and a folder stands for the files in it whose names end in `.toml`, in the order of their names.
    Files,
}

/// One option of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionDef {
    pub name: &'static str,
    pub kind: OptionKind,
    /// As JSON text.
    pub default: &'static str,
    pub doc: &'static str,
}

impl OptionDef {
    /// For an option that is a file's text: the key under which users name the file.
    pub fn file_key(&self) -> Option<String> {
        matches!(self.kind, OptionKind::File | OptionKind::Files).then(|| format!("{}_file", self.name))
    }

    pub(super) fn default_value(&self) -> Value {
        serde_json::from_str(self.default).expect("a declared default is JSON")
    }

    fn check(&self, key: String, value: &Value) -> Result<(), OptionError> {
        let wrong_type = |key, expected| Err(OptionError::WrongType { key, found: type_name(value), expected });
        match (self.kind, value) {
            (OptionKind::Bool, Value::Bool(_))
            | (OptionKind::List, Value::Array(_))
            | (OptionKind::File, Value::String(_)) => Ok(()),
            (OptionKind::Files, Value::Array(files)) if files.iter().all(|file| name_and_text(file).is_some()) => {
                Ok(())
            }
            (OptionKind::Files, Value::Array(_)) => {
                Err(OptionError::WrongType { key, found: "a list", expected: "a list of tables {file, text}" })
            }
            (OptionKind::Files, _) => wrong_type(key, "a list of tables {file, text}"),
            (OptionKind::Bool, _) => wrong_type(key, "true or false"),
            (OptionKind::List, _) => wrong_type(key, "a list"),
            (OptionKind::File, _) => wrong_type(key, "text"),
            (OptionKind::Integer { min, max }, Value::Number(number)) => match number.as_u64() {
                Some(number) if (min..=max).contains(&number) => Ok(()),
                _ => Err(OptionError::NotAllowed { key, value: number.to_string(), allowed: format!("{min}..={max}") }),
            },
            (OptionKind::Integer { .. }, _) => wrong_type(key, "a whole number"),
            (OptionKind::Fraction, Value::Number(number)) => match number.as_f64() {
                Some(fraction) if (0.0..=1.0).contains(&fraction) => Ok(()),
                _ => Err(OptionError::NotAllowed { key, value: number.to_string(), allowed: "0 to 1".into() }),
            },
            (OptionKind::Fraction, _) => wrong_type(key, "a number"),
            (OptionKind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
            (OptionKind::Choice(words), Value::String(word)) => {
                Err(OptionError::NotAllowed { key, value: format!("{word:?}"), allowed: words.join(", ") })
            }
            (OptionKind::Choice(_), _) => wrong_type(key, "text"),
        }
    }
}

/// A mistake in what was given for the modules.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    #[error("{key}: unknown {what} {name:?}; {}", advice(name, known))]
    Unknown { key: String, what: &'static str, name: String, known: Vec<String> },
    #[error("{key}: {found} where {expected} is expected")]
    WrongType { key: String, found: &'static str, expected: &'static str },
    #[error("{key}: {value} is not allowed ({allowed})")]
    NotAllowed { key: String, value: String, allowed: String },
    #[error("{key} is missing")]
    Missing { key: String },
    #[error("{key} cannot be used")]
    Invalid { key: String, source: Box<dyn Error + Send + Sync> },
}

impl OptionError {
    /// The key as the user would write it: `modules.watchlist.items[3]`.
    pub fn key(&self) -> &str {
        match self {
            Self::Unknown { key, .. }
            | Self::WrongType { key, .. }
            | Self::NotAllowed { key, .. }
            | Self::Missing { key }
            | Self::Invalid { key, .. } => key,
        }
    }
}

fn advice(name: &str, known: &[String]) -> String {
    let all = known.join(", ");
    match nearest(name, known) {
        Some(near) => format!("did you mean {near:?}? known: {all}"),
        None => format!("known: {all}"),
    }
}

/// The options of one module, checked: every declared option has a value of its kind, and there are no others.
///
/// Reading one that was not declared, or as another kind than declared, is a mistake in the module and panics.
#[derive(Debug)]
pub struct Settings {
    module: &'static str,
    values: BTreeMap<&'static str, Value>,
}

impl Settings {
    pub(super) fn check(
        module: &'static str,
        defs: &'static [OptionDef],
        given: &Options,
    ) -> Result<Self, OptionError> {
        for (name, value) in given {
            match defs.iter().find(|def| def.name == name) {
                Some(def) => def.check(format!("modules.{module}.{name}"), value)?,
                None => {
                    let files = defs.iter().filter_map(OptionDef::file_key);
                    let known = defs.iter().map(|def| def.name.to_owned()).chain(files).collect();
                    let key = format!("modules.{module}");
                    return Err(OptionError::Unknown { key, what: "option", name: name.clone(), known });
                }
            }
        }
        let value = |def: &OptionDef| given.get(def.name).cloned().unwrap_or_else(|| def.default_value());
        Ok(Self { module, values: defs.iter().map(|def| (def.name, value(def))).collect() })
    }

    /// The option's key as the user would write it.
    pub fn key(&self, name: &str) -> String {
        format!("modules.{}.{name}", self.module)
    }

    pub fn bool(&self, name: &str) -> bool {
        self.value(name).as_bool().expect("declared as true or false")
    }

    pub fn integer(&self, name: &str) -> u64 {
        self.value(name).as_u64().expect("declared as a whole number")
    }

    pub fn fraction(&self, name: &str) -> f64 {
        self.value(name).as_f64().expect("declared as a number")
    }

    /// A choice or a file's text.
    pub fn text(&self, name: &str) -> &str {
        self.value(name).as_str().expect("declared as text")
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.value(name).as_array().expect("declared as a list")
    }

    /// Names and texts of files, in the order given.
    pub fn files(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.list(name).iter().map(|file| name_and_text(file).expect("declared as files"))
    }

    fn value(&self, name: &str) -> &Value {
        self.values.get(name).expect("a module reads only options that it declares")
    }
}

/// A file as the job gives it.
fn name_and_text(file: &Value) -> Option<(&str, &str)> {
    Some((file.get("file")?.as_str()?, file.get("text")?.as_str()?))
}

/// How users would call the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The known name that `name` was most likely meant to be: at most a third of it has to change.
pub fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let (distance, near) = known.iter().map(|known| (edit_distance(name, known), known)).min()?;
    (distance <= name.chars().count().max(3) / 3).then_some(near)
}

/// Levenshtein distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEFS: &[OptionDef] = &[
        OptionDef { name: "on", kind: OptionKind::Bool, default: "false", doc: "" },
        OptionDef { name: "depth", kind: OptionKind::Integer { min: 1, max: 9 }, default: "3", doc: "" },
        OptionDef { name: "share", kind: OptionKind::Fraction, default: "0.5", doc: "" },
        OptionDef { name: "mode", kind: OptionKind::Choice(&["off", "host"]), default: "\"off\"", doc: "" },
        OptionDef { name: "items", kind: OptionKind::List, default: "[]", doc: "" },
        OptionDef { name: "list", kind: OptionKind::File, default: "\"\"", doc: "" },
    ];

    fn settings(given: Value) -> Result<Settings, OptionError> {
        let Value::Object(given) = given else { panic!("a table of options") };
        Settings::check("m", DEFS, &given)
    }

    #[track_caller]
    fn check_error(given: Value, want: &str) {
        assert_eq!(settings(given).expect_err("a mistake").to_string(), want);
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let settings = settings(json!({"depth": 9})).expect("no mistake");
        assert_eq!((settings.bool("on"), settings.integer("depth"), settings.text("mode")), (false, 9, "off"));
        assert_eq!((settings.fraction("share"), settings.key("on").as_str()), (0.5, "modules.m.on"));
        assert!(settings.list("items").is_empty() && settings.text("list").is_empty());
    }

    #[test]
    fn mistakes_name_the_key_and_the_way_out() {
        check_error(json!({"on": "yes"}), "modules.m.on: text where true or false is expected");
        check_error(json!({"depth": 0}), "modules.m.depth: 0 is not allowed (1..=9)");
        check_error(json!({"depth": -1}), "modules.m.depth: -1 is not allowed (1..=9)");
        check_error(json!({"depth": 1.5}), "modules.m.depth: 1.5 is not allowed (1..=9)");
        check_error(json!({"depth": true}), "modules.m.depth: true or false where a whole number is expected");
        check_error(json!({"share": 1.5}), "modules.m.share: 1.5 is not allowed (0 to 1)");
        check_error(json!({"share": -0.1}), "modules.m.share: -0.1 is not allowed (0 to 1)");
        check_error(json!({"share": "1"}), "modules.m.share: text where a number is expected");
        check_error(json!({"mode": "hosts"}), "modules.m.mode: \"hosts\" is not allowed (off, host)");
        check_error(json!({"mode": 1}), "modules.m.mode: a number where text is expected");
        check_error(json!({"items": {}}), "modules.m.items: a table where a list is expected");
        check_error(json!({"list": null}), "modules.m.list: nothing where text is expected");
    }

    #[test]
    fn an_unknown_option_gets_the_nearest_known_one() {
        let known = "known: on, depth, share, mode, items, list, list_file";
        check_error(
            json!({"item": []}),
            &format!("modules.m: unknown option \"item\"; did you mean \"items\"? {known}"),
        );
        check_error(
            json!({"list_fil": ""}),
            &format!("modules.m: unknown option \"list_fil\"; did you mean \"list_file\"? {known}"),
        );
        check_error(json!({"zebra": 1}), &format!("modules.m: unknown option \"zebra\"; {known}"));
    }

    #[test]
    fn distance_counts_changes() {
        for (left, right, want) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ä", "a", 1)] {
            assert_eq!(edit_distance(left, right), want, "{left} {right}");
            assert_eq!(edit_distance(right, left), want, "{right} {left}");
        }
    }
}
