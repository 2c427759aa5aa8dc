import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from tests.tolerance import EXACT, ROUNDING, VALUE
from theory.kl_estimators import ESTIMATORS, exact_kl, k1, k2, k3

LOGITS = hnp.arrays(np.float64, (2, 5), elements=st.floats(-3, 3))


def pair(logits):
    log_policy, log_reference = special.log_softmax(logits, axis=-1)
    return log_policy, log_reference, np.exp(log_policy)


@settings(max_examples=100, deadline=None)
@given(LOGITS)
def test_exact_expectations(logits):
    """k1 and k3 are unbiased; k2 has half the second moment; none but k1 is ever negative."""
    log_policy, log_reference, policy = pair(logits)
    ratio, kl = log_policy - log_reference, exact_kl(log_policy, log_reference)
    assert kl == pytest.approx(special.rel_entr(policy, np.exp(log_reference)).sum(), abs=EXACT)
    assert policy @ k1(ratio) == pytest.approx(kl, abs=EXACT)
    assert policy @ k3(ratio) == pytest.approx(kl, abs=ROUNDING)
    assert policy @ k2(ratio) == pytest.approx(policy @ ratio**2 / 2, abs=EXACT)
    assert np.all(k2(ratio) >= 0)
    assert np.all(k3(ratio) >= 0)


def test_near_the_reference_k2_and_k3_have_far_smaller_variance():
    base = np.array([0.3, -0.2, 0.5, 0.0, -0.6])
    log_policy, log_reference, policy = pair(np.stack([base, base + 0.01 * base[::-1]]))
    ratio = log_policy - log_reference
    variance = {n: policy @ f(ratio) ** 2 - (policy @ f(ratio)) ** 2 for n, f in ESTIMATORS.items()}
    assert variance["k3"] < variance["k1"] / 1000
    assert variance["k2"] < variance["k1"] / 1000


def test_the_reversed_k3_and_a_clamped_k1_are_other_quantities():
    log_policy, log_reference, policy = pair(np.array([[3.0, 0, 0, 0, 0], [0.0, 1, 2, 0, 1]]))
    ratio, kl = log_policy - log_reference, exact_kl(log_policy, log_reference)
    assert policy @ (np.exp(ratio) - 1 - ratio) > 2 * kl
    assert policy @ np.maximum(ratio, 0) > kl
    assert policy @ k2(ratio) > 1.1 * kl


def test_k3_keeps_precision_at_tiny_ratios():
    np.testing.assert_allclose(k3(np.array(1e-6)), 5e-13, rtol=VALUE)


def test_only_the_sample_gradient_of_k2_is_that_of_the_kl():
    logits = torch.tensor([1.0, 0.0, -0.5], dtype=torch.float64, requires_grad=True)
    log_reference = torch.log_softmax(torch.tensor([0.0, 0.3, 0.1], dtype=torch.float64), -1)
    log_policy = torch.log_softmax(logits, -1)
    (exact,) = torch.autograd.grad(exact_kl(log_policy, log_reference), logits, retain_graph=True)
    weight = log_policy.detach().exp()

    def sampled(estimator):
        loss = (weight * estimator(log_policy - log_reference)).sum()
        return torch.autograd.grad(loss, logits, retain_graph=True)[0]

    torch.testing.assert_close(sampled(k2), exact, atol=EXACT, rtol=0)
    torch.testing.assert_close(sampled(k1), torch.zeros_like(exact), atol=EXACT, rtol=0)
    assert (sampled(k3) - exact).abs().max() > 0.01


@pytest.mark.parametrize("name", ESTIMATORS)
def test_torch_equals_numpy(name):
    ratio = np.linspace(-3, 3, 7)
    torch_result = ESTIMATORS[name](torch.as_tensor(ratio))
    np.testing.assert_allclose(torch_result.numpy(), ESTIMATORS[name](ratio), atol=EXACT)


def test_exact_kl_of_zero_masses():
    half, point = np.log(np.array([0.5, 0.5])), np.array([0.0, -np.inf])
    assert exact_kl(point, half) == pytest.approx(np.log(2), abs=EXACT)
    assert exact_kl(half, point) == np.inf
    assert exact_kl(point, point) == 0
    assert exact_kl(torch.as_tensor(half), torch.as_tensor(point)) == np.inf
