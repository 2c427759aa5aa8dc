"""Which samples to relabel, and what reward a label stands for [ugda2025, secs 4.2-4.3]."""

import math

import numpy as np
from jaxtyping import Float, Int

from theory import checks
from theory.errors import InputError


def top_fraction(
    values: Float[np.ndarray, " samples"], threshold: float
) -> Int[np.ndarray, " kept"]:
    """Indices with Rank(value) > threshold, largest first [ugda2025, Eqs 9 and 12].

    Ranks are 1/N, ..., 1 ascending, so N - floor(threshold N) samples are kept; of tied values the
    earlier sample is kept first. Raises `InputError` for NaN or a threshold outside [0, 1].
    """
    checks.finite("values", values)
    if not 0 <= threshold <= 1:
        raise InputError("threshold", "a share in [0, 1]", threshold)
    dropped = math.floor(round(threshold * values.size, 9))
    return np.argsort(-values, kind="stable")[: values.size - dropped]


def select(
    variance: Float[np.ndarray, " samples"],
    influence: Float[np.ndarray, " samples"],
    gamma: float = 0.5,
    eta: float = 0.5,
) -> Int[np.ndarray, " kept"]:
    """Indices kept by variance (top 1 - gamma), then of those by influence (top 1 - eta).

    Most influential first; 25% of the samples by default [ugda2025, Eqs 9 and 12]. `influence` may
    be anything finite where the variance is too small to be kept. Several tasks are reduced to one
    influence before (the paper's maximum, or the mean).

    >>> select(np.array([1.0, 4.0, 3.0, 2.0]), np.array([9.0, 1.0, 2.0, 8.0])).tolist()
    [2]
    """
    checks.broadcastable("variance", variance, "influence", influence)
    uncertain = top_fraction(variance, gamma)
    return uncertain[top_fraction(influence[uncertain], eta)]


def quantile_targets(
    scores: Float[np.ndarray, "samples k"],
    labels: Int[np.ndarray, " samples"],
    *,
    grades: int = 5,
) -> Float[np.ndarray, "samples k"]:
    """Reward that each label 1..grades stands for on each member's own scale (corrected statement).

    Label j maps to the member's quantile at the mid-rank of the label: the share of labels below j
    plus half the share equal to j. Targets then have about the mean of the scores, whatever the
    label shares. The small noise that the paper adds shifts its squared loss by a constant only
    and is left out. Raises `InputError` for labels outside 1..grades or non-finite scores.
    """
    counts = _label_counts(scores, labels, grades)
    mid_rank = (np.cumsum(counts) - counts / 2) / counts.sum()
    return np.quantile(scores, mid_rank, axis=0)[labels - 1]


def quantile_targets_as_printed(
    scores: Float[np.ndarray, "samples k"],
    labels: Int[np.ndarray, " samples"],
    *,
    grades: int = 5,
) -> Float[np.ndarray, "samples k"]:
    """The literal Quantile_5 of [ugda2025, Eq. 13]: label j is the member's quantile at j/grades.

    The best label becomes the member's largest score, an outlier that grows with the sample, so
    targets are biased upward: by E max_N / 5, .69 standard deviations, for N = 2000 Gaussian
    scores and equal label shares. Same arguments and errors as `quantile_targets`.
    """
    _label_counts(scores, labels, grades)
    return np.quantile(scores, np.arange(1, grades + 1) / grades, axis=0)[labels - 1]


def _label_counts(scores: np.ndarray, labels: np.ndarray, grades: int) -> np.ndarray:
    checks.finite("scores", scores)
    if labels.min() < 1 or labels.max() > grades:
        raise InputError(
            "labels", f"integers 1..{grades}", f"a range of {labels.min()}..{labels.max()}"
        )
    return np.bincount(labels - 1, minlength=grades)
