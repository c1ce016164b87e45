"""Live: stops at bad moments, a journal that cannot be written or was damaged, and thirty kills in one run.

What a feed delivered is known from its server (feed.py), what a message holds from a reading of our own (live.py).
"""

import contextlib
import os
import random
import re
import signal
import statistics
import time

from blackbox.errors import small_disk
from blackbox.feed import Feed
from blackbox.harness import check, descendants, expect, expect_equal, wait_until
from blackbox.kills import alive
from blackbox.live import (
    JOURNALLED_AFTER_S, RESTART_S, STOP_S, Job, Losses, Truth, Watch, entries_of, expect_whole, gaps_of, is_quick,
    make_messages, manifest, manifest_numbers, serving, until_published, until_quiet, until_taken)

# From SIGTERM to the end of a job of which nothing runs that has something to do.
IDLE_STOP_S = 1.5


def with_config(job, key, value):
    """Another value of a key that is there."""
    text = job.config.read_text()
    expect(f"\n{key} = " in text, f"no key {key} in the configuration")
    job.config.write_text(re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text))


def kill_again_and_again(job, role, told, times=5):
    """Kills what there is of these processes until that was told so often: then the pause before the next start is long."""
    def kill():
        for pid in job.pids(role):
            # A worker ends by itself when its peer is gone.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return job.said().count(told) >= times

    job.until(kill, 30, f"{times} times {told!r}")


@check("live-stop-pause")
def stop_pause(context):
    """SIGTERM while workers or the collector wait to be started again: exit 0 at once, and nothing is lost."""
    _, messages = make_messages(context, 2_000)
    feed = Feed(messages, rate=1_000, end=1_000)
    with serving({"full": feed}) as server:
        # Nothing is published, so the pauses grow.
        job = Job(context, {"go": server.url("full")}, interval_s=600)
        job.start(2, 1)
        until_taken(job, feed, 1_000)
        kill_again_and_again(job, "worker", "start again from the resume point")
        run = job.stop(seconds=IDLE_STOP_S)
        workers = run.took
        expect("between two starts" in run.err, f"{run}: no line on stderr says that no worker ran")
        expect_equal(manifest_numbers(job.lake), [], "manifests of a job that published nothing")

        job.start(1, 1)
        kill_again_and_again(job, "collect", "the collector process ended; it is started again")
        # The workers drain, and publish.
        collector = job.stop(seconds=IDLE_STOP_S + 1).took
        with_config(job, "publish_interval_s", 1)
        feed.end = len(messages)
        job.start(1, 1)
        until_published(job, len(messages))
        job.stop()
    Truth(messages).expect_in_lake(job.lake, range(len(messages)))
    expect_whole(context, job.lake)
    print(f"  SIGTERM to exit: {workers:.1f} s without workers, {collector:.1f} s without collector", flush=True)


@contextlib.contextmanager
def full_journal(context):
    """A job whose collector has messages in hand that its full disk does not take; with how many it took, and the ballast."""
    _, messages = make_messages(context, 12_000)
    feed = Feed(messages, rate=1_000)
    with serving({"full": feed}) as server, small_disk(context, 12_000) as disk:
        job = Job(context, {"go": server.url("full")}, journal=disk / "journal")
        job.start(1, 1)
        until_published(job, 1_000)
        room = os.statvfs(disk)
        with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as file:
            file.write(bytes(room.f_bavail * room.f_bsize + 4096))
            file.write(bytes(1 << 20))
        job.until(lambda: job.metric("journal_failing") == 1, 30, "the metrics saying that the journal fails")
        yield job, feed, Truth(messages), disk / "ballast"


def run_on(job, feed):
    """Starts it again, and lets it hear some more."""
    heard = feed.sent
    job.start()
    job.until(lambda: feed.sent >= heard + 500, 20, "messages after the next start")
    feed.end = feed.position
    until_quiet(job, feed)
    job.stop()


@check("live-stop-full")
def stop_full(context):
    """SIGTERM while the journal's disk is full, and has room two seconds later: exit 0, and what was taken is there."""
    with full_journal(context) as (job, feed, truth, ballast):
        taken = int(job.frames())
        job.signal()
        job.until(lambda: "the feeds are closed" in job.said(), 10, "the feeds being closed")
        time.sleep(2)
        expect(job.process.poll() is None, "the job did not wait for room")
        ballast.unlink()
        run = context.finish(job.process, timeout=STOP_S)
        run.expect_code(0)
        expect("before there is room" in run.err, f"{run}: no line on stderr says what is waited for")
        run_on(job, feed)
        losses = Losses(feed, truth, job.lake, "go")
        kept = [sent.index for sent in losses.kept]
        truth.expect_in_lake(job.lake, kept)
        want = {sent.index for sent in feed.ledger[:taken] if truth.entries[sent.index]}
        expect(want <= set(kept), f"{len(want - set(kept))} of {taken} messages that the collector had taken are lost")
        expect_whole(context, job.lake)
        print(f"  {taken} messages taken before SIGTERM; {len(losses.lost)} were on their way", flush=True)


