"""What is in the lake after a replay is what the generator says it wrote."""

import collections

from blackbox import lake as lakes
from blackbox.harness import check, expect, expect_equal

PARTS = ("heartbeats", "other", "rejected", "redelivered", "entries", "names_only")
PROMISED = (*PARTS, "messages", "certificates", "known", "findings", "bytes", "seconds", "messages_per_second")


def check_summary(stream, summary, lake):
    """The summary adds up, says what the generator says, and what the lake holds."""
    for name in PROMISED:
        expect(name in summary, f"summary lacks {name}")
    expect_equal(summary["messages"], sum(summary[name] for name in PARTS), "messages against the sum of their kinds")
    for name, want in stream.totals.items():
        if name in summary and name not in ("seconds", "messages_per_second"):
            expect_equal(summary[name], want, f"summary's {name} against the generator's")
    for table in lakes.TABLES:
        expect_equal(summary[table], lakes.count(lake, table), f"summary's {table} against the rows in the lake")
    expect_equal(summary["known"], summary["entries"] - summary["certificates"], "known")


def check_rejected(stream, lake):
    rows = lakes.query(lake, "rejected", 'SELECT line, "offset", reason, raw FROM {t} ORDER BY line')
    expect_equal([line for line, *_ in rows], stream.rejected_lines, "rejected lines")
    # Line, offset and raw bytes must point at the same place of the file.
    content = stream.path.read_bytes()
    starts = [0]
    while (at := content.find(b"\n", starts[-1])) >= 0:
        starts.append(at + 1)
    for line, offset, reason, raw in rows:
        expect_equal(offset, starts[line - 1], f"offset of rejected line {line}")
        want = content[offset:offset + 4096].split(b"\n")[0].rstrip(b"\r")
        expect(raw.rstrip(b"\r\n") == want, f"raw of rejected line {line} is not the start of that line")
        expect(reason, f"rejected line {line} has no reason")


def check_certificates(stream, lake):
    """Each certificate with its kind, its number of entries and its number of names."""
    rows = lakes.query(lake, "certificates", "SELECT id_kind, id, sha256, kind, len(names) FROM {t}")
    expect_equal(len(rows), len(stream.certificates), "certificates")
    entries = {(id_kind, id): n for id_kind, id, n in lakes.query(
        lake, "entries", "SELECT id_kind, id, count(*) FROM {t} GROUP BY id_kind, id")}
    expect_equal(sum(entries.values()), stream.entries, "entries")

    # Those whose fingerprint a message told, one by one.
    want = {row["sha256"]: (row["kind"], int(row["log_entries"]), int(row["names"]))
            for row in stream.certificates if row["sha256"]}
    got = {sha256: (kind, entries.get((id_kind, id), 0), names)
           for id_kind, id, sha256, kind, names in rows if sha256 is not None}
    missing, surplus = want.keys() - got.keys(), got.keys() - want.keys()
    expect(not missing and not surplus,
           f"{len(missing)} certificates of the truth are missing, {len(surplus)} are not in it")
    for sha256 in sorted(want):
        expect_equal(got[sha256], want[sha256], f"kind, entries and names of {sha256}")

    # The truth has no id for the others; as a multiset they have to be the same.
    want = collections.Counter((row["kind"], int(row["log_entries"]), int(row["names"]))
                               for row in stream.certificates if not row["sha256"])
    got = collections.Counter((kind, entries.get((id_kind, id), 0), names)
                              for id_kind, id, sha256, kind, names in rows if sha256 is None)
    expect(got == want, f"certificates without fingerprint: {len(got - want)} of {sum(got.values())} kinds, entries "
                        f"and names are not in the truth, such as {list(got - want)[:1]}, {list(want - got)[:1]}")


def check_stream(context, shape, kind):
    stream = context.stream(shape, kind)
    lake, summary = context.reference(stream)
    if (shape, kind) == ("elixir", "lite"):
        # This server tells SHA-1 only, and sends no certificate to take another from.
        for row in stream.certificates:
            row["sha256"] = ""
    check_certificates(stream, lake)
    check_rejected(stream, lake)
    check_summary(stream, summary, lake)
    for table in lakes.TABLES:
        expect_equal(lakes.duplicates(lake, table), 0, f"rows of {table} with a key that another row has")
    context.verify(lake).expect_code(0)


for _shape in ("go", "rust", "elixir"):
    for _kind in ("full", "lite"):
        check(f"contents-{_shape}-{_kind}")(lambda context, s=_shape, k=_kind: check_stream(context, s, k))


@check("contents-domains")
def domains(context):
    stream = context.stream("go", "domains")
    lake, summary = context.reference(stream)
    expect_equal(summary["messages"], sum(summary[name] for name in PARTS), "messages against the sum of their kinds")
    expect_equal(summary["names_only"], stream.totals["names_only"], "names_only")
    expect(summary["names_only"] > 0, "the stream has no names")
    for table in ("certificates", "entries"):
        expect_equal(lakes.count(lake, table), 0, table)
    expect_equal(lakes.query(lake, "findings", "SELECT count(*) FROM {t} WHERE sha256 IS NOT NULL") or [(0,)], [(0,)],
                 "findings with a fingerprint that no message had")
    check_rejected(stream, lake)


@check("contents-der")
def der(context):
    """With lake.der the certificate itself is kept, and its SHA-256 is the one in the row."""
    stream = context.stream("go", "full", messages=2_000)
    lake = context.folder / "lake"
    context.replay(stream.path, lake, config="[lake]\nder = true\n")
    rows = lakes.query(lake, "certificates", """
        SELECT count(*), count(*) FILTER (sha256(der) = sha256), count(*) FILTER (octet_length(der) = der_bytes)
        FROM {t} WHERE id_kind = 'der'""")
    total, hashed, sized = rows[0]
    expect(total > 0, "no certificate has id_kind der")
    expect_equal((hashed, sized), (total, total), "certificates whose DER has the row's SHA-256 and size")
