//! Reads a condition and checks its types, its depth and how much it can cost.

use super::lex::{Token, tokens};
use super::{Arithmetic, Expr, Field, LARGE_NAMES, Macro, Order, Program, TextTest};
use crate::modules::nearest;
use crate::modules::rules::error::shown;
use crate::modules::rules::limits::CEL_BYTES_MAX;
use crate::modules::rules::pattern::regex;

/// Of brackets, and of nodes below each other.
const DEPTH_MAX: usize = 32;
/// Assumed bytes of a text when costs are estimated.
const TEXT_BYTES: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Text,
    Texts,
    Ints,
}

impl Type {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Ints => "a list of whole numbers",
        }
    }

    const fn member(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Ints => Some(Self::Int),
            _ => None,
        }
    }
}

/// An expression with what is known of it.
struct Typed {
    expr: Expr,
    kind: Type,
    depth: usize,
    /// Steps at most, on a certificate of [`LARGE_NAMES`] names.
    steps: u64,
    /// Members at most, of a list.
    members: u64,
}

/// Reads `text`, which may ask for `sel.NAME` of `selections`. The error is what is wrong and the way out.
pub(in super::super) fn parse(text: &str, selections: &[&str]) -> Result<Program, String> {
    if text.len() > CEL_BYTES_MAX {
        return Err(format!("{} bytes; {CEL_BYTES_MAX} at most", text.len()));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, selections, variables: Vec::new() };
    let root = parser.expression(0)?;
    parser.expect_end()?;
    let root = root.of(Type::Bool, "the condition")?;
    Ok(Program { root: root.expr, steps_max: root.steps })
}

impl Typed {
    fn leaf(expr: Expr, kind: Type) -> Self {
        Self { expr, kind, depth: 1, steps: 1, members: 0 }
    }

    fn of(self, kind: Type, what: &str) -> Result<Self, String> {
        match self.kind == kind {
            true => Ok(self),
            false => Err(format!("{what} is {} where {} is expected", self.kind.as_str(), kind.as_str())),
        }
    }
}

struct Parser<'p> {
    tokens: &'p [Token],
    selections: &'p [&'p str],
    /// Of the macros around, outermost first.
    variables: Vec<(Box<str>, Type)>,
}

/// A node over `parts`, of which it takes `own` steps more than they do.
fn node(parts: &[&Typed], own: u64) -> Result<(usize, u64), String> {
    let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
    if depth > DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} operations one in the other; use selections and sel.NAME"));
    }
    Ok((depth, parts.iter().fold(own, |sum, part| sum.saturating_add(part.steps))))
}

fn two(
    left: Typed,
    right: Typed,
    own: u64,
    kind: Type,
    make: impl Fn(Box<[Expr; 2]>) -> Expr,
) -> Result<Typed, String> {
    let (depth, steps) = node(&[&left, &right], own)?;
    Ok(Typed { expr: make(Box::new([left.expr, right.expr])), kind, depth, steps, members: 0 })
}

