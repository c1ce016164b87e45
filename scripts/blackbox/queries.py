"""duckdb.sql and scripts/query on lakes as they come: whole, without one table, without any."""

import pathlib
import subprocess
import sys

from blackbox import lake as lakes
from blackbox.harness import check, expect, expect_equal

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
DERIVED = ("certificates_best", "names", "issuances")


def views(lake):
    """A connection with the views of duckdb.sql on `lake`."""
    connection = lakes.connect()
    connection.execute("SET VARIABLE lake = ?", [str(lake)])
    connection.execute((SCRIPTS / "duckdb.sql").read_text())
    return connection


def query(lake, sql):
    return subprocess.run([sys.executable, SCRIPTS / "query", "--csv", lake, sql], stdout=subprocess.PIPE, check=True,
                          text=True).stdout.splitlines()


@check("views-empty-lake")
def empty_lake(context):
    lake = context.folder / "it's empty"
    lake.mkdir()
    for table in (*lakes.TABLES, *DERIVED):
        expect_equal(query(lake, f"SELECT count(*) AS n FROM {table}"), ["n", "0"], table)


@check("views-columns")
def columns(context):
    """The columns that duckdb.sql names for a table without a file are those of the files, with their types."""
    stream = context.stream()
    lake, _ = context.reference(stream)
    full, empty = views(lake), views(context.folder / "nothing")
    for table in lakes.TABLES:
        if lakes.files(lake, table):
            written, listed = (
                dict(row[:2] for row in c.execute(f"DESCRIBE {table}").fetchall()) for c in (full, empty))
            for name, kind in listed.items():
                expect_equal(written.get(name), kind, f"type of {table}.{name}")


@check("views-derived")
def derived(context):
    """Each derived view against the same question asked in Python."""
    stream = context.stream()
    lake, _ = context.reference(stream)
    connection = views(lake)
    rows = lakes.dicts(lake, "certificates")

    names = {}
    for row in rows:
        for name in row["names"] or []:
            names.setdefault(name, []).append(row["seen"])
    got = {name: tuple(rest) for name, *rest in connection.execute(
        "SELECT name, wildcard, first_seen, last_seen, certificates FROM names").fetchall()}
    want = {name: (name.startswith("*."), min(seen), max(seen), len(seen)) for name, seen in names.items()}
    expect(got == want, f"names: {len(got)} rows, want {len(want)}, or other values")
    for name, domain in connection.execute("SELECT name, registered_domain FROM names").fetchall():
        expect(domain is None or name == domain or name.endswith(f".{domain}"), f"{name} is not under {domain}")

    pairs = {}
    for row in rows:
        if row["tbs_sha256"]:
            pairs.setdefault(row["tbs_sha256"], {}).setdefault(row["kind"], set()).add(row["sha256"])
    got = connection.execute("SELECT tbs_sha256, precert_sha256, final_sha256, names FROM issuances").fetchall()
    expect_equal(len(got), len(pairs), "issuances")
    for tbs, precert, final, _ in got:
        for sha256, kind in ((precert, "precert"), (final, "final")):
            expect(sha256 in pairs[tbs].get(kind, {None}), f"{kind} of issuance {tbs}")
    expect_equal(connection.execute("SELECT count(*) FROM certificates_best").fetchone()[0], len(rows),
                 "certificates_best of a lake without mere claims")
