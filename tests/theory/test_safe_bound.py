"""The three readings of [banerjee2024, Thm 2.2], and what the sharp one says about harm."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import chi2, ncx2

from tests.tolerance import ALPHA, EXACT, ROUNDING
from theory.errors import InputError
from theory.intervals import clopper_pearson
from theory.safe_bound import (
    ball_harm_probability,
    ball_probability,
    box_radius,
    chosen_policy_harm_bound,
    harm_bound,
    radius,
    sharp_bound,
    theorem_22_as_printed,
    theorem_22_inverted,
)
from theory.solvers.ellipsoid import prompt_sums, steepest
from theory.solvers.quadratic import simplex_norm

DRAWS = 200_000
RADII = st.floats(0, 12)
DIMENSIONS = st.integers(1, 60)


def covariance(seed, n):
    factor = np.random.default_rng(seed).normal(size=(n, n))
    return factor @ factor.T / n + 0.2 * np.eye(n)


def frequency(events):
    return clopper_pearson(int(events.sum()), len(events), ALPHA)


def dual_norm(estimate, matrix, equalities):
    """sup of R'd / |d|_S over the displacements; the event for r = 0 is that it is <= b."""
    return np.sqrt(steepest(estimate, matrix[None], equalities=equalities)[1])


@pytest.mark.parametrize(
    ("n", "b", "printed", "inverted", "sharp"),
    [
        (2, 0.1, 1.0, 0.004988, 0.004988),
        (1, 2.0, 0.221199, 0.981684, 0.954500),
        (10, math.sqrt(5), 0.864665, 0.393469, 0.108822),
        (50, 6.0, 0.750648, 0.513248, 0.068260),
    ],
)
def test_three_readings_against_simulation(n, b, printed, inverted, sharp):
    readings = (theorem_22_as_printed, theorem_22_inverted, sharp_bound)
    values = [round(float(reading(n, b)), 6) for reading in readings]
    assert values == [printed, inverted, sharp]
    rng, matrix = np.random.default_rng(n), covariance(n, n)
    estimate = rng.multivariate_normal(np.zeros(n), matrix, DRAWS)
    limits = frequency(dual_norm(estimate, matrix, None) <= b)
    assert sharp_bound(n, b) in limits
    if n != 1:
        assert limits.high < theorem_22_as_printed(n, b)
    if n != 2:
        assert limits.high < theorem_22_inverted(n, b)


@pytest.mark.parametrize(
    ("n", "b"), [(1, 0.9593), (2, 1.4142), (3, 1.7570), (10, 3.2560), (100, 10.1813)]
)
def test_the_printed_bound_holds_only_beyond_a_radius(n, b):
    assert theorem_22_as_printed(n, 0.999 * b) > sharp_bound(n, 0.999 * b)
    assert theorem_22_as_printed(n, 1.001 * b) < sharp_bound(n, 1.001 * b)


@pytest.mark.parametrize(
    ("n", "t"),
    [(1, 1.5364), (3, 1.2990), (4, 1.2564), (10, 1.1581), (100, 1.0484), (1000, 1.01516)],
)
def test_the_tail_lemma_holds_on_one_side_of_a_level(n, t):
    """P(chi2_n > n t) <= exp(-t), at b^2 = n t."""
    sides = [
        theorem_22_inverted(n, math.sqrt(n * level)) <= sharp_bound(n, math.sqrt(n * level))
        for level in (0.999 * t, 1.001 * t)
    ]
    assert sides == [n == 1, n > 1]


@given(RADII)
def test_the_tail_lemma_is_an_equality_in_the_plane(b):
    assert abs(theorem_22_inverted(2, b) - sharp_bound(2, b)) <= EXACT


@given(DIMENSIONS, RADII)
def test_sharp_bound_is_the_chi_square_cdf(m, b):
    assert abs(sharp_bound(m, b) - chi2.cdf(b * b, m)) <= EXACT
    assert abs(sharp_bound(m, b) + chosen_policy_harm_bound(m, b) - 1) <= EXACT
    assert sharp_bound(m + 1, b) <= sharp_bound(m, b)


@pytest.mark.parametrize(
    ("n", "equalities", "m"),
    [
        (12, prompt_sums(3, 4), 9),
        (4, "sum", 3),
        (5, np.array([[1.0, 1, 1, 1, 1], [0, 1, 2, 3, 4], [1.0, 2, 3, 4, 5]]), 3),
    ],
)
def test_only_the_span_of_the_displacements_counts(n, equalities, m):
    """Several prompts, one simplex, and redundant equalities; S is not diagonal."""
    rng, matrix = np.random.default_rng(n), covariance(n, n)
    estimate = rng.multivariate_normal(np.zeros(n), matrix, DRAWS)
    limits = frequency(dual_norm(estimate, matrix, equalities) <= m**0.5)
    assert sharp_bound(m, m**0.5) in limits
    assert sharp_bound(n, m**0.5) not in limits


