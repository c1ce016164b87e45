//! How a process of the job ends, and what its exit code says.
//!
//! Two sets of codes: [`Exit`] is what the command line promises to whoever calls it, [`WorkerExit`] is between a
//! worker process and its supervisor. A worker that meets an ordinary error prints it and ends with an [`Exit`]; the
//! supervisor passes that code on and starts nothing again, because the same error would come back.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::child;

/// Characters of a panic message that are printed; a panic may quote input.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The exit codes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// Input could not be read to its end; what was read is published.
    Input = 3,
    /// Another cluster owns the lake.
    Fenced = 4,
}

impl Exit {
    /// The code's meaning, if it is one of ours.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        [Exit::Done, Exit::Failed, Exit::Usage, Exit::Input, Exit::Fenced].into_iter().find(|exit| *exit as i32 == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// How a worker process ends when its cluster cannot go on; understood by its supervisor only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerExit {
    /// A panic that began here: the root cause.
    Panicked = 70,
    /// A peer or the supervisor is gone: a consequence.
    PeerDied = 71,
    /// The watchdog saw the published frontier stand still.
    Stuck = 72,
    /// Another cluster owns the lake.
    Fenced = 73,
}

impl WorkerExit {
    /// Ends the process here and now. Destructors do not run: a timely worker that unwinds while its peers are dying
    /// panics again and aborts, and the code would be lost.
    pub(crate) fn now(self) -> ! {
        signal_hook::low_level::exit(self as i32)
    }

    /// The code's meaning, if it is one of ours.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        use WorkerExit::{Fenced, Panicked, PeerDied, Stuck};
        [Panicked, PeerDied, Stuck, Fenced].into_iter().find(|exit| *exit as i32 == code)
    }
}

/// Makes every panic but a guarded one end the process at once, after one line on stderr.
///
/// `is_guarded` answers for the calling thread, inside the hook: true while a panic will be caught and counted by
/// whoever called the code (a module), which then needs no line. Under a supervisor the code is
/// [`WorkerExit::Panicked`], or [`WorkerExit::PeerDied`] when timely says that a peer is gone; elsewhere it is
/// [`Exit::Failed`].
pub(crate) fn install_panic_hook(is_guarded: fn() -> bool) {
    static ENDING: AtomicBool = AtomicBool::new(false);
    panic::set_hook(Box::new(move |info| {
        if is_guarded() {
            return;
        }
        // The first panic is the cause. Threads that fail in its wake wait here for the end.
        if ENDING.swap(true, Ordering::SeqCst) {
            loop {
                thread::park();
            }
        }
        let line = describe(info);
        // Nothing can be done when stderr is gone; the exit code still speaks.
        let _ = io::stderr().write_all(line.as_bytes());
        if !child::is_worker() {
            signal_hook::low_level::exit(Exit::Failed as i32);
        }
        if is_loss_of_a_peer(message(info)) { WorkerExit::PeerDied.now() } else { WorkerExit::Panicked.now() }
    }));
}

/// timely keeps the first text stable for callers that look for it; the second is what its workers say when a
/// communication thread has gone down before them.
fn is_loss_of_a_peer(message: &str) -> bool {
    message.starts_with("timely communication error") || message == "MergeQueue poisoned."
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload_as_str().unwrap_or("a panic without a message")
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let mut line = String::from("ct-stream: thread '");
    escape_into(&mut line, thread.name().unwrap_or("unnamed"));
    if child::is_worker() && is_loss_of_a_peer(message(info)) {
        // No fault of this process.
        line.push_str("' lost a peer: ");
    } else {
        line.push_str("' panicked");
        if let Some(place) = info.location() {
            let _ = write!(line, " at {place}");
        }
        line.push_str(": ");
    }
    escape_into(&mut line, message(info));
    line.push('\n');
    line
}

/// Appends `text` so that it stays one line and cannot steer a terminal: control and format characters, and the
/// backslash itself, are written as Rust escapes.
fn escape_into(line: &mut String, text: &str) {
    let mut chars = text.chars();
    for c in chars.by_ref().take(MESSAGE_CHARS_MAX) {
        match c {
            '"' | '\'' => line.push(c),
            _ => line.extend(c.escape_debug()),
        }
    }
    if chars.next().is_some() {
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::{Command, Output, Stdio};

    use super::*;

    thread_local! { static GUARDED: Cell<bool> = const { Cell::new(false) } }

    const ROLE: &str = "CT_STREAM_TEST_PANIC";

    /// Does nothing in a normal run; `run_role` starts this test in a process of its own.
    #[test]
    fn role() {
        let Ok(role) = std::env::var(ROLE) else { return };
        install_panic_hook(|| GUARDED.get());
        match role.as_str() {
            "guarded" => {
                GUARDED.set(true);
                let caught = panic::catch_unwind(|| panic!("by a module"));
                GUARDED.set(false);
                assert!(caught.is_err());
                panic!("after the guard");
            }
            "two threads" => {
                let other = thread::spawn(|| panic!("one"));
                let _ = other.join();
                panic!("two");
            }
            text => panic!("{text}"),
        }
    }

    fn run_role(role: &str, worker: bool) -> (Option<i32>, String) {
        let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
        command.args(["--exact", "cluster::exit::tests::role", "--nocapture"]).env(ROLE, role).stdout(Stdio::null());
        if worker {
            command.env(child::WORKER_ENV, "0");
        }
        let Output { status, stderr, .. } = command.output().expect("the test binary starts");
        (status.code(), String::from_utf8(stderr).expect("stderr is text"))
    }

    #[track_caller]
    fn check(role: &str, worker: bool, code: i32, message: &str) {
        let (got, stderr) = run_role(role, worker);
        assert_eq!(got, Some(code), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
        assert!(stderr.bytes().all(|b| b == b'\n' || b >= 0x20), "{stderr:?}");
    }

    #[test]
    fn root_cause() {
        check("some text", true, 70, "src/cluster/exit.rs:");
    }

    #[test]
    fn peer_died() {
        check("timely communication error: reading data: socket closed", true, 71, "socket closed");
        check("MergeQueue poisoned.", true, 71, "poisoned");
    }

    #[test]
    fn mention_of_timely_is_no_loss() {
        check("no timely communication error", true, 70, "no timely");
    }

    #[test]
    fn outside_a_supervisor() {
        check("some text", false, 1, "some text");
    }

    #[test]
    fn guarded_is_silent_and_others_are_not() {
        check("guarded", true, 70, "after the guard");
    }

    #[test]
    fn only_the_first_speaks() {
        check("two threads", true, 70, ": one");
    }

    #[test]
    fn hostile_message() {
        check("a\nb\x1b[2J\u{202e}c\\", true, 70, "a\\nb\\u{1b}[2J\\u{202e}c\\\\");
        let (_, stderr) = run_role(&"x".repeat(100_000), true);
        assert!(stderr.len() < MESSAGE_CHARS_MAX + 200);
    }

    #[test]
    fn codes() {
        for code in -1..200 {
            assert_eq!(Exit::from_code(code).is_some(), (0..=4).contains(&code));
            assert_eq!(WorkerExit::from_code(code).is_some(), (70..=73).contains(&code));
        }
    }
}
