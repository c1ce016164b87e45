"""The live views are a function of the lake: by command, in Redis and embedded, against DuckDB and plain loops.

What is counted is asked of DuckDB over the lake's files; what a watch list matches is decided here, label by label.
"""

import collections
import fnmatch
import json

from blackbox import lake as lakes
from blackbox.feed import Feed
from blackbox.harness import OFTEN, check, expect, expect_equal
from blackbox.hot import Resp, redis
from blackbox.live import Job, make_messages, serving, until_published

TOP = 25
DELAYS_MS = (0, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000)
MS = "(epoch_us(seen) // 1000 - if(epoch_us(seen) % 1000 < 0, 1, 0))"


def horizon_of(lake):
    """The newest `seen` in milliseconds; generated streams and small ones have no jumps."""
    tables = [table for table in ("certificates", "entries", "rejected") if lakes.files(lake, table)]
    return max(rows[0][0] for rows in (lakes.query(lake, table, f"SELECT max({MS}) FROM {{t}}") for table in tables)
               if rows and rows[0][0] is not None)


def largest(rows):
    """The largest TOP of (name, count), of equal ones by the bytes of the name."""
    return dict(sorted(rows, key=lambda row: (-row[1], row[0].encode()))[:TOP])


def matches(item, name):
    """As certspotter does: `*` in a label of the name stands for characters, alone or as `?` for one label."""
    below, domain = item.startswith("."), item.strip(".")
    want, got = domain.split(".")[::-1] if domain else [], name.split(".")[::-1]
    if len(got) < len(want) or (len(got) > len(want) and not below):
        return False

    def is_like(label, own):
        return label in (own, "*", "?", "\ufffd") or ("*" in label and fnmatch.fnmatchcase(own, label.replace("[", "[[]")))
    return all(is_like(label, own) for label, own in zip(got, want))


def expected(lake, span_s, items, logs=True):
    """What `ct-stream views` is to print, without the keys of the state that name the lake."""
    horizon = horizon_of(lake)
    after = horizon - span_s * 1000
    held = f"FROM {{t}} WHERE seen IS NOT NULL AND {MS} > {after}"

    def counted(table, what, source=held):
        rows = lakes.query(lake, table, f"SELECT what, count(*) FROM (SELECT {what} AS what {source}) GROUP BY 1")
        return [(name, count) for name, count in rows if name is not None]

    counts = {
        "issuer": counted("certificates", "coalesce(issuer_org, issuer_cn, 'unknown')"),
        "domain": counted("certificates", "unnest(registered_domains)"),
        "key": counted("certificates", "coalesce(key_algorithm || ' ' || key_bits, key_algorithm, 'unknown')"),
        "hour": counted("certificates", "strftime(seen, '%Y-%m-%dT%H')"),
        "log": counted("entries", "log"),
    }
    issuances = collections.Counter({"delay_ms_sum": 0, "pairs": 0, "unpaired_precerts": 0, "unpaired_finals": 0,
                                     "delay_ms_longer": 0} | {f"delay_ms_le_{most}": 0 for most in DELAYS_MS})
    sides = lakes.query(lake, "certificates", f"""
        SELECT tbs_sha256, min({MS}) FILTER (kind = 'precert'), min({MS}) FILTER (kind = 'final') {held}
        AND tbs_sha256 IS NOT NULL AND kind IS NOT NULL GROUP BY 1""")
    for _, precert, final in sides:
        if precert is None or final is None:
            issuances["unpaired_finals" if precert is None else "unpaired_precerts"] += 1
            continue
        delay = final - precert
        name = next((f"delay_ms_le_{most}" for most in DELAYS_MS if delay <= most), "delay_ms_longer")
        issuances.update({"pairs": 1, "delay_ms_sum": delay, name: 1})
    rows = lakes.query(lake, "certificates", f"SELECT id_kind, id, {MS}, names {held}")
    watch = {}
    for item in items:
        found = [(seen, id if kind in ("der", "sha256") else f"{kind}:{id}", name)
                 for kind, id, seen, names in rows for name in names or [] if matches(item, name)]
        watch[item] = found
    totals = {f"total:{name}": sum(count for _, count in rows) for name, rows in counts.items()}
    totals |= {f"different:{name}": len(rows) for name, rows in counts.items()}
    entries = lakes.query(lake, "entries", f"SELECT count(*) {held} AND log IS NOT NULL")[0][0]
    state = {"horizon_ms": horizon, "whole_after_ms": after, "certificates": len(rows), "entries": entries,
             "expired_early": 0, **totals}
    return {"state": state, "counts": {name: largest(rows) for name, rows in counts.items() if rows},
            "issuances": dict(issuances), "watch": watch}


def expect_views(got, want, what):
    """`got`: what the program prints."""
    state = {name: value for name, value in got["state"].items() if name not in ("lake", "published")}
    expect_equal(state, want["state"], f"{what}: state")
    for dimension, counts in want["counts"].items():
        expect_equal(got["counts"].get(dimension), counts, f"{what}: counts by {dimension}")
        if dimension in ("issuer", "domain", "log"):
            top = got["top"][dimension]
            expect_equal({row["name"]: row["count"] for row in top}, counts, f"{what}: top of {dimension}")
            numbers = [row["count"] for row in top]
            expect_equal(numbers, sorted(numbers, reverse=True), f"{what}: order of the top of {dimension}")
    expect_equal(got["issuances"], want["issuances"], f"{what}: issuances")
    expect_equal(sorted(got["watch"]), sorted(want["watch"]), f"{what}: watched items")
    for item, found in want["watch"].items():
        is_there = got["watch"][item]
        expect_equal(is_there["open"], len(found), f"{what}: open matches of {item}")
        seen = [row["seen_ms"] for row in is_there["newest"]]
        expect_equal(seen, sorted((seen for seen, _, _ in found), reverse=True)[:TOP], f"{what}: moments of {item}")
        for row in is_there["newest"]:
            row = (row["seen_ms"], row["certificate"], row["name"])
            expect(row in found, f"{what}: {row} is no match of {item}")