fn one(part: Typed, own: u64, kind: Type, make: impl Fn(Box<Expr>) -> Expr) -> Result<Typed, String> {
    let (depth, steps) = node(&[&part], own)?;
    Ok(Typed { expr: make(Box::new(part.expr)), kind, depth, steps, members: 0 })
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.first().unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.tokens = self.tokens.get(1..).unwrap_or_default();
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Sign(next) if *next == sign);
        if is_next {
            self.next();
        }
        is_next
    }

    fn takes_any<T: Copy>(&mut self, signs: &[(&str, T)]) -> Option<T> {
        let found = signs.iter().find(|(sign, _)| self.takes(sign))?;
        Some(found.1)
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { Err(format!("`{sign}` is expected {}", self.place())) }
    }

    fn expect_end(&self) -> Result<(), String> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(format!("an operator or the end is expected {}", self.place())),
        }
    }

    fn place(&self) -> String {
        match self.peek() {
            Token::End => "at the end".to_owned(),
            Token::Word(word) => format!("before `{}`", shown(word)),
            Token::Sign(sign) => format!("before `{sign}`"),
            Token::Int(number) => format!("before `{number}`"),
            Token::Text(text) => format!("before {:?}", shown(text)),
        }
    }

    fn expression(&mut self, depth: usize) -> Result<Typed, String> {
        if depth > DEPTH_MAX {
            return Err(format!("brackets more than {DEPTH_MAX} deep"));
        }
        let condition = self.or(depth)?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let condition = condition.of(Type::Bool, "what stands before `?`")?;
        let then = self.or(depth + 1)?;
        self.expect(":")?;
        let otherwise = self.expression(depth + 1)?.of(then.kind, "what stands after `:`")?;
        let (depth, steps) = node(&[&condition, &then, &otherwise], 1)?;
        let (kind, members) = (then.kind, then.members.max(otherwise.members));
        let expr = Expr::If(Box::new([condition.expr, then.expr, otherwise.expr]));
        Ok(Typed { expr, kind, depth, steps, members })
    }

    fn or(&mut self, depth: usize) -> Result<Typed, String> {
        self.chain("||", depth, Self::and, Expr::Or)
    }

    fn and(&mut self, depth: usize) -> Result<Typed, String> {
        self.chain("&&", depth, Self::relation, Expr::And)
    }

    fn chain(
        &mut self,
        sign: &str,
        depth: usize,
        part: fn(&mut Self, usize) -> Result<Typed, String>,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Result<Typed, String> {
        let first = part(self, depth)?;
        if !self.takes(sign) {
            return Ok(first);
        }
        let what = format!("an operand of `{sign}`");
        let mut parts = vec![first.of(Type::Bool, &what)?];
        loop {
            parts.push(part(self, depth)?.of(Type::Bool, &what)?);
            if !self.takes(sign) {
                break;
            }
        }
        let (depth, steps) = node(&parts.iter().collect::<Vec<_>>(), 1)?;
        let expr = make(parts.into_iter().map(|part| part.expr).collect());
        Ok(Typed { expr, kind: Type::Bool, depth, steps, members: 0 })
    }

    fn relation(&mut self, depth: usize) -> Result<Typed, String> {
        const ORDERS: [(&str, Order); 6] = [
            ("==", Order::Equal),
            ("!=", Order::NotEqual),
            ("<=", Order::LessOrEqual),
            (">=", Order::GreaterOrEqual),
            ("<", Order::Less),
            (">", Order::Greater),
        ];
        let mut left = self.sum(depth)?;
        loop {
            if let Some(order) = self.takes_any(&ORDERS) {
                let right = self.sum(depth)?.of(left.kind, "the right side of a comparison")?;
                let is_ordered = matches!(left.kind, Type::Int | Type::Text);
                if left.kind.member().is_some() || !(is_ordered || matches!(order, Order::Equal | Order::NotEqual)) {
                    return Err(format!("{} cannot be compared so", left.kind.as_str()));
                }
                left = two(left, right, 1, Type::Bool, |parts| Expr::Compare(order, parts))?;
            } else if matches!(self.peek(), Token::Word(word) if &**word == "in") {
                self.next();
                let list = self.sum(depth)?;
                let Some(member) = list.kind.member() else {
                    return Err(format!("{} stands after `in` where a list is expected", list.kind.as_str()));
                };
                let steps = 1 + list.members;
                left = two(left.of(member, "what stands before `in`")?, list, steps, Type::Bool, Expr::In)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn sum(&mut self, depth: usize) -> Result<Typed, String> {
        const SIGNS: [(&str, Arithmetic); 2] = [("+", Arithmetic::Add), ("-", Arithmetic::Subtract)];
        self.arithmetic(&SIGNS, depth, Self::product)
    }

    fn product(&mut self, depth: usize) -> Result<Typed, String> {
        const SIGNS: [(&str, Arithmetic); 3] =
            [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("%", Arithmetic::Remainder)];
        self.arithmetic(&SIGNS, depth, Self::unary)
    }

    fn arithmetic(
        &mut self,
        signs: &[(&str, Arithmetic)],
        depth: usize,
        part: fn(&mut Self, usize) -> Result<Typed, String>,
    ) -> Result<Typed, String> {
        let mut left = part(self, depth)?;
        while let Some(operation) = self.takes_any(signs) {
            let right = part(self, depth)?.of(Type::Int, "an operand of arithmetic")?;
            left = left.of(Type::Int, "an operand of arithmetic")?;
            left = two(left, right, 1, Type::Int, |parts| Expr::Arithmetic(operation, parts))?;
        }
        Ok(left)
    }

    fn unary(&mut self, depth: usize) -> Result<Typed, String> {
        if depth > DEPTH_MAX {
            return Err(format!("signs more than {DEPTH_MAX} deep"));
        }
        if self.takes("!") {
            return one(self.unary(depth + 1)?.of(Type::Bool, "what stands after `!`")?, 1, Type::Bool, Expr::Not);
        }
        if self.takes("-") {
            return one(self.unary(depth + 1)?.of(Type::Int, "what stands after `-`")?, 1, Type::Int, Expr::Negate);
        }
        let mut part = self.primary(depth)?;
        loop {
            if self.takes("[") {
                let Some(member) = part.kind.member() else {
                    return Err(format!("{} has no members to index", part.kind.as_str()));
                };
                let index = self.expression(depth + 1)?.of(Type::Int, "an index")?;
                self.expect("]")?;
                part = two(part, index, 1, member, Expr::Index)?;
            } else if self.takes(".") {
                part = self.method(part, depth)?;
            } else {
                return Ok(part);
            }
        }
    }

    fn primary(&mut self, depth: usize) -> Result<Typed, String> {
        if self.takes("(") {
            let inner = self.expression(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.takes("[") {
            return self.list();
        }
        let place = self.place();
        match self.next() {
            Token::Int(number) => Ok(Typed::leaf(Expr::Int(number), Type::Int)),
            Token::Text(text) => Ok(Typed::leaf(Expr::Text(text), Type::Text)),
            Token::Word(word) => self.word(&word, depth),
            Token::Sign(_) | Token::End => Err(format!("a value is expected {place}")),
        }
    }

    /// What stands after `[`: literals of one type.
    fn list(&mut self) -> Result<Typed, String> {
        let (mut texts, mut ints) = (Vec::new(), Vec::new());
        while !self.takes("]") {
            if !(texts.is_empty() && ints.is_empty()) {
                self.expect(",")?;
            }
            let negative = self.takes("-");
            match self.next() {
                Token::Text(text) if ints.is_empty() && !negative => texts.push(text),
                Token::Int(int) if texts.is_empty() => ints.push(if negative { -int } else { int }),
                _ => return Err("a list has literal texts, or literal whole numbers".to_owned()),
            }
        }
        let members = (texts.len() + ints.len()) as u64;
        let (expr, kind) = match ints.is_empty() {
            true => (Expr::Texts(texts.into()), Type::Texts),
            false => (Expr::Ints(ints.into()), Type::Ints),
        };
        Ok(Typed { members, ..Typed::leaf(expr, kind) })
    }

    fn word(&mut self, word: &str, depth: usize) -> Result<Typed, String> {
        if let Some(number) = self.variables.iter().rposition(|(name, _)| **name == *word) {
            return Ok(Typed::leaf(Expr::Variable(number), self.variables[number].1));
        }
        match word {
            "true" => Ok(Typed::leaf(Expr::Bool(true), Type::Bool)),
            "false" => Ok(Typed::leaf(Expr::Bool(false), Type::Bool)),
            "cert" => {
                let field = self.field()?;
                let (kind, members) = match field {
                    Field::Text(_) => (Type::Text, 0),
                    Field::Number(_) => (Type::Int, 0),
                    Field::Flag(_) => (Type::Bool, 0),
                    Field::List(list) => (Type::Texts, list.large()),
                };
                Ok(Typed { members, ..Typed::leaf(Expr::Field(field), kind) })
            }
            "sel" => {
                self.expect(".")?;
                let name = self.name("a selection")?;
                let number = self.selections.iter().position(|selection| **selection == *name);
                let number = number.ok_or_else(|| unknown("selection", &name, self.selections.iter().copied()))?;
                // A selection looks at each name that shows one of its values.
                Ok(Typed { steps: LARGE_NAMES, ..Typed::leaf(Expr::Selection(number), Type::Bool) })
            }
            "has" => {
                self.expect("(")?;
                if !matches!(self.next(), Token::Word(word) if &*word == "cert") {
                    return Err("has() asks for a field: has(cert.key_bits)".to_owned());
                }
                let field = self.field()?;
                self.expect(")")?;
                Ok(Typed::leaf(Expr::Has(field), Type::Bool))
            }
            "size" => {
                self.expect("(")?;
                let part = self.expression(depth + 1)?;
                self.expect(")")?;
                size(part)
            }
            _ => {
                let variables = self.variables.iter().map(|(name, _)| &**name);
                Err(unknown("word", word, ["cert", "sel", "has", "size", "true", "false"].into_iter().chain(variables)))
            }
        }
    }

    fn name(&mut self, what: &str) -> Result<Box<str>, String> {
        let place = self.place();
        match self.next() {
            Token::Word(word) => Ok(word),
            _ => Err(format!("the name of {what} is expected {place}")),
        }
    }

    /// What stands after `cert`.
    fn field(&mut self) -> Result<Field, String> {
        self.expect(".")?;
        let name = self.name("a field")?;
        let found = Field::all().find(|(word, _)| *word == &*name);
        found.map(|(_, field)| field).ok_or_else(|| unknown("field", &name, Field::all().map(|(word, _)| word)))
    }

    /// What stands after `part.`.
    fn method(&mut self, part: Typed, depth: usize) -> Result<Typed, String> {
        const TESTS: [(&str, TextTest); 3] =
            [("startsWith", TextTest::StartsWith), ("endsWith", TextTest::EndsWith), ("contains", TextTest::Contains)];
        const MACROS: [(&str, Macro); 4] = [
            ("all", Macro::All),
            ("exists", Macro::Exists),
            ("exists_one", Macro::ExistsOne),
            ("filter", Macro::Filter),
        ];
        let name = self.name("a function")?;
        self.expect("(")?;
        let what = format!("what stands before .{}", shown(&name));
        let made = if let Some((_, test)) = TESTS.iter().find(|(word, _)| *word == &*name) {
            let part = part.of(Type::Text, &what)?;
            let text = self.expression(depth + 1)?.of(Type::Text, "what it looks for")?;
            two(part, text, 1 + TEXT_BYTES / 16, Type::Bool, |parts| Expr::Test(*test, parts))?
        } else if let Some((_, which)) = MACROS.iter().find(|(word, _)| *word == &*name) {
            self.iterate(*which, part, depth)?
        } else if &*name == "matches" {
            let part = part.of(Type::Text, &what)?;
            let Token::Text(pattern) = self.next() else {
                return Err("matches() takes a literal expression: matches(r'^a[0-9]+')".to_owned());
            };
            let regex = regex(&pattern)?;
            one(part, 1 + TEXT_BYTES / 4, Type::Bool, |part| Expr::Matches(part, regex.clone()))?
        } else if &*name == "size" {
            size(part)?
        } else {
            let known = TESTS.map(|(word, _)| word).into_iter().chain(MACROS.map(|(word, _)| word));
            return Err(unknown("function", &name, known.chain(["matches", "size"])));
        };
        self.expect(")")?;
        Ok(made)
    }

    /// What stands in `list.exists(…)`: a variable and what is asked of it.
    fn iterate(&mut self, which: Macro, list: Typed, depth: usize) -> Result<Typed, String> {
        let Some(member) = list.kind.member() else {
            return Err(format!("{} has no members to go through", list.kind.as_str()));
        };
        let name = self.name("a variable")?;
        if ["cert", "sel", "has", "size", "true", "false", "in"].contains(&&*name) {
            return Err(format!("`{name}` cannot be a variable: it has a meaning of its own"));
        }
        self.expect(",")?;
        self.variables.push((name, member));
        let body = self.expression(depth + 1);
        self.variables.pop();
        let body = body?.of(Type::Bool, "what is asked of each member")?;
        let (kind, members) = match which {
            Macro::Filter => (list.kind, list.members),
            Macro::All | Macro::Exists | Macro::ExistsOne => (Type::Bool, 0),
        };
        let each = list.members.saturating_mul(1 + body.steps);
        let mut made = two(list, body, each, kind, |parts| Expr::Macro(which, parts))?;
        made.members = members;
        Ok(made)
    }
}

fn size(part: Typed) -> Result<Typed, String> {
    match part.kind {
        Type::Text | Type::Texts | Type::Ints => one(part, 1 + TEXT_BYTES / 16, Type::Int, Expr::Size),
        Type::Bool | Type::Int => Err(format!("{} has no size", part.kind.as_str())),
    }
}

fn unknown<'k>(what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
    let guess = nearest(name, &known).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    format!("unknown {what} `{}`; {guess}known: {}", shown(name), known.join(", "))
}
