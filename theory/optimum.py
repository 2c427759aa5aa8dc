"""The verbs that look at a whole table of scores: `solve` and `bind`."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, expected, like, namespace, to_numpy, weighted_mean
from theory.binding import Binding
from theory.convex_route import convex_optimum
from theory.mixes import PolicyWorstMix, opponents
from theory.objective import Bound, Objective
from theory.problem import make_problem
from theory.routes import route
from theory.scores import Scores
from theory.solution import Solution, certify
from theory.solvers.member_mix import worst_weights

METHODS = ("auto", "cvxpy")


def solve(
    objective: Objective | Bound,
    log_reference: Float[Any, "*#batch n"],
    scores: Scores,
    *,
    prompt_weights: Float[Any, " prompts"] | None = None,
    domain: str = "simplex",
    method: str = "auto",
) -> Solution:
    """max_pi E_x[E_pi[u] - beta penalty(pi)], or under a budget or at a target KL, exactly.

    Scores are (n, k) for one prompt, (prompts, n, k), or (*runs, prompts, n, k) for a population
    of independent problems; `log_reference` broadcasts against the cells. A budget and a target KL
    are shared by the prompts of a run (unless the budget is `per_prompt`), whose mean is weighted
    by `prompt_weights` (uniform when None). What the objective needs from a batch is taken from
    this table unless it comes bound.

    method: 'auto' picks closed forms, root finding and active sets where they exist and CVXPY
            for a full covariance on the simplex; 'cvxpy' always uses CVXPY.
    domain: 'simplex'; for the 'quadratic' and 'norm' forms also 'sum_to_one' and 'unconstrained',
            the spaces of [banerjee2024, Thm 3.3], where policies may have negative entries.

    Raises `InputError` for bad input. A problem without an optimum is not an error: it shows in
    `status`, and in `SolveError` when its policy is asked for.

    >>> scores = Scores(np.array([[1.0], [0.0]]), known_variance=np.array([4.0, 1.0]))
    >>> from theory.penalties import Penalty, Variance
    >>> objective = Objective(coefficient=Variance(), form="kl", strength=Penalty(1.0))
    >>> solve(objective, np.log([0.5, 0.5]), scores).policy.round(5)
    array([0.32669, 0.67331])
    """
    checks.one_of("method", method, METHODS)
    kind, reference = scores.members, checks.real("log_reference", log_reference)
    if prompt_weights is not None:
        prompt_weights = _checked(prompt_weights)
    table = _double(scores.numpy())
    single_prompt = table.members.ndim == 2 and reference.ndim == 1
    if isinstance(objective, Bound):
        binding, objective = objective.binding.numpy(), objective.objective
    else:
        binding = batch_statistics(objective, table, reference, prompt_weights)
    if single_prompt:
        table, reference = table.with_prompt_axis(), reference[None]
    problem = make_problem(
        objective,
        binding,
        reference,
        table,
        prompt_weights=prompt_weights,
        domain=domain,
    )
    answer = convex_optimum if method == "cvxpy" else route(problem)
    with np.errstate(all="ignore"):  # what is not a number is found by the certificate
        found = answer(problem)
    return certify(problem, found, single_prompt=single_prompt, kind=kind)


def bind(
    objective: Objective,
    scores: Scores,
    log_reference: Float[Any, "*#batch n"],
    *,
    log_policy: Float[Any, "*#batch n"] | None = None,
    prompt_weights: Float[Any, " prompts"] | None = None,
) -> Bound:
    """Fix what the objective needs from a batch, so that it can be evaluated sample by sample.

    E[sigma^2] and each prompt's variance under the reference [adaptive2024, Eq. 7]; the weights of
    members that a policy-level utility sets against each other [rewardrobust2024, Eq. 6]: those of
    the optimum, or with `log_policy` the worst for that policy, where `value` is then exact.
    """
    if prompt_weights is not None:
        prompt_weights = like(scores.members, _checked(prompt_weights))
    binding = batch_statistics(objective, scores, log_reference, prompt_weights)
    if "member_weights" in objective.needs:
        if log_policy is None:
            solution = solve(objective, log_reference, scores, prompt_weights=prompt_weights)
            weights = solution.member_weights
            assert weights is not None
        else:
            weights = _worst_for(objective, scores, log_policy, prompt_weights)
        cells = (None,) * min(2, scores.members.ndim - 1)
        binding = replace(binding, member_weights=weights[(..., *cells, slice(None))])
    return Bound(objective, binding)


def batch_statistics(
    objective: Objective,
    scores: Scores,
    log_reference: Float[Any, "*#batch n"],
    prompt_weights: Float[Any, " prompts"] | None,
) -> Binding:
    """The `Binding` fields that are means over a table under the reference."""
    if not objective.needs & {"mean_variance", "prompt_variance"}:
        return Binding()
    part: Any = objective.coefficient if objective.coefficient.needs else objective.utility
    xp = namespace(scores.members, log_reference)
    per_prompt = expected(xp.exp(log_reference), scores.var(part.ddof))
    overall = per_prompt
    if per_prompt.ndim:
        overall = weighted_mean(per_prompt, prompt_weights)[..., None]
    return Binding(mean_variance=overall[..., None], prompt_variance=per_prompt[..., None])


def _checked(prompt_weights: Any) -> np.ndarray:
    """Weights of prompts in float64, of at most 1, so that no sum of them overflows."""
    weights = checks.real("prompt_weights", prompt_weights)
    checks.finite("prompt_weights", weights)
    checks.positive("prompt_weights", weights)
    return weights / weights.max() if weights.size else weights


def _double(scores: Scores) -> Scores:
    """The same numbers in float64, in which solvers and certificates work."""
    given = {f.name: getattr(scores, f.name) for f in fields(scores)}
    return Scores(**{name: None if a is None else a.astype(float) for name, a in given.items()})


def _worst_for(
    objective: Objective, scores: Scores, log_policy: Array, prompt_weights: Array | None
) -> Array:
    mix = objective.utility
    assert isinstance(mix, PolicyWorstMix)
    members = to_numpy(opponents(mix, scores))
    per_prompt = (np.exp(to_numpy(log_policy))[..., None] * members).sum(-2)
    returns = per_prompt
    if per_prompt.ndim > 1:
        weights = None if prompt_weights is None else to_numpy(prompt_weights)
        returns = weighted_mean(per_prompt, weights, axis=-2)
    return like(scores.members, worst_weights(returns, mix.temperature))
