"""Hot state is a function of the lake: in Redis and embedded, after a quiet run, a lost server and a rebuild."""

import collections
import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import subprocess

from blackbox import lake as lakes
from blackbox.harness import OFTEN, Failure, Skipped, check, expect, expect_equal, wait_until

TTL_S = 30 * 86_400
PER_DOMAIN = 20
# Long enough to hold the whole stream; published often, so that much is left to do when Redis is lost.
CONFIG = OFTEN + f"[hot]\nttl_s = {TTL_S}\nper_domain = {PER_DOMAIN}\nfindings_max = 1000000\n"
ISSUER_BYTES_MAX = 256


class Resp:
    """As much of a Redis client as reading takes (RESP2)."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2].decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        raise Failure(f"redis answers {line!r}")

    def keys(self, pattern):
        cursor, found = "0", set()
        while True:
            cursor, keys = self("SCAN", cursor, "MATCH", pattern, "COUNT", 5000)
            found.update(keys)
            if cursor == "0":
                return sorted(found)

    def hash(self, key):
        flat = self("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))


class Server:
    """A Redis of our own that keeps nothing on disk."""

    def __init__(self, context):
        if not shutil.which("redis-server"):
            if os.environ.get("CT_STREAM_REQUIRE_REDIS"):
                raise Failure("redis-server is not installed: run scripts/setup")
            raise Skipped("redis-server is not installed")
        self.folder = context.folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, 20, "redis-server answering")

    def answers(self):
        try:
            return Resp(self.port)("PING") == "PONG"
        except (OSError, Failure):
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def redis(context):
    server = Server(context)
    try:
        yield server
    finally:
        server.stop()


def same(text, value):
    """Whether the text of hot state (or a JSON value) says what the lake's value is."""
    if value is None:
        return text is None
    if isinstance(value, bool):
        return text in (value, str(value).lower())
    if isinstance(value, datetime.datetime):
        return text == value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, list):
        return (json.loads(text) if isinstance(text, str) else text) == value
    if isinstance(value, (int, float)):
        return text is not None and float(text) == value
    return text == value or (isinstance(text, dict) and text == json.loads(value))


def expect_row(fields, row, what, without=("date", "der", "once")):
    for column, value in row.items():
        if column not in without:
            text = fields.get(column)
            expect(same(text, value), f"{what}: {column} is {text!r}, the lake says {value!r}")
    unknown = fields.keys() - row.keys()
    expect(not unknown, f"{what} has fields that are no columns: {sorted(unknown)}")


def best_rows(lake):
    """The row of each fingerprint: a proof before a claim."""
    rows = {}
    for row in lakes.dicts(lake, "certificates", "sha256 IS NOT NULL AND seen IS NOT NULL"):
        if row["sha256"] not in rows or row["id_kind"] == "der":
            rows[row["sha256"]] = row
    return rows


def millis(moment):
    return (moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)


def by_domain(rows):
    """Registered domain -> {sha256: seen in ms}, all of them."""
    domains = collections.defaultdict(dict)
    for sha256, row in rows.items():
        for domain in row["registered_domains"]:
            domains[domain][sha256] = millis(row["seen"])
    return domains


def expect_newest(got, want, what):
    """`got`, a list of (sha256, ms), is the newest PER_DOMAIN of `want`; which of equally new ones is left open."""
    expect_equal(len(got), min(len(want), PER_DOMAIN), f"certificates of {what}")
    for sha256, seen in got:
        expect(want.get(sha256) == seen, f"{what} has {sha256} at {seen}, the lake says {want.get(sha256)}")
    newest = sorted(want.values(), reverse=True)[:PER_DOMAIN]
    expect_equal(sorted((seen for _, seen in got), reverse=True), newest, f"moments of {what}")


