"""The beta at which trained policies end at one distance from the reference, from a scan."""

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.solvers.roots import last_crossing


def matched_beta(
    betas: Float[np.ndarray, " scan"], distances: Float[np.ndarray, " scan"], target: float
) -> float:
    """Where the final KL of policies trained at several beta crosses a target.

    betas: distinct, in any order; distances: the KL in nats at which each of them ended. Plain KL
    need not fall as beta grows; of several crossings the largest is taken, as by `solve` at a
    `TargetKL`, which says why. It is interpolated in ln(KL) against ln(beta). Raises `InputError`
    where the target is not reached within the scan, or a distance is not above 0.

    >>> round(matched_beta(np.array([0.01, 0.1, 1.0]), np.array([9.0, 2.0, 0.5]), 1.0), 4)
    0.3162
    """
    for name, values in (("betas", betas), ("distances", distances), ("target", target)):
        checks.positive(name, np.asarray(values))
    order = np.argsort(betas)
    strengths, reached = np.log(betas[order]), np.log(distances[order])
    level = np.log(target)
    above = reached >= level
    if not above.any() or reached[-1] > level:
        raise InputError(
            "target", f"a KL between those of the scan, {np.exp(reached).round(3).tolist()} at "
            f"beta {betas[order].tolist()}", target,
            "scan larger beta" if above.any() else "scan smaller beta",
        )  # fmt: skip
    if above[-1]:
        return float(betas[order[-1]])
    at = last_crossing(above[1:] != above[:-1])
    between = [at + 1, at]
    return float(np.exp(np.interp(level, reached[between], strengths[between])))
