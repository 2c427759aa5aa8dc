"""Empirical-Bayes variances: the prior is recovered, the posterior is Bayes', harm goes down."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats
from scipy.special import digamma, polygamma

from tests.tolerance import EXACT, ROUNDING, VALUE, mc
from theory.errors import InputError
from theory.harm import harm_probability
from theory.shrinkage import VariancePrior, fit_variance_prior, shrink_variance

VARIANCES = hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(1e-6, 1e6))
DOFS = st.integers(1, 20)


def draw_variances(rng, prior, dof, cells):
    truth = prior.dof * prior.scale / rng.chisquare(prior.dof, cells)
    return truth * rng.chisquare(dof, cells) / dof


@settings(max_examples=100)
@given(VARIANCES, DOFS)
def test_the_fit_solves_the_two_moment_equations(variance, dof):
    prior = fit_variance_prior(variance, dof)
    logs = np.log(variance)
    sampling = polygamma(1, dof / 2)
    if logs.var(ddof=1) <= sampling:
        assert prior.dof == np.inf
        return
    half = prior.dof / 2
    np.testing.assert_allclose(polygamma(1, half) + sampling, logs.var(ddof=1), rtol=ROUNDING)
    mean = np.log(prior.scale) + digamma(dof / 2) - np.log(dof / 2) - digamma(half) + np.log(half)
    np.testing.assert_allclose(mean, logs.mean(), atol=ROUNDING * max(1.0, 1 / half))


@pytest.mark.parametrize(("dof0", "dof"), [(3.0, 9), (8.0, 4), (30.0, 9)])
def test_a_known_prior_is_recovered(dof0, dof):
    """Its log scale, and trigamma(dof0 / 2), of which the fit is unbiased while it is finite."""
    prior, rng, fits = VariancePrior(dof0, 2.5), np.random.default_rng(0), 60
    found = [fit_variance_prior(draw_variances(rng, prior, dof, 4000), dof) for _ in range(fits)]
    trigamma = polygamma(1, np.array([fit.dof for fit in found]) / 2)
    log_scale = np.log([fit.scale for fit in found])
    for estimates, truth in [(trigamma, polygamma(1, dof0 / 2)), (log_scale, np.log(2.5))]:
        assert abs(estimates.mean() - truth) < mc(estimates.std(ddof=1), fits)


@pytest.mark.parametrize("dof", [1, 4, 9])
def test_equal_variances_are_pooled(dof):
    """Half of all fits on one common variance find no spread; the pooled scale is unbiased."""
    rng = np.random.default_rng(1)
    fits = [fit_variance_prior(3.0 * rng.chisquare(dof, 500) / dof, dof) for _ in range(100)]
    pooled = np.log([fit.scale for fit in fits if fit.dof == np.inf])
    assert stats.binomtest(len(pooled), 100, 0.5).pvalue > VALUE
    assert abs(pooled.mean() - np.log(3.0)) < mc(pooled.std(ddof=1), len(pooled))


@pytest.mark.parametrize(("dof", "s2"), [(1, 0.2), (4, 3.0), (9, 1.0)])
def test_the_reciprocal_is_the_posterior_mean_of_the_precision(dof, s2):
    prior = VariancePrior(5.0, 1.5)

    def joint(precision):
        belief = stats.gamma.pdf(precision, prior.dof / 2, scale=2 / (prior.dof * prior.scale))
        return belief * stats.chi2.pdf(dof * s2 * precision, dof) * precision

    evidence, _ = integrate.quad(joint, 0, np.inf)
    moment, _ = integrate.quad(lambda w: w * joint(w), 0, np.inf)
    shrunken = shrink_variance(np.array([s2]), dof, prior)
    np.testing.assert_allclose(1 / shrunken[0], moment / evidence, rtol=VALUE)


@settings(max_examples=60)
@given(VARIANCES, DOFS)
def test_variances_move_towards_the_prior_and_keep_their_order(variance, dof):
    prior = fit_variance_prior(variance, dof)
    shrunken = shrink_variance(variance, dof)
    low, high = np.minimum(variance, prior.scale), np.maximum(variance, prior.scale)
    assert ((low * (1 - EXACT) <= shrunken) & (shrunken <= high * (1 + EXACT))).all()
    assert (np.diff(shrunken[np.argsort(variance)]) >= 0).all()


@settings(max_examples=30)
@given(VARIANCES, DOFS)
def test_units_do_not_matter(variance, dof):
    scaled = shrink_variance(1e-3 * variance, dof)
    np.testing.assert_allclose(scaled, 1e-3 * shrink_variance(variance, dof), rtol=VALUE)


def test_any_shape_is_one_pool():
    variance = np.random.default_rng(0).chisquare(3, (2, 3, 4))
    found = shrink_variance(variance, 3)
    np.testing.assert_array_equal(found.ravel(), shrink_variance(variance.ravel(), 3))


def test_a_variance_of_zero_is_left_out_of_the_fit_and_shrunken():
    variance = np.array([0.0, 1.0, 20.0, 400.0])
    prior = fit_variance_prior(variance, 8)
    assert prior == fit_variance_prior(variance[1:], 8)
    assert shrink_variance(variance, 8)[0] == prior.dof * prior.scale / (prior.dof + 8)


def test_nothing_to_learn_from():
    assert fit_variance_prior(np.zeros(3), 4) == VariancePrior(np.inf, 0.0)
    assert shrink_variance(np.zeros(3), 4).tolist() == [0.0, 0.0, 0.0]
    assert fit_variance_prior(np.array([2.0]), 4).dof == np.inf


def test_bad_input():
    with pytest.raises(InputError, match=r"`dof` must be >= 1, got 0; a variance needs at least"):
        shrink_variance(np.ones(2), 0)
    with pytest.raises(InputError, match=r"`variance` must be >= 0, got a minimum of -1"):
        shrink_variance(-np.ones(2), 1)
    with pytest.raises(InputError, match=r"`variance` must be finite"):
        shrink_variance(np.array([1.0, np.inf]), 1)


CELLS, REWARD_SD, MEMBERS, DRAWS = 1000, 0.3, 10, 1000
RULES = ("unaware", "shrunken", "plug-in", "known")


@functools.cache
def harms(low, high):
    """P(harm) of each rule, exact given the draw of rewards, variances and estimates."""
    rng, dof = np.random.default_rng(0), MEMBERS - 1
    rows = []
    for _ in range(DRAWS):
        variances, reward = rng.uniform(low, high, CELLS), rng.normal(0, REWARD_SD, CELLS)
        estimate = variances * rng.chisquare(dof, CELLS) / dof
        assumed = (np.ones(CELLS), shrink_variance(estimate, dof), estimate, variances)
        rows.append([harm_probability(1 / s, reward, variances) for s in assumed])
    return dict(zip(RULES, np.array(rows).T, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "quoted"),
    [((3, 100), (0.0956, 0.0684, 0.0729, 0.0436)), ((70, 100), (0.1542, 0.1542, 0.1917, None))],
)
def test_practice_gap_numbers(spread, quoted):
    """Quoted of one draw of rewards and variances: they lie within the spread over draws."""
    found = harms(*spread)
    for rule, number in zip(RULES, quoted, strict=True):
        if number is not None:
            assert abs(found[rule].mean() - number) < mc(found[rule].std(), 1), rule


@pytest.mark.slow
def test_shrinkage_repairs_what_plug_in_variances_break():
    """Plug-in gains where variances differ much and loses where they are alike; shrunken never."""
    wide, narrow = harms(3, 100), harms(70, 100)

    def better(a, b):
        gain = b - a
        return gain.mean() > mc(gain.std(), DRAWS)

    assert better(wide["known"], wide["shrunken"])
    assert better(wide["shrunken"], wide["plug-in"])
    assert better(wide["plug-in"], wide["unaware"])
    assert better(narrow["unaware"], narrow["plug-in"])
    assert better(narrow["shrunken"], narrow["plug-in"])
    lost = narrow["shrunken"] - narrow["unaware"]
    assert abs(lost.mean()) < mc(lost.std(), DRAWS)
