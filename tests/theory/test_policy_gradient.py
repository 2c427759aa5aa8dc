import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, ROUNDING
from theory.errors import InputError
from theory.policy_gradient import (
    clipped_surrogate,
    clipped_value_loss,
    gae,
    masked_mean,
    masked_whiten,
)

MASK = np.array([[True, True, True, True], [True, True, False, False]])


def draws(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def direct_gae(rewards, values, gamma, lam):
    """sum_l (gamma lam)^l delta_{t+l} for one unpadded episode, as the definition has it."""
    length = len(rewards)
    following = np.append(values[1:], 0.0)
    delta = rewards + gamma * following - values
    return np.array(
        [sum((gamma * lam) ** i * delta[t + i] for i in range(length - t)) for t in range(length)]
    )


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_gae_of_padded_episodes_equals_the_definition_on_each(seed, lengths, gamma, lam):
    rewards, values = draws(seed, 2, len(lengths), max(lengths))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    garbage = np.where(mask, rewards, np.nan)
    found = gae(garbage, np.where(mask, values, np.nan), gamma, lam, mask)
    for row, length in enumerate(lengths):
        exact = direct_gae(rewards[row, :length], values[row, :length], gamma, lam)
        np.testing.assert_allclose(found.advantages[row, :length], exact, atol=ROUNDING)
        np.testing.assert_array_equal(found.advantages[row, length:], 0)
        targets = exact + values[row, :length]
        np.testing.assert_allclose(found.returns[row, :length], targets, atol=ROUNDING)
        np.testing.assert_array_equal(found.returns[row, length:], 0)


def test_lambda_one_gives_discounted_returns_and_zero_the_one_step_error():
    rewards, values = draws(0, 2, 3, 6)
    discounts = 0.9 ** np.arange(6)
    total = np.stack([rewards[:, t:] @ discounts[: 6 - t] for t in range(6)], axis=-1)
    np.testing.assert_allclose(gae(rewards, values, 0.9, 1.0).returns, total, atol=EXACT)
    following = np.concatenate([values[:, 1:], np.zeros((3, 1))], axis=-1)
    one_step = rewards + 0.9 * following - values
    np.testing.assert_allclose(gae(rewards, values, 0.9, 0.0).advantages, one_step, atol=EXACT)


def test_a_gap_in_the_mask_ends_an_episode():
    rewards, values = draws(1, 2, 5)
    mask = np.array([True, True, False, True, True])
    found = gae(rewards, values, 0.95, 0.9, mask).advantages
    for part in (slice(0, 2), slice(3, 5)):
        np.testing.assert_allclose(
            found[part], direct_gae(rewards[part], values[part], 0.95, 0.9), atol=EXACT
        )


def test_gae_in_torch_equals_numpy_and_passes_gradients():
    rewards, values = draws(2, 2, 2, 4)
    expected = gae(rewards, values, 0.9, 0.8, MASK)
    tensor = torch.tensor(rewards, requires_grad=True)
    found = gae(tensor, torch.as_tensor(values), 0.9, 0.8, torch.as_tensor(MASK))
    np.testing.assert_allclose(found.advantages.detach(), expected.advantages, atol=EXACT)
    np.testing.assert_allclose(found.returns.detach(), expected.returns, atol=EXACT)
    found.advantages[:, 0].sum().backward()
    powers = np.where(MASK, 0.72 ** np.arange(4), 0)
    np.testing.assert_allclose(tensor.grad, powers, atol=EXACT)


def test_surrogate_by_hand():
    """Four ratios 2, 2, 1/2, 1 against advantages 1, -1, -1, 3 at clip .2."""
    log_prob = np.log(np.array([[2.0, 2.0, 0.5, 1.0]]))
    found = clipped_surrogate(log_prob, np.zeros((1, 4)), np.array([[1.0, -1.0, -1.0, 3.0]]), 0.2)
    assert found.loss == pytest.approx(-(1.2 - 2.0 - 0.8 + 3.0) / 4, abs=EXACT)
    assert found.clip_fraction == pytest.approx(0.75, abs=EXACT)


def test_on_policy_surrogate_has_the_policy_gradient_and_no_clipping():
    log_prob = torch.tensor(draws(3, 2, 4), requires_grad=True)
    advantages = draws(4, 2, 4)
    mask = torch.as_tensor(MASK)
    found = clipped_surrogate(log_prob, log_prob.detach(), torch.as_tensor(advantages), 0.2, mask)
    found.loss.backward()
    np.testing.assert_allclose(log_prob.grad, -np.where(MASK, advantages, 0) / 6, atol=EXACT)
    assert found.clip_fraction == 0


def test_clipped_tokens_pass_no_gradient():
    log_prob = torch.log(torch.tensor([[2.0, 2.0, 0.5, 0.5]], dtype=torch.float64))
    log_prob.requires_grad_(True)
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    zero = torch.zeros_like(advantages)
    clipped_surrogate(log_prob, zero, advantages, 0.2).loss.backward()
    np.testing.assert_allclose(log_prob.grad, [[0, 0.5, -0.125, 0]], atol=EXACT)


def test_value_loss_by_hand():
    values, old = np.array([[2.0, 0.1, -1.0]]), np.zeros((1, 3))
    returns = np.array([[0.0, 1.0, -3.0]])
    expected = (2.0**2 + 0.9**2 + 2.5**2) / 3 / 2
    found = clipped_value_loss(values, old, returns, 0.5)
    assert found == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("loss", ["surrogate", "value"])
def test_garbage_behind_the_mask_reaches_neither_loss_nor_gradient(loss):
    mask = torch.as_tensor(MASK)
    clean = [torch.tensor(draws(seed, 2, 4)) for seed in (5, 6, 7)]

    def evaluate(arrays):
        first = arrays[0].clone().requires_grad_(True)
        if loss == "surrogate":
            value = clipped_surrogate(first, arrays[1], arrays[2], 0.2, mask).loss
        else:
            value = clipped_value_loss(first, arrays[1], arrays[2], 0.2, mask)
        value.backward()
        return value.detach(), first.grad

    nan = torch.tensor(float("nan"), dtype=torch.float64)
    dirty = [torch.where(mask, array, nan) for array in clean]
    for expected, found in zip(evaluate(clean), evaluate(dirty), strict=True):
        torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


def test_losses_in_torch_equal_numpy():
    arrays = draws(8, 3, 2, 4)
    tensors, mask = torch.as_tensor(arrays), torch.as_tensor(MASK)
    for function in (clipped_surrogate, clipped_value_loss):
        expected, found = function(*arrays, 0.3, MASK), function(*tensors, 0.3, mask)
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=EXACT)


