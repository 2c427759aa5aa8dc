"""What is maximised: a utility minus a weighted distance from the reference policy.

An `Objective` holds names and numbers only, so that it can be compared, hashed and printed; the
arrays come from `Scores`. The same object is solved exactly (`theory.optimum.solve`), evaluated
(`value`) and trained by policy gradients (`sample_reward`).
"""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float

from theory import checks
from theory.arrays import Array, expected, namespace
from theory.binding import UNBOUND, Binding
from theory.divergences import divergence, norm, squared_norm
from theory.errors import UnboundError
from theory.penalties import FORMS, Coefficient, Constant, Form, Penalty, Strength, metric
from theory.returned import of_cells
from theory.scores import Scores
from theory.utilities import Mean, Utility


@dataclass(frozen=True)
class Objective:
    """max_pi E_pi[utility] - beta * penalty, or the same under a budget or at a target KL.

    utility:     scores to u(x, y).
    coefficient: scores to c(x, y) > 0, the price of moving probability.
    form:        what c multiplies, one number a prompt:
                 'bregman'    sum_y c (pi ln(pi/pi0) - pi + pi0)
                 'kl'         sum_y c pi ln(pi/pi0), not smallest at pi0 where c varies
                 'quadratic'  sum_y c (pi - pi0)^2, or (pi - pi0)'S(pi - pi0)
                 'norm'       the square root of 'quadratic'
    strength:    `Penalty(beta)`, `Budget(eps)` or `TargetKL(kl)`.
    name:        a label for tables; not part of the identity.

    >>> str(Objective(strength=Penalty(0.2)))
    'max E[Mean()] - 0.2 * bregman(Constant())'
    """

    utility: Utility = field(default_factory=Mean)
    coefficient: Coefficient = field(default_factory=Constant)
    form: Form = "bregman"
    strength: Strength = Penalty(0.1)
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        checks.one_of("form", self.form, FORMS)

    def __str__(self) -> str:
        distance = f"{self.form}({self.coefficient})"
        if isinstance(self.strength, Penalty):
            return f"max E[{self.utility}] - {self.strength.beta:g} * {distance}"
        return f"max E[{self.utility}] with {distance} at {self.strength}"

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a `Binding` without which it cannot be evaluated."""
        return frozenset((*self.utility.needs, *self.coefficient.needs))


@dataclass(frozen=True, eq=False)
class Bound:
    """An objective together with what it needed from a batch; made by `theory.optimum.bind`."""

    objective: Objective
    binding: Binding


def value(
    objective: Objective | Bound,
    log_policy: Float[Any, "*#batch n"],
    log_reference: Float[Any, "*#batch n"],
    scores: Scores,
) -> Float[Any, "*batch"]:
    """E_pi[u] - beta * penalty(pi), one number a prompt, in reward units; differentiable.

    Policies are log-probabilities over the responses of a prompt. Raises `UnboundError` if the
    objective depends on a batch and is not bound, and `InputError` unless its strength is a
    `Penalty` (a budget or target KL becomes one in `theory.optimum.solve`).
    """
    objective, binding = _bound(objective)
    beta = _beta(objective, "value")
    xp = namespace(log_policy, log_reference, scores.members)
    gain = expected(xp.exp(log_policy), of_cells(objective.utility, scores, binding))
    return gain - beta * penalty(Bound(objective, binding), log_policy, log_reference, scores)


def penalty(
    objective: Objective | Bound,
    log_policy: Float[Any, "*#batch n"],
    log_reference: Float[Any, "*#batch n"],
    scores: Scores,
) -> Float[Any, "*batch"]:
    """What `value` multiplies with beta, one number a prompt. Raises `UnboundError` as `value`."""
    objective, binding = _bound(objective)
    if objective.form in ("bregman", "kl"):
        coefficient = of_cells(objective.coefficient, scores, binding, broadcast=True)
        return divergence(log_policy, coefficient, log_reference, objective.form)
    xp = namespace(log_policy, log_reference)
    size = norm if objective.form == "norm" else squared_norm
    return size(
        metric(objective.coefficient, scores, log_reference, binding),
        xp.exp(log_policy) - xp.exp(log_reference),
        matrix=objective.coefficient.matrix,
    )


def sample_reward(
    objective: Objective | Bound, log_ratio: Float[Any, "*cells"], scores: Scores
) -> Float[Any, "*cells"]:
    """The reward whose policy gradient is the gradient of `value`, one number a sample.

    u - beta c ln(pi/pi0) for 'bregman', u - beta c (ln(pi/pi0) + 1) for 'kl'. It is a reward:
    detach it, as policy-gradient code does. `log_ratio` = ln(pi/pi0) of whole responses. With a
    per-response c it belongs on the last token; spread over tokens it is biased.

    Raises `UnboundError` and `InputError` as `value`, and `InputError` for the 'quadratic' and
    'norm' forms, which are not expectations under the policy.
    """
    objective, binding = _bound(objective)
    beta = _beta(objective, "sample_reward")
    if objective.form not in ("bregman", "kl"):
        raise checks.InputError(
            "objective.form", "'bregman' or 'kl' for a sample reward", repr(objective.form),
            "train a divergence, or solve it exactly",
        )  # fmt: skip
    utility = of_cells(objective.utility, scores, binding)
    price = beta * of_cells(objective.coefficient, scores, binding, broadcast=True)
    return utility - price * (log_ratio + 1 if objective.form == "kl" else log_ratio)


def _bound(objective: Objective | Bound) -> tuple[Objective, Binding]:
    if isinstance(objective, Bound):
        return objective.objective, objective.binding
    for missing in sorted(objective.needs):
        raise UnboundError(objective, missing)
    return objective, UNBOUND


def _beta(objective: Objective, verb: str) -> Array:
    if isinstance(objective.strength, Penalty):
        return objective.strength.beta
    raise checks.InputError(
        "objective.strength", f"a Penalty for `{verb}`", objective.strength,
        "solve(...) finds its beta: use solution.as_penalty()",
    )  # fmt: skip
