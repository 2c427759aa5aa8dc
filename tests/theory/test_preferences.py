import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from tests.tolerance import ALPHA, EXACT, POLICY, ROUNDING, VALUE
from theory.errors import InputError
from theory.preferences import (
    centred_predictive_std,
    fisher_information,
    fit_linear_head,
    gradient,
    log_likelihood,
    log_sigmoid,
    preference_loss,
    sample_preferences,
)


@given(st.floats(-700, 700), st.floats(-700, 700), st.floats(0, 0.49))
def test_probabilities_of_both_labels_sum_to_one(first, second, noise):
    a, b = np.array(first), np.array(second)
    total = np.exp(log_likelihood(a, b, noise=noise)) + np.exp(log_likelihood(b, a, noise=noise))
    assert total == pytest.approx(1, abs=EXACT)


@given(st.floats(-30, 30), st.floats(0, 0.49))
def test_noise_mixes_the_two_labels(margin, noise):
    likelihood = np.exp(log_likelihood(np.array(margin), np.array(0.0), noise=noise))
    mixed = (1 - noise) * special.expit(margin) + noise * special.expit(-margin)
    assert likelihood == pytest.approx(mixed, abs=EXACT)


def test_log_sigmoid_at_the_ends_and_its_slope_at_zero():
    np.testing.assert_array_equal(log_sigmoid(np.array([-1e8, 1e8])), [-1e8, 0])
    x = torch.tensor([-1e4, 0.0, 2.0, 1e4], dtype=torch.float64, requires_grad=True)
    log_sigmoid(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.sigmoid(-x.detach()), atol=EXACT, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_torch_equals_numpy(noise):
    chosen, rejected = np.random.default_rng(0).normal(0, 50, (2, 20))
    expected = preference_loss(chosen, rejected, noise=noise, centring=0.01)
    found = preference_loss(
        torch.as_tensor(chosen), torch.as_tensor(rejected), noise=noise, centring=0.01
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=ROUNDING)


def test_centring_alone_sees_the_offset():
    chosen, rejected = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    plain = preference_loss(chosen, rejected)
    np.testing.assert_allclose(preference_loss(chosen + 3, rejected + 3), plain, atol=EXACT)
    centred = preference_loss(chosen, rejected, centring=0.1)
    np.testing.assert_allclose(centred - plain, 0.1 * np.array([2.25, 1.0]), atol=EXACT)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_sampled_labels_follow_the_model(noise):
    draws = 100_000
    labels = sample_preferences(
        np.full(draws, 1.0), np.full(draws, 0.2), rng=np.random.default_rng(0), noise=noise
    )
    interval = stats.binomtest(int(labels.sum()), draws).proportion_ci(1 - ALPHA, method="exact")
    exact = np.exp(log_likelihood(np.array(1.0), np.array(0.2), noise=noise))
    assert interval.low <= exact <= interval.high


def simulated_pairs(rng, pairs, weights):
    first, second = rng.standard_normal((2, pairs, weights.size))
    preferred = sample_preferences(first @ weights, second @ weights, rng=rng)[:, None]
    return np.where(preferred, first, second), np.where(preferred, second, first)


def test_gradient_and_information_are_derivatives_of_the_likelihood():
    rng = np.random.default_rng(1)
    difference, weights = rng.standard_normal((30, 4)), rng.standard_normal(4)
    point = torch.tensor(weights, requires_grad=True)

    def total(w):
        margin = torch.as_tensor(difference) @ w
        return log_likelihood(margin, torch.zeros_like(margin)).sum()

    (slope,) = torch.autograd.grad(total(point), point)
    hessian = torch.autograd.functional.hessian(total, point.detach())
    np.testing.assert_allclose(gradient(difference, weights), slope.numpy(), atol=ROUNDING)
    np.testing.assert_allclose(
        fisher_information(difference, weights), -hessian.numpy(), atol=ROUNDING
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 10), st.floats(0.1, 30))
def test_fit_is_the_stationary_point_and_agrees_with_bfgs(seed, precision, scale):
    rng = np.random.default_rng(seed)
    chosen, rejected = simulated_pairs(rng, 25, rng.standard_normal(3) * scale)
    head = fit_linear_head(chosen, rejected, precision)
    slope = gradient(chosen - rejected, head.weights) - precision * head.weights
    np.testing.assert_allclose(slope, 0, atol=ROUNDING)

    def loss(w):
        margin = (chosen - rejected) @ w
        return preference_loss(margin, 0 * margin).sum() + precision * w @ w / 2

    other = optimize.minimize(loss, np.zeros(3), method="BFGS")
    np.testing.assert_allclose(loss(head.weights), other.fun, atol=VALUE)
    information = fisher_information(chosen - rejected, head.weights) + precision * np.eye(3)
    np.testing.assert_allclose(head.covariance @ information, np.eye(3), atol=ROUNDING)


