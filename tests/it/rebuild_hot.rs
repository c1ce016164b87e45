//! Hot state that was lost is built from the lake, by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::place::{Place, until};
use crate::rows::Reader;

/// A server of the test's own; `None` where there is no redis-server.
struct Redis {
    child: Child,
    socket: PathBuf,
}

impl Redis {
    fn start(place: &Place) -> Option<Self> {
        let socket = place.path("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"])
            .current_dir(place.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => {
                let server = Self { child, socket };
                until("redis-server", || UnixStream::connect(&server.socket).is_ok());
                Some(server)
            }
            Err(error) => {
                let is_required = std::env::var_os("CT_STREAM_REQUIRE_REDIS").is_some_and(|value| value == "1");
                assert!(!is_required, "CT_STREAM_REQUIRE_REDIS=1 but redis-server does not start: {error}");
                None
            }
        }
    }

    fn run(&self, command: &str) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.starts_with('-'), "{command}: {answer}");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place() -> Place {
    let place = Place::new();
    place.generate("s.jsonl", "--messages 3000 --seed 31");
    place
}

fn shown(place: &Place, hot: &str) -> [String; 2] {
    ["stats", "findings --limit 100000"]
        .map(|query| place.run(&format!("hot {query} --format json --lake lake --hot {hot}")).ends(0).out)
}

#[test]
fn embedded() {
    let place = place();
    place.replay("s.jsonl", "lake", "-c often.toml --hot embedded").ends(0);
    let before = shown(&place, "embedded");
    std::fs::remove_dir_all(place.path("lake/_ct/hot")).unwrap();
    let manifests = Reader::open(&place.path("lake")).manifests().len();
    let run = place.run("rebuild-hot --lake lake --log-level error").ends(0);
    assert_eq!(run.out, format!("embedded: built from {manifests} manifests of lake\n"));
    assert_eq!((run.err.as_str(), shown(&place, "embedded")), ("", before));
    place.verified("lake");
}

#[test]
fn redis() {
    let place = place();
    let Some(server) = Redis::start(&place) else { return };
    let url = format!("redis+unix://{}", server.socket.display());
    place.replay("s.jsonl", "lake", &format!("-c often.toml --hot {url}")).ends(0);
    let before = shown(&place, &url);
    for loss in ["FLUSHALL", "DEL ct:findings", "SET ct:findings nonsense", "HSET ct:state published 1", "PING"] {
        server.run(loss);
        let run = place.run(&format!("rebuild-hot --lake lake --hot {url} --log-level error")).ends(0);
        assert_eq!((run.out.lines().count(), run.err.as_str()), (1, ""), "{loss}: {run:?}");
        assert_eq!(shown(&place, &url), before, "{loss}");
    }
}

#[test]
fn refused() {
    let place = place();
    place.replay("s.jsonl", "lake", "").ends(0);
    for (flags, code, word) in [
        ("--lake nowhere", 2, "no lake"),
        ("--lake lake --hot none", 2, "--hot none"),
        ("--lake lake --hot redis+unix:///nowhere.sock", 1, "hot state"),
    ] {
        let run = place.run(&format!("rebuild-hot {flags} --log-level error")).ends(code);
        assert_eq!((run.out.as_str(), run.err.lines().count()), ("", 1), "{run:?}");
        assert!(run.err.contains(word), "{run:?}");
    }
    let _lock = Reader::open(&place.path("lake")).lake.lock().unwrap();
    let run = place.run("rebuild-hot --lake lake").ends(4);
    assert!(run.err.contains("another job") && run.err.lines().count() == 1, "{run:?}");
}

/// A job on the lake keeps nobody from building what a server holds.
#[test]
fn redis_while_a_job_has_the_lake() {
    let place = place();
    let Some(server) = Redis::start(&place) else { return };
    place.replay("s.jsonl", "lake", "").ends(0);
    let _lock = Reader::open(&place.path("lake")).lake.lock().unwrap();
    place.run(&format!("rebuild-hot --lake lake --hot redis+unix://{}", server.socket.display())).ends(0);
}
