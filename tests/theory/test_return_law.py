"""Exact laws of the improvement against simulation and against each other."""

import numpy as np
import pytest

from tests.tolerance import ALPHA, EXACT, ROUNDING, mc
from theory.errors import InputError
from theory.harm import harm_probability_aware
from theory.intervals import clopper_pearson
from theory.montecarlo import simulate
from theory.return_law import AwareReturn, aware_return, unaware_return
from theory.return_sampler import return_sampler
from theory.solvers import ellipsoid

DRAWS = 100_000


def simulated(reward, variances, equalities, draws=DRAWS):
    rng = np.random.default_rng(0)
    estimate = reward + np.sqrt(variances) * rng.standard_normal((draws, len(reward)))
    aware = ellipsoid.budget(estimate, variances, 0.7, equalities=equalities).d @ reward
    unaware = ellipsoid.budget(estimate, np.ones_like(variances), 0.7, equalities=equalities).d
    return unaware @ reward, aware


@pytest.mark.parametrize("equalities", [None, "sum"])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_moments_and_tail_agree_with_simulation(n, equalities):
    rng = np.random.default_rng(n)
    reward, variances = rng.normal(size=n), rng.uniform(0.3, 3, n)
    unaware, aware = simulated(reward, variances, equalities)
    laws = (
        unaware_return(reward, variances, eps=0.7, equalities=equalities).moments(),
        aware_return(reward, variances, eps=0.7, equalities=equalities).moments(),
    )
    for sample, law in zip((unaware, aware), laws, strict=True):
        assert abs(sample.mean() - law.mean) <= mc(sample.std(), DRAWS)
        assert abs((sample**2).mean() - law.second_moment) <= mc((sample**2).std(), DRAWS) + EXACT
    law = aware_return(reward, variances, eps=0.7, equalities=equalities)
    for share in (-0.5, 0.2, 0.8):
        at = share * law.scale
        below = int((aware <= at).sum())
        assert float(law.cdf(np.array(at))) in clopper_pearson(below, DRAWS, ALPHA)


def test_cdf_at_zero_is_the_probability_of_harm():
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(5, 5))
    reward, covariance = rng.normal(size=5), factor @ factor.T + np.eye(5)
    law = aware_return(reward, covariance, eps=0.3)
    assert abs(law.cdf(np.array(0.0)) - harm_probability_aware(reward, covariance)) <= ROUNDING
    assert law.cdf(np.array(law.scale)) == 1
    assert law.cdf(np.array(-1.01 * law.scale)) == 0


def test_large_n_limits_are_reached():
    rng = np.random.default_rng(4)
    variances = np.linspace(3, 100, 1000)
    reward = rng.normal(0, 0.3, 1000)
    for law in (
        aware_return(reward, variances, eps=1.0),
        unaware_return(reward, variances, eps=1.0),
    ):
        exact, limit = law.moments(), law.large_n()
        assert abs(exact.mean / limit.mean - 1) < 0.01
        assert abs(exact.sd / limit.sd - 1) < 0.02


def test_counterexample_to_the_order_of_variances():
    reward, variances = np.array([1.0, 0.0, 0.0]), np.array([1.0, 100.0, 100.0])
    unaware = unaware_return(reward, variances, eps=1.0, equalities=None).moments()
    aware = aware_return(reward, variances, eps=1.0, equalities=None).moments()
    assert round(unaware.sd, 4) == 0.1524
    assert round(aware.sd, 4) == 0.4641
    assert round(unaware.mean, 3) == 0.109
    assert round(aware.mean, 3) == 0.484


def test_no_direction_is_a_step_at_zero():
    law = aware_return(np.zeros(3), np.ones(3), eps=1.0)
    assert law.scale == 0
    assert law.cdf(np.array([-0.1, 0.0, 0.1])).tolist() == [0, 1, 1]
    assert law.moments() == (0.0, 0.0)
    assert unaware_return(np.zeros(3), np.ones(3), eps=1.0).moments() == (0.0, 0.0)


@pytest.mark.parametrize("prompts", [None, 1, 4])
def test_the_sampler_draws_from_the_laws(prompts):
    rng = np.random.default_rng(5)
    n = 40
    reward, variances = rng.normal(0, 0.5, n), rng.uniform(0.5, 4, n)
    equalities = None if prompts is None else ellipsoid.prompt_sums(prompts, n // prompts)
    sampler = return_sampler(reward, variances, unaware_eps=1.0, aware_eps=0.5, prompts=prompts)
    found = simulate(sampler, DRAWS, rng=rng)
    laws = {
        "unaware": unaware_return(reward, variances, eps=1.0, equalities=equalities).moments(),
        "aware": aware_return(reward, variances, eps=0.5, equalities=equalities).moments(),
    }
    for name, law in laws.items():
        assert law.mean in found.moments[name].interval(ALPHA)
        assert abs(found.moments[name].sd() / law.sd - 1) < 0.02
    harm = harm_probability_aware(reward, variances, equalities=equalities)
    assert harm in found.events["aware_harm"].interval(ALPHA)


def test_figure_3_numbers_in_closed_form():
    variances = np.linspace(3, 100, 1000)
    reward = np.random.default_rng(6).normal(0, 1, 1000)
    reward *= 0.3075 / np.sqrt((reward**2).mean())
    unaware = unaware_return(reward, variances, eps=0.1936, equalities=None).moments()
    aware = aware_return(reward, variances, eps=0.1936 * 3, equalities=None).moments()
    assert abs(unaware.sd - 0.135) < 0.004
    assert abs(aware.sd - 0.044) < 0.003
    assert unaware.mean - aware.mean > 0.08


def test_moments_of_one_direction():
    law = AwareReturn(1.0, 0.7, 1)
    assert abs(law.moments().second_moment - 0.49) <= EXACT


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: aware_return(np.array([1.0, np.nan]), np.ones(2), eps=1.0),
        lambda: aware_return(np.ones(2), np.zeros(2), eps=1.0),
        lambda: aware_return(np.ones(2), np.ones(2), eps=-1.0),
        lambda: return_sampler(np.ones(4), np.ones(4), unaware_eps=1.0, aware_eps=0.0),
        lambda: return_sampler(np.ones(4), np.ones(4), unaware_eps=1.0, aware_eps=1.0, prompts=3),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
