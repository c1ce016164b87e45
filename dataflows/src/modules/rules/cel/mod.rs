//! Conditions in the Common Expression Language: the part of it that decides over certificates.
//!
//! There are truth values, whole numbers, texts, and lists of texts or whole numbers; operators, `has`, `size`,
//! `startsWith`, `endsWith`, `contains`, `matches` with a literal expression, and the macros `all`, `exists`,
//! `exists_one` and `filter`. Types are checked when a rule file is read, so all that can fail later is an unknown
//! field, an index, an overflow and a division by zero; such a failure is no match, and `||`, `&&`, `exists` and `all`
//! get over it as the language says. Every step is counted, so the same condition stops at the same place in every run.

mod eval;
mod lex;
mod parse;

pub(super) use eval::{Env, Fault, Texts};
pub(super) use parse::parse;

use regex::Regex;

use super::text::{FlagField, NumberField, TextField};

/// A condition that was read and checked.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Expr,
    /// No evaluation on a certificate of [`LARGE_NAMES`] names takes more steps.
    pub(super) steps_max: u64,
}

/// A certificate with so many names is nothing special: a condition that such a one could drive over the budget is
/// refused when it is read.
pub(super) const LARGE_NAMES: u64 = 100;
/// And so many registered domains, addresses and odd names.
const LARGE_OTHERS: u64 = 20;
/// The lists among the members of `cert`.
pub(super) const LISTS: [(&str, ListField); 4] = [
    ("names", ListField::Names),
    ("odd_names", ListField::OddNames),
    ("registered_domains", ListField::RegisteredDomains),
    ("ips", ListField::Ips),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListField {
    Names,
    OddNames,
    RegisteredDomains,
    Ips,
}

/// A member of `cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text(TextField),
    Number(NumberField),
    Flag(FlagField),
    List(ListField),
}

impl ListField {
    /// Members of the list on a large certificate.
    const fn large(self) -> u64 {
        match self {
            Self::Names => LARGE_NAMES,
            Self::OddNames | Self::RegisteredDomains | Self::Ips => LARGE_OTHERS,
        }
    }
}

impl Field {
    pub(super) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        let texts = TextField::ALL.into_iter().map(|field| (field.word(), Self::Text(field)));
        let numbers = NumberField::ALL.into_iter().map(|field| (field.word(), Self::Number(field)));
        let flags = FlagField::ALL.into_iter().map(|field| (field.word(), Self::Flag(field)));
        LISTS.into_iter().map(|(word, field)| (word, Self::List(field))).chain(texts).chain(numbers).chain(flags)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
}

/// A node; what its parts yield has been checked.
#[derive(Debug)]
pub(super) enum Expr {
    Bool(bool),
    Int(i64),
    Text(Box<str>),
    Texts(Box<[Box<str>]>),
    Ints(Box<[i64]>),
    Field(Field),
    Has(Field),
    Selection(usize),
    /// The variable of the macro this far out from the outermost one.
    Variable(usize),
    Not(Box<Self>),
    Negate(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    If(Box<[Self; 3]>),
    Compare(Order, Box<[Self; 2]>),
    Arithmetic(Arithmetic, Box<[Self; 2]>),
    In(Box<[Self; 2]>),
    Index(Box<[Self; 2]>),
    Size(Box<Self>),
    Test(TextTest, Box<[Self; 2]>),
    Matches(Box<Self>, Regex),
    /// The list, and what is asked of each member.
    Macro(Macro, Box<[Self; 2]>),
}

/// What a subject has to show before a condition can hold.
#[derive(Debug)]
pub(super) enum Needs {
    /// Nothing that one pass over the subject tells.
    Nothing,
    /// This literal somewhere in a name.
    InName(Box<str>),
    InText(TextField, Box<str>),
    Selection(usize),
    All(Vec<Self>),
    AnyOf(Vec<Self>),
}

impl Expr {
    /// What the subject has to show so that this can be true.
    pub(super) fn needs(&self) -> Needs {
        self.needs_within(&mut Vec::new())
    }

    /// `over_names` tells of each variable in scope whether it is a plain name of the certificate.
    fn needs_within(&self, over_names: &mut Vec<bool>) -> Needs {
        match self {
            Self::Bool(false) => Needs::AnyOf(Vec::new()),
            Self::Selection(number) => Needs::Selection(*number),
            Self::And(parts) => Needs::All(parts.iter().map(|part| part.needs_within(over_names)).collect()),
            Self::Or(parts) => Needs::AnyOf(parts.iter().map(|part| part.needs_within(over_names)).collect()),
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let then = Needs::All(vec![condition.needs_within(over_names), then.needs_within(over_names)]);
                Needs::AnyOf(vec![then, otherwise.needs_within(over_names)])
            }
            // A list without members makes `all` true.
            Self::Macro(Macro::Exists | Macro::ExistsOne, parts) => {
                over_names.push(matches!(parts[0], Self::Field(Field::List(ListField::Names))));
                let needs = parts[1].needs_within(over_names);
                over_names.pop();
                needs
            }
            Self::Compare(Order::Equal, parts) => match &**parts {
                [of, Self::Text(text)] | [Self::Text(text), of] => of.literal_needs(text, over_names),
                _ => Needs::Nothing,
            },
            Self::Test(_, parts) => match &**parts {
                [of, Self::Text(text)] => of.literal_needs(text, over_names),
                _ => Needs::Nothing,
            },
            Self::In(parts) => match &**parts {
                [Self::Text(text), Self::Field(Field::List(ListField::Names))] => name_needs(text),
                [of, Self::Texts(texts)] => {
                    Needs::AnyOf(texts.iter().map(|text| of.literal_needs(text, over_names)).collect())
                }
                _ => Needs::Nothing,
            },
            _ => Needs::Nothing,
        }
    }

    /// That this, if it is a name or a text of the certificate, holds `text`.
    fn literal_needs(&self, text: &str, over_names: &[bool]) -> Needs {
        match self {
            Self::Variable(number) if over_names[*number] => name_needs(text),
            Self::Field(Field::Text(field)) if !text.is_empty() => Needs::InText(*field, text.into()),
            _ => Needs::Nothing,
        }
    }
}

fn name_needs(text: &str) -> Needs {
    if text.is_empty() { Needs::Nothing } else { Needs::InName(text.into()) }
}
