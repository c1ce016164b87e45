"""Live: what a feed delivered and the journal took is in the lake once, whatever is killed, cut, full or away.

The feeds are servers of ours (feed.py) that keep account of what they delivered. What a message holds is read here with
json and hashlib; the lake is read with DuckDB.
"""

import base64
import bisect
import collections
import contextlib
import datetime
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

from blackbox import lake as lakes
from blackbox.errors import mount, small_disk
from blackbox.feed import (
    BINARY, CLOSE, PING, PONG, TEXT, Fault, Feed, Server, fragmented, frame, message, read_lines, shuffled)
from blackbox.harness import (
    Failure, Skipped, check, descendants, expect, expect_equal, kill_group, read_csv, shorten, wait_until)
from blackbox.hot import TTL_S, Resp, best_rows, expect_redis, redis
from blackbox.kills import Poller, alive
from blackbox.s3 import Server as S3Server
from blackbox.s3 import s3
from blackbox.s3 import url as s3_url

STOP_S = 10
# From a restart to the next manifest, when there is something to publish every second.
RESTART_S = 10
# Nothing was published for so long, with an interval of a second or two: nothing more comes.
QUIET_S = 2.5
# What a collector may have in hand when it is killed; it commits every 35 ms, on a machine that has other things to do.
JOURNALLED_AFTER_S = 1.5
# From the socket's other side to the collector.
READ_S = 0.5
# Two clocks of one machine, one in milliseconds.
TICK_S = 0.005
UNIX = datetime.datetime(1970, 1, 1)


def is_quick(context):
    return context.messages <= 4_000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Messages and what is in them.


def make_messages(context, count, seed=None, **shares):
    """Generated messages as bytes; each entry once and nothing malformed, unless told otherwise."""
    shares = {"malformed": 0, "redelivered": 0} | shares
    seed = context.seed if seed is None else seed
    name = "-".join(map(str, ("live", count, seed, *shares.values())))
    path = context.work / "streams" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        words = [word for key, value in shares.items() for word in (f"--{key}", value)]
        context.run("generate", "--messages", count, "--seed", seed, *words, "--out", path,
                    "--truth", path.with_suffix(".truth.csv")).expect_code(0)
    return path, read_lines(path)


class Truth:
    """What messages hold, by a reading of our own: entries as (log, index, sha256 or None), and what is no entry."""

    def __init__(self, messages, malformed=()):
        """`malformed`: positions of messages that the generator says are to be rejected."""
        self.entries = [None] * len(messages)
        for at, text in enumerate(messages):
            if at in malformed:
                continue
            said = json.loads(text)
            if said.get("message_type") != "certificate_update":
                continue
            data = said["data"]
            log = data["source"]["url"].split("://")[-1].rstrip("/")
            der = data["leaf_cert"].get("as_der")
            sha256 = hashlib.sha256(base64.b64decode(der)).hexdigest() if der else None
            self.entries[at] = (log, data["cert_index"], sha256)

    def expect_in_lake(self, lake, indices, what="the lake"):
        """Exactly the entries of these messages, and exactly their certificates, as far as messages prove them."""
        want = {self.entries[index] for index in indices} - {None}
        got = entries_of(lake)
        expect_equal(len(got), len(set(got)), f"{what}: entries against different entries")
        missing, surplus = want - set(got), set(got) - want
        expect(not missing and not surplus,
               f"{what}: {len(missing)} of {len(want)} entries are missing, {len(surplus)} are not of the feed; "
               f"such as {shorten(sorted(map(str, missing))[:2])} and {shorten(sorted(map(str, surplus))[:2])}")
        want = {sha256 for _, _, sha256 in want if sha256}
        got = {sha256 for (sha256,) in lakes.query(
            lake, "certificates", "SELECT sha256 FROM {t} WHERE id_kind = 'der'")}
        expect(got == want, f"{what}: {len(want - got)} certificates are missing, {len(got - want)} are not of the feed")


def entries_of(lake):
    return [(log, index, sha256 if kind == "der" else None) for log, index, kind, sha256 in lakes.query(
        lake, "entries", "SELECT log, log_index, id_kind, sha256 FROM {t}")]


def expect_whole(context, lake):
    """No row twice, no certificate without entry, no gap twice, and the manifests agree."""
    for table in lakes.TABLES:
        expect_equal(lakes.duplicates(lake, table), 0, f"rows of {table} with a key that another row has")
    ids = [set(lakes.query(lake, table, "SELECT id_kind, id FROM {t}")) for table in ("certificates", "entries")]
    expect(ids[0] == ids[1], f"{len(ids[0] - ids[1])} certificates have no entry, {len(ids[1] - ids[0])} only that")
    context.verify(lake).expect_code(0)
    numbers = manifest_numbers(lake)
    expect_equal(numbers, list(range(1, len(numbers) + 1)), "numbers of the manifests")
    totals, sums = newest(lake)["totals"], collections.Counter()
    for number in numbers:
        sums.update({k: v for k, v in manifest(lake, number)["counts"].items() if isinstance(v, int)})
    for name in ("messages", "entries", "certificates", "redelivered", "rejected"):
        expect_equal(totals.get(name, 0), sums[name], f"total {name} against the sum over the manifests")


def manifest_numbers(lake):
    return sorted(int(path.stem) for path in (lake / "_ct" / "manifests").glob("*.json"))


def manifest(lake, number):
    return json.loads((lake / "_ct" / "manifests" / f"{number:012}.json").read_text())


def newest(lake):
    numbers = manifest_numbers(lake)
    return manifest(lake, numbers[-1]) if numbers else {"totals": {}}


def total(lake, name):
    return newest(lake)["totals"].get(name, 0)


def gaps_of(lake, feed=None):
    """Rows of `gaps` as (feed, from or None, to, reason, detail), in order; times in Unix seconds."""
    rows = lakes.query(lake, "gaps", "SELECT feed, gap_from, gap_to, reason, detail FROM {t} ORDER BY gap_to, gap_from")

    def unix(moment):
        return None if moment is None else (moment - UNIX).total_seconds()

    return [(name, unix(since), unix(until), reason, detail) for name, since, until, reason, detail in rows
            if feed in (None, name)]


def expect_gap_at(gaps, moment, what, reasons=None):
    """A gap that covers a moment of Unix time."""
    found = [gap for gap in gaps if (gap[1] is None or gap[1] <= moment + TICK_S) and moment <= gap[2] + TICK_S
             and (reasons is None or gap[3] in reasons)]
    expect(found, f"no gap{'' if reasons is None else f' with reason {reasons}'} covers {what} at {moment:.3f}; there are "
                  f"{shorten([(g[1], g[2], g[3]) for g in gaps], 500)}")
    return found


# The job.


