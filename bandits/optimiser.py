"""What all optimisers have: a task, and evaluations of the policy on the way."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float

from bandits.moving_objective import MovingObjective
from bandits.policies import Policy
from theory.objective import Bound, Objective
from theory.optimum import bind
from theory.schedules import Annealed, Controller
from theory.scores import Scores

Evaluation = tuple[int, torch.Tensor, Bound]
"""Step, ln pi (seeds, prompts, responses), and the bound objective that was optimised."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is optimised: an objective on scores of all cells, for runs of several seeds at once.

    log_reference:  ln pi0.
    policy:         where training starts; it is moved in place.
    steps:          iterations.
    evaluate_every: iterations between evaluations.
    """

    objective: Objective
    scores: Scores
    log_reference: Float[torch.Tensor, "seeds prompts responses"]
    policy: Policy
    seeds: Sequence[int]
    steps: int
    evaluate_every: int

    @cached_property
    def bound(self) -> Bound:
        """The objective, bound to these scores."""
        return bind(self.objective, self.scores, self.log_reference)

    def moving(self, annealed: Annealed | None, controller: Controller) -> MovingObjective:
        """The objective at the beta of each step. Raises `InputError` as `MovingObjective`."""
        return MovingObjective(
            self.bound, self.scores, self.log_reference, self.steps, annealed, controller
        )

    def evaluation(self, step: int) -> Iterator[Evaluation]:
        """The policy, where step `step` (from 0) ends with an evaluation, as the last one does."""
        done = step + 1
        if done % self.evaluate_every == 0 or done == self.steps:
            yield done, self.policy.log_probabilities().detach(), self.bound


class Optimiser(ABC):
    """From an objective to policies."""

    def optimise(
        self,
        objective: Objective,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        policy: Policy,
        seeds: Sequence[int],
        steps: int,
        evaluate_every: int,
    ) -> Iterator[Evaluation]:
        """`evaluations` of a `Task` of these; they are computed as they are taken."""
        return self.evaluations(
            Task(objective, scores, log_reference, policy, seeds, steps, evaluate_every)
        )

    @abstractmethod
    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """Policies on the way, the last one at the end."""
