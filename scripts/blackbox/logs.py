"""Logs: every entry once, proven by the log's own tree heads, whatever is killed; and archives of logs.

The logs are a test log of the project (src/source/examples/test_log.rs), which shares no code with the program. What it
serves is known from its own requests, and from collected logs whose roots were made by others.
"""

import base64
import hashlib
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
from blackbox.feed import Feed, Server
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


def job(context, log, name="job", start="beginning", feeds=None, keep=None, feed_keys=None, **keys):
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    extra = f'[logs]\nlist = "{log.list}"\nstart = "{start}"\npoll_s = 1\npartial_tile_s = 1\n{lines}'
    journal = context.folder / f"{name}-journal"
    if keep is not None:
        extra = f'[journal]\ndir = "{journal}"\nkeep = "{keep}"\nsegment_mb = 1\n{extra}'
    return Job(context, feeds or {}, extra=extra, name=name, journal=journal, feed_keys=feed_keys)


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


@check("logs-fill-without-one")
def fill_without_one(context):
    """A log that does not answer is told of, and the others are filled."""
    source, _ = make_messages(context, 2_000)
    with TestLog(context, "--kind", "rfc6962", "--logs", 2, "--entries", source) as log:
        known = json.loads(fetch(log.list))
        described = known["operators"][0]["logs"]
        described[1]["url"] = "http://127.0.0.1:9/gone/"
        path = context.folder / "list.json"
        path.write_text(json.dumps(known))
        lake = context.folder / "lake"
        run = context.run("fill", "--log-list", path, "--lake", lake, "--hot", "none", "--summary", "json",
                          "--range", "0-299").expect_code(3)
        expect_equal(run.summary["entries"], 300, "entries of the log that answers")
        expect("127.0.0.1:9/gone cannot be asked" in run.err, f"the log is not told of: {run.tail()}")
        # It holds nothing of the other, so that nothing of it is missing.
        context.run("fill", "--log-list", path, "--lake", lake, "--hot", "none").expect_code(0)
        expect_whole(context, lake)


def der_of(entry):
    """Kind and certificate of an entry of get-entries (RFC 6962 section 3.4 and 4.6)."""
    leaf, extra = (base64.b64decode(entry[field]) for field in ("leaf_input", "extra_data"))
    is_precert = int.from_bytes(leaf[10:12], "big") == 1
    text, at = (extra, 0) if is_precert else (leaf, 12)
    return is_precert, text[at + 3:at + 3 + int.from_bytes(text[at:at + 3], "big")]


def message_of(entry, url, index):
    """An entry as a CertStream server tells it."""
    is_precert, der = der_of(entry)
    return json.dumps({"message_type": "certificate_update", "data": {
        "update_type": "PrecertLogEntry" if is_precert else "X509LogEntry", "cert_index": index,
        "leaf_cert": {"as_der": base64.b64encode(der).decode()}, "seen": 1_790_000_000.5,
        "source": {"url": url, "name": url}}}).encode()


def messages_of(url, size):
    """The entries of a log as messages, and the SHA-256 of their certificates."""
    messages, sha256s = [], []
    while len(messages) < size:
        page = json.loads(fetch(f"{url}ct/v1/get-entries?start={len(messages)}&end={size - 1}"))
        for entry in page["entries"]:
            messages.append(message_of(entry, url, len(messages)))
            sha256s.append(hashlib.sha256(der_of(entry)[1]).hexdigest())
    return messages, sha256s


def audit(context, lake, *args, code=0):
    run = context.run("audit", "--lake", lake, "--hot", "none", "--format", "json", *args).expect_code(code)
    return {(row["feed"], row["log"]): row for row in json.loads(run.out)}


def lost(rows):
    """(feed, log, index, sha256)"""
    return {(feed, log, out["log_index"], out["sha256"]) for (feed, log), row in rows.items()
            for out in row["left_out"] if out["class"] == "lost"}


def explained(rows):
    """(feed, log, index)"""
    return {(feed, log, index) for (feed, log), row in rows.items()
            for first, last in row["explained_ranges"] for index in range(first, last + 1)}