def expect_stats(stats, lake):
    """`stats`: name -> counters, as the lake gives them."""
    for table in lakes.TABLES:
        total = "rejected_new" if table == "rejected" else table
        expect_equal(int(stats["totals"].get(total, 0)), lakes.count(lake, table), f"total of {table}")
    issuers, hours = collections.Counter(), collections.Counter()
    for org, cn, seen in lakes.query(lake, "certificates", "SELECT issuer_org, issuer_cn, seen FROM {t}"):
        name = org if org is not None else cn if cn is not None else "unknown"
        issuers[name.encode()[:ISSUER_BYTES_MAX].decode("utf-8", "ignore")] += 1
        if seen is not None:
            hours[seen.strftime("%Y-%m-%dT%H")] += 1
    modules = dict(lakes.query(lake, "findings", "SELECT module, count(*) FROM {t} GROUP BY module"))
    for name, want in (("issuers", issuers), ("hours", hours), ("modules", modules)):
        got = {key: int(value) for key, value in stats.get(name, {}).items() if int(value)}
        expect(got == dict(want), f"stats by {name}: got {sorted(got.items())[:5]}…, want {sorted(want.items())[:5]}…")


def expect_redis(server, lake):
    """Everything in Redis against the lake."""
    client = Resp(server.port)
    rows = best_rows(lake)
    keys = client.keys("ct:cert:*")
    expect(rows, "the lake has no certificate with fingerprint and time")
    expect_equal(len(keys), len(rows), "ct:cert keys")
    for key in keys:
        sha256 = key.removeprefix("ct:cert:")
        expect(sha256 in rows, f"{key} is not in the lake")
        expect_row(client.hash(key), rows[sha256], key)
        ttl_ms = client("PTTL", key)
        expect(0 < ttl_ms <= TTL_S * 1000, f"{key} lives {ttl_ms} ms, want at most {TTL_S} s")

    domains = by_domain(rows)
    keys = client.keys("ct:domain:*")
    expect_equal(len(keys), len(domains), "ct:domain keys")
    for key in keys:
        flat = client("ZRANGE", key, 0, -1, "WITHSCORES")
        got = [(sha256, int(float(score))) for sha256, score in zip(flat[::2], flat[1::2])]
        expect_newest(got, domains[key.removeprefix("ct:domain:")], key)
        expect(client("PTTL", key) > 0, f"{key} has no expiry")

    findings = {row["id"]: row for row in lakes.dicts(lake, "findings")}
    entries = client("XRANGE", "ct:findings", "-", "+")
    expect_equal(len(entries), len(findings), "entries of ct:findings")
    for place, flat in entries:
        fields = dict(zip(flat[::2], flat[1::2]))
        expect(fields.get("id") in findings, f"finding {place} is not in the lake")
        expect_row(fields, findings[fields["id"]], f"finding {place}")

    expect_stats({name: client.hash(f"ct:stats:{name}") for name in ("totals", "issuers", "hours", "modules")}, lake)
    expect(client.hash("ct:state"), "ct:state is empty")
    others = [key for key in client.keys("*") if not re.match("ct:(cert:|domain:|stats:|findings$|state$)", key)]
    expect(not others, f"keys that no page names: {others[:5]}")


@check("hot-redis")
def in_redis(context):
    with redis(context) as server:
        stream = context.stream()
        lake = context.folder / "lake"
        context.replay(stream.path, lake, w=2, hot=server.url, config=CONFIG)
        expect_redis(server, lake)
        # The same job again, with nothing new, finds hot state lost and rebuilds it.
        Resp(server.port)("FLUSHALL")
        context.replay(stream.path, lake, hot=server.url, config=CONFIG)
        expect_redis(server, lake)


@check("hot-redis-n2")
def in_redis_by_two(context):
    with redis(context) as server:
        lake = context.folder / "lake"
        context.replay(context.stream("rust", "lite").path, lake, n=2, hot=server.url, config=CONFIG)
        expect_redis(server, lake)


@check("hot-redis-ttl")
def ttl(context):
    """Time is the input's own: with a TTL of some seconds only the newest certificates are there."""
    seconds = 5
    with redis(context) as server:
        lake = context.folder / "lake"
        context.replay(context.stream().path, lake, hot=server.url, config=OFTEN + f"[hot]\nttl_s = {seconds}\n")
        rows = best_rows(lake)
        newest = max(moment for (moment,) in lakes.query(lake, "entries", "SELECT max(seen) FROM {t}"))
        # Redis counts on while we read, hence only what has to be gone by now is looked for.
        gone = {sha256 for sha256, row in rows.items() if millis(row["seen"]) + seconds * 1000 <= millis(newest)}
        kept = {key.removeprefix("ct:cert:") for key in Resp(server.port).keys("ct:cert:*")}
        expect(not kept & gone, f"{len(kept & gone)} certificates outlive {seconds} s")
        expect(kept <= rows.keys(), "certificates that are not in the lake")


