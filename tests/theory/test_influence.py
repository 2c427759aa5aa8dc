import numpy as np
import pytest
import torch

from tests.tolerance import EXACT, FLOAT32, ROUNDING
from theory.errors import InputError
from theory.influence import (
    AdamState,
    adam_step,
    adam_step_as_printed,
    cosine_influence,
    sgd_influence,
)


def directions(step, gradients, **options):
    state, found = AdamState.start(gradients[0]), []
    for gradient in gradients:
        direction, state = step(gradient, state, **options)
        found.append(direction)
    return np.stack(found), state


def test_adam_direction_is_that_of_torch_adam():
    gradients = np.random.default_rng(0).standard_normal((20, 7))
    parameter = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.95), eps=1e-3)
    found, _ = directions(adam_step, gradients, beta1=0.9, beta2=0.95, eps=1e-3)
    for gradient, direction in zip(gradients, found, strict=True):
        before = parameter.detach().clone()
        parameter.grad = torch.as_tensor(gradient)
        optimiser.step()
        update = (before - parameter.detach()).numpy() / 0.1
        np.testing.assert_allclose(update, direction, atol=ROUNDING)


@pytest.mark.parametrize("beta2", [0.95, 0.999])
def test_constant_gradients_give_steps_of_one(beta2):
    found, state = directions(adam_step, np.full((100, 1), 3.0), beta2=beta2, eps=0.0)
    np.testing.assert_allclose(found, 1, atol=EXACT)
    assert state.step == 100


def test_the_printed_recursion_collapses():
    found, _ = directions(adam_step_as_printed, np.ones((100, 1)), beta2=0.95)
    np.testing.assert_array_equal(found[:3, 0].round(2), [1, 1.64, 2.15])
    assert f"{found[-1, 0]:.1e}" == "7.7e-05"


def test_the_printed_moments_explode():
    state, firsts, seconds = AdamState.start(np.ones(1)), [], []
    for _ in range(100):
        _, state = adam_step_as_printed(np.ones(1), state, beta2=0.95)
        firsts.append(state.first[0])
        seconds.append(state.second[0])
    assert round(max(firsts)) == 3945
    assert f"{max(seconds):.1e}" == "8.1e+09"

    state = AdamState.start(np.ones(1))
    with np.errstate(over="ignore"):
        for _ in range(1000):
            _, state = adam_step_as_printed(np.ones(1), state)
    assert np.isinf(state.second[0])


def test_a_batch_of_candidates_shares_the_state():
    rng = np.random.default_rng(1)
    state = AdamState(rng.standard_normal(5), rng.random(5), 12)
    batch = rng.standard_normal((3, 5))
    together = adam_step(batch, state).direction
    for gradient, direction in zip(batch, together, strict=True):
        np.testing.assert_allclose(adam_step(gradient, state).direction, direction, atol=EXACT)


def test_cosine_influence_equals_its_definition():
    rng = np.random.default_rng(2)
    validation, candidates = rng.standard_normal((3, 2, 6)), rng.standard_normal((3, 4, 6))
    rates = np.array([1e-3, 2e-3, 5e-4])
    expected = np.zeros((4, 2))
    for c, j, i in np.ndindex(4, 2, 3):
        v, g = validation[i, j], candidates[i, c]
        expected[c, j] += rates[i] * v @ g / np.linalg.norm(v) / np.linalg.norm(g)
    found = cosine_influence(validation, candidates, rates)
    np.testing.assert_allclose(found, expected, atol=EXACT)
    rescaled = cosine_influence(5 * validation, candidates / 7, rates)
    np.testing.assert_allclose(rescaled, expected, atol=EXACT)
    in_torch = cosine_influence(*map(torch.as_tensor, (validation, candidates, rates)))
    np.testing.assert_allclose(in_torch.numpy(), expected, atol=EXACT)


def test_a_zero_gradient_has_no_influence():
    found = cosine_influence(np.ones((1, 1, 3)), np.zeros((1, 2, 3)), np.ones(1))
    np.testing.assert_array_equal(found, 0)


def test_sgd_influence_is_first_order_exact():
    """Quadratic loss: the drop from one step differs from the influence by O(rate^2)."""
    rng = np.random.default_rng(3)
    point, target, sample = rng.standard_normal((3, 4))

    def loss(w, centre):
        return ((w - centre) ** 2).sum() / 2

    for rate in (1e-2, 1e-3):
        influence = sgd_influence(
            (point - target)[None, None], (point - sample)[None, None], np.array([rate])
        )[0, 0]
        drop = loss(point, target) - loss(point - rate * (point - sample), target)
        second_order = rate**2 * ((point - sample) ** 2).sum() / 2
        assert influence - drop == pytest.approx(second_order, abs=EXACT)


def test_torch_adam_step_equals_numpy():
    gradient = np.random.default_rng(4).standard_normal(6).astype(np.float32)
    for step in (adam_step, adam_step_as_printed):
        expected = step(gradient, AdamState.start(gradient)).direction
        tensor = torch.as_tensor(gradient)
        found = step(tensor, AdamState.start(tensor)).direction
        np.testing.assert_allclose(found.numpy(), expected, rtol=FLOAT32)


@pytest.mark.parametrize("step", [adam_step, adam_step_as_printed])
@pytest.mark.parametrize("argument", ["beta1", "beta2"])
def test_bad_input(step, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        step(np.ones(1), AdamState.start(np.ones(1)), **{argument: 1.0})
