"""What methods reach, without labels and with them, and what a label is worth, over seeds."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from llm_bridge.refining.methods import NAMES, NONE, UGDA

PPO = NAMES["ensemble_mean"]
MEANS = {"gold": "judged_gold", "variance": "judged_variance", "accuracy": "accuracy",
         "win": "win", "tie": "tie", "lose": "lose", "kl": "kl", "labels": "labels",
         "missing": "missing", "overlap": "overlap"}  # fmt: skip
"""Columns of the tables, by those of the records."""
BESIDE = ("gold", "variance", "accuracy")
PER, DRAWS, ALPHA = 100, 2000, 0.05


def last_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with what is found at the end, by objective, share and seed."""
    return rows.dropna(subset="labels")


def levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds by method and share of the interactions that is relabelled.

    Columns: seeds; gold, the true reward, with its standard error; variance of it over responses;
    accuracy of the reward models on held-out comparisons; win, tie and lose, shares of responses
    against those of the first objective without labels; KL in training; labels, those that are
    missing, and the expected overlap of the selection with that by exact gradients.
    """
    found = last_rows(rows).groupby(["objective", "share"], sort=False)
    there = {name: column for name, column in MEANS.items() if column in rows}
    table = found.agg(
        seeds=("seed", "nunique"), error=("judged_gold", "sem"),
        **{name: (column, "mean") for name, column in there.items()},
    )  # fmt: skip
    return table[["seeds", "gold", "error", *(name for name in there if name != "gold")]]


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """UGDA minus every other method, paired by seed, with 95% t intervals.

    Columns: objective, share, metric (gold, variance, accuracy), mean, low, high, seeds.
    """
    found = []
    for metric in BESIDE:
        known = _by_method(rows, MEANS[metric])
        ours = _ugda(known)
        for (objective, share), own in known.items():
            gap = None if ours is None else (known[ours] - own).dropna().to_numpy(float)
            if gap is not None and gap.size and (objective, share) != ours:
                found.append(
                    {"objective": objective, "share": share, "metric": metric, **_paired(gap)}
                )
    return pd.DataFrame(found)


def worth(rows: pd.DataFrame) -> pd.DataFrame:
    """What labels bring, by method that buys them, paired by seed.

    per_100:     gain in true reward over PPO without labels, by 100 labels.
    over_random: by 100 labels, gain over PPO after as many random ones.
    of_ugda:     gain over PPO without labels as a share of UGDA's: for PPO, what relabelling alone
                 brings, wherever the labels are. A ratio of means, its limits from a bootstrap over
                 seeds, which are wide, or say nothing, where UGDA's own gain may be zero.

    `_low` and `_high` are 95% limits, NaN for one seed.
    """
    known, counts = _by_method(rows, MEANS["gold"]), _by_method(rows, "labels")
    if (PPO, NONE) not in known:
        return pd.DataFrame()
    gains = {key: own - known[PPO, NONE] for key, own in known.items()}
    ours, found = _ugda(gains), []
    for (objective, share), own in gains.items():
        labels = float(counts[objective, share].mean())
        if labels == 0:
            continue
        row: dict[str, object] = {"objective": objective, "share": share, "labels": labels}
        row |= _named("per_100", PER / labels * own)
        if (PPO, share) in gains and objective != PPO:
            row |= _named("over_random", PER / labels * (own - gains[PPO, share]))
        if ours is not None:
            row |= _ratio("of_ugda", pd.concat([own, gains[ours]], axis=1).dropna().to_numpy())
        found.append(row)
    return pd.DataFrame(found)


def _by_method(rows: pd.DataFrame, column: str) -> dict[tuple[str, str], pd.Series]:
    """A column at the end, by method and share, then seed."""
    found = last_rows(rows).groupby(["objective", "share"], sort=False)
    return {
        (str(one), str(share)): own.set_index("seed")[column] for (one, share), own in found
    }  # fmt: skip


def _ugda(known: Mapping[tuple[str, str], pd.Series]) -> tuple[str, str] | None:
    """Its method and share, where there is one."""
    return next((key for key in known if key[0] == UGDA), None)


def _paired(values: Float[np.ndarray, " seeds"]) -> dict[str, float]:
    low = high = np.nan
    if len(values) > 1:
        reach = stats.t.ppf(1 - ALPHA / 2, len(values) - 1) * stats.sem(values)
        low, high = values.mean() - reach, values.mean() + reach
    return {"mean": values.mean(), "low": low, "high": high, "seeds": len(values)}


def _named(name: str, values: pd.Series) -> dict[str, float]:
    found = _paired(values.dropna().to_numpy(float))
    return {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def _ratio(name: str, both: Float[np.ndarray, "seeds 2"]) -> dict[str, float]:
    """Of the means of two columns."""
    rng, low, high = np.random.default_rng(0), np.nan, np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.divide(*both.mean(0))
        if len(both) > 1:
            drawn = both[rng.integers(len(both), size=(DRAWS, len(both)))].mean(1)
            low, high = np.nanquantile(drawn[:, 0] / drawn[:, 1], [ALPHA / 2, 1 - ALPHA / 2])
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
