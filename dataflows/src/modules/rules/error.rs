//! What is wrong with a rule file: where, what, and the way out.

use crate::modules::nearest;

/// A mistake in a rule file. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line())]
pub struct RuleError {
    /// The file as the job calls it.
    pub file: String,
    /// The rule's id, or its number in the file (`#3`) as long as it has none.
    pub rule: Option<String>,
    /// The key within the rule: `detection.brand.keyword[2]`.
    pub key: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl RuleError {
    fn line(&self) -> String {
        let mut line = self.file.clone();
        for part in self.rule.iter().map(|rule| format!("rule {rule}")).chain([self.key.clone()]) {
            if !part.is_empty() {
                line.push_str(": ");
                line.push_str(&part);
            }
        }
        format!("{line}: {}", self.why)
    }
}

/// A mistake in one value, before it is known in which file and rule that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) key: String,
    pub(super) why: String,
}

impl Mistake {
    pub(super) fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }

    /// A word that is none of `known`.
    pub(super) fn unknown<'k>(key: &str, what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let guess = nearest(name, &known).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
        Self::new(key, format!("unknown {what} {:?}; {guess}known: {}", shown(name), known.join(", ")))
    }
}

/// Text from a rule file as it may stand in an error: not too long.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
