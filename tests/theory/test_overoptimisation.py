import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, ROUNDING
from theory.best_of_n import kl_upper_bound
from theory.errors import InputError
from theory.order_statistics import gaussian_max_mean
from theory.overoptimisation import GaoCurve, fit

KL = np.linspace(0.1, 30, 40)


def test_published_peaks():
    bon = GaoCurve("bon", 0.9, 0.25)
    assert (bon.peak, bon.peak_value) == pytest.approx((1.8, 0.81), abs=EXACT)
    rl = GaoCurve("rl", 0.9, 0.25)
    assert (round(rl.peak, 4), round(rl.peak_value, 4)) == (13.4637, 3.3659)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["bon", "rl"]), st.floats(0.1, 2), st.floats(0.1, 2))
def test_peak_and_zero_are_those_of_the_curve(kind, a, b):
    curve = GaoCurve(kind, a, b)
    peak = np.array([curve.peak**2])
    assert curve(peak)[0] == pytest.approx(curve.peak_value, rel=ROUNDING)
    assert curve(np.array([curve.zero**2]))[0] == pytest.approx(0, abs=ROUNDING * curve.zero)
    nearby = curve(curve.peak**2 * np.array([0.5, 0.9, 1.1, 2.0]))
    assert np.all(nearby < curve.peak_value)


@pytest.mark.parametrize("kind", ["bon", "rl"])
def test_no_gold_at_the_reference_and_none_above_without_a_turn(kind):
    assert GaoCurve(kind, 1.0, 0.5)(np.array([0.0]))[0] == 0
    for b in (0.0, -0.1):
        curve = GaoCurve(kind, 1.0, b)
        assert curve.peak == curve.peak_value == curve.zero == math.inf
    assert GaoCurve("rl", 1.0, 1e-5).peak == math.inf
    assert GaoCurve("bon", -1.0, 1.0).peak == 0


@pytest.mark.parametrize("kind", ["bon", "rl"])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 4, KL.size)])
def test_fit_recovers_an_exact_curve(kind, weights):
    found = fit(KL, GaoCurve(kind, 0.7, 0.2)(KL), kind, weights=weights)
    assert (found.a, found.b) == pytest.approx((0.7, 0.2), abs=ROUNDING)
    assert found.a_error < ROUNDING
    assert found.b_error < ROUNDING


def test_weights_are_repetitions():
    rng = np.random.default_rng(0)
    gold = GaoCurve("bon", 0.7, 0.2)(KL) + 0.1 * rng.standard_normal(KL.size)
    count = rng.integers(1, 4, KL.size)
    weighted = fit(KL, gold, "bon", weights=count.astype(float))
    repeated = fit(np.repeat(KL, count), np.repeat(gold, count), "bon")
    assert (weighted.a, weighted.b) == pytest.approx((repeated.a, repeated.b), abs=ROUNDING)


@pytest.mark.parametrize("kind", ["bon", "rl"])
def test_standard_errors_are_the_spread_over_repeats(kind):
    rng, repeats = np.random.default_rng(1), 2000
    clean = GaoCurve(kind, 0.7, 0.2)(KL)
    noise = 0.1 * np.sqrt(KL) * rng.standard_normal((repeats, KL.size))
    fits = [fit(KL, clean + row, kind) for row in noise]
    for value, error in (("a", "a_error"), ("b", "b_error")):
        spread = np.std([getattr(f, value) for f in fits])
        claimed = np.sqrt(np.mean([getattr(f, error) ** 2 for f in fits]))
        assert spread == pytest.approx(claimed, rel=5 / np.sqrt(2 * repeats))


def test_a_perfect_gaussian_proxy_is_null_and_a_humped_curve_is_not():
    sizes = np.unique(np.geomspace(2, 1000, 60).astype(int))
    kl = np.array([kl_upper_bound(int(n)) for n in sizes])
    gold = np.array([gaussian_max_mean(int(n)) for n in sizes])
    found = fit(kl, gold, "bon")
    assert (round(found.a, 2), round(found.b, 3)) == (1.27, -0.027)
    assert found.is_null()
    assert np.max(np.abs(found(kl) - gold) / np.sqrt(kl)) < 0.004
    assert not fit(kl, GaoCurve("bon", 1.27, 0.1)(kl), "bon").is_null()
    tilted = fit(kl, 0.7 * np.sqrt(2 * kl), "rl")
    assert (tilted.a, tilted.b) == pytest.approx((0.7 * math.sqrt(2), 0), abs=ROUNDING)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: GaoCurve("ppo", 1.0, 1.0), "kind"),
        (lambda: GaoCurve("rl", 1.0, 1.0)(np.array([-1.0])), "kl"),
        (lambda: fit(KL, KL, "ppo"), "kind"),
        (lambda: fit(KL * 0, KL, "rl"), "kl"),
        (lambda: fit(KL * np.nan, KL, "rl"), "kl"),
        (lambda: fit(KL, KL * np.inf, "rl"), "gold"),
        (lambda: fit(np.ones(5), np.ones(5), "rl"), "kl"),
        (lambda: fit(KL, KL, "rl", weights=-KL), "weights"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()


def test_unequal_lengths_are_refused_by_the_function_or_its_annotations():
    with pytest.raises((InputError, TypeError)):
        fit(KL, KL[1:], "bon")
    with pytest.raises((InputError, TypeError)):
        fit(KL, KL, "bon", weights=KL[1:])