class Job:
    """A live job, its folders and its pages; may be started several times."""

    def __init__(self, context, feeds, lake=None, hot="none", journal=None, extra="", lake_keys="", name="job",
                 interval_s=1, feed_keys=None, global_args=()):
        """feeds: name -> URL. feed_keys: name -> more lines of its table."""
        self.context, self.name, self.hot = context, name, hot
        self.lake = lake if lake is not None else context.folder / f"{name}-lake"
        self.journal = journal or context.folder / f"{name}-journal"
        self.port = free_port()
        self.args = global_args
        self.process = None
        self.config = context.folder / f"{name}.toml"
        tables = [f'[lake]\npublish_interval_s = {interval_s}\n{lake_keys}']
        if "[journal]" not in extra:
            tables.append(f'[journal]\ndir = "{self.journal}"')
        tables.append(f'[http]\naddr = "127.0.0.1:{self.port}"\n{extra}')
        for feed, url in feeds.items():
            keys = (feed_keys or {}).get(feed, "ping_s = 1\nidle_s = 3\n")
            tables.append(f'[[feeds]]\nname = "{feed}"\nurl = "{url}"\n{keys}')
        self.config.write_text("\n".join(tables))

    def start(self, n=1, w=1, ready=True):
        self.process = self.context.start("run", "-c", self.config, "--lake", self.lake, "--hot", self.hot, "-n", n,
                                          "-w", w, "--summary", "json", *self.args)
        self.started = time.time()
        if ready:
            self.until(lambda: "worker processes started" in self.said() and self.get("/healthz"), 30,
                       "the job starting its workers and serving /healthz")
        return self

    def until(self, condition, seconds, what):
        """Waits; a job that ends meanwhile fails the check with its last words."""
        process = self.process

        def check_it():
            if condition():
                return True
            if process.poll() is not None:
                run = self.context.finish(process)
                lines = [line for line in run.err.splitlines() if line.startswith("ct-stream: ")] or run.err.splitlines()[-3:]
                raise Failure(f"{what}: the job ended with exit {run.code}; {shorten(' | '.join(lines), 900)}")
            return False

        try:
            wait_until(check_it, seconds, what)
        except Failure as why:
            if process.poll() is None:
                raise Failure(f"{why}; readyz: {shorten(str(self.get('/readyz')))}; {self.said()[-300:]!r}") from None
            raise

    def get(self, path, method="GET", timeout=5):
        """(status, text), or None while nobody listens."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            client.request(method, path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return None
        finally:
            client.close()

    def page(self, path):
        """As `get`, of a job that has to be there."""
        found = []
        self.until(lambda: found.append(self.get(path)) or found[-1], 10, f"an answer to GET {path}")
        return found[-1]

    def metrics(self):
        """(name, labels as text) -> value; empty while there is no page."""
        page = self.get("/metrics")
        found = {}
        for line in (page[1] if page else "").splitlines():
            if line and not line.startswith("#"):
                sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
                found[sample[1], sample[2] or ""] = float(sample[3])
        return found

    def metric(self, name, labels="", default=0):
        return self.metrics().get((f"ct_stream_{name}", labels), default)

    def frames(self):
        """Journalled by the running collector, over all feeds."""
        return sum(value for (name, _), value in self.metrics().items() if name == "ct_stream_feed_frames_total")

    def published(self):
        return total(self.lake, "messages")

    def pids(self, role):
        """Processes below the job whose first argument is `role`: worker or collect."""
        found = []
        for pid in descendants(self.process.pid):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(words) > 1 and words[1] == role.encode():
                found.append(pid)
        return found

    def said(self):
        """What is on stderr so far."""
        file = self.process.ct_files[1]
        return pathlib.Path(file.name).read_text(errors="backslashreplace")

    def signal(self, which=signal.SIGTERM):
        self.process.send_signal(which)

    def stop(self, code=0, seconds=STOP_S):
        """SIGTERM, and the end in time."""
        asked = time.monotonic()
        self.signal()
        run = self.context.finish(self.process, timeout=60)
        took = time.monotonic() - asked
        run.expect_code(code)
        expect(took <= seconds, f"{run}: {took:.1f} s from SIGTERM to the end, want at most {seconds}")
        run.took = took
        return run

    def kill(self):
        kill_group(self.process)
        return self.context.finish(self.process)


class Watch(threading.Thread):
    """Sees that manifest numbers never go back, and that a reader never meets a half-done lake."""

    def __init__(self, job):
        super().__init__(daemon=True)
        self.job, self.stopping, self.problem, self.poller = job, threading.Event(), None, Poller(job.lake)

    def __enter__(self):
        self.job.lake.mkdir(parents=True, exist_ok=True)
        self.start()
        self.poller.start()
        return self

    def run(self):
        before = []
        while not self.stopping.wait(0.05):
            now = manifest_numbers(self.job.lake)
            if now[:len(before)] != before:
                self.problem = f"manifests were {before[-3:]}, and then {now[-3:]}"
                return
            before = now

    def __exit__(self, kind, *_):
        self.stopping.set()
        self.join()
        # What failed first is what is told.
        if kind is None:
            self.poller.end()
            expect(self.problem is None, f"published manifests went back: {self.problem}")
        else:
            self.poller.stop.set()
            self.poller.join()


@contextlib.contextmanager
def serving(feeds):
    server = Server(feeds)
    try:
        yield server
    finally:
        server.stop()


def until_taken(job, feed, count=None, seconds=60):
    """The feed has delivered, and the collector has journalled, so many messages of this start of the job."""
    job.until(lambda: feed.sent >= (len(feed.order) if count is None else count), seconds, "the feed delivering")
    sent = feed.sent
    job.until(lambda: job.frames() >= sent, seconds, f"the collector taking {sent} messages")


def until_published(job, count, seconds=60):
    job.until(lambda: job.published() >= count, seconds, f"{count} messages published")


# 1


def check_plain(context, n, w):
    """All that was journalled before a SIGTERM is published by the next start at the latest; nothing is read twice."""
    count = min(context.messages, 5_000)
    path, messages = make_messages(context, count, malformed=0.004, redelivered=0.01)
    truth_totals = json.loads(path.with_suffix(".truth.csv.json").read_text())
    malformed = {int(row["line"]) - 1 for row in read_csv(f"{path.with_suffix('.truth.csv')}.lines.csv")
                 if row["expect"] == "rejected"}
    # Blank lines are none of the messages that are sent, but lines of the file.
    lines = [at for at, line in enumerate(path.read_bytes().split(b"\n")) if line.strip()]
    malformed = {bisect.bisect_left(lines, at) for at in malformed if at in set(lines)}
    truth = Truth(messages, malformed)
    feed = Feed(messages)
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")})
        with Watch(job):
            job.start(n, w)
            until_taken(job, feed)
            first = job.stop()
            read = total(job.lake, "messages")
            job.start(n, w)
            until_published(job, len(messages))
            expect_equal(job.published(), len(messages), "published messages")
            second = job.stop()
        expect_equal(feed.connections, 2, "connections")
        expect_equal(second.summary["messages"], len(messages) - read, "messages that the second start read")
        truth.expect_in_lake(job.lake, feed.delivered())
        totals = newest(job.lake)["totals"]
        for name in ("messages", "heartbeats", "rejected", "redelivered", "entries", "certificates"):
            expect_equal(totals.get(name, 0), truth_totals[name], f"total {name} against the generator's")
        expect_equal(lakes.count(job.lake, "rejected"), truth_totals["rejected"], "rows of rejected")
        expect_equal(lakes.query(job.lake, "entries", "SELECT DISTINCT feed FROM {t}"), [("go",)], "feeds of entries")
        gaps = gaps_of(job.lake)
        expect_equal([gap[3] for gap in gaps], ["started"], "reasons of gaps")
        expect_whole(context, job.lake)
        print(f"  SIGTERM to exit: {first.took:.1f} s with all to publish, {second.took:.1f} s with nothing", flush=True)


for _n, _w in ((1, 1), (1, 2), (2, 1)):
    check(f"live-plain-n{_n}-w{_w}")(lambda context, n=_n, w=_w: check_plain(context, n, w))


# 2


@check("live-feeds")
def two_feeds(context):
    """Two feeds that say the same: each entry once, and the rest is counted."""
    _, messages = make_messages(context, min(context.messages, 5_000))
    feeds = {"eu": Feed(messages), "us": Feed(messages, order=shuffled(len(messages), context.seed))}
    with serving(feeds) as server:
        job = Job(context, {name: server.url(name) for name in feeds})
        with Watch(job):
            job.start(1, 2)
            sent = sum(len(feed.order) for feed in feeds.values())
            job.until(lambda: job.frames() >= sent, 60, f"the collector taking {sent} messages")
            until_published(job, sent)
            summary = job.stop().summary
        truth = Truth(messages)
        truth.expect_in_lake(job.lake, range(len(messages)))
        entries = len(set(truth.entries) - {None})
        beats = sum(entry is None for entry in truth.entries)
        expect_equal(summary["entries"], entries, "entries")
        expect_equal(summary["messages"], sent, "messages")
        expect_equal(summary["redelivered"], sent - entries - summary["heartbeats"], "redelivered")
        expect(summary["heartbeats"] >= 2 * beats, "heartbeats are missing")
        names = sorted(name for (name,) in lakes.query(job.lake, "entries", "SELECT DISTINCT feed FROM {t}"))
        expect(names and set(names) <= {"eu", "us"}, f"feeds of entries are {names}")
        expect_equal(sorted((gap[0], gap[3]) for gap in gaps_of(job.lake)), [("eu", "started"), ("us", "started")], "gaps")
        expect_whole(context, job.lake)


# 3


def junk():
    """name -> (bytes of a frame or more, how many messages it is). The connection has to survive it."""
    deep = b"[" * 100_000 + b"]" * 100_000
    keys = json.dumps({"message_type": "certificate_update", "data": {f"k{at}": at for at in range(50_000)}}).encode()
    pad = b'{"message_type":"certificate_update","pad":"'
    return {
        "bad_json": (message(b'{"message_type":'), 1),
        "wrong_types": (message(b'{"message_type":"certificate_update","data":[1,2]}'), 1),
        "nulls": (message(b'{"message_type":"certificate_update","data":null}'), 1),
        "number_leaf": (message(b'{"message_type":"certificate_update","data":{"leaf_cert":7}}'), 1),
        "unknown_type": (message(b'{"message_type":"something_new","data":{}}'), 1),
        "array": (message(b'[1,2,3]'), 1),
        "empty": (message(b""), 1),
        "blank": (message(b" \t "), 1),
        "newlines": (message(b'{"message_type":\r\n"heartbeat"}'), 1),
        "newline_in_text": (message(b'{"message_type":"heart\nbeat"}'), 1),
        "nul": (message(b"\0\0\0"), 1),
        "mark": (message(b'{"message_type":"ct_stream_batch","data":{"batch":0,"feed":"a","at_ms":1790000000000,'
                         b'"lines":2,"bytes":62,"crc32":"89abcdef","check":"01234567"}}'), 1),
        "deep": (message(deep), 1),
        "keys": (message(keys), 1),
        "binary": (frame(b"\x80\xff\xfe\x00", BINARY), 1),
        "greatest": (message(pad + b"x" * ((4 << 20) - len(pad) - 2) + b'"}'), 1),
        "many_fragments": (fragmented(pad + b"x" * 10_000 + b'"}', 5_000), 1),
        "empty_fragments": (frame(b"", TEXT, fin=False) + frame(b"", 0, fin=False) * 2_000 + frame(b"{}", 0), 1),
        "pings_between": (fragmented(b'{"message_type":"heartbeat"}', 7, frame(b"x" * 125, PING)), 1),
        "ping_flood": (frame(b"p" * 125, PING) * 20_000, 0),
        "unasked_pong": (frame(b"", PONG), 0),
    }


# name -> (bytes, close code that the client may answer with, reasons of the gap)
VIOLATIONS = {
    "utf8": (frame(b'{"a":"\xff\xfe"}', TEXT), 1007, {"protocol"}),
    "utf8_split": (frame(b'{"a":"\xe2\x82', TEXT, fin=False) + frame(b'"}', 0), 1007, {"protocol"}),
    "opcode": (frame(b"x", 3), 1002, {"protocol"}),
    "control_opcode": (frame(b"x", 11), 1002, {"protocol"}),
    "rsv": (frame(b"{}", TEXT, rsv=4), 1002, {"protocol"}),
    "masked": (frame(b"{}", TEXT, masked=True), 1002, {"protocol"}),
    "length_2_62": (frame(b"{}", TEXT, length=1 << 62), 1009, {"too_large"}),
    "length_top_bit": (frame(b"{}", TEXT, length=1 << 63), None, {"too_large", "protocol"}),
    "long_ping": (frame(b"x" * 126, PING), 1002, {"protocol"}),
    "split_ping": (frame(b"x", PING, fin=False), 1002, {"protocol"}),
    "interleaved": (frame(b"{", TEXT, fin=False) + frame(b"{}", TEXT), 1002, {"protocol"}),
    "orphan": (frame(b"}", 0), 1002, {"protocol"}),
    "close_of_one_byte": (frame(b"x", CLOSE), 1002, {"protocol"}),
    "close_code_999": (frame(b"\x03\xe7", CLOSE), 1002, {"protocol", "closed"}),
    "too_long": (message(b'"' + b"x" * (4 << 20) + b'"'), 1009, {"too_large"}),
    "too_long_in_pieces": (fragmented(b'"' + b"x" * (4 << 20) + b'"', 9), 1009, {"too_large"}),
    # H is a close frame with a reserved bit, T its length.
    "not_websocket": (b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100, 1002, {"protocol"}),
}


@check("live-faults")
def faults(context):
    """Each fault of a server on a feed of its own: it is survived, told as a gap with its reason, and loses nothing else."""
    each = 120
    _, messages = make_messages(context, each * 60)
    slices = iter(range(0, len(messages), each))

    def part():
        at = next(slices)
        return messages[at:at + each]

    feeds, reasons = {}, {}

    def add(name, faults, why, **options):
        feeds[name] = Feed(part(), rate=400, faults=faults, **options)
        reasons[name] = why

    add("fin", [Fault("fin", 40)], {"closed"})
    add("rst", [Fault("rst", 40)], {"reset", "closed"})
    add("close-1012", [Fault("close", 40, 1012)], {"closed"})
    add("close-1000", [Fault("close", 40, 1000)], {"closed"})
    add("partial", [Fault("partial", 40)], {"closed", "protocol"})
    add("half-open", [Fault("half_open", 40, 8)], {"idle"})
    add("skips", [Fault("fin", 40)], {"closed"}, resume=30)
    add("again", [Fault("fin", 40)], {"closed"}, resume=-30)
    add("at-once", [Fault("fin", 0)], None)
    add("status-503", [Fault("fin", 40), Fault("status", 0, 503, "Retry-After: 1\r\n")], {"closed"})
    add("status-429", [Fault("status", 0, 429, "Retry-After: 1\r\n")], None)
    add("status-500", [Fault("fin", 40), Fault("status", 0, 500)], {"closed"})
    add("html", [Fault("fin", 40), Fault("html")], {"closed"})
    add("accept", [Fault("fin", 40), Fault("accept")], {"closed"})
    add("hangup", [Fault("fin", 40), Fault("hangup")], {"closed"})
    add("stall", [Fault("stall", 40, 6)], None)
    add("fragments", [], None, style="fragments")
    add("drip", [], None, style="drip")
    add("shuffled", [], None, order=shuffled(each, context.seed))
    add("two-cuts", [Fault("fin", 40), Fault("rst", 40)], {"closed", "reset"})
    for name, (data, code, why) in VIOLATIONS.items():
        add(f"raw-{name}", [Fault("raw", 40, data)], why)
    for name, (data, _) in junk().items():
        add(f"junk-{name}", [Fault("extra", 40, data)], None)
    truths = {name: Truth(feed.messages) for name, feed in feeds.items()}
    all_messages = sum((feed.messages for feed in feeds.values()), [])
    extra = sum(count for _, count in junk().values())

    with serving(feeds) as server:
        job = Job(context, {name: server.url(name) for name in feeds})
        with Watch(job):
            job.start(1, 2)
            memory = 0

            def over():
                nonlocal memory
                memory = max(memory, *(resident_mb(pid) for pid in job.pids("collect")), 0)
                return all(feed.done for feed in feeds.values())

            try:
                job.until(over, 90, "all feeds delivering to their end")
            except Failure as why:
                stuck = [f"{name} ({feed.position} of {len(feed.order)}, {feed.handshakes} handshakes)"
                         for name, feed in feeds.items() if not feed.done]
                raise Failure(f"{why}; behind are {stuck}") from None
            sent = sum(feed.sent for feed in feeds.values()) + extra
            try:
                job.until(lambda: job.frames() >= sent, 20, f"the collector taking {sent} messages")
            except Failure as why:
                frames = {name: job.metric("feed_frames_total", f'feed="{name}"') for name in feeds}
                extras = {f"junk-{name}": count for name, (_, count) in junk().items()}
                wrong = [f"{name} {frames[name]:.0f} of {feed.sent + extras.get(name, 0)}" for name, feed in feeds.items()
                         if frames[name] != feed.sent + extras.get(name, 0)]
                raise Failure(f"{why}; wrong are {wrong}") from None
            until_published(job, sent)
            status, text = job.page("/readyz")
            expect_equal((status, text), (200, "ready\n"), "readyz when all feeds are connected")
            metrics = job.metrics()
            for feed in feeds.values():
                # The job's own end is no fault.
                feed.faulty = list(feed.cuts)
            job.stop()
        problems = []
        for name, feed in feeds.items():
            try:
                expect_fault(job, name, feed, reasons[name], truths[name], metrics)
            except Failure as why:
                problems.append(f"{name}: {why}")
        expect(not problems, f"{len(problems)} of {len(feeds)} feeds: " + "; ".join(problems))
        delivered, base = [], 0
        for feed in feeds.values():
            delivered += [base + index for index in feed.delivered()]
            base += len(feed.messages)
        Truth(all_messages).expect_in_lake(job.lake, delivered)
        expect_equal(total(job.lake, "messages"), sent, "published messages")
        totals = newest(job.lake)["totals"]
        handed = [truths[name].entries[sent.index] for name, feed in feeds.items() for sent in feed.ledger]
        again = len(handed) - handed.count(None) - len(set(handed) - {None})
        expect_equal(totals["redelivered"], again, "redelivered")
        # Messages without entry are heartbeats, and so are some of the junk:
        # newlines, pings_between: heartbeats; unknown_type and mark: other; the rest of the junk is rejected.
        expect_equal(totals["heartbeats"] + totals["other"] + totals["rejected"], extra + handed.count(None),
                     "junk that is accounted for")
        expect_equal(lakes.count(job.lake, "rejected"), totals["rejected"], "rows of rejected")
        expect(totals["rejected"] >= extra - 6, f"only {totals['rejected']} of {extra} junk messages were rejected")
        expect_whole(context, job.lake)
        expect(memory < 250, f"the collector took {memory} MiB")
        print(f"  {len(feeds)} feeds, {sent} messages, collector up to {memory} MiB", flush=True)


def expect_fault(job, name, feed, why, truth, metrics):
    """What one feed went through is told rightly."""
    gaps = gaps_of(job.lake, name)
    got = [gap[3] for gap in gaps]
    expect_equal(got[:1], ["started"], "reason of the first gap")
    expect(gaps[0][1] is None, f"the first gap begins at {gaps[0][1]}")
    standing = [cut for cut in feed.faulty if cut.connection >= 0 and feed_had(feed, cut.connection)]
    wanted = len(standing) if why else 0
    expect_equal(len(got) - 1, wanted, f"gaps beside the first ({got})")
    for cut, gap in zip(standing, gaps[1:]):
        expect(gap[3] in why, f"reason {gap[3]} ({gap[4]}), want {' or '.join(why)}")
        # A gap begins when the last message was read, which may be a little after the server's part was over.
        expect(gap[1] <= cut.at + READ_S and (cut.at <= gap[2] + TICK_S or cut.kind == "raw"),
               f"the gap from {gap[1]} to {gap[2]} is not that of {cut}")
    want = {truth.entries[index] for index in feed.delivered()} - {None}
    count = lakes.query(job.lake, "entries", "SELECT count(*) FROM {t} WHERE feed = ?", [name])
    expect_equal(count, [(len(want),)], "entries")
    if name.startswith("raw-"):
        code = VIOLATIONS[name.removeprefix("raw-")][1]
        said = [cut.code for cut in feed.cuts if cut.kind == "raw"]
        expect(code is None or said == [code], f"the client closed with {said}, want {code}")
    if any(fault in name for fault in ("503", "500", "html", "accept", "hangup")):
        expect("then 1 failure" in gaps[1][4], f"the gap's detail says nothing of the attempt that failed: {gaps[1][4]}")
    expect_equal(metrics[("ct_stream_feed_gaps_total", f'feed="{name}"')], len(got), "gaps in the metrics")
    expect_equal(metrics[("ct_stream_feed_connects_total", f'feed="{name}"')], feed.connections, "connects in the metrics")


def feed_had(feed, connection):
    return any(sent.connection == connection for sent in feed.ledger)


def resident_mb(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return int(found[1]) // 1024 if found else 0


# 4


class Losses:
    """What the kills of collectors cost, from the feed's ledger and the lake."""

    def __init__(self, feed, truth, lake, name):
        have = set(entries_of(lake))
        by_connection = collections.defaultdict(list)
        for sent in feed.ledger:
            by_connection[sent.connection].append(sent)
        # Sent again on another connection, it tells nothing.
        times = collections.Counter(sent.index for sent in feed.ledger)
        self.lost, gaps = [], gaps_of(lake, name)
        # Seconds from the delivery of a message that is lost to the end of its connection.
        self.longest = 0
        for connection, sents in by_connection.items():
            there = [truth.entries[sent.index] in have for sent in sents if times[sent.index] == 1 and truth.entries[sent.index]]
            sents = [sent for sent in sents if times[sent.index] == 1 and truth.entries[sent.index]]
            kept = sum(there)
            expect(there == [True] * kept + [False] * (len(there) - kept),
                   f"connection {connection}: messages are missing before others that are there: "
                   f"{there.index(False) if False in there else None} of {len(there)}")
            self.lost += sents[kept:]
            for sent in sents[kept:]:
                # Lost on its way, so between its delivery and the end of the connection.
                end = min([cut.at for cut in feed.cuts if cut.connection == connection], default=time.time())
                self.longest = max(self.longest, end - sent.at)
                expect_gap_at(gaps, end, f"message {sent.index}, lost on connection {connection} that ended", None)
                expect(any((gap[1] is None or gap[1] <= end + TICK_S) and sent.at <= gap[2] + TICK_S for gap in gaps),
                       f"no gap covers message {sent.index} that was sent at {sent.at:.3f}")
        self.kept = [sent for sent in feed.ledger if truth.entries[sent.index] in have]


