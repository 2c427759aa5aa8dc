"""What the figures show, against the papers and against independent computations."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from figures.banerjee2024 import return_readings, three_arms
from figures.beyond import harm_bound, matched_step, shrinkage, simplex_counterexample
from figures.figure import Setting
from tests.tolerance import ALPHA
from theory.harm import harm_probability_aware
from theory.intervals import clopper_pearson
from theory.safe_bound import sharp_bound, theorem_22_as_printed

DECIMALS = 2
"""Of the numbers that the captions of Figs. 3 and 4 print."""


def agrees(row, exact):
    """Within three half-widths of a 95% interval, nearly six standard errors."""
    return abs(row.value - exact) < 3 * (row.high - row.low) / 2


@pytest.fixture
def returns(monkeypatch):
    monkeypatch.setattr(return_readings, "SIMPLEX_DRAWS", {"toy": (6, 40)})
    monkeypatch.setattr(return_readings, "DRAWS", {"toy": 20_000})
    tables = [return_readings.compute(Setting(), spread) for spread in return_readings.RANGES]
    keys = ["reading", "spread", "method", "statistic"]
    table = pd.concat(tables)
    return table[table.x.isna()].set_index(keys).sort_index()


def test_the_closed_form_rounds_to_six_of_the_eight_printed_numbers(returns):
    matched = {
        (spread, method, name): round(
            returns.value["closed form", spread, method, f"exact {name}"], DECIMALS
        )
        == printed
        for (spread, method), numbers in return_readings.PRINTED.items()
        for name, printed in numbers.items()
    }
    missed = {key for key, same in matched.items() if not same}
    assert missed == {("high", "unaware", "mean"), ("high", "aware", "mean")}


def test_the_simulated_closed_form_agrees_with_its_exact_law(returns):
    for spread, method in return_readings.PRINTED:
        rows = returns.loc["closed form", spread, method]
        harm = rows.loc["P(harm)"]
        successes = round(harm.value * harm.draws)
        limits = clopper_pearson(successes, int(harm.draws), ALPHA)
        assert rows.value["exact P(harm)"] in limits
        for name in ("mean", "sd"):
            assert agrees(rows.loc[name], rows.value[f"exact {name}"])


def test_equal_means_come_with_the_simplex(returns):
    for spread in return_readings.RANGES:
        unaware, aware = (
            returns.loc["simplex", spread, method, "mean return"] for method in ("unaware", "aware")
        )
        assert agrees(unaware, aware.value)
        assert agrees(unaware, return_readings.PRINTED["high", "unaware"]["mean"])


@pytest.fixture(scope="module")
def three_armed():
    return three_arms.compute(Setting())


@pytest.mark.parametrize(
    ("group", "objective", "expected"),
    [
        ("β = 1", "naive: mean − β KL", 1.659),
        ("β = 1", "LCB (1 sd)", 2.334),
        ("β = 1", "UWO (0.5)", 2.407),
        ("β = 1", "Bregman, σ (PPO)", 1.939),
        ("β = 1", "Bregman, σ²", 2.175),
        ("β = 1", "weighted KL, σ²", 2.687),
        ("β = 1", "Theorem 3.6 as printed", 3.000),
        ("KL = 0.2126", "Bregman, σ (PPO)", 2.036),
        ("KL = 0.2126", "weighted KL, σ²", 2.513),
        ("KL = 0.2126", "Bregman, σ²", 2.222),
        ("KL = 0.2126", "LCB (1 sd)", 2.467),
        ("KL = 0.2126", "UWO (0.5)", 2.494),
        ("ℓ₂ ball, ε = 0.5", "naive: ℓ₂", 1.184),
        ("ℓ₂ ball, ε = 0.5", "σ²-weighted ℓ₂", 2.162),
    ],
)
def test_true_returns_of_the_three_armed_bandit(three_armed, group, objective, expected):
    chosen = (three_armed.group == group) & (three_armed.objective == objective)
    row = three_armed[chosen].iloc[0]
    assert round(row.true_return, 3) == expected
    assert row.harm == (expected < 2)


def test_the_instance_on_the_simplex():
    variance, eps = simplex_counterexample.INSTANCE
    (r1, _, _), draws = simplex_counterexample.REWARD, 20_000
    noise = np.random.default_rng(0).standard_normal((draws, 3))
    found = simplex_counterexample.compare_harm(variance, eps, noise)
    unaware, _ = quad(
        lambda x: norm.pdf(x - r1) * norm.cdf(x) * norm.cdf(x / variance**0.5), -8, 8, points=[0]
    )
    aware = harm_probability_aware(
        simplex_counterexample.REWARD, np.array([1.0, 1.0, variance]), equalities="sum"
    )
    stored = simplex_counterexample.INSTANCE_HARM
    assert tuple(np.round((unaware, aware), 5)) == stored
    for name, exact in zip(("p_unaware", "p_aware"), stored, strict=True):
        assert exact in clopper_pearson(round(found[name] * draws), draws, ALPHA)


def test_the_ordering_holds_up_to_the_sufficient_budget(monkeypatch):
    monkeypatch.setattr(simplex_counterexample, "GRID", {"toy": (7, 9, 1000)})
    table = simplex_counterexample.compute(Setting())
    sure = table[table.significant]
    assert (sure.difference[sure.eps <= table.safe_eps.iloc[0]] < 0).all()
    assert (sure.difference > 0).any()


def test_the_sharp_bound_holds_and_the_printed_one_does_not(monkeypatch):
    monkeypatch.setattr(harm_bound, "DRAWS", {"toy": (4, 400)})
    table = harm_bound.compute(Setting())
    for (event, n), part in table.groupby(["event", "n"]):
        seen = part[part.curve == "simulated"]
        beta, draws = seen.beta.to_numpy(), int(seen.draws.iloc[0])
        successes = (seen.value * draws).round().astype(int)
        limits = clopper_pearson(successes, draws, ALPHA)
        kept = limits.high if event == "event" else 1 - limits.low
        assert (sharp_bound(n - 1, beta) <= kept).all()
        assert (theorem_22_as_printed(n, beta) > kept).any()


def test_matched_steps_do_not_shrink_the_dispersion_of_small_rewards(monkeypatch):
    monkeypatch.setattr(matched_step, "DRAWS", {"toy": (2, 4000)})
    table = matched_step.compute(Setting())
    first = table[(table.scale == table.scale.min()) & (table.draws > 0)]
    rows = first.set_index(["variances", "calibration", "statistic"])
    for variances in matched_step.RANGES:
        assert agrees(rows.loc[variances, "matched", "sd"], 1.0)
        shorter = rows.loc[variances, "calibrated", "sd"]
        assert agrees(shorter, shorter.step_ratio)
        gain = rows.loc[variances, "matched", "mean"]
        assert agrees(gain, gain.small_reward_gain)


def test_shrinkage_repairs_the_plug_in_rule(monkeypatch):
    monkeypatch.setattr(shrinkage, "REPEATS", {"toy": 10})
    table = shrinkage.compute(Setting()).set_index(["variances", "members", "rule"]).sort_index()
    alike = table.loc["(70, 100)", 10]
    assert alike.low["plug-in"] > alike.high["variances ignored"]
    assert alike.high["shrunken"] < alike.low["plug-in"]
    few = table.loc["(3, 100)", 3]
    assert few.value["plug-in"] > few.value["variances ignored"] > few.value["shrunken"]
    assert (table.value.xs("variances known", level="rule") > 0).all()
    assert shrinkage.LIMIT not in table.loc["(3, 100)", 5].index
    assert shrinkage.LIMIT in table.loc["(3, 100)", 6].index
