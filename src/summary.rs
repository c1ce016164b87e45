//! The account of a job, for people and for programs.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::time::Duration;

use ct_model::Counts;
use serde_json::{Value, json};

/// What a job did. The counts are those of its manifests, so they hold whatever happened on the way.
#[derive(Default)]
pub struct Account {
    pub counts: Counts,
    pub elapsed: Duration,
    pub lake: String,
    /// Manifests and data files this job published.
    pub manifests: u64,
    pub files: u64,
    pub file_bytes: u64,
    /// Everything in the lake now.
    pub totals: Counts,
    /// The input was read to its end; otherwise the same command goes on from here.
    pub complete: bool,
    /// Segments that could not be read to their end, and why.
    pub unreadable: Vec<(String, String)>,
    pub restarts: u64,
    /// Keys in the dedup state and the memory they take.
    pub known_keys: u64,
    pub known_bytes: u64,
    /// What hot state says of itself, where there is one.
    pub hot: Option<String>,
}

impl Account {
    fn messages_per_second(&self) -> f64 {
        self.counts.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// One JSON object; keys are only ever added.
    pub fn json(&self) -> Value {
        let mut object = match serde_json::to_value(&self.counts) {
            Ok(Value::Object(counts)) => counts,
            _ => unreachable!("counts are a struct of numbers and maps"),
        };
        let unreadable: serde_json::Map<String, Value> =
            self.unreadable.iter().map(|(name, why)| (name.clone(), why.clone().into())).collect();
        let rest = json!({
            "seconds": self.elapsed.as_secs_f64(),
            "messages_per_second": self.messages_per_second(),
            "complete": self.complete,
            "unreadable_segments": unreadable,
            "lake": self.lake,
            "lake_totals": self.totals,
            "manifests": self.manifests,
            "files": self.files,
            "file_bytes": self.file_bytes,
            "restarts": self.restarts,
            "dedup_keys": self.known_keys,
            "dedup_bytes": self.known_bytes,
            "hot": self.hot,
        });
        if let Value::Object(rest) = rest {
            object.extend(rest);
        }
        Value::Object(object)
    }

    pub fn text(&self) -> String {
        let counts = &self.counts;
        let mut out = String::new();
        let line = |out: &mut String, label: &str, value: u64, note: &str| {
            let note = if note.is_empty() { String::new() } else { format!("  {note}") };
            // Writing to a text cannot fail.
            let _ = writeln!(out, "  {label:<15}{:>13}{note}", grouped(value));
        };
        let heading = if self.complete { "Done" } else { "Stopped before the end; the same command goes on from here" };
        let _ = writeln!(
            out,
            "{heading}: {} messages ({}) in {}, {} messages/s",
            grouped(counts.messages),
            bytes(counts.bytes),
            duration(self.elapsed),
            grouped(self.messages_per_second() as u64),
        );
        let _ = writeln!(out, "\nWhat the messages were");
        line(
            &mut out,
            "entries",
            counts.entries,
            &format!("new log entries, {} of certificates already known", grouped(counts.known)),
        );
        line(&mut out, "redelivered", counts.redelivered, "entries the lake already had");
        for (label, value, note) in [
            ("names only", counts.names_only, format!("with {} names", grouped(counts.names))),
            ("heartbeats", counts.heartbeats, String::new()),
            ("other", counts.other, "of a type this version does not know".to_owned()),
            ("rejected", counts.rejected, reasons(counts)),
        ] {
            if value > 0 {
                line(&mut out, label, value, &note);
            }
        }
        let _ = writeln!(out, "\nWhat is new in the lake");
        line(&mut out, "certificates", counts.certificates, &parse_note(counts));
        line(&mut out, "findings", counts.findings, &by_count(&counts.findings_by_module));
        for (label, value, note) in [
            ("conflicts", counts.conflicts, "entries at an index where another certificate stands"),
            ("wrong claims", counts.wrong_claims, "fingerprints that are not those of their certificates"),
        ] {
            if value > 0 {
                line(&mut out, label, value, note);
            }
        }
        if self.restarts > 0 {
            let _ = writeln!(out, "\nThe cluster was restarted {} times.", self.restarts);
        }
        for (name, why) in &self.unreadable {
            let _ = writeln!(out, "\nNot read to its end: {}: {}", printable(name), printable(why));
        }
        let _ = writeln!(
            out,
            "\nLake {}: {} certificates, {} entries; {} files of {} from this job",
            printable(&self.lake),
            grouped(self.totals.certificates),
            grouped(self.totals.entries),
            grouped(self.files),
            bytes(self.file_bytes),
        );
        if let Some(hot) = &self.hot {
            let _ = writeln!(out, "Hot state {hot}");
        }
        out
    }
}

fn parse_note(counts: &Counts) -> String {
    match (counts.parse_partial, counts.parse_failed) {
        (0, 0) => String::new(),
        (partial, failed) => format!("{} read in part, {} not at all", grouped(partial), grouped(failed)),
    }
}

fn reasons(counts: &Counts) -> String {
    by_count(&counts.rejected_by_reason)
}

/// `json 7, utf8 2`, largest first.
fn by_count(counts: &std::collections::BTreeMap<String, u64>) -> String {
    let mut items: Vec<_> = counts.iter().collect();
    items.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    items.iter().map(|(name, count)| format!("{name} {}", grouped(**count))).collect::<Vec<_>>().join(", ")
}

/// Text in which what could steer a terminal is written as escapes: control characters and changes of direction.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_control() => out.extend(c.escape_default()),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            _ => out.push(c),
        }
    }
    out
}

/// Writes to standard output. Whoever closes it has seen enough, which is no error.
pub fn print(text: &str) -> io::Result<()> {
    unless_closed(io::stdout().write_all(text.as_bytes()))
}

fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// 1234567 as `1,234,567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the largest decimal unit that leaves at least 1.
pub fn bytes(value: u64) -> String {
    let mut amount = value as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if amount < 1_000.0 {
            return if unit == "B" { format!("{value} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1_000.0;
    }
    format!("{amount:.2} TB")
}

pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_quiet() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert!(unless_closed(writer.write_all(b"text")).is_ok());
        assert!(unless_closed(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_733_229_105), "1.7 GB");
        assert_eq!(duration(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(duration(Duration::from_secs(3_725)), "1 h 02 min");
    }
}