def live_kills(context, kinds, kills, n, w):
    """Kills during a running feed, restarts with other -n and -w; what is lost is lost to a collector's death, and told."""
    rng = random.Random(f"{context.seed} live kills {n} {w}")
    rate = 500
    _, messages = make_messages(context, 4_000 + 1_500 * kills)
    truth = Truth(messages)
    feed = Feed(messages, rate=rate)
    keep = context.folder / "kept"
    killed_collector, catching_up = [], []
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")},
                  extra=f'[journal]\ndir = "{context.folder}/job-journal"\nsegment_mb = 1\nkeep = "{keep}"\n')
        with Watch(job):
            job.start(n, w)
            for at in range(kills):
                job.until(lambda: feed.connections > 0 and feed.flowing.is_set(), 20, "a connection")
                time.sleep(rng.uniform(0.1, 1.2))
                before = len(manifest_numbers(job.lake))
                moment = time.time()
                what = kinds[at % len(kinds)]
                if what in ("worker", "collect"):
                    pids = job.pids(what)
                    if not pids:
                        continue
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    if what == "collect":
                        killed_collector.append(moment)
                elif what == "supervisor":
                    orphans = descendants(job.process.pid)
                    os.kill(job.process.pid, signal.SIGKILL)
                    job.process.wait()
                    # They are not waited for: a service manager would not, either.
                    context.finish(job.process)
                    if rng.random() < 0.5:
                        wait_until(lambda: not any(alive(pid) for pid in orphans), 20, "the others ending after the supervisor")
                else:
                    job.kill()
                    killed_collector.append(moment)
                if what in ("supervisor", "all"):
                    moment = time.time()
                    n, w = rng.choice(((1, 1), (1, 2), (2, 1), (2, 2)))
                    job.start(n, w)
                job.until(lambda: len(manifest_numbers(job.lake)) > before + (what == "collect"), 30,
                          f"the next manifest after kill {at + 1} ({what})")
                took = time.time() - moment
                if what != "collect":
                    catching_up.append(took)
                expect(feed.position < len(messages) - 1_000, f"the feed is at its end after {at + 1} kills; use more messages")
            feed.end = feed.position
            job.until(lambda: feed.position >= feed.end, 10, "the feed pausing")
            until_quiet(job, feed)
            run = job.stop(seconds=STOP_S)
            # What came while the job drained.
            job.start()
            until_quiet(job, feed)
            job.stop()
        expect_whole(context, job.lake)
        losses = Losses(feed, truth, job.lake, "go")
        expect(losses.longest < JOURNALLED_AFTER_S,
               f"a message is lost that was delivered {losses.longest:.1f} s before its connection ended")
        truth.expect_in_lake(job.lake, [sent.index for sent in losses.kept])
        expect(max(catching_up, default=0) < RESTART_S,
               f"{max(catching_up, default=0):.1f} s from a kill to the next manifest, want less than {RESTART_S}")
        told = ", ".join(f"{took:.1f}" for took in catching_up)
        print(f"  {feed.sent} messages delivered, {len(losses.lost)} lost in {kills} kills, {len(killed_collector)} of them of collectors, "
              f"up to {losses.longest:.2f} s before the end and within gaps; restart to next manifest: {told or '-'} s; stop {run.took:.1f} s", flush=True)


