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
