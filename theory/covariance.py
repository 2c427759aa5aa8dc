"""Covariance across responses from few members: the sample estimate has rank at most k - 1."""

import numpy as np
from jaxtyping import Float

from theory import checks

METHODS = ("sample", "diagonal", "ledoit_wolf", "diagonal_plus_low_rank")
RESIDUAL_SHARE = 0.05
"""Least share of a cell's variance that `diagonal_plus_low_rank` leaves unexplained by factors."""


def estimate_covariance(
    members: Float[np.ndarray, "*batch n k"],
    variance: Float[np.ndarray, "*batch n"],
    method: str,
    *,
    ddof: int = 1,
    rank: int = 1,
) -> Float[np.ndarray, "*batch n n"]:
    """Covariance of the n responses over k members; `variance` is the diagonal to keep.

    'sample' and 'ledoit_wolf' estimate their own diagonal; 'diagonal' and
    'diagonal_plus_low_rank' keep `variance` (sample or shrunken) there, and the latter takes
    correlations from `rank` factors.
    """
    checks.one_of("method", method, METHODS)
    if method == "diagonal":
        return variance[..., None] * np.eye(variance.shape[-1])
    deviations = members - members.mean(-1, keepdims=True)
    if method == "ledoit_wolf":
        return ledoit_wolf(deviations)
    if method == "diagonal_plus_low_rank":
        return _diagonal_plus_low_rank(deviations, variance, rank)
    return deviations @ np.swapaxes(deviations, -1, -2) / (members.shape[-1] - ddof)


def ledoit_wolf(deviations: Float[np.ndarray, "*batch n k"]) -> Float[np.ndarray, "*batch n n"]:
    """Shrink the sample covariance S towards (tr S / n) I by the estimated optimal weight.

    S = sum_j x_j x_j' / k over the columns x_j of `deviations` (mean zero over k). The weight is
    min(1, sum_j |x_j x_j' - S|^2 / k^2 / |S - mu I|^2) in Frobenius norms. Positive definite
    unless all x_j are equal up to sign. Raises `InputError` for two members, which always are.
    [ledoit2004]
    """
    n, k = deviations.shape[-2:]
    if k < 3:
        raise checks.InputError(
            "members", "at least 3 for 'ledoit_wolf'", f"k = {k}", "use method='diagonal'"
        )
    sample = deviations @ np.swapaxes(deviations, -1, -2) / k
    mu = np.trace(sample, axis1=-2, axis2=-1)[..., None, None] / n
    target = mu * np.eye(n)
    spread = ((sample - target) ** 2).sum((-2, -1), keepdims=True)
    fourth = ((deviations**2).sum(-2) ** 2).sum(-1)[..., None, None]
    noise = fourth / k**2 - (sample**2).sum((-2, -1), keepdims=True) / k
    weight = np.divide(noise, spread, out=np.ones_like(spread), where=spread > 0).clip(0, 1)
    return weight * target + (1 - weight) * sample


def _diagonal_plus_low_rank(deviations: np.ndarray, variance: np.ndarray, rank: int) -> np.ndarray:
    n, k = deviations.shape[-2:]
    if not 1 <= rank <= min(n, k - 1):
        raise checks.InputError("rank", f"between 1 and min(n, k - 1) = {min(n, k - 1)}", rank)
    std = np.sqrt(variance)[..., None]
    length = np.sqrt((deviations**2).sum(-1, keepdims=True))
    standardised = np.divide(deviations, length, out=np.zeros_like(deviations), where=length > 0)
    left, singular, _ = np.linalg.svd(standardised, full_matrices=False)
    factors = left[..., :rank] * singular[..., None, :rank]
    explained = (factors**2).sum(-1, keepdims=True)
    factors = factors * np.sqrt(np.minimum(1, (1 - RESIDUAL_SHARE) / np.maximum(explained, 1e-300)))
    residual = 1 - (factors**2).sum(-1, keepdims=True)
    correlation = factors @ np.swapaxes(factors, -1, -2) + residual * np.eye(n)
    return std * correlation * np.swapaxes(std, -1, -2)