@check("live-stop-full-lost")
def stop_full_lost(context):
    """The same without room: exit 1 and the number of lost messages, and a gap covers them."""
    with full_journal(context) as (job, feed, truth, ballast):
        run = job.stop(code=1, seconds=STOP_S)
        told = re.search(r"closing the journal: (\d+) messages are not durable and lost", run.err)
        expect(told and int(told[1]) > 0, f"{run}: no line on stderr says how many messages are lost")
        ballast.unlink()
        run_on(job, feed)
        losses = Losses(feed, truth, job.lake, "go")
        others = sum(truth.entries[sent.index] is None for sent in feed.ledger)
        expect(int(told[1]) <= len(losses.lost) + others,
               f"{told[1]} messages are said to be lost, {len(losses.lost)} are, of which some were on their way")
        truth.expect_in_lake(job.lake, [sent.index for sent in losses.kept])
        expect_whole(context, job.lake)
        reasons = [gap[3] for gap in gaps_of(job.lake)]
        print(f"  {told[1]} messages lost after {run.took:.1f} s, {len(losses.lost)} with those on their way; gaps: "
              f"{', '.join(reasons)}", flush=True)


# Damage


def marks(text):
    """Where each batch of a segment begins, and how many messages it has."""
    found, at = [], 0
    while at < len(text):
        end = text.index(b"\n", at) + 1
        size = int(re.search(rb'"bytes":(\d+),"crc32"', text[at:end])[1])
        lines = re.search(rb'"lines":(\d+)', text[at:end])
        found.append((at, end, size, int(lines[1]) if lines else 0))
        at = end + size
    return found


@check("live-damage")
def damage(context):
    """Flipped bits and a segment that is gone, in what is not published: each is one row of `gaps`, whatever is killed."""
    rng = random.Random(f"{context.seed} damage")
    count = 3_000
    _, messages = make_messages(context, count + 200)
    feed = Feed(messages, rate=1_500, end=0)
    with serving({"full": feed}) as server:
        # Segments are numbered by starts, too: each start begins one.
        job = Job(context, {"go": server.url("full")}, interval_s=600)
        for part in (1_000, 2_000, 3_000):
            job.start(2, 1)
            # What is sent before goes to a connection that is dead.
            job.until(lambda: job.metric("feed_connected", 'feed="go"') == 1, 20, "a connection")
            feed.end = part
            job.until(lambda: feed.sent >= part, 20, "the feed delivering")
            job.until(lambda: job.frames() >= 990, 20, "the collector taking the messages")
            time.sleep(0.5)  # and making the last of them durable
            # Its workers are not to publish what they have read.
            job.kill()
        segments = sorted(job.journal.glob("*.jsonl"))
        expect_equal(len(segments), 3, "segments of the journal")
        expect_equal(manifest_numbers(job.lake), [], "manifests before the damage")
        lost = 0
        # A mark and a body in the first segment; the second is gone; the first mark of the third.
        text = bytearray(segments[0].read_bytes())
        batches = [batch for batch in marks(bytes(text)) if batch[3] > 0]
        mark, body = batches[len(batches) // 3], batches[2 * len(batches) // 3]
        for at in ((mark[0] + mark[1]) // 2, body[1] + body[2] // 2):
            text[at] ^= 1 << rng.randrange(8)
        lost += mark[3] + body[3]
        segments[0].write_bytes(text)
        lost += sum(batch[3] for batch in marks(segments[1].read_bytes()))
        segments[1].unlink()
        text = bytearray(segments[2].read_bytes())
        text[60] ^= 1
        lost += marks(segments[2].read_bytes())[0][3]
        segments[2].write_bytes(text)

        with_config(job, "publish_interval_s", 1)
        feed.end = count + 200
        kills = 4 if is_quick(context) else 12
        with Watch(job):
            for _ in range(kills):
                job.start(*rng.choice(((1, 1), (2, 1), (1, 2))), ready=False)
                time.sleep(rng.uniform(0.2, 1.1))
                job.kill()
            job.start(1, 1)
            until_quiet(job, feed)
            job.stop()
    rows = [(reason, detail) for _, _, _, reason, detail in gaps_of(job.lake) if reason.startswith("journal_")]
    expect_equal(sorted(reason for reason, _ in rows), ["journal_damaged"] * 3 + ["journal_missing"],
                 f"rows of gaps about the journal: {rows}")
    expect_whole(context, job.lake)
    truth = Truth(messages)
    have = set(entries_of(job.lake))
    gone = [sent.index for sent in feed.ledger if truth.entries[sent.index] and truth.entries[sent.index] not in have]
    # What a kill of the collector takes with it is not of the journal.
    of_journal = [index for index in gone if index < count]
    expect(0 < len(of_journal) <= lost, f"{len(of_journal)} messages are missing, the damage hit {lost}")
    print(f"  {kills} kills; {lost} messages in what was damaged, {len(of_journal)} missing in the lake", flush=True)


# Thirty kills


SHAPES = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 1))


