"""Weighted KL problems on numbers of any size, in arithmetic of hundreds of digits."""

from fractions import Fraction
from itertools import product

import mpmath
import numpy as np

DIGITS = 400


def exact_tilt(utility, cost, log_reference, form):
    """ln pi of one row, by Newton's method from the left, which is monotone."""
    with mpmath.workdps(DIGITS):
        shift = 1 if form == "kl" else 0
        arms = [
            (mpmath.mpf(float(u)), mpmath.mpf(float(c)), mpmath.mpf(float(b)) - shift)
            for u, c, b in zip(utility, cost, log_reference, strict=True)
            if np.isfinite(b)
        ]
        nu = max(u + c * b for u, c, b in arms)
        while True:
            weights = [mpmath.exp(b + (u - nu) / c) for u, c, b in arms]
            total = mpmath.fsum(weights)
            if abs(total - 1) < mpmath.mpf(10) ** -40:
                break
            slope = mpmath.fsum(w / c for w, (_, c, _) in zip(weights, arms, strict=True))
            nu += mpmath.log(total) * total / slope
        logs = iter([b + (u - nu) / c for u, c, b in arms])
        return np.array([float(next(logs)) if np.isfinite(b) else -np.inf for b in log_reference])


def extreme_row(rng, n):
    """Utility, cost and log reference of one row: ties, offsets, zeros, and scales far apart."""
    utility = rng.normal(size=n) * 10.0 ** rng.integers(-8, 9)
    utility[rng.random(n) < 0.3] = utility[0]
    cost = 10.0 ** rng.uniform(-1, 1, n)
    wide = rng.integers(4)
    if wide == 1:
        cost *= 10.0 ** rng.integers(-14, 15, n)
    elif wide == 2:
        cost *= 10.0 ** rng.integers(-120, 120)
    elif wide == 3:
        utility, cost = (a * 10.0 ** rng.integers(-120, 100) for a in (utility, cost))
    utility = utility + rng.choice([0.0, 1e-9, 1.0, 1e6, 1e9, 1e12]) * rng.choice([-1, 1])
    reference = rng.dirichlet(np.full(n, rng.choice([0.05, 1.0])))
    if n > 1 and rng.random() < 0.3:
        reference[reference.argmin()] = 0.0
    reference = reference / reference.sum()
    with np.errstate(divide="ignore"):
        return utility, cost, np.log(reference)


def exact_quadratic(utility, cost, reference):
    """argmax over the simplex of u'pi - sum cost (pi - pi0)^2, in rational numbers."""
    u, c, reference = ([Fraction(float(x)) for x in row] for row in (utility, cost, reference))
    reference = [x / sum(reference) for x in reference]
    for chosen in product([True, False], repeat=len(u)):
        inside = [i for i, kept in enumerate(chosen) if kept]
        if not inside:
            continue
        ease = sum(1 / (2 * c[i]) for i in inside)
        mass = sum(reference[i] + u[i] / (2 * c[i]) for i in inside)
        nu = (mass - 1) / ease
        policy = [reference[i] + (u[i] - nu) / (2 * c[i]) for i in range(len(u))]
        if all((policy[i] >= 0) == chosen[i] or policy[i] == 0 for i in range(len(u))):
            return np.array([float(max(x, 0)) for x in policy])
    raise AssertionError("no support is optimal")
