"""The cache of figures: what changes a digest, and what does not."""

import dataclasses
from functools import partial

import pytest

from figures import inputs as module
from figures.catalogue import FIGURES
from figures.figure import Setting
from figures.inputs import inputs, unchanged
from theory.fingerprint import ROOT, reachable

FIG2 = FIGURES["banerjee2024.fig2"]


def test_a_figure_depends_on_its_formulas_and_not_on_its_neighbours():
    found = {
        str(path.relative_to(ROOT)) for path in reachable([ROOT / "figures/zhang2024/cost.py"])
    }
    assert {"figures/zhang2024/runs.py", "bandits/grid.py", "theory/errors.py"} <= found
    assert "figures/zhang2024/table1.py" not in found
    assert not any(name.startswith("llm_bridge") for name in found)


@pytest.mark.parametrize(
    "change",
    [{"key": "banerjee2024.other"}, {"title": "other"}, {"size": (1.0, 1.0)},
     {"seconds": {"tiny": 1}}, {"draw": partial(FIG2.draw, colour=1)},
     {"caption": FIGURES["zhang2024.cost"].caption}],
)  # fmt: skip
def test_the_digest_changes_with_the_figure(change):
    assert inputs(dataclasses.replace(FIG2, **change), Setting()) != inputs(FIG2, Setting())


@pytest.mark.parametrize(
    ("change", "same"),
    [({"seed": 1}, 0), ({"scale": "tiny"}, 0), ({"full_seeds": True}, 0), ({"workers": 2}, 1)],
)
def test_the_digest_changes_with_the_setting_but_for_processes(change, same):
    assert (inputs(FIG2, Setting(**change)) == inputs(FIG2, Setting())) == same


def test_the_digest_changes_with_code_and_versions(monkeypatch):
    before = inputs(FIG2, Setting())
    with monkeypatch.context() as patched:
        patched.setattr(module, "versions", lambda: {"numpy": "0"})
        assert inputs(FIG2, Setting()) != before
    monkeypatch.setattr(module, "fingerprint", lambda *makers, files: "new")
    assert inputs(FIG2, Setting()) != before


@pytest.mark.parametrize(
    ("entry", "same"),
    [(None, False), ({"status": "failed"}, False), ({"status": "done", "files": []}, False),
     ({"status": "done", "files": [], "inputs": "other"}, False),
     ({"status": "done", "files": {"gone.csv": "0"}, "inputs": "this"}, False),
     ({"status": "done", "files": [], "inputs": "this"}, False),
     ({"status": "done", "files": {}, "inputs": "this"}, True)],
)  # fmt: skip
def test_only_a_whole_entry_with_these_inputs_counts_as_unchanged(entry, same, tmp_path):
    assert unchanged(entry, "this", tmp_path) == same
