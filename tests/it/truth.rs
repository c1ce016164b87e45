//! A replay finds in a stream what its generator put there.

use ct_model::Table;

use crate::place::{Place, count};
use crate::rows::Reader;

/// Replays 3,000 messages of a server's stream, and compares summary and lake with the truth.
#[track_caller]
fn check(shape: &str, stream: &str) {
    let place = Place::new();
    let flags = format!("--messages 3000 --seed 11 --malformed 0.01 --shape {shape} --stream {stream}");
    let truth = place.generate("s.jsonl", &flags);
    let summary = place.replay("s.jsonl", "lake", "-c often.toml").ends(0).summary();

    for (name, want) in truth.totals.as_object().unwrap() {
        // Blank lines are no messages; a summary does not know them.
        if name != "blank" {
            assert_eq!(&summary[name], want, "{shape} {stream}: {name}");
        }
    }
    let parts = ["heartbeats", "other", "rejected", "redelivered", "entries", "names_only"];
    let sum: u64 = parts.iter().map(|part| count(&summary, part)).sum();
    assert_eq!(sum, count(&summary, "messages"), "{summary}");
    let by_reason = summary["rejected_by_reason"].as_object().unwrap();
    let sum: u64 = by_reason.values().map(|reason| reason.as_u64().unwrap()).sum();
    assert_eq!(sum, count(&summary, "rejected"), "{summary}");
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["lake_totals"]["messages"], summary["messages"]);

    let reader = Reader::open(&place.path("lake"));
    for table in Table::ALL {
        let rows = reader.rows(table, &[]).len() as u64;
        assert_eq!(rows, count(&summary, table.as_str()), "{shape} {stream}: rows of {}", table.as_str());
    }
    let rejected = reader.rows(Table::Rejected, &["feed", "segment", "offset", "reason", "detail", "seen", "raw"]);
    let line = |row: &String| row.rsplit_once(" line=").unwrap().1.parse().unwrap();
    let mut lines: Vec<i64> = rejected.iter().map(line).collect();
    lines.sort_unstable();
    assert_eq!(lines, truth.rejected_lines, "{shape} {stream}: rejected lines");
    place.verified("lake");
}

#[test]
fn go() {
    ["full", "lite", "domains"].iter().for_each(|stream| check("go", stream));
}
#[test]
fn rust() {
    ["full", "lite", "domains"].iter().for_each(|stream| check("rust", stream));
}
#[test]
fn elixir() {
    ["full", "lite", "domains"].iter().for_each(|stream| check("elixir", stream));
}
