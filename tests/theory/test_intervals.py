"""Confidence intervals against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from tests.tolerance import ALPHA, EXACT, ROUNDING
from theory.errors import InputError
from theory.intervals import clopper_pearson, mean_interval, paired_difference

LEVELS = st.floats(1e-9, 0.5)


@given(st.integers(1, 500), st.floats(0, 1), LEVELS)
def test_clopper_pearson_agrees_with_scipy(draws, share, alpha):
    successes = round(share * draws)
    ours = clopper_pearson(successes, draws, alpha)
    theirs = binomtest(successes, draws).proportion_ci(1 - alpha, method="exact")
    assert abs(ours.low - theirs.low) <= ROUNDING
    assert abs(ours.high - theirs.high) <= ROUNDING


@given(st.integers(1, 10**7), st.floats(0, 1), LEVELS)
def test_each_limit_leaves_half_of_the_level(draws, share, alpha):
    successes = round(share * draws)
    low, high = clopper_pearson(successes, draws, alpha)
    allowed = ROUNDING * alpha + EXACT
    if successes > 0:
        assert abs(binom.sf(successes - 1, draws, low) - alpha / 2) <= allowed
    if successes < draws:
        assert abs(binom.cdf(successes, draws, high) - alpha / 2) <= allowed


@pytest.mark.parametrize("p", [0.003, 0.2, 0.5])
def test_clopper_pearson_covers(p):
    counts, alpha = np.arange(201), 0.05
    limits = clopper_pearson(counts, 200, alpha)
    missed = binom.pmf(counts, 200, p)[(p < limits.low) | (p > limits.high)].sum()
    assert 0 < missed <= alpha


def test_no_and_only_successes_reach_the_ends():
    limits = clopper_pearson(np.array([0, 10]), 10, 0.05)
    assert limits.low[0] == 0
    assert limits.high[1] == 1
    np.testing.assert_allclose(limits.low[1], 0.025**0.1, atol=EXACT)
    np.testing.assert_allclose(limits.high[0], 1 - 0.025**0.1, atol=EXACT)


def test_membership():
    limits = clopper_pearson(50, 100, ALPHA)
    assert 0.5 in limits
    assert 0.9 not in limits
    assert np.nan not in limits
    several = clopper_pearson(np.array([50, 10]), 100, ALPHA)
    assert [0.5, 0.1] in several
    assert [0.5, 0.9] not in several


def test_mean_interval_is_a_normal_quantile_wide():
    low, high = mean_interval(1.0, 2.0, 400, 0.05)
    assert abs((high + low) / 2 - 1) <= EXACT
    assert abs((high - low) / 2 - norm.ppf(0.975) * 2 / 20) <= EXACT
    assert mean_interval(1.0, 0.0, 1, ALPHA) == (1.0, 1.0)


def test_pairing_sees_what_two_intervals_do_not():
    draws, both = 1000, 400
    limits = [clopper_pearson(count, draws, 0.01) for count in (both + 30, both + 5)]
    assert limits[1].high > limits[0].low
    found = paired_difference(30, 5, draws, 0.01)
    assert found.p_value < 0.001
    assert found.share.low > 0.5
    assert abs(found.difference - 0.025) <= EXACT


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_exact_sign_test(first, second):
    found = paired_difference(first, second, 1000, 0.05)
    mirrored = paired_difference(second, first, 1000, 0.05)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert abs(found.p_value - expected) <= ROUNDING
    assert mirrored.p_value == found.p_value
    assert mirrored.difference == -found.difference
    assert abs(mirrored.share.low - (1 - found.share.high)) <= ROUNDING
    assert (0.5 in found.share) == (found.p_value > 0.05)


def test_mcnemar_keeps_its_level():
    discordant = 40
    p_values = np.array(
        [paired_difference(k, discordant - k, 100, 0.05).p_value for k in range(discordant + 1)]
    )
    weights = binom.pmf(np.arange(discordant + 1), discordant, 0.5)
    for level in (0.001, 0.05, 0.3):
        assert 0 < weights[p_values <= level].sum() <= level


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: clopper_pearson(11, 10, 0.1), "successes"),
        (lambda: clopper_pearson(np.array([1, -1]), 10, 0.1), "successes"),
        (lambda: clopper_pearson(0, 0, 0.1), "draws"),
        (lambda: clopper_pearson(1, 10, 0.0), "alpha"),
        (lambda: clopper_pearson(1, 10, 1.0), "alpha"),
        (lambda: mean_interval(0.0, -1.0, 10, 0.1), "std"),
        (lambda: mean_interval(0.0, 1.0, 0, 0.1), "draws"),
        (lambda: mean_interval(0.0, 1.0, 10, float("nan")), "alpha"),
        (lambda: paired_difference(6, 5, 10, 0.1), "only_first"),
        (lambda: paired_difference(-1, 5, 10, 0.1), "only_first"),
        (lambda: paired_difference(1, -1, 10, 0.1), "only_first"),
        (lambda: paired_difference(0, 0, 0, 0.1), "draws"),
        (lambda: paired_difference(1, 2, 10, 2.0), "alpha"),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()
