from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from tests.tolerance import ALPHA, EXACT, ROUNDING, mc
from theory.best_of_n import (
    additive_noise_gold,
    best_of_n_law,
    gaussian_proxy_gold,
    kl_efficiency,
    kl_upper_bound,
    unbiased_curve,
    win_rate,
)
from theory.errors import InputError
from theory.order_statistics import gaussian_max_mean


def random_problem(rng, size, levels):
    reward = rng.integers(0, levels, size).astype(float)
    return reward, np.log(rng.dirichlet(np.ones(size)))


def enumerated_law(reward, reference, n):
    """Policy and win rate by listing every tuple of n draws."""
    policy, win = np.zeros_like(reference), 0.0
    for draw in product(range(reward.size), repeat=n):
        probability = reference[list(draw)].prod()
        best = max(reward[list(draw)])
        kept = [y for y in draw if reward[y] == best]
        for y in kept:
            policy[y] += probability / len(kept)
        win += probability * (reference[reward < best].sum() + reference[reward == best].sum() / 2)
    return policy, win


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_law_equals_enumeration_with_ties(seed, size, levels, n):
    reward, log_reference = random_problem(np.random.default_rng(seed), size, levels)
    policy, win = enumerated_law(reward, np.exp(log_reference), n)
    law = best_of_n_law(reward, log_reference, n)
    np.testing.assert_allclose(np.exp(law.log_policy), policy, atol=EXACT)
    np.testing.assert_allclose(law.win_rate, win, atol=EXACT)
    kl = (policy * (law.log_policy - log_reference)).sum()
    np.testing.assert_allclose(law.kl, kl, atol=EXACT)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 10**6))
def test_kl_never_exceeds_the_continuous_law(seed, size, n):
    reward, log_reference = random_problem(np.random.default_rng(seed), size, 5)
    law = best_of_n_law(reward, log_reference, n)
    assert -EXACT <= law.kl <= kl_upper_bound(n) + EXACT
    assert 0.5 - EXACT <= law.win_rate <= win_rate(n) + EXACT
    assert np.exp(law.log_policy).sum() == pytest.approx(1, abs=ROUNDING)


def test_two_equal_arms():
    law = best_of_n_law(np.array([0.0, 1.0]), np.log(np.array([0.5, 0.5])), 4)
    assert round(float(law.kl), 5) == 0.45936
    assert round(kl_upper_bound(4), 5) == 0.63629


def test_many_levels_approach_the_continuous_law():
    size = 20_000
    law = best_of_n_law(np.arange(size, dtype=float), np.full(size, -np.log(size)), 16)
    assert law.kl == pytest.approx(kl_upper_bound(16), abs=16 / size)
    assert law.win_rate == pytest.approx(win_rate(16), abs=16 / size)


def test_endless_sampling_keeps_the_top_level_only():
    reference = np.array([0.3, 0.5, 0.2 - 1e-9, 1e-9])
    law = best_of_n_law(np.array([0.0, 1.0, 2.0, 2.0]), np.log(reference), 10**12)
    np.testing.assert_allclose(law.kl, -np.log(0.2), rtol=EXACT)
    np.testing.assert_allclose(np.exp(law.log_policy[2:]), reference[2:] / 0.2, rtol=EXACT)


def test_a_rare_best_response_keeps_its_relative_precision():
    tiny = 1e-30
    law = best_of_n_law(np.array([0.0, 1.0]), np.log(np.array([1 - tiny, tiny])), 1000)
    np.testing.assert_allclose(law.log_policy[1], np.log(1000 * tiny), rtol=EXACT)
    endless = best_of_n_law(np.array([0.0, 1.0]), np.log(np.array([1 - tiny, tiny])), 10**30)
    np.testing.assert_allclose(np.exp(endless.log_policy), [1 / np.e, 1 - 1 / np.e], rtol=EXACT)


def test_responses_without_reference_mass_are_never_kept():
    with np.errstate(divide="ignore"):
        log_reference = np.log(np.array([0.0, 0.4, 0.6, 0.0]))
    law = best_of_n_law(np.array([-1.0, 1.0, 0.0, 9.0]), log_reference, 3)
    np.testing.assert_allclose(np.exp(law.log_policy), [0, 1 - 0.6**3, 0.6**3, 0], atol=EXACT)
    assert np.isfinite(law.kl)


def test_rows_are_independent_problems():
    rng = np.random.default_rng(0)
    problems = [random_problem(rng, 6, 3) for _ in range(4)]
    reward, log_reference = (
        np.stack(part).reshape(2, 2, 6) for part in zip(*problems, strict=True)
    )
    law = best_of_n_law(reward, log_reference, 5)
    for row, problem in enumerate(problems):
        single = best_of_n_law(*problem, 5)
        np.testing.assert_allclose(law.kl.ravel()[row], single.kl, atol=EXACT)
        np.testing.assert_allclose(law.log_policy.reshape(4, 6)[row], single.log_policy, atol=EXACT)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_law_matches_simulated_sampling(n):
    reward, reference = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.4, 0.3, 0.2, 0.1])
    rng, draws = np.random.default_rng(n), 100_000
    sampled = rng.choice(4, size=(draws, n), p=reference)
    kept = sampled[np.arange(draws), np.argmax(reward[sampled], axis=-1)]
    law = best_of_n_law(reward, np.log(reference), n)
    for y, probability in enumerate(np.exp(law.log_policy)):
        count = int((kept == y).sum())
        interval = stats.binomtest(count, draws).proportion_ci(1 - ALPHA, method="exact")
        assert interval.low <= probability <= interval.high


