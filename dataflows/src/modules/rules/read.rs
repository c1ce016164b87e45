//! Reads rule files.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ct_model::Severity;
use ct_model::id::{from_hex, to_hex};
use toml::Table as Toml;

use super::cel;
use super::compile::{Compiler, Target};
use super::condition::Condition;
use super::error::{Mistake, RuleError, shown};
use super::index::{Extent, IndexBuilder, Place, Use};
use super::limits::{
    CEL_BYTES_MAX, FILE_BYTES_MAX, ID_BYTES_MAX, KEYWORD_BYTES_MAX, PROSE_BYTES_MAX, PROSE_LIST_MAX, REGEX_BYTES_MAX,
    REGEXES_MAX, RULES_MAX, SELECTIONS_MAX, TABLES_MAX, TESTS_MAX, TEXT_BYTES_MAX, VALUES_MAX,
};
use super::pattern::regex;
use super::rule::{Allow, Group, Range, Rule, Selection, Table, When};
use super::test_case::TestCase;
use super::text::{FlagField, NumberField, TextField};
use super::toml_table::Reader;

const RULE_KEYS: [&str; 11] = [
    "id",
    "title",
    "status",
    "level",
    "description",
    "tags",
    "references",
    "false_positives",
    "detection",
    "allow",
    "test",
];
const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];
/// Keys of `detection` that name no selection.
const CONDITION: &str = "condition";
const CONDITION_CEL: &str = "condition_cel";
/// What findings of the module itself are called.
const RESERVED_IDS: [&str; 2] = [super::BUDGET_CHECK, "module-error"];

/// The rules of several files, compiled together.
#[derive(Default)]
pub(super) struct RuleReader {
    pub(super) compiler: Compiler,
    pub(super) rules: Vec<Rule>,
    pub(super) warnings: Vec<String>,
    ids: BTreeSet<Box<str>>,
    /// Steps that a rule may take.
    budget: u64,
}

