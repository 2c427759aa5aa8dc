"""The papers' own formulas where they are wrong, under names that say so.

They exist to regenerate a paper's numbers and to be refuted by `theory.theorems`; no solver here
uses them.
"""

from typing import Any

from jaxtyping import Float

from theory import checks
from theory.arrays import Array, logsumexp, namespace


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

    >>> import numpy as np
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
    utility: Float[Any, "*batch n"], eps: float
) -> Float[Any, "*batch n"]:
    """d1 = sqrt(eps / R'R) R of [banerjee2024, Thm 3.3], 0 for R = 0.

    pi0 + d1 need not sum to 1, nor stay >= 0, so it is no policy. `theory.solvers.ellipsoid.budget`
    keeps the sum, `theory.solvers.quadratic.simplex_budget` both. Raises `InputError` for eps < 0.

    >>> import numpy as np
    >>> unaware_displacement_as_printed(np.array([3.0, 4.0]), 0.25)
    array([0.3, 0.4])
    """
    return _scaled(utility, utility, eps)


def aware_displacement_as_printed(
    utility: Float[Any, "*batch n"], variance: Float[Any, "*#batch n"], eps: float
) -> Float[Any, "*batch n"]:
    """d2 = sqrt(eps / R'S^-1 R) S^-1 R of [banerjee2024, Thm 3.3]; no policy either.

    eps is the theorem's eps~. Raises `InputError` for eps < 0 or a variance <= 0.

    >>> import numpy as np
    >>> aware_displacement_as_printed(np.array([3.0, 4.0]), np.array([1.0, 4.0]), 13.0)
    array([3., 1.])
    """
    checks.positive("variance", variance)
    return _scaled(utility, utility / variance, eps)


def _scaled(utility: Array, direction: Array, eps: float) -> Array:
    """The direction at the length that spends eps; no direction has none."""
    checks.positive_number("eps", eps, zero_allowed=True)
    xp = namespace(utility, direction)
    squared = xp.sum(utility * direction, axis=-1, keepdims=True)
    return direction * xp.sqrt(eps / xp.where(squared > 0, squared, xp.ones_like(squared)))
