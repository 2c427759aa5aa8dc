"""How much a label is expected to tell about rewards that are known up to a normal posterior."""

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError


def information_gains(
    covariance: Float[np.ndarray, "*runs samples samples"], noise: float, count: int
) -> Float[np.ndarray, "*runs samples"]:
    """Expected information of a label of each sample, in nats, when the best are asked in turn.

    A label is the reward plus normal noise of standard deviation `noise`, so one of a sample with
    posterior variance v tells ln(1 + v / noise^2) / 2. The first `count` samples are chosen one by
    one, each for what it adds to those before; their gains are in that order, and the others' are
    what they would still add, which is less [nemhauser1978: within 1 - 1/e of the best set].

    Duplicates are worth little here, while a ranking by variance takes all of them.
    Raises `InputError` for a noise <= 0 or a count outside of 1..samples.
    """
    checks.positive_number("noise", noise)
    checks.finite("covariance", covariance)
    if not 1 <= count <= covariance.shape[-1]:
        raise InputError("count", f"between 1 and {covariance.shape[-1]}", count)
    left = covariance.reshape(-1, *covariance.shape[-2:]).astype(float)
    runs = np.arange(len(left))
    gains = np.full(left.shape[:2], np.nan)
    for _ in range(count):
        now = _nats(left, noise)
        best = np.where(np.isnan(gains), now, -np.inf).argmax(-1)
        gains[runs, best] = now[runs, best]
        column = left[runs, :, best]
        scale = column[runs, best] + noise**2
        left = left - column[:, :, None] * column[:, None, :] / scale[:, None, None]
    return np.where(np.isnan(gains), _nats(left, noise), gains).reshape(covariance.shape[:-1])


def _nats(covariance: np.ndarray, noise: float) -> np.ndarray:
    variance = np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0)
    return np.asarray(np.log1p(variance / noise**2) / 2)
