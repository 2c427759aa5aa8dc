"""What NumPy and torch arrays share."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.theory.draws import arrays
from tests.tolerance import EXACT, FLOAT32, ROUNDING
from theory.arrays import (
    expected,
    like,
    log_ratio,
    logsumexp,
    namespace,
    safe_sqrt,
    to_numpy,
    weighted_mean,
)
from theory.errors import InputError

INF = np.inf


def test_namespace_ignores_what_is_no_array():
    assert namespace(None, 2.0, np.ones(2)) is namespace(np.ones(1))
    assert namespace(torch.ones(2), None) is namespace(torch.nn.Parameter(torch.ones(2)))


def test_mixing_numpy_and_torch_says_so():
    with pytest.raises(InputError, match="all NumPy or all torch, got a mix of numpy and torch"):
        namespace(np.ones(2), torch.ones(2))


def test_lists_are_told_from_arrays():
    with pytest.raises(InputError, match=r"NumPy or torch arrays, got NoneType, list; convert"):
        namespace([1.0, 2.0], None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_come_back_in_their_kind(dtype):
    tensor = torch.tensor([0.5, -2.0], dtype=dtype, requires_grad=True)
    array = to_numpy(tensor)
    assert array.tolist() == [0.5, -2.0]
    assert array.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert like(tensor, array).dtype == dtype
    assert not like(tensor, array).requires_grad
    assert like(np.ones(1), array) is array


@settings(max_examples=50)
@given(arrays(3, 4), st.sampled_from([0, 1]), st.booleans())
def test_logsumexp_is_scipys(x, axis, keepdims):
    x = np.where(x < -2, -INF, 100 * x)
    x[0] = 0.0
    x[:, 0] = 1.0
    reference = special.logsumexp(x, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(logsumexp(x, axis, keepdims), reference, rtol=EXACT, atol=EXACT)
    there = logsumexp(torch.tensor(x), axis, keepdims)
    np.testing.assert_allclose(there.numpy(), reference, rtol=EXACT, atol=EXACT)


def test_logsumexp_has_the_gradient_of_softmax():
    x = torch.tensor([0.0, 700.0, -INF, 701.0], dtype=torch.float64, requires_grad=True)
    logsumexp(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), special.softmax(x.detach().numpy()), atol=EXACT)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_probability_zero_beats_an_infinity(kind):
    probabilities = kind([[0.0, 1.0], [0.25, 0.75]])
    values = kind([[INF, 2.0], [4.0, 8.0]])
    assert to_numpy(expected(probabilities, values)).tolist() == [2.0, 7.0]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_log_ratio_is_zero_outside_the_reference(kind):
    ratio = log_ratio(kind([-1.0, -INF, -INF]), kind([-3.0, -2.0, -INF]))
    assert to_numpy(ratio).tolist() == [2.0, -INF, 0.0]


@settings(max_examples=30)
@given(arrays(4, 3, 2), st.sampled_from([0, 1, -1]))
def test_weighted_mean_normalises_its_weights(values, axis):
    weights = np.arange(1.0, values.shape[axis] + 1)
    found = weighted_mean(values, weights, axis)
    reference = np.average(values, axis=axis, weights=weights)
    np.testing.assert_allclose(found, reference, atol=ROUNDING)
    there = weighted_mean(torch.tensor(values), torch.tensor(weights), axis)
    np.testing.assert_allclose(there.numpy(), found, atol=EXACT)
    uniform = weighted_mean(values, None, axis)
    np.testing.assert_allclose(uniform, weighted_mean(values, 0 * weights + 7, axis), atol=ROUNDING)


def test_safe_sqrt():
    x = np.array([4.0, 0.0, -1e-18, INF, np.nan])
    np.testing.assert_array_equal(safe_sqrt(x), [2.0, 0.0, 0.0, INF, np.nan])
    tensor = torch.tensor([4.0, 0.0, 1e-300], dtype=torch.float64, requires_grad=True)
    safe_sqrt(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), [0.25, 0.0, 0.5e150], rtol=FLOAT32)
