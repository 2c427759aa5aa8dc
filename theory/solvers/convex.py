"""The same problems written for CVXPY: slow, general, and independent of the closed forms.

One problem at a time: arrays are (prompts, n); `prompt_weights` (prompts,) sums to 1 and is uniform
when None. Every `value` is E_x E_pi[utility] minus beta times the penalty, evaluated at the
returned policy: an interior point leaves entries near -1e-9, where CVXPY's own value is infinite.
Utility and penalty reach the solver, whose tolerances are partly absolute, in units of their own.
Values agree with exact ones to about 1e-8, policies and multipliers to about 1e-4.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.first_contact import install
from theory.solvers.member_mix import check_mix, prompt_law

try:
    import cvxpy as cp
except ImportError as missing:
    raise ImportError(f"theory.solvers.convex needs CVXPY: {install('convex')}") from missing

DOMAINS = ("simplex", "sum_to_one", "unconstrained")
SOLVED = ("optimal", "optimal_inaccurate")
TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
"""Of the solver: at its own 1e-8 arms that should have no mass keep up to 3e-6, and at 1e-10 half
of the cone problems end as 'optimal_inaccurate'."""


class ConvexSolution(NamedTuple):
    """What CVXPY found.

    policy: (prompts, n); None unless `status` is one of `SOLVED`.
    value:  the maximum; -inf if infeasible, inf if unbounded, NaN if the solver failed.
    beta:   multiplier of the budget; None without a budget or without a policy.
    status: CVXPY's own word, 'solver_error' where it raised.
    """

    policy: Float[np.ndarray, "prompts n"] | None
    value: float
    beta: float | None
    status: str


def weighted_divergence(
    utility: Float[np.ndarray, "prompts n"],
    coefficient: Float[np.ndarray, "prompts n"],
    log_reference: Float[np.ndarray, "prompts n"],
    form: str,
    *,
    beta: float | None = None,
    eps: float | None = None,
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> ConvexSolution:
    """max_pi E_x E_pi[u] - beta D(pi), or max_pi E_x E_pi[u] s.t. D(pi) <= eps, on the simplex.

    D = E_x sum_y c pi ln(pi / pi0) for 'kl', E_x sum_y c (pi ln(pi / pi0) - pi + pi0) for
    'bregman'; c > 0. Give exactly one of `beta` > 0 and `eps`. -inf in `log_reference` forces
    pi = 0. A budget on plain KL is this problem with c = 1.

    Raises `InputError` for mismatched shapes, numbers that are not finite, beta <= 0, or not
    exactly one strength; an unattainable `eps` is a status, not an error.

    Source: [banerjee2024, Thm 3.6], corrected statement.

    >>> half, costs = np.log([[0.5, 0.5]]), np.array([[4.0, 1.0]])
    >>> round(weighted_divergence(np.array([[1.0, 0.0]]), costs, half, "kl", beta=1.0).value, 5)
    0.68247
    """
    _check_cells(utility, coefficient=coefficient, log_reference=log_reference)
    rho = prompt_law(prompt_weights, len(utility))
    pi, constraints = _policy_on(log_reference)
    units = _unit(utility), _unit(coefficient)
    cost = _divergence(pi, coefficient, units[1], log_reference, form, rho)
    return _solve(_mean(pi, utility / units[0], rho), cost, units, pi, constraints, beta, eps)


def quadratic(
    utility: Float[np.ndarray, "prompts n"],
    metric: Float[np.ndarray, "prompts n ..."],
    reference: Float[np.ndarray, "prompts n"],
    *,
    beta: float | None = None,
    eps: float | None = None,
    domain: str = "simplex",
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> ConvexSolution:
    """max_pi E_x E_pi[u] - beta E_x |pi - pi0|_S^2, or s.t. E_x |pi - pi0|_S^2 <= eps.

    S is a diagonal (prompts, n) or positive semidefinite matrices (prompts, n, n); `domain` is
    'simplex', 'sum_to_one' (negative entries allowed) or 'unconstrained'. An arm with pi0 = 0
    may receive mass.

    Raises `InputError` as `weighted_divergence`, and for an unknown domain.

    Source: [banerjee2024, Thm 3.3].
    """
    rho = _check_metric(utility, metric, reference, prompt_weights)
    pi, constraints = _policy(domain, utility.shape)
    units = _unit(utility), _unit(metric)
    cost = _distance(pi, metric / units[1], reference, rho, cp.sum_squares)
    return _solve(_mean(pi, utility / units[0], rho), cost, units, pi, constraints, beta, eps)


def norm(
    utility: Float[np.ndarray, "prompts n"],
    metric: Float[np.ndarray, "prompts n ..."],
    reference: Float[np.ndarray, "prompts n"],
    beta: float,
    domain: str = "simplex",
    *,
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> ConvexSolution:
    """max_pi E_x (E_pi[u] - beta |pi - pi0|_S), a second-order cone problem for each prompt.

    Arguments and errors as `quadratic`. Outside the simplex the optimum is pi0 or unbounded.

    Source: [banerjee2024, Eq. 2].
    """
    rho = _check_metric(utility, metric, reference, prompt_weights)
    pi, constraints = _policy(domain, utility.shape)
    units = _unit(utility), _unit(metric)
    cost = _distance(pi, metric / units[1], reference, rho, cp.norm)
    gain, sizes = _mean(pi, utility / units[0], rho), (units[0], units[1] ** 0.5)
    return _solve(gain, cost, sizes, pi, constraints, beta, None)


def member_mix(
    nominal: Float[np.ndarray, "prompts n"],
    members: Float[np.ndarray, "prompts n k"],
    lam: float,
    coefficient: Float[np.ndarray, "prompts n"],
    log_reference: Float[np.ndarray, "prompts n"],
    form: str,
    beta: float,
    *,
    temperature: float = 0.0,
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> ConvexSolution:
    """max_pi lam E[u0] + (1 - lam) U_t(g) - beta D(pi), with g_i = E_x E_pi[r_i], in the primal.

    U_t = min_i g_i at `temperature` 0, -t ln mean exp(-g / t) above it, the mean at inf; D as in
    `weighted_divergence`. Problem and errors as `theory.solvers.member_mix.member_mix`.

    Source: [rewardrobust2024, Eq. 6-7].
    """
    check_mix(nominal, members, lam, temperature)
    _check_cells(nominal, coefficient=coefficient, log_reference=log_reference)
    rho = prompt_law(prompt_weights, len(nominal))
    pi, constraints = _policy_on(log_reference)
    units = max(_unit(nominal), _unit(members)), _unit(coefficient)
    scaled = members / units[0]
    returns = cp.hstack([_mean(pi, scaled[..., i], rho) for i in range(members.shape[-1])])
    worst = _robust_mean(returns, temperature / units[0])
    gain = lam * _mean(pi, nominal / units[0], rho) + (1 - lam) * worst
    cost = _divergence(pi, coefficient, units[1], log_reference, form, rho)
    return _solve(gain, cost, units, pi, constraints, beta, None)


def _policy(domain: str, shape: tuple[int, ...]) -> tuple[Any, list[Any]]:
    checks.one_of("domain", domain, DOMAINS)
    pi = cp.Variable(shape, nonneg=domain == "simplex")
    return pi, [] if domain == "unconstrained" else [cp.sum(pi, axis=1) == 1]


def _policy_on(log_reference: np.ndarray) -> tuple[Any, list[Any]]:
    pi, constraints = _policy("simplex", log_reference.shape)
    return pi, [*constraints, pi[~np.isfinite(log_reference)] == 0]


def _mean(pi: Any, utility: np.ndarray, rho: np.ndarray) -> Any:
    return cp.sum(cp.multiply(rho[:, None] * utility, pi))


def _divergence(
    pi: Any, coefficient: np.ndarray, unit: float, log_reference: np.ndarray, form: str,
    rho: np.ndarray,
) -> Any:  # fmt: skip
    checks.one_of("form", form, ("bregman", "kl"))
    checks.finite("coefficient", coefficient)
    checks.positive("coefficient", coefficient)
    reference = np.exp(log_reference)
    checks.probabilities("exp(log_reference)", reference)
    inside = reference > 0
    terms = cp.rel_entr(pi[inside], reference[inside])
    if form == "bregman":
        terms = terms - pi[inside] + reference[inside]
    return (rho[:, None] * coefficient / unit)[inside] @ terms


def _distance(pi: Any, metric: Any, reference: Any, rho: np.ndarray, size: Any) -> Any:
    """E_x of |pi - pi0|_S (`size` cp.norm) or its square (cp.sum_squares)."""
    if metric.ndim == 2:
        metric = metric[..., None] * np.eye(metric.shape[-1])
    eigenvalues, vectors = np.linalg.eigh(metric)
    if eigenvalues.min() < -1e-12 * abs(eigenvalues).max():
        raise checks.InputError(
            "metric", "positive semidefinite", f"an eigenvalue {eigenvalues.min():g}"
        )
    roots = np.sqrt(np.clip(eigenvalues, 0, None))[..., None] * np.swapaxes(vectors, -1, -2)
    return sum(rho[x] * size(root @ (pi[x] - reference[x])) for x, root in enumerate(roots))


def _robust_mean(returns: Any, temperature: float) -> Any:
    """U_t of `member_mix`."""
    if temperature == 0:
        return cp.min(returns)
    if np.isinf(temperature):
        return cp.sum(returns) / returns.size
    return temperature * (np.log(returns.size) - cp.log_sum_exp(-returns / temperature))


def _unit(values: np.ndarray) -> float:
    """The largest size, 1 where all are zero."""
    return float(np.abs(values).max()) or 1.0


def _solve(
    gain: Any, cost: Any, units: tuple[float, float], pi: Any, constraints: list[Any],
    beta: float | None, eps: float | None,
) -> ConvexSolution:  # fmt: skip
    """Maximise gain - beta cost, or gain where cost <= eps; gain and cost are in their units."""
    if (beta is None) == (eps is None):
        raise checks.InputError("beta, eps", "exactly one of them", f"beta={beta}, eps={eps}")
    checks.finite("beta" if eps is None else "eps", beta if eps is None else eps)
    of_gain, of_cost = units
    budget = [] if eps is None else [cost <= eps / of_cost]
    price = 0.0 if beta is None else beta * (of_cost / of_gain)
    if beta is not None:
        checks.positive("beta", beta)
        gain = gain - price * cost
    problem = cp.Problem(cp.Maximize(gain / max(price, 1.0)), [*constraints, *budget])
    status = _run(problem)
    if status not in SOLVED:
        value = np.nan if problem.value is None else float(problem.value)
        return ConvexSolution(None, value, None, status)
    if pi.is_nonneg():
        policy = np.clip(pi.value, 0, None)
        pi.value = policy / policy.sum(-1, keepdims=True)
    multiplier = np.asarray(budget[0].dual_value).item() * of_gain / of_cost if budget else None
    return ConvexSolution(pi.value, of_gain * float(gain.value), multiplier, status)


def _run(problem: Any) -> str:
    with warnings.catch_warnings():  # the warning says no more than 'optimal_inaccurate' does
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(solver=cp.CLARABEL, **dict.fromkeys(TOLERANCES, 1e-9))
        except cp.error.SolverError:
            return "solver_error"
    return str(problem.status)


def _check_metric(utility: Any, metric: Any, reference: Any, prompt_weights: Any) -> np.ndarray:
    _check_cells(utility, reference=reference)
    if metric.shape not in (utility.shape, (*utility.shape, utility.shape[-1])):
        required = f"of shape {utility.shape}, or {(*utility.shape, utility.shape[-1])}"
        raise checks.InputError("metric", required, metric.shape)
    checks.finite("metric", metric)
    checks.probabilities("reference", reference)
    return prompt_law(prompt_weights, len(utility))


def _check_cells(utility: np.ndarray, **others: np.ndarray) -> None:
    checks.finite("utility", utility)
    for name, array in others.items():
        if array.shape != utility.shape:
            raise checks.InputError(name, f"of shape {utility.shape}, as the utility", array.shape)
