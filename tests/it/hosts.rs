//! Two processes that are started by hand meet over TCP, as on two hosts.

use std::net::TcpListener;

use ct_sinks::manifest::Manifest;

use crate::place::{Job, Place, count, until};
use crate::rows::{assert_same, rows_of};

const SECRET: &[u8] = b"sixteen bytes and a few";

/// A stream, a hostfile with two free ports of this host, and the files `secret` and `wrong`.
fn hosts() -> Place {
    let place = Place::new();
    place.generate("s.jsonl", "--messages 4000 --seed 14 --malformed 0.01");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let lines = listeners.map(|listener| format!("{}\n", listener.local_addr().unwrap()));
    place.write("hosts", format!("# two of one cluster\n{}", lines.concat()));
    place.write("secret", SECRET);
    place.write("wrong", b"another secret of that length");
    place
}

/// Starts process `index` of two on the lake `cluster`.
fn start(place: &Place, index: usize, more: &str) -> Job {
    let flags = format!("-n 2 -p {index} --hostfile hosts -c often.toml {more}");
    let quiet = "--progress none --summary json --log-level warn --hot none";
    place.start(&format!("replay s.jsonl --lake cluster {quiet} {flags}"))
}

#[test]
fn same_rows_as_one_process() {
    let place = hosts();
    place.replay("s.jsonl", "one", "-c often.toml").ends(0);
    let [first, second] = [0, 1].map(|index| start(&place, index, "-w 2 --cluster-secret-file secret"));
    let (first, second) = (first.finish().ends(0), second.finish().ends(0));
    assert_eq!(count(&first.summary(), "messages"), 4000);
    assert_eq!((second.out.as_str(), second.err.as_str()), ("", ""), "the first process speaks for both");
    assert_same(&rows_of(&place.path("cluster")), &rows_of(&place.path("one")), "two processes by hand");
    place.verified("cluster");
}

#[test]
fn secret_file_in_the_configuration() {
    let place = hosts();
    place.write("cluster.toml", "[cluster]\nprocesses = 2\nsecret_file = \"secret\"\n");
    let by_file = "replay s.jsonl --lake cluster --hot none --summary json --log-level warn -c cluster.toml";
    let jobs = [0, 1].map(|index| place.start(&format!("{by_file} -p {index} --hostfile hosts")));
    for job in jobs {
        job.finish().ends(0);
    }
    place.verified("cluster");
}

#[test]
fn wrong_secret() {
    let place = hosts();
    let honest = start(&place, 0, "--cluster-secret-file secret");
    let stranger = start(&place, 1, "--cluster-secret-file wrong");
    until("a word about the secret", || honest.said().contains("does not know the secret"));
    // They would go on trying: the other side's operator may be about to correct it.
    for job in [honest, stranger] {
        job.signal("KILL");
        assert_eq!(job.finish().out, "");
    }
    assert!(!place.path("cluster").join(Manifest::path(1)).exists(), "nobody wrote anything");
}

/// Two processes whose jobs differ end at once, with a line that says in what.
#[test]
fn different_jobs() {
    let place = hosts();
    let secret = "--cluster-secret-file secret";
    let jobs = [start(&place, 0, &format!("{secret} -w 2")), start(&place, 1, &format!("{secret} -w 1"))];
    let runs = jobs.map(Job::finish);
    for run in runs {
        assert_eq!(run.out, "");
        let run = run.ends(1);
        let line = run.err.lines().last().unwrap_or_default();
        assert!(line.starts_with("ct-stream: ") && line.contains("-w"), "{run:?}");
    }
    assert!(!place.path("cluster").join(Manifest::path(1)).exists(), "nobody wrote anything");
}
