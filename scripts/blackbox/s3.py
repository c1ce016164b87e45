"""A lake and its input in an object store: what holds in a folder holds behind S3, after kills and against a rival.

The server is moto, a simulation of S3 that honours If-None-Match on PUT, which a commit stands on. It is a process of
its own that keeps objects in memory, so each check starts with an empty one. DuckDB reads copies of the objects.
"""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

from blackbox import lake as lakes
from blackbox.harness import OFTEN, Failure, Skipped, check, descendants, expect, expect_equal, kill_group, wait_until

BUCKET = "ct-lake"
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "something",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


class Server:
    """An S3 with one empty bucket. While it runs, the environment says where it is."""

    def __init__(self, context):
        try:
            import boto3
            import moto.server  # noqa: F401, only whether it is there
        except ImportError:
            raise Skipped("moto is not installed: run scripts/setup") from None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(context.folder / "s3.log", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{self.port}'])"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.client = boto3.client("s3", endpoint_url=self.url, region_name=SETTINGS["AWS_REGION"],
                                   aws_access_key_id="someone", aws_secret_access_key="something")
        wait_until(self.listens, 30, "the S3 server listening")
        self.client.create_bucket(Bucket=BUCKET)

    def listens(self):
        if self.process.poll() is not None:
            raise Failure(f"the S3 server ended; see {self.log.name}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def manifests(self, lake):
        return [key for key in self.keys(f"{lake}/_ct/manifests/") if key.endswith(".json")]

    def upload(self, path, key):
        self.client.upload_file(str(path), BUCKET, key)
        return f"s3://{BUCKET}/{key}"

    def copy(self, lake, folder):
        """The objects of a lake as files."""
        for key in self.keys(f"{lake}/"):
            path = pathlib.Path(folder) / key.removeprefix(f"{lake}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(BUCKET, key, str(path))
        return folder

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def s3(context):
    server = Server(context)
    settings = SETTINGS | {"AWS_ENDPOINT_URL": server.url}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield server
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        server.stop()


def url(lake):
    return f"s3://{BUCKET}/{lake}"


def expect_alike(context, server, lake, reference, what, without_rejected=()):
    folder = server.copy(lake, context.folder / f"copy-of-{lake}")
    difference = lakes.difference(folder, reference, without_rejected)
    expect(difference is None, f"{what}: {difference}")
    staged = [key for key in server.keys(f"{lake}/_ct/staging/")]
    expect(not staged, f"{what}: staged objects stayed: {staged[:3]}")
    shutil.rmtree(folder)


@check("s3-replay")
def replay(context):
    """The same rows as in a folder, by one process and by two; a repeat adds nothing; hot state lives there, too."""
    stream = context.stream(messages=min(context.messages, 4_000))
    reference, _ = context.reference(stream)
    with s3(context) as server:
        for lake, n in (("one", 1), ("two", 2)):
            context.replay(stream.path, url(lake), n=n, w=2, hot="embedded", config=OFTEN)
            context.verify(url(lake)).expect_code(0)
            expect_alike(context, server, lake, reference, f"-n {n} against a lake in a folder")
        again = context.replay(stream.path, url("one"), hot="embedded", config=OFTEN).summary
        expect_equal([again[table] for table in ("certificates", "entries", "findings")], [0, 0, 0], "rows of a repeat")
        run = context.run("hot", "stats", "--lake", url("one"), "--hot", "embedded", "--format", "json").expect_code(0)
        expect(f'"certificates":{lakes.count(reference, "certificates")}' in run.out.replace(" ", ""),
               f"{run}: no count of all certificates")
        # A fault is a fault there, too.
        key = server.keys("one/entries/")[0]
        server.client.delete_object(Bucket=BUCKET, Key=key)
        run = context.verify(url("one")).expect_code(1)
        expect(f"{key.removeprefix('one/')}: missing" in run.out, f"{run}: {run.tail()}")


@check("s3-segments")
def segments(context):
    """Input from an object store, one object and all below a prefix."""
    stream = context.stream(messages=min(context.messages, 4_000))
    reference, _ = context.reference(stream)
    lines = stream.path.read_bytes().splitlines(keepends=True)
    with s3(context) as server:
        whole = server.upload(stream.path, "input/whole.jsonl")
        context.replay(whole, url("lake"), config=OFTEN)
        expect_alike(context, server, "lake", reference, "one object against one file", lakes.PLACE)
        for part in range(3):
            path = context.folder / f"part-{part}.jsonl"
            path.write_bytes(b"".join(lines[len(lines) * part // 3:len(lines) * (part + 1) // 3]))
            server.upload(path, f"input/parts/{path.name}")
        local = context.folder / "lake"
        context.replay(f"s3://{BUCKET}/input/parts/", local)
        difference = lakes.difference(local, reference, lakes.PLACE)
        expect(difference is None, f"three objects against one file: {difference}")


@check("s3-kills")
def kills(context):
    """SIGKILL at any moment, and the end is that of a quiet run."""
    stream = context.stream(messages=min(context.messages, 8_000))
    reference, _ = context.reference(stream)
    rng = random.Random(f"{context.seed} s3")
    with s3(context) as server:
        args = context.replay_args(stream.path, url("lake"), w=2, config=OFTEN)
        hits = 0
        for _ in range(4):
            process = context.start(*args)
            before = len(server.manifests("lake"))
            # Some hit the start, most the work: a manifest was just committed, its files wait to be shown.
            if rng.random() < 0.8:
                wait_until(lambda: process.poll() is not None or len(server.manifests("lake")) > before, 60,
                           "the next manifest")
            time.sleep(rng.uniform(0, 0.1))
            hits += process.poll() is None
            kill_group(process)
            context.finish(process)
        expect(hits >= 2, f"only {hits} kills hit a job; use more messages")
        context.finish(context.start(*args)).expect_code(0)
        # What a killed job staged for a manifest to come might still have been a living job's: it goes with the next
        # start after that manifest.
        again = context.finish(context.start(*args)).expect_code(0).summary
        expect_equal([again[table] for table in ("certificates", "entries", "findings")], [0, 0, 0], "rows of a repeat")
        context.verify(url("lake")).expect_code(0)
        expect_alike(context, server, "lake", reference, "after kills")


@check("s3-second-job")
def second_job(context):
    """There is no lock on an object store: the first commit wins, and whoever loses exits 4 and does no harm."""
    messages = min(context.messages, 4_000)
    left, right = (context.stream(messages=messages, seed=context.seed + at) for at in (1, 2))
    with s3(context) as server:
        # Both read where the lake ends before either commits: the second to be started is stopped until then.
        slow = context.start(*context.replay_args(left.path, url("lake"), config=OFTEN))
        wait_until(lambda: slow.poll() is not None or server.keys("lake/_ct/staging/") or server.manifests("lake"), 60,
                   "the first job staging")
        stopped = slow.poll() is None
        if stopped:
            freeze(slow, signal.SIGSTOP)
        manifests = len(server.manifests("lake"))
        fast = context.replay(right.path, url("lake"), config=OFTEN)
        if stopped:
            freeze(slow, signal.SIGCONT)
        slow = context.finish(slow)
        # It may have been at its very end.
        expect(stopped, f"the first job ended before the second began; {slow.tail()}")
        expect_equal((fast.code, slow.code), (0, 4), f"exit codes after {manifests} manifests ({slow.tail()})")
        context.verify(url("lake")).expect_code(0)
        context.replay(left.path, url("lake"), config=OFTEN)
        context.verify(url("lake")).expect_code(0)
        together = context.folder / "together"
        context.replay([right.path, left.path], together)
        folder = server.copy("lake", context.folder / "copy")
        for table in ("entries", "rejected"):
            expect_equal(lakes.contents(folder, table), lakes.contents(together, table), table)


def freeze(process, which):
    for pid in [process.pid, *descendants(process.pid)]:
        os.kill(pid, which)
