//! All rules, compiled together.

use super::error::RuleError;
use super::index::{Hits, Index};
use super::read::RuleReader;
use super::rule::{Asking, Evidence, Rule};
use super::steps::Steps;
use super::test_case::TestFailure;
use crate::modules::Subject;

/// Steps of one rule on one certificate, unless said otherwise.
pub const BUDGET_STEPS: u64 = 40_000;
/// All rules together may take so many times what one may.
const RULES_AT_THE_LIMIT: u64 = 16;

/// The rules of one or more files. Examining is a pure function of it and the subject.
pub struct RuleSet {
    rules: Vec<Rule>,
    index: Index,
    /// Rules by the group of which a hit makes them worth asking.
    asked_by: Vec<Vec<u32>>,
    /// Rules that are asked about every subject.
    always: Vec<u32>,
    budget: u64,
    warnings: Vec<String>,
}

/// A rule that matches, and why.
#[derive(Debug)]
pub struct Match<'r> {
    pub rule: &'r Rule,
    /// At most 16 reasons.
    pub evidence: Vec<Evidence<'r>>,
}

/// What the rules say about a subject.
#[derive(Debug, Default)]
pub struct Verdict<'r> {
    /// In the order of the rules.
    pub matches: Vec<Match<'r>>,
    /// Rules that ran out of steps, and those that were not asked any more: whether they match is not known.
    pub over_budget: Vec<&'r Rule>,
    /// If the subject shows too much of what rules look for: how many names were looked at.
    pub names_examined: Option<usize>,
}

impl RuleSet {
    /// The rules of one file, whose name is for mistakes only.
    pub fn parse(file: &str, text: &str) -> Result<Self, RuleError> {
        Self::parse_all([(file, text)], BUDGET_STEPS)
    }

    /// The rules of files given as name and text, none of which may take more than `budget` steps on one subject.
    pub fn parse_all<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>, budget: u64) -> Result<Self, RuleError> {
        let mut reader = RuleReader::new(budget);
        let mut last = "";
        for (file, text) in files {
            last = file;
            reader.add_file(file, text)?;
        }
        let mut asked_by = vec![Vec::new(); reader.compiler.group_count()];
        let mut always = Vec::new();
        for (number, rule) in (0..).zip(&reader.rules) {
            match &rule.gate {
                None => always.push(number),
                Some(groups) => groups.iter().for_each(|group| asked_by[*group as usize].push(number)),
            }
        }
        let index = reader.compiler.index.build().map_err(|error| RuleError {
            file: last.to_owned(),
            rule: None,
            key: String::new(),
            why: error.to_string(),
        })?;
        Ok(Self { rules: reader.rules, index, asked_by, always, budget, warnings: reader.warnings })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is no mistake but costs more than its author may think; one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn examine<'r>(&'r self, subject: &Subject<'_>) -> Verdict<'r> {
        let hits = self.index.scan(subject);
        let mut verdict = Verdict { names_examined: hits.cut_at, ..Verdict::default() };
        let mut left = self.budget.saturating_mul(RULES_AT_THE_LIMIT);
        for number in self.worth_asking(&hits) {
            let rule = &self.rules[number as usize];
            let asking = Asking { rule, subject, hits: &hits };
            let budget = self.budget.min(left);
            let mut steps = Steps::new(budget);
            match asking.matches(&mut steps) {
                Ok(true) => verdict.matches.push(Match { rule, evidence: asking.evidence(&mut steps) }),
                Ok(false) => {}
                Err(_) => verdict.over_budget.push(rule),
            }
            left -= budget - steps.left();
        }
        verdict
    }

    /// The numbers of rules that may match, in order.
    fn worth_asking(&self, hits: &Hits) -> Vec<u32> {
        let mut numbers = self.always.clone();
        numbers.extend(hits.groups().flat_map(|group| &self.asked_by[group as usize]));
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Runs the tests that the files hold; what is not as they say..
    pub fn run_tests(&self) -> Vec<TestFailure<'_>> {
        let mut failures = Vec::new();
        for rule in &self.rules {
            for test in &rule.tests {
                let verdict = self.examine(&Subject::certificate(&test.certificate, &[]));
                let matches = verdict.matches.iter().any(|found| std::ptr::eq(found.rule, rule));
                if matches != test.matches {
                    failures.push(TestFailure { rule: &rule.id, test: &test.title, expected: test.matches });
                }
            }
        }
        failures
    }

    /// How many tests the files hold.
    pub fn test_count(&self) -> usize {
        self.rules.iter().map(|rule| rule.tests.len()).sum()
    }
}
