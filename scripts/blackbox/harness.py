"""Runs the program and keeps what every check needs: streams with their truth, reference lakes, a work folder."""

import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

TIMEOUT_S = 300

# Small buffers publish often, which gives readers and kills something to hit.
OFTEN = "[lake]\nbuffer_mb = 1\n"


class Failure(Exception):
    """What a check expected and did not see."""


class Skipped(Exception):
    """Why a check cannot run here."""


@dataclasses.dataclass
class Check:
    name: str
    run: object


CHECKS = []


def check(name):
    """Registers a function as the check `name`; checks run in the order in which they are registered."""

    def register(function):
        CHECKS.append(Check(name, function))
        return function

    return register


def expect(condition, why):
    if not condition:
        raise Failure(why)


def expect_equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: got {shorten(got)}, want {shorten(want)}")


def shorten(value, characters=300):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= characters else text[:characters] + "…"


@dataclasses.dataclass
class Run:
    """A run of the program that has ended."""

    args: list
    code: int
    out: str
    err: str

    @property
    def summary(self):
        """The object that --summary json prints; it is all of standard output."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise Failure(f"{self}: standard output is no JSON summary: {shorten(self.out)}") from None

    def expect_code(self, *codes):
        expect(self.code in codes, f"{self}: exit {self.code}, want {' or '.join(map(str, codes))}; {self.tail()}")
        return self

    def tail(self):
        """The last it said, on stderr or else on stdout."""
        for name, text in (("stderr", self.err), ("stdout", self.out)):
            lines = [line for line in text.splitlines() if line.strip()]
            if lines:
                return f"{name}: " + shorten(" | ".join(lines[-3:]))
        return "it printed nothing"

    def __str__(self):
        return "ct-stream " + shorten(" ".join(self.args), 160)


@dataclasses.dataclass
class Stream:
    """A generated stream and the truth about it."""

    path: pathlib.Path
    # sha256 (empty where no message tells it), log_entries, first_line, kind, names; one a distinct certificate
    certificates: list
    # line -> (kind, expect), for lines that are not plain new entries
    lines: dict
    totals: dict

    @property
    def fingerprints(self):
        return {row["sha256"] for row in self.certificates if row["sha256"]}

    @property
    def entries(self):
        return sum(int(row["log_entries"]) for row in self.certificates)

    @property
    def rejected_lines(self):
        return sorted(line for line, (_, expected) in self.lines.items() if expected == "rejected")


class Context:
    def __init__(self, binary, work, messages, kills, seed, data):
        self.binary, self.work, self.messages, self.kills, self.seed, self.data = (
            binary, work, messages, kills, seed, data)
        self.folder = None
        self.streams = {}
        self.references = {}
        self.running = set()

    def enter(self, name):
        self.folder = self.work / name
        self.folder.mkdir(parents=True)

    def leave(self, keep):
        """Ends what a failed check left running, and removes its folder."""
        while self.running:
            kill_group(self.running.pop())
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *args):
        """Starts the program in a process group of its own."""
        args = [str(arg) for arg in args]
        out, err = (open(self.work / f"std{kind}.{time.monotonic_ns()}", "w+b") for kind in ("out", "err"))
        # Flags alone decide: what the caller's environment says about lakes and hot state is left out.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CT_STREAM_")}
        environment |= {"RUST_BACKTRACE": "1", "NO_COLOR": "1"}
        process = subprocess.Popen([self.binary, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   cwd=self.folder, env=environment, start_new_session=True)
        process.ct_args, process.ct_files = args, (out, err)
        self.running.add(process)
        return process

    def finish(self, process, timeout=TIMEOUT_S):
        """Waits for its end. A panic, a signal nobody sent, or no end at all fails the check."""
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_group(process)
            run = Run(process.ct_args, None, "", "")
            raise Failure(f"{run}: still running after {timeout} s") from None
        self.running.discard(process)
        texts = []
        for file in process.ct_files:
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
            file.close()
            os.unlink(file.name)
        run = Run(process.ct_args, process.returncode, *texts)
        for line in run.err.splitlines():
            expect("panicked at" not in line, f"{run}: {line}")
        return run

    def run(self, *args, timeout=TIMEOUT_S):
        return self.finish(self.start(*args), timeout)

    def replay_args(self, segments, lake, n=1, w=1, hot="none", config=None, extra=()):
        segments = [segments] if isinstance(segments, (str, pathlib.Path)) else segments
        args = ["replay", *segments, "-n", n, "-w", w, "--lake", lake, "--hot", hot, "--summary", "json",
                "--progress", "none", *extra]
        if config is not None:
            path = self.folder / "config.toml"
            path.write_text(config)
            args += ["-c", path]
        return args

    def replay(self, segments, lake, code=0, timeout=TIMEOUT_S, **options):
        return self.run(*self.replay_args(segments, lake, **options), timeout=timeout).expect_code(code)

    def verify(self, lake):
        return self.run("verify", "--lake", lake)

    def stream(self, shape="go", stream="full", messages=None, seed=None):
        """A generated stream, made once."""
        messages = messages or self.messages
        seed = self.seed if seed is None else seed
        key = (shape, stream, messages, seed)
        if key not in self.streams:
            folder = self.work / "streams"
            folder.mkdir(exist_ok=True)
            path = folder / f"{shape}-{stream}-{messages}-{seed}.jsonl"
            truth = path.with_suffix(".truth.csv")
            self.run("generate", "--messages", messages, "--seed", seed, "--shape", shape, "--stream", stream,
                     "--out", path, "--truth", truth).expect_code(0)
            self.streams[key] = Stream(
                path,
                read_csv(truth),
                {int(row["line"]): (row["kind"], row["expect"]) for row in read_csv(f"{truth}.lines.csv")},
                json.loads(pathlib.Path(f"{truth}.json").read_text()),
            )
        return self.streams[key]

    def reference(self, stream):
        """A lake with `stream`, by one worker of one process, undisturbed; made once, not to be changed."""
        if stream.path not in self.references:
            lake = self.work / "references" / stream.path.stem
            lake.parent.mkdir(exist_ok=True)
            run = self.replay(stream.path, lake)
            self.references[stream.path] = (lake, run.summary)
        return self.references[stream.path]


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def descendants(pid):
    """Processes below `pid`, children first."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything; the parent is the second field after it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        below = sorted(children.get(open_.pop(0), []))
        found += below
        open_ += below
    return found


def kill_group(process):
    """SIGKILL to the program and everything below it, and to what shares its process group."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.02)
