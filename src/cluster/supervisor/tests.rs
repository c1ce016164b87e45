use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::*;

const QUICK: Timing = Timing {
    backoff_first: Duration::from_millis(1),
    backoff_max: Duration::from_millis(4),
    kill_after: Duration::from_millis(200),
};

const ROLE: &str = "CT_STREAM_TEST_SUPERVISOR";

/// Processes that are a shell script each. `$I` is the process's index, `$DIR` a folder of the test's own.
struct Job {
    script: &'static str,
    processes: usize,
    timing: Timing,
    folder: TempDir,
}

#[derive(Debug)]
struct Ran {
    result: Result<(), SuperviseError>,
    lines: Vec<(usize, String)>,
}

impl Job {
    fn new(processes: usize, script: &'static str) -> Self {
        Self { script, processes, timing: QUICK, folder: tempfile::tempdir().expect("a folder") }
    }

    fn spec<'a>(&self, progress_mark: &'a dyn Fn() -> u64) -> Spec<'a> {
        // `start` counts the generations that process 0 saw.
        let script = format!("I=$CT_STREAM_WORKER; [ $I = 0 ] && echo >> $DIR/starts\n{}", self.script);
        Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("DIR".into(), self.folder.path().into())],
            processes: self.processes,
            cluster: [1; 16],
            generation: 10,
            progress_mark,
            failures_max: 3,
            stall: None,
            drain: None,
            persistent: false,
            renew: &|| false,
            timing: self.timing,
        }
    }

    fn run_with(&self, progress_mark: &dyn Fn() -> u64, stop: &AtomicBool, on_line: impl Fn(usize, &str)) -> Ran {
        let mut lines = Vec::new();
        let mut hear = |index: usize, line: &str| {
            lines.push((index, line.to_owned()));
            on_line(index, line);
        };
        let result = supervise(&self.spec(progress_mark), &mut hear, stop);
        Ran { result, lines }
    }

    fn run(&self) -> Ran {
        self.run_with(&|| 0, &AtomicBool::new(false), |_, _| ())
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.folder.path().join("starts")).expect("process 0 ran").lines().count()
    }
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn all_end_well() {
    let job = Job::new(3, "echo process $I; printf 'no newline'");
    let Ran { result, mut lines } = job.run();
    result.expect("all exit 0");
    lines.sort();
    let want = (0..3).flat_map(|i| [(i, "no newline".to_owned()), (i, format!("process {i}"))]).collect::<Vec<_>>();
    assert_eq!(lines, want);
    assert_eq!(job.starts(), 1);
}

#[test]
fn orders_go_to_stdin_only() {
    let job = Job::new(
        2,
        "read -r orders; echo \"$orders\"; env > $DIR/env-$I; tr '\\0' ' ' < /proc/$$/cmdline > $DIR/args-$I",
    );
    let Ran { result, lines } = job.run();
    result.expect("all exit 0");
    let mut secrets = Vec::new();
    for (index, line) in lines {
        let orders: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!((&orders["index"], &orders["processes"]), (&index.into(), &2.into()));
        assert_eq!((&orders["generation"], &orders["cluster"]), (&10.into(), &"01".repeat(16).into()));
        let folder = PathBuf::from(orders["folder"].as_str().expect("a path"));
        assert!(!folder.exists(), "the folder outlived its generation");
        let secret = orders["secret"].as_str().expect("hex").to_owned();
        assert_eq!(secret.len(), 64);
        for file in ["env", "args"] {
            let text = fs::read_to_string(job.folder.path().join(format!("{file}-{index}"))).expect("written");
            assert!(!text.contains(&secret) && !text.contains(folder.to_str().expect("text")), "{text}");
        }
        secrets.push(secret);
    }
    assert_eq!(secrets[0], secrets[1]);
}

