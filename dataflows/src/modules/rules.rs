//! Module `rules`: detections that users write themselves, without building anything.
//!
//! A rule file is TOML laid out like Sigma: what a rule is called, what it looks for in selections, how these combine
//! in a condition, what it leaves alone, and tests. All rules of all files are compiled together: names go once
//! through one automaton for all keywords, one set of expressions and one map of domains, and only rules of which
//! something was seen are asked at all. Conditions may be written in the Common Expression Language too.
//!
//! Whatever a rule does is counted in steps, and a rule out of steps is given up for that certificate. Nothing is
//! remembered from one certificate to the next, so that a replay finds the same: instead of being switched off later,
//! an expression that could exceed the budget on a certificate of 100 names is refused when it is read.

use ct_model::Severity;
use serde_json::{Map, Value, json};

use super::{Claim, Examine, ModuleDef, OptionDef, OptionError, OptionKind, Settings, Subject};

mod cel;
mod compile;
mod condition;
mod error;
mod index;
mod limits;
mod networks;
mod pattern;
mod read;
mod rule;
mod set;
mod steps;
mod test_case;
mod text;
mod toml_table;

pub use error::RuleError;
pub use rule::{Evidence, Rule};
pub use set::{BUDGET_STEPS, Match, RuleSet, Verdict};
pub use test_case::TestFailure;

pub(super) const MODULE: ModuleDef = ModuleDef {
    name: "rules",
    by_default: true,
    doc: "detections of your own, from rule files",
    options: &[
        OptionDef {
            name: "rules",
            kind: OptionKind::Files,
            default: "[]",
            doc: "rule files; see docs/modules/rules.md. Of a folder, all files in it whose names end in .toml",
        },
        OptionDef {
            name: "budget_steps",
            kind: OptionKind::Integer { min: 1_000, max: 1_000_000 },
            default: "40000",
            doc: "steps that a rule may take on one certificate, a few nanoseconds each; all rules together may take 16 \
                  times as many. A rule that needs more is given up for that certificate and reported as `budget`",
        },
    ],
    prepare: |settings| Ok(Box::new(prepare(settings)?)),
};

/// The check of what the module says about itself; no rule has this id.
const BUDGET_CHECK: &str = "budget";
/// Rules named in a finding about the budget.
const RULES_NAMED_MAX: usize = 20;
/// Characters of a name or value in a finding; names are shorter, odd ones need not be.
const CHARS_MAX: usize = 256;

fn prepare(settings: &Settings) -> Result<RuleSet, OptionError> {
    let rules = RuleSet::parse_all(settings.files("rules"), settings.integer("budget_steps"));
    rules.map_err(|error| OptionError::Invalid { key: settings.key("rules"), source: error.into() })
}

impl Examine for RuleSet {
    fn examine(&self, subject: &Subject<'_>, out: &mut Vec<ct_model::Finding>) {
        let verdict = Self::examine(self, subject);
        out.extend(verdict.matches.iter().map(|found| matched(subject, found)));
        if !verdict.over_budget.is_empty() || verdict.names_examined.is_some() {
            out.push(over_budget(subject, &verdict));
        }
    }
}

fn matched(subject: &Subject<'_>, found: &Match<'_>) -> ct_model::Finding {
    let rule = found.rule;
    let name = found.evidence.iter().find_map(|evidence| evidence.name.as_deref());
    let mut selections = Map::new();
    for evidence in &found.evidence {
        // `condition` is a key of its own in `detection`, so no selection is called like this.
        let selection = selections.entry(evidence.selection.unwrap_or("condition")).or_insert_with(|| json!([]));
        let mut reason = json!({"key": evidence.key, "value": cut(&evidence.value)});
        if let Some(name) = &evidence.name {
            reason["name"] = cut(name).into();
        }
        selection.as_array_mut().expect("made as a list").push(reason);
    }
    let mut detail = Map::from_iter([("title".to_owned(), (*rule.title).into())]);
    detail.insert("selections".to_owned(), Value::Object(selections));
    if let Some(status) = &rule.status {
        detail.insert("status".to_owned(), (**status).into());
    }
    if !rule.tags.is_empty() {
        detail.insert("tags".to_owned(), rule.tags.iter().map(|tag| &**tag).collect());
    }
    let key = key_of(subject);
    let claim = Claim { check: &rule.id, severity: rule.severity, key, name, once: false, detail };
    subject.finding(MODULE.name, claim)
}

/// What the rules could not decide.
fn over_budget(subject: &Subject<'_>, verdict: &Verdict<'_>) -> ct_model::Finding {
    let rules: Value = verdict.over_budget.iter().take(RULES_NAMED_MAX).map(|rule| &*rule.id).collect();
    let mut detail = Map::from_iter([
        ("rules".to_owned(), rules),
        ("rules_total".to_owned(), verdict.over_budget.len().into()),
        ("names".to_owned(), subject.all_names().count().into()),
    ]);
    if let Some(examined) = verdict.names_examined {
        detail.insert("names_examined".to_owned(), examined.into());
    }
    let key = key_of(subject);
    let claim = Claim { check: BUDGET_CHECK, severity: Severity::Medium, key, name: None, once: false, detail };
    subject.finding(MODULE.name, claim)
}

/// A rule says one thing about a certificate. Where there is none, its first name tells messages apart.
fn key_of<'a>(subject: &Subject<'a>) -> &'a str {
    if subject.certificate.is_none() { subject.all_names().next().unwrap_or_default() } else { "" }
}

fn cut(text: &str) -> String {
    text.chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
