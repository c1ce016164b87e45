"""README.md: its queries give what is printed there."""

import pathlib
import re
import shlex
import subprocess

from blackbox.harness import check, expect, expect_equal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@check("readme-queries")
def queries(context):
    lake = context.folder / "lake"
    context.replay(ROOT / "samples" / "certstream-go-2k.jsonl.zst", lake)
    text = (ROOT / "README.md").read_text()
    printed = re.findall(r"^\$ (scripts/query lake .*)\n((?:.*\n)*?)```", text, re.MULTILINE)
    expect(len(printed) >= 5, f"README.md has {len(printed)} queries")
    for command, answer in printed:
        words = [str(lake) if word == "lake" else word for word in shlex.split(command)]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        expect_equal(run.returncode, 0, f"exit of {command} ({run.stderr})")
        expect_equal(run.stdout, answer, f"the answer to {command}")
