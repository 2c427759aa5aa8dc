"""The optimisers of the audit against optima known in closed form."""

import numpy as np
import pytest

from tests.tolerance import EXACT, VALUE
from theory.theorems.independent import constrained_maximum, mirror_ascent


def test_mirror_ascent_rests_at_the_exponential_tilt():
    reference, reward, beta = np.array([0.2, 0.5, 0.3]), np.array([1.0, 0.0, -1.0]), 0.7
    found = mirror_ascent(lambda lr: reward - beta * lr, np.full(3, 1 / 3), reference, rate=1.0)
    tilt = reference * np.exp(reward / beta)
    np.testing.assert_allclose(found, tilt / tilt.sum(), atol=EXACT)


def test_mirror_ascent_without_a_price_is_greedy():
    found = mirror_ascent(
        lambda lr: np.array([0.0, 1.0]), np.array([0.9, 0.1]), np.array([0.9, 0.1]), rate=1.0
    )
    assert found == pytest.approx([0.0, 1.0], abs=EXACT)


def test_constrained_maximum_of_a_projection():
    """The nearest distribution to (1, .8, -1) is (.6, .4, 0)."""
    target = np.array([1.0, 0.8, -1.0])
    found = constrained_maximum(
        lambda x: -float(((x - target) ** 2).sum()), np.full(3, 1 / 3), distribution=3
    )
    assert found == pytest.approx([0.6, 0.4, 0.0], abs=VALUE)


def test_constrained_maximum_with_a_free_number():
    """max t s.t. p >= t, 1 - p >= t, t <= 1/2."""
    found = constrained_maximum(
        lambda x: float(x[-1]),
        np.array([0.9, 0.1, 0.0]),
        distribution=2,
        at_least_zero=lambda x: x[:-1] - x[-1],
    )
    assert found == pytest.approx([0.5, 0.5, 0.5], abs=VALUE)
