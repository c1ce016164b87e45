"""Logs: every entry once, proven by the log's own tree heads, whatever is killed; and archives of logs.

The logs are a test log of the project (src/source/examples/test_log.rs), which shares no code with the program. What it
serves is known from its own requests, and from collected logs whose roots were made by others.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request

from blackbox import lake as lakes
from blackbox.harness import Skipped, check, expect, expect_equal, wait_until
from blackbox.live import Job, expect_whole, is_quick, make_messages

READY_S = 60
CAUGHT_UP_S = 60
KILLS_APART_S = (0.3, 2.5)
# The test log signs a head each second.
HEAD_EVERY_S = 1.5


class TestLog:
    """A server of logs: `size(name)`, `grow`, `fail`, `heal`."""

    def __init__(self, context, *args):
        binary = context.binary.parent / "examples" / "test_log"
        if not binary.exists():
            raise Skipped(f"{binary.name} is not built: cargo build --release -p ct-source --example test_log")
        self.process = subprocess.Popen([binary, *map(str, args)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.ready = json.loads(self.process.stdout.readline())
        self.list = self.ready["log_list"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, what, **arguments):
        query = "&".join(f"{key}={value}" for key, value in arguments.items())
        with urllib.request.urlopen(f"{self.ready['admin']}{what}?{query}", timeout=10) as answer:
            return answer.read().decode()

    def urls(self):
        return [log["url"] for log in self.ready["logs"]]


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def size_of(url):
    """Of the tree, by the log's own word."""
    try:
        return int(fetch(f"{url}checkpoint").decode().split("\n")[1])
    except urllib.error.HTTPError:
        return json.loads(fetch(f"{url}ct/v1/get-sth"))["tree_size"]


def coverage(context, lake, *args):
    run = context.run("coverage", "--lake", lake, "--format", "json", *args).expect_code(0)
    return {row["log"]: row for row in json.loads(run.out)}


def job(context, log, name="job", start="beginning", **keys):
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    extra = f'[logs]\nlist = "{log.list}"\nstart = "{start}"\npoll_s = 1\npartial_tile_s = 1\n{lines}'
    return Job(context, {}, extra=extra, name=name)


def sizes_of(log):
    """By name, once they do not change any more."""
    seen = []

    def settled():
        seen.append({url.split("://")[1].rstrip("/"): size_of(url) for url in log.urls()})
        time.sleep(HEAD_EVERY_S)
        return len(seen) > 1 and seen[-1] == seen[-2]

    wait_until(settled, READY_S, "the logs growing no more")
    return seen[-1]


def until_proven(job, sizes, seconds=CAUGHT_UP_S):
    """Every log read to its newest tree head, and proven."""

    def proven():
        return {labels[len('log="'):-1]: int(value) for (metric, labels), value in job.metrics().items()
                if metric == "ct_stream_log_verified_size"} == sizes

    job.until(proven, seconds, f"the logs proven up to {sizes}")


def indexes(lake):
    rows = lakes.query(lake, "entries", "SELECT log, count(*), count(DISTINCT log_index), min(log_index), "
                                        "max(log_index) FROM {t} GROUP BY log")
    return {row[0]: row[1:] for row in rows}


def expect_every_index_once(lake, sizes):
    got = indexes(lake)
    want = {log: (size, size, 0, size - 1) for log, size in sizes.items()}
    expect_equal(got, want, "entries, different indexes, the first and the last of each log")