def until_quiet(job, feed, seconds=60):
    """The feed is at its end, and nothing more is published; at once when all that was delivered is there."""
    seen = {"messages": -1, "since": time.monotonic()}

    def quiet():
        now = job.published()
        if now != seen["messages"]:
            seen.update(messages=now, since=time.monotonic())
        connected = any(value == 1 for (name, _), value in job.metrics().items() if name == "ct_stream_feed_connected")
        if connected and now >= feed.sent:
            return True
        return connected and time.monotonic() - seen["since"] > QUIET_S

    job.until(quiet, seconds, "the job catching up")


@check("live-kills")
def kills(context):
    """All kinds in turn; a third of what --kills allows."""
    count = max(4, round(context.kills / 3))
    live_kills(context, ("worker", "collect", "supervisor", "all"), count, 2, 1)


@check("live-kills-all")
def kills_all(context):
    live_kills(context, ("all",), max(2, round(context.kills / 10)), 1, 2)


# 5


@check("live-stop")
def live_stop(context):
    """SIGTERM at any moment ends with exit 0 in time; a second one ends it at once with exit 1; nothing journalled is lost."""
    rng = random.Random(f"{context.seed} stop")
    _, messages = make_messages(context, 12_000)
    truth = Truth(messages)
    feed = Feed(messages, rate=600)
    took = []
    with serving({"full": feed}) as server:
        # A long interval: at the end there is something to publish.
        job = Job(context, {"go": server.url("full")}, interval_s=2)
        with Watch(job):
            for at in range(5):
                job.start(*rng.choice(((1, 1), (2, 1), (1, 2))))
                time.sleep(rng.uniform(0, 1.2))
                took.append(job.stop().took)
            for pause in (0.02, 0.1, 0.5):
                job.start(2, 1)
                time.sleep(rng.uniform(0.4, 0.8))
                job.signal()
                job.until(lambda: "draining" in job.said(), 5, "the word that it is draining")
                time.sleep(pause)
                asked = time.monotonic()
                job.signal()
                run = context.finish(job.process, timeout=30)
                ended = time.monotonic() - asked
                # Over before the second signal came: fine, too.
                run.expect_code(0, 1)
                expect(ended < 2, f"{run}: {ended:.1f} s from the second SIGTERM to the end")
            # A gap is told when the feed is heard again.
            job.start()
            heard = feed.sent
            job.until(lambda: feed.sent > heard + 100, 10, "messages after the last start")
            feed.end = feed.position
            until_quiet(job, feed)
            job.stop()
        expect_whole(context, job.lake)
        losses = Losses(feed, truth, job.lake, "go")
        truth.expect_in_lake(job.lake, [sent.index for sent in losses.kept])
        gaps = gaps_of(job.lake)
        expect(gaps, "no gaps, though the job was stopped again and again")
        print(f"  SIGTERM to exit: {', '.join(f'{s:.1f}' for s in took)} s; {len(losses.lost)} messages of "
              f"{feed.sent} were on their way when a feed was closed", flush=True)


@check("live-stop-early")
def live_stop_early(context):
    """SIGTERM while the job starts: nothing of it stays, and a job that answers on its port drains."""
    feed = Feed(make_messages(context, 1_000)[1], rate=500)
    codes = {"before it answers": collections.Counter(), "once it answers": collections.Counter()}
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")})
        for at in range(8):
            job.start(ready=False)
            if at < 4:
                time.sleep(0.002 + 0.002 * at)
            else:
                job.until(lambda: job.get("/healthz"), 10, "the job serving /healthz")
            below = descendants(job.process.pid)
            job.signal()
            run = context.finish(job.process, timeout=STOP_S)
            # A system call may have been on its way.
            codes["once it answers" if "are served" in run.err else "before it answers"][run.code] += 1
            wait_until(lambda: not any(alive(pid) for pid in below), 10, "processes of a job ending that ended early")
        job.start()
        job.until(lambda: feed.sent > 0, 10, "a message")
        job.stop()
    # The system ends a program that has not yet said what it does on SIGTERM.
    told = {when: dict(counts) for when, counts in codes.items()}
    expect(codes["before it answers"].keys() <= {0, -signal.SIGTERM}, f"exit codes {told}")
    expect(codes["once it answers"].keys() <= {0}, f"exit codes {told}, want 0 of a job that serves /healthz")


