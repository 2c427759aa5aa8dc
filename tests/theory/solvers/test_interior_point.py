"""Minimisation over the simplex: known minimisers, certificates, batches, degenerate cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import POLICY, ROUNDING, VALUE
from theory.solvers.interior_point import Expansion, minimise_on_simplex, simplex_gap


def least_squares(matrix, target):
    """|A w - b|^2 / 2, one problem a run."""

    def function(weights):
        residual = np.einsum("...ij,...j->...i", matrix, weights) - target
        gradient = np.einsum("...ij,...i->...j", matrix, residual)
        return Expansion((residual**2).sum(-1) / 2, gradient, np.swapaxes(matrix, -1, -2) @ matrix)

    return function


def soft_maximum(lines, temperature):
    """t ln sum exp(line w / t), nearly piecewise linear for small t, one problem a run."""

    def function(weights):
        heights = np.einsum("...yi,...i->...y", lines, weights) / temperature
        top = heights.max(-1, keepdims=True)
        shares = np.exp(heights - top)
        total = shares.sum(-1, keepdims=True)
        gradient = np.einsum("...y,...yi->...i", shares / total, lines)
        centred = lines - gradient[..., None, :]
        scaled = centred * (shares / total)[..., None] / temperature
        hessian = np.swapaxes(scaled, -1, -2) @ centred
        return Expansion(temperature * (top + np.log(total))[..., 0], gradient, hessian)

    return function


def projection(point):
    """Euclidean projection onto the simplex by sorting."""
    descending = np.sort(point)[::-1]
    thresholds = (np.cumsum(descending) - 1) / np.arange(1, len(point) + 1)
    return np.clip(point - thresholds[descending > thresholds][-1], 0, None)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 50))
def test_euclidean_projection(seed, k):
    point = np.random.default_rng(seed).normal(size=k)
    found = minimise_on_simplex(least_squares(np.eye(k), point), np.full(k, 1 / k))
    assert np.abs(found - projection(point)).max() < VALUE


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 12), rank=st.integers(1, 6))
def test_certificate_of_a_batch_with_singular_hessians(seed, k, rank):
    rng = np.random.default_rng(seed)
    function = least_squares(rng.normal(size=(3, rank, k)), rng.normal(size=(3, rank)))
    found = minimise_on_simplex(function, rng.dirichlet(np.ones(k), size=3))
    assert (found > 0).all()
    assert np.abs(found.sum(-1) - 1).max() < ROUNDING
    assert (simplex_gap(found, function(found).gradient) < ROUNDING).all()


@pytest.mark.parametrize("temperature", [1.0, 1e-2, 1e-4])
def test_damping_survives_steep_bends(temperature):
    lines = np.random.default_rng(0).normal(size=(20, 8, 5))
    function = soft_maximum(lines, temperature)
    found = minimise_on_simplex(function, np.full((20, 5), 0.2))
    assert (simplex_gap(found, function(found).gradient) < ROUNDING).all()


def test_linear_function_ends_in_the_centre_of_the_best_face():
    slopes = np.array([0.3, 0.1, 0.1, 0.7])

    def line(weights):
        return Expansion(weights @ slopes, slopes, np.zeros((4, 4)))

    found = minimise_on_simplex(line, np.full(4, 0.25))
    assert np.abs(found - np.array([0, 0.5, 0.5, 0])).max() < VALUE


def test_runs_of_a_batch_do_not_influence_each_other():
    rng = np.random.default_rng(3)
    matrix, target = rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 3))
    start = np.full((4, 5), 0.2)
    together = minimise_on_simplex(least_squares(matrix, target), start)
    for run in range(4):
        alone = minimise_on_simplex(least_squares(matrix[run], target[run]), start[run])
        assert np.abs(together[run] - alone).max() < POLICY
