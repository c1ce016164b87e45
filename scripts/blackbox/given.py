"""Collected data: certificates as they are out there, odd ones included, and streams made by another program."""

import base64
import csv
import hashlib
import io
import json
import subprocess

from blackbox import lake as lakes
from blackbox.contents import PARTS
from blackbox.harness import Skipped, check, expect, expect_equal


def given(context, name):
    if context.data is None:
        raise Skipped("CT_STREAM_DATA is not set")
    path = context.data / name
    if not path.exists():
        raise Skipped(f"{path} is not there")
    return path


def read_zstd(path):
    return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout


def check_synthetic(context, name):
    path = given(context, f"synthetic/{name}.jsonl.zst")
    stats = json.loads((path.parent / f"{name}.stats.json").read_text())
    lake = context.folder / "lake"
    summary = context.replay(path, lake, w=2).summary
    expect_equal(summary["messages"], sum(summary[part] for part in PARTS), "messages against the sum of their kinds")
    # A blank line is no message, hence one of the malformed kinds does not count.
    blank = stats["malformed_kinds"].get("empty", 0)
    expect_equal(summary["messages"], stats["lines"] - blank, "messages")
    expect_equal(summary["heartbeats"], stats["heartbeats"], "heartbeats")
    if stats["stream"] == "domains":
        expect_equal(summary["names_only"], stats["distinct_log_entries"] + stats["redelivered_exact"], "names_only")
        return lake, stats
    # A malformed line is a changed copy of the one before it: it may add a certificate or an entry, and takes none.
    certificates, entries = lakes.count(lake, "certificates"), lakes.count(lake, "entries")
    most = stats["malformed"]
    want = stats["unique_certs_sha256"]
    expect(want <= certificates <= want + most, f"{certificates} certificates, want {want} to {want + most}")
    want = stats["distinct_log_entries"]
    expect(want <= entries <= want + most, f"{entries} entries, want {want} to {want + most}")
    places = lakes.query(
        lake, "entries", "SELECT count(DISTINCT (log, log_index)) FROM {t} WHERE log_index IS NOT NULL")[0][0]
    expect(want <= places <= want + most, f"{places} places in logs, want {want} to {want + most}")
    context.verify(lake).expect_code(0)
    return lake, stats


@check("given-full-go")
def full_go(context):
    lake, _ = check_synthetic(context, "full-go-2k")
    truth = given(context, "synthetic/full-go-2k.truth.csv")
    want = {row["sha256"]: int(row["log_entries"]) for row in csv.DictReader(io.StringIO(truth.read_text()))}
    got = dict(lakes.query(lake, "entries", "SELECT sha256, count(*) FROM {t} WHERE id_kind = 'der' GROUP BY sha256"))
    missing = [sha256 for sha256 in want if got.get(sha256, 0) < want[sha256]]
    expect(not missing, f"{len(missing)} certificates have fewer entries than the truth says, one is {missing[:1]}")


@check("given-full-rust")
def full_rust(context):
    check_synthetic(context, "full-rust-2k")


@check("given-lite-go")
def lite_go(context):
    check_synthetic(context, "lite-go-5k")


@check("given-domains")
def domains(context):
    check_synthetic(context, "domains-10k")


def messages(ders):
    """Byte strings as a CertStream server would announce them: one in three with its fingerprint, one with the hash of
    nothing that some servers send, one without."""
    for index, der in enumerate(ders):
        leaf = {"as_der": base64.b64encode(der).decode()}
        if index % 3 == 0:
            leaf["sha256"] = hashlib.sha256(der).hexdigest().upper()
        elif index % 3 == 1:
            leaf["sha256"] = hashlib.sha256(b"").hexdigest()
        yield json.dumps({"message_type": "certificate_update", "data": {
            "update_type": "X509LogEntry", "cert_index": index, "seen": 1_795_000_000 + index / 8, "leaf_cert": leaf,
            "source": {"name": "collected", "url": "https://log.example/collected/"}}})


def replay_ders(context, ders):
    path = context.folder / "collected.jsonl"
    path.write_text("\n".join(messages(ders)) + "\n")
    lake = context.folder / "lake"
    summary = context.replay(path, lake, w=2).summary
    expect_equal(summary["messages"], len(ders), "messages")
    expect_equal(summary["messages"], sum(summary[part] for part in PARTS), "messages against the sum of their kinds")
    context.verify(lake).expect_code(0)
    return lake


@check("given-certificates")
def certificates(context):
    """Every byte string that another parser takes for a certificate has a row with its SHA-256 and its names."""
    lines = read_zstd(given(context, "certs/certs.jsonl.zst")).splitlines()
    collected = [json.loads(line) for line in lines]
    lake = replay_ders(context, [base64.b64decode(c["der_base64"]) for c in collected])
    rows = {row["sha256"]: row for row in lakes.dicts(lake, "certificates", "id_kind = 'der'")}
    readable = [c for c in collected if c["parses_python_cryptography"]]
    missing = [c["sha256"] for c in readable if c["sha256"] not in rows]
    expect(not missing, f"{len(missing)} of {len(readable)} certificates have no row, one is {missing[:1]}")
    unread = [c["sha256"] for c in readable if rows[c["sha256"]]["parse"] == "failed"]
    expect(not unread, f"{len(unread)} of {len(readable)} certificates could not be read, one is {unread[:1]}")
    dates = [c["sha256"] for c in readable if rows[c["sha256"]]["parse"] == "ok" and c.get("not_before")
             and rows[c["sha256"]]["not_before"] and str(rows[c["sha256"]]["not_before"].date()) != c["not_before"].rjust(10, "0")]
    expect(not dates, f"{len(dates)} certificates have another not_before, one is {dates[:1]}")


@check("given-fuzz-corpus")
def fuzz_corpus(context):
    """Byte strings made to break parsers: each is a row or a rejected message, and none is lost."""
    lines = read_zstd(given(context, "certs/boringssl_fuzz_corpus.jsonl.zst")).splitlines()
    ders = [base64.b64decode(json.loads(line)["b64"]) for line in lines]
    lake = replay_ders(context, ders)
    held = lakes.query(lake, "entries", "SELECT count(DISTINCT log_index) FROM {t}")[0][0]
    rejected = lakes.count(lake, "rejected")
    expect_equal(held + rejected, len(ders), f"{held} entries and {rejected} rejected messages")
