"""UGDA on language models: figures from records, and what the study is asked for."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from figures.figure import Setting
from figures.ugda2025 import agreement, text_ablation, text_runs, text_tables
from tests.figures.records import records
from tests.tolerance import EXACT

FIGURES = (text_tables.FIGURE, text_ablation.FIGURE)


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Tables of both figures, as they are read back from disk."""
    read = {}
    for module in (text_tables, text_ablation):
        monkeypatch.setattr(module, "rows", records)
        path = tmp_path / "data.csv"
        module.compute(Setting("tiny")).to_csv(path, index=False)
        read[module.FIGURE.key] = pd.read_csv(path)
    return read


def test_figures_on_texts_draw_and_speak_from_their_tables(found):
    for figure in FIGURES:
        table = found[figure.key]
        figure.draw(table, Canvas(figsize=figure.size))
        assert "5 preference data sets (draws)" in figure.caption(table)
        assert figure.findings(table)


def test_verdicts_on_texts_follow_the_intervals(found):
    best, fair, spread, start = text_tables.FIGURE.findings(found["ugda2025.table2_lm"])
    assert (best.verdict, fair.verdict, start.verdict) == ("reproduces",) * 3
    assert spread.verdict == "differs"
    parts, accuracy, wins, signed = text_ablation.FIGURE.findings(found["ugda2025.fig4_lm"])
    assert (parts.verdict, wins.verdict) == ("reproduces",) * 2
    assert (accuracy.verdict, signed.verdict) == ("differs",) * 2
    table = found["ugda2025.table2_lm"]
    share = table[(table.metric == "of_ugda") & (table.method == text_runs.RANDOM)]
    np.testing.assert_allclose(share["mean"], 0.8, atol=0.1)


def test_the_study_is_asked_for_all_methods_of_the_figures(monkeypatch, tmp_path):
    from llm_bridge.commands import refining

    asked = {}

    def study(plan, *, start):
        asked[plan.labelling.noise] = plan
        setting = Setting("tiny", start)
        return SimpleNamespace(rows=lambda: records(setting, "clean"))

    monkeypatch.setenv("RLHF_RISK_CACHE", str(tmp_path))
    monkeypatch.setattr(refining, "study", study)
    for data in text_runs.NOISES:
        assert text_runs.rows(Setting("tiny", 7), data).seed.min() == 7
    clean, flipped = (asked[noise] for noise in text_runs.NOISES.values())
    assert clean.out != flipped.out
    made = [{f"{name}, {share}" for name, share in one.methods} for one in (clean, flipped)]
    assert {text_runs.UGDA, *text_tables.BASELINES} <= made[0] & made[1]
    assert set(text_ablation.ABLATION) <= made[0]


def test_experts_agree_as_much_as_they_do_not_err():
    table = agreement.compute(Setting())
    errs = table[table.kind == "errs"]
    np.testing.assert_allclose(errs["mean"], 1 - errs["size"], atol=0.03)
    one = table[(table.kind == "sees noise") & (table["size"] == agreement.SPREADS[0])]
    ends = one[one.grade.isin((1, 5))]["mean"].min()
    assert ends > one[one.grade == 3]["mean"].iloc[0] + EXACT
    agreement.draw(table, Canvas(figsize=agreement.FIGURE.size))
    assert "draws" in agreement.caption(table)
    assert agreement.findings(table)[0].verdict == "cannot be checked here"