impl RuleReader {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, ..Self::default() }
    }

    pub(super) fn add_file(&mut self, file: &str, text: &str) -> Result<(), RuleError> {
        let at = |rule: Option<String>, mistake: Mistake| RuleError {
            file: file.to_owned(),
            rule,
            key: mistake.key,
            why: mistake.why,
        };
        if text.len() > FILE_BYTES_MAX {
            let why = format!("{} bytes; {FILE_BYTES_MAX} at most: use several files", text.len());
            return Err(at(None, Mistake::new("", why)));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table: Toml = text.parse().map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            at(None, Mistake::new(format!("line {line}"), error.message().lines().next().unwrap_or_default()))
        })?;
        let reader = Reader::new("", &table);
        reader.check_keys(&["rule"]).map_err(|mistake| at(None, mistake))?;
        if table.is_empty() {
            return Err(at(None, Mistake::new("", "no rule: each is a table [[rule]]")));
        }
        for (number, rule) in reader.tables("rule", RULES_MAX).map_err(|mistake| at(None, mistake))?.iter().enumerate()
        {
            let id = rule.get("id").and_then(toml::Value::as_str).map(shown);
            let name = id.unwrap_or_else(|| format!("#{}", number + 1));
            let rule = Reader::new("", rule.table_itself());
            self.add_rule(file, &rule).map_err(|mistake| at(Some(name), mistake))?;
        }
        Ok(())
    }

    fn add_rule(&mut self, file: &str, reader: &Reader<'_>) -> Result<(), Mistake> {
        reader.check_keys(&RULE_KEYS)?;
        if self.rules.len() == RULES_MAX {
            return Err(Mistake::new("", format!("more than {RULES_MAX} rules")));
        }
        let id = id(reader)?;
        if !self.ids.insert(id.into()) {
            return Err(Mistake::new("id", "another rule has this id"));
        }
        let detection = reader.table("detection")?.ok_or_else(|| missing("detection"))?;
        let selections = self.selections(&detection)?;
        let names: Vec<&str> = selections.iter().map(|selection| &*selection.name).collect();
        let conditions = (detection.text(CONDITION, PROSE_BYTES_MAX)?, detection.text(CONDITION_CEL, CEL_BYTES_MAX)?);
        let mut literals = Vec::new();
        let (when, gate) = match conditions {
            (Some(text), None) => {
                let condition = Condition::parse(text, &names)?;
                let gate = self.compiler.condition_gate(&condition, &selections);
                (When::Condition(condition), gate)
            }
            (None, Some(text)) => {
                let program = self.expression(text, &names)?;
                let gate = self.compiler.expression_gate(program.root.needs(), &selections, &mut literals);
                (When::Cel(program), gate)
            }
            (Some(_), Some(_)) => {
                let why = format!("`{CONDITION}` is given too; leave one of them out");
                return Err(Mistake::new(detection.key(CONDITION_CEL), why));
            }
            (None, None) => return Err(missing(&detection.key(CONDITION))),
        };
        let gate = gate.into_groups();
        if gate.is_none() && matches!(when, When::Cel(_)) {
            self.warnings.push(format!(
                "{file}: rule {id}: detection.{CONDITION_CEL}: nothing in it tells which certificates it is about, so it \
                 is evaluated for every one; require a selection (sel.NAME && …) or a literal in a name"
            ));
        }
        let text = |name| reader.text(name, PROSE_BYTES_MAX).map(|text| text.map(Box::from));
        let title = text("title")?.ok_or_else(|| missing("title"))?;
        let rule = Rule {
            id: id.into(),
            title,
            severity: severity(reader)?,
            status: one_of(reader, "status", &STATUSES)?.map(Box::from),
            description: text("description")?,
            tags: prose(reader, "tags")?,
            false_positives: prose(reader, "false_positives")?,
            references: prose(reader, "references")?,
            file: file.into(),
            selections,
            when,
            allow: self.allow(reader)?,
            gate,
            literals,
            tests: reader.tables("test", TESTS_MAX)?.iter().map(TestCase::read).collect::<Result<_, _>>()?,
        };
        if self.compiler.values > VALUES_MAX {
            return Err(Mistake::new("", format!("with this rule there are more than {VALUES_MAX} values in all")));
        }
        if self.compiler.regexes > REGEXES_MAX {
            return Err(Mistake::new(
                "",
                format!("with this rule there are more than {REGEXES_MAX} expressions in all"),
            ));
        }
        self.rules.push(rule);
        Ok(())
    }

    fn expression(&self, text: &str, selections: &[&str]) -> Result<cel::Program, Mistake> {
        let wrong = |why| Mistake::new(format!("detection.{CONDITION_CEL}"), why);
        let program = cel::parse(text, selections).map_err(wrong)?;
        if program.steps_max > self.budget {
            return Err(wrong(format!(
                "may take {} steps on a certificate of {} names, and the budget is {}; go through names once, or put \
                 values into a selection",
                program.steps_max,
                cel::LARGE_NAMES,
                self.budget
            )));
        }
        Ok(program)
    }

    fn selections(&mut self, detection: &Reader<'_>) -> Result<Vec<Selection>, Mistake> {
        let names = detection.names().filter(|name| ![CONDITION, CONDITION_CEL].contains(name));
        let mut selections = Vec::new();
        for name in names {
            let key = detection.key(name);
            if selections.len() == SELECTIONS_MAX {
                return Err(Mistake::new(key, format!("more than {SELECTIONS_MAX} selections")));
            }
            let is_word =
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.len() <= ID_BYTES_MAX;
            if !is_word || name.is_empty() || ["and", "or", "not", "of", "all", "any", "them", "in"].contains(&name) {
                let why = format!(
                    "a selection's name has 1 to {ID_BYTES_MAX} letters, digits and _, and is no word of conditions"
                );
                return Err(Mistake::new(key, why));
            }
            let tables = detection.tables(name, TABLES_MAX)?;
            let tables = tables.iter().map(|table| self.table(table)).collect::<Result<_, _>>()?;
            selections.push(Selection { name: name.into(), tables });
        }
        Ok(selections)
    }

    fn table(&mut self, reader: &Reader<'_>) -> Result<Table, Mistake> {
        let keys = list_keys();
        let numbers =
            NumberField::ALL.map(|field| (field, format!("{}_min", field.word()), format!("{}_max", field.word())));
        let mut known: Vec<&str> = keys.iter().map(|key| &*key.name).collect();
        known.extend(numbers.iter().flat_map(|(_, min, max)| [min.as_str(), max.as_str()]));
        known.extend(FlagField::ALL.map(FlagField::word));
        reader.check_keys(&known)?;
        let mut table = Table::default();
        for key in &keys {
            if let Some(group) = self.group(reader, key)? {
                if key.target.is_name() { table.names.push(group) } else { table.certificates.push(group) }
            }
        }
        for (field, min_key, max_key) in &numbers {
            let (min, max) = (reader.number(min_key)?, reader.number(max_key)?);
            if min.is_some() || max.is_some() {
                let (min, max) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
                if min > max {
                    return Err(Mistake::new(reader.key(min_key), format!("{min} is more than {max_key}, {max}")));
                }
                table.ranges.push(Range { field: *field, min, max });
            }
        }
        for field in FlagField::ALL {
            table.flags.extend(reader.bool(field.word())?.map(|wanted| (field, wanted)));
        }
        if table.names.is_empty() && table.certificates.is_empty() && table.ranges.is_empty() && table.flags.is_empty()
        {
            return Err(Mistake::new(reader.place(), format!("it selects nothing; keys are: {}", known.join(", "))));
        }
        Ok(table)
    }

    fn allow(&mut self, reader: &Reader<'_>) -> Result<Allow, Mistake> {
        let mut allow = Allow::default();
        let Some(reader) = reader.table("allow")? else { return Ok(allow) };
        let keys = list_keys();
        // Any value is enough, so that "all of them" would mean nothing.
        let keys: Vec<_> = keys.iter().filter(|key| !key.all).collect();
        reader.check_keys(&keys.iter().map(|key| &*key.name).collect::<Vec<_>>())?;
        for key in keys {
            if let Some(group) = self.group(&reader, key)? {
                if key.target.is_name() { allow.names.push(group) } else { allow.certificates.push(group) }
            }
        }
        Ok(allow)
    }

    fn group(&mut self, reader: &Reader<'_>, key: &ListKey) -> Result<Option<Group>, Mistake> {
        let Some(texts) = reader.texts(&key.name, VALUES_MAX, key.bytes_max())? else { return Ok(None) };
        let place = reader.key(&key.name);
        let value = |(number, text): (usize, &&str)| {
            value_of(key.target, text).map_err(|why| Mistake::new(format!("{place}[{number}]"), why))
        };
        let values = texts.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
        let target = key.target;
        Ok(Some(
            self.compiler.group(&key.name, target, values, key.all, |index, text, used| put(index, target, text, used)),
        ))
    }
}

