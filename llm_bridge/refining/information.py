"""Expected information of a label of a text, by a posterior over a linear head of a reward model.

The head is that of a Bradley-Terry model on features that are held fixed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError

NOISE = 1.0
"""Standard deviation of the reward that a grade stands for, in those of the reference's scores."""


class Features(NamedTuple):
    """What a head sees of the samples, and of both sides of comparisons."""

    samples: Float[np.ndarray, "samples width"]
    chosen: Float[np.ndarray, "pairs width"]
    rejected: Float[np.ndarray, "pairs width"]


def head_posterior(
    features: Features, margins: Float[np.ndarray, " pairs"], scale: float
) -> Float[np.ndarray, "width width"]:
    """Laplace covariance of the weights w of a head whose scores are w' f, in units of `scale`.

    The curvature of the Bradley-Terry loss is p (1 - p) scale^2 d d' a comparison, of d = f(chosen)
    - f(rejected) and p = sigma(margin). The prior is normal, with equal variances that give the
    samples' scores variance 1 on average.

    margins: raw ones, where the posterior has its mode. Raises `InputError` for a scale <= 0.
    """
    checks.positive_number("scale", scale)
    checks.finite("margins", margins)
    gap = features.chosen - features.rejected
    odds = 1 / (4 * np.cosh(margins / 2) ** 2)
    precision = np.square(features.samples).sum(1).mean() * np.eye(gap.shape[1])
    return np.linalg.inv(precision + scale**2 * (odds[:, None] * gap).T @ gap)


def head_information(
    samples: Float[np.ndarray, "samples width"],
    covariance: Float[np.ndarray, "width width"],
    noise: float,
    count: int,
) -> Float[np.ndarray, " samples"]:
    """`theory.information.information_gains` of the scores of samples, without their covariance.

    Labels are asked in turn, each of the sample that tells most beside those before; what one tells
    is taken from the covariance of the head, at width^2 numbers instead of samples^2. Raises
    `InputError` for a noise <= 0 or a count outside of 1..samples.
    """
    checks.positive_number("noise", noise)
    if not 1 <= count <= len(samples):
        raise InputError("count", f"between 1 and {len(samples)}", count)
    left = np.einsum("si,ij,sj->s", samples, covariance, samples)
    gains, covariance = np.full(len(samples), np.nan), covariance.copy()
    for _ in range(count):
        now = np.log1p(left / noise**2) / 2
        best = int(np.where(np.isnan(gains), now, -np.inf).argmax())
        gains[best] = now[best]
        along = covariance @ samples[best]
        size = left[best] + noise**2
        covariance -= np.outer(along, along) / size
        left = np.maximum(left - (samples @ along) ** 2 / size, 0)
    return np.where(np.isnan(gains), np.log1p(left / noise**2) / 2, gains)
