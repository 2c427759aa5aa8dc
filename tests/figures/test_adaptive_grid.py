"""The adaptive KL coefficient on the grid: what its numbers mean, and how findings read them."""

import numpy as np
import pytest

from figures.adaptive2024 import experts, runs, spread, training
from figures.adaptive2024.claims import spread_findings, training_findings, verdict
from figures.adaptive2024.readings import reading
from figures.adaptive2024.worlds import CALIBRATED, MISCALIBRATED, REFERENCE, calibration
from figures.figure import Setting
from tests.figures.recorded import recorded
from tests.tolerance import FLOAT32, VALUE

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def tables():
    """The three figures of training."""
    return {figure.key: recorded(figure.key) for figure in (*training.FIGURES, spread.FIGURE)}


def test_the_product_is_a_density_and_its_mean_is_precision_weighted():
    table = experts.compute(Setting())
    first, second, *_ = experts.REWARDS[experts.SHOWN]
    step = second - first
    for variance, part in table[table.curve == experts.PRODUCT].groupby("variance"):
        assert abs(part.density.sum() * step - 1) < VALUE
        expected = (experts.MEANS[0] + variance * experts.MEANS[1]) / (1 + variance)
        assert abs(part.integral.iloc[0] - expected) < VALUE
        assert abs(part.weighted.iloc[0] - expected) < VALUE


def test_the_printed_product_is_told_from_the_normalised_one():
    table = experts.compute(Setting())
    assert [f.verdict for f in experts.findings(table)] == ["reproduces", "in part"]
    doctored = table.assign(integral=table.weighted)
    assert [f.verdict for f in experts.findings(doctored)] == ["reproduces", "reproduces"]
    assert experts.findings(table.assign(integral=0.0))[0].verdict == "differs"


def test_a_weight_of_a_prompt_leaves_the_best_response(tables):
    for key in ("adaptive2024.fig1", "adaptive2024.fig5"):
        assert reading(tables[key], "adaptive", "as mean").mean == 1


def test_exact_optima_lie_at_the_common_distance(tables):
    table = tables["adaptive2024.fig1"]
    exact = table[(table.stage == "exact") & (table.metric == "kl")]
    assert len(exact) == len(runs.METHODS)
    np.testing.assert_allclose(exact["mean"], runs.DISTANCE, atol=FLOAT32)


def test_differences_are_those_of_the_curves(tables):
    table = tables["adaptive2024.fig1"]
    gold = table[(table.stage == "training") & (table.metric == "gold") & (table.step == 6)]
    ends = gold.set_index("objective")["mean"]
    paired = reading(table, "adaptive", "gold - standard").mean
    assert abs(paired - (ends["adaptive"] - ends["standard"])) < VALUE


def test_calibration_does_not_depend_on_the_unit_of_scores():
    rng = np.random.default_rng(0)
    gold, std = np.eye(4)[None] - 0.25, rng.random((1, 4, 4))
    mean = gold + std * rng.choice([-1, 1], std.shape)
    (rank,) = calibration(mean, std, gold)
    assert rank > 0
    assert abs(calibration(7 * mean, std, gold)[0] - rank) < VALUE


def test_verdicts_follow_doctored_numbers(tables):
    table = tables["adaptive2024.fig1"]

    def read(metrics, **numbers):
        chosen = (table.stage == "reading") & table.metric.str.match(metrics)
        doctored = table.copy()
        for column, value in numbers.items():
            doctored.loc[chosen, column] = value
        return [finding.verdict for finding in training_findings(doctored)]

    far, near = {"mean": 1.0, "low": 0.9, "high": 1.1}, {"mean": -1.0, "low": -1.1, "high": -0.9}
    assert read("gold - ", **far)[0] == "reproduces"
    assert read("gold - ", **near)[0] == "differs"
    assert read("steered|exact", **far)[1] == "reproduces"
    assert read("KL - ", **near)[2] == "reproduces"
    assert read("KL - ", **far)[2] == "differs"
    assert read("fall", **far)[3] == "differs"
    assert read("gold - ", **far)[4] == "differs"
    assert read("gold - ", **near)[4] == "reproduces"


def test_spread_claims_need_both_ensembles(tables):
    table = tables["adaptive2024.fig6"]

    def read(metric, values):
        doctored = table.copy()
        for ensemble, (low, high) in values.items():
            chosen = (table.metric == metric) & (table.ensemble == ensemble)
            doctored.loc[chosen, ["low", "high"]] = low, high
        return [finding.verdict for finding in spread_findings(doctored)]

    apart = {CALIBRATED: (0.2, 0.3), MISCALIBRATED: (-0.3, -0.2)}
    swapped = {CALIBRATED: (-0.3, -0.2), MISCALIBRATED: (0.2, 0.3)}
    for place, metric in enumerate(("calibration", "growth")):
        assert read(metric, apart)[place] == "reproduces"
        assert read(metric, swapped)[place] == "differs"
    assert reading(table[table.ensemble == CALIBRATED], REFERENCE, "calibration").low < 1


def test_verdict():
    assert [verdict(v) for v in ([True], [True, False], [False])] == [
        "reproduces", "in part", "differs",
    ]  # fmt: skip
