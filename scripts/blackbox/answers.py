"""One answer: the same messages give the same rows, however they are stored, split and computed."""

import gzip
import shutil
import subprocess

from blackbox import lake as lakes
from blackbox.contents import PROMISED
from blackbox.harness import OFTEN, Skipped, check, expect, expect_equal
from blackbox.queries import views


def expect_same(context, lake, stream, without_rejected=()):
    reference, _ = context.reference(stream)
    difference = lakes.difference(lake, reference, without_rejected)
    expect(difference is None, f"against -n 1 -w 1 on the plain file: {difference}")


def check_workers(context, n, w):
    for shape, kind in (("go", "full"), ("rust", "lite"), ("go", "domains")):
        stream = context.stream(shape, kind)
        lake = context.folder / f"{shape}-{kind}"
        run = context.replay(stream.path, lake, n=n, w=w)
        expect_same(context, lake, stream)
        _, summary = context.reference(stream)
        for name in PROMISED:
            if name not in ("seconds", "messages_per_second"):
                expect_equal(run.summary[name], summary[name], f"summary's {name} of {shape} {kind}")


for _n, _w in ((1, 2), (1, 4), (2, 1), (2, 2)):
    check(f"answer-n{_n}-w{_w}")(lambda context, n=_n, w=_w: check_workers(context, n, w))


@check("answer-published-often")
def published_often(context):
    """The size of what is published at a time is no part of the answer."""
    stream = context.stream("go", "full")
    lake = context.folder / "lake"
    context.replay(stream.path, lake, w=2, config=OFTEN)
    expect_same(context, lake, stream)
    manifests = len(list((lake / "_ct" / "manifests").glob("*.json")))
    expect(manifests > 1, f"{manifests} manifests: buffer_mb = 1 did not publish more than once")


@check("answer-gzip")
def gzipped(context):
    """Two members in one file, which RFC 1952 section 2.2 allows."""
    stream = context.stream()
    content = stream.path.read_bytes()
    half = content.index(b"\n", len(content) // 2) - 100
    path = context.folder / "s.jsonl.gz"
    path.write_bytes(gzip.compress(content[:half], 1) + gzip.compress(content[half:], 1))
    lake = context.folder / "lake"
    context.replay(path, lake)
    expect_same(context, lake, stream, ("segment",))


@check("answer-zstd")
def zstd(context):
    """Two frames in one file (RFC 8878 section 3.1), and a name that says nothing: content decides."""
    if not shutil.which("zstd"):
        raise Skipped("zstd is not installed")
    stream = context.stream()
    content = stream.path.read_bytes()
    half = content.index(b"\n", len(content) // 2) - 100
    path = context.folder / "segment"
    path.write_bytes(compress_zstd(content[:half]) + compress_zstd(content[half:]))
    lake = context.folder / "lake"
    context.replay(path, lake, w=2)
    expect_same(context, lake, stream, ("segment",))


def compress_zstd(content):
    return subprocess.run(["zstd", "-1", "-q", "-c"], input=content, stdout=subprocess.PIPE, check=True).stdout


def cut_in_five(stream, folder):
    lines = stream.path.read_bytes().splitlines(keepends=True)
    folder.mkdir()
    paths = []
    for part in range(5):
        path = folder / f"part-{part}.jsonl"
        path.write_bytes(b"".join(lines[len(lines) * part // 5:len(lines) * (part + 1) // 5]))
        paths.append(path)
    return paths


@check("answer-five-files")
def five_files(context):
    """Named one by one, as a folder and as a glob; a missing newline at the end of a file changes nothing."""
    stream = context.stream()
    paths = cut_in_five(stream, context.folder / "parts")
    paths[2].write_bytes(paths[2].read_bytes().rstrip(b"\n"))
    folder = paths[0].parent
    for name, segments in (("files", paths), ("folder", [folder]), ("glob", [f"{folder}/part-*.jsonl"])):
        lake = context.folder / name
        context.replay(segments, lake, w=2)
        reference, _ = context.reference(stream)
        difference = lakes.difference(lake, reference, lakes.PLACE)
        expect(difference is None, f"by {name}: {difference}")


@check("again-same-input")
def again(context):
    """The same command a second time adds nothing."""
    stream = context.stream()
    lake = context.folder / "lake"
    context.replay(stream.path, lake)
    before = {table: lakes.contents(lake, table) for table in lakes.TABLES}
    for n, w in ((1, 1), (2, 2)):
        summary = context.replay(stream.path, lake, n=n, w=w).summary
        for name in ("certificates", "entries"):
            expect_equal(summary[name], 0, f"summary's {name} of a repeated replay, -n {n} -w {w}")
        for table in lakes.TABLES:
            expect_equal(lakes.contents(lake, table), before[table], f"{table} after a repeated replay, -n {n} -w {w}")


@check("again-other-name")
def again_other_name(context):
    """The same messages under another file name are read again and all known."""
    stream = context.stream()
    lake = context.folder / "lake"
    first = context.replay(stream.path, lake).summary
    before = {table: lakes.contents(lake, table) for table in lakes.TABLES}
    copy = context.folder / "copy.jsonl"
    shutil.copyfile(stream.path, copy)
    summary = context.replay(copy, lake, w=2).summary
    expect_equal((summary["certificates"], summary["entries"]), (0, 0), "new certificates and entries")
    expect_equal(summary["redelivered"], first["redelivered"] + first["entries"], "redelivered")
    for table in ("certificates", "entries", "findings"):
        expect_equal(lakes.contents(lake, table), before[table], table)


@check("again-in-pieces")
def again_in_pieces(context):
    """Five replays into one lake, each knowing what the ones before left, give what one replay gives."""
    stream = context.stream()
    lake = context.folder / "lake"
    for part, path in enumerate(cut_in_five(stream, context.folder / "parts")):
        context.replay(path, lake, n=1 + part % 2, w=1 + part % 3)
    reference, _ = context.reference(stream)
    difference = lakes.difference(lake, reference, lakes.PLACE)
    expect(difference is None, f"against one replay: {difference}")


@check("claim-then-proof")
def claim_then_proof(context):
    """A lite stream claims, the full stream proves the same certificates: both rows stay, the view shows the proof."""
    lite, full = context.stream("go", "lite"), context.stream("go", "full")
    claimed, proven = lite.fingerprints, full.fingerprints
    if not claimed & proven:
        raise Skipped("lite and full streams of one seed share no certificate")
    lake = context.folder / "lake"
    context.replay(lite.path, lake)
    context.replay(full.path, lake)
    kinds = dict(lakes.query(
        lake, "certificates", "SELECT id_kind, count(*) FROM {t} WHERE sha256 IS NOT NULL GROUP BY id_kind"))
    expect_equal(kinds, {"sha256": len(claimed), "der": len(proven)}, "rows by id_kind")
    rows = views(lake).execute(
        "SELECT id_kind, count(*) FROM certificates_best WHERE sha256 IS NOT NULL GROUP BY id_kind").fetchall()
    want = {"der": len(proven), "sha256": len(claimed - proven)}
    expect_equal(dict(rows), {k: v for k, v in want.items() if v}, "rows of certificates_best by id_kind")