def some_items(lake):
    """Items that match something, and one that does not."""
    domains = [domain for (domain,) in lakes.query(
        lake, "certificates", "SELECT DISTINCT unnest(registered_domains) AS d FROM {t} ORDER BY d LIMIT 40")]
    return [".", ".com", "nobody.example", *(f".{domain}" for domain in domains[::4]), *domains[1::8]]


def keys(span_s, watch=None, hot=""):
    watch = f'watch_file = "{watch}"\n' if watch else ""
    return f"[views]\nenabled = true\nhorizon_s = {span_s}\ntop = {TOP}\n{watch}{hot}"


def spans(lake):
    """All of the lake, and about a third of it."""
    low, high = lakes.query(lake, "certificates", f"SELECT min({MS}), max({MS}) FROM {{t}} WHERE seen IS NOT NULL")[0]
    return 400 * 86_400, max((high - low) // 3_000, 1)


def printed(context, lake, *args):
    return json.loads(context.run("views", "--lake", lake, "--top", TOP, *args).expect_code(0).out)


@check("live-views-command")
def command(context):
    for shape, stream in (("go", "full"), ("rust", "lite")):
        lake, _ = context.reference(context.stream(shape, stream))
        items = some_items(lake)
        watch = context.folder / "watch"
        watch.write_text("# of this check\n" + "\n".join(items) + "\n")
        for span_s in spans(lake):
            got = printed(context, lake, "--horizon-s", span_s, "--watch-file", watch)
            expect_views(got, expected(lake, span_s, items), f"{shape} {stream}, {span_s} s")
            expect(got["issuances"]["pairs"] > 0 or stream == "lite", "no issuance has both sides")


@check("live-views-hot")
def hot(context):
    """After a replay, in both kinds of hot state; lost, and there again."""
    stream = context.stream()
    lake, _ = context.reference(stream)
    items = some_items(lake)
    watch = context.folder / "watch"
    watch.write_text("\n".join(items))
    span_s = spans(lake)[1]
    config = OFTEN + keys(span_s, watch)
    with redis(context) as server:
        for place in ("embedded", server.url):
            lake = context.folder / place.split(":")[0]
            want = None
            for _ in range(2):
                context.replay(stream.path, lake, hot=place, config=config)
                want = want or expected(lake, span_s, items)
                answer = context.run("hot", "views", "--format", "json", "--lake", lake, "--hot", place).expect_code(0)
                expect_views(json.loads(answer.out), want, place)
                item = next(item for item, found in want["watch"].items() if found)
                rows = context.run("hot", "watch", item, "--format", "json", "--lake", lake, "--hot", place)
                expect_equal(len(json.loads(rows.expect_code(0).out)), min(len(want["watch"][item]), TOP), f"matches of {item}")
                rows = context.run("hot", "top", "log", "--format", "json", "--lake", lake, "--hot", place)
                expect_equal(len(json.loads(rows.expect_code(0).out)), len(want["counts"]["log"]), "top of log")
                # The next replay has nothing new to read, and finds nothing of them.
                if place == "embedded":
                    (lake / "_ct" / "hot" / "views.json").unlink()
                else:
                    Resp(server.port)("FLUSHALL")
            context.run("rebuild-hot", "-c", context.folder / "config.toml", "--lake", lake, "--hot", place).expect_code(0)
            answer = context.run("hot", "views", "--format", "json", "--lake", lake, "--hot", place).expect_code(0)
            expect_views(json.loads(answer.out), want, f"{place}, built by hand")


@check("live-views-watch")
def watch_list(context):
    """Items that come and go while a live job runs, and a hot state that is lost."""
    _, messages = make_messages(context, min(context.messages, 4_000))
    feed = Feed(messages)
    span_s = 400 * 86_400
    watch = context.folder / "watch"
    watch.write_text(".com\n")
    with redis(context) as server, serving({"full": feed}) as feeds:
        job = Job(context, {"go": feeds.url("full")}, hot=server.url, extra=keys(span_s, watch))

        def shown():
            run = context.run("hot", "views", "--format", "json", "--lake", job.lake, "--hot", server.url)
            return json.loads(run.out) if run.code == 0 else None

        def until_shown(items, what):
            want, last = expected(job.lake, span_s, items), {}

            def is_so():
                last["got"] = shown()
                return last["got"] and sorted(last["got"]["watch"]) == sorted(items) and (
                    last["got"]["state"]["certificates"] == want["state"]["certificates"])
            job.until(is_so, 20, what)
            expect_views(last["got"], want, what)
            return want

        job.start()
        until_published(job, len(messages))
        until_shown([".com"], "the list as it was at the start")
        items = some_items(job.lake)
        watch.write_text("\n".join(items))
        want = until_shown(items, "items that were added")
        expect(sum(len(found) for found in want["watch"].values()) > 10, "the items match almost nothing")
        watch.write_text("a..b\n")
        job.until(lambda: "the watch list cannot be used" in job.said(), 10, "a word about the bad list")
        until_shown(items, "the list before the bad one")
        watch.write_text("\n".join(items[2:5]))
        until_shown(items[2:5], "items that were removed")
        left = Resp(server.port).keys("ct:watch:*")
        expect(len(left) <= 3, f"keys of items that are no longer watched: {left}")
        Resp(server.port)("FLUSHALL")
        until_shown(items[2:5], "the views after Redis was emptied")
        job.stop()
        job.start()
        until_shown(items[2:5], "the views after a restart")
        job.stop()
