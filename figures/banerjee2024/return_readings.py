"""The true return of the variance-unaware and -aware policies in 1000 dimensions, two readings.

[banerjee2024, Figs. 3-5] fix r, draw R ~ N(r, S) and print eight numbers, but not r, pi0, eps or
how many draws. Nothing that we know of gives all eight.

closed form  improvements (pi - pi0)'r of the paper's formulas, which leave signs and sum of
             pi - pi0 free. r = +-s stands for rewards of root mean square s without relation to
             S. For s = .3075 and eps = .1934 the exact moments round to six of the numbers.
simplex      exact optima over the distributions around a uniform pi0, r ~ N(4.64, .135^2),
             eps = 1. There the two means agree, as printed for the high variability.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from figures.figure import Setting
from theory.harm import harm_probability_aware, harm_probability_unaware
from theory.montecarlo import simulate
from theory.return_law import aware_return, unaware_return
from theory.return_sampler import return_sampler
from theory.solvers.quadratic import simplex_budget
from theory.streaming import Histogram

Cdf = Callable[[np.ndarray], np.ndarray]

CELLS = 1000
RANGES = {"high": (3.0, 100.0), "low": (70.0, 100.0)}
METHODS = ("unaware", "aware")
PRINTED = {
    ("high", "unaware"): {"mean": 4.643, "sd": 0.13},
    ("high", "aware"): {"mean": 4.644, "sd": 0.04},
    ("low", "unaware"): {"mean": 0.14, "sd": 0.14},
    ("low", "aware"): {"mean": 0.13, "sd": 0.12},
}
"""The captions of [banerjee2024, Figs. 3 and 4]."""
REWARD_SIZE, EPS = 0.3075, 0.1934
DRAWS = {"toy": 200_000, "tiny": 1_000_000}
SIMPLEX_REWARD_MEAN, SIMPLEX_REWARD_SD, SIMPLEX_EPS = 4.64, 0.135, 1.0
SIMPLEX_DRAWS = {"toy": (20, 200), "tiny": (40, 1000)}
"""Reward vectors, and estimates for each."""
LEVEL = 0.05
COLUMNS = ("reading", "method", "statistic", "x", "value", "low", "high", "draws", "rewards")


def compute(setting: Setting, spread: str) -> pd.DataFrame:
    """Both readings of one range of variances, and what the paper prints."""
    printed = [
        ("printed", method, statistic, np.nan, value, np.nan, np.nan, 0, 0)
        for method in METHODS
        for statistic, value in PRINTED[spread, method].items()
    ]
    rows = closed_form(spread, setting) + simplex(spread, setting) + printed
    return pd.DataFrame(rows, columns=COLUMNS).assign(spread=spread)


def closed_form(spread: str, setting: Setting) -> list[tuple]:
    """Simulated and exact moments and P(harm), histogram, and the law that it should follow."""
    rng = setting.rng(f"closed form {spread}")
    reward = REWARD_SIZE * rng.choice((-1.0, 1.0), CELLS)
    variances = np.linspace(*RANGES[spread], CELLS)
    budgets = {"unaware": EPS, "aware": EPS * variances.min()}
    unaware = unaware_return(reward, variances, eps=budgets["unaware"], equalities=None)
    aware = aware_return(reward, variances, eps=budgets["aware"], equalities=None)
    moments = {"unaware": unaware.moments(), "aware": aware.moments()}
    harm = {
        "unaware": harm_probability_unaware(reward, variances, equalities=None),
        "aware": harm_probability_aware(reward, variances, equalities=None),
    }
    laws: dict[str, Cdf] = {
        "unaware": norm(moments["unaware"].mean, moments["unaware"].sd).cdf,
        "aware": aware.cdf,
    }
    edges = {m: moments[m].mean + moments[m].sd * np.linspace(-4, 4, 65) for m in METHODS}
    sampler = return_sampler(
        reward, variances, unaware_eps=budgets["unaware"], aware_eps=budgets["aware"]
    )
    draws = DRAWS[setting.scale]
    found = simulate(sampler, draws, rng=rng, workers=setting.workers, edges=edges)
    rows = []
    for method in METHODS:
        sample, event = found.moments[method], found.events[f"{method}_harm"]
        limits, sd = event.interval(LEVEL), sample.sd()
        half = norm.isf(LEVEL / 2) * sd / np.sqrt(2 * draws)
        statistics = {
            "mean": (sample.mean, *sample.interval(LEVEL)),
            "sd": (sd, sd - half, sd + half),
            "P(harm)": (event.frequency, float(limits.low), float(limits.high)),
            "exact mean": (moments[method].mean, np.nan, np.nan),
            "exact sd": (moments[method].sd, np.nan, np.nan),
            "exact P(harm)": (harm[method], np.nan, np.nan),
        }
        key = ("closed form", method)
        rows += [(*key, name, np.nan, *values, draws, 1) for name, values in statistics.items()]
        rows += _densities(key, found.histograms[method], draws, 1, laws[method])
    return rows


def simplex(spread: str, setting: Setting) -> list[tuple]:
    """Statistics of each reward vector, averaged over the vectors, and one pooled histogram."""
    rng = setting.rng(f"simplex {spread}")
    variances = np.linspace(*RANGES[spread], CELLS)
    reference = np.full(CELLS, 1 / CELLS)
    vectors, estimates = SIMPLEX_DRAWS[setting.scale]
    gains = {method: np.empty((vectors, estimates)) for method in METHODS}
    start = np.empty(vectors)
    for i in range(vectors):
        reward = rng.normal(SIMPLEX_REWARD_MEAN, SIMPLEX_REWARD_SD, CELLS)
        start[i] = reference @ reward
        estimate = reward + np.sqrt(variances) * rng.standard_normal((estimates, CELLS))
        for method, weight in (("unaware", np.ones(CELLS)), ("aware", variances)):
            budget = SIMPLEX_EPS * weight.min()
            policy = simplex_budget(estimate, weight, reference, budget).policy
            gains[method][i] = np.einsum("ij,j->i", policy - reference, reward)
    reach = np.quantile(np.abs(gains["unaware"]), 0.999)
    edges = np.linspace(-reach, reach, 42)
    rows = []
    for method, gain in gains.items():
        statistics = {
            "mean": gain.mean(1),
            "mean return": start + gain.mean(1),
            "sd": gain.std(1, ddof=1),
            "P(harm)": (gain <= 0).mean(1),
        }
        key, size = ("simplex", method), gain.size
        rows += [
            (*key, name, np.nan, *_over_vectors(values), size, vectors)
            for name, values in statistics.items()
        ]
        rows += _densities(key, Histogram.of(gain.ravel(), edges), size, vectors)
    return rows


def _over_vectors(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over reward vectors and its interval by Student's t."""
    count = len(values)
    half = t.isf(LEVEL / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return values.mean(), values.mean() - half, values.mean() + half


def _densities(
    key: tuple[str, str],
    histogram: Histogram,
    draws: int,
    rewards: int,
    cdf: Cdf | None = None,
) -> list[tuple]:
    """Observed density of each bin, and the one that a law gives it."""
    centres = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    curves = {"density": histogram.density()}
    if cdf is not None:
        curves["law"] = np.diff(cdf(histogram.edges)) / np.diff(histogram.edges)
    return [
        (*key, name, x, value, np.nan, np.nan, draws, rewards)
        for name, values in curves.items()
        for x, value in zip(centres, values, strict=True)
    ]
