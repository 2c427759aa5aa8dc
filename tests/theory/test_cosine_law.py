"""The cosine of a normal vector with its mean, against other routes to its law."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import nct

from tests.tolerance import ALPHA, EXACT, ROUNDING, mc
from theory.cosine_law import cosine_cdf, cosine_moments
from theory.intervals import clopper_pearson

GRID = np.linspace(-1, 1, 41)
DRAWS = 100_000


@given(st.integers(2, 1000), st.floats(0, 8))
def test_it_is_noncentral_t(m, length):
    with np.errstate(divide="ignore"):
        ratio = np.sqrt(m - 1) * GRID / np.sqrt(1 - GRID**2)
    expected = nct.cdf(ratio, m - 1, length)
    known = np.isfinite(expected)
    found = cosine_cdf(GRID, m, length)
    assert known.sum() > len(GRID) / 3
    np.testing.assert_allclose(found[known], expected[known], atol=ROUNDING)


@pytest.mark.slow
@settings(max_examples=50)
@given(st.integers(2, 1000), st.floats(0.01, 60))
def test_moments_are_those_of_the_cdf(m, length):
    nodes, weights = np.polynomial.legendre.leggauss(600)
    angle = (nodes + 1) * np.pi / 2  # T = -cos(angle)
    cdf = cosine_cdf(-np.cos(angle), m, length) * np.sin(angle) * weights * np.pi / 2
    mean, squared = cosine_moments(m, length)
    assert abs(mean - (1 - cdf.sum())) <= ROUNDING
    assert abs(squared - (1 + 2 * (cdf * np.cos(angle)).sum())) <= ROUNDING


@given(st.integers(1, 1000), st.floats(0, 60))
def test_it_is_a_distribution_function(m, length):
    cdf = cosine_cdf(np.linspace(-1.1, 1.1, 221), m, length)
    assert (np.diff(cdf) >= -EXACT).all()
    assert cdf[0] == 0
    assert cdf[-1] == 1
    assert abs(cosine_cdf(np.array(0.0), m, length) - ndtr(-length)) <= EXACT


@given(st.floats(-1, 1))
def test_uniform_directions(t):
    """l = 0: the arc sine law in the plane, the uniform law in space."""
    plane, space = (float(cosine_cdf(np.array(t), m, 0.0)) for m in (2, 3))
    assert abs(plane - (1 - np.arccos(t) / np.pi)) <= ROUNDING
    assert abs(space - (1 + t) / 2) <= ROUNDING


@pytest.mark.parametrize(("m", "length"), [(2, 0.5), (5, 2.0), (40, 10.0)])
def test_it_agrees_with_simulation(m, length):
    sample = np.random.default_rng(m).standard_normal((DRAWS, m))
    sample[:, 0] += length
    cosine = sample[:, 0] / np.linalg.norm(sample, axis=1)
    mean, squared = cosine_moments(m, length)
    assert abs(cosine.mean() - mean) <= mc(cosine.std(), DRAWS)
    assert abs((cosine**2).mean() - squared) <= mc((cosine**2).std(), DRAWS)
    for t in (-0.2, 0.3, 0.8, 0.95):
        below = int((cosine <= t).sum())
        assert float(cosine_cdf(np.array(t), m, length)) in clopper_pearson(below, DRAWS, ALPHA)


def test_tails_where_the_library_has_none():
    m, length = 757, 30.0
    ratio = np.sqrt(m - 1) * 0.9837 / np.sqrt(1 - 0.9837**2)
    assert cosine_cdf(np.array([-0.9, 0.9837]), m, length).tolist() == [0, 1]
    assert cosine_cdf(np.array(-0.9), 1000, 60.0) <= EXACT
    assert not nct.cdf(ratio, m - 1, length) < 1


def test_one_dimension_has_two_cosines():
    found = cosine_cdf(np.array([-1.001, -1.0, 0.999, 1.0]), 1, 0.7)
    np.testing.assert_allclose(found, [0, ndtr(-0.7), ndtr(-0.7), 1], atol=EXACT)
    np.testing.assert_allclose(cosine_moments(1, 0.7), [1 - 2 * ndtr(-0.7), 1], atol=EXACT)