#[test]
fn starts_all_again_with_the_next_generation_and_another_secret() {
    let job =
        Job::new(2, "read -r orders; echo \"$orders\"; [ $I = 1 ] && mkdir $DIR/failed 2>/dev/null && exit 70; exit 0");
    let Ran { result, lines } = job.run();
    result.expect("the second start ends well");
    assert_eq!(job.starts(), 2);
    let orders: Vec<serde_json::Value> =
        lines.iter().map(|(_, line)| serde_json::from_str(line).expect("one line of JSON")).collect();
    assert_eq!(orders.len(), 4);
    for orders in orders.chunks(2) {
        assert_eq!(orders[0]["secret"], orders[1]["secret"]);
        assert_eq!(orders[0]["folder"], orders[1]["folder"]);
    }
    assert_eq!((&orders[0]["generation"], &orders[2]["generation"]), (&10.into(), &11.into()));
    assert_ne!(orders[0]["secret"], orders[2]["secret"]);
    assert_ne!(orders[0]["folder"], orders[2]["folder"]);
}

#[test]
fn gives_up_at_the_same_place() {
    let job = Job::new(2, "[ $I = 1 ] && exit 70; exit 0");
    let error = job.run().result.expect_err("it always fails");
    assert_eq!(error.to_string(), "failed 3 times at the same place: worker process 1 panicked");
    assert_eq!(error.exit(), Exit::Failed);
    assert_eq!(job.starts(), 3);
}

#[test]
fn progress_resets_the_count() {
    let job = Job::new(1, "exit 72");
    // Asked once before the first start and once after each failure: it moves up to the fifth failure.
    let asked = Cell::new(0u64);
    let progress = || asked.replace(asked.get() + 1).min(5);
    let error = job.run_with(&progress, &AtomicBool::new(false), |_, _| ()).result.expect_err("it always fails");
    let want = "failed 3 times at the same place: worker process 0 made no progress and was stopped by its watchdog";
    assert_eq!(error.to_string(), want);
    // The fifth failure is the first at the last place, the seventh the third.
    assert_eq!(job.starts(), 7);
}

#[test]
fn culprit_is_not_the_victim() {
    // Process 1 is seen to fail first, or both at once.
    let job = Job::new(
        3,
        "[ $I = 1 ] && exit 71; until [ -e $DIR/go ]; do [ $I = 2 ] && : > $DIR/go; done; [ $I = 2 ] && exit 70; exit 71",
    );
    let error = job.run().result.expect_err("it always fails");
    assert_eq!(error.to_string(), "failed 3 times at the same place: worker process 2 panicked");
}

#[test]
fn culprit_rules() {
    let failures = |causes: &[Cause]| {
        let numbered = causes.iter().enumerate().map(|(index, cause)| Failed { index, cause: *cause });
        Failed::culprit(&numbered.collect::<Vec<_>>()).map(|failed| failed.index)
    };
    use Cause::{Code, Signal};
    assert_eq!(failures(&[]), None);
    assert_eq!(failures(&[Code(71), Code(71)]), Some(0));
    assert_eq!(failures(&[Code(71), Code(70), Signal(9)]), Some(1));
    assert_eq!(failures(&[Code(71), Signal(9), Code(70)]), Some(1));
    assert_eq!(failures(&[Code(71), Code(3)]), Some(1));
    assert_eq!(failures(&[Code(70), Code(1), Code(73)]), Some(2));
}

