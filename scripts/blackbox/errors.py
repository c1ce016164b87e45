"""What goes wrong outside gets the exit code that is promised, one clear line, and no harm to the lake."""

import contextlib
import gzip
import os
import random
import shutil
import subprocess

from blackbox import lake as lakes
from blackbox.answers import compress_zstd
from blackbox.harness import OFTEN, Skipped, check, expect, expect_equal


def expect_refusal(run, word):
    """Exit 2, nothing on standard output, and on standard error a line with `word`."""
    run.expect_code(2)
    expect_equal(run.out, "", f"{run}: standard output")
    lines = [line for line in run.err.splitlines() if word in line]
    expect(lines, f"{run}: no line on stderr says {word!r}; {run.tail()}")


@check("errors-empty-file")
def empty_file(context):
    path = context.folder / "empty.jsonl"
    path.touch()
    summary = context.replay(path, context.folder / "lake").summary
    expect_equal(summary["messages"], 0, "messages")
    context.verify(context.folder / "lake").expect_code(0)


@check("errors-missing-file")
def missing_file(context):
    expect_refusal(context.run(*context.replay_args("nowhere.jsonl", context.folder / "lake")), "nowhere.jsonl")


@check("errors-folder-without-segments")
def folder_without_segments(context):
    folder = context.folder / "nothing-here"
    folder.mkdir()
    expect_refusal(context.run(*context.replay_args(folder, context.folder / "lake")), "nothing-here")


@check("errors-binary-file")
def binary_file(context):
    path = context.folder / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(context.seed).randbytes(200_000))
    expect_refusal(context.run(*context.replay_args(path, context.folder / "lake")), "picture.png")


@check("errors-unknown-flag")
def unknown_flag(context):
    stream = context.stream("go", "lite")
    expect_refusal(context.run(*context.replay_args(stream.path, context.folder / "lake", extra=["--no-such-flag"])),
                   "--no-such-flag")


@check("errors-no-segments")
def no_segments(context):
    context.run("replay", "--lake", context.folder / "lake").expect_code(2)


@check("errors-config")
def config(context):
    """One line that names the key."""
    stream = context.stream("go", "lite")
    for text, key in (
        ("[lake]\nno_such_key = 1\n", "no_such_key"),
        ("[lake]\nbuffer_mb = \"many\"\n", "buffer_mb"),
        ("[lake]\nbuffer_mb = 0\n", "lake.buffer_mb"),
        ("[lake\n", "config.toml"),
    ):
        expect_refusal(context.run(*context.replay_args(stream.path, context.folder / "lake", config=text)), key)
    expect_refusal(context.run(*context.replay_args(stream.path, context.folder / "lake", extra=["-c", "gone.toml"])),
                   "gone.toml")


