//! Reading a TOML table whose mistakes are told with their key.

use toml::{Table, Value};

use super::error::{Mistake, shown};

/// A table and the key under which it stands, empty or with a dot at the end.
#[derive(Clone)]
pub(super) struct Reader<'t> {
    prefix: String,
    table: &'t Table,
}

impl<'t> Reader<'t> {
    pub(super) fn new(key: &str, table: &'t Table) -> Self {
        let prefix = if key.is_empty() { String::new() } else { format!("{key}.") };
        Self { prefix, table }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) const fn table_itself(&self) -> &'t Table {
        self.table
    }

    /// The key of the table itself.
    pub(super) fn place(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// The keys in the table.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.table.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'t Value> {
        self.table.get(name)
    }

    pub(super) fn check_keys(&self, known: &[&str]) -> Result<(), Mistake> {
        match self.table.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Mistake::unknown(self.place(), "key", name, known.iter().copied())),
        }
    }

    /// A text of 1 to `bytes_max` bytes.
    pub(super) fn text(&self, name: &str, bytes_max: usize) -> Result<Option<&'t str>, Mistake> {
        let value = self.get(name).map(|value| text(&self.key(name), value, bytes_max));
        value.transpose()
    }

    /// A list of texts, or one text. `None` if the key is absent; a list has 1 to `members_max` members.
    pub(super) fn texts(
        &self,
        name: &str,
        members_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Vec<&'t str>>, Mistake> {
        let key = self.key(name);
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(members)) => {
                if members.is_empty() || members.len() > members_max {
                    let why = format!("{} members; allowed are 1..={members_max}", members.len());
                    return Err(Mistake::new(key, why));
                }
                let members = members.iter().enumerate();
                members
                    .map(|(number, value)| text(&format!("{key}[{number}]"), value, bytes_max))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            Some(one @ Value::String(_)) => Ok(Some(vec![text(&key, one, bytes_max)?])),
            Some(other) => Err(wrong_type(key, other, "a list of texts")),
        }
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Mistake> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(self.key(name), other, "true or false")),
        }
    }

    /// A whole number from 0 to 2^31 - 1.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Mistake> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Integer(value)) if (0..=i64::from(i32::MAX)).contains(value) => Ok(Some(*value)),
            Some(Value::Integer(value)) => {
                Err(Mistake::new(self.key(name), format!("{value} is not allowed (0..={})", i32::MAX)))
            }
            Some(other) => Err(wrong_type(self.key(name), other, "a whole number")),
        }
    }

    /// The table under a key.
    pub(super) fn table(&self, name: &str) -> Result<Option<Reader<'t>>, Mistake> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Reader::new(&self.key(name), table))),
            Some(other) => Err(wrong_type(self.key(name), other, "a table")),
        }
    }

    /// A list of tables, or one table, under a key; none if it is absent.
    pub(super) fn tables(&self, name: &str, members_max: usize) -> Result<Vec<Reader<'t>>, Mistake> {
        let key = self.key(name);
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Table(table)) => Ok(vec![Reader::new(&key, table)]),
            Some(Value::Array(members)) if members.len() <= members_max && !members.is_empty() => {
                let reader = |(number, member): (usize, &'t Value)| {
                    let key = format!("{key}[{number}]");
                    match member {
                        Value::Table(table) => Ok(Reader::new(&key, table)),
                        other => Err(wrong_type(key, other, "a table")),
                    }
                };
                members.iter().enumerate().map(reader).collect()
            }
            Some(Value::Array(members)) => {
                Err(Mistake::new(key, format!("{} tables; allowed are 1..={members_max}", members.len())))
            }
            Some(other) => Err(wrong_type(key, other, "a table, or a list of tables")),
        }
    }
}

fn text<'t>(key: &str, value: &'t Value, bytes_max: usize) -> Result<&'t str, Mistake> {
    match value {
        Value::String(text) if text.trim().is_empty() => Err(Mistake::new(key, "an empty text is not allowed")),
        Value::String(text) if text.len() > bytes_max => {
            let why = format!("{:?} has {} bytes; {bytes_max} at most", shown(text), text.len());
            Err(Mistake::new(key, why))
        }
        Value::String(text) => Ok(text),
        other => Err(wrong_type(key.to_owned(), other, "text")),
    }
}

pub(super) fn wrong_type(key: String, found: &Value, expected: &str) -> Mistake {
    let found = match found {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    Mistake::new(key, format!("{found} where {expected} is expected"))
}
