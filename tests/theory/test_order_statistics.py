import math

import numpy as np
import pytest
from scipy import integrate, stats

from tests.tolerance import EXACT, ROUNDING, mc
from theory.errors import InputError
from theory.order_statistics import (
    c4,
    correlated_std,
    gaussian_max_mean,
    gaussian_max_std,
    lcb_mean_std,
)

DRAWS = 200_000


def test_two_and_three_members_have_closed_forms():
    root_pi = math.sqrt(math.pi)
    assert gaussian_max_mean(1) == pytest.approx(0, abs=EXACT)
    assert gaussian_max_std(1) == pytest.approx(1, abs=EXACT)
    assert gaussian_max_mean(2) == pytest.approx(1 / root_pi, abs=EXACT)
    assert gaussian_max_mean(3) == pytest.approx(1.5 / root_pi, abs=EXACT)
    assert gaussian_max_std(2) == pytest.approx(math.sqrt(1 - 1 / math.pi), abs=EXACT)


@pytest.mark.parametrize(
    ("k", "mean", "std"),
    [(4, 1.0294, 0.7012), (5, 1.1630, 0.6690), (10, 1.5388, 0.5868), (1000, 3.2414, None)],
)
def test_published_moments(k, mean, std):
    assert round(gaussian_max_mean(k), 4) == mean
    if std is not None:
        assert round(gaussian_max_std(k), 4) == std


@pytest.mark.parametrize("k", [10, 10**4, 10**9])
def test_large_k_agrees_with_the_quantile_transform(k):
    """max of k is the normal quantile at exp(-E/k), E a standard exponential."""

    def integrand(e):
        return stats.norm.isf(-np.expm1(-e / k)) * np.exp(-e)

    exact = integrate.quad(integrand, 0, 1)[0] + integrate.quad(integrand, 1, 60)[0]
    assert gaussian_max_mean(k) == pytest.approx(exact, abs=ROUNDING)


def test_the_minimum_is_noisier_than_the_mean_and_never_noisier_than_one_score():
    for k in range(2, 12):
        assert 1 / math.sqrt(k) < gaussian_max_std(k) < 1


def test_c4_at_two_and_its_limit():
    assert c4(2) == pytest.approx(math.sqrt(2 / math.pi), abs=EXACT)
    assert c4(10**6) == pytest.approx(1 - 0.25 / 10**6, abs=ROUNDING)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(("k", "beta"), [(3, 1.0), (3, 2.0), (5, 0.5)])
def test_lcb_moments_match_monte_carlo(k, beta, ddof):
    scores = np.random.default_rng(k).standard_normal((DRAWS, k))
    lcb = scores.mean(-1) - beta * scores.std(-1, ddof=ddof)
    exact = lcb_mean_std(k, beta, ddof=ddof)
    assert lcb.mean() == pytest.approx(exact.mean, abs=mc(exact.std, DRAWS))
    assert lcb.std() == pytest.approx(exact.std, abs=mc(exact.std, DRAWS))


def test_lcb_printed_numbers_and_the_identity_with_the_minimum_of_two():
    assert round(lcb_mean_std(3, 1.0).std, 3) == 0.740
    assert round(lcb_mean_std(3, 2.0).std, 3) == 1.092
    of_two = lcb_mean_std(2, 1.0, ddof=0)
    assert of_two.mean == pytest.approx(-gaussian_max_mean(2), abs=EXACT)
    assert of_two.std == pytest.approx(gaussian_max_std(2), abs=EXACT)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_correlated_minimum_matches_monte_carlo(rho):
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((DRAWS, 1))
    scores = np.sqrt(rho) * shared + np.sqrt(1 - rho) * rng.standard_normal((DRAWS, 4))
    exact = correlated_std(gaussian_max_std(4), rho)
    assert scores.min(-1).std() == pytest.approx(exact, abs=mc(exact, DRAWS))


def test_correlated_mean_keeps_the_floor_rho():
    assert correlated_std(1 / math.sqrt(3), 0.9) ** 2 == pytest.approx(0.9 + 0.1 / 3, abs=EXACT)
    assert correlated_std(0.0, 0.25) == pytest.approx(0.5, abs=EXACT)
    assert correlated_std(1.0, 1.0) == 1.0


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: gaussian_max_mean(0), "k"),
        (lambda: c4(1), "k"),
        (lambda: lcb_mean_std(3, 1.0, ddof=2), "ddof"),
        (lambda: correlated_std(1.0, 1.5), "rho"),
        (lambda: correlated_std(-1.0, 0.5), "independent_std"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()
