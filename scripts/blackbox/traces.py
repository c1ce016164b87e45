"""What a live job says of a message on its way, and of messages that it has to give up."""

import json
import os
import signal

from blackbox.feed import Feed, Server
from blackbox.harness import check, expect, expect_equal, wait_until
from blackbox.live import Job, entries_of, expect_gap_at, gaps_of, make_messages

# In the order in which they are said.
STATIONS = ["a message was journalled", "a certificate was seen", "a message was settled", "a certificate was parsed",
            "a finding was made"]


@check("trace-message")
def trace_message(context):
    """At level debug one id leads from a frame in the journal to its findings and its manifest."""
    _, messages = make_messages(context, 400)
    feed = Feed(messages)
    server = Server({"a": feed})
    job = Job(context, {"a": server.url("a")}, global_args=("--log-level", "debug", "--log-format", "json")).start()
    job.until(lambda: job.published() >= len(messages), 30, "all messages in the lake")
    # The newest segment stays.
    segment = max(job.journal.glob("*.jsonl"))
    run = job.stop()
    server.stop()
    told, published = {}, []
    for line in run.err.splitlines():
        event = json.loads(line)
        if "message_id" in event:
            told.setdefault(event["message_id"], []).append(event)
        if event["message"] == "messages before this place are published":
            published.append(tuple(map(int, event["before"].split(":"))))
    expect_equal(len(told), len(messages), "ids of messages in the log")
    body = segment.read_bytes()
    places = sorted(int(name.split(":")[2]) for name in told)
    expect_equal([body[at:].split(b"\n", 1)[0] for at in places], messages, "lines of the journal at the offsets of the ids")
    ways = {name: [event["message"] for event in events] for name, events in told.items()}
    whole = [name for name, way in ways.items() if STATIONS[-1] in way]
    expect(whole, "no message has a finding")
    for name in whole:
        expect_equal(sorted(set(ways[name]), key=STATIONS.index), STATIONS, f"what is said of message {name}")
        events = [event for event in told[name] if "id" in event]
        expect_equal(len({event["id"] for event in events}), 1, f"certificates of message {name}")
        segment_and_batch = tuple(map(int, name.split(":")[:2]))
        expect(segment_and_batch < max(published), f"message {name} is published nowhere before {max(published)}")


@check("journal-age")
def journal_age(context):
    """Segments of their greatest age are deleted unread; the lake has the rest, and a gap around what is missing."""
    _, messages = make_messages(context, 6_000)
    feed = Feed(messages, rate=400)
    server = Server({"a": feed})
    extra = f'[journal]\ndir = "{context.folder / "job-journal"}"\nmax_age_s = 4\n[cluster]\nstall_s = 600\n'
    job = Job(context, {"a": server.url("a")}, extra=extra).start()
    job.until(lambda: job.published() > 0, 20, "a first manifest")
    [worker] = job.pids("worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        # The first may be the one that the worker has open.
        job.until(lambda: job.metric("journal_dropped_segments_total") >= 3, 30, "three segments too old")
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: feed.done, 60, "the end of the feed")
    last = max(index for index, text in enumerate(messages) if b'"cert_index"' in text)
    data = json.loads(messages[last])["data"]
    place = (data["source"]["url"].split("://")[-1].rstrip("/"), data["cert_index"])
    job.until(lambda: place in {entry[:2] for entry in entries_of(job.lake)}, 20, "the last message in the lake")
    dropped = job.metric("journal_dropped_bytes_total")
    run = job.stop()
    server.stop()
    expect("deleted before it was published" in run.err, "the log does not say that a segment was deleted")
    expect(dropped > 0, "no bytes were counted as dropped")
    gaps = [gap for gap in gaps_of(job.lake, "*") if gap[3] == "journal_missing"]
    expect(gaps, "no gap tells of the segments")
    held = {(log, index) for log, index, _ in entries_of(job.lake)}
    updates, lost = 0, 0
    for sent in feed.ledger:
        data = json.loads(messages[sent.index]).get("data")
        if data is None:
            continue
        updates += 1
        if (data["source"]["url"].split("://")[-1].rstrip("/"), data["cert_index"]) not in held:
            lost += 1
            # The collector reads a little later than the feed sends.
            expect_gap_at([(gap[0], gap[1] - 0.5, *gap[2:]) for gap in gaps], sent.at, f"message {sent.index}")
    expect(lost > 0, "nothing was lost")
    expect_equal(len(held) + lost, updates, "entries in the lake and lost ones")
