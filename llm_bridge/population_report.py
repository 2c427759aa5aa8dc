"""What the true returns of many trained policies say: spread, its sources, and how surely."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from theory.errors import InputError
from theory.intervals import Interval, clopper_pearson
from theory.nested import nested_bootstrap, variance_components

DRAWS, LEVEL = 2000, 0.05


def returns(rows: pd.DataFrame, method: str) -> Float[np.ndarray, "members trials 2"]:
    """Judged true return of each final policy of a method, and its standard error.

    Members of whom a policy diverged are left out whole. Raises `InputError` where fewer than two
    are left.
    """
    part = rows[(rows.objective == method) & rows.judged_gold.notna()]
    trials = rows.trial.nunique()
    whole = part.groupby("member").filter(lambda own: len(own) == trials)
    if whole.member.nunique() < 2:
        raise InputError("policies", f"two members or more with {trials} of {method}", len(whole))
    ordered = whole.sort_values(["member", "trial"])
    values = ordered[["judged_gold", "judged_error"]].to_numpy()
    return values.reshape(-1, trials, 2)


def spread(rows: pd.DataFrame, reference: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Of each method: mean and spread over policies, what the spread is made of, and harm.

    sd: over policies, as judged; median and iqr, the distance between quartiles, are moved less by
    a few that ran away. noise: of judging, from its standard errors. between, within:
    standard deviations between members, and of the trials of a member less the noise; 0 where an
    estimate of their square is negative. true_sd: of both together. worse: share of policies with
    less true return than the reference, with an interval.
    """
    start, found = float(reference.judged_gold.mean()), []
    for method in dict.fromkeys(rows.objective):
        values, errors = np.moveaxis(returns(rows, method), -1, 0)
        parts = _parts(np.stack([values, errors], axis=-1))
        harm = harmed(values, start, rng)
        kl = rows[rows.objective == method].judged_kl
        found.append({
            "method": method, "policies": values.size, "kl": kl.mean(), "kl_sd": kl.std(),
            "mean": values.mean(), "sd": values.std(ddof=1), "median": np.median(values),
            "iqr": _iqr(values), **parts,
            "worse": (values < start).mean(), "worse_low": harm.low, "worse_high": harm.high,
        })  # fmt: skip
    return pd.DataFrame(found)


def contrasts(rows: pd.DataFrame, base: str, rng: np.random.Generator) -> pd.DataFrame:
    """Of each method against one: difference of means, ratios of spreads, with 95% intervals.

    Members are resampled, then their trials, the same for both methods, which share reward models
    and random numbers. The ratio of true sds has the noise of judging taken off; where a resample
    leaves nothing, it counts as a ratio of 0 or infinity.
    """
    found = []
    first = returns(rows, base)
    for method in dict.fromkeys(rows.objective):
        if method == base:
            continue
        both = np.stack([returns(rows, method), first], axis=2)
        for name, statistic in STATISTICS.items():
            draws = nested_bootstrap(both, statistic, rng=rng, draws=DRAWS)
            low, high = np.quantile(draws, (LEVEL / 2, 1 - LEVEL / 2), method="inverted_cdf")
            value = statistic(both)
            found.append({"method": method, "against": base, "statistic": name, "value": value,
                          "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(found)


def harmed(
    values: Float[np.ndarray, "members trials"], start: float, rng: np.random.Generator
) -> Interval:
    """Of the share of policies below a return: members are resampled, then their trials.

    Where none or all are below, an exact interval that takes a member as one draw.
    """
    below = (values < start).astype(float)
    if below.all() or not below.any():
        members = len(values)
        return clopper_pearson(int(below.mean()) * members, members, LEVEL)
    draws = nested_bootstrap(below, lambda drawn: float(drawn.mean()), rng=rng, draws=DRAWS)
    return Interval(*np.quantile(draws, (LEVEL / 2, 1 - LEVEL / 2)))


def _parts(table: Float[np.ndarray, "members trials 2"]) -> dict[str, float]:
    values, errors = table[..., 0], table[..., 1]
    noise = float((errors**2).mean())
    if values.shape[1] < 2:
        between, within = values.mean(1).var(ddof=1) - noise, 0.0
    else:
        parts = variance_components(values)
        between, within = float(parts.between), float(parts.within) - noise
    roots = {"noise": noise, "between": between, "within": within, "true_sd": between + within}
    return {name: float(np.sqrt(max(square, 0.0))) for name, square in roots.items()}


def _sd_ratio(both: Float[np.ndarray, "members trials methods 2"]) -> float:
    return _ratio(*(float(both[:, :, method, 0].std(ddof=1)) for method in (0, 1)))


def _true_sd_ratio(both: Float[np.ndarray, "members trials methods 2"]) -> float:
    return _ratio(*(_parts(both[:, :, method])["true_sd"] for method in (0, 1)))


def _iqr_ratio(both: Float[np.ndarray, "members trials methods 2"]) -> float:
    return _ratio(*(_iqr(both[:, :, method, 0]) for method in (0, 1)))


def _iqr(values: Float[np.ndarray, "members trials"]) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)


def _ratio(first: float, second: float) -> float:
    return first / second if second else (1.0 if first == 0 else np.inf)


def _difference(both: Float[np.ndarray, "members trials methods 2"]) -> float:
    return float((both[:, :, 0, 0] - both[:, :, 1, 0]).mean())


def _median_difference(both: Float[np.ndarray, "members trials methods 2"]) -> float:
    first, second = np.median(both[..., 0], axis=(0, 1))
    return float(first - second)


STATISTICS: dict[str, Callable[[Any], float]] = {
    "mean difference": _difference,
    "sd ratio": _sd_ratio,
    "true sd ratio": _true_sd_ratio,
    "median difference": _median_difference,
    "iqr ratio": _iqr_ratio,
}
"""What is resampled."""
