"""Gao's laws: how the gold reward rises and falls with the distance from the reference."""

import math
import sys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

from theory import checks
from theory.errors import InputError

KINDS = ("bon", "rl")

NULL_SLOPE = 0.03
"""|b| below which a fit is no evidence of over-optimisation, in units of the gold's deviation
under the reference: best-of-n on a perfect Gaussian proxy already fits b = -.026."""


@dataclass(frozen=True)
class GaoCurve:
    """Gold reward above the reference, as a function of d = sqrt(KL(pi || pi0)) [gao2023].

    'bon': d (a - b d), 'rl': d (a - b ln d). `a_error` and `b_error` are standard errors, None for
    a curve that was not fitted. Raises `InputError` for another kind.

    >>> curve = GaoCurve("bon", a=0.9, b=0.25)
    >>> round(curve.peak, 4), round(curve.peak_value, 4)
    (1.8, 0.81)
    """

    kind: str
    a: float
    b: float
    a_error: float | None = None
    b_error: float | None = None

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)

    def __call__(self, kl: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """Gold reward at KL (in nats, >= 0); 0 at KL = 0."""
        checks.positive("kl", kl, zero_allowed=True)
        d = np.sqrt(kl)
        return self.a * d - self.b * (d**2 if self.kind == "bon" else special.xlogy(d, d))

    @property
    def peak(self) -> float:
        """Distance d where the gold is largest: a/2b or exp(a/b - 1); infinite unless b > 0."""
        if self.b <= 0:
            return math.inf
        if self.kind == "bon":
            return max(self.a, 0.0) / (2 * self.b)
        return _exp(self.a / self.b - 1)

    @property
    def peak_value(self) -> float:
        """Gold at the peak: a^2/4b or b exp(a/b - 1); infinite unless b > 0."""
        if self.b <= 0:
            return math.inf
        return self.b * (self.peak**2 if self.kind == "bon" else self.peak)

    @property
    def zero(self) -> float:
        """Distance d > 0 where the gold is back at the reference's: a/b or exp(a/b).

        Infinite unless b > 0, and 0 for a best-of-n curve with a <= 0.
        """
        return self.peak * (2 if self.kind == "bon" else math.e)

    def is_null(self, threshold: float = NULL_SLOPE) -> bool:
        """Whether |b| < threshold: no over-optimisation beyond that of a perfect Gaussian proxy."""
        return abs(self.b) < threshold


def fit(
    kl: Float[np.ndarray, " points"],
    gold: Float[np.ndarray, " points"],
    kind: str,
    *,
    weights: Float[np.ndarray, " points"] | None = None,
) -> GaoCurve:
    """Fit Gao's law: minimise over (a, b) the sum of w (gold/d - a + b x)^2, x = d or ln d.

    Linear least squares, since the law is linear in (a, b) once divided by d = sqrt(KL). `gold` is
    measured from the reference's gold (0 at KL = 0), so points with KL = 0 carry no information
    and are refused. `weights` are precisions of gold/d up to a common factor (all 1 if None).
    Standard errors use residual variance over points - 2.
    Raises `InputError` for fewer than 3 distinct KLs, KL <= 0, non-positive weights, lengths that
    differ or an unknown kind. [gao2023]
    """
    checks.one_of("kind", kind, KINDS)
    checks.finite("kl", kl)
    checks.positive("kl", kl)
    checks.finite("gold", gold)
    checks.broadcastable("kl", kl, "gold", gold)
    if np.unique(kl).size < 3:
        raise InputError("kl", "at least 3 distinct points", np.unique(kl).size)
    weights = np.ones_like(kl) if weights is None else weights
    checks.broadcastable("kl", kl, "weights", weights)
    checks.positive("weights", weights)
    root = np.sqrt(weights)
    d = np.sqrt(kl)
    design = np.stack([np.ones_like(d), -(d if kind == "bon" else np.log(d))], axis=-1)
    scaled = design * root[:, None]
    target = gold / d * root
    (a, b), *_ = np.linalg.lstsq(scaled, target)
    residual = target - scaled @ np.array([a, b])
    variance = residual @ residual / (kl.size - 2)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled)))
    return GaoCurve(kind, float(a), float(b), float(errors[0]), float(errors[1]))


def _exp(exponent: float) -> float:
    """exp, infinite where float64 ends."""
    return math.exp(exponent) if exponent < math.log(sys.float_info.max) else math.inf
