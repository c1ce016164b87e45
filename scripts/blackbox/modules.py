"""Modules over whole streams: what they find against a plain count of the same lake."""

import json

from blackbox import lake as lakes
from blackbox.harness import check, expect, expect_equal
from blackbox.live import make_messages


def write_config(context, text):
    path = context.folder / "modules.toml"
    path.write_text(text)
    return path


@check("modules-issuance")
def issuance(context):
    """One alert for each issuance, precertificate or final first, on any workers, and over a job that begins again."""
    source, messages = make_messages(context, 4_000)
    config = write_config(context, '[modules]\nenabled = ["issuance"]\n[modules.issuance]\nitems = ["."]\n')
    half = len(messages) // 2
    parts = []
    for name, lines in (("first", messages[:half]), ("second", messages[half:]), ("backwards", messages[::-1])):
        parts.append(context.folder / f"{name}.jsonl")
        parts[-1].write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
    runs = {
        "-w 1": ([source], ("-w", 1)), "-n 2 -w 2": ([source], ("-n", 2, "-w", 2)), "backwards": ([parts[2]], ("-w", 2)),
        "in halves": (parts[:2], ("-w", 2)), "halves swapped": (parts[1::-1], ("-n", 2)),
    }
    for at, (name, (segments, flags)) in enumerate(runs.items()):
        lake = context.folder / f"lake{at}"
        for segment in segments:
            context.run("replay", segment, "-c", config, "--lake", lake, "--hot", "none", *flags).expect_code(0)
        # Without DER there is no hash to join by: each such certificate is an issuance of its own.
        [(issued, pairs)] = lakes.query(
            lake, "certificates", "SELECT count(DISTINCT tbs_sha256) + count(*) FILTER (tbs_sha256 IS NULL), "
                                  "count(tbs_sha256) - count(DISTINCT tbs_sha256) FROM {t} WHERE len(names) > 0")
        expect(pairs > 100, f"{name}: only {pairs} pairs of precertificate and final certificate in the stream")
        [(alerts, different)] = lakes.query(
            lake, "findings", "SELECT count(*), count(DISTINCT tbs_sha256) + count(*) FILTER (tbs_sha256 IS NULL) "
                              "FROM {t} WHERE module = 'issuance'")
        expect_equal((alerts, different), (issued, issued), f"{name}: alerts, and issuances in them")


SERIES = 30


def series():
    """Certificates without DER for domains that are made after one pattern."""
    for at in range(SERIES):
        yield json.dumps({"message_type": "certificate_update", "data": {
            "update_type": "X509LogEntry", "cert_index": at, "seen": 1795392000 + at,
            "source": {"url": "https://series.example/"},
            "leaf_cert": {"all_domains": [f"com-track{at}x.top"], "sha256": f"{at + 1:02x}" * 32,
                          "subject": {"CN": None}, "issuer": {"CN": "E7", "O": "Alder Encrypt"}}}}).encode()


# Limits so low that a stream of a minute has something to say.
MEMORY = """[modules]
enabled = ["first-seen", "rate-anomaly", "clusters", "key-reuse"]
[modules.first-seen]
hosts = true
[modules.rate-anomaly]
window_minutes = 1
history = 5
learn_windows = 1
z = 1
minimum_issuer = 2
minimum_domain = 2
[modules.clusters]
k = 2
shapes = ["suffix", "tail", "digits", "word"]
"""


@check("modules-memory")
def memory(context):
    """What modules remember is the same on any workers and over a job that begins again; first sightings are counted."""
    _, messages = make_messages(context, 4_000)
    for at, message in enumerate(series()):
        messages.insert(at * 100, message)
    config = write_config(context, MEMORY)
    half = len(messages) // 2
    parts = []
    for name, lines in (("all", messages), ("first", messages[:half]), ("second", messages[half:])):
        parts.append(context.folder / f"{name}.jsonl")
        parts[-1].write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
    whole, halves = parts[:1], parts[1:]
    runs = {"-w 1": (whole, ("-w", 1)), "-n 2 -w 2": (whole, ("-n", 2, "-w", 2)), "in halves": (halves, ("-w", 2))}
    found = {}
    for at, (name, (segments, flags)) in enumerate(runs.items()):
        lake = context.folder / f"lake{at}"
        for segment in segments:
            context.run("replay", segment, "-c", config, "--lake", lake, "--hot", "none", *flags).expect_code(0)
        rows = lakes.query(lake, "findings", 'SELECT id, module, "check", severity, name, sha256, seen, detail FROM {t}')
        found[name] = sorted(rows, key=str)
        for check_name, column in (("domain", "registered_domains"), ("host", "names")):
            told = [row[4] for row in rows if row[1:3] == ("first-seen", check_name)]
            held = lakes.query(lake, "certificates", f"SELECT DISTINCT unnest({column}) FROM {{t}}")
            expect_equal(sorted(told), sorted(value for (value,) in held), f"{name}: first sightings of a {check_name}")
    sizes = sorted(json.loads(row[7])["domains"] for row in found["-w 1"] if '"com-*.top"' in row[7])
    expect_equal(sizes, [2, 20], f"sizes at which the series of {SERIES} domains is told")
    for name, rows in found.items():
        expect(rows == found["-w 1"], f"{name}: {len(rows)} findings, of one worker {len(found['-w 1'])}, not the same")


@check("modules-tools")
def tools(context):
    """score, lint and rules test, as their pages print them."""
    names = context.folder / "names.txt"
    names.write_text("login-alderbank-specimen.com\nalderbank.com\nwww.example.org\n")
    brands = context.folder / "brands.txt"
    brands.write_text("alderbank.com\n")
    run = context.run("score", "lookalike", names, "--brands", brands, "--format", "json").expect_code(0)
    scores = {row["name"]: row["score"] for row in map(json.loads, run.out.splitlines())}
    expect(scores["login-alderbank-specimen.com"] > 0.5, f"a look-alike has the score {scores}")
    expect_equal((scores["alderbank.com"], scores["www.example.org"]), (0.0, 0.0), "scores of the owner and of others")
    run = context.run("score", "phish", names).expect_code(0)
    expect_equal(run.out.splitlines()[0], "name,score", "the first line of scores")
    expect(all(0 <= float(line.split(",")[1]) <= 1 for line in run.out.splitlines()[1:]), f"scores: {run.out}")
    context.run("score", "phish", names, "--brands", brands).expect_code(2)

    nothing = context.folder / "nothing.der"
    nothing.write_bytes(b"\x30\x03\x02\x01\x01")
    run = context.run("lint", nothing).expect_code(1)
    expect("policy" in run.out, f"no finding about bytes that are no certificate: {run.out}")

    rules = context.folder / "rules.toml"
    rules.write_text("""
[[rule]]
id = "bank"
title = "Names with bank"
level = "high"
[rule.detection]
condition = "words"
words = { keyword = "bank" }
[[rule.test]]
match = true
names = ["login-alderbank-specimen.com"]
""")
    run = context.run("rules", "test", rules, "--input", names).expect_code(0)
    expect_equal(run.out.splitlines(), ["1 rules, 1 tests, 0 failed", "login-alderbank-specimen.com bank",
                                        "alderbank.com bank", "www.example.org -"], "what rules match")
    expected = context.folder / "expected.txt"
    expected.write_text("\n".join(run.out.splitlines()[1:]) + "\n")
    context.run("rules", "test", rules, "--input", names, "--expect", expected).expect_code(0)
    rules.write_text(rules.read_text().replace("match = true", "match = false"))
    context.run("rules", "test", rules).expect_code(1)
