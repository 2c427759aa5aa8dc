"""Kinds of reward ensembles on the grid: win rates, pairs, verdicts and counts."""

import pytest
import torch

from figures.zhang2024 import cost, ensembles, runs, table1
from figures.zhang2024.claims import between
from figures.zhang2024.runs import INDEPENDENT, LINEAR, LORA, MEAN, SINGLE
from figures.zhang2024.sizes import LLAMA_SIZES, formula, trainable
from tests.figures.recorded import recorded
from tests.tolerance import FLOAT32, VALUE

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def tables():
    """All figures with their tables."""
    figures = (*ensembles.FIGURES, table1.FIGURE, cost.FIGURE)
    return {figure.key: (figure, recorded(figure.key)) for figure in figures}


def test_the_reference_wins_half_the_time_and_ties_count_half():
    gold = torch.tensor([[1.0, 0.0, 0.0]])
    reference = torch.tensor([[[0.5, 0.25, 0.25]]])
    best = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert runs.judge(reference, reference, gold)["win"].item() == 0.5
    found = runs.judge(best, reference, gold)
    assert found["win"].item() == 0.75
    assert found["gold"].item() == 1.0


def test_best_of_one_is_the_reference():
    rows = runs.rows(INDEPENDENT, "same", MEAN, (0, 1), (1, 2), 1)
    once = rows[(rows.optimiser == "best-of-n") & (rows.effort == 1)]
    assert (abs(once.win - 0.5) < FLOAT32).all()


def test_pairs_are_differences_of_means(tables):
    _, table = tables["zhang2024.fig2"]
    ends = table[(table["sample"] == "all") & (table.metric == "win") & (table.effort == 16)]
    means = ends.set_index("kind")["mean"]
    pair = between(table, "best-of-n", (LORA, MEAN), (SINGLE, MEAN))
    assert abs(pair.mean - (means[LORA] - means[SINGLE])) < VALUE


@pytest.mark.parametrize("key", ["zhang2024.fig2", "zhang2024.fig3_4", "zhang2024.table1"])
def test_verdicts_follow_doctored_pairs(tables, key):
    figure, table = tables[key]
    pairs = table["first"].notna()

    def read(low, high):
        doctored = table.copy()
        doctored.loc[pairs, ["low", "high"]] = low, high
        return [finding.verdict for finding in figure.findings(doctored)]

    expected = {
        "zhang2024.fig2": (["reproduces"] * 3, ["differs"] * 3),
        "zhang2024.fig3_4": (["differs"], ["differs"]),
        "zhang2024.table1": (["reproduces", "differs"], ["differs", "reproduces"]),
    }[key]
    assert (read(0.1, 0.2), read(-0.2, -0.1)) == expected
    if key == "zhang2024.fig3_4":
        assert read(-0.001, 0.001) == ["reproduces"]


def test_counts_are_those_of_the_formulas(tables):
    figure, table = tables["zhang2024.cost"]
    assert (table.loaded == table.formula).all()
    assert [finding.verdict for finding in figure.findings(table)] == ["reproduces"] * 2
    wrong = table.assign(loaded=table.formula.max())
    assert [finding.verdict for finding in figure.findings(wrong)] == ["differs"] * 2


def test_seven_billion_numbers():
    sizes = [formula(kind, *LLAMA_SIZES) for kind in (INDEPENDENT, LINEAR, LORA)]
    assert sizes == [20_215_259_136, 6_738_427_904, 6_751_010_816]
    assert trainable(LORA, *LLAMA_SIZES) == 12_595_200
