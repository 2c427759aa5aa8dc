"""UGDA and its baselines on the grid: readings, drawings and verdicts."""

import numpy as np
import pytest

from figures.ugda2025 import ablation, accuracy, gains, sensitivity, tables, win_rates
from figures.ugda2025.readings import accuracy as accuracies
from figures.ugda2025.readings import outcomes, returns
from tests.figures.recorded import recorded
from tests.tolerance import EXACT

pytestmark = pytest.mark.usefixtures("small")

FIGURES = (
    *tables.FIGURES, *win_rates.FIGURES, ablation.FIGURE, accuracy.FIGURE, sensitivity.FIGURE,
    gains.FIGURE,
)  # fmt: skip


@pytest.fixture
def found():
    """All figures with their tables."""
    return {figure.key: (figure, recorded(figure.key)) for figure in FIGURES}


@pytest.mark.parametrize("key", ["ugda2025.table2", "ugda2025.table3", "ugda2025.fig4"])
def test_verdicts_follow_doctored_pairs(found, key):
    figure, table = found[key]
    pairs = table.against.notna()
    for limits, expected in (((0.1, 0.2), "reproduces"), ((-0.2, -0.1), "differs")):
        doctored = table.copy()
        doctored.loc[pairs, ["low", "high"]] = limits
        assert figure.findings(doctored)[0].verdict == expected


def test_wins_follow_doctored_shares(found):
    figure, table = found["ugda2025.fig2"]
    net = table.metric == "net"
    table.loc[net, "low"] = 0.1
    assert figure.findings(table)[0].verdict == "reproduces"
    table.loc[net, "low"] = -0.1
    assert figure.findings(table)[0].verdict == "differs"


def test_readings_of_a_policy_that_is_known():
    gold = np.array([[1.0, 0.0], [2.0, 4.0]])
    sure, even = np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.full((1, 2, 2), 0.5)
    read = returns(even, gold, ("a", "b"))
    assert read["gold"].tolist() == [1.75]
    assert (read["gold a"], read["variance a"], read["variance b"]) == (0.5, 0.25, 1.0)
    shares = outcomes(sure, even, gold, 0.1)
    assert [shares[name].item() for name in ("win", "tie", "lose")] == [0.5, 0.5, 0.0]
    ordered = accuracies(np.stack([gold, gold[:, ::-1]])[..., None], gold, ("a", "b"))
    np.testing.assert_allclose(ordered["accuracy"], [1, 0], atol=EXACT)


def test_relabelling_takes_a_quarter(found):
    _, table = found["ugda2025.table2"]
    alone = table[table.against.isna()].drop_duplicates("method").set_index("method").labels
    assert alone[tables.UGDA] == alone["RLR, 25%"] == 12
    assert alone["PPO, 0%"] == 0
