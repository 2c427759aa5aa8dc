"""Confidence intervals against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from tests.tolerance import ALPHA, ROUNDING
from theory.errors import InputError
from theory.intervals import clopper_pearson, mean_interval, paired_difference


@given(st.integers(1, 500), st.floats(0, 1), st.floats(1e-6, 0.5))
def test_clopper_pearson_agrees_with_scipy(draws, share, alpha):
    successes = round(share * draws)
    ours = clopper_pearson(successes, draws, alpha)
    theirs = binomtest(successes, draws).proportion_ci(1 - alpha, method="exact")
    assert abs(ours.low - theirs.low) <= ROUNDING
    assert abs(ours.high - theirs.high) <= ROUNDING


def test_clopper_pearson_covers():
    for p in (0.003, 0.2, 0.5):
        counts = np.arange(201)
        limits = clopper_pearson(counts, 200, 0.05)
        missed = binom.pmf(counts, 200, p)[(p < limits.low) | (p > limits.high)].sum()
        assert missed <= 0.05


def test_membership():
    assert 0.5 in clopper_pearson(50, 100, ALPHA)
    assert 0.9 not in clopper_pearson(50, 100, ALPHA)


def test_mean_interval_width():
    low, high = mean_interval(1.0, 2.0, 400, 0.05)
    assert abs((high - low) / 2 - 1.959964 * 0.1) <= ROUNDING * 1000


def test_pairing_sees_what_two_intervals_do_not():
    draws, both = 1000, 400
    first, second = both + 30, both + 5
    limits = [clopper_pearson(count, draws, 0.01) for count in (first, second)]
    assert limits[1].high > limits[0].low
    found = paired_difference(30, 5, draws, 0.01)
    assert found.p_value < 0.001
    assert found.share.low > 0.5
    assert abs(found.difference - 0.025) <= ROUNDING
    assert abs(found.p_value - binomtest(5, 35).pvalue) <= ROUNDING
    assert paired_difference(0, 0, 10, 0.01).p_value == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: clopper_pearson(11, 10, 0.1),
        lambda: clopper_pearson(-1, 10, 0.1),
        lambda: clopper_pearson(1, 0, 0.1),
        lambda: clopper_pearson(1, 10, 1.0),
        lambda: mean_interval(0.0, -1.0, 10, 0.1),
        lambda: paired_difference(6, 5, 10, 0.1),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
