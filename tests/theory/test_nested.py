"""Components of variance and the nested bootstrap, against simulations with a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.draws import arrays
from tests.tolerance import ROUNDING, mc
from theory.errors import InputError
from theory.nested import nested_bootstrap, variance_components

BETWEEN, WITHIN = 2.0, 1.0


def simulated(rng, studies, members, trials):
    shared = BETWEEN**0.5 * rng.standard_normal((studies, members, 1))
    return shared + WITHIN**0.5 * rng.standard_normal((studies, members, trials))


def test_components_are_unbiased():
    studies = 20_000
    found = variance_components(simulated(np.random.default_rng(0), studies, 5, 3))
    for component, truth in ((found.between, BETWEEN), (found.within, WITHIN)):
        assert component.shape == (studies,)
        assert abs(component.mean() - truth) < mc(component.std(), studies)


def test_independent_trials_have_no_component_between_on_average():
    noise = np.random.default_rng(1).standard_normal((4000, 5, 3))
    free, floored = (variance_components(noise, floored=floor).between for floor in (False, True))
    assert abs(free.mean()) < mc(free.std(), len(free))
    assert (free < 0).any()
    np.testing.assert_array_equal(floored, np.maximum(free, 0))


@given(arrays(4, 3), st.integers(0, 2))
def test_sums_of_squares_add_up(returns, shift):
    members, trials = returns.shape
    found = variance_components(returns + shift)
    means = returns.mean(-1)
    total = (members - 1) * (trials * found.between + found.within)
    total += members * (trials - 1) * found.within
    assert abs(total - ((returns - means.mean()) ** 2).sum()) <= ROUNDING * (1 + total)


def test_variance_of_the_bootstrapped_mean():
    rng, draws = np.random.default_rng(2), 20_000
    (returns,) = simulated(rng, 1, 6, 4)
    found = nested_bootstrap(returns, np.mean, rng=rng, draws=draws)
    exact = returns.mean(-1).var() / 6 + returns.var(-1).mean() / 24
    assert abs(found.mean() - returns.mean()) < mc(exact**0.5, draws)
    assert abs(found.var() / exact - 1) < mc(2**0.5, draws)


@pytest.mark.slow
def test_intervals_cover_where_resampling_policies_does_not():
    rng, studies, members, trials = np.random.default_rng(3), 300, 10, 4
    covered = {"nested": 0, "naive": 0}
    for returns in simulated(rng, studies, members, trials):
        flat = returns.reshape(-1, 1)
        for name, policies in (("nested", returns), ("naive", flat)):
            draws = nested_bootstrap(policies, np.mean, rng=rng, draws=300)
            low, high = np.quantile(draws, (0.025, 0.975))
            covered[name] += low < 0 < high
    assert covered["nested"] > 0.87 * studies
    assert covered["naive"] < 0.80 * studies


def test_methods_are_resampled_together():
    rng = np.random.default_rng(4)
    one = rng.standard_normal((5, 4))
    pair = np.stack([one + 1, one], axis=-1)
    found = nested_bootstrap(
        pair, lambda sample: float((sample[..., 0] - sample[..., 1]).mean()), rng=rng, draws=50
    )
    np.testing.assert_allclose(found, 1, atol=ROUNDING)


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: variance_components(np.zeros((1, 3))), "returns"),
        (lambda: variance_components(np.zeros((3, 1))), "returns"),
        (lambda: variance_components(np.full((3, 3), np.nan)), "returns"),
        (
            lambda: nested_bootstrap(
                np.zeros((2, 2)), np.mean, rng=np.random.default_rng(0), draws=0
            ),
            "draws",
        ),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()
