//! `score`, `lint` and `rules test`: modules as tools on names, certificates and rule files, without a lake.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use ct_dataflows::modules::rules::{BUDGET_STEPS, RuleError, RuleSet};
use ct_dataflows::modules::{Modules, Subject};
use ct_dataflows::operators::decode::{self, Der};
use ct_model::message::{Body, Sighting};
use ct_model::name::{NameSource, Names, readings};
use ct_model::x509::Decoder;
use ct_model::{CertId, Finding, Severity, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::cli::{Format, LintArgs, RulesArgs, RulesCommand, RulesTestArgs, ScoreArgs, ScoreModule};
use crate::cluster::exit::Exit;
use crate::config::{Config, ModuleOptions};
use crate::fail::Failure;
use crate::summary::{self, printable};

/// A longer line is no name.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// A longer file is not read as certificates.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Printed at a time.
const OUT_BYTES: usize = 64 << 10;

/// Prints a score for each name: `name,score`, or what the module says of it.
pub fn score(args: &ScoreArgs) -> Result<Exit, Failure> {
    let config = Config::load(&args.common).map_err(Failure::usage)?;
    let (_, mut options) = config.modules().map_err(Failure::usage)?;
    let module = match args.module {
        ScoreModule::Phish => "phish",
        ScoreModule::Lookalike => "lookalike",
    };
    let given = options.entry(module.to_owned()).or_default();
    if args.module == ScoreModule::Phish {
        // Every name has a score; the threshold decides only what is reported.
        given.insert("threshold".to_owned(), 0.into());
    }
    if let Some(path) = &args.brands {
        if args.module != ScoreModule::Lookalike {
            return Err(Failure::usage(anyhow!("--brands is for lookalike")));
        }
        let text = fs::read_to_string(path).with_context(|| path.display().to_string()).map_err(Failure::usage)?;
        given.insert("list".to_owned(), text.into());
    }
    let modules = Modules::prepare(&[module.to_owned()], &options).map_err(Failure::usage)?;
    let mut out = String::new();
    if args.format == Format::Text {
        out.push_str("name,score\n");
    }
    let (mut names, mut found) = (Names::default(), Vec::new());
    each_line(&args.files, &mut |line| {
        readings(line.as_bytes(), NameSource::San, &mut names);
        let read = names.take();
        let subject = Subject { odd_names: &read.odd, ips: &read.ips, ..Subject::names_only(&read.names) };
        found.clear();
        modules.examine(&subject, &mut found);
        let best = found.iter().max_by(|a, b| a.score.unwrap_or(0.0).total_cmp(&b.score.unwrap_or(0.0)));
        let score = best.and_then(|finding| finding.score).unwrap_or(0.0);
        match args.format {
            Format::Text => writeln!(out, "{},{score:.4}", printable(line)).expect("memory takes all that is written"),
            Format::Json => {
                let detail = best.map_or(Value::Null, detail);
                out.push_str(&json!({ "name": line, "score": score, "detail": detail }).to_string());
                out.push('\n');
            }
        }
        flush(&mut out, OUT_BYTES)
    })?;
    flush(&mut out, 0)?;
    Ok(Exit::Done)
}

/// Judges certificates; one with a finding of medium severity or more ends with exit code 1.
pub fn lint(args: &LintArgs) -> Result<Exit, Failure> {
    let config = Config::load(&args.common).map_err(Failure::usage)?;
    let (_, options) = config.modules().map_err(Failure::usage)?;
    let selected = args.modules.clone().unwrap_or_else(|| vec!["policy".to_owned()]);
    let modules = Modules::prepare(&selected, &options).map_err(Failure::usage)?;
    let at = args.at.as_deref().map(|text| {
        let bad = || Failure::usage(anyhow!("--at {text}: a time such as 2026-11-23T00:00:00Z"));
        Timestamp::from_rfc3339(text).ok_or_else(bad)
    });
    let at = at.transpose()?;
    let (mut decoder, mut out, mut found, mut worst) = (Decoder::default(), String::new(), Vec::new(), None);
    each_certificate(&args.files, &mut |place, der| {
        found.clear();
        examine(&modules, &mut decoder, der, at, &mut found);
        worst = worst.max(found.iter().map(|finding| finding.severity).max());
        match args.format {
            Format::Text if found.is_empty() => writeln!(out, "{place}: nothing found"),
            Format::Text => found.iter().try_for_each(|finding| {
                let (module, check, severity) = (&finding.module, &finding.check, finding.severity.as_str());
                let what = printable(&finding.detail);
                writeln!(out, "{place}: {severity} {module} {check} {what}")
            }),
            Format::Json => {
                let sha256 = ct_model::id::to_hex(&Sha256::digest(der));
                let list: Vec<Value> = found.iter().map(row).collect();
                writeln!(out, "{}", json!({ "place": place, "sha256": sha256, "findings": list }))
            }
        }
        .expect("memory takes all that is written");
        flush(&mut out, OUT_BYTES)
    })?;
    flush(&mut out, 0)?;
    Ok(if worst >= Some(Severity::Medium) { Exit::Failed } else { Exit::Done })
}

/// What the modules find on one certificate.
fn examine(modules: &Modules, decoder: &mut Decoder, der: &[u8], at: Option<Timestamp>, out: &mut Vec<Finding>) {
    let sighting = Sighting {
        id: CertId::der(Sha256::digest(der).into()),
        log: None,
        index: None,
        kind: None,
        seen: at,
        submitted: None,
        wrong_claim: false,
        tbs_sha256: None,
        body: Body::Der(der.to_vec()),
    };
    let subject = decode::subject(decoder, sighting, &Arc::from("lint"), Der::Examine);
    let seen = Subject::certificate(&subject.record, &subject.odd_names);
    modules.examine(&Subject { der: subject.der.as_deref(), ..seen }, out);
}

fn row(finding: &Finding) -> Value {
    json!({
        "module": finding.module, "check": finding.check, "severity": finding.severity.as_str(),
        "score": finding.score, "name": finding.name, "detail": detail(finding),
    })
}

fn detail(finding: &Finding) -> Value {
    serde_json::from_str(&finding.detail).unwrap_or_default()
}

pub fn rules(args: &RulesArgs) -> Result<Exit, Failure> {
    match &args.command {
        RulesCommand::Test(args) => rules_test(args),
    }
}

/// Reads rule files and runs the tests in them; with an input, prints which rules match, or compares that.
fn rules_test(args: &RulesTestArgs) -> Result<Exit, Failure> {
    let files = Value::from(args.files.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>());
    let named = Map::from_iter([("rules_file".to_owned(), files)]);
    let mut config = Config::default();
    config.modules.options = ModuleOptions::from([("rules".to_owned(), named)]);
    let (_, options) = config.modules().map_err(Failure::usage)?;
    let rules = rule_set(&options).map_err(Failure::usage)?;
    let mut out = String::new();
    for warning in rules.warnings() {
        out += &format!("warning: {}\n", printable(warning));
    }
    let failures = rules.run_tests();
    for failure in &failures {
        let (expected, instead) = if failure.expected { ("a match", "none") } else { ("no match", "one") };
        let (rule, test) = (printable(failure.rule), printable(failure.test));
        out += &format!("rule {rule}, test {test}: expected {expected}, found {instead}\n");
    }
    let (count, tests) = (rules.rules().len(), rules.test_count());
    out += &format!("{count} rules, {tests} tests, {} failed\n", failures.len());
    let mut failed = !failures.is_empty();
    if let Some(input) = &args.input {
        let told = matches(&options, input)?;
        match &args.expect {
            None => out += &told,
            Some(path) => {
                let want = fs::read_to_string(path).with_context(|| path.display().to_string())?;
                let differences = differences(&told, &want);
                failed |= !differences.is_empty();
                out += &differences;
            }
        }
    }
    summary::print(&out).context("writing the report")?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// The rules of the files that the options name.
pub(super) fn rule_set(options: &ModuleOptions) -> Result<RuleSet, RuleError> {
    let files = options.get("rules").and_then(|options| options.get("rules")?.as_array());
    let files = files.map(Vec::as_slice).unwrap_or_default();
    let named = files.iter().filter_map(|file| Some((file.get("file")?.as_str()?, file.get("text")?.as_str()?)));
    RuleSet::parse_all(named, BUDGET_STEPS)
}

/// A line for each name or certificate of a file: the name or fingerprint, and the rules that match.
fn matches(options: &BTreeMap<String, Map<String, Value>>, input: &Path) -> Result<String> {
    let modules = Modules::prepare(&["rules".to_owned()], options)?;
    let files = [input.to_owned()];
    let (mut out, mut found) = (String::new(), Vec::new());
    let mut tell = |of: &str, found: &[Finding]| {
        let rules: Vec<&str> = found.iter().map(|finding| &*finding.check).collect();
        out += &format!("{} {}\n", printable(of), if rules.is_empty() { "-".to_owned() } else { rules.join(",") });
    };
    if is_certificates(input)? {
        let mut decoder = Decoder::default();
        each_certificate(&files, &mut |_, der| {
            found.clear();
            examine(&modules, &mut decoder, der, None, &mut found);
            tell(&ct_model::id::to_hex(&Sha256::digest(der)), &found);
            Ok(())
        })?;
    } else {
        let mut names = Names::default();
        each_line(&files, &mut |line| {
            readings(line.as_bytes(), NameSource::San, &mut names);
            let read = names.take();
            found.clear();
            modules.examine(&Subject { odd_names: &read.odd, ..Subject::names_only(&read.names) }, &mut found);
            tell(line, &found);
            Ok(())
        })?;
    }
    Ok(out)
}

/// Lines of one that are not at the same place in the other.
fn differences(is: &str, want: &str) -> String {
    let (is, want): (Vec<&str>, Vec<&str>) = (is.lines().collect(), want.lines().collect());
    let mut out = String::new();
    for at in 0..is.len().max(want.len()) {
        let (is, want) = (is.get(at), want.get(at));
        if is != want {
            let shown = |line: Option<&&str>| line.map_or_else(|| "nothing".to_owned(), |line| printable(line));
            out += &format!("line {}: {} instead of {}\n", at + 1, shown(is), shown(want));
        }
    }
    out
}

/// Each line of the files, or of stdin when there are none, without white space around it; blank ones are left out.
fn each_line(files: &[PathBuf], each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let mut read = |place: &str, input: &mut dyn BufRead| -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = Read::take(&mut *input, LINE_BYTES_MAX);
            if limited.read_until(b'\n', &mut line).with_context(|| place.to_owned())? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() {
                each(text.trim())?;
            }
        }
    };
    if files.is_empty() {
        return read("standard input", &mut std::io::stdin().lock());
    }
    for path in files {
        let place = path.display().to_string();
        let file = fs::File::open(path).with_context(|| place.clone())?;
        read(&place, &mut BufReader::new(file))?;
    }
    Ok(())
}