@check("live-thirty-kills")
def thirty_kills(context):
    """30 SIGKILLs of everything, 10 SIGTERMs and 5 restarts with another -n and -w, in one run before a running feed."""
    share = 5 if is_quick(context) else 1
    kinds = ["worker"] * 11 + ["collect"] * 7 + ["supervisor"] * 6 + ["all"] * 6
    events = kinds[::share] + ["stop"] * (10 // share) + ["other"] * (5 // share)
    rng = random.Random(f"{context.seed} thirty kills")
    rng.shuffle(events)
    _, messages = make_messages(context, 5_000 + 1_000 * len(events))
    truth = Truth(messages)
    feed = Feed(messages, rate=250)
    recovered, stopped = [], []
    with serving({"full": feed}) as server:
        job = Job(context, {"go": server.url("full")},
                  extra=f'[journal]\ndir = "{context.folder}/job-journal"\nsegment_mb = 1\n')
        shape = (2, 1)
        with Watch(job):
            job.start(*shape)
            for at, what in enumerate(events):
                job.until(lambda: feed.connections > 0 and feed.flowing.is_set(), 20, "a connection")
                time.sleep(rng.uniform(0.05, 0.8))
                before = len(manifest_numbers(job.lake))
                moment = time.monotonic()
                strike(context, job, what, rng, stopped)
                if job.process.poll() is not None:
                    if what == "other":
                        shape = rng.choice([other for other in SHAPES if other != shape])
                    # The clock runs from the start: what was down before is not the job's to make good.
                    moment = time.monotonic() if what in ("stop", "other") else moment
                    job.start(*shape, ready=False)
                    before = len(manifest_numbers(job.lake))
                # Of what was read before the kill, one manifest may be on its way.
                job.until(lambda: len(manifest_numbers(job.lake)) > before + (what == "collect"), 30,
                          f"the next manifest after event {at + 1} ({what})")
                recovered.append((time.monotonic() - moment, what))
                expect(feed.position < len(messages) - 1_000, f"the feed is at its end after {at + 1} events")
            feed.end = feed.position
            job.until(lambda: feed.position >= feed.end, 10, "the feed pausing")
            until_quiet(job, feed)
            job.stop()
            # What came while the job drained.
            job.start()
            until_quiet(job, feed)
            job.stop()
    expect_whole(context, job.lake)
    resumes = [manifest(job.lake, number)["resume"] for number in manifest_numbers(job.lake)]
    places = [(resume["segment"], resume["chunk"]) for resume in resumes]
    expect(places == sorted(set(places)), "the published position went back, or stood still")
    losses = Losses(feed, truth, job.lake, "go")
    expect(losses.longest < JOURNALLED_AFTER_S,
           f"a message is lost that was delivered {losses.longest:.1f} s before its connection ended")
    truth.expect_in_lake(job.lake, [sent.index for sent in losses.kept])
    longest, what = max(recovered)
    expect(longest < RESTART_S, f"{longest:.1f} s from an event ({what}) to the next manifest, want less than {RESTART_S}")
    print(f"  {len(events)} events, {feed.sent} messages delivered on {feed.connections} connections, {len(losses.lost)} lost "
          f"within gaps, at most {losses.longest:.2f} s before the end of a connection; to the next manifest: median "
          f"{statistics.median(took for took, _ in recovered):.1f} s, at most {longest:.1f} s ({what}); SIGTERM to exit at "
          f"most {max(stopped, default=0):.1f} s", flush=True)


def strike(context, job, what, rng, stopped):
    if what in ("worker", "collect"):
        wait_until(lambda: job.pids(what), 20, f"a process to kill ({what})")
        # It may have gone by itself, as its peers do.
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(job.pids(what)), signal.SIGKILL)
    elif what == "supervisor":
        orphans = descendants(job.process.pid)
        os.kill(job.process.pid, signal.SIGKILL)
        job.process.wait()
        context.finish(job.process)
        # They are not always waited for: a service manager would not, either.
        if rng.random() < 0.5:
            wait_until(lambda: not any(alive(pid) for pid in orphans), 20, "the others ending after the supervisor")
    elif what == "all":
        job.kill()
    else:
        stopped.append(job.stop(seconds=STOP_S).took)
