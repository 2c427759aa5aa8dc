"""Weighted KL and Bregman penalties: the beta that spends a budget or reaches a plain KL."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array
from theory.solvers.roots import Evaluate, crossings, decreasing_root
from theory.solvers.weighted_kl import tilt_unchecked
from theory.solvers.weighted_kl_path import Path, optima

SCAN_POINTS = 512
"""Points of the ln beta grid on which crossings of a plain KL that is not monotone are sought."""
CELLS = 8192
"""Cells of a table up to which more points of that grid are looked at together."""


class BudgetTilt(NamedTuple):
    """Optimum of a budget, one row a run.

    `status` is 'optimal' (the budget binds), 'slack' (the greedy policy meets it: beta = 0) or
    'infeasible' (policy, nu and beta are NaN, and `penalty` is the smallest attainable one).
    """

    beta: Float[Any, "*runs"]
    log_policy: Float[Any, "*runs prompts n"]
    nu: Float[Any, "*runs prompts"]
    penalty: Float[Any, "*runs"]
    status: Any


class KLTilt(NamedTuple):
    """Optimum at a plain KL, one row a run.

    `betas` are all that were found at that KL, the largest, which is `beta`, first, and NaN where
    other runs have more. `status` is 'optimal', 'slack' (every policy on the path is nearer:
    beta = 0, greedy) or 'infeasible' (every policy on the path is farther: policy, nu, beta and kl
    are NaN).
    """

    beta: Float[Any, "*runs"]
    log_policy: Float[Any, "*runs prompts n"]
    nu: Float[Any, "*runs prompts"]
    kl: Float[Any, "*runs"]
    betas: Float[Any, "*runs c"]
    status: Any


def at_budget(
    utility: Float[np.ndarray, "*runs prompts n"],
    coefficient: Float[np.ndarray, "*#runs #prompts #n"],
    log_reference: Float[np.ndarray, "*#runs #prompts n"],
    form: str,
    eps: float | Float[np.ndarray, "*#runs"],
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> BudgetTilt:
    """max E_x sum_i u_i pi_i s.t. E_x D(pi) <= eps, with one beta a run shared by its prompts.

    D as in `tilt` with `coefficient` as cost; E_x is uniform unless `prompt_weights` are given.
    The optima are those of cost beta * coefficient. E_x D(pi_beta) is nonincreasing in beta (it
    is minus the slope of the convex optimal value), so beta is found by safeguarded Newton on
    ln beta. Attainable are eps >= 0 (bregman; eps = 0 gives pi0 and beta = inf) or eps >= the
    penalty of the optimum for utility 0, which is negative (kl). At or above the penalty of
    `greedy` that policy is returned.

    Corrected statement of [banerjee2024, Thm 3.6]. Raises `InputError` for values that are not
    finite, a negative coefficient, or an unknown form.

    >>> row = np.log([[0.5, 0.5]])
    >>> solution = at_budget(np.array([[-1.0, -2.0]]), np.array([[1.0, 10.0]]), row, "kl", 0.05)
    >>> np.exp(solution.log_policy).round(3)
    array([[0.981, 0.019]])
    """
    path = optima(utility, coefficient, log_reference, form, prompt_weights)
    checks.finite("eps", eps)
    with np.errstate(over="ignore"):
        eps = np.asarray(eps / path.penalty_unit)
    least_policy = tilt_unchecked(
        np.zeros_like(utility), path.coefficient, path.log_reference, form
    ).log_policy
    least = path.penalty(least_policy) if form == "kl" else np.zeros(path.top.shape[:-1])
    slack = np.asarray(eps >= path.penalty(path.greedy))
    infeasible, at_least = ~slack & (eps < least), ~slack & (eps == least)
    binding = ~(slack | infeasible | at_least)

    def log_excess(log_beta: Array) -> tuple[Array, Array]:
        log_policy = path.optimum(log_beta).log_policy
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.maximum(path.penalty(log_policy) - least, 0.0)
            value = np.where(binding, np.log(excess / (eps - least)), 0.0)
            return value, path.slope(log_policy, path.coefficient) / excess

    log_beta = decreasing_root(log_excess, np.where(binding, path.log_scale, 0.0))
    log_policy, nu = path.optimum(log_beta)
    log_policy = _choose(slack, path.greedy, _choose(at_least, least_policy, log_policy))
    log_policy = np.where(infeasible[..., None, None], np.nan, log_policy)
    return BudgetTilt(
        beta=np.select(
            [slack, at_least, infeasible], [0.0, np.inf, np.nan], path.beta(np.exp(log_beta))
        ),
        log_policy=log_policy,
        nu=np.where(slack[..., None], path.top, np.where(binding[..., None], path.nu(nu), np.nan)),
        penalty=np.where(infeasible, least, path.penalty(log_policy)) * path.penalty_unit,
        status=np.select([slack, infeasible], ["slack", "infeasible"], "optimal"),
    )


def at_kl(
    utility: Float[np.ndarray, "*runs prompts n"],
    coefficient: Float[np.ndarray, "*#runs #prompts #n"],
    log_reference: Float[np.ndarray, "*#runs #prompts n"],
    form: str,
    kl: float | Float[np.ndarray, "*#runs"],
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> KLTilt:
    """The largest beta > 0 a run with E_x KL(pi_beta || pi0) = kl nats, and its policy.

    With a coefficient that varies over i plain KL is not monotone in beta, so several may match;
    `theory.penalties.TargetKL` says why it is the largest. Crossings are sought on a grid of 512
    points in ln beta from the greedy limit to the limit of large beta, and two roots between
    neighbouring points are missed. A coefficient that is constant over i has at most one root,
    bracketed by the two ends. beta as in `at_budget`.

    Raises `InputError` for values that are not finite, a kl or coefficient that is not positive,
    or an unknown form.
    """
    path = optima(utility, coefficient, log_reference, form, prompt_weights)
    together = 1 + CELLS // utility.size
    crossing = crossings(_reached(path), kl, _grid(path, kl), together)
    log_beta, near = crossing.x[..., 0], crossing.above
    found = ~np.isnan(log_beta)
    log_policy, nu = path.optimum(np.where(found, log_beta, 0.0))
    log_policy = _choose(~found & ~near, path.greedy, log_policy)
    log_policy = np.where((~found & near)[..., None, None], np.nan, log_policy)
    return KLTilt(
        beta=np.select([found, near], [path.beta(np.exp(log_beta)), np.nan], 0.0),
        log_policy=log_policy,
        nu=np.select([found[..., None], near[..., None]], [path.nu(nu), np.nan], path.top),
        kl=np.where(~found & near, np.nan, path.kl(log_policy)),
        betas=path.beta(np.exp(crossing.x)),
        status=np.select([found, near], ["optimal", "infeasible"], "slack"),
    )


def betas_at_kl(
    utility: Float[np.ndarray, "prompts n"],
    coefficient: Float[np.ndarray, "#prompts #n"],
    log_reference: Float[np.ndarray, "#prompts n"],
    form: str,
    kl: float,
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> list[float]:
    """All beta of one run at which E_x KL(pi_beta || pi0) = kl, in increasing order.

    Found by `at_kl`, whose resolution and errors apply, and which takes the last.

    >>> uniform = np.log(np.ones((1, 3)) / 3)
    >>> r, c = np.array([[1.0, 0.95, 0.0]]), np.array([[5.0, 0.02, 1.0]])
    >>> len(betas_at_kl(r, c, uniform, "bregman", 0.42))
    3
    """
    betas = at_kl(utility, coefficient, log_reference, form, kl, prompt_weights).betas
    return betas[~np.isnan(betas)][::-1].tolist()


def _grid(path: Path, kl: Any) -> Array:
    """ln beta, (points, *runs), from the greedy limit to the one of large beta."""
    checks.finite("kl", kl)
    checks.positive("kl", kl)
    checks.positive("coefficient", path.coefficient)
    constant = (path.coefficient == path.coefficient[..., :1]).all()
    return np.linspace(*path.ends(kl), 2 if constant else SCAN_POINTS)


def _reached(path: Path) -> Evaluate:
    """Plain KL and its slope at ln beta."""

    def evaluate(log_beta: Array) -> tuple[Array, Array]:
        log_policy = path.optimum(log_beta).log_policy
        return path.kl(log_policy), path.slope(log_policy, 1.0)

    return evaluate


def _choose(rows: Array, chosen: Array, otherwise: Array) -> Array:
    return np.where(rows[..., None, None], chosen, otherwise)