def test_masked_mean_and_whitening():
    values = draws(9, 2, 4)
    assert masked_mean(values, MASK) == pytest.approx(values[MASK].mean(), abs=EXACT)
    assert masked_mean(values) == pytest.approx(values.mean(), abs=EXACT)
    white = masked_whiten(values, MASK, eps=0.0)
    np.testing.assert_allclose((white[MASK].mean(), white[MASK].std()), (0, 1), atol=EXACT)
    np.testing.assert_array_equal(white[~MASK], 0)
    kept = masked_whiten(values, MASK, shift_mean=False, eps=0.0)
    assert kept[MASK].mean() == pytest.approx(values[MASK].mean(), abs=EXACT)
    np.testing.assert_array_equal(kept[~MASK], 0)
    sample = masked_whiten(values, MASK, eps=0.0, ddof=1)
    np.testing.assert_allclose(sample[MASK].std(ddof=1), 1, atol=EXACT)
    with pytest.raises(InputError, match="True for more than 1"):
        masked_whiten(values[:1, :1], ddof=1)
    in_torch = masked_whiten(torch.as_tensor(values), torch.as_tensor(MASK), eps=0.0)
    np.testing.assert_allclose(in_torch, white, atol=EXACT)
    np.testing.assert_allclose(masked_whiten(np.ones((1, 3))), 0, atol=EXACT)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda z: gae(z, z, 1.1, 0.9), "gamma"),
        (lambda z: gae(z, z, 1.0, -0.1), "lam"),
        (lambda z: clipped_surrogate(z, z, z, 0.0), "clip"),
        (lambda z: clipped_value_loss(z, z, z, -1.0), "clip"),
        (lambda z: masked_mean(z, z > 0), "mask"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call(np.zeros((1, 3)))


def test_mixing_torch_and_numpy_is_refused():
    with pytest.raises(InputError, match="all NumPy or all torch"):
        gae(np.zeros((1, 3)), torch.zeros((1, 3)), 1.0, 1.0)


def test_unequal_shapes_are_refused_by_the_function_or_its_annotations():
    with pytest.raises((InputError, TypeError)):
        gae(np.zeros((2, 3)), np.zeros((1, 3)), 1.0, 1.0)
