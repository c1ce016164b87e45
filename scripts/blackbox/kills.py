"""SIGKILL at any moment costs time and nothing else: readers never notice, and the end is that of a quiet run."""

import os
import random
import signal
import subprocess
import threading
import time

import duckdb

from blackbox import lake as lakes
from blackbox.harness import OFTEN, Failure, check, descendants, expect, kill_group, wait_until

# Longest time for a supervisor to give up its workers, and for workers to notice that their supervisor is gone.
ORPHANS_S = 20


class Poller(threading.Thread):
    """Reads the lake over and over with plain globs, as a stranger would."""

    def __init__(self, lake):
        super().__init__(daemon=True)
        self.lake, self.stop, self.problem, self.polls = lake, threading.Event(), None, 0
        self.rows = dict.fromkeys(lakes.TABLES, 0)

    def run(self):
        connection = lakes.connect()
        while not self.stop.is_set() and self.problem is None:
            try:
                for table in lakes.TABLES:
                    self.poll(connection, table)
                self.poll_references(connection)
                self.polls += 1
            except Exception as why:
                self.problem = f"{type(why).__name__}: {why}"
            self.stop.wait(0.03)

    def poll(self, connection, table):
        key = ", ".join(f'"{name}"' for name in lakes.KEYS[table])
        sql = f"SELECT count(*), count(DISTINCT row({key})) FROM {lakes.scan(self.lake, table)}"
        try:
            rows, distinct = connection.execute(sql).fetchone()
        except duckdb.IOException as why:
            if "No files found" in str(why) and self.rows[table] == 0:
                return
            raise
        if rows != distinct:
            raise Failure(f"{rows - distinct} of {rows} rows of {table} share a key")
        if rows < self.rows[table]:
            raise Failure(f"{table} had {self.rows[table]} rows and now has {rows}")
        self.rows[table] = rows

    def poll_references(self, connection):
        """An entry is never visible before its certificate; entries are read first, so later ones do not matter."""
        if not self.rows["entries"] or not self.rows["certificates"]:
            return
        connection.execute(f"""CREATE OR REPLACE TEMP TABLE ids AS
            SELECT DISTINCT id_kind, id FROM {lakes.scan(self.lake, 'entries')}""")
        alone = connection.execute(f"""SELECT count(*) FROM ids
            ANTI JOIN {lakes.scan(self.lake, 'certificates')} AS c USING (id_kind, id)""").fetchone()[0]
        if alone:
            raise Failure(f"{alone} certificates have an entry and no row")

    def end(self):
        """Stops, and says what it saw."""
        self.stop.set()
        self.join()
        if self.problem:
            raise Failure(f"a reader of the lake, poll {self.polls + 1}: {self.problem}")


# Each of these tells whether it hit something.


def kill_all(process, _random):
    kill_group(process)
    return True


def kill_a_worker(process, rng):
    """One worker process. The supervisor has to bring the cluster back by itself."""
    workers = descendants(process.pid)
    try:
        if workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
        return bool(workers)
    except ProcessLookupError:
        return False


def kill_the_supervisor(process, _random):
    """The workers are left alone and have to go by themselves."""
    orphans = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in orphans), ORPHANS_S,
               "workers ending after their supervisor was killed")
    return True


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def check_kills(context, n, w, kill, kills):
    """Kills, restarts until the end, starts over with a new lake, until all kills are spent."""
    stream = context.stream()
    rng = random.Random(f"{context.seed} {kill.__name__} {n} {w}")
    started = time.monotonic()
    quiet = context.folder / "quiet"
    context.replay(stream.path, quiet, n=n, w=w, config=OFTEN)
    quiet_s = time.monotonic() - started
    spent = rounds = 0
    while spent < kills:
        rounds += 1
        lake = context.folder / f"killed-{rounds}"
        lake.mkdir()
        poller = Poller(lake)
        poller.start()
        try:
            spent += run_killed(context, context.replay_args(stream.path, lake, n=n, w=w, config=OFTEN), kill,
                                kills - spent, quiet_s, rng)
        finally:
            poller.end()
        difference = lakes.difference(lake, quiet)
        expect(difference is None, f"after kills, round {rounds}, against an undisturbed run: {difference}")
        context.verify(lake).expect_code(0)
        expect(rounds <= kills + 3, f"the job ended {rounds} times before {spent} kills could hit it")


def run_killed(context, args, kill, kills_left, quiet_s, rng):
    """Runs to exit 0 through up to `kills_left` kills; returns how many hit."""
    spent = 0
    process = context.start(*args)
    while spent < kills_left:
        # Most hit the work, some the start and some the very end.
        try:
            process.wait(rng.uniform(0.02, quiet_s * rng.choice((0.4, 0.8, 1.1))))
            break
        except subprocess.TimeoutExpired:
            spent += kill(process, rng)
        if process.poll() is not None:
            context.finish(process)
            process = context.start(*args)
    run = context.finish(process, timeout=120 + 10 * spent)
    if run.code == 1 and "at the same place" in run.err:
        # Kills came so fast that no manifest was published between five of them: the supervisor is right to give up.
        run = context.finish(context.start(*args), timeout=120)
    run.expect_code(0)
    return spent


for _name, _n, _w, _kill, _share in (
    ("kills-n1", 1, 2, kill_all, 0.4),
    ("kills-n2", 2, 1, kill_all, 0.3),
    ("kills-n2-worker", 2, 1, kill_a_worker, 0.2),
    ("kills-n2-supervisor", 2, 1, kill_the_supervisor, 0.1),
):
    check(_name)(lambda context, n=_n, w=_w, kill=_kill, share=_share: check_kills(
        context, n, w, kill, max(1, round(context.kills * share))))


@check("kills-other-workers")
def other_workers(context):
    """A killed job may go on with other -n and -w."""
    stream = context.stream()
    rng = random.Random(f"{context.seed} other workers")
    lake = context.folder / "lake"
    reference, _ = context.reference(stream)
    for n, w in ((1, 1), (2, 2), (1, 3), (2, 1)):
        process = context.start(*context.replay_args(stream.path, lake, n=n, w=w, config=OFTEN))
        time.sleep(rng.uniform(0.1, 0.6))
        kill_group(process)
        context.finish(process)
    context.replay(stream.path, lake, n=1, w=2, config=OFTEN)
    difference = lakes.difference(lake, reference)
    expect(difference is None, f"against an undisturbed run: {difference}")
    context.verify(lake).expect_code(0)


@check("kills-sigterm")
def sigterm(context):
    """SIGTERM drains: exit 0, the lake is whole, and the rest comes with the next run."""
    stream = context.stream()
    lake = context.folder / "lake"
    for n in (1, 2):
        manifests = lake / "_ct" / "manifests"
        before = len(list(manifests.glob("*.json")))
        process = context.start(*context.replay_args(stream.path, lake, n=n, config=OFTEN))
        wait_until(lambda: process.poll() is not None or len(list(manifests.glob("*.json"))) > before, 60,
                   "the job's first manifest")
        process.send_signal(signal.SIGTERM)
        context.finish(process, timeout=60).expect_code(0)
        context.verify(lake).expect_code(0)
    context.replay(stream.path, lake)
    reference, _ = context.reference(stream)
    difference = lakes.difference(lake, reference)
    expect(difference is None, f"against an undisturbed run: {difference}")
