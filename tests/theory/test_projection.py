from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, FLOAT32, ROUNDING, mc
from theory.errors import InputError
from theory.projection import (
    SignProjection,
    cosine_error_std,
    inner_product_variance,
    median_split_overlap,
)

SEEDS = 2000


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2500), max_size=4))
def test_any_cut_of_the_coordinates_gives_the_same_projection(cuts):
    vectors = np.random.default_rng(0).standard_normal((3, 2500))
    project = SignProjection(dimension=5, seed=9)
    edges = sorted({0, *cuts, 2500})
    pieces = [project(vectors[:, a:b], start=a) for a, b in pairwise(edges)]
    np.testing.assert_allclose(sum(pieces), project(vectors), atol=ROUNDING)


def test_entries_are_signs_and_the_seed_and_block_change_them():
    project = SignProjection(dimension=12, seed=1)
    matrix = project(np.eye(3000)) * np.sqrt(12)
    np.testing.assert_allclose(np.abs(matrix), 1, atol=EXACT)
    assert abs(matrix.mean()) < mc(1.0, matrix.size)
    other = SignProjection(dimension=12, seed=2)(np.eye(3000)) * np.sqrt(12)
    assert abs((matrix * other).mean()) < mc(1.0, matrix.size)
    assert abs((matrix[:1024] * matrix[1024:2048]).mean()) < mc(1.0, 1024 * 12)
    np.testing.assert_array_equal(SignProjection(12, 1)(np.eye(3000)), project(np.eye(3000)))


def test_inner_products_are_unbiased_with_the_stated_variance():
    rng = np.random.default_rng(3)
    u, v = rng.standard_normal((2, 6))
    v = v + u
    products = np.empty(SEEDS)
    for seed in range(SEEDS):
        projected = SignProjection(dimension=16, seed=seed)(np.stack([u, v]))
        products[seed] = projected[0] @ projected[1]
    std = np.sqrt(inner_product_variance(u, v, 16))
    assert products.mean() == pytest.approx(u @ v, abs=mc(std, SEEDS))
    assert products.std() == pytest.approx(std, abs=mc(std, SEEDS))


def test_one_sparse_vectors_are_projected_without_error():
    u = np.zeros(40)
    u[7] = -3.0
    assert inner_product_variance(u, 2 * u, 8) == pytest.approx(0, abs=EXACT)
    projected = SignProjection(dimension=8, seed=0)(u)
    assert projected @ projected == pytest.approx(9, abs=EXACT)


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.9])
def test_cosine_error_matches_simulation(cosine):
    dimension, pairs = 256, 1500
    rng = np.random.default_rng(4)
    u, w = np.linalg.qr(rng.standard_normal((400, 2)))[0].T
    v = cosine * u + np.sqrt(1 - cosine**2) * w
    errors = np.empty(pairs)
    for seed in range(pairs):
        a, b = SignProjection(dimension, seed)(np.stack([u, v]))
        errors[seed] = a @ b / np.sqrt((a @ a) * (b @ b)) - cosine
    std = cosine_error_std(cosine, dimension)
    assert errors.std() == pytest.approx(std, abs=mc(std, pairs))


def test_published_losses_of_8192_dimensions():
    stated = [round(cosine_error_std(rho, 8192), 5) for rho in (0.0, 0.05, 0.5, 0.9)]
    assert stated == [0.01105, 0.01102, 0.00829, 0.0021]
    overlaps = [round(median_split_overlap(tau, 8192), 3) for tau in (0.01, 0.02, 0.05)]
    assert overlaps == [0.734, 0.839, 0.931]
    assert median_split_overlap(0.0, 8192) == 0.5


def test_overlap_matches_simulation():
    rng, size = np.random.default_rng(5), 200_000
    true = 0.01 * rng.standard_normal(size)
    measured = true + rng.standard_normal(size) / np.sqrt(8192)
    both = np.mean((true > np.median(true)) & (measured > np.median(measured)))
    assert 2 * both == pytest.approx(median_split_overlap(0.01, 8192), abs=mc(1.0, size))


def test_torch_equals_numpy():
    vectors = np.random.default_rng(6).standard_normal((2, 1500)).astype(np.float32)
    project = SignProjection(dimension=4, seed=3)
    found = project(torch.as_tensor(vectors))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), project(vectors), atol=FLOAT32)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: SignProjection(0, 1), "dimension"),
        (lambda: SignProjection(2, 1)(np.ones(3), start=-1), "start"),
        (lambda: cosine_error_std(1.5, 10), "cosine"),
        (lambda: cosine_error_std(0.5, 0), "dimension"),
        (lambda: median_split_overlap(-0.1, 10), "cosine_std"),
        (lambda: median_split_overlap(0.1, 0), "dimension"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()
