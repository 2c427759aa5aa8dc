"""Means and spreads of true returns over trained policies, and how surely methods differ."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from figures.study import Estimate
from theory.nested import nested_bootstrap, variance_components

DRAWS, LEVEL = 1000, 0.05
AGAINST = "vanilla"


def log_sd_ratio(returns: np.ndarray) -> float:
    """ln of the first method's standard deviation over all policies against the second's."""
    first, second = np.moveaxis(returns, -1, 0)
    with np.errstate(divide="ignore"):  # a resample of one policy alone has no spread
        return float(np.log(first.std(ddof=1)) - np.log(second.std(ddof=1)))


def mean_difference(returns: np.ndarray) -> float:
    """Mean of the first method minus that of the second."""
    first, second = np.moveaxis(returns, -1, 0)
    return float(first.mean() - second.mean())


STATISTICS: dict[str, tuple[Callable[[np.ndarray], float], Callable[[float], float]]] = {
    "sd ratio": (log_sd_ratio, np.exp),
    "mean difference": (mean_difference, float),
}
"""What is averaged or resampled, and how it is reported."""


def over_sets(numbers: Any) -> Estimate:
    """Mean of one number a data set, with a t interval, as there are few."""
    values = np.asarray(numbers, float)
    half = stats.t.ppf(1 - LEVEL / 2, len(values) - 1) * stats.sem(values)
    return Estimate(values.mean(), values.mean() - half, values.mean() + half)


def returns(rows: pd.DataFrame, method: str) -> np.ndarray:
    """True returns (data sets, members, trials) of one method's final policies."""
    part = rows[rows.method == method].sort_values(["data", "member", "trial"])
    counts = [part[name].nunique() for name in ("data", "member", "trial")]
    return part.gold.to_numpy().reshape(counts)


def summaries(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and components of variance of each method, averaged over data sets."""
    found = []
    for method in dict.fromkeys(rows.method):
        values = returns(rows, method)
        flat, parts = values.reshape(len(values), -1), variance_components(values)
        numbers = {
            "mean": flat.mean(), "sd": np.sqrt(flat.var(-1, ddof=1).mean()),
            "between": parts.between.mean(), "within": parts.within.mean(),
            "shared": parts.between.mean() / (parts.between.mean() + parts.within.mean()),
        }  # fmt: skip
        found += [{"method": method, "statistic": name, "value": value, "sets": len(values)}
                  for name, value in numbers.items()]  # fmt: skip
    return pd.DataFrame(found)


def over_data_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Methods against vanilla: one number a data set, and their mean with a t interval."""
    found: list[dict[str, object]] = []
    for method, name, pairs in _pairs(rows):
        statistic, reported = STATISTICS[name]
        values = np.array([statistic(study) for study in pairs])
        limits = Estimate(*(reported(limit) for limit in over_sets(values)))
        labels = {"method": method, "statistic": name, "sets": len(values)}
        found.append({**labels, **limits._asdict()})
        found += [{**labels, "data": seed, "mean": reported(value)}
                  for seed, value in zip(sorted(set(rows.data)), values, strict=True)]  # fmt: skip
    return pd.DataFrame(found).rename(columns={"mean": "value"})


def within_one(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same of the policies of one data set: members are resampled, then their trials."""
    return _bootstrapped(rows, rng, lambda pairs: pairs[0])


def redrawn(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same with all data sets in one pool: they are resampled, then their members."""
    return _bootstrapped(rows, rng, lambda pairs: pairs[:, :, 0])


def _bootstrapped(
    rows: pd.DataFrame, rng: np.random.Generator, nested: Callable[[np.ndarray], np.ndarray]
) -> pd.DataFrame:
    found = []
    for method, name, pairs in _pairs(rows):
        statistic, reported = STATISTICS[name]
        draws = nested_bootstrap(nested(pairs), statistic, rng=rng, draws=DRAWS)
        low, high = np.quantile(draws, (LEVEL / 2, 1 - LEVEL / 2))
        found.append({"method": method, "statistic": name,
                      "value": reported(statistic(nested(pairs))), "low": reported(low),
                      "high": reported(high)})  # fmt: skip
    return pd.DataFrame(found)


def _pairs(rows: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Method, statistic and returns (data sets, members, trials, 2) beside vanilla's."""
    base = returns(rows, AGAINST)
    return [
        (method, name, np.stack([returns(rows, method), base], axis=-1))
        for method in dict.fromkeys(rows.method)
        if method != AGAINST
        for name in STATISTICS
    ]