def test_three_prompts_of_four_responses():
    assert round(float(sharp_bound(9, 3.0)), 5) == 0.56273
    assert round(float(sharp_bound(12, 3.0)), 5) == 0.29707


def test_bound_on_the_simplex_is_attained_by_exact_policies():
    """r constant, pi0 inside: the policy stays at pi0 exactly when the event happens."""
    rng, n, b, draws = np.random.default_rng(0), 4, 1.5, 20_000
    variances, reference = rng.uniform(0.5, 2, n), rng.dirichlet(np.ones(n) * 3)
    estimate = 0.7 + np.sqrt(variances) * rng.standard_normal((draws, n))
    policy = simplex_norm(estimate, variances, reference, b).policy
    assert sharp_bound(n - 1, b) in frequency(np.abs(policy - reference).max(-1) <= ROUNDING)


def test_bound_on_the_simplex_holds_for_any_reward():
    """Event and harm of the chosen policy, counted with the exact solver."""
    rng, n, b, draws = np.random.default_rng(1), 4, 1.2, 20_000
    variances, reference = rng.uniform(0.5, 2, n), rng.dirichlet(np.ones(n))
    reward = rng.normal(size=n)
    estimate = reward + np.sqrt(variances) * rng.standard_normal((draws, n))
    d = simplex_norm(estimate, variances, reference, b).policy - reference
    value = (d * estimate).sum(-1) - b * np.sqrt(d**2 @ variances)
    best = reward.max() - reward @ reference
    assert frequency(value <= best + ROUNDING).high >= sharp_bound(n - 1, b)
    assert frequency(d @ reward < 0).low <= chosen_policy_harm_bound(n - 1, b)


def test_without_freedom_the_bound_is_certain():
    radii = np.array([0.0, 1.0, np.inf])
    assert sharp_bound(0, radii).tolist() == [1, 1, 1]
    assert chosen_policy_harm_bound(0, radii).tolist() == [0, 0, 0]
    assert radius(0, 0.05) == 0
    assert sharp_bound(3, radii).tolist()[::2] == [0, 1]
    assert theorem_22_as_printed(3, 0.0) == 1
    assert theorem_22_inverted(3, 0.0) == 0


@pytest.mark.parametrize(
    ("m", "expected"), [(1, 1.960), (9, 4.113), (10, 4.279), (999, 32.766), (1000, 32.782)]
)
def test_radius_at_95_percent(m, expected):
    assert round(radius(m, 0.05), 3) == expected


@given(st.integers(1, 1000), st.floats(1e-30, 0.999))
def test_radius_inverts_the_bound(m, delta):
    assert abs(chosen_policy_harm_bound(m, radius(m, delta)) / delta - 1) <= ROUNDING
    assert box_radius(m, delta) <= radius(m, delta) + EXACT


@given(st.integers(1, 1000), st.floats(1e-6, 0.999))
def test_box_radius_covers_all_cells_at_once(n, delta):
    b = box_radius(n, delta)
    assert abs(-math.expm1(n * math.log1p(-2 * ndtr(-b))) - delta) <= ROUNDING


def test_box_of_correlated_cells_covers_at_least_as_often():
    assert round(box_radius(1000, 0.05), 2) == 4.05
    n, delta, rng = 6, 0.2, np.random.default_rng(2)
    matrix = 0.8 + 0.2 * np.eye(n)
    noise = rng.multivariate_normal(np.zeros(n), matrix, DRAWS)
    assert frequency(np.abs(noise).max(-1) <= box_radius(n, delta)).low > 1 - delta
    independent = rng.standard_normal((DRAWS, n))
    inside = np.abs(independent).max(-1) <= box_radius(n, delta)
    assert 1 - delta in frequency(inside)


@pytest.mark.parametrize(("equalities", "m"), [(None, 5), ("sum", 4)])
def test_balls_are_noncentral_chi_square(equalities, m):
    """sup of R'd - b|d|_S over |d|_S <= 1 is max(0, |R| - b) in the dual norm."""
    rng, matrix, b = np.random.default_rng(3), covariance(3, 5), 2.0
    reward = rng.normal(size=5)
    length = float(dual_norm(reward[None], matrix, equalities)[0])
    estimate = rng.multivariate_normal(reward, matrix, DRAWS)
    promised = np.maximum(0.0, dual_norm(estimate, matrix, equalities) - b)
    assert ball_probability(m, b, length) in frequency(promised <= length)


@given(DIMENSIONS, st.floats(0.05, 8), st.floats(0, 50), st.floats(0, 50))
def test_balls_are_surer_the_more_there_is_to_gain(n, b, first, second):
    low, high = sorted((first, second))
    assert ball_probability(n, b, low) <= ball_probability(n, b, high) + ROUNDING
    assert sharp_bound(n, b) <= ball_probability(n, b, low) + ROUNDING
    assert ball_probability(n, b, high) <= ndtr(b) + ROUNDING


