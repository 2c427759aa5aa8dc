"""Covariance across responses: each estimator against a definition, and what few members allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.draws import arrays
from tests.tolerance import EXACT, ROUNDING, mc
from theory.covariance import METHODS, RESIDUAL_SHARE, estimate_covariance, ledoit_wolf
from theory.errors import InputError
from theory.penalties import Covariance, metric
from theory.scores import Scores

SEEDS = st.integers(0, 10**6)
SIZES = st.tuples(st.integers(1, 6), st.integers(3, 7))


def normal(seed, size):
    return np.random.default_rng(seed).normal(size=size) * 2.0


def estimate(members, method, **options):
    return estimate_covariance(members, members.var(-1, ddof=1), method, **options)


def ledoit_wolf_by_hand(members):
    """The textbook sums [ledoit2004], one element at a time."""
    n, k = members.shape
    x = [[members[i][j] - sum(members[i]) / k for i in range(n)] for j in range(k)]
    s = [[sum(x[j][a] * x[j][b] for j in range(k)) / k for b in range(n)] for a in range(n)]
    m = sum(s[a][a] for a in range(n)) / n
    target = [[m if a == b else 0.0 for b in range(n)] for a in range(n)]
    d2 = b2 = 0.0
    for a in range(n):
        for b in range(n):
            d2 += (s[a][b] - target[a][b]) ** 2 / n
            for j in range(k):
                b2 += (x[j][a] * x[j][b] - s[a][b]) ** 2 / n / k**2
    weight = min(b2, d2) / d2 if d2 else 1.0
    return weight * np.array(target) + (1 - weight) * np.array(s)


@settings(max_examples=40)
@given(SEEDS, SIZES)
def test_ledoit_wolf_is_the_textbook_sum(seed, size):
    members = normal(seed, size)
    by_hand = ledoit_wolf_by_hand(members)
    np.testing.assert_allclose(estimate(members, "ledoit_wolf"), by_hand, atol=ROUNDING)


@settings(max_examples=40)
@given(SEEDS, SIZES)
def test_ledoit_wolf_lies_between_the_sample_and_a_sphere(seed, size):
    members = normal(seed, size)
    found = estimate(members, "ledoit_wolf")
    sample = estimate(members, "sample", ddof=0)
    np.testing.assert_allclose(np.trace(found), np.trace(sample), rtol=ROUNDING)
    low, high = np.linalg.eigvalsh(sample)[[0, -1]]
    eigenvalues = np.linalg.eigvalsh(found)
    assert low - EXACT < eigenvalues[0] <= eigenvalues[-1] < high + ROUNDING
    assert eigenvalues[0] > 0


@settings(max_examples=30)
@given(SEEDS, SIZES, st.sampled_from([0, 1]))
def test_sample_is_numpys(seed, size, ddof):
    members = normal(seed, size)
    found = estimate(members, "sample", ddof=ddof)
    np.testing.assert_allclose(
        found, np.cov(members, ddof=ddof).reshape(found.shape), atol=ROUNDING
    )
    assert np.linalg.matrix_rank(found) <= size[1] - 1


@settings(max_examples=40)
@given(SEEDS, SIZES, st.data())
def test_low_rank_keeps_the_diagonal_and_is_positive_definite(seed, size, data):
    members, (n, k) = normal(seed, size), size
    rank = data.draw(st.integers(1, min(n, k - 1)))
    variance = np.random.default_rng(seed).uniform(0.5, 2, n)
    found = estimate_covariance(members, variance, "diagonal_plus_low_rank", rank=rank)
    np.testing.assert_allclose(np.diag(found), variance, rtol=ROUNDING)
    std = np.sqrt(variance)
    assert np.linalg.eigvalsh(found / std / std[:, None])[0] >= RESIDUAL_SHARE - EXACT


@settings(max_examples=30)
@given(SEEDS)
def test_all_factors_leave_the_residual_share_of_the_correlation(seed):
    members = normal(seed, (4, 7))
    found = estimate(members, "diagonal_plus_low_rank", rank=4)
    off = ~np.eye(4, dtype=bool)
    expected = (1 - RESIDUAL_SHARE) * estimate(members, "sample")
    np.testing.assert_allclose(found[off], expected[off], atol=ROUNDING)


def test_one_factor_finds_the_loadings_of_a_factor_model():
    rng = np.random.default_rng(0)
    loadings = np.array([0.9, -0.8, 0.7, 0.6])
    k = 20_000
    noise = rng.normal(size=(4, k)) * np.sqrt(1 - loadings**2)[:, None]
    found = estimate(loadings[:, None] * rng.normal(size=k) + noise, "diagonal_plus_low_rank")
    signs = np.outer(np.sign(loadings), np.sign(loadings))
    np.testing.assert_array_equal(np.sign(found), signs)


def test_diagonal_keeps_the_given_variance():
    found = estimate_covariance(np.zeros((2, 3, 1)), np.ones((2, 3)) * 4, "diagonal")
    np.testing.assert_array_equal(found, np.broadcast_to(4 * np.eye(3), (2, 3, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_batches_are_estimated_one_by_one(method):
    members = normal(0, (2, 3, 4, 5))
    found = estimate(members, method)
    for cell in np.ndindex(2, 3):
        np.testing.assert_allclose(found[cell], estimate(members[cell], method), atol=EXACT)


def test_ledoit_wolf_is_nearer_to_the_truth_than_the_sample():
    rng = np.random.default_rng(0)
    truth = np.diag(np.linspace(1, 3, 10))
    members = rng.normal(size=(2000, 10, 5)) * np.sqrt(np.diag(truth))[:, None]

    def error(method):
        return ((estimate(members, method) - truth) ** 2).sum((-2, -1))

    gain = error("sample") - error("ledoit_wolf")
    assert gain.mean() > mc(gain.std(), gain.size)


@settings(max_examples=20)
@given(arrays(4, 3))
def test_members_that_deviate_by_one_vector_show_no_noise(members):
    """Then the weight is 0, the estimate singular, and the metric of an objective says so."""
    up = np.concatenate([members[:, :1] + 1, members[:, :1] + 1], axis=-1)
    scores = Scores(np.concatenate([up, -up], axis=-1))
    with pytest.raises(InputError, match=r"scores\.covariance.*smallest eigenvalue of"):
        metric(Covariance("ledoit_wolf"), scores, np.log(np.full(4, 0.25)))


def test_members_that_agree_have_no_covariance():
    np.testing.assert_array_equal(ledoit_wolf(np.zeros((3, 4))), np.zeros((3, 3)))
    found = estimate(np.ones((3, 4)), "diagonal_plus_low_rank")
    np.testing.assert_array_equal(found, np.zeros((3, 3)))


def test_ledoit_wolf_needs_three_members():
    with pytest.raises(InputError, match=r"at least 3 for 'ledoit_wolf', got k = 2; use method"):
        estimate(np.array([[0.0, 1.0], [2.0, 0.0]]), "ledoit_wolf")


@pytest.mark.parametrize("rank", [0, 3])
def test_factors_are_at_most_the_members_less_one(rank):
    words = rf"`rank` must be between 1 and min\(n, k - 1\) = 2, got {rank}"
    with pytest.raises(InputError, match=words):
        estimate(normal(0, (5, 3)), "diagonal_plus_low_rank", rank=rank)


def test_methods_come_with_the_nearest():
    with pytest.raises(InputError, match=r"diagonal, .*did you mean 'ledoit_wolf'"):
        Scores(normal(0, (5, 3))).covariance("ledoit_wolff")