#[test]
fn those_that_hang_are_killed() {
    let job = Job::new(3, "[ $I = 1 ] && exit 70; echo $$; exec sleep 1000");
    let started = Instant::now();
    let Ran { result, lines } = job.run();
    assert!(matches!(result, Err(SuperviseError::GaveUp { index: 1, cause: Cause::Code(70), .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(100));
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|(_, pid)| !Path::new("/proc").join(pid).exists()), "{lines:?}");
}

#[test]
fn killed_by_a_signal() {
    let job = Job::new(2, "[ $I = 0 ] && kill -9 $$; exit 71");
    let error = job.run().result.expect_err("it always fails");
    assert_eq!(
        error.to_string(),
        "failed 3 times at the same place: worker process 0 was killed by signal 9 (SIGKILL)"
    );
}

#[test]
fn fenced_is_final() {
    let job = Job::new(2, "[ $I = 1 ] && exit 73; exit 71");
    let error = job.run().result.expect_err("fenced");
    assert!(matches!(error, SuperviseError::Fenced { index: 1 }), "{error}");
    assert_eq!(error.exit(), Exit::Fenced);
    assert_eq!(job.starts(), 1);
}

#[test]
fn reported_errors_are_final() {
    for (script, exit) in [("exit 1", Exit::Failed), ("exit 2", Exit::Usage), ("exit 3", Exit::Input)] {
        let job = Job::new(1, script);
        let error = job.run().result.expect_err("the process failed");
        assert!(matches!(error, SuperviseError::Reported { index: 0, .. }), "{error}");
        assert_eq!(error.exit(), exit);
        assert_eq!(job.starts(), 1);
    }
}

#[test]
fn program_that_is_not_there() {
    let job = Job::new(1, "");
    let spec = Spec { program: "/nonexistent/program".into(), ..job.spec(&|| 0) };
    let error = supervise(&spec, &mut |_, _| (), &AtomicBool::new(false)).expect_err("it is not there");
    assert!(matches!(error, SuperviseError::Start { index: 0, .. }), "{error}");
}

#[test]
fn drains_when_asked() {
    let job = Job::new(2, "read -r orders; echo up; read -r word; echo \"$word\"");
    let stop = AtomicBool::new(false);
    let up = Cell::new(0);
    let ran = job.run_with(&|| 0, &stop, |_, line| {
        up.set(up.get() + usize::from(line == "up"));
        stop.store(line == "up" && up.get() == 2, Ordering::SeqCst);
    });
    ran.result.expect("drained");
    assert_eq!(ran.lines.iter().filter(|(_, line)| line == "drain").count(), 2, "{:?}", ran.lines);
}

#[test]
fn second_stop_ends_at_once() {
    let job = Job::new(2, "read -r orders; echo up; while read -r word; do echo \"$word\"; done");
    let stop = AtomicBool::new(false);
    let ran = job.run_with(&|| 0, &stop, |index, line| {
        if index == 0 && (line == "up" || line == "drain") {
            stop.store(true, Ordering::SeqCst);
        }
    });
    assert!(matches!(ran.result, Err(SuperviseError::Stopped)), "{ran:?}");
    assert_eq!(job.starts(), 1);
}

#[test]
fn failure_while_draining_is_not_started_again() {
    let job = Job::new(1, "read -r orders; echo up; read -r word; exit 70");
    let stop = AtomicBool::new(false);
    let ran = job.run_with(&|| 0, &stop, |_, _| stop.store(true, Ordering::SeqCst));
    assert!(matches!(ran.result, Err(SuperviseError::FailedDraining { index: 0, .. })), "{ran:?}");
    assert_eq!(job.starts(), 1);
}

#[test]
fn stop_in_the_pause_between_generations() {
    let mut job = Job::new(1, "exit 70");
    job.timing = Timing { backoff_first: Duration::from_secs(1000), backoff_max: Duration::from_secs(1000), ..QUICK };
    let stop = Arc::new(AtomicBool::new(false));
    // The mark is asked for a second time when the generation has failed.
    let asked = Cell::new(0);
    let progress = || {
        asked.set(asked.get() + 1);
        stop.store(asked.get() == 2, Ordering::SeqCst);
        0
    };
    let ran = job.run_with(&progress, &stop, |_, _| ());
    ran.result.expect("nothing ran that could be drained");
    assert_eq!(job.starts(), 1);
}

/// As if it had come a moment later, in the pause.
#[test]
fn stop_of_what_has_failed_already() {
    // A process is gone from /proc when the supervisor has seen its end.
    let mut job = Job::new(
        2,
        "if [ $I = 1 ]; then echo $$ > $DIR/new; mv $DIR/new $DIR/pid; exit 70; fi
         until [ -e $DIR/pid ]; do sleep 0.01; done
         while [ -e /proc/$(cat $DIR/pid) ]; do sleep 0.01; done
         echo seen; exec sleep 1000",
    );
    job.timing = Timing { kill_after: Duration::from_secs(1000), ..QUICK };
    let stop = AtomicBool::new(false);
    let ran = job.run_with(&|| 0, &stop, |_, line| stop.store(line == "seen", Ordering::SeqCst));
    ran.result.expect("what is left is ended at once, and nothing is lost");
    assert_eq!(job.starts(), 1);
}

#[test]
fn long_lines_are_dropped_and_strange_bytes_are_text() {
    let job = Job::new(1, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo short; printf '\\377\\n'");
    let Ran { result, lines } = job.run();
    result.expect("it exits 0");
    assert_eq!(lines, [(0, "short".to_owned()), (0, "\u{fffd}".to_owned())]);
}

#[test]
fn many_lines_arrive_in_order() {
    let job = Job::new(1, "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done");
    let Ran { result, lines } = job.run();
    result.expect("it exits 0");
    let numbers: Vec<usize> = lines.iter().map(|(_, line)| line.parse().expect("a number")).collect();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
}

#[test]
fn unwinding_leaves_no_process() {
    let job = Job::new(2, "echo $$; exec sleep 1000");
    let pids = RefCell::new(Vec::new());
    let spec = job.spec(&|| 0);
    let mut hear = |_: usize, pid: &str| {
        pids.borrow_mut().push(pid.to_owned());
        assert!(pids.borrow().len() < 2, "both run");
    };
    let ran = panic::catch_unwind(AssertUnwindSafe(|| supervise(&spec, &mut hear, &AtomicBool::new(false))));
    assert!(ran.is_err());
    assert!(pids.borrow().iter().all(|pid| !Path::new("/proc").join(pid).exists()));
}

/// Does nothing in a normal run; the test below starts it in a process of its own.
#[test]
fn role() {
    if let Some(folder) = std::env::var_os(ROLE) {
        let mut job = Job::new(1, "read -r orders; : > $DIR/up; while read -r word; do :; done; : > $DIR/over");
        job.folder = tempfile::tempdir_in(folder).expect("a folder of the test");
        let _ = job.run();
    }
}

#[test]
fn processes_see_the_end_of_a_killed_supervisor() {
    let folder = tempfile::tempdir().expect("a folder");
    // `role` keeps its files one level below, under a name that it chooses.
    let find = |name: &str| {
        let mut entries = fs::read_dir(folder.path()).expect("a folder");
        entries.any(|entry| entry.expect("an entry").path().join(name).exists())
    };
    let mut supervisor = Command::new(std::env::current_exe().expect("the test binary has a path"))
        .args(["--exact", "cluster::supervisor::tests::role", "--nocapture"])
        .env(ROLE, folder.path())
        // A killed supervisor cannot remove its socket folder; this test does.
        .env("TMPDIR", folder.path())
        .env_remove("XDG_RUNTIME_DIR")
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary starts");
    eventually("the worker starts", || find("up"));
    supervisor.kill().expect("it runs");
    supervisor.wait().expect("it was killed");
    eventually("the worker sees the end", || find("over"));
}

#[test]
fn backoff_grows_to_its_limit() {
    let timing = Timing::default();
    let (mut least, mut most) = (timing.backoff_first / 2, timing.backoff_first);
    for failures in 1..100 {
        let pause = backoff(&timing, failures);
        assert!(least <= pause && pause <= most, "failures={failures}: {pause:?}");
        (least, most) = ((least * 2).min(timing.backoff_max / 2), (most * 2).min(timing.backoff_max));
    }
}

#[test]
fn socket_folder_is_private_and_short() {
    let folder = socket_folder(100).expect("a folder");
    let mode = fs::metadata(folder.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(socket_path(folder.path(), 100).as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
    let long = folder.path().join("x".repeat(90));
    fs::create_dir(&long).expect("a new folder");
    assert!(socket_folder_in(&long, 100).is_err());
    assert_eq!(fs::read_dir(&long).expect("it is there").count(), 0, "a refused folder is removed");
}
