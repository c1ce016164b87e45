//! A job that was stopped, however, goes on where it was and ends as if nothing had happened.

use std::path::Path;

use ct_sinks::manifest::Manifest;
use serde_json::Value;

use crate::place::{Job, Place, Truth, count, parent_of, send, until};
use crate::rows::{Reader, assert_same, rows_of};

/// How often a job may be done before the signal reaches it.
const TRIES: usize = 20;

/// A stream of about fifteen chunks, and the rows that an undisturbed job makes of it.
struct Quiet {
    place: Place,
    truth: Truth,
    rows: Vec<String>,
}

impl Quiet {
    fn new() -> Self {
        let place = Place::new();
        let truth = place.generate("s.jsonl", "--messages 10000 --seed 13 --malformed 0.01");
        let summary = place.replay("s.jsonl", "quiet", "-c often.toml").ends(0).summary();
        assert!(count(&summary, "manifests") > 3, "there is a middle to hit: {summary}");
        let rows = rows_of(&place.path("quiet"));
        Self { place, truth, rows }
    }

    /// Starts a job on a new lake and returns when its first manifest is there, with the lake's name.
    fn under_way(&self, attempt: usize, flags: &str) -> (Job, String) {
        let lake = format!("lake{attempt}");
        let first = self.place.path(&lake).join(Manifest::path(1));
        let mut job = self.place.start_replay("s.jsonl", &lake, &format!("-c often.toml {flags}"));
        until("the first manifest", || first.exists() || !job.is_running());
        (job, lake)
    }

    /// The same command goes on to the end of the input, and then nothing tells this lake from a quiet one.
    fn goes_on(&self, lake: &str, flags: &str) -> Value {
        assert!(!is_complete(&self.place.path(lake)));
        let summary = self.place.replay("s.jsonl", lake, &format!("-c often.toml {flags}")).ends(0).summary();
        assert_eq!(summary["complete"], true);
        for name in ["messages", "entries", "certificates", "rejected", "redelivered"] {
            assert_eq!(summary["lake_totals"][name], self.truth.totals[name], "{name}: {summary}");
        }
        self.is_quiet(lake);
        summary
    }

    fn is_quiet(&self, lake: &str) {
        assert_same(&rows_of(&self.place.path(lake)), &self.rows, lake);
        self.place.verified(lake);
    }
}

fn is_complete(lake: &Path) -> bool {
    Reader::open(lake).manifests().last().is_some_and(|newest| newest.resume.complete)
}

#[track_caller]
fn check_drain(signal: &str, flags: &str) {
    let quiet = Quiet::new();
    for attempt in 0..TRIES {
        let (job, lake) = quiet.under_way(attempt, flags);
        job.signal(signal);
        let drained = job.finish().ends(0).summary();
        if drained["complete"] == true {
            continue;
        }
        quiet.place.verified(&lake);
        let rest = quiet.goes_on(&lake, flags);
        let [first, second] = [&drained, &rest].map(|part| count(part, "messages"));
        assert_eq!(first + second, count(&quiet.truth.totals, "messages"), "nothing is read twice");
        return;
    }
    panic!("{TRIES} jobs were done before {signal} reached them");
}

#[track_caller]
fn check_killed(flags: &str, other_flags: &str) {
    let quiet = Quiet::new();
    for attempt in 0..TRIES {
        let (job, lake) = quiet.under_way(attempt, flags);
        let orphans = job.children();
        job.signal("KILL");
        let run = job.finish();
        until("orphans to end", || orphans.iter().all(|pid| parent_of(*pid).is_none()));
        if run.was_killed() && !is_complete(&quiet.place.path(&lake)) {
            quiet.goes_on(&lake, other_flags);
            return;
        }
    }
    panic!("{TRIES} jobs were done before SIGKILL reached them");
}

/// Kills the oldest or the newest worker process; the job is to bring itself back.
#[track_caller]
fn check_killed_worker(flags: &str, pick: impl Fn(&[u32]) -> Option<&u32>) {
    let quiet = Quiet::new();
    for attempt in 0..TRIES {
        let (job, lake) = quiet.under_way(attempt, flags);
        if let Some(worker) = pick(&job.children()) {
            send("KILL", &worker.to_string());
        }
        let summary = job.finish().ends(0).summary();
        assert_eq!(summary["complete"], true);
        quiet.is_quiet(&lake);
        if count(&summary, "restarts") > 0 {
            for name in ["messages", "entries", "certificates", "rejected"] {
                assert_eq!(summary[name], quiet.truth.totals[name], "{name}: {summary}");
            }
            return;
        }
    }
    panic!("{TRIES} jobs were done before a worker was killed");
}

#[test]
fn drained_by_sigterm() {
    check_drain("TERM", "-w 2");
}
#[test]
fn drained_by_sigint() {
    check_drain("INT", "");
}
#[test]
fn cluster_drained() {
    check_drain("TERM", "-n 2");
}
#[test]
fn killed() {
    check_killed("-w 2", "-w 2");
}
#[test]
fn killed_and_continued_by_a_cluster() {
    check_killed("", "-n 2");
}
#[test]
fn supervisor_killed() {
    check_killed("-n 2", "-n 2");
}
#[test]
fn first_worker_killed() {
    check_killed_worker("-n 2", <[u32]>::first);
}
#[test]
fn last_worker_killed() {
    check_killed_worker("-n 2", <[u32]>::last);
}