# 6


@check("live-freeze-worker")
def freeze_worker(context):
    """A worker that does nothing is reported, killed and started again; nothing is lost."""
    _, messages = make_messages(context, 12_000)
    feed = Feed(messages, rate=400)
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")}, extra="[cluster]\nstall_s = 3\n")
        with Watch(job):
            job.start(2, 1)
            job.until(lambda: manifest_numbers(job.lake), 20, "the first manifest")
            pid = job.pids("worker")[-1]
            os.kill(pid, signal.SIGSTOP)
            frozen = time.time()
            job.until(lambda: not alive(pid), 10, "the frozen worker being killed")
            killed = time.time() - frozen
            before = len(manifest_numbers(job.lake))
            job.until(lambda: len(manifest_numbers(job.lake)) > before + 1, 20, "manifests after the restart")
            back = time.time() - frozen
            job.until(lambda: job.metric("cluster_restarts_total") == 1, 5, "a restart in the metrics")
            expect_equal(job.metric("collector_restarts_total"), 0, "restarts of the collector")
            feed.end = feed.position
            until_taken(job, feed, feed.end)
            until_published(job, feed.end)
            run = job.stop()
        expect("does nothing" in run.err, f"{run}: no line on stderr says that a worker does nothing")
        expect("start again from the resume point" in run.err, f"{run}: no line on stderr says that it starts again")
        expect(2.5 <= killed < 6, f"the worker was killed after {killed:.1f} s, want 3")
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_equal([gap[3] for gap in gaps_of(job.lake)], ["started"], "gaps")
        expect_whole(context, job.lake)
        print(f"  killed after {killed:.1f} s, publishing after {back:.1f} s", flush=True)


@check("live-freeze-collector")
def freeze_collector(context):
    """A collector that sleeps for 3 s goes on; nothing is lost, nothing is restarted."""
    _, messages = make_messages(context, 12_000)
    feed = Feed(messages, rate=400)
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")}, feed_keys={"go": "ping_s = 1\nidle_s = 2\n"})
        with Watch(job):
            job.start(1, 1)
            job.until(lambda: feed.sent > 400, 20, "400 messages")
            (pid,) = job.pids("collect")
            os.kill(pid, signal.SIGSTOP)
            time.sleep(3)
            os.kill(pid, signal.SIGCONT)
            then = feed.sent
            job.until(lambda: feed.sent > then + 400, 20, "400 messages more")
            feed.end = feed.position
            until_taken(job, feed, feed.end)
            until_published(job, feed.end)
            expect_equal(job.pids("collect"), [pid], "collectors")
            metrics = job.metrics()
            job.stop()
        expect_equal(metrics[("ct_stream_collector_restarts_total", "")], 0, "restarts of the collector")
        expect_equal(metrics[("ct_stream_cluster_restarts_total", "")], 0, "restarts of the cluster")
        expect_equal(feed.connections, 1, "connections")
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_equal([gap[3] for gap in gaps_of(job.lake)], ["started"], "gaps")
        expect_whole(context, job.lake)


# 7


@check("live-full")
def journal_full(context):
    """The lake's disk is full: feeds are read until the journal is full and no further; with room, all is published."""
    _, messages = make_messages(context, 6_000)
    feed = Feed(messages, rate=1_500)
    with serving({"full": feed}) as server, small_disk(context, 600) as disk:
        job = Job(context, {"go": server.url("full")}, lake=disk / "lake",
                  extra=f'[journal]\ndir = "{context.folder}/job-journal"\nsegment_mb = 1\nmb_max = 4\n')
        with Watch(job):
            job.start(1, 1)
            job.until(lambda: job.metric("journal_full") == 1, 60, "the journal being full")
            filled = time.time()
            status, text = job.page("/readyz")
            expect(status == 503 and "journal" in text, f"readyz says {status} {text!r}")
            # What is on its way fits into sockets and queues; then the feed stands still.
            seen = [-1]

            def stands():
                seen.append(feed.sent)
                time.sleep(0.5)
                return seen[-1] == seen[-2]

            job.until(stands, 20, "the feed standing still")
            expect(feed.sent < len(messages), "the feed was read to its end; use a smaller journal")
            size = sum(path.stat().st_size for path in job.journal.glob("*.jsonl"))
            expect(size < 12 << 20, f"the journal has {size >> 20} MiB, want about 4")
            expect(job.page("/healthz")[0] == 200, "healthz is not well")
            expect_equal(mount("-o", "remount,size=1g", disk), 0, "mount -o remount")
            until_taken(job, feed, seconds=60)
            until_published(job, len(messages))
            job.until(lambda: (job.get("/readyz") or [0])[0] == 200, 10, "readyz being well again")
            run = job.stop()
        expect("journal is full" in run.err, f"{run}: no line on stderr says that the journal is full")
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_gap_at(gaps_of(job.lake), filled, "the time when the journal was full", {"journal_full"})
        expect_whole(context, job.lake)


@check("live-full-lake")
def lake_full(context):
    """A lake that is full for a moment, in front of a journal with room: the job waits, and goes on."""
    _, messages = make_messages(context, 4_000)
    feed = Feed(messages, rate=1_000)
    with serving({"full": feed}) as server, small_disk(context, 400) as disk:
        job = Job(context, {"go": server.url("full")}, lake=disk / "lake")
        with Watch(job):
            job.start(1, 1)
            until_taken(job, feed)
            time.sleep(2)
            expect(job.published() < len(messages), "all fitted; use a smaller disk")
            expect(job.process.poll() is None, "the job has ended")
            expect_equal(mount("-o", "remount,size=1g", disk), 0, "mount -o remount")
            until_published(job, len(messages))
            job.stop()
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_whole(context, job.lake)


@check("live-full-s3")
def journal_full_s3(context):
    """The same before a store that is away: feeds wait, nothing is lost, the gap says so."""
    _, messages = make_messages(context, 4_000 if is_quick(context) else 8_000)
    feed = Feed(messages, rate=1_500)
    with s3(context) as store, serving({"full": feed}) as server:
        proxy = Proxy(store.port)
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        job = Job(context, {"go": server.url("full")}, lake=s3_url("lake"),
                  extra=f'[journal]\ndir = "{context.folder}/job-journal"\nsegment_mb = 1\nmb_max = 2\n')
        job.published = lambda: published_on(store)
        job.start(1, 1)
        job.until(lambda: store.manifests("lake"), 30, "the first manifest")
        proxy.set("refuse")
        job.until(lambda: job.metric("journal_full") == 1, 30, "the journal being full")
        filled = time.time()
        status, text = job.page("/readyz")
        expect(status == 503 and "journal: full" in text, f"readyz says {status} {text!r}")
        time.sleep(2)
        taken = job.frames()
        time.sleep(1)
        expect_equal(job.frames(), taken, "messages that a full journal takes")
        expect(feed.sent < len(messages), "the feed was read to its end; use a smaller journal")
        proxy.set("pass")
        until_taken(job, feed, seconds=60)
        until_published(job, len(messages))
        job.until(lambda: (job.get("/readyz") or [0])[0] == 200, 10, "readyz being well again")
        job.stop(seconds=30)
        context.verify(s3_url("lake")).expect_code(0)
        lake = store.copy("lake", context.folder / "copy")
        Truth(messages).expect_in_lake(lake, feed.delivered())
        expect_gap_at(gaps_of(lake), filled + 1, "the time when the journal was full", {"journal_full"})
        expect_equal(feed.connections, 1, "connections")


# 8


def check_disk(context, ballast):
    _, messages = make_messages(context, 6_000)
    feed = Feed(messages, rate=1_500 if ballast else None)
    with serving({"full": feed}) as server, small_disk(context, 12_000 if ballast else 4_000) as disk:
        journal = disk / "journal"
        job = Job(context, {"go": server.url("full")}, journal=journal,
                  extra=f'[journal]\ndir = "{journal}"\nsegment_mb = 1\n', interval_s=1 if ballast else 2)
        with Watch(job):
            job.start(1, 1)
            if ballast:
                job.until(lambda: job.published() > 200, 20, "200 messages published")
                room = os.statvfs(disk)
                with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as file:
                    file.write(bytes(room.f_bavail * room.f_bsize + 4096))
                    file.write(bytes(1 << 20))
                job.until(lambda: job.metric("journal_failing") == 1, 30, "the metrics saying that the journal fails")
                status, text = job.page("/readyz")
                expect(status == 503 and "journal" in text, f"readyz says {status} {text!r}")
                time.sleep(2)
                (disk / "ballast").unlink()
            # Without ballast the journal's own segments fill the disk: publishing makes room.
            until_taken(job, feed, seconds=25)
            until_published(job, len(messages))
            job.until(lambda: (job.get("/readyz") or [0])[0] == 200, 10, "readyz being well again")
            run = job.stop()
        if ballast:
            expect("cannot be written" in run.err, f"{run}: no line on stderr says that the journal cannot be written")
        expect_equal(feed.connections, 1, "connections")
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_whole(context, job.lake)


@check("live-disk")
def disk_full(context):
    """The journal's disk is full for some seconds, by something else: nothing is lost."""
    check_disk(context, ballast=True)


