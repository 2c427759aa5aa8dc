"""Cones, probabilities of harm, and what the spread of variances decides."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from tests.tolerance import EXACT, ROUNDING, mc
from theory.cone import cone_intrinsic_volumes, cone_probability, simplex_cone
from theory.errors import InputError
from theory.harm import (
    harm_probability,
    harm_probability_aware,
    harm_probability_unaware,
    kantorovich_bound,
)
from theory.safe_bound import (
    sharp_bound,
)
from theory.solvers.ellipsoid import prompt_sums
from theory.variance_spread import (
    heterogeneity,
    matched_step,
    plug_in_harm,
    plug_in_wins,
    step_ratio,
)

DRAWS = 200_000
HIGH, LOW = np.linspace(3.0, 100.0, 1000), np.linspace(70.0, 100.0, 1000)


def test_cone_of_a_vertex():
    volumes = cone_intrinsic_volumes(simplex_cone(np.array([True, False, False])), np.ones(3))
    np.testing.assert_allclose(volumes, [1 / 3, 1 / 2, 1 / 6], atol=ROUNDING)
    assert round(float(cone_probability(volumes, 1.0)), 5) == 0.74026


def test_cones_of_larger_faces_are_sampled_and_cover_the_sharp_bound():
    support = np.array([True, False, False, False, True])
    cone, rng = simplex_cone(support), np.random.default_rng(2)
    variances = rng.uniform(0.5, 2, 5)
    sampled = cone_intrinsic_volumes(cone, variances, draws=2000, rng=rng)
    assert abs(sampled.sum() - 1) <= EXACT
    assert sampled[0] == 0
    assert cone_probability(sampled, 1.3) >= sharp_bound(4, 1.3)
    inside = cone_intrinsic_volumes(simplex_cone(np.ones(4, dtype=bool)), np.ones(4))
    np.testing.assert_allclose(inside, [0, 0, 0, 1], atol=EXACT)


def random_problem(rng, n):
    factor = rng.normal(size=(n, n))
    return rng.normal(size=n), factor @ factor.T / n + 0.2 * np.eye(n)


@given(st.integers(0, 10_000), st.integers(2, 7), st.sampled_from([None, "sum"]))
def test_the_aware_rule_never_does_more_harm_without_positivity(seed, n, equalities):
    reward, covariance = random_problem(np.random.default_rng(seed), n)
    unaware = harm_probability_unaware(reward, covariance, equalities=equalities)
    aware = harm_probability_aware(reward, covariance, equalities=equalities)
    assert aware <= unaware + EXACT
    best = harm_probability_aware(reward, covariance, equalities=None)
    rule = np.random.default_rng(seed + 1).normal(size=(n, n))
    assert best <= harm_probability(rule, reward, covariance) + EXACT


def test_per_prompt_equalities():
    rng = np.random.default_rng(4)
    reward, covariance = random_problem(rng, 6)
    rows = prompt_sums(2, 3)
    basis = np.linalg.svd(rows)[2][2:].T
    inner = basis.T @ covariance @ basis
    signal = basis.T @ reward
    expected = ndtr(-math.sqrt(signal @ np.linalg.solve(inner, signal)))
    found = harm_probability_aware(reward, covariance, equalities=rows)
    assert abs(found - expected) <= ROUNDING


def test_edges_of_harm():
    assert harm_probability_unaware(np.ones(3), np.ones(3)) == 1
    assert harm_probability_aware(np.ones(3), np.ones(3)) == 1
    singular = np.array([1.0, 1.0, 0.0])
    assert harm_probability_aware(np.array([1.0, 0.0, -1.0]), singular, allow_singular=True) == 1
    assert round(kantorovich_bound(100 / 3), 3) == 0.336


def test_equal_variances_make_the_rules_equal():
    reward = np.random.default_rng(5).normal(size=5)
    scaled = np.full(5, 2.5)
    aware, unaware = (
        harm_probability_aware(reward, scaled),
        harm_probability_unaware(reward, scaled),
    )
    assert abs(aware - unaware) <= EXACT


def test_spread_of_variances():
    assert round(step_ratio(HIGH), 2) == 0.33
    assert round(step_ratio(LOW), 3) == 0.912
    assert heterogeneity(np.ones(5)) == 1
    assert plug_in_wins(HIGH, 10)
    assert not plug_in_wins(LOW, 10)
    assert not plug_in_wins(HIGH, 5)


def test_plug_in_harm_agrees_with_simulated_estimates():
    rng, reward = np.random.default_rng(6), np.random.default_rng(7).normal(0, 0.3, 1000)
    exact = []
    for _ in range(60):
        estimate = HIGH * rng.chisquare(9, 1000) / 9
        exact.append(harm_probability(1 / estimate, reward, HIGH))
    assert abs(np.mean(exact) - plug_in_harm(reward, HIGH, 10)) <= mc(np.std(exact), 60) + 0.005


def test_matched_step_in_the_large_n_limit():
    rng = np.random.default_rng(8)
    reward = 0.05 * rng.normal(size=1000)
    estimate = reward + np.sqrt(HIGH) * rng.standard_normal((4000, 1000))
    gains = [d @ reward / np.linalg.norm(d, axis=1) for d in (estimate, estimate / HIGH)]
    ratio = matched_step(reward, HIGH)
    assert abs(gains[1].std() / gains[0].std() / ratio.sd_ratio - 1) <= mc(1.0, 4000)
    assert 0.9 < ratio.sd_ratio < 1.1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: harm_probability(np.ones(2), np.array([1.0, np.inf]), np.ones(2)),
        lambda: harm_probability(np.ones(2), np.ones(2), np.array([1.0, -1.0])),
        lambda: harm_probability(np.ones(2), np.ones(2), np.array([[1.0, 0.5], [0.0, 1.0]])),
        lambda: harm_probability_aware(np.ones(2), np.array([1.0, 0.0])),
        lambda: kantorovich_bound(0.5),
        lambda: plug_in_harm(np.ones(3), np.ones(3), 5),
        lambda: plug_in_wins(np.ones(3), 1),
        lambda: heterogeneity(np.array([1.0, 0.0])),
        lambda: matched_step(np.zeros(3), np.ones(3)),
        lambda: simplex_cone(np.zeros(3, dtype=bool)),
        lambda: cone_intrinsic_volumes(simplex_cone(np.array([True, *[False] * 4])), np.ones(5)),
        lambda: cone_probability(np.array([0.5, 0.6]), 1.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
