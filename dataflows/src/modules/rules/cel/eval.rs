//! Evaluates a condition, step by step.

use std::rc::Rc;

use ct_model::CertRecord;

use super::{Arithmetic, Expr, Field, ListField, Macro, Order, TextTest};
use crate::modules::rules::steps::{OverBudget, Steps};

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    /// A field is unknown, or there is no such member or number.
    NoValue,
    OverBudget,
}

impl From<OverBudget> for Fault {
    fn from(_: OverBudget) -> Self {
        Self::OverBudget
    }
}

/// A list of texts, borrowed or chosen from one.
#[derive(Clone, Debug)]
pub(in super::super) enum Texts<'e> {
    All(&'e [Box<str>]),
    Some(Rc<[&'e str]>),
}

impl<'e> Texts<'e> {
    fn len(&self) -> usize {
        match self {
            Self::All(texts) => texts.len(),
            Self::Some(texts) => texts.len(),
        }
    }

    fn get(&self, index: usize) -> Option<&'e str> {
        match self {
            Self::All(texts) => texts.get(index).map(AsRef::as_ref),
            Self::Some(texts) => texts.get(index).copied(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'e str> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// What a condition sees.
pub(in super::super) struct Env<'e> {
    pub(in super::super) certificate: Option<&'e CertRecord>,
    pub(in super::super) names: Texts<'e>,
    pub(in super::super) odd_names: Texts<'e>,
    pub(in super::super) ips: &'e [Box<str>],
    /// Whether the selection of this number holds.
    pub(in super::super) selected: &'e dyn Fn(usize, &mut Steps) -> Result<bool, OverBudget>,
}

#[derive(Clone, Debug)]
enum Value<'e> {
    Bool(bool),
    Int(i64),
    Text(&'e str),
    Texts(Texts<'e>),
    Ints(Rc<[i64]>),
    LiteralInts(&'e [i64]),
}

/// Types were checked when the condition was read.
const CHECKED: &str = "the type was checked";

impl<'e> Value<'e> {
    fn bool(self) -> bool {
        let Self::Bool(value) = self else { unreachable!("{CHECKED}") };
        value
    }

    fn int(self) -> i64 {
        let Self::Int(value) = self else { unreachable!("{CHECKED}") };
        value
    }

    fn text(self) -> &'e str {
        let Self::Text(value) = self else { unreachable!("{CHECKED}") };
        value
    }

    /// Members of a list.
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Ints(ints) => ints.len(),
            Self::LiteralInts(ints) => ints.len(),
            Self::Bool(_) | Self::Int(_) | Self::Text(_) => unreachable!("{CHECKED}"),
        }
    }

    fn member(&self, index: usize) -> Option<Self> {
        match self {
            Self::Texts(texts) => texts.get(index).map(Self::Text),
            Self::Ints(ints) => ints.get(index).copied().map(Self::Int),
            Self::LiteralInts(ints) => ints.get(index).copied().map(Self::Int),
            Self::Bool(_) | Self::Int(_) | Self::Text(_) => unreachable!("{CHECKED}"),
        }
    }
}

type Evaluated<'e> = Result<Value<'e>, Fault>;

impl Expr {
    /// Whether the condition holds for what `env` shows.
    pub(in super::super) fn holds<'e>(&'e self, env: &'e Env<'e>, steps: &mut Steps) -> Result<bool, Fault> {
        Evaluation { env, steps, variables: Vec::new() }.value(self).map(Value::bool)
    }
}

struct Evaluation<'e, 's> {
    env: &'e Env<'e>,
    steps: &'s mut Steps,
    variables: Vec<Value<'e>>,
}

impl<'e> Evaluation<'e, '_> {
    fn value(&mut self, expr: &'e Expr) -> Evaluated<'e> {
        self.steps.take(1)?;
        Ok(match expr {
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Text(text) => Value::Text(text),
            Expr::Texts(texts) => Value::Texts(Texts::All(texts)),
            Expr::Ints(ints) => Value::LiteralInts(ints),
            Expr::Field(field) => self.field(*field).ok_or(Fault::NoValue)?,
            Expr::Has(field) => Value::Bool(self.field(*field).is_some()),
            Expr::Selection(number) => Value::Bool((self.env.selected)(*number, self.steps)?),
            Expr::Variable(number) => self.variables[*number].clone(),
            Expr::Not(inner) => Value::Bool(!self.value(inner)?.bool()),
            Expr::Negate(inner) => Value::Int(self.value(inner)?.int().checked_neg().ok_or(Fault::NoValue)?),
            Expr::And(parts) => Value::Bool(self.decide(parts, false)?),
            Expr::Or(parts) => Value::Bool(self.decide(parts, true)?),
            Expr::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.value(condition)?.bool() { then } else { otherwise };
                self.value(chosen)?
            }
            Expr::Compare(order, parts) => {
                let (left, right) = self.pair(parts)?;
                Value::Bool(self.compare(*order, &left, &right)?)
            }
            Expr::Arithmetic(operation, parts) => {
                let (left, right) = self.pair(parts)?;
                Value::Int(calculate(*operation, left.int(), right.int()).ok_or(Fault::NoValue)?)
            }
            Expr::In(parts) => {
                let (wanted, list) = self.pair(parts)?;
                self.steps.take(list.len())?;
                Value::Bool(match (wanted, list) {
                    (Value::Text(text), Value::Texts(texts)) => texts.iter().any(|member| member == text),
                    (Value::Int(int), Value::LiteralInts(ints)) => ints.contains(&int),
                    (Value::Int(int), Value::Ints(ints)) => ints.contains(&int),
                    _ => unreachable!("{CHECKED}"),
                })
            }
            Expr::Index(parts) => {
                let (list, index) = self.pair(parts)?;
                let index = usize::try_from(index.int()).ok();
                index.and_then(|index| list.member(index)).ok_or(Fault::NoValue)?
            }
            Expr::Size(inner) => {
                let size = match self.value(inner)? {
                    // Characters, not bytes.
                    Value::Text(text) => {
                        self.steps.take(text.len() / 16)?;
                        text.chars().count()
                    }
                    list => list.len(),
                };
                Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
            }
            Expr::Test(test, parts) => {
                let (text, wanted) = self.pair(parts)?;
                let (text, wanted) = (text.text(), wanted.text());
                self.steps.take(text.len() / 16)?;
                Value::Bool(match test {
                    TextTest::StartsWith => text.starts_with(wanted),
                    TextTest::EndsWith => text.ends_with(wanted),
                    TextTest::Contains => text.contains(wanted),
                })
            }
            Expr::Matches(inner, regex) => {
                let text = self.value(inner)?.text();
                self.steps.take(text.len() / 4)?;
                Value::Bool(regex.is_match(text))
            }
            Expr::Macro(which, parts) => self.iterate(*which, &parts[0], &parts[1])?,
        })
    }

    fn field(&self, field: Field) -> Option<Value<'e>> {
        let certificate = self.env.certificate;
        Some(match field {
            Field::List(ListField::Names) => Value::Texts(self.env.names.clone()),
            Field::List(ListField::OddNames) => Value::Texts(self.env.odd_names.clone()),
            Field::List(ListField::Ips) => Value::Texts(Texts::All(self.env.ips)),
            Field::List(ListField::RegisteredDomains) => Value::Texts(Texts::All(&certificate?.registered_domains)),
            Field::Text(field) => Value::Text(field.of(certificate?)?),
            Field::Number(field) => Value::Int(field.of(certificate?)?),
            Field::Flag(field) => Value::Bool(field.of(certificate?)?),
        })
    }

    fn pair(&mut self, parts: &'e [Expr; 2]) -> Result<(Value<'e>, Value<'e>), Fault> {
        Ok((self.value(&parts[0])?, self.value(&parts[1])?))
    }

    /// `||` if `decisive` is true, else `&&`: a part that decides does so even if another has no value.
    fn decide(&mut self, parts: &'e [Expr], decisive: bool) -> Result<bool, Fault> {
        let mut fault = None;
        for part in parts {
            match self.value(part) {
                Ok(value) if value.clone().bool() == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(Fault::NoValue) => fault = Some(Fault::NoValue),
                Err(Fault::OverBudget) => return Err(Fault::OverBudget),
            }
        }
        fault.map_or(Ok(!decisive), Err)
    }

    fn compare(&mut self, order: Order, left: &Value<'e>, right: &Value<'e>) -> Result<bool, Fault> {
        let ordering = match (left, right) {
            (Value::Int(left), Value::Int(right)) => left.cmp(right),
            (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Value::Text(left), Value::Text(right)) => {
                self.steps.take(left.len().min(right.len()) / 16)?;
                left.cmp(right)
            }
            _ => unreachable!("{CHECKED}"),
        };
        Ok(match order {
            Order::Equal => ordering.is_eq(),
            Order::NotEqual => ordering.is_ne(),
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        })
    }

    fn iterate(&mut self, which: Macro, list: &'e Expr, body: &'e Expr) -> Evaluated<'e> {
        let list = self.value(list)?;
        let mut chosen = Vec::new();
        let mut fault = None;
        for index in 0..list.len() {
            let Some(member) = list.member(index) else { break };
            self.variables.push(member.clone());
            let asked = self.value(body).map(Value::bool);
            self.variables.pop();
            match (which, asked) {
                (Macro::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (Macro::All, Ok(false)) => return Ok(Value::Bool(false)),
                (Macro::Filter | Macro::ExistsOne, Ok(true)) => chosen.push(member),
                (_, Ok(_)) => {}
                (Macro::Exists | Macro::All, Err(Fault::NoValue)) => fault = Some(Fault::NoValue),
                (_, Err(other)) => return Err(other),
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        Ok(match (which, list) {
            (Macro::Exists, _) => Value::Bool(false),
            (Macro::All, _) => Value::Bool(true),
            (Macro::ExistsOne, _) => Value::Bool(chosen.len() == 1),
            (Macro::Filter, Value::Texts(_)) => {
                Value::Texts(Texts::Some(chosen.into_iter().map(Value::text).collect()))
            }
            (Macro::Filter, _) => Value::Ints(chosen.into_iter().map(Value::int).collect()),
        })
    }
}

fn calculate(operation: Arithmetic, left: i64, right: i64) -> Option<i64> {
    match operation {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    }
}
