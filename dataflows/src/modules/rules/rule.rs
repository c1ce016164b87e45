//! A rule, and what it decides from the hits in one subject.

use ct_model::Severity;

use super::cel::{Env, Fault, Program, Texts};
use super::condition::Condition;
use super::index::{Hit, Hits};
use super::steps::{OverBudget, Steps};
use super::test_case::TestCase;
use super::text::{FlagField, NumberField};
use crate::modules::Subject;

/// A rule of a user, as the file has it.
#[derive(Debug)]
pub struct Rule {
    /// Distinct among all rules; the `check` of its findings.
    pub id: Box<str>,
    pub title: Box<str>,
    /// Of its findings; the key `level`.
    pub severity: Severity,
    pub status: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub tags: Vec<Box<str>>,
    /// What it is known to report in vain.
    pub false_positives: Vec<Box<str>>,
    pub references: Vec<Box<str>>,
    /// The file that it stands in, as the job calls it.
    pub file: Box<str>,
    pub(super) selections: Vec<Selection>,
    pub(super) when: When,
    pub(super) allow: Allow,
    /// Without a hit of any of these groups it cannot match. `None`: it has to be asked about every subject.
    pub(super) gate: Option<Vec<u32>>,
    /// The literals that its expression needs, which tell the name it is about.
    pub(super) literals: Vec<Group>,
    pub(super) tests: Vec<TestCase>,
}

#[derive(Debug)]
pub(super) enum When {
    Condition(Condition),
    Cel(Program),
}

/// Names and certificates that a rule leaves alone.
#[derive(Debug, Default)]
pub(super) struct Allow {
    pub(super) names: Vec<Group>,
    pub(super) certificates: Vec<Group>,
}

/// A selection holds if any of its tables does.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) name: Box<str>,
    pub(super) tables: Vec<Table>,
}

/// All keys of a table hold together, those about names for one and the same name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) names: Vec<Group>,
    pub(super) certificates: Vec<Group>,
    pub(super) ranges: Vec<Range>,
    pub(super) flags: Vec<(FlagField, bool)>,
}

/// A list of values under one key: any of them will do, or all are needed.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Box<str>,
    pub(super) number: u32,
    /// Each once.
    pub(super) values: Vec<Box<str>>,
    pub(super) all: bool,
}

impl Group {
    /// Whether hits of one group, in one place, are enough.
    fn is_met(&self, hits: &[Hit]) -> bool {
        if self.all { hits.len() == self.values.len() } else { !hits.is_empty() }
    }
}

/// Both ends included.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) field: NumberField,
    pub(super) min: i64,
    pub(super) max: i64,
}

/// What made a selection hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence<'r> {
    /// `None` for a literal that an expression needs.
    pub selection: Option<&'r str>,
    pub key: &'r str,
    /// The value in the rule, or what the certificate shows.
    pub value: String,
    /// The name that shows it.
    pub name: Option<Box<str>>,
}

/// Evidence kept of one rule.
pub(super) const EVIDENCE_MAX: usize = 16;

/// A rule at work on one subject.
pub(super) struct Asking<'r, 'a> {
    pub(super) rule: &'r Rule,
    pub(super) subject: &'a Subject<'a>,
    pub(super) hits: &'a Hits,
}

impl<'r, 'a> Asking<'r, 'a> {
    pub(super) fn matches(&self, steps: &mut Steps) -> Result<bool, OverBudget> {
        steps.take(1)?;
        if self.is_allowed(steps)? {
            return Ok(false);
        }
        match &self.rule.when {
            When::Condition(condition) => {
                condition.holds(&mut |number| self.selection_holds(&self.rule.selections[number], steps))
            }
            When::Cel(program) => self.expression_holds(program, steps),
        }
    }

    fn expression_holds(&self, program: &Program, steps: &mut Steps) -> Result<bool, OverBudget> {
        let selected = |number: usize, steps: &mut Steps| self.selection_holds(&self.rule.selections[number], steps);
        let (names, odd_names) = (self.subject.names, self.subject.odd_names);
        let env = Env {
            certificate: self.subject.certificate,
            names: self.left_over(names, 0, steps)?,
            odd_names: self.left_over(odd_names, names.len(), steps)?,
            ips: self.subject.ips,
            selected: &selected,
        };
        match program.root.holds(&env, steps) {
            Ok(holds) => Ok(holds),
            Err(Fault::NoValue) => Ok(false),
            Err(Fault::OverBudget) => Err(OverBudget),
        }
    }