def test_gaussian_efficiency():
    assert [round(kl_efficiency(n), 4) for n in (50, 100, 200)] == [0.9288, 0.9326, 0.9360]
    assert [round(kl_upper_bound(n), 3) for n in (50, 100, 200)] == [2.932, 3.615, 4.303]


@pytest.mark.parametrize("noise_std", [0.3, 1.0])
def test_gaussian_noise_never_over_optimises(noise_std):
    sizes = [1, 4, 100, 10_000]
    rho = 1 / np.sqrt(1 + noise_std**2)
    exact = [gaussian_proxy_gold(n, rho) for n in sizes]
    curve = additive_noise_gold(sizes, stats.norm(scale=noise_std))
    np.testing.assert_allclose(curve, exact, atol=ROUNDING)
    assert np.all(np.diff(curve) > 0)


def test_heavy_tailed_noise_makes_a_hump():
    """Quadrature against simulation; the fourth decimal of the exact curve is pinned too."""
    sizes = [1, 4, 16, 64, 256, 1024]
    curve = additive_noise_gold(sizes, stats.t(2))
    np.testing.assert_array_equal(curve.round(4) + 0.0, [0, 0.5555, 0.6876, 0.4671, 0.2378, 0.1179])
    rng = np.random.default_rng(2)
    for n, exact in zip(sizes[:-1], curve, strict=False):
        draws = 4_000_000 // max(n, 64)
        gold = rng.standard_normal((draws, n))
        best = np.argmax(gold + rng.standard_t(2, (draws, n)), axis=-1)
        assert gold[np.arange(draws), best].mean() == pytest.approx(exact, abs=mc(1.0, draws))


def subset_average(proxy, gold, n):
    """Mean over all n-subsets of the gold of the proxy-best, averaged over ties."""
    found = []
    for subset in combinations(range(proxy.size), n):
        best = max(proxy[list(subset)])
        found.append(np.mean([gold[i] for i in subset if proxy[i] == best]))
    return np.mean(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_unbiased_curve_equals_all_subsets_and_keeps_gold_with_its_answer(seed, size, levels):
    rng = np.random.default_rng(seed)
    proxy, gold = rng.integers(0, levels, size).astype(float), rng.standard_normal(size)
    expected = [subset_average(proxy, gold, n) for n in range(1, size + 1)]
    np.testing.assert_allclose(unbiased_curve(proxy, gold), expected, atol=EXACT)


def test_two_proxies_choose_different_answers_of_one_gold_list():
    gold = np.array([[3.0, 0.0, 6.0], [3.0, 0.0, 6.0]])
    proxy = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    curve = unbiased_curve(proxy, gold)
    np.testing.assert_allclose(curve[:, 0], 3.0, atol=EXACT)
    np.testing.assert_allclose(curve[:, -1], [3.0, 0.0], atol=EXACT)


def test_unbiased_curve_estimates_the_exact_law():
    reward, gold = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0, -1.0])
    log_reference = np.log(np.array([0.4, 0.3, 0.2, 0.1]))
    sampled = np.random.default_rng(3).choice(4, size=(20_000, 8), p=np.exp(log_reference))
    curves = unbiased_curve(reward[sampled], gold[sampled])
    for n in range(1, 9):
        exact = np.exp(best_of_n_law(reward, log_reference, n).log_policy) @ gold
        spread = float(curves[:, n - 1].std())
        assert curves[:, n - 1].mean() == pytest.approx(exact, abs=mc(spread, 20_000))


def test_weights_neither_overflow_nor_cancel_for_many_samples():
    """With gold = indicator of the position, entry n is C(i, n-1)/C(N, n)."""
    total, position = 3000, 2900
    gold = np.zeros(total)
    gold[position] = 1
    curve = unbiased_curve(np.arange(total, dtype=float), gold)
    n = np.arange(1, 200)

    def log_choose(m, k):
        return special.gammaln(m + 1) - special.gammaln(k + 1) - special.gammaln(m - k + 1)

    exact = np.exp(log_choose(position, n - 1) - log_choose(total, n))
    np.testing.assert_allclose(curve[: n.size], exact, rtol=ROUNDING)
    assert np.all(np.isfinite(curve))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: best_of_n_law(np.zeros(2), np.log(np.full(2, 0.5)), 0), "n"),
        (lambda: best_of_n_law(np.array([0.0, np.nan]), np.log(np.full(2, 0.5)), 2), "reward"),
        (lambda: best_of_n_law(np.zeros(2), np.zeros(2), 2), "exp"),
        (lambda: kl_upper_bound(0), "n"),
        (lambda: win_rate(0), "n"),
        (lambda: kl_efficiency(1), "n"),
        (lambda: gaussian_proxy_gold(4, 1.5), "rho"),
        (lambda: additive_noise_gold([1, 0], stats.t(2)), "sizes"),
        (lambda: unbiased_curve(np.array([1.0, np.inf]), np.zeros(2)), "proxy"),
        (lambda: unbiased_curve(np.zeros(2), np.array([1.0, np.nan])), "gold"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}"):
        call()


def test_unequal_shapes_are_refused_by_the_function_or_its_annotations():
    with pytest.raises((InputError, TypeError)):
        unbiased_curve(np.zeros((2, 3)), np.zeros(3))


def test_perfect_proxy_reaches_the_order_statistic():
    assert gaussian_proxy_gold(16, 1.0) == gaussian_max_mean(16)
    assert round(gaussian_proxy_gold(100, 0.708), 4) == 1.7754
