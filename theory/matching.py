"""The beta at which trained policies end at one distance from the reference, from a scan."""

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError


def matched_beta(
    betas: Float[np.ndarray, " scan"], distances: Float[np.ndarray, " scan"], target: float
) -> float:
    """Where the final KL of policies trained at several beta first reaches a target.

    betas: distinct, in any order; distances: the KL in nats at which each of them ended. Coming
    from the strongest penalty, the first crossing is interpolated in ln(KL) against ln(beta).
    Plain KL need not fall as beta grows, so that other crossings may follow; the first is the one
    that moves least. Raises `InputError` where the target is not reached within the scan, or a
    distance is not above 0.

    >>> round(matched_beta(np.array([0.01, 0.1, 1.0]), np.array([9.0, 2.0, 0.5]), 1.0), 4)
    0.3162
    """
    for name, values in (("betas", betas), ("distances", distances), ("target", target)):
        checks.positive(name, np.asarray(values))
    order = np.argsort(-betas)
    strengths, reached = np.log(betas[order]), np.log(distances[order])
    beyond = np.flatnonzero(reached >= np.log(target))
    if not len(beyond) or (beyond[0] == 0 and reached[0] > np.log(target)):
        raise InputError(
            "target", f"a KL between those of the scan, {np.exp(reached).round(3).tolist()} at "
            f"beta {betas[order].tolist()}", target,
            "scan smaller beta" if not len(beyond) else "scan larger beta",
        )  # fmt: skip
    last = beyond[0]
    ends = slice(max(last - 1, 0), last + 1)
    return float(np.exp(np.interp(np.log(target), reached[ends], strengths[ends])))