@check("logs-follow-kills")
def follow_kills(context):
    """Three kinds of logs that grow, and SIGKILLs: no index twice, none skipped, all proven."""
    entries, kills = (3_000, 4) if is_quick(context) else (9_000, max(4, context.kills // 3))
    source, _ = make_messages(context, 2 * entries)
    with TestLog(context, "--kind", "static,rfc6962,hybrid-no-checkpoint", "--logs", 3, "--entries", source,
                 "--start", 700, "--grow", 500) as log:
        live = job(context, log).start()
        moments = random.Random(context.seed)
        for kind in (["collect", "worker", "supervisor"] * kills)[:kills]:
            time.sleep(moments.uniform(*KILLS_APART_S))
            if kind == "supervisor":
                live.kill()
                live.start()
            else:
                for pid in live.pids(kind):
                    os.kill(pid, signal.SIGKILL)
        sizes = sizes_of(log)
        expect(min(sizes.values()) >= entries, f"the logs have too few entries: {sizes}")
        live.until(lambda: {name: row["verified"] for name, row in coverage(context, live.lake).items()} == sizes,
                   CAUGHT_UP_S, f"coverage of {sizes}")
        live.stop()
        held = coverage(context, live.lake, "--log-list", log.list)
        expect_equal([row["missing"] for row in held.values()], [0] * 3, "entries missing by `coverage`")
        expect_every_index_once(live.lake, sizes)
        expect_whole(context, live.lake)


@check("logs-fill")
def fill(context):
    """A live job from the newest entry on, then `fill`: all is held and proven, for any -n, and nothing twice."""
    source, _ = make_messages(context, 4_000)
    with TestLog(context, "--kind", "static,rfc6962", "--logs", 2, "--entries", source, "--start", 1_500) as log:
        live = job(context, log, start="head").start()
        until_proven(live, sizes_of(log))
        log.ask("grow", entries=700)
        sizes = sizes_of(log)
        until_proven(live, sizes)
        live.stop()
        expect_equal({row["held"] for row in coverage(context, live.lake).values()}, {700}, "held before filling")
        common = ("--log-list", log.list, "--lake", live.lake, "--hot", "none", "--summary", "json")
        run = context.run("fill", *common, "--range", "0-999", "-n", 2).expect_code(0)
        expect_equal(run.summary["entries"], 2_000, "entries of a range")
        run = context.run("fill", *common, "--range", "500-", "-w", 2).expect_code(0)
        expect_equal(run.summary["entries"], 2 * 500, "entries that were still missing")
        expect_equal(context.run("fill", *common).expect_code(0).summary["entries"], 0, "entries when all are held")
        held = coverage(context, live.lake, "--log-list", log.list)
        expect_equal({name: (row["verified"], row["missing"]) for name, row in held.items()},
                     {name: (size, 0) for name, size in sizes.items()}, "verified and missing")
        expect_every_index_once(live.lake, sizes)
        expect_whole(context, live.lake)


@check("logs-lie")
def lie(context):
    """A fork, a rollback and a corrupted entry are told at the next tree head, and nothing of them is verified."""
    source, _ = make_messages(context, 4_000)
    for fault, kind in (("fork:100,on=get-sth", "fork"), ("rollback:500", "rollback"), ("other-entry:900", "root")):
        with TestLog(context, "--kind", "rfc6962", "--entries", source, "--start", 800) as log:
            live = job(context, log, name=kind).start()
            until_proven(live, sizes_of(log))
            log.ask("fail", rule=fault)
            log.ask("grow", entries=0 if kind != "root" else 400)
            live.until(lambda: f": {kind}: " in (live.get("/readyz") or ("", ""))[1], 30, f"readyz telling a {kind}")
            evidence = list((live.journal / "evidence").glob(f"*-{kind}-*.json"))
            expect(evidence, f"no evidence of a {kind} beside the journal")
            expect_equal(json.loads(evidence[0].read_text())["kind"], kind, "the kind in the evidence")
            live.stop()
            held = coverage(context, live.lake)
            expect_equal([row["verified"] for row in held.values()], [800], f"verified entries after a {kind}")


@check("logs-archives")
def archives(context):
    """Collected logs as tiles and pages: all entries, proven with the keys of their list and not without."""
    if context.data is None:
        raise Skipped("CT_STREAM_DATA is not set")
    synthetic = context.data / "synthetic"
    stats = json.loads((synthetic / "ctlog-4k-entries.stats.json").read_text())
    with subprocess.Popen(["zstd", "-dc", synthetic / "ctlog-4k-entries.tar.zst"], stdout=subprocess.PIPE) as plain, \
            tarfile.open(fileobj=plain.stdout, mode="r|") as archive:
        archive.extractall(context.folder, filter="data")
    folder = context.folder / "ctlog"
    common = ("--hot", "none", "--summary", "json")
    for name, keys, proven in (("proven", ("--log-list", folder / "log_list.json"), 4_000), ("claimed", (), 0)):
        lake = context.folder / name
        summary = context.run("replay", folder, *keys, "--lake", lake, *common, "-w", 2).expect_code(0).summary
        expect_equal((summary["entries"], summary["certificates"], summary["rejected"]),
                     (stats["distinct_log_entries"], stats["unique_certs_sha256"], 0), f"{name}: what was read")
        held = coverage(context, lake)
        expect_equal(len(held), len(stats["sources"]), f"{name}: logs with coverage")
        expect_equal(sum(row["verified"] for row in held.values()), proven, f"{name}: verified entries")
    again = context.run("replay", folder, "--log-list", folder / "log_list.json", "--lake", context.folder / "proven",
                        *common).expect_code(0).summary
    expect_equal((again["entries"], again["redelivered"]), (0, stats["distinct_log_entries"]), "the same once more")
    expect_whole(context, context.folder / "proven")


@check("logs-same-certificates")
def same_certificates(context):
    """The same certificates by a feed, by pages and by tiles: the same rows, but for where and when they were seen."""
    source, _ = make_messages(context, 3_000)
    columns = ("sha256, sha1, tbs_sha256, spki_sha256, kind, serial, issuer_dn, subject_dn, not_before, not_after, names, "
               "registered_domains, ips, key_algorithm, key_bits, signature_algorithm, is_ca, sct_count, parse, sct_logs")

    def rows(lake):
        return sorted(map(str, lakes.query(lake, "certificates", f"SELECT {columns} FROM {{t}} WHERE id_kind = 'der'")))

    feed = context.folder / "feed"
    context.run("replay", source, "--lake", feed, "--hot", "none").expect_code(0)
    with TestLog(context, "--kind", "static,rfc6962", "--logs", 2, "--entries", source) as log:
        for at in range(2):
            lake = context.folder / f"log{at}"
            context.run("fill", "--log-list", log.list, "--log", f"log{at}", "--range", "0-", "--lake", lake,
                        "--hot", "none").expect_code(0)
            expect(rows(lake), "no certificate was read")
            expect_equal(rows(lake), rows(feed), f"certificates of log {at} against those of the feed")


@check("logs-certspotter")
def certspotter(context):
    """The test log itself is right: certspotter, another monitor, accepts its signature and its root."""
    if shutil.which("certspotter") is None:
        raise Skipped("certspotter is not installed (apt-get install certspotter)")
    with TestLog(context, "--kind", "rfc6962", "--logs", 2, "--entries", "synthetic:3000") as log:
        known, state = context.folder / "list.json", context.folder / "state"
        known.write_bytes(fetch(log.list))
        (context.folder / "watchlist").write_text(".\n")
        monitor = subprocess.Popen(
            ["certspotter", "-logs", known, "-state_dir", state, "-watchlist", context.folder / "watchlist",
             "-start_at_end=false", "-no_save", "-stdout"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def verified():
                files = list(state.glob("logs/*/state.json"))
                return [json.loads(file.read_text())["verified_position"]["size"] for file in files] == [3_000, 3_000]

            wait_until(verified, READY_S, "certspotter verifying both logs")
        finally:
            monitor.kill()
            monitor.wait()