def left_out(context, log):
    """Sizes and messages of two logs with the same certificates, their entries in the order in which a server tells
    them, the certificate of each, and which of them a server drops, and spares because it sends the certificate once."""
    sizes = sizes_of(log)
    size = min(sizes.values())
    expect_equal(set(sizes.values()), {size}, "sizes of the logs")
    logs = {url.split("://")[1].rstrip("/"): messages_of(url, size) for url in log.urls()}
    entries = [(name, at) for at in range(size) for name in logs]
    sha256_of = {(name, at): logs[name][1][at] for name, at in entries}
    ends = {sha256_of[name, at] for name in logs for at in (0, size - 1)}
    # 5 % of the certificates, with all their entries; of 1 % of the others one entry, as servers do that send one.
    chance = random.Random(context.seed)
    chosen = chance.sample(sorted(set(sha256_of.values()) - ends), size * 6 // 100)
    gone, halved = set(chosen[:size * 5 // 100]), set(chosen[size * 5 // 100:])
    dropped = {entry for entry in entries if sha256_of[entry] in gone}
    first_of = {sha256: entry for entry, sha256 in reversed(sha256_of.items())}
    return sizes, logs, entries, sha256_of, dropped, {first_of[sha256] for sha256 in halved}


@check("logs-audit")
def audit_feeds(context):
    """Two logs with the same certificates, followed beside three feeds over them, of which one sends each certificate
    once and one leaves 5 % out: every entry and certificate once, all proven, and the audit names what was left out."""
    source, _ = make_messages(context, 3_000)
    with TestLog(context, "--kind", "hybrid,rfc6962", "--logs", 2, "--entries", source) as log:
        sizes, logs, entries, sha256_of, dropped, spared = left_out(context, log)
        size = min(sizes.values())
        # Each certificate under one of the logs in turn, but for the ends of both.
        once = [(name, at) for name, at in entries if at in (0, size - 1) or list(logs)[at % 2] == name]
        streams = {"whole": entries, "once": once,
                   "lossy": [entry for entry in entries if entry not in dropped | spared]}
        texts = {feed: [logs[name][0][at] for name, at in stream] for feed, stream in streams.items()}
        want = {("lossy", name, at, sha256_of[name, at]) for name, at in dropped}
        want_explained = ({("once", *entry) for entry in set(entries) - set(once)} |
                          {("lossy", *entry) for entry in spared})

        feeds = {feed: Feed(messages, rate=2_000) for feed, messages in texts.items()}
        server = Server(feeds)
        keep = context.folder / "kept"
        live = job(context, log, feeds={feed: server.url(feed) for feed in feeds}, keep=keep).start()
        until_proven(live, sizes)
        live.until(lambda: all(feed.done for feed in feeds.values()), CAUGHT_UP_S, "the feeds having sent everything")
        live.until(lambda: live.frames() == sum(map(len, texts.values())), CAUGHT_UP_S, "all messages in the journal")
        live.stop()
        server.stop()
        expect_every_index_once(live.lake, sizes)
        expect_whole(context, live.lake)
        expect_equal({row[0] for row in lakes.query(live.lake, "certificates", "SELECT sha256 FROM {t}")},
                     {sha256 for _, sha256s in logs.values() for sha256 in sha256s}, "certificates")
        held = coverage(context, live.lake, "--log-list", log.list)
        expect_equal({name: (row["verified"], row["missing"]) for name, row in held.items()},
                     {name: (size, 0) for name in sizes}, "verified and missing")

        rows = audit(context, live.lake, f"{keep}/*", f"{live.journal}/*.jsonl")
        expect_equal(lost(rows), want, "what the audit of the journal says was lost")
        expect_equal(explained(rows), want_explained, "what the audit of the journal explains")
        expect_equal({(feed, name): (row["delivered"], row["holes"], row["unknown"], row["filled"])
                      for (feed, name), row in rows.items()},
                     {(feed, name): (count, size - count, 0, 0) for feed, stream in streams.items() for name in logs
                      for count in [sum(entry[0] == name for entry in stream)]},
                     "delivered, holes, unknown and filled of each feed and log")

        # The feed alone, in a lake of its own: what it left out is fetched, and then it is there.
        alone, path = context.folder / "alone", context.folder / "lossy.jsonl"
        path.write_bytes(b"\n".join(texts["lossy"]) + b"\n")
        context.run("replay", path, "--feed", "lossy", "--lake", alone, "--hot", "none").expect_code(0)
        rows = audit(context, alone, "--no-fill")
        expect_equal((lost(rows), sum(row["unknown"] for row in rows.values())), (set(), len(dropped | spared)),
                     "what is known without asking the logs")
        for filled in (len(dropped), 0):
            rows = audit(context, alone, "--log-list", log.list)
            expect_equal(lost(rows), want, "what the audit of a lake says was lost")
            expect_equal(sum(row["filled"] for row in rows.values()), filled, "filled")
        expect_every_index_once(alone, sizes)
        expect_whole(context, alone)


@check("logs-audit-live")
def audit_live(context):
    """A running job audits a feed that leaves 5 % out, with logs that are followed and with logs that are only asked:
    each hole is judged right, and every entry is in the lake once, those that were lost proven."""
    source, _ = make_messages(context, 3_000)
    with TestLog(context, "--kind", "hybrid,rfc6962", "--logs", 2, "--entries", source) as log:
        sizes, logs, entries, sha256_of, dropped, spared = left_out(context, log)
        messages = [logs[name][0][at] for name, at in entries if (name, at) not in dropped | spared]
        want = {("lossy", name, at, sha256_of[name, at]) for name, at in dropped}
        for follow in (False, True):
            feed = Feed(messages, rate=2_000)
            server = Server({"lossy": feed})
            live = job(context, log, name=f"follow-{follow}".lower(), feeds={"lossy": server.url("lossy")},
                       feed_keys={"lossy": "audit = true\n"}, follow=follow, audit_interval_s=2).start()
            report = live.journal / "audit.log"
            rows = lambda: [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
            judged = lambda: sum(row["delivered"] + row["holes"] for row in rows())
            live.until(lambda: judged() == sum(sizes.values()), CAUGHT_UP_S, "every entry of both logs audited")
            classes = {name: sum(row[name] for row in rows())
                       for name in ("delivered", "explained", "unparseable", "lost", "filled", "unknown")}
            told = lambda: {name: live.metric("feed_audit_entries_total", f'feed="lossy",class="{name}"')
                            for name in classes}
            live.until(lambda: told() == classes, 10, f"metrics of {classes}")
            expect_equal({(row["feed"], row["log"], out["log_index"], out["sha256"]) for row in rows()
                          for out in row["left_out"]}, want, "what the audits say was left out")
            filled = classes.pop("filled")
            expect_equal(classes, {"delivered": len(messages), "explained": len(spared), "unparseable": 0,
                                   "lost": len(dropped), "unknown": 0}, "entries by what audits found")
            expect(follow or filled == len(dropped), f"{filled} of {len(dropped)} lost entries were filled")
            live.until(lambda: indexes(live.lake) == {name: (size, size, 0, size - 1) for name, size in sizes.items()},
                       CAUGHT_UP_S, "every index in the lake once")
            live.stop()
            server.stop()
            expect_whole(context, live.lake)
            held = coverage(context, live.lake)
            proven = {(name, at) for name, row in held.items() for first, last in row["verified_ranges"]
                      for at in range(first, last + 1)}
            expect(dropped <= proven, f"{len(dropped - proven)} entries that were lost are not proven")


@check("logs-damage")
def damage(context):
    """Entries of a log are damaged in the journal before they are read: no stretch with them counts as held, also of
    the job that is started again, and `fill` reads them."""
    source, _ = make_messages(context, 3_000)
    with TestLog(context, "--kind", "rfc6962", "--entries", source, "--start", 1_000) as log:
        live = job(context, log).start()
        until_proven(live, sizes_of(log))
        live.until(lambda: [row["verified"] for row in coverage(context, live.lake).values()] == [1_000], 30,
                   "the first entries held and proven")
        workers = live.pids("worker")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        log.ask("grow", entries=400)
        until_proven(live, sizes_of(log))
        newest = max(live.journal.glob("*.jsonl"))
        text = newest.read_bytes()
        at = text.index(b'"index":1200,')
        with newest.open("r+b") as segment:
            segment.seek(at)
            segment.write(b"#")
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        gaps = lambda: lakes.query(live.lake, "gaps", "SELECT DISTINCT feed FROM {t} WHERE reason = 'journal_damaged'")
        live.until(lambda: gaps() == [("logs",)], 30, "a gap of the logs")

        def expect_held(what):
            """What counts as held is there."""
            (log, row), = coverage(context, live.lake).items()
            there = {index for index, in lakes.query(live.lake, "entries", "SELECT log_index FROM {t}")}
            held = {index for first, last in row["held_ranges"] for index in range(first, last + 1)}
            expect(held <= there, f"{what}: {len(held - there)} entries count as held and are not there")
            expect(1200 not in held, f"{what}: the damaged entry counts as held")

        expect_held("after the damage")
        live.stop()
        live.start()
        log.ask("grow", entries=300)
        until_proven(live, sizes_of(log))
        live.stop()
        expect_held("after a restart")
        run = context.run("fill", "--log-list", log.list, "--lake", live.lake, "--hot", "none",
                          "--summary", "json").expect_code(0)
        expect(0 < run.summary["entries"] <= 400, f"{run.summary['entries']} entries were filled")
        expect_every_index_once(live.lake, sizes_of(log))
        expect_equal([row["verified"] for row in coverage(context, live.lake).values()], [1_700], "verified entries")
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
            live.until(lambda: [row["verified"] for row in coverage(context, live.lake).values()] == [800], 30,
                       f"800 verified entries after a {kind}")
            # Once it goes with what it signed again, and more is proven, the alarm is over; the count and the file stay.
            log.ask("heal")
            log.ask("grow", entries=300)
            live.until(lambda: f": {kind}: " not in (live.get("/readyz") or ("", f": {kind}: "))[1], 30,
                       f"readyz telling no {kind} any more")
            expect(sum(value for (name, _), value in live.metrics().items() if name == "ct_stream_log_alarms_total") >= 1
                   and evidence[0].exists(), "the alarm is forgotten")
            live.stop()


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


def certificates(lake):
    """What a certificate is, without where and when it was seen."""
    columns = ("sha256, sha1, tbs_sha256, spki_sha256, kind, serial, issuer_dn, subject_dn, not_before, not_after, names, "
               "registered_domains, ips, key_algorithm, key_bits, signature_algorithm, is_ca, sct_count, parse, sct_logs")
    return sorted(map(str, lakes.query(lake, "certificates", f"SELECT {columns} FROM {{t}} WHERE id_kind = 'der'")))


def tile_entry(entry, index):
    """An entry of get-entries as a data tile has it (static-ct-api, "Log Entries"), without fingerprints of issuers."""
    leaf = base64.b64decode(entry["leaf_input"])
    is_precert, der = der_of(entry)
    submitted = len(der).to_bytes(3, "big") + der if is_precert else b""
    # The leaf ends in the length of no extensions.
    return leaf[2:-2] + b"\0\x08\0\0\5" + index.to_bytes(5, "big") + submitted + b"\0\0"


@check("logs-real-entries")
def real_entries(context):
    """Entries of real logs as messages, as a page and as a tile: the same certificates, hashed here."""
    if context.data is None:
        raise Skipped("CT_STREAM_DATA is not set")
    entries = [json.loads(line) for line in (context.data / "ct" / "entries.jsonl").read_text().splitlines()]
    feed, page, tile = (context.folder / name for name in ("feed.jsonl", "page", "tile"))
    feed.write_bytes(b"\n".join(message_of(entry, "https://ct.example.com/", at) for at, entry in enumerate(entries)))
    (page / "ct" / "v1" / "get-entries").mkdir(parents=True)
    answer = {"entries": [{field: entry[field] for field in ("leaf_input", "extra_data")} for entry in entries]}
    (page / "ct" / "v1" / "get-entries" / f"0-{len(entries) - 1}.json").write_text(json.dumps(answer))
    (tile / "tile" / "data" / "000.p").mkdir(parents=True)
    data = b"".join(tile_entry(entry, at) for at, entry in enumerate(entries))
    (tile / "tile" / "data" / "000.p" / str(len(entries))).write_bytes(data)
    found = {}
    for source in (feed, page, tile):
        lake = context.folder / f"{source.stem}-lake"
        summary = context.run("replay", source, "--lake", lake, "--hot", "none", "--summary", "json").expect_code(0).summary
        expect_equal((summary["entries"], summary["rejected"]), (len(entries), 0), f"{source.stem}: entries and rejected")
        found[source.stem] = certificates(lake)
        expect_equal({sha256 for (sha256,) in lakes.query(lake, "certificates", "SELECT sha256 FROM {t}")},
                     {hashlib.sha256(der_of(entry)[1]).hexdigest() for entry in entries}, f"{source.stem}: SHA-256")
    for name in ("page", "tile"):
        expect_equal(found[name], found["feed"], f"certificates by {name} against those by messages")


@check("logs-same-certificates")
def same_certificates(context):
    """The same certificates by a feed, by pages and by tiles: the same rows, but for where and when they were seen."""
    source, _ = make_messages(context, 3_000)
    feed = context.folder / "feed"
    context.run("replay", source, "--lake", feed, "--hot", "none").expect_code(0)
    with TestLog(context, "--kind", "static,rfc6962", "--logs", 2, "--entries", source) as log:
        for at in range(2):
            lake = context.folder / f"log{at}"
            context.run("fill", "--log-list", log.list, "--log", f"log{at}", "--range", "0-", "--lake", lake,
                        "--hot", "none").expect_code(0)
            expect(certificates(lake), "no certificate was read")
            expect_equal(certificates(lake), certificates(feed), f"certificates of log {at} against those of the feed")


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
