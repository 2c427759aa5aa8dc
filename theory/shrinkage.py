"""Empirical-Bayes shrinkage of variances estimated from few members."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import digamma, polygamma

from theory import checks


class VariancePrior(NamedTuple):
    """Scaled inverse chi-square prior: sigma^2 ~ dof * scale / chi^2_dof (dof may be infinite)."""

    dof: float
    scale: float


def fit_variance_prior(variance: Float[np.ndarray, "*cells"], dof: int) -> VariancePrior:
    """Fit the prior by the first two moments of log variances.

    Model: s^2 | sigma^2 ~ sigma^2 chi^2_dof / dof, sigma^2 from the prior. Then ln s^2 has mean
    ln scale + digamma(dof/2) - ln(dof/2) - digamma(dof0/2) + ln(dof0/2) and variance
    trigamma(dof/2) + trigamma(dof0/2); variances no more spread than sampling explains give
    dof0 = inf. Cells of variance 0 are left out of the fit. [smyth2004]
    """
    positive = variance[variance > 0]
    if positive.size == 0:
        return VariancePrior(np.inf, 0.0)
    logs = np.log(positive) - digamma(dof / 2) + np.log(dof / 2)
    excess = logs.var(ddof=1) - float(polygamma(1, dof / 2)) if positive.size > 1 else 0.0
    if excess <= 0:
        return VariancePrior(np.inf, float(np.exp(logs.mean())))
    half = _inverse_trigamma(excess)
    return VariancePrior(2 * half, float(np.exp(logs.mean() + digamma(half) - np.log(half))))


def shrink_variance(
    variance: Float[np.ndarray, "*cells"], dof: int, prior: VariancePrior | None = None
) -> Float[np.ndarray, "*cells"]:
    """Posterior scale (dof0 * scale0 + dof * s^2) / (dof0 + dof) of each variance.

    Its reciprocal is the posterior mean of 1/sigma^2, the weight that variance-aware policies use.
    `dof` is k - ddof; the prior is fitted on these very variances when it is not given.

    >>> shrink_variance(np.array([1.0, 3.0]), 2, VariancePrior(2.0, 2.0))
    array([1.5, 2.5])
    """
    if dof < 1:
        raise checks.InputError("dof", ">= 1", dof, "a variance needs at least two members")
    checks.finite("variance", variance)
    checks.positive("variance", variance, zero_allowed=True)
    prior = fit_variance_prior(variance, dof) if prior is None else prior
    if np.isinf(prior.dof):
        return np.full_like(variance, prior.scale)
    return (prior.dof * prior.scale + dof * variance) / (prior.dof + dof)


def _inverse_trigamma(y: float) -> float:
    """Solve trigamma(x) = y > 0 by Newton on 1/trigamma, which is nearly linear."""
    x = 0.5 + 1 / y
    for _ in range(60):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / y) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-13 * x:
            break
    return x