/// A key of selections and allow-lists whose value is a list.
struct ListKey {
    name: String,
    target: Target,
    all: bool,
}

impl ListKey {
    const fn bytes_max(&self) -> usize {
        match self.target {
            Target::Literal(_) => KEYWORD_BYTES_MAX,
            Target::Regex => REGEX_BYTES_MAX,
            Target::Name | Target::Suffix | Target::Text(..) | Target::Network | Target::Key => TEXT_BYTES_MAX,
        }
    }
}

/// In the order in which a mistake lists them.
fn list_keys() -> Vec<ListKey> {
    let names = [
        ("name", Target::Name, false),
        ("suffix", Target::Suffix, false),
        ("keyword", Target::Literal(Place::ANYWHERE), false),
        ("keyword_all", Target::Literal(Place::ANYWHERE), true),
        ("keyword_in_label", Target::Literal(Place::IN_LABEL), false),
        ("word", Target::Literal(Place::WORD), false),
        ("label", Target::Literal(Place::LABEL), false),
        ("regex", Target::Regex, false),
        ("regex_all", Target::Regex, true),
        ("ip", Target::Network, false),
        ("spki_sha256", Target::Key, false),
    ];
    let names = names.into_iter().map(|(name, target, all)| ListKey { name: name.to_owned(), target, all });
    let texts = TextField::ALL.into_iter().flat_map(|field| {
        [("", Extent::Whole), ("_contains", Extent::Part)].map(|(end, extent)| ListKey {
            name: format!("{}{end}", field.word()),
            target: Target::Text(field, extent),
            all: false,
        })
    });
    names.chain(texts).collect()
}

