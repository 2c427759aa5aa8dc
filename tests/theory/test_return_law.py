"""Exact laws of the improvement against simulation, quadrature and each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import ortho_group

from tests.tolerance import ALPHA, EXACT, ROUNDING, mc
from theory.errors import InputError
from theory.harm import harm_probability_aware, harm_probability_unaware
from theory.intervals import clopper_pearson
from theory.return_law import AwareReturn, UnawareReturn, aware_return, delta_method, unaware_return
from theory.solvers import ellipsoid

DRAWS, EPS = 100_000, 0.7
BOTH = [aware_return, unaware_return]


def problem(seed, n):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, n))
    return rng.normal(size=n), factor @ factor.T / n + 0.2 * np.eye(n)


def moments(law, reward, covariance, eps=EPS, **options):
    return law(reward, covariance, eps=eps, **options).moments()


@pytest.mark.parametrize(
    ("n", "equalities"),
    [
        *[(n, equalities) for n in (2, 3, 10) for equalities in (None, "sum")],
        (10, ellipsoid.prompt_sums(2, 5)),
        (6, np.array([[1.0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5]])),
    ],
)
def test_laws_agree_with_simulated_displacements(n, equalities):
    reward, covariance = problem(n, n)
    rng = np.random.default_rng(0)
    estimate = rng.multivariate_normal(reward, covariance, DRAWS)
    metrics = {unaware_return: np.eye(n), aware_return: covariance}
    for law, metric in metrics.items():
        d = ellipsoid.budget(estimate, metric[None], EPS, equalities=equalities).d
        sample, exact = d @ reward, moments(law, reward, covariance, equalities=equalities)
        assert abs(sample.mean() - exact.mean) <= mc(sample.std(), DRAWS)
        squared = sample**2
        assert abs(squared.mean() - exact.second_moment) <= mc(squared.std(), DRAWS) + EXACT
    exact = aware_return(reward, covariance, eps=EPS, equalities=equalities)
    for at in np.array([-0.5, 0.0, 0.2, 0.8]) * exact.scale:
        below = int((sample <= at).sum())
        assert float(exact.cdf(np.array(at))) in clopper_pearson(below, DRAWS, ALPHA)


@given(st.integers(1, 1000), st.floats(0.001, 1000), st.floats(0.01, 100))
def test_equal_variances_make_the_laws_equal(m, length, variance):
    """Kummer functions against quadrature, up to a thousand directions."""
    signal = np.random.default_rng(m).normal(size=m)
    signal *= length * np.sqrt(variance) / np.linalg.norm(signal)
    unaware = UnawareReturn(EPS, signal, np.full(m, variance)).moments()
    aware = AwareReturn(EPS * variance, length, m).moments()
    np.testing.assert_allclose(unaware, aware, rtol=ROUNDING)


@pytest.mark.parametrize("law", BOTH)
@given(seed=st.integers(0, 1000), n=st.integers(2, 6))
def test_laws_do_not_depend_on_the_axes(law, seed, n):
    reward, covariance = problem(seed, n)
    turn = ortho_group.rvs(n, random_state=seed)
    here = moments(law, reward, covariance, equalities=None)
    there = moments(law, turn @ reward, turn @ covariance @ turn.T, equalities=None)
    np.testing.assert_allclose(here, there, rtol=ROUNDING)


@pytest.mark.parametrize("law", BOTH)
@pytest.mark.parametrize("equalities", [None, "sum"])
def test_a_diagonal_is_its_matrix(law, equalities):
    reward, variances = np.array([0.3, -1.0, 2.0]), np.array([1.0, 4.0, 0.2])
    short = moments(law, reward, variances, equalities=equalities)
    long = moments(law, reward, np.diag(variances), equalities=equalities)
    np.testing.assert_allclose(short, long, rtol=EXACT)


@pytest.mark.parametrize("law", BOTH)
def test_a_shift_and_its_own_equality_change_nothing(law):
    reward, covariance = problem(1, 5)
    expected = moments(law, reward, covariance)
    np.testing.assert_allclose(moments(law, reward + 9, covariance), expected, rtol=ROUNDING)
    rows = moments(law, reward, covariance, equalities=np.ones((1, 5)))
    np.testing.assert_allclose(rows, expected, rtol=EXACT)


@pytest.mark.parametrize("law", BOTH)
def test_the_budget_scales_the_improvement(law):
    reward, covariance = problem(2, 5)
    one, four = (moments(law, reward, covariance, eps=eps) for eps in (1.0, 4.0))
    assert abs(four.mean / one.mean - 2) <= EXACT
    assert abs(four.sd / one.sd - 2) <= ROUNDING
    assert moments(law, reward, covariance, eps=0.0) == (0.0, 0.0)


def test_cdf_runs_from_0_to_1_through_the_probability_of_harm():
    reward, covariance = problem(3, 5)
    law = aware_return(reward, covariance, eps=0.3)
    harm = harm_probability_aware(reward, covariance)
    assert abs(law.cdf(np.array(0.0)) - harm) <= ROUNDING
    grid = law.cdf(np.linspace(-1.01, 1, 200) * law.scale)
    assert (np.diff(grid) >= 0).all()
    assert grid[0] == 0
    assert grid[-1] == 1


def test_one_direction_earns_all_or_loses_all():
    law = AwareReturn(1.0, 0.7, 1)
    np.testing.assert_allclose(law.moments(), [0.7 * (1 - 2 * ndtr(-0.7)), 0.49], rtol=EXACT)
    expected = [0, ndtr(-0.7), ndtr(-0.7), 1]
    np.testing.assert_allclose(law.cdf(np.array([-0.71, -0.7, 0.69, 0.7])), expected, atol=EXACT)


@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3, 1000.0])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_no_direction_is_a_step_at_zero(level, n):
    """Rewards that no displacement with sum 0 can tell apart, and one response alone."""
    reward, variances = np.full(n, level), np.linspace(1, 2, n)
    law = aware_return(reward, variances, eps=1.0)
    assert law.scale == 0
    assert law.cdf(np.array([-0.1, 0.0, 0.1])).tolist() == [0, 1, 1]
    assert law.cdf(np.array(0.0)) == 1
    for found in (law, unaware_return(reward, variances, eps=1.0)):
        assert found.moments() == (0.0, 0.0)
        assert found.large_n() == (0.0, 0.0)


def test_counterexample_to_the_order_of_variances():
    reward, variances = np.array([1.0, 0.0, 0.0]), np.array([1.0, 100.0, 100.0])
    unaware, aware = (
        moments(law, reward, variances, eps=1.0, equalities=None)
        for law in (unaware_return, aware_return)
    )
    assert (round(unaware.mean, 3), round(unaware.sd, 4)) == (0.109, 0.1524)
    assert (round(aware.mean, 3), round(aware.sd, 4)) == (0.484, 0.4641)
    assert round((aware.sd / unaware.sd) ** 2, 1) == 9.3
    harm = (harm_probability_unaware, harm_probability_aware)
    unaware, aware = (p(reward, variances, equalities=None) for p in harm)
    assert abs(unaware - aware) <= EXACT


def test_the_unaware_rule_does_not_earn_more_on_average():
    reward, variances = np.ones(2), np.array([1.0, 100.0])
    unaware, aware = (
        moments(law, reward, variances, eps=1.0, equalities=None)
        for law in (unaware_return, aware_return)
    )
    assert (round(unaware.mean, 3), round(unaware.sd, 3)) == (0.282, 0.968)
    assert (round(aware.mean, 3), round(aware.sd, 3)) == (0.562, 0.545)


@pytest.mark.parametrize(
    ("low", "unaware", "aware"),
    [(3.0, (0.183, 0.135), (0.083, 0.044)), (70.0, (0.143, 0.135), (0.131, 0.123))],
)
def test_figures_3_and_4_in_closed_form(low, unaware, aware):
    """Rewards of rms 0.3075 spread evenly over the variances; eps = 0.1936."""
    reward, variances = np.full(1000, 0.3075), np.linspace(low, 100.0, 1000)
    calibrated = ellipsoid.calibrated_eps(variances, 0.1936)
    for law, eps, expected in (
        (unaware_return, 0.1936, unaware),
        (aware_return, calibrated, aware),
    ):
        found = moments(law, reward, variances, eps=eps, equalities=None)
        assert (round(found.mean, 3), round(found.sd, 3)) == expected


@pytest.mark.parametrize("law", BOTH)
def test_the_delta_method_is_reached_like_1_over_n(law):
    def error(n):
        reward, variances = np.full(n, 0.3), np.linspace(3, 100, n)
        exact = law(reward, variances, eps=1.0, equalities=None)
        return np.array(exact.moments()) / np.array(exact.large_n()) - 1

    assert np.abs(error(1000)).max() < 0.01
    assert (np.abs(error(4000)) < np.abs(error(1000)) / 2).all()


def test_the_delta_method_of_any_linear_rule():
    rng, n, draws = np.random.default_rng(4), 2000, 4000
    linear, square = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
    reward, variances = rng.normal(size=n), rng.uniform(0.5, 4, n)
    estimate = reward + np.sqrt(variances) * rng.standard_normal((draws, n))
    sample = estimate @ (linear * reward) / np.sqrt(estimate**2 @ square)
    limit = delta_method(1.0, linear, square, reward, variances)
    assert abs(sample.mean() - limit.mean) <= mc(limit.sd, draws)
    assert abs(sample.std() / limit.sd - 1) <= mc(0.5**0.5, draws)


@pytest.mark.parametrize("law", BOTH)
@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"reward": np.array([1.0, np.nan])}, "reward"),
        ({"covariance": np.array([1.0, 0.0])}, "covariance"),
        ({"covariance": np.array([1.0, np.inf])}, "covariance"),
        ({"covariance": np.ones((2, 2))}, "covariance"),
        ({"covariance": np.array([[1.0, 0.5], [0.0, 1.0]])}, "covariance"),
        ({"covariance": np.ones(1)}, "covariance"),
        ({"eps": -1.0}, "eps"),
        ({"eps": float("inf")}, "eps"),
    ],
)
def test_bad_input(law, changed, argument):
    arguments = {"reward": np.ones(2), "covariance": np.ones(2), "eps": 1.0} | changed
    with pytest.raises(InputError, match=f"`{argument}`"):
        law(**arguments)
