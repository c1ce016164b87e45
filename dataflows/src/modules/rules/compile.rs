//! Puts what rules look for into the index, and works out when a rule has to be asked at all.

use super::cel::Needs;
use super::condition::Condition;
use super::index::{Extent, IndexBuilder, Place, Use};
use super::limits::{KEYWORD_BYTES_MAX, TEXT_BYTES_MAX};
use super::rule::{Group, Selection, Table};
use super::text::TextField;

/// What a value is, and where it has to be found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    Name,
    Suffix,
    Literal(Place),
    Regex,
    Text(TextField, Extent),
    Network,
    Key,
}

impl Target {
    /// Whether it is found in a name and not in another part of the certificate.
    pub(super) const fn is_name(self) -> bool {
        matches!(self, Self::Name | Self::Suffix | Self::Literal(_) | Self::Regex)
    }

    /// A guess at how often a certificate shows the value, in 10,000: the less, the better a gate it is.
    fn frequency(self, value: &str) -> u64 {
        match self {
            Self::Name | Self::Network | Self::Key => 1,
            Self::Suffix if value.contains('.') => 2,
            Self::Suffix => 1_000,
            Self::Regex => 30,
            Self::Literal(_) => match value.len() {
                0..3 => 3_000,
                3..5 => 100,
                5.. => 10,
            },
            Self::Text(TextField::Serial | TextField::SubjectCn | TextField::SubjectDn, _) => 20,
            Self::Text(..) => 2_000,
        }
    }
}

/// Numbers groups, and knows how often each is likely to be hit.
#[derive(Default)]
pub(super) struct Compiler {
    pub(super) index: IndexBuilder,
    frequencies: Vec<u64>,
    pub(super) values: usize,
    pub(super) regexes: usize,
}

impl Compiler {
    /// A group of these values, which were read as `target` needs them. A network is told with its length, a key in
    /// bytes by `put`, which brings one value into the index.
    pub(super) fn group(
        &mut self,
        key: &str,
        target: Target,
        mut values: Vec<Box<str>>,
        all: bool,
        put: impl Fn(&mut IndexBuilder, &str, Use),
    ) -> Group {
        values.sort_unstable();
        values.dedup();
        let number = u32::try_from(self.frequencies.len()).expect("groups are fewer than values, which are bounded");
        let frequency = values.iter().map(|value| target.frequency(value)).sum();
        self.frequencies.push(frequency);
        self.values += values.len();
        self.regexes += if target == Target::Regex { values.len() } else { 0 };
        for (value, text) in (0..).zip(&values) {
            put(&mut self.index, text, Use { group: number, value });
        }
        Group { key: key.into(), number, values, all }
    }

    pub(super) fn group_count(&self) -> usize {
        self.frequencies.len()
    }

    /// Groups of which one at least is hit wherever the condition holds.
    pub(super) fn condition_gate(&self, condition: &Condition, selections: &[Selection]) -> Gate {
        let gate = |number: &usize| self.selection_gate(&selections[*number]);
        match condition {
            Condition::Selection(number) => gate(number),
            Condition::Not(_) => Gate::Open,
            Condition::And(parts) => Gate::all(parts.iter().map(|part| self.condition_gate(part, selections))),
            Condition::Or(parts) => Gate::any(parts.iter().map(|part| self.condition_gate(part, selections))),
            Condition::Of(least, numbers) if *least == numbers.len() => Gate::all(numbers.iter().map(gate)),
            Condition::Of(_, numbers) => Gate::any(numbers.iter().map(gate)),
        }
    }

    fn selection_gate(&self, selection: &Selection) -> Gate {
        Gate::any(selection.tables.iter().map(|table| self.table_gate(table)))
    }

    fn table_gate(&self, table: &Table) -> Gate {
        let groups = table.names.iter().chain(&table.certificates).map(|group| group.number);
        Gate::all(groups.map(|group| Gate::Groups { frequency: self.frequencies[group as usize], groups: vec![group] }))
    }

    /// Likewise for an expression, whose literals become groups.
    pub(super) fn expression_gate(
        &mut self,
        needs: Needs,
        selections: &[Selection],
        literals: &mut Vec<Group>,
    ) -> Gate {
        match needs {
            Needs::Nothing => Gate::Open,
            Needs::Selection(number) => self.selection_gate(&selections[number]),
            Needs::InName(text) => {
                let (target, literal) = (Target::Literal(Place::ANYWHERE), cut(&text, KEYWORD_BYTES_MAX));
                self.literal_gate(target, literal, literals, |index, text, used| {
                    index.literal(text, Place::ANYWHERE, used);
                })
            }
            Needs::InText(field, text) => {
                let target = Target::Text(field, Extent::Part);
                self.literal_gate(target, cut(&text, TEXT_BYTES_MAX), literals, |index, text, used| {
                    index.text(text, field, Extent::Part, used);
                })
            }
            Needs::All(parts) => {
                let gates: Vec<_> =
                    parts.into_iter().map(|part| self.expression_gate(part, selections, literals)).collect();
                Gate::all(gates)
            }
            Needs::AnyOf(parts) => {
                let gates: Vec<_> =
                    parts.into_iter().map(|part| self.expression_gate(part, selections, literals)).collect();
                Gate::any(gates)
            }
        }
    }

    fn literal_gate(
        &mut self,
        target: Target,
        literal: &str,
        literals: &mut Vec<Group>,
        put: impl Fn(&mut IndexBuilder, &str, Use),
    ) -> Gate {
        let group = self.group("literal", target, vec![literal.into()], false, put);
        let (number, frequency) = (group.number, self.frequencies[group.number as usize]);
        literals.push(group);
        Gate::Groups { frequency, groups: vec![number] }
    }
}

/// The longest start of `text` with at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// When a rule has to be asked.
#[derive(Debug)]
pub(super) enum Gate {
    /// Always.
    Open,
    /// When one of these groups is hit, which happens about so often.
    Groups { frequency: u64, groups: Vec<u32> },
}

impl Gate {
    pub(super) fn into_groups(self) -> Option<Vec<u32>> {
        match self {
            Self::Open => None,
            Self::Groups { mut groups, .. } => {
                groups.sort_unstable();
                groups.dedup();
                Some(groups)
            }
        }
    }

    /// All parts hold, so the one that is hit least often is gate enough.
    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts = parts.into_iter().filter_map(|part| match part {
            Self::Open => None,
            Self::Groups { frequency, groups } => Some((frequency, groups)),
        });
        let best = parts.min_by_key(|(frequency, _)| *frequency);
        best.map_or(Self::Open, |(frequency, groups)| Self::Groups { frequency, groups })
    }

    /// One part holds, and nobody knows which.
    fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut frequency, mut groups) = (0_u64, Vec::new());
        for part in parts {
            match part {
                Self::Open => return Self::Open,
                Self::Groups { frequency: more, groups: others } => {
                    frequency = frequency.saturating_add(more);
                    groups.extend(others);
                }
            }
        }
        Self::Groups { frequency, groups }
    }
}