/// Each certificate of the files, or of stdin when there are none, with the words for its place.
fn each_certificate(files: &[PathBuf], each: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    let mut read = |place: &str, bytes: &[u8]| -> Result<()> {
        let pem: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().unwrap_or_default();
        match pem.as_slice() {
            // What is no PEM is one certificate, whatever it is: that it cannot be read is a finding.
            [] => each(&printable(place), bytes),
            [one] => each(&printable(place), one),
            all => (1..).zip(all).try_for_each(|(at, der)| each(&format!("{} #{at}", printable(place)), der)),
        }
    };
    if files.is_empty() {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes).context("standard input")?;
        return read("standard input", &bytes);
    }
    for path in files {
        let place = path.display().to_string();
        let mut bytes = Vec::new();
        let file = fs::File::open(path).with_context(|| place.clone())?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).with_context(|| place.clone())?;
        read(&place, &bytes)?;
    }
    Ok(())
}

/// Whether a file begins as PEM or DER.
fn is_certificates(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    file.take(64 << 10).read_to_end(&mut head).with_context(|| path.display().to_string())?;
    Ok(head.starts_with(&[0x30, 0x82]) || head.windows(11).any(|window| window == b"-----BEGIN "))
}

/// Prints what has gathered once it is more than `least` bytes.
fn flush(out: &mut String, least: usize) -> Result<()> {
    if out.len() > least {
        summary::print(out).context("writing the report")?;
        out.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_their_lines() {
        assert_eq!(differences("a -\nb r1\n", "a -\nb r1\n"), "");
        let told = differences("a -\nb r1\n", "a r2\nb r1\nc -\n");
        assert_eq!(told, "line 1: a - instead of a r2\nline 3: nothing instead of c -\n");
    }
}
