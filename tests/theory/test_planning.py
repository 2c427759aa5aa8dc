"""Study sizes against simulation."""

import numpy as np
import pytest
from scipy.stats import f as f_law

from tests.tolerance import ALPHA, mc
from theory.__main__ import main
from theory.errors import InputError
from theory.harm import harm_probability
from theory.intervals import clopper_pearson
from theory.planning import (
    members_for_variance,
    members_to_win,
    policies_for_harm,
    policies_for_variance_ratio,
    variance_ratio_power,
)


def test_power_of_the_variance_test_is_simulated():
    rng, n, ratio, trials = np.random.default_rng(0), 25, 2.5, 20_000
    variances = (rng.normal(size=(2, trials, n)) * np.sqrt([[[ratio]], [[1.0]]])).var(-1, ddof=1)
    low, high = f_law.ppf((0.025, 0.975), n - 1, n - 1)
    statistic = variances[0] / variances[1]
    found = int(((statistic < low) | (statistic > high)).sum())
    assert variance_ratio_power(n, ratio) in clopper_pearson(found, trials, ALPHA)


def test_the_size_is_the_least_that_is_enough():
    for ratio in (0.4, 1.5, 4.0):
        n = policies_for_variance_ratio(ratio)
        assert variance_ratio_power(n, ratio) >= 0.8 > variance_ratio_power(n - 1, ratio)
    assert policies_for_variance_ratio(2.0) == policies_for_variance_ratio(0.5)


def test_harm_sizes_reach_their_power():
    first, second = 0.3, 0.15
    n = policies_for_harm(first, second)
    rng, trials = np.random.default_rng(1), 20_000
    p = rng.binomial(n, [[first], [second]], size=(2, trials)) / n
    mean = p.mean(0)
    z = np.abs(p[0] - p[1]) / np.sqrt(2 * mean * (1 - mean) / n)
    assert abs((z > 1.959964).mean() - 0.8) <= mc(0.4, trials) + 0.02


def test_members_to_win_agrees_with_simulated_plug_in_rules():
    rng = np.random.default_rng(2)
    shares = rng.uniform(3.0, 100.0, 4000)
    heterogeneity = shares.mean() * (1 / shares).mean()
    k = members_to_win(heterogeneity)

    def advantage(members: int) -> float:
        gains = []
        for _ in range(30):
            reward = rng.normal(0, 0.2, 4000)
            estimate = shares * rng.chisquare(members - 1, 4000) / (members - 1)
            gains.append(harm_probability(np.ones(4000), reward, shares)
                         - harm_probability(1 / estimate, reward, shares))  # fmt: skip
        return float(np.mean(gains))

    assert advantage(k + 2) > 0 > advantage(k - 2)


def test_members_for_a_variance():
    rng, k = np.random.default_rng(3), members_for_variance(1.0)
    estimates = rng.chisquare(k - 1, 20_000) / (k - 1)
    too_low = int((estimates * 2 < 1).sum())
    assert clopper_pearson(too_low, 20_000, ALPHA).low <= 0.025


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: policies_for_variance_ratio(1.0),
        lambda: policies_for_variance_ratio(-1.0),
        lambda: policies_for_variance_ratio(2.0, alpha=0.0),
        lambda: policies_for_harm(0.1, 0.1),
        lambda: policies_for_harm(0.1, 1.5),
        lambda: members_to_win(1.0),
        lambda: members_for_variance(0.0),
    ],
)
def test_impossible_questions(wrong):
    with pytest.raises(InputError):
        wrong()


def test_command(capsys):
    assert main(["plan", "--variance-ratio", "2", "--harm", "0.1", "0.05"]) == 0
    shown = capsys.readouterr().out
    assert "68 policies" in shown
    assert "435 policies" in shown
    assert main(["plan"]) == 2
    assert "--variance-ratio 2" in capsys.readouterr().err
