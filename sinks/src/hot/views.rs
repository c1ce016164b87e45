//! Views as hot state keeps them: small keys with absolute values, written by one writer beside the applier.
//!
//! Hot state does not know what the views mean. It keeps each under a name, all names under `view:keys`, and what the
//! writer says of them under `view:state`, which goes last: who reads the state a writer left finds all that it wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The fields of a hash.
pub type Fields = BTreeMap<String, String>;

/// Where the writer says what the views are of.
pub const STATE: &str = "view:state";
/// Names of all views but the state, each with the word for its kind.
pub(super) const KEYS: &str = "view:keys";

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewValue {
    Hash(Fields),
    /// Members with their scores.
    Set(BTreeMap<String, i64>),
}

impl ViewValue {
    /// Nothing stands under the name then, as in Redis.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Hash(fields) => fields.is_empty(),
            Self::Set(members) => members.is_empty(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
        }
    }
}

/// What a writer has to say.
pub struct ViewChanges<'a> {
    /// Values by name, all of it new; an empty one is removed.
    pub values: &'a BTreeMap<String, ViewValue>,
    /// The state that the same writer left before; without, `values` are all the views there are.
    pub before: Option<&'a Fields>,
    /// The state to leave.
    pub state: &'a Fields,
}