def check_truncated(context, suffix, compress):
    """Frames before the cut are read, the lake has their rows, and exit 3 says that it was not all."""
    stream = context.stream()
    lines = stream.path.read_bytes().splitlines(keepends=True)
    parts = [b"".join(lines[len(lines) * part // 5:len(lines) * (part + 1) // 5]) for part in range(5)]
    frames = [compress(part) for part in parts]
    whole = len(lines) * 4 // 5
    path = context.folder / f"cut.jsonl.{suffix}"
    path.write_bytes(b"".join(frames[:4]) + frames[4][:len(frames[4]) // 2])
    lake = context.folder / "lake"
    run = context.replay(path, lake, code=3)
    expect(path.name in run.err, f"no line on stderr names {path.name}; {run.tail()}")
    got = {sha256 for (sha256,) in lakes.query(lake, "certificates", "SELECT sha256 FROM {t} WHERE sha256 IS NOT NULL")}
    before = {row["sha256"] for row in stream.certificates if row["sha256"] and int(row["first_line"]) <= whole}
    expect(before <= got, f"{len(before - got)} certificates of lines before the cut are missing")
    expect(got <= stream.fingerprints, "certificates that the stream does not have")
    context.verify(lake).expect_code(0)
    # The file arrives whole after all.
    path.write_bytes(b"".join(frames))
    context.replay(path, lake)
    reference, _ = context.reference(stream)
    for table in ("certificates", "entries", "findings"):
        expect_equal(lakes.contents(lake, table), lakes.contents(reference, table), f"{table} once the file is whole")


@check("errors-truncated-zstd")
def truncated_zstd(context):
    if not shutil.which("zstd"):
        raise Skipped("zstd is not installed")
    check_truncated(context, "zst", compress_zstd)


@check("errors-truncated-gzip")
def truncated_gzip(context):
    check_truncated(context, "gz", lambda content: gzip.compress(content, 1))


@contextlib.contextmanager
def small_disk(context, kilobytes):
    """A tmpfs of that size; needs root and the right to mount."""
    folder = context.folder / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder) != 0:
        raise Skipped("a small disk needs root and the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)


def mount(*args):
    return subprocess.run(["mount", *map(str, args)], check=False, stderr=subprocess.DEVNULL).returncode


@check("errors-full-disk")
def full_disk(context):
    """Exit 1 when the disk is full; with more room the same command completes the lake."""
    stream = context.stream()
    reference, _ = context.reference(stream)
    size = sum(path.stat().st_size for path in reference.rglob("*") if path.is_file())
    with small_disk(context, max(size * 6 // 10 // 1024, 300)) as disk:
        lake = disk / "lake"
        context.replay(stream.path, lake, code=1, config=OFTEN)
        expect_equal(mount("-o", "remount,size=1g", disk), 0, "mount -o remount")
        context.replay(stream.path, lake, config=OFTEN)
        difference = lakes.difference(lake, reference)
        expect(difference is None, f"after the disk grew: {difference}")
        context.verify(lake).expect_code(0)


@check("errors-read-only-lake")
def read_only_lake(context):
    """Exit 1 and a line that names the lake."""
    stream = context.stream("go", "lite")
    if os.geteuid() != 0:
        lake = context.folder / "sealed-lake"
        lake.mkdir(mode=0o555)
        run = context.replay(stream.path, lake, code=1)
        expect("sealed-lake" in run.err, f"no line on stderr names the lake; {run.tail()}")
        return
    with small_disk(context, 65_536) as disk:
        lake = disk / "sealed-lake"
        lake.mkdir()
        if mount("-o", "remount,ro", disk) != 0:
            raise Skipped("cannot remount a tmpfs read-only")
        run = context.replay(stream.path, lake, code=1)
        expect("sealed-lake" in run.err, f"no line on stderr names the lake; {run.tail()}")


@check("errors-second-job")
def second_job(context):
    """Two jobs on one lake: whoever loses exits 4, and the lake is what one of them alone would have made so far."""
    left, right = context.stream(seed=context.seed + 1), context.stream(seed=context.seed + 2)
    lake = context.folder / "lake"
    processes = [context.start(*context.replay_args(s.path, lake, config=OFTEN)) for s in (left, right)]
    runs = [context.finish(process) for process in processes]
    codes = sorted(run.code for run in runs)
    expect_equal(codes, [0, 4], f"exit codes of two jobs at once ({runs[0].tail()}; {runs[1].tail()})")
    for table in lakes.TABLES:
        expect_equal(lakes.duplicates(lake, table), 0, f"rows of {table} with a key that another row has")
    context.verify(lake).expect_code(0)
    # The loser has its turn, and then everything is there.
    for stream in (left, right):
        context.replay(stream.path, lake)
    together = context.folder / "together"
    context.replay([left.path, right.path], together)
    for table in ("entries", "rejected"):
        expect_equal(lakes.contents(lake, table), lakes.contents(together, table), table)
    got, want = (lakes.query(at, "certificates", "SELECT id_kind, id FROM {t} ORDER BY ALL") for at in (lake, together))
    expect(got == want, "other certificates than one job over both streams finds")