@check("live-disk-burst")
def disk_burst(context):
    """The journal's disk is filled by a burst, before what came is old enough to be published: publishing makes room."""
    check_disk(context, ballast=False)


# 9


class Proxy:
    """TCP to a port of this machine, until told otherwise: refuse, reset or hang."""

    def __init__(self, to):
        self.to, self.mode, self.pairs, self.lock = to, "pass", [], threading.Lock()
        self.listener, self.port = None, free_port()
        self.listen()

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.mode == "reset":
                reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            with self.lock:
                self.pairs.append((client, server))
            threading.Thread(target=self.connect, args=(client, server), daemon=True).start()

    def connect(self, client, server):
        back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
        back.start()
        self.pump(client, server)
        back.join()
        with self.lock:
            self.pairs = [pair for pair in self.pairs if pair != (client, server)]
        client.close()
        server.close()

    def pump(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                while self.mode == "hang":
                    time.sleep(0.02)
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """Resets all that stands."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for client, server in pairs:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def set(self, mode):
        if mode == "refuse":
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        elif self.mode == "refuse":
            self.listen()
        self.mode = mode
        if mode in ("refuse", "reset"):
            self.cut()


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


@check("live-s3")
def on_s3(context):
    """The store hangs, refuses, resets: the job goes on and catches up, and the end is whole."""
    _, messages = make_messages(context, 8_000)
    feed = Feed(messages, rate=300)
    with s3(context) as store, serving({"full": feed}) as server:
        proxy = Proxy(store.port)
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        job = Job(context, {"go": server.url("full")}, lake=s3_url("lake"))
        job.published = lambda: published_on(store)
        job.start(1, 2)
        told = []

        def outage(name, begin, end, seconds=3 if is_quick(context) else 5):
            job.until(lambda: feed.sent > 0 and job.frames() > 0, 20, "messages")
            before = len(store.manifests("lake"))
            job.until(lambda: len(store.manifests("lake")) > before, 40, f"a manifest before: {name}")
            begin()
            time.sleep(seconds)
            end()
            ended, before = time.time(), len(store.manifests("lake"))
            job.until(lambda: len(store.manifests("lake")) > before, 60, f"a manifest after: {name}")
            told.append(f"{name} {time.time() - ended:.1f} s")

        outage("stopped", lambda: os.kill(store.process.pid, signal.SIGSTOP),
               lambda: os.kill(store.process.pid, signal.SIGCONT))
        outage("refused", lambda: proxy.set("refuse"), lambda: proxy.set("pass"))
        if not is_quick(context):
            outage("reset", lambda: proxy.set("reset"), lambda: proxy.set("pass"))
            outage("hung", lambda: proxy.set("hang"), lambda: proxy.set("pass"))
        # Cut in the middle of whatever is on its way, again and again.
        for _ in range(10):
            proxy.cut()
            time.sleep(0.1)
        feed.end = feed.position
        until_taken(job, feed, feed.end)
        until_published(job, feed.end)
        restarts = job.metric("cluster_restarts_total")
        job.stop(seconds=30)
        os.environ["AWS_ENDPOINT_URL"] = store.url
        context.verify(s3_url("lake")).expect_code(0)
        lake = store.copy("lake", context.folder / "copy")
        Truth(messages).expect_in_lake(lake, feed.delivered())
        expect_equal(len(store.manifests("lake")), len(manifest_numbers(lake)), "manifests")
        expect_equal(feed.connections, 1, "connections")
        print(f"  next manifest after {', '.join(told)}; {restarts:.0f} restarts of the cluster", flush=True)


def published_on(store):
    keys = sorted(store.manifests("lake"))
    if not keys:
        return 0
    body = store.client.get_object(Bucket="ct-lake", Key=keys[-1])["Body"].read()
    return json.loads(body)["totals"]["messages"]


# 10


@check("live-redis")
def on_redis(context):
    """Redis dies and comes back empty, is flushed, runs out of memory: the job goes on, and hot state is that of the lake."""
    _, messages = make_messages(context, 8_000)
    feed = Feed(messages, rate=500)
    with redis(context) as store, serving({"full": feed}) as server:
        keys = f"[hot]\nttl_s = {TTL_S}\nper_domain = 20\nfindings_max = 1000000\n"
        job = Job(context, {"go": server.url("full")}, hot=store.url, extra=keys)
        told = []

        def converged(what):
            began = time.time()
            job.until(lambda: job.metric("hot_manifest") == job.metric("manifest", default=-1), 30, f"hot state after {what}")
            told.append(f"{what} {time.time() - began:.1f} s")

        def more(count):
            then = job.published()
            job.until(lambda: job.published() > then + count, 30, f"{count} messages more")

        with Watch(job):
            job.start(1, 1)
            more(200)
            converged("the start")
            store.stop()
            more(500)
            expect(job.get("/readyz") is not None, "no page while Redis is away")
            store.start()
            converged("a restart")
            more(200)
            Resp(store.port)("FLUSHALL")
            more(200)
            converged("FLUSHALL")
            Resp(store.port)("CONFIG", "SET", "maxmemory-policy", "noeviction")
            Resp(store.port)("CONFIG", "SET", "maxmemory", "1mb")
            more(500)
            Resp(store.port)("CONFIG", "SET", "maxmemory", "0")
            converged("being out of memory")
            os.kill(store.process.pid, signal.SIGSTOP)
            more(500)
            os.kill(store.process.pid, signal.SIGCONT)
            converged("being stopped")
            feed.end = feed.position
            until_taken(job, feed, feed.end)
            until_published(job, feed.end)
            converged("all")
            # A stop while Redis is away waits for it only a while.
            store.stop()
            job.stop(seconds=STOP_S)
            store.start()
            job.start()
            converged("a start with an empty server")
            job.stop()
        Truth(messages).expect_in_lake(job.lake, feed.delivered())
        expect_redis(store, job.lake)
        expect_whole(context, job.lake)
        print(f"  caught up after {', '.join(told)}", flush=True)


# 11

KINDS = {"counter": ("_total",), "gauge": ("",)}
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABELS = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse_metrics(text):
    """OpenMetrics 1.0 as far as counters and gauges go; what breaks its rules fails. Gives sample -> value."""
    expect(text.endswith("# EOF\n"), "the page does not end with # EOF")
    families, samples, current = {}, {}, None
    lines = text.splitlines()
    for at, line in enumerate(lines[:-1], 1):
        where = f"line {at} of the metrics, {shorten(line, 120)!r}"
        words = line.split(" ", 3)
        if words[0] == "#":
            expect(len(words) == 4 and words[1] in ("HELP", "TYPE", "UNIT"), f"{where}: neither HELP, TYPE nor UNIT")
            _, what, name, value = words
            expect(NAME.fullmatch(name), f"{where}: bad name")
            if name != current:
                expect(name not in families, f"{where}: the family comes in two places")
                families[name], current = {}, name
            expect(what not in families[name], f"{where}: twice")
            families[name][what] = value
            continue
        found = re.fullmatch(r"([^ {]+)(?:\{(.*)\})? (\S+)", line)
        expect(found, f"{where}: no sample")
        name, labels, value = found.groups()
        expect(current is not None, f"{where}: before any family")
        kind = families[current].get("TYPE")
        expect(kind in KINDS, f"{where}: type {kind}")
        expect("HELP" in families[current], f"{where}: no HELP")
        expect(any(name == current + suffix for suffix in KINDS[kind]), f"{where}: not a sample of {kind} {current}")
        if "UNIT" in families[current]:
            expect(current.endswith("_" + families[current]["UNIT"]), f"{where}: the name does not end with its unit")
        expect(not current.endswith("_total"), f"{where}: the name of a family ends with _total")
        if labels is not None:
            rest = LABELS.sub("", labels)
            expect(labels and not rest, f"{where}: labels {rest!r}")
            names = [label for label, _ in LABELS.findall(labels)]
            expect_equal(len(names), len(set(names)), f"{where}: labels")
        number = float(value)
        expect(number == number and (kind != "counter" or number >= 0), f"{where}: value")
        expect((name, labels) not in samples, f"{where}: twice")
        samples[name, labels or ""] = number
    for name, told in families.items():
        expect("TYPE" in told and told.get("HELP", "").strip(), f"family {name} has no type or help")
        expect(name.startswith("ct_stream_"), f"family {name} lacks the prefix")
    return samples


def ask_raw(port, data, timeout=5):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while got := client.recv(4096):
                answer += got
    return answer


@check("live-http")
def pages(context):
    """Health, readiness and metrics say what is, to well-behaved clients, while others misbehave."""
    _, messages = make_messages(context, 4_000)
    feed, odd = Feed(messages, rate=300), Feed(messages[:50], faults=[Fault("status", 0, 503) for _ in range(100)])
    with serving({"full": feed, "odd": odd}) as server:
        job = Job(context, {"go": server.url("full"), "down": server.url("odd")})
        job.start(1, 1)
        job.until(lambda: job.published() > 100, 20, "100 messages published")
        expect_equal(job.get("/healthz"), (200, "ok\n"), "healthz")
        status, text = job.page("/readyz")
        expect(status == 503 and text.count("\n") == 1 and text.startswith("feed down"), f"readyz says {status} {text!r}")
        client = http.client.HTTPConnection("127.0.0.1", job.port, timeout=5)
        client.request("GET", "/metrics")
        answer = client.getresponse()
        expect("openmetrics-text" in answer.getheader("content-type"), f"content type {answer.getheader('content-type')}")
        page = answer.read()
        first = parse_metrics(page.decode())
        for name in ("feed_frames_total", "feed_connected", "feed_silence_seconds"):
            expect((f"ct_stream_{name}", 'feed="go"') in first, f"the metrics lack {name} of the feed")
        expect_equal(first["ct_stream_feed_connected", 'feed="go"'], 1, "connected")
        expect(0 <= first["ct_stream_feed_silence_seconds", 'feed="go"'] < 5, "silence of the feed")
        time.sleep(1.5)
        second = parse_metrics(job.get("/metrics")[1])
        for sample, value in first.items():
            if sample[0].endswith("_total"):
                expect(second.get(sample, -1) >= value, f"{sample} went from {value} to {second.get(sample)}")
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for path in ("/metrics", "/healthz", "/nowhere"):
                expect_equal(job.get(path, method)[0], 405, f"{method} {path}")
        for path in ("/", "/nowhere", "/metrics/", "/healthz/../metrics", "//metrics"):
            expect_equal(job.get(path)[0], 404, f"GET {path}")
        expect_equal(job.get("/metrics?x=1")[0], 200, "GET with a query")
        expect_equal(job.get("/healthz", "HEAD"), (200, ""), "HEAD")
        misbehave(job, crowded=not is_quick(context))
        expect_equal(job.get("/healthz", timeout=2), (200, "ok\n"), "healthz after bad clients")

        other = Job(context, {"go": server.url("full")}, name="other")
        other.config.write_text(other.config.read_text().replace(f":{other.port}", f":{job.port}"))
        run = context.run("run", "-c", other.config, "--lake", other.lake, "--hot", "none", timeout=30).expect_code(2)
        lines = run.err.splitlines()
        expect(len(lines) == 1 and "http.addr" in lines[0], f"{run}: want one line that names http.addr; {run.tail()}")
        expect(not other.lake.exists() or not manifest_numbers(other.lake), "the refused job wrote to its lake")
        odd.faults.clear()
        if not is_quick(context):
            job.until(lambda: (job.get("/readyz") or [0])[0] == 200, 60, "readyz once the other feed is up")
        job.stop()
        expect(job.get("/healthz") is None, "the page is served after the job's end")
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=page, check=False)
        expect_equal(done.returncode, 0, "promtool check metrics")


@check("live-http-labels")
def labels(context):
    """A feed's name may hold what has to be escaped in a label, and is told as it is in readyz and the lake."""
    name = 'a "x\\y" <b> ü'
    feed = Feed(make_messages(context, 1_000)[1], rate=300)
    with serving({"full": feed}) as server:
        job = Job(context, {name.replace("\\", "\\\\").replace('"', '\\"'): server.url("full")})
        job.start()
        job.until(lambda: job.published() > 100, 20, "100 messages published")
        page = job.page("/metrics")[1]
        job.stop()
        expect_equal({gap[0] for gap in gaps_of(job.lake)}, {name}, "feeds in gaps")
        expect_equal(lakes.query(job.lake, "entries", "SELECT DISTINCT feed FROM {t}"), [(name,)], "feeds of entries")
        samples = parse_metrics(page)
        label = 'feed="' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        expect(("ct_stream_feed_connected", label) in samples, f"no sample with {label}")


def misbehave(job, crowded):
    """Slow, silent and rude clients: others are answered all the same, and nobody stays for ever."""
    slow = []
    try:
        for at in range(40):
            client = socket.create_connection(("127.0.0.1", job.port), timeout=30)
            client.sendall((b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")[at % 3])
            slow.append(client)
        for _ in range(5):
            asked = time.monotonic()
            answer = job.get("/metrics", timeout=2)
            expect(answer is not None and answer[0] == 200, "a slow client hangs the others")
            expect(time.monotonic() - asked < 1, "a slow client makes the others slow")
        for data in (b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 100 + b"\0\r\n\r\n",
                     b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
                     b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"):
            answer = ask_raw(job.port, data)
            expect(not answer or answer.startswith(b"HTTP/1.1 4"), f"{shorten(data[:40])} is answered with {answer[:60]}")
        if not crowded:
            return
        # Beyond all places, whoever waits gets one when the slow ones are thrown out.
        for _ in range(60):
            client = socket.create_connection(("127.0.0.1", job.port), timeout=30)
            client.sendall(b"GET /met")
            slow.append(client)
        asked = time.monotonic()
        answer = job.get("/healthz", timeout=30)
        expect(answer is not None and answer[0] == 200,
               f"with 100 slow clients nobody is answered within {time.monotonic() - asked:.0f} s")
    finally:
        for client in slow:
            client.close()


# 12


def plan_of(pid):
    """The file that a process of the job reads its plan from."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    return words[words.index(b"--plan") + 1] if b"--plan" in words else None


@check("live-secrets")
def secrets(context):
    """What is secret is in no output, no page, no file of the job's and no argument, also when things fail."""
    marks = {name: f"canary-{name}-{random.Random(context.seed + at).randrange(1 << 60):x}"
             for at, name in enumerate(("header", "query", "password", "user"))}
    _, messages = make_messages(context, 2_000)
    feeds = {
        "good": Feed(messages, rate=300),
        "broken": Feed(messages, faults=[Fault("status", 0, 503, f"X-Echo: {marks['header']}\r\n"), Fault("accept"),
                                         Fault("raw", 3, frame(b"x", 3))]),
    }
    os.environ |= {"LIVE_" + name.upper(): mark for name, mark in marks.items()}
    problems, seen = [], 0
    try:
        with redis(context) as store, serving(feeds) as server:
            Resp(store.port)("CONFIG", "SET", "requirepass", marks["password"])
            port = store.port
            headers = 'ping_s = 1\nidle_s = 3\nheaders = { Authorization = "Bearer ${LIVE_HEADER}", X-Key = "${LIVE_HEADER}" }\n'
            urls = {name: server.url(name) + "?token=${LIVE_QUERY}" for name in feeds}
            urls["gone"] = f"ws://127.0.0.1:{free_port()}/x?token=${{LIVE_QUERY}}"
            for name, hot in (("right", f"redis://:${{LIVE_PASSWORD}}@127.0.0.1:{port}"),
                              ("wrong", f"redis://${{LIVE_USER}}:${{LIVE_PASSWORD}}x@127.0.0.1:{port}")):
                job = Job(context, urls, name=name, feed_keys=dict.fromkeys(urls, headers),
                          extra=f'[hot]\nurl = "{hot}"\n[log]\nlevel = "debug"\n')
                job.process = context.start("run", "-c", job.config, "--lake", job.lake, "--log-level", "debug",
                                            "-n", 2, "--summary", "json")
                job.until(lambda: job.published() > 200, 30, "200 messages published")
                for pid in [job.process.pid, *descendants(job.process.pid)]:
                    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                    problems += [f"the {mark} is in an argument of process {pid}" for mark, text in marks.items()
                                 if text.encode() in words]
                    plan = plan_of(pid)
                    if plan:
                        seen += 1
                        mode = stat.S_IMODE(os.stat(plan).st_mode)
                        if mode & 0o077:
                            problems.append(f"plan file {plan.decode()} has mode {mode:o}")
                store.stop()
                job.until(lambda: job.get("/metrics"), 5, "the metrics")
                time.sleep(1)
                told = {"metrics": job.get("/metrics")[1], "readyz": job.get("/readyz")[1]}
                store.start()
                os.kill(job.pids("collect")[0], signal.SIGKILL)
                os.kill(job.pids("worker")[0], signal.SIGKILL)
                time.sleep(1)
                plans = {plan_of(pid) for pid in descendants(job.process.pid)} - {None}
                run = job.stop()
                problems += [f"plan file {plan.decode()} is there after the end" for plan in plans if os.path.exists(plan)]
                told |= {"stderr": run.err, "stdout": run.out}
                for where, text in told.items():
                    problems += [f"the {mark} is in {where} of the {name} job: "
                                 + shorten(next(line for line in text.splitlines() if secret in line), 200)
                                 for mark, secret in marks.items() if secret in text]
                if name == "wrong":
                    expect("hot state" in run.err.lower(), f"{run}: nothing on stderr speaks of hot state")
                for path in (*job.lake.rglob("*"), *job.journal.rglob("*")):
                    if path.is_file():
                        content = path.read_bytes()
                        problems += [f"the {mark} is in {path.relative_to(context.folder)}" for mark, text in marks.items()
                                     if text.encode() in content]
                Resp(store.port)("CONFIG", "SET", "requirepass", marks["password"])
            expect(any(marks["header"] in headers.get("authorization", "") for headers in feeds["good"].requests),
                   "the feed never saw the header")
    finally:
        for name in marks:
            os.environ.pop("LIVE_" + name.upper(), None)
    expect(seen >= 4, f"only {seen} plan files were looked at")
    expect(not problems, f"{len(problems)}: " + "; ".join(problems[:8]))


# 13


@check("live-config")
def config(context):
    """A mistake is exit 2 and one line that names the key, before anything is touched; `check` finds the same."""
    feed = '[[feeds]]\nname = "go"\nurl = "ws://127.0.0.1:1/"\n'
    cases = {
        "none": ("", "feeds"),
        "two of one name": (feed + feed, "feeds[1].name"),
        "no name": ('[[feeds]]\nurl = "ws://127.0.0.1:1/"\n', "name"),
        "empty name": (feed.replace('"go"', '""'), "feeds[0].name"),
        "long name": (feed.replace("go", "g" * 65), "feeds[0].name"),
        "name of all": (feed.replace("go", "*"), "feeds[0].name"),
        "control in a name": (feed.replace("go", "g\\u001bo"), "feeds[0].name"),
        "no url": ('[[feeds]]\nname = "go"\n', "url"),
        "plain": (feed.replace("127.0.0.1:1", "feed.example"), "allow_plaintext"),
        "plain private": (feed.replace("127.0.0.1:1", "10.0.0.1"), "allow_plaintext"),
        "not a url": (feed.replace("ws://127.0.0.1:1/", "feed.example"), "url"),
        "scheme": (feed.replace("ws://", "https://"), "url"),
        "credentials": (feed.replace("ws://", "ws://me:hunter2@"), "url"),
        "fragment": (feed.replace(":1/", ":1/#x"), "url"),
        "header": (feed + 'headers = { "a b" = "c" }\n', "header"),
        "header line": (feed + 'headers = { X = "hunter2\\r\\nY: z" }\n', "header"),
        "header of ours": (feed + 'headers = { Host = "hunter2" }\n', "header"),
        "ca_file": (feed.replace("ws://", "wss://") + 'ca_file = "gone.pem"\n', "ca_file"),
        "key": (feed + "no_such_key = 1\n", "no_such_key"),
        "ping": (feed + "ping_s = 0\n", "feeds[0].ping_s"),
        "idle": (feed + "ping_s = 5\nidle_s = 5\n", "feeds[0].idle_s"),
        "message": (feed + "message_mb = 5\n", "feeds[0].message_mb"),
        "message zero": (feed + "message_mb = 0\n", "feeds[0].message_mb"),
        "interval": ("[lake]\npublish_interval_s = 0\n" + feed, "lake.publish_interval_s"),
        "stall": ("[cluster]\nstall_s = 1\n" + feed, "cluster.stall_s"),
        "segment": ("[journal]\nsegment_mb = 0\n" + feed, "journal.segment_mb"),
        "max": ("[journal]\nsegment_mb = 64\nmb_max = 100\n" + feed, "journal.mb_max"),
        "keep": ('[journal]\nkeep = "ftp://x/y"\n' + feed, "journal.keep"),
        "journal key": ("[journal]\nfolder = 1\n" + feed, "folder"),
        "http": ('[http]\naddr = "nowhere"\n' + feed, "http.addr"),
        "variable": (feed + 'headers = { X = "${LIVE_NOT_SET}" }\n', "LIVE_NOT_SET"),
    }
    problems = []
    path = context.folder / "config.toml"
    lake, journal = context.folder / "lake", context.folder / "journal"
    for name, (text, key) in cases.items():
        path.write_text(text)
        args = ["-c", path, "--lake", lake, "--hot", "none", "--journal", journal]
        if name != "http":
            args += ["--http", "none"]
        run = context.run("run", *args, timeout=30)
        lines = run.err.splitlines()
        if run.code != 2 or len(lines) != 1 or key.lower() not in lines[0].lower() or run.out:
            problems.append(f"{name}: exit {run.code}, {len(lines)} lines; {run.tail()}")
        if "hunter2" in run.err:
            problems.append(f"{name}: the secret is shown: {run.tail()}")
        if lake.exists() or journal.exists():
            problems.append(f"{name}: it has made {[p.name for p in (lake, journal) if p.exists()]}")
            shutil.rmtree(lake, ignore_errors=True)
            shutil.rmtree(journal, ignore_errors=True)
    expect(not problems, f"{len(problems)} of {len(cases)}: " + "; ".join(problems))


@check("live-config-check")
def config_check(context):
    """`ct-stream check` names the mistakes of feeds that `run` names, and says what would run."""
    path = context.folder / "config.toml"
    feed = '[[feeds]]\nname = "go"\nurl = "ws://127.0.0.1:1/"\n'
    path.write_text(feed)
    run = context.run("check", "-c", path).expect_code(0)
    expect("go" in run.out, f"{run}: no word of the feed on stdout: {shorten(run.out)}")
    problems = []
    for text, key in ((feed.replace("127.0.0.1:1", "feed.example"), "allow_plaintext"), (feed.replace("ws://", "ftp://"), "url"),
                      (feed + 'headers = { "a b" = "c" }\n', "header"), (feed + feed, "feeds[1].name"),
                      (feed + '[http]\naddr = "nowhere"\n', "http.addr")):
        path.write_text(text)
        run = context.run("check", "-c", path)
        if run.code != 2 or key not in run.err:
            problems.append(f"{key}: exit {run.code}; {run.tail()}")
    expect(not problems, f"{len(problems)}: " + "; ".join(problems))


@check("live-config-held")
def held(context):
    """A journal or a lake that another job holds: one clear line, and the other goes on."""
    _, messages = make_messages(context, 1_000)
    feed = Feed(messages, rate=100)
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")})
        job.start()
        job.until(lambda: job.published() > 0, 20, "a message published")
        same_journal = Job(context, {"go": server.url("full")}, journal=job.journal, name="same-journal")
        same_lake = Job(context, {"go": server.url("full")}, lake=job.lake, name="same-lake")
        for other, codes, word in ((same_journal, (1, 4), "another process writes this journal"), (same_lake, (4,), "lake")):
            run = context.run("run", "-c", other.config, "--lake", other.lake, "--hot", "none", timeout=30)
            run.expect_code(*codes)
            lines = [line for line in run.err.splitlines() if line.startswith("ct-stream: ")]
            expect(len(lines) == 1 and word in lines[0], f"{run}: want one line that says {word!r}; {run.tail()}")
        file = context.folder / "a-file"
        file.touch()
        other = Job(context, {"go": server.url("full")}, journal=file, name="file")
        run = context.run("run", "-c", other.config, "--lake", other.lake, "--hot", "none", timeout=30).expect_code(1, 2)
        lines = [line for line in run.err.splitlines() if line.startswith("ct-stream: ")]
        expect(len(lines) == 1 and "a-file" in lines[0], f"{run}: want one line that names the journal; {run.tail()}")
        then = job.published()
        job.until(lambda: job.published() > then + 50, 20, "the first job going on")
        job.stop()
        expect_whole(context, job.lake)


# 14


@check("live-replay-journal")
def replay_journal(context):
    """What journal.keep keeps is an archive: replayed, it gives the rows of the live lake."""
    count = min(context.messages, 8_000)
    _, messages = make_messages(context, count, malformed=0.004, redelivered=0.01)
    feed = Feed(messages, rate=2_000, faults=[Fault("fin", count // 3)])
    keep = context.folder / "kept"
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")}, interval_s=1,
                  extra=f'[journal]\ndir = "{context.folder}/job-journal"\nsegment_mb = 1\nkeep = "{keep}"\n')
        with Watch(job):
            job.start(1, 2)
            until_taken(job, feed)
            until_published(job, len(messages))
            # A segment is kept when a manifest has gone beyond it: all but the newest.
            job.until(lambda: len(list(job.journal.glob("*.jsonl"))) == 1, 20, "all but the newest segment kept")
            job.stop()
    segments = sorted(keep.glob("*.jsonl.zst"))
    left = list(job.journal.glob("*.jsonl"))
    expect(len(segments) >= 3, f"{len(segments)} segments were kept")
    whole = context.folder / "replayed"
    context.replay([*segments, *left], whole, extra=["--feed", "go"])
    for table, without in (("certificates", ()), ("entries", ()), ("findings", ())):
        got, want = lakes.contents(whole, table, without), lakes.contents(job.lake, table, without)
        if got != want:
            raise Failure(f"{table} of the replay differ: {lakes.difference(whole, job.lake, lakes.PLACE + ('seen',))}")
    for one in (whole, job.lake):
        expect(lakes.count(one, "certificates") > 0, f"no certificate in {one}")
    got, want = (lakes.query(one, "rejected", "SELECT reason, raw FROM {t} ORDER BY ALL") for one in (whole, job.lake))
    expect(got == want, f"rejected of the replay: {len(got)} rows against {len(want)}")
    # The place in `rejected` leads to the message in the archive.
    rows = lakes.query(job.lake, "rejected", 'SELECT segment, line, "offset", raw FROM {t}')
    expect(rows, "nothing was rejected")
    for segment, line, offset, raw in rows:
        found = [path for path in (*segments, *left) if pathlib.Path(segment).name.split(".")[0] in path.name]
        expect_equal(len(found), 1, f"files of the archive that {segment} names")
        content = found[0].read_bytes() if found[0].suffix == ".jsonl" else unzstd(found[0])
        want = content[offset:].split(b"\n")[0][:4096]
        expect(want == raw, f"{segment} offset {offset}: {shorten(want, 80)} is not {shorten(raw, 80)}")
        expect_equal(content[:offset].count(b"\n") + 1, line, f"line of offset {offset} in {segment}")
    print(f"  {len(segments)} kept segments", flush=True)


def unzstd(path):
    if not shutil.which("zstd"):
        raise Skipped("zstd is not installed")
    return subprocess.run(["zstd", "-d", "-q", "-c", path], stdout=subprocess.PIPE, check=True).stdout