@check("hot-redis-lost")
def redis_lost(context):
    """Redis dies in the middle and comes back empty: the job ends well, and hot state is whole."""
    stream = context.stream()
    with redis(context) as server:
        context.replay(stream.path, context.folder / "quiet", hot=server.url, config=CONFIG)
        Resp(server.port)("FLUSHALL")

        lake = context.folder / "lake"
        process = context.start(*context.replay_args(stream.path, lake, hot=server.url, config=CONFIG))
        first = lake / "_ct" / "manifests" / "000000000001.json"
        wait_until(lambda: first.exists() or process.poll() is not None, 60, "the job's first manifest")
        server.stop()
        server.start()
        context.finish(process).expect_code(0)
        expect_redis(server, lake)
        difference = lakes.difference(lake, context.folder / "quiet")
        expect(difference is None, f"the lake against that of a quiet run: {difference}")


@check("hot-redis-away")
def redis_away(context):
    """Without Redis the job does all it can, exits 0, and says what was left undone; the next run makes up for it."""
    stream = context.stream("go", "lite")
    lake = context.folder / "lake"
    with redis(context) as server:
        server.stop()
        run = context.replay(stream.path, lake, hot=server.url, config=CONFIG)
        expect("hot state" in run.err.lower(), f"no line on stderr speaks of hot state; {run.tail()}")
        reference, _ = context.reference(stream)
        difference = lakes.difference(lake, reference)
        expect(difference is None, f"the lake against one without hot state: {difference}")
        server.start()
        context.replay(stream.path, lake, hot=server.url, config=CONFIG)
        expect_redis(server, lake)


def ask(context, lake, *words):
    run = context.run("hot", *words, "--lake", lake, "--hot", "embedded", "--format", "json", "-c",
                      context.folder / "config.toml")
    try:
        answer = json.loads(run.out)
    except ValueError:
        raise Failure(f"{run}: standard output is not JSON") from None
    # Like grep: nothing found is 1.
    run.expect_code(0 if answer else 1)
    return answer


def fingerprints(answer):
    return re.findall("[0-9a-f]{64}", json.dumps(answer))


@check("hot-embedded")
def embedded(context):
    stream = context.stream()
    lake = context.folder / "lake"
    context.replay(stream.path, lake, w=2, hot="embedded", config=CONFIG)
    rows = best_rows(lake)
    for sha256 in sorted(rows)[::max(1, len(rows) // 12)]:
        expect_row(ask(context, lake, "cert", sha256), rows[sha256], f"hot cert {sha256}")
    domains = by_domain(rows)
    largest = sorted(domains, key=lambda domain: (-len(domains[domain]), domain))
    for domain in (*largest[:4], *largest[-4:]):
        want = domains[domain]
        got = [(sha256, want.get(sha256)) for sha256 in fingerprints(ask(context, lake, "domain", domain))]
        expect_newest(got, want, f"hot domain {domain}")
    answer = json.dumps(ask(context, lake, "findings", "--limit", 1_000_000))
    ids = {id for (id,) in lakes.query(lake, "findings", "SELECT id FROM {t}")}
    expect_equal(len([id for id in ids if id in answer]), len(ids), "findings in hot state")
    expect_stats(ask(context, lake, "stats"), lake)


@check("hot-unknown")
def unknown(context):
    """What is not there is a plain answer, not a failure to answer."""
    lake = context.folder / "lake"
    context.replay(context.stream("go", "lite", messages=2_000).path, lake, hot="embedded", config=CONFIG)
    run = context.run("hot", "cert", "0" * 64, "--lake", lake, "--hot", "embedded")
    expect(run.code in (0, 1) and "panicked" not in run.err, f"{run}: exit {run.code}; {run.tail()}")
    context.run("hot", "cert", "not-a-fingerprint", "--lake", lake, "--hot", "embedded").expect_code(2)