    /// The names that are not allowed; the first has this number.
    fn left_over(&self, names: &'a [Box<str>], first: usize, steps: &mut Steps) -> Result<Texts<'a>, OverBudget> {
        if self.rule.allow.names.iter().all(|group| self.hits.of(group.number).is_empty()) {
            return Ok(Texts::All(names));
        }
        let mut left = Vec::new();
        for (name, number) in names.iter().zip(first..) {
            if !self.is_name_allowed(u32::try_from(number).unwrap_or(Hit::CERTIFICATE), steps)? {
                left.push(&**name);
            }
        }
        Ok(Texts::Some(left.into()))
    }

    /// Whether the certificate as a whole is allowed, or all of its names are.
    fn is_allowed(&self, steps: &mut Steps) -> Result<bool, OverBudget> {
        let allow = &self.rule.allow;
        if allow.certificates.iter().any(|group| !self.hits.of(group.number).is_empty()) {
            return Ok(true);
        }
        if allow.names.iter().all(|group| self.hits.of(group.number).is_empty()) {
            return Ok(false);
        }
        for number in 0..self.subject.names.len() + self.subject.odd_names.len() {
            if !self.is_name_allowed(u32::try_from(number).unwrap_or(Hit::CERTIFICATE), steps)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_name_allowed(&self, name: u32, steps: &mut Steps) -> Result<bool, OverBudget> {
        steps.take(self.rule.allow.names.len())?;
        Ok(self.rule.allow.names.iter().any(|group| !self.hits.in_name(group.number, name).is_empty()))
    }

    fn selection_holds(&self, selection: &Selection, steps: &mut Steps) -> Result<bool, OverBudget> {
        for table in &selection.tables {
            if self.table_holds(table, steps)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The number of the name for which it holds; [`Hit::CERTIFICATE`] if it asks for no name.
    fn table_holds(&self, table: &Table, steps: &mut Steps) -> Result<Option<u32>, OverBudget> {
        steps.take(1 + table.certificates.len() + table.ranges.len() + table.flags.len())?;
        let certificate = self.subject.certificate;
        let holds = table.certificates.iter().all(|group| group.is_met(self.hits.of(group.number)))
            && table.ranges.iter().all(|range| {
                let value = certificate.and_then(|certificate| range.field.of(certificate));
                value.is_some_and(|value| (range.min..=range.max).contains(&value))
            })
            && table.flags.iter().all(|(field, wanted)| {
                certificate.and_then(|certificate| field.of(certificate)).is_some_and(|is| is == *wanted)
            });
        if !holds {
            return Ok(None);
        }
        let Some((first, others)) = table.names.split_first() else { return Ok(Some(Hit::CERTIFICATE)) };
        for hits in self.hits.of(first.number).chunk_by(|left, right| left.name == right.name) {
            steps.take(1 + others.len())?;
            let name = hits[0].name;
            if first.is_met(hits)
                && others.iter().all(|group| group.is_met(self.hits.in_name(group.number, name)))
                && !self.is_name_allowed(name, steps)?
            {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Which selections hold and why, and the first name among the reasons. Asked after a match only; it stops where
    /// the budget does.
    pub(super) fn evidence(&self, steps: &mut Steps) -> Vec<Evidence<'r>> {
        let mut evidence = Vec::new();
        for group in &self.rule.literals {
            let hits = self.hits.of(group.number).iter();
            let hits = hits.filter(|hit| !matches!(self.is_name_allowed(hit.name, steps), Ok(true)));
            self.add_values(None, group, hits, &mut evidence);
        }
        for selection in &self.rule.selections {
            for table in &selection.tables {
                let Ok(held) = self.table_holds(table, steps) else { return evidence };
                if let Some(name) = held {
                    self.add_table(&selection.name, table, name, &mut evidence);
                    break;
                }
            }
        }
        evidence.truncate(EVIDENCE_MAX);
        evidence
    }

    fn add_table(&self, selection: &'r str, table: &'r Table, name: u32, evidence: &mut Vec<Evidence<'r>>) {
        for group in &table.names {
            self.add_values(Some(selection), group, self.hits.in_name(group.number, name), evidence);
        }
        for group in &table.certificates {
            self.add_values(Some(selection), group, self.hits.of(group.number), evidence);
        }
        let Some(certificate) = self.subject.certificate else { return };
        let ranges = table
            .ranges
            .iter()
            .filter_map(|range| Some((range.field.word(), range.field.of(certificate)?.to_string())));
        let flags =
            table.flags.iter().filter_map(|(field, _)| Some((field.word(), field.of(certificate)?.to_string())));
        evidence.extend(ranges.chain(flags).map(|(key, value)| Evidence {
            selection: Some(selection),
            key,
            value,
            name: None,
        }));
    }

    fn add_values<'h>(
        &self,
        selection: Option<&'r str>,
        group: &'r Group,
        hits: impl IntoIterator<Item = &'h Hit>,
        evidence: &mut Vec<Evidence<'r>>,
    ) {
        // A few of each key, so that one long list leaves room for the others.
        const OF_ONE_KEY_MAX: usize = 4;
        evidence.extend(hits.into_iter().take(OF_ONE_KEY_MAX).map(|hit| {
            Evidence {
                selection,
                key: &group.key,
                value: group.values[hit.value as usize].to_string(),
                name: (hit.name != Hit::CERTIFICATE)
                    .then(|| self.subject.all_names().nth(hit.name as usize).map(Box::from))
                    .flatten(),
            }
        }));
    }
}
