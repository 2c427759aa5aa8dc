"""Accuracy, calibration, disagreement and coverage against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from llm_bridge.data.pairs import Pairs
from llm_bridge.rewards.evaluation import auc, calibration_error, coverage, evaluate, margins
from tests.tolerance import ALPHA, EXACT, ROUNDING
from theory.errors import InputError
from theory.intervals import clopper_pearson
from theory.scores import Scores

MARGINS = st.lists(st.floats(-8, 8), min_size=2, max_size=40).map(np.array)


def test_by_hand():
    """Four pairs, two members; one tie, which is wrong."""
    margin = np.array([[2.0, 0.0], [1.0, 3.0], [-1.0, -1.0], [0.0, 4.0]])
    found = evaluate(margin, bins=2)
    assert found.members.accuracy.to_dict() == {"mean": 0.75, 0: 0.5, 1: 0.5}
    assert found.members.mean_margin.to_dict() == {"mean": 1.0, 0: 0.5, 1: 1.5}
    low, high = clopper_pearson(3, 4, 0.05)
    assert found.members.loc["mean", ["low", "high"]].tolist() == [low, high]
    mean = np.array([1.0, 2.0, -1.0, 2.0])
    brier = ((1 - special.expit(mean)) ** 2).mean()
    assert found.members.brier["mean"] == pytest.approx(brier, abs=EXACT)
    assert found.members.loss["mean"] == pytest.approx(np.log1p(np.exp(-mean)).mean(), abs=EXACT)
    assert found.reliability.right.tolist() == [0.5, 1.0]
    confidence = special.expit([1.0, 2.0])
    np.testing.assert_allclose(found.reliability.confidence, confidence, atol=EXACT)
    ece = (abs(confidence[0] - 0.5) + abs(confidence[1] - 1)) / 2
    assert found.members.ece["mean"] == pytest.approx(ece, abs=EXACT)
    std = margin.std(1, ddof=1)
    above = (std[2] > std[[0, 1, 3]]).mean() + (std[2] == std[[0, 1, 3]]).mean() / 2
    assert found.disagreement.value == above


def test_margins_are_raw_differences_of_members():
    pairs = Pairs(("a", "b"), ("long", "x"), ("no", "yy"))
    found = margins(
        lambda _, texts: Scores(np.array([[1.0, -1.0]]) * [[len(t)] for t in texts]), pairs
    )
    assert found.tolist() == [[2.0, -2.0], [-1.0, 1.0]]


def test_a_calibrated_model_has_a_small_error_and_a_sure_one_a_large():
    rng = np.random.default_rng(0)
    size = rng.exponential(1.5, 20_000)
    right = rng.random(len(size)) < special.expit(size)
    margin = np.where(right, size, -size)
    assert calibration_error(margin) < 0.02
    assert calibration_error(5 * margin) > 0.1
    inside = evaluate(margin[:, None], alpha=ALPHA).reliability
    assert ((inside.low <= inside.confidence) & (inside.confidence <= inside.high)).all()


@settings(max_examples=30)
@given(MARGINS)
def test_losses_cannot_beat_what_the_accuracy_allows(margin):
    row = evaluate(margin[:, None]).members.loc["mean"]
    assert 0 <= row.ece <= 1
    assert row.low <= row.accuracy <= row.high
    assert row.brier >= (1 - row.accuracy) / 4 - ROUNDING
    assert row.loss >= (1 - row.accuracy) * np.log(2) - ROUNDING


@settings(max_examples=30)
@given(MARGINS, MARGINS)
def test_auc_is_the_share_of_ordered_pairs(first, second):
    pairs = np.sign(first[:, None] - second)
    found = auc(first, second)
    assert found.value == pytest.approx(((pairs + 1) / 2).mean(), abs=ROUNDING)
    assert found.value + auc(second, first).value == pytest.approx(1, abs=ROUNDING)
    assert found.value in found.interval


def test_the_interval_of_an_auc_holds_it():
    """Normal groups a standard deviation apart: P = Phi(1 / sqrt 2)."""
    rng, truth = np.random.default_rng(1), stats.norm.cdf(2**-0.5)
    inside = [
        truth in auc(rng.normal(1, 1, 60), rng.normal(0, 1, 90), alpha=0.1).interval
        for _ in range(500)
    ]
    low, high = clopper_pearson(sum(inside), 500, ALPHA)
    assert low < 0.9 < high


def test_intervals_of_the_right_width_cover_their_level():
    rng = np.random.default_rng(2)
    std = rng.uniform(0.5, 2, 4000)
    known = rng.normal(size=4000)
    table = coverage(known + std * rng.normal(size=4000), std, known, alpha=ALPHA)
    assert ((table.low <= table.nominal) & (table.nominal <= table.high)).all()
    assert (coverage(known, std, known).covered == 1).all()
    assert (coverage(known + 100 * std, std, known).covered == 0).all()


def test_disagreement_that_is_the_error_is_found():
    rng = np.random.default_rng(3)
    known, std = rng.normal(size=2000), np.exp(rng.normal(size=2000))
    margin = known[:, None] + std[:, None] * rng.normal(size=(2000, 8))
    found = evaluate(margin, known=known)
    assert found.error_rank > 0.4
    assert abs(evaluate(rng.normal(size=(2000, 8)), known=known).error_rank) < 0.15


def test_what_cannot_be_said_is_not_said():
    one, sure = evaluate(np.array([[1.0], [-1.0]])), evaluate(np.array([[1.0, 2.0]]))
    assert one.disagreement is one.error_rank is one.coverage is None
    assert sure.disagreement is sure.coverage is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: evaluate(np.array([[np.nan]])),
        lambda: evaluate(np.zeros((0, 2))),
        lambda: evaluate(np.ones((2, 2)), bins=0),
        lambda: auc(np.zeros(0), np.ones(1)),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
