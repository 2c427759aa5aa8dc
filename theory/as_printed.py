"""The papers' own formulas where they are wrong, under names that say so.

They exist to regenerate a paper's numbers and to be refuted by `theory.theorems`; no solver here
uses them.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import logsumexp


def sharpe_tilt_as_printed(
    utility: Float[Any, "*#batch n"],
    coefficient: Float[Any, "*#batch #n"],
    log_reference: Float[Any, "*#batch n"],
    beta: float,
) -> Float[Any, "*batch n"]:
    """ln pi for pi = pi0 exp(R / (beta S)) / Z, the policy of [banerjee2024, Thm 3.6].

    It is optimal only where S is constant over the responses of a prompt: its proof divides the
    Lagrangian by S inside of an expectation. Otherwise it depends on a shift of the rewards, which
    Bradley-Terry leaves free, and can be worse than pi0. `theory.presets.variance_aware_kl` solves
    the problem that the theorem states.

    Raises `InputError` for beta <= 0 or a coefficient <= 0.

    >>> half, S = np.log([0.5, 0.5]), np.array([4.0, 1.0])
    >>> np.exp(sharpe_tilt_as_printed(np.array([1.0, 0.0]), S, half, 1.0)).round(5)
    array([0.56218, 0.43782])
    >>> np.exp(sharpe_tilt_as_printed(np.array([6.0, 5.0]), S, half, 1.0)).round(5)
    array([0.02931, 0.97069])
    """
    checks.positive("beta", beta)
    checks.positive("coefficient", coefficient)
    logits = log_reference + utility / (beta * coefficient)
    return logits - logsumexp(logits, keepdims=True)


def unaware_displacement_as_printed(
    utility: Float[np.ndarray, "*batch n"], eps: float
) -> Float[np.ndarray, "*batch n"]:
    """d1 = sqrt(eps / R'R) R of [banerjee2024, Thm 3.3].

    pi0 + d1 does not sum to 1, so it is no policy; `theory.solvers.ellipsoid.budget` is.
    """
    return _scaled(utility, utility, eps)


def aware_displacement_as_printed(
    utility: Float[np.ndarray, "*batch n"], variance: Float[np.ndarray, "*#batch n"], eps: float
) -> Float[np.ndarray, "*batch n"]:
    """d2 = sqrt(eps / R'S^-1 R) S^-1 R of [banerjee2024, Thm 3.3]; no policy either."""
    checks.positive("variance", variance)
    return _scaled(utility, utility / variance, eps)


def _scaled(utility: np.ndarray, direction: np.ndarray, eps: float) -> np.ndarray:
    checks.positive("eps", eps, zero_allowed=True)
    squared = (utility * direction).sum(-1, keepdims=True)
    step = np.sqrt(np.divide(eps, squared, out=np.zeros_like(squared), where=squared > 0))
    return np.asarray(step * direction)
