//! Conditions as Sigma has them: `login and not own`, `1 of sel*`, `all of them`.

use super::error::{Mistake, shown};

/// Brackets and `not`, one in the other.
const DEPTH_MAX: usize = 32;
const WORDS_MAX: usize = 1_000;

/// A condition over the selections of a rule, which are numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Selection(usize),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// At least so many of these selections.
    Of(usize, Vec<usize>),
}

impl Condition {
    /// Binds `not` before `and` before `or`.
    pub(super) fn parse(text: &str, selections: &[&str]) -> Result<Self, Mistake> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        if words.len() > WORDS_MAX {
            return Err(wrong(format!("more than {WORDS_MAX} words")));
        }
        let mut parser = Parser { words: &words, selections };
        let condition = parser.any(0)?;
        match parser.words.first() {
            None => Ok(condition),
            Some(word) => Err(wrong(format!("`and`, `or` or the end is expected before {:?}", shown(word)))),
        }
    }

    /// Whether it holds, if `selected` tells so for each selection. Asks no more than it needs, in order.
    pub(super) fn holds<E>(&self, selected: &mut impl FnMut(usize) -> Result<bool, E>) -> Result<bool, E> {
        match self {
            Self::Selection(number) => selected(*number),
            Self::Not(inner) => Ok(!inner.holds(selected)?),
            Self::And(parts) => {
                for part in parts {
                    if !part.holds(selected)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(parts) => {
                for part in parts {
                    if part.holds(selected)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Of(least, numbers) => {
                let mut held = 0;
                for number in numbers {
                    held += usize::from(selected(*number)?);
                    if held == *least {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn wrong(why: String) -> Mistake {
    Mistake::new("detection.condition", why)
}

struct Parser<'p> {
    words: &'p [&'p str],
    selections: &'p [&'p str],
}

impl<'p> Parser<'p> {
    fn next(&mut self) -> Option<&'p str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Mistake> {
        let mut parts = vec![self.all(depth)?];
        while self.takes("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Mistake> {
        let mut parts = vec![self.one(depth)?];
        while self.takes("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Mistake> {
        if depth > DEPTH_MAX {
            return Err(wrong(format!("brackets and `not` more than {DEPTH_MAX} deep")));
        }
        match self.next() {
            None => Err(wrong("a selection is expected at the end".to_owned())),
            Some("not") => Ok(Condition::Not(Box::new(self.one(depth + 1)?))),
            Some("(") => {
                let inner = self.any(depth + 1)?;
                if self.takes(")") { Ok(inner) } else { Err(wrong("a `)` is missing".to_owned())) }
            }
            Some(count) if self.takes("of") => self.of(count),
            Some(word) => match self.selections.iter().position(|selection| *selection == word) {
                Some(number) => Ok(Condition::Selection(number)),
                None => {
                    Err(Mistake::unknown("detection.condition", "selection", word, self.selections.iter().copied()))
                }
            },
        }
    }

    /// What stands after `1 of`.
    fn of(&mut self, count: &str) -> Result<Condition, Mistake> {
        let pattern = self.next().ok_or_else(|| wrong(format!("`{} of` what?", shown(count))))?;
        let is_meant = |name: &str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == "them" || pattern == name,
        };
        let numbered = self.selections.iter().enumerate();
        let numbers: Vec<usize> = numbered.filter(|(_, name)| is_meant(name)).map(|(number, _)| number).collect();
        if numbers.is_empty() {
            return Err(Mistake::unknown("detection.condition", "selection", pattern, self.selections.iter().copied()));
        }
        let least = match count {
            "all" => numbers.len(),
            "any" => 1,
            _ => count.parse().unwrap_or(0),
        };
        match least {
            1.. if least <= numbers.len() => Ok(Condition::Of(least, numbers)),
            _ => Err(wrong(format!(
                "`{} of {}`: allowed are `any`, `all` and 1..={}",
                shown(count),
                shown(pattern),
                numbers.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELECTIONS: [&str; 4] = ["a", "sel1", "sel2", "own"];

    /// The sets of selections, as bits, under which it holds.
    #[track_caller]
    fn check(text: &str, want: impl Fn(bool, bool, bool, bool) -> bool) {
        let condition = Condition::parse(text, &SELECTIONS).expect("a condition");
        for bits in 0..16_u32 {
            let is = |number: usize| bits & (1 << number) != 0;
            let held = condition.holds::<()>(&mut |number| Ok(is(number)));
            assert_eq!(held, Ok(want(is(0), is(1), is(2), is(3))), "{text} {bits:04b}");
        }
    }

    #[track_caller]
    fn check_error(text: &str, want: &str) {
        assert_eq!(Condition::parse(text, &SELECTIONS).expect_err("a mistake").why, want);
    }

    #[test]
    fn words_bind_as_usual() {
        check("a", |a, _, _, _| a);
        check("not a", |a, _, _, _| !a);
        check("not not a", |a, _, _, _| a);
        check("a or sel1 and not own", |a, one, _, own| a || (one && !own));
        check("(a or sel1) and not(own)", |a, one, _, own| (a || one) && !own);
        check("not (a or sel1) or own", |a, one, _, own| !(a || one) || own);
    }

    #[test]
    fn some_of_several() {
        check("1 of sel*", |_, one, two, _| one || two);
        check("any of sel*", |_, one, two, _| one || two);
        check("all of sel*", |_, one, two, _| one && two);
        check("all of them", |a, one, two, own| a && one && two && own);
        check("2 of them", |a, one, two, own| [a, one, two, own].into_iter().filter(|is| *is).count() >= 2);
        check("1 of own and not all of sel*", |_, one, two, own| own && !(one && two));
    }

    #[test]
    fn mistakes() {
        check_error("", "a selection is expected at the end");
        check_error("a and", "a selection is expected at the end");
        check_error("a b", "`and`, `or` or the end is expected before \"b\"");
        check_error("(a", "a `)` is missing");
        check_error("a)", "`and`, `or` or the end is expected before \")\"");
        check_error("sell1", "unknown selection \"sell1\"; did you mean \"sel1\"? known: a, sel1, sel2, own");
        check_error("1 of x*", "unknown selection \"x*\"; known: a, sel1, sel2, own");
        check_error("1 of", "`1 of` what?");
        check_error("3 of sel*", "`3 of sel*`: allowed are `any`, `all` and 1..=2");
        check_error("0 of them", "`0 of them`: allowed are `any`, `all` and 1..=4");
        check_error(&"(".repeat(100), "brackets and `not` more than 32 deep");
        check_error(&"not ".repeat(100), "brackets and `not` more than 32 deep");
        check_error(&"a and ".repeat(600), "more than 1000 words");
    }
}
