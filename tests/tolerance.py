"""Every tolerance of the suite, by name."""

EXACT = 1e-12
"""Identities evaluated in float64: only rounding separates the sides."""

ROUNDING = 1e-9
"""Longer float64 chains, and the KKT residual asked of the project's own solvers."""

VALUE = 1e-6
"""Objective values of a closed form against CVXPY."""

POLICY = 1e-3
"""Policies of a closed form against CVXPY (interior-point accuracy)."""

FLOAT32 = 1e-4
"""float32 against float64."""

ALPHA = 1e-6
"""Level of each statistical test: a false alarm in a million."""


def mc(std: float, n: int, z: float = 5.0) -> float:
    """Allowed error of a Monte Carlo mean of n draws with standard deviation `std`."""
    return z * std / n**0.5
