"""Numbers that the corrected statements quote, and counterexamples under other seeds."""

import numpy as np
import pytest
from scipy import stats

from tests.tolerance import ROUNDING
from theory.best_of_n import additive_noise_gold, kl_upper_bound
from theory.order_statistics import gaussian_max_mean, gaussian_max_std
from theory.overoptimisation import fit
from theory.theorems import CLAIMS, Trial

TRIAL = Trial(draws=20_000)

QUOTED = {
    "minimum_of_each_sample": {"beta=1.0": ".768", "beta=0.3": ".500", "beta=0.05": ".500"},
    "over_scoring_is_worse": {"p, benchmarks": ".035", "p, families": ".065"},
    "constant_reward_has_no_gradient": {
        ", 1 a token": ".2500", "-1 a token": "-.2500", "gamma=.99": "-.0025", "gamma=1": ".0000",
    },
    "expected_reward_of_the_product": {"times the product": ".10155", "normalised": "1.4"},
    "prefactor_stops_training": {
        "s/b=1000": ".2909", "limit": ".2913", "s = 1 E[s]": ".995", "s = 4 E[s]": ".980",
    },
    "stopped_gradient_has_one_outcome": {"(.05, .95)": "1.8746", "(.999, .001)": ".0529"},
    "adam_recursion": {"step 1": "1.00", "step 100": "1.00"},
    "parameter_counts": {
        "single": "20215259136", "linear": "6738427904", "LoRA": "6751010816",
    },
    "best_of_n_kl": {"2 responses": ".45936"},
    "best_of_n_win_rate": {"2 responses": ".6250"},
    "laws_have_one_peak": {
        "peak d, bon": "1.8", "peak, bon": ".81", "peak d, rl": "13.4637", "peak, rl": "3.3659",
    },
    "perfect_proxy_has_no_slope": {"b of best-of-n": "-.026", "b of RL": ".000"},
    "uwo_is_a_robust_mean": {"lam=0.25": ".5330", "lam=1.0": ".2027"},
    "lcb_is_a_robust_mean": {"=0.3": ".25234", "=1.0": "-.0461", "=4.0": "-.3000"},
    "entropic_mean_is_quadratic": {"t=0.5": ".2362"},
    "rlhf_beats_sft": {"below": "3", "equal": "2"},
}  # fmt: skip
"""Claim, the end of the name of its quantity, what is observed there as it is quoted."""


@pytest.mark.parametrize("key", QUOTED)
def test_quoted_numbers_are_observed(key):
    evidence = CLAIMS[key].check(TRIAL).evidence
    for name, quoted in QUOTED[key].items():
        entry = next(e for e in evidence if name in e.quantity)
        decimals = len(quoted.partition(".")[2])
        assert round(entry.observed, decimals) == pytest.approx(float(quoted), abs=ROUNDING)


PRINTED = {
    "adam_recursion": {"step 2": "1.64", "step 3": "2.15", "step 100": ".0000766"},
    "uwo_is_a_robust_mean": {"lam=1.0": ".0320"},
    "lcb_is_a_robust_mean": {"=1.0": "-.1173"},
    "best_of_n_kl": {"2 responses": ".63629"},
}


@pytest.mark.parametrize("key", PRINTED)
def test_printed_formulas_give_the_quoted_wrong_numbers(key):
    evidence = CLAIMS[key].check(TRIAL).evidence
    for name, quoted in PRINTED[key].items():
        entry = next(e for e in evidence if name in e.quantity)
        decimals = len(quoted.partition(".")[2])
        assert round(entry.printed, decimals) == pytest.approx(float(quoted), abs=ROUNDING)


def test_quoted_laws():
    """Numbers that stand in statements and come from the exact laws alone."""
    gold = additive_noise_gold([4, 16, 64, 256, 1024], stats.t(2))
    assert gold.round(4).tolist() == [0.5555, 0.6876, 0.4671, 0.2378, 0.1179]
    assert round(gaussian_max_mean(2000) / 5, 2) == 0.69
    assert [round(gaussian_max_std(k), 4) for k in (2, 3, 4, 5, 10)] == [
        0.8256, 0.7480, 0.7012, 0.6690, 0.5868,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "slope"),
    [((2, 16), -0.0222), ((2, 100), -0.0250), ((2, 1024), -0.0262), ((50, 200), -0.0284)],
)
def test_the_null_slope_of_best_of_n_depends_on_the_range(sizes, slope):
    n = np.unique(np.geomspace(*sizes, 30).round().astype(int))
    kl = np.array([kl_upper_bound(int(m)) for m in n])
    curve = fit(kl, np.array([gaussian_max_mean(int(m)) for m in n]), "bon")
    assert curve.is_null()
    assert round(curve.b, 4) == slope


SAMPLED = (
    "minimum_is_the_stable_choice", "imperfect_critic_has_a_gradient", "brme_sigma_gradient",
    "brme_sigma_is_confidence", "variance_with_one_over_m", "sign_projection_scale",
    "projected_selection", "maximum_or_mean_of_subtasks", "quantiles_of_labels",
    "mean_has_lower_variance", "lcb_needs_a_denominator", "best_of_n_kl", "best_of_n_win_rate",
    "rl_gains_less_than_best_of_n", "proxy_finally_misleads",
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("key", SAMPLED)
def test_other_seeds_confirm_the_verdict(key, seed):
    claim = CLAIMS[key]
    assert claim.confirmed(claim.check(Trial(draws=20_000, seed=seed)))
