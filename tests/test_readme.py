"""What the README shows must run, and be true."""

import re
from pathlib import Path

from theory.presets import PRESETS
from theory.theorems import CLAIMS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_first_example_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    assert len(code.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "returns.png").stat().st_size > 0


def test_presets_in_the_table_exist_and_are_complete():
    rows = re.findall(r"^\| (`.*?`) \|", README.split("| preset |")[1].split("\n\n")[0], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named | {"best_case"} == set(PRESETS)


def test_counts_of_claims_are_current():
    verdicts = [claim.verdict for claim in CLAIMS.values()]
    sentence = (
        f"{len(CLAIMS)} claims are checked against an independent computation: "
        f"{verdicts.count('true')} are true, {verdicts.count('true if')} hold under conditions "
        f"that they leave out, {verdicts.count('false')} are false."
    )
    assert " ".join(sentence.split()) in " ".join(README.split())


def test_pictures_exist():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / picture).is_file()