/// A value in the form in which it is looked for. The error is what is wrong and the way out.
fn value_of(target: Target, text: &str) -> Result<Box<str>, String> {
    match target {
        Target::Name => domain(text),
        Target::Suffix => domain(text.trim_start_matches("*.").trim_start_matches('.')),
        Target::Literal(place) => {
            let lower = text.to_lowercase();
            if lower.len() > KEYWORD_BYTES_MAX {
                return Err(format!("{:?} has more than {KEYWORD_BYTES_MAX} bytes in lower case", shown(text)));
            }
            match place != Place::ANYWHERE && lower.contains('.') {
                true => Err(format!("{:?}: a dot is in no label; use `keyword`", shown(text))),
                false => Ok(lower.into()),
            }
        }
        Target::Regex => regex(text).map(|_| text.into()),
        Target::Text(TextField::Kind, _) if !["precert", "final"].contains(&text) => {
            Err(format!("{:?} is not allowed (precert, final)", shown(text)))
        }
        Target::Text(..) => Ok(text.into()),
        Target::Network => {
            let (address, prefix) = network(text).ok_or_else(|| {
                format!(
                    "{:?}: a network is an address, or an address and how many bits of it count: 192.0.2.0/24",
                    shown(text)
                )
            })?;
            Ok(format!("{address}/{prefix}").into())
        }
        Target::Key => {
            let mut digest = [0; 32];
            from_hex(text, &mut digest)
                .ok_or_else(|| format!("{:?}: a SHA-256 has 64 hexadecimal digits", shown(text)))?;
            Ok(to_hex(&digest).into())
        }
    }
}

/// Brings a value that [`value_of`] read into the index.
fn put(index: &mut IndexBuilder, target: Target, text: &str, used: Use) {
    match target {
        Target::Name => index.name(text, used),
        Target::Suffix => index.suffix(text, used),
        Target::Literal(place) => index.literal(text, place, used),
        Target::Regex => index.regex(text, used),
        Target::Text(field, extent) => index.text(text, field, extent, used),
        Target::Network => {
            let (address, prefix) = network(text).expect("it was read before");
            index.network(address, prefix, used);
        }
        Target::Key => {
            let mut digest = [0; 32];
            from_hex(text, &mut digest).expect("it was read before");
            index.key(digest, used);
        }
    }
}

/// A domain as certificates have it: lower case, A-labels, no dot at the end.
fn domain(text: &str) -> Result<Box<str>, String> {
    let lower = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).map_err(|_| format!("{:?} has no ASCII form (IDNA)", shown(text)))?,
    };
    let domain = lower.trim_end_matches('.');
    match domain.split('.').any(str::is_empty) || domain.contains(char::is_whitespace) {
        true => Err(format!("{:?} is no domain; one is written example.com", shown(text))),
        false => Ok(domain.into()),
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
    (prefix <= bits).then_some((address, prefix))
}

fn id<'t>(reader: &Reader<'t>) -> Result<&'t str, Mistake> {
    let id = reader.text("id", ID_BYTES_MAX)?.ok_or_else(|| missing("id"))?;
    if !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)) {
        return Err(Mistake::new("id", "an id has lower-case letters, digits and - _ ."));
    }
    match RESERVED_IDS.contains(&id) {
        true => {
            Err(Mistake::new("id", format!("{id:?} is what the module's own findings are called; take another id")))
        }
        false => Ok(id),
    }
}

fn severity(reader: &Reader<'_>) -> Result<Severity, Mistake> {
    const LEVELS: [(&str, Severity); 6] = [
        ("informational", Severity::Info),
        ("info", Severity::Info),
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];
    let level = one_of(reader, "level", &LEVELS.map(|(word, _)| word))?.ok_or_else(|| missing("level"))?;
    Ok(LEVELS.iter().find(|(word, _)| *word == level).map_or(Severity::Info, |(_, severity)| *severity))
}

fn one_of<'t>(reader: &Reader<'t>, name: &str, words: &[&str]) -> Result<Option<&'t str>, Mistake> {
    let Some(word) = reader.text(name, PROSE_BYTES_MAX)? else { return Ok(None) };
    match words.contains(&word) {
        true => Ok(Some(word)),
        false => Err(Mistake::new(name, format!("{:?} is not allowed ({})", shown(word), words.join(", ")))),
    }
}

fn prose(reader: &Reader<'_>, name: &str) -> Result<Vec<Box<str>>, Mistake> {
    let texts = reader.texts(name, PROSE_LIST_MAX, PROSE_BYTES_MAX)?.unwrap_or_default();
    Ok(texts.into_iter().map(Box::from).collect())
}

pub(super) fn missing(key: &str) -> Mistake {
    Mistake::new(key, "is missing")
}
