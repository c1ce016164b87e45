"""verify finds every way in which a lake can differ from its manifests, and says each once."""

import shutil

from blackbox import lake as lakes
from blackbox.harness import OFTEN, check, expect, expect_equal


def missing(lake, _):
    path = lakes.files(lake, "certificates")[0]
    path.unlink()
    return [path]


def extra(lake, _):
    path = lakes.files(lake, "findings" if lakes.files(lake, "findings") else "entries")[0].with_name("extra.parquet")
    lakes.connect().execute(f"COPY (SELECT 'x' AS id) TO '{path}' (FORMAT parquet)")
    return [path]


def truncated(lake, _):
    path = lakes.files(lake, "entries")[-1]
    path.write_bytes(path.read_bytes()[:-100])
    return [path]


def flipped_bit(lake, _):
    path = lakes.files(lake, "certificates")[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    return [path]


def duplicated(lake, _):
    path = lakes.files(lake, "certificates")[0]
    copy = path.with_name("999999999999-0000.parquet")
    shutil.copyfile(path, copy)
    return [copy]


def several(lake, context):
    return missing(lake, context) + truncated(lake, context) + extra(lake, context)


def check_fault(context, harm):
    stream = context.stream("go", "lite")
    lake = context.folder / "lake"
    context.replay(stream.path, lake, config=OFTEN)
    clean = context.verify(lake).expect_code(0)
    harmed = harm(lake, context)
    run = context.verify(lake).expect_code(1)
    for path in harmed:
        lines = [line for line in run.out.splitlines() if path.name in line and path.parent.parent.name in line]
        expect_equal(len(lines), 1, f"lines on stdout that name {path.relative_to(lake)}")
    named = [line for line in run.out.splitlines() if ".parquet" in line]
    expect_equal(len(named), len(harmed), "lines on stdout that name a file")
    expect(not any(".parquet" in line for line in clean.out.splitlines()), "a file is named where nothing is wrong")


for _harm in (missing, extra, truncated, flipped_bit, duplicated, several):
    check(f"verify-{_harm.__name__.replace('_', '-')}")(lambda context, harm=_harm: check_fault(context, harm))
