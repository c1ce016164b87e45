//! A folder to run the program in, and what a run leaves behind.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes a tenth of it, even in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Small buffers publish often, which gives interruptions something to hit; both kinds of `once` findings.
const OFTEN: &str = "[lake]\nbuffer_mb = 1\n[modules.names]\ntrack_wildcards = true\nfirst_seen = \"domain\"\n";

/// Commands run with this folder as the current one, so that their arguments are short names without blanks.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// A new folder that holds the configuration `often.toml`.
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("often.toml", OFTEN);
        place
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Starts `ct-stream COMMAND`; arguments are separated by blanks.
    pub(crate) fn start(&self, command: &str) -> Job {
        self.start_args(&command.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn start_args(&self, args: &[&str]) -> Job {
        let [out, err] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ct-stream"));
        command.args(args).current_dir(self.folder.path()).process_group(0).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        // What the environment says about lakes and hot state is none of a test's business.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CT_STREAM_")) {
            command.env_remove(name);
        }
        Job { child: command.spawn().unwrap(), command: args.join(" "), out, err }
    }

    pub(crate) fn run(&self, command: &str) -> Run {
        self.start(command).finish()
    }

    /// Starts a replay that prints its summary as JSON, and nothing else unless something is wrong.
    pub(crate) fn start_replay(&self, segments: &str, lake: &str, more: &str) -> Job {
        let quiet = "--progress none --summary json --log-level error";
        // The last one of two equal flags would be refused, so `more` decides about hot state.
        let hot = if more.contains("--hot") { "" } else { "--hot none" };
        self.start(&format!("replay {segments} --lake {lake} {hot} {quiet} {more}"))
    }

    pub(crate) fn replay(&self, segments: &str, lake: &str, more: &str) -> Run {
        self.start_replay(segments, lake, more).finish()
    }

    /// A lake that nothing is wrong with.
    #[track_caller]
    pub(crate) fn verified(&self, lake: &str) {
        self.run(&format!("verify --lake {lake}")).ends(0);
    }

    /// Writes the stream `name` with `ct-stream generate`, and reads the truth about it.
    pub(crate) fn generate(&self, name: &str, flags: &str) -> Truth {
        let truth = format!("{name}.truth");
        self.run(&format!("generate --out {name} --truth {truth} {flags}")).ends(0);
        let totals = fs::read(self.path(format!("{truth}.json"))).unwrap();
        let lines = fs::read_to_string(self.path(format!("{truth}.lines.csv"))).unwrap();
        let rejected = lines.lines().filter_map(|row| row.strip_suffix(",rejected"));
        Truth {
            totals: serde_json::from_slice(&totals).unwrap(),
            rejected_lines: rejected.map(|row| row.split(',').next().unwrap().parse().unwrap()).collect(),
        }
    }
}

/// What `ct-stream generate` knows about its stream.
pub(crate) struct Truth {
    pub(crate) totals: Value,
    /// Ascending, from 1.
    pub(crate) rejected_lines: Vec<i64>,
}

/// The program at work. Dropping it kills it and everything it started.
pub(crate) struct Job {
    child: Child,
    command: String,
    out: File,
    err: File,
}

impl Job {
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> String {
        text_of(&self.err)
    }

    /// Sends `TERM`, `KILL`… to this process alone.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, &self.child.id().to_string());
    }

    /// The processes that this one started, by age.
    pub(crate) fn children(&self) -> Vec<u32> {
        let mut children: Vec<u32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of(*pid) == Some(self.child.id()))
            .collect();
        children.sort_unstable();
        children
    }

    pub(crate) fn finish(mut self) -> Run {
        let what = format!("the end of ct-stream {}", self.command);
        until(&what, || !self.is_running());
        let status = self.child.try_wait().unwrap().unwrap();
        let run = Run { command: self.command.clone(), status, out: text_of(&self.out), err: text_of(&self.err) };
        assert!(!run.err.contains("panicked at"), "{run:?}");
        run
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_running() {
            send("KILL", &format!("-{}", self.child.id()));
            self.child.wait().unwrap();
        }
    }
}

/// Sends a signal to a process, or to a group of them by its negative number.
pub(crate) fn send(signal: &str, pid: &str) {
    // It may just have ended.
    Command::new("sh").args(["-c", "kill -s $0 -- $1 2>&-", signal, pid]).status().unwrap();
}

/// The parent of a process; `None` when it has ended, also when nobody has asked how.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ended = fields.next()? == "Z";
    fields.next()?.parse().ok().filter(|_| !ended)
}

/// Reads by position: the process writes on through the same handle.
fn text_of(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) command: String,
    status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// What `--summary json` printed: all of stdout.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A count of a summary.
#[track_caller]
pub(crate) fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {summary}"))
}