def test_rank_deficient_and_separable_pairs_need_a_prior():
    flat = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    separable = np.array([[1.0, 0.1], [1.0, -0.3], [2.0, 0.2]])
    for chosen in (flat, separable):
        with pytest.raises(InputError, match="`prior_precision`"):
            fit_linear_head(chosen, np.zeros_like(chosen))
        fitted = fit_linear_head(chosen, np.zeros_like(chosen), 0.01)
        assert np.all(np.isfinite(fitted.weights))
    assert fitted.weights[0] > 1


def test_laplace_covariance_is_the_sampling_variance_of_the_fit():
    rng, repeats = np.random.default_rng(2), 400
    truth = np.array([1.0, -0.5, 0.3])
    heads = [fit_linear_head(*simulated_pairs(rng, 500, truth)) for _ in range(repeats)]
    spread = np.var([head.weights for head in heads], axis=0, ddof=1)
    claimed = np.mean([np.diag(head.covariance) for head in heads], axis=0)
    low, high = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], repeats - 1) / (repeats - 1)
    assert np.all((low < spread / claimed) & (spread / claimed < high))


def test_centred_std_ignores_the_direction_that_preferences_cannot_see():
    features = np.random.default_rng(3).standard_normal((2, 6, 4))
    features[..., 3] = 1.0
    posterior = np.diag([0.1, 0.2, 0.3, 1e6])
    found = centred_predictive_std(features, posterior)
    centred = features - features.mean(-2, keepdims=True)
    exact = np.sqrt(np.einsum("bnf,fg,bng->bn", centred, posterior, centred))
    np.testing.assert_allclose(found, exact, atol=POLICY * ROUNDING)
    assert found.max() < 10

    point = np.zeros((2, 6))
    point[:, 2] = 1
    anchored = centred_predictive_std(features, posterior, point)
    np.testing.assert_array_equal(anchored[:, 2], 0)
    assert np.all(anchored[:, [0, 1, 3, 4, 5]] > 0)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: log_likelihood(np.zeros(1), np.zeros(1), noise=0.5), "noise"),
        (lambda: log_likelihood(np.zeros(1), np.zeros(1), noise=-0.1), "noise"),
        (lambda: preference_loss(np.zeros(1), np.zeros(1), centring=-1.0), "centring"),
        (
            lambda: sample_preferences(
                np.zeros(1), np.zeros(1), rng=np.random.default_rng(0), noise=0.7
            ),
            "noise",
        ),
        (lambda: fit_linear_head(np.zeros((2, 1)), np.zeros((2, 1)), -1.0), "prior_precision"),
        (lambda: fit_linear_head(np.full((2, 1), np.nan), np.zeros((2, 1))), "features"),
        (lambda: centred_predictive_std(np.zeros((2, 1)), np.eye(1), np.ones(2)), "reference"),
        (lambda: centred_predictive_std(np.zeros((2, 1)), -np.eye(1)), "covariance"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()
