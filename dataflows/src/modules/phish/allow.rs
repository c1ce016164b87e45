//! Names that are let through unscored: popular registered domains, the brands' own, and what the user adds.

use std::collections::HashSet;

use ct_model::name::normalize;
use serde_json::Value;

use super::features::Parts;
use super::popular::Popular;
use crate::modules::options::type_name;
use crate::modules::{OptionError, Settings};

/// The brands of our keyword file and who else is often looked for, with the domains they own.
const OWNERS: &str = include_str!("owners.txt");

#[derive(Debug, Default)]
pub struct Allow {
    /// Registered domains, like the next.
    popular: Popular,
    owned: HashSet<Box<str>>,
    /// The user's: names below them are let through as well.
    suffixes: HashSet<Box<str>>,
}

impl Allow {
    /// The popular domains of a model, and those of the owners, which are built in.
    pub fn built_in(popular: Popular) -> Self {
        let owned = OWNERS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { popular, owned: owned.map(Into::into).collect(), suffixes: HashSet::new() }
    }

    /// Adds the members of the option `allow`.
    pub(super) fn extend(&mut self, settings: &Settings) -> Result<(), OptionError> {
        for (index, value) in settings.list("allow").iter().enumerate() {
            let key = settings.key(&format!("allow[{index}]"));
            let Value::String(text) = value else {
                return Err(OptionError::WrongType { key, found: type_name(value), expected: "text" });
            };
            let Some(name) = normalize(text).filter(|name| !name.contains('*')) else {
                let (value, allowed) = (format!("{text:?}"), "a DNS name such as example.com".to_owned());
                return Err(OptionError::NotAllowed { key, value, allowed });
            };
            self.suffixes.insert(name);
        }
        Ok(())
    }

    /// The member that lets the name through.
    pub fn find<'a>(&'a self, parts: &Parts<'a>) -> Option<&'a str> {
        let domain = parts.domain();
        if self.owned.contains(domain) || self.popular.contains(domain) {
            return Some(domain);
        }
        if self.suffixes.is_empty() {
            return None;
        }
        let dots = parts.name.match_indices('.').map(|(at, _)| at + 1);
        let mut suffixes = std::iter::once(0).chain(dots).map(|at| &parts.name[at..]);
        suffixes.find_map(|suffix| self.suffixes.get(suffix)).map(AsRef::as_ref)
    }
}
