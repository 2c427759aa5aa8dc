"""Records say which code made them, and are not gone on with by another unasked."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest

from theory.errors import InputError
from theory.experiment import run
from theory.fingerprint import code_of, stamp
from theory.presets import ensemble_mean, lcb
from theory.records import Records

BOTH = {"mean": ensemble_mean(0.1), "lcb": lcb(0.1)}


@dataclass(frozen=True)
class Counting:
    """Rows of a seed and step; the code is what it is told to be."""

    name: str = "counting"
    broken: str = ""
    told: ClassVar[dict[str, str]] = {"code": "123456789012"}

    def __repr__(self):
        return self.name

    @property
    def code(self):
        return self.told["code"]

    def train(self, objective, optimiser, seeds, *, steps, evaluate_every):
        if self.broken and self.broken in str(objective.name or objective).lower():
            raise InputError("world", "whole", "broken")
        for step in range(evaluate_every, steps + 1, evaluate_every):
            yield pd.DataFrame({"seed": seeds, "step": step, "gold": 0.5})


@pytest.fixture
def go(tmp_path, monkeypatch):
    def go(world=Counting(), *, code="123456789012", steps=2, **options):
        monkeypatch.setitem(Counting.told, "code", code)
        return run(world, BOTH, None, [0, 1], steps=steps, evaluate_every=1, chunk=2,
                   out=tmp_path / "out", **options)  # fmt: skip

    return go


def halved(go):
    with pytest.raises(RuntimeError):
        go(Counting(broken="mean"))


def test_the_manifest_names_the_code(go, tmp_path):
    rows = go().rows()
    assert "code" not in rows
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["codes"] == ["123456789012"]


def test_other_code_is_refused_naming_both(go):
    halved(go)
    with pytest.raises(InputError, match=r"123456789012.*abcdefabcdef.*--accept-code"):
        go(code="abcdefabcdef", resume=True)


def test_accepted_code_marks_the_rows(go, tmp_path):
    halved(go)
    rows = go(code="abcdefabcdef", resume=True, accept_code=True).rows()
    assert rows.groupby("objective").code.unique().map(list).to_dict() == {
        "lcb": ["123456789012"], "mean": ["abcdefabcdef"],
    }  # fmt: skip
    again = go(code="abcdefabcdef", resume=True).rows()
    pd.testing.assert_frame_equal(again, rows)
    longer = go(code="abcdefabcdef", steps=3, resume=True).rows()
    assert set(longer.code) == {"abcdefabcdef"}


def test_where_nothing_is_left_to_do_the_code_does_not_matter(go):
    rows = go().rows()
    pd.testing.assert_frame_equal(go(code="abcdefabcdef", resume=True).rows(), rows)


def test_where_nothing_is_finished_the_code_is_the_present_one(tmp_path):
    records = Records.create(tmp_path, {"world": "any"})
    records.made_by("123456789012")
    records.made_by("abcdefabcdef")
    assert json.loads((tmp_path / "manifest.json").read_text())["codes"] == ["abcdefabcdef"]


def test_what_a_world_stands_for_on_a_hub_is_a_setting(go, monkeypatch, tmp_path):
    monkeypatch.setattr(Counting, "commits", {"someone/model": "a" * 40}, raising=False)
    assert go().config["commits"] == {"counting": {"someone/model": "a" * 40}}
    monkeypatch.setattr(Counting, "commits", {"someone/model": "b" * 40})
    with pytest.raises(InputError, match="resume"):
        go(resume=True)


def test_a_world_without_a_code_of_its_own_has_that_of_its_class():
    class Plain:
        """Nothing."""

    assert code_of(Plain()) == stamp(Plain)
    assert code_of(Counting()) == Counting.told["code"]
