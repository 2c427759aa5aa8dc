"""How good reward models are: from margins on labelled pairs to numbers with intervals."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import special, stats

from llm_bridge.data.pairs import Pairs
from llm_bridge.rewards.fusion import Scorer, scored
from theory import checks
from theory.arrays import to_numpy
from theory.errors import InputError
from theory.intervals import Interval, clopper_pearson, mean_interval
from theory.preferences import log_sigmoid

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Nominal shares that intervals are asked to cover."""
MEAN = "mean"
"""Name of the row of the members' mean."""


class Auc(NamedTuple):
    """P(a value of one group is above one of the other), ties by half, and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What margins say of an ensemble; intervals are in the columns low and high.

    members:      a row for the mean and each member: accuracy (a tie is wrong) and its interval,
                  mean margin and its interval (mean_low, mean_high), and of the Bradley-Terry
                  probability sigma(margin) the loss in nats, the Brier score and the expected
                  calibration error (ece).
    reliability:  bins of pairs by confidence of the mean: confidence, share right, interval, pairs.
    disagreement: `auc` of the members' std, wrong pairs of the mean against right ones; None where
                  all are right, all wrong, or there is one member. It is model-free, but a std that
                  grows with the margin brings it below 1/2, as large margins are rarely wrong.
    error_rank:   Spearman correlation of the members' std with |mean - known|, the error itself;
                  None without known margins or with one member. Unlike 1 - sigma(mean), that error
                  is no function of the mean alone.
    coverage:     share of known margins within mean +- z std of members, by nominal level; None
                  likewise. A few members need a wider interval than z gives.
    """

    members: pd.DataFrame
    reliability: pd.DataFrame
    disagreement: Auc | None
    error_rank: float | None
    coverage: pd.DataFrame | None


def margins(score: Scorer, pairs: Pairs) -> Float[np.ndarray, "pairs k"]:
    """Score of the chosen response less that of the rejected one, of every member.

    Bradley-Terry probabilities are of raw margins: pass an ensemble, not a `Normaliser`. Margins of
    BRME are no logits, and their losses and calibration mean nothing.
    """
    won, lost = (
        scored(score, pairs.prompts, texts, tensors=False).members
        for texts in (pairs.chosen, pairs.rejected)
    )
    return to_numpy(won - lost).astype(float)


def evaluate(
    margin: Float[np.ndarray, "pairs k"],
    *,
    known: Float[np.ndarray, " pairs"] | None = None,
    bins: int = 10,
    alpha: float = 0.05,
) -> Evaluation:
    """Accuracy, calibration, disagreement and coverage of members and of their mean.

    margin: of the labelled winner over the loser; known: the true margin, in the same units, which
    for Bradley-Terry models are logits of the labels. Raises `InputError` for no pairs or numbers
    that are not finite.
    """
    checks.finite("margin", margin)
    checks.positive("pairs", len(margin))
    mean = margin.mean(1)
    names: list[Any] = [MEAN, *range(margin.shape[1])]
    rows = [_row(column, bins, alpha) for column in (mean, *margin.T)]
    members = pd.DataFrame(rows, index=pd.Index(names, name="member"))
    table = reliability(mean, bins=bins, alpha=alpha)
    if margin.shape[1] == 1:
        return Evaluation(members, table, None, None, None)
    std, wrong = margin.std(1, ddof=1), mean <= 0
    split = wrong.any() and not wrong.all()
    told = auc(std[wrong], std[~wrong], alpha=alpha) if split else None
    if known is None:
        return Evaluation(members, table, told, None, None)
    rank = float(stats.spearmanr(std, np.abs(mean - known)).statistic)
    return Evaluation(members, table, told, rank, coverage(mean, std, known, alpha=alpha))


def _row(margin: Float[np.ndarray, " pairs"], bins: int, alpha: float) -> dict[str, float]:
    right = clopper_pearson(int((margin > 0).sum()), len(margin), alpha)
    spread = float(margin.std(ddof=1)) if len(margin) > 1 else np.inf
    middle = mean_interval(float(margin.mean()), spread, len(margin), alpha)
    return {
        "accuracy": float((margin > 0).mean()),
        "low": float(right.low),
        "high": float(right.high),
        "mean_margin": float(margin.mean()),
        "mean_low": middle.low,
        "mean_high": middle.high,
        "loss": float(-log_sigmoid(margin).mean()),
        "brier": float((special.expit(-margin) ** 2).mean()),
        "ece": calibration_error(margin, bins=bins),
    }


def reliability(
    margin: Float[np.ndarray, " pairs"], *, bins: int = 10, alpha: float = 0.05
) -> pd.DataFrame:
    """Bins of equally many pairs: confidence sigma(|margin|) against the share that is right.

    Labels carry no order of the two responses, so what is calibrated is the probability of the
    response that the model prefers. A tie, at confidence 1/2, is half right; its half is left out
    of the interval's count.
    """
    checks.positive("bins", bins)
    order = np.argsort(np.abs(margin), kind="stable")
    parts = [margin[rows] for rows in np.array_split(order, min(bins, len(margin)))]
    pairs = np.array([len(part) for part in parts])
    limits = clopper_pearson(np.array([(part > 0).sum() for part in parts]), pairs, alpha)
    return pd.DataFrame(
        {
            "confidence": [special.expit(np.abs(part)).mean() for part in parts],
            "right": [((np.sign(part) + 1) / 2).mean() for part in parts],
            "low": limits.low,
            "high": limits.high,
            "pairs": pairs,
        }
    )


def calibration_error(margin: Float[np.ndarray, " pairs"], *, bins: int = 10) -> float:
    """Mean over pairs of |confidence - share right| of their bin, see `reliability`.

    Not negative, so that it is above zero even for a calibrated model, by about the width of the
    bins' intervals.
    """
    table = reliability(margin, bins=bins)
    gaps = (table.confidence - table.right).abs()
    return float(np.average(gaps, weights=table.pairs))


def auc(
    first: Float[np.ndarray, " first"], second: Float[np.ndarray, " second"], *, alpha: float = 0.05
) -> Auc:
    """P(first > second) + P(equal) / 2 for independent draws of each [delong1988].

    1/2 where the groups cannot be told apart. Raises `InputError` for an empty group.
    """
    sizes = len(first), len(second)
    if min(sizes) == 0:
        raise InputError("first, second", "not empty", sizes)
    above = _placements(first, second), 1 - _placements(second, first)
    variance = sum(
        float(part.var(ddof=1)) / len(part) if len(part) > 1 else np.inf for part in above
    )
    value = float(above[0].mean())
    return Auc(value, mean_interval(value, variance**0.5, 1, alpha))


def _placements(
    values: Float[np.ndarray, " values"], others: Float[np.ndarray, " others"]
) -> Float[np.ndarray, " values"]:
    """Share of the others that each value is above, ties by half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(others))


def coverage(
    mean: Float[np.ndarray, " pairs"],
    std: Float[np.ndarray, " pairs"],
    known: Float[np.ndarray, " pairs"],
    *,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Share of known margins within mean +- z std, at nominal `LEVELS`."""
    z = stats.norm.ppf((1 + np.array(LEVELS)) / 2)
    inside: Bool[np.ndarray, "levels pairs"] = np.abs(known - mean) <= z[:, None] * std
    limits = clopper_pearson(inside.sum(1), len(mean), alpha)
    return pd.DataFrame(
        {
            "nominal": LEVELS, "covered": inside.mean(1), "low": limits.low, "high": limits.high,
            "pairs": len(mean),
        }
    )  # fmt: skip