def test_limits_of_the_ball():
    assert round(float(ball_probability(5, 2.0, 0.0)), 5) == 0.45058
    gaps = np.array([ndtr(2.0) - ball_probability(5, 2.0, length) for length in (1e3, 1e4, 1e5)])
    assert (gaps > 0).all()
    assert gaps[-1] < gaps[0] / 90
    np.testing.assert_allclose(
        ball_probability(5, np.array([1.0, 2.0]), 0.5), ncx2.cdf([2.25, 6.25], 5, 0.25), atol=EXACT
    )


@pytest.mark.parametrize(("n", "b", "length"), [(1, 0.5, 0.4), (5, 1.0, 0.3), (5, 2.0, 1.0)])
def test_harm_on_a_ball_against_simulation(n, b, length):
    estimate = np.random.default_rng(4).standard_normal((DRAWS, n))
    estimate[:, 0] += length
    harmed = (np.linalg.norm(estimate, axis=1) > b) & (estimate[:, 0] < 0)
    assert ball_harm_probability(n, b, length) in frequency(harmed)


@given(DIMENSIONS, st.floats(0, 60), st.floats(0.001, 40))
def test_harm_on_a_ball_is_below_the_bound(n, b, length):
    harm = ball_harm_probability(n, b, length)
    assert 0 <= harm <= chosen_policy_harm_bound(n, b) * (1 + ROUNDING) + EXACT
    assert harm <= ndtr(-length) + EXACT


@given(DIMENSIONS, st.floats(0.001, 8))
def test_harm_on_a_ball_without_caution_is_the_sign(n, length):
    assert abs(ball_harm_probability(n, 0.0, length) - ndtr(-length)) <= EXACT
    assert abs(ball_harm_probability(1, 2.0, length) - ndtr(-2.0 - length)) <= EXACT
    assert ball_harm_probability(n, 1.0, 0.0) == 0


def test_harm_bound_of_a_displacement_is_a_p_value():
    """The most promising displacement where r'd = 0 for all of them: the worst case."""
    matrix, m = covariance(5, 4), 3
    estimate = np.random.default_rng(5).multivariate_normal(np.zeros(4), matrix, 20_000)
    promise = dual_norm(estimate, matrix, "sum")
    p_values = np.array([harm_bound(gain, 1.0, m) for gain in promise.tolist()])
    for level in (0.01, 0.2, 0.5):
        assert level in frequency(p_values <= level)


@given(DIMENSIONS, st.floats(0, 10), st.floats(0.1, 10))
def test_harm_bound_is_free_of_units(m, gain, norm):
    assert abs(harm_bound(gain, norm, m) - harm_bound(7 * gain, 7 * norm, m)) <= EXACT


def test_ends_of_the_harm_bound():
    assert harm_bound(-1.0, 1.0, 3) == harm_bound(0.0, 1.0, 3) == 1
    assert harm_bound(0.0, 0.0, 3) == 0
    assert abs(harm_bound(10.0, 1.0, 1) / (2 * ndtr(-10.0)) - 1) <= ROUNDING


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: theorem_22_as_printed(0, 1.0), "n"),
        (lambda: theorem_22_as_printed(1, -1.0), "b"),
        (lambda: theorem_22_inverted(0, 1.0), "n"),
        (lambda: theorem_22_inverted(1, -1.0), "b"),
        (lambda: sharp_bound(-1, 1.0), "dimension"),
        (lambda: sharp_bound(1, np.array([1.0, -1.0])), "b"),
        (lambda: sharp_bound(1, float("nan")), "b"),
        (lambda: chosen_policy_harm_bound(-1, 1.0), "dimension"),
        (lambda: chosen_policy_harm_bound(1, -1.0), "b"),
        (lambda: radius(-1, 0.05), "dimension"),
        (lambda: radius(3, 0.0), "delta"),
        (lambda: radius(3, 1.0), "delta"),
        (lambda: box_radius(0, 0.05), "n"),
        (lambda: box_radius(3, 1.5), "delta"),
        (lambda: ball_probability(0, 1.0, 0.0), "n"),
        (lambda: ball_probability(3, -1.0, 0.0), "b"),
        (lambda: ball_probability(3, 1.0, -1.0), "length"),
        (lambda: ball_harm_probability(0, 1.0, 1.0), "n"),
        (lambda: ball_harm_probability(3, -1.0, 1.0), "b"),
        (lambda: ball_harm_probability(3, 1.0, -1.0), "length"),
        (lambda: harm_bound(float("nan"), 1.0, 2), "improvement"),
        (lambda: harm_bound(1.0, -1.0, 2), "norm"),
        (lambda: harm_bound(1.0, 1.0, -1), "dimension"),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()
