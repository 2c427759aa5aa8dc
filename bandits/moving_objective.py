"""An objective whose beta moves while it is optimised: annealed, or steered to a KL."""

from dataclasses import replace

import torch
from jaxtyping import Float

from theory import checks
from theory.arrays import expected
from theory.divergences import kl
from theory.objective import Bound, penalty, sample_reward, value
from theory.penalties import Penalty, TargetKL
from theory.schedules import Annealed, Controller
from theory.scores import Scores


class MovingObjective:
    """The objective at the beta of each step; a steered beta moves with every call.

    Raises `InputError` for an objective whose strength is neither a `Penalty` nor a `TargetKL`.
    """

    def __init__(
        self,
        bound: Bound,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        steps: int,
        annealed: Annealed | None,
        controller: Controller,
    ) -> None:
        strength = bound.objective.strength
        if not isinstance(strength, Penalty | TargetKL):
            raise checks.InputError(
                "objective.strength", "a Penalty or a TargetKL to be trained", strength,
                "solve(...) finds its beta: use solution.as_penalty()",
            )  # fmt: skip
        self._bound, self._scores, self._log_reference = bound, scores, log_reference
        self._steps, self._annealed, self._controller = steps, annealed, controller
        self._log_beta = torch.full_like(log_reference[:, 0, 0], controller.start).log()

    def value(
        self, step: int, log_policy: Float[torch.Tensor, "seeds prompts responses"]
    ) -> Float[torch.Tensor, "seeds prompts"]:
        """`theory.objective.value` at the beta of this step."""
        if not isinstance(self._bound.objective.strength, TargetKL):
            return value(self._at(step), log_policy, self._log_reference, self._scores)
        bound = self._at(step)
        utility = bound.objective.utility(self._scores, bound.binding)
        charge = penalty(bound, log_policy, self._log_reference, self._scores)
        return expected(log_policy.exp(), utility) - self._steered(log_policy)[:, None] * charge

    def reward(
        self, step: int, log_policy: Float[torch.Tensor, "seeds prompts responses"]
    ) -> Float[torch.Tensor, "seeds prompts responses"]:
        """`theory.objective.sample_reward` of every cell at the beta of this step."""
        log_ratio = log_policy - self._log_reference
        bound = self._at(step)
        reward = sample_reward(bound, log_ratio, self._scores)
        if not isinstance(self._bound.objective.strength, TargetKL):
            return reward
        utility = bound.objective.utility(self._scores, bound.binding)
        return utility - self._steered(log_policy)[:, None, None] * (utility - reward)

    def _at(self, step: int) -> Bound:
        """The objective at this step's beta, or at 1 where beta is steered."""
        strength = self._bound.objective.strength
        beta = strength.beta if isinstance(strength, Penalty) else 1.0
        if self._annealed is not None and isinstance(strength, Penalty):
            beta = self._annealed.beta(beta, step, self._steps)
        return Bound(replace(self._bound.objective, strength=Penalty(beta)), self._bound.binding)

    def _steered(self, log_policy: torch.Tensor) -> Float[torch.Tensor, " seeds"]:
        """beta of every seed, moved by the KL of its policy."""
        strength = self._bound.objective.strength
        assert isinstance(strength, TargetKL)
        with torch.no_grad():
            distance = kl(log_policy, self._log_reference).mean(-1)
            self._log_beta = self._controller.moved(self._log_beta, distance, strength.kl)
        return self._log_beta.exp()
