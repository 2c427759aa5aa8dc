"""UGDA on the grid: the stages of `theory.refinement_stages`, for many runs at once [ugda2025]."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from bandits.collecting import Collecting
from bandits.ensembles import Loss
from bandits.grid import Grid
from bandits.optimisers import PPO
from bandits.policy_gradients import Checkpoint, cell_influence, layered
from bandits.refinement_parts import (
    at,
    fitted_members,
    gold_expert,
    grade_information,
    prepared,
    trainable,
    validation_shares,
)
from bandits.reward_models import RewardTraining
from theory import checks
from theory.errors import InputError
from theory.grades import Expert, graded
from theory.objective import Objective, sample_reward
from theory.presets import ensemble_mean
from theory.refinement import Refinement
from theory.refinement_stages import Arrays
from theory.scores import Scores

BETA, LEARNING_RATE = 0.5, 2e-3
MOMENTS = {
    "adam": ("first", "second"),
    "as_printed": ("first_as_printed", "second_as_printed"),
}
"""Which of what was collected a direction starts from."""


@dataclass(frozen=True)
class GridRefinement:
    """A `theory.refinement_stages.RefinementWorld` of a grid, for all seeds at once.

    Interactions are the responses that PPO on the ensemble mean draws; equal ones are one sample,
    and a run's samples are the `candidates` cells that it drew most.

    expert:      of cells; the gold reward through its quantiles if None.
    objective:   of the policy after refinement (of collection always the mean).
    optimiser:   of that policy; `steps` iterations.
    beta, learning_rate: of collection.
    checkpoints: of the policy in training, evenly spaced, at which influence is measured.
    tasks:       parts of the prompts that have a validation set each.
    validation:  held-out comparisons of each prompt, whose chosen responses are validated on.
    training:    of the members on their targets.
    anew:        train members from the start, on the comparisons and the targets together, instead
                 of refining trained ones.
    restart:     train the policy from the reference, not on from where collection left it.
    """

    world: Grid
    seeds: tuple[int, ...]
    expert: Expert | None = None
    objective: Objective = ensemble_mean(BETA)
    optimiser: Any = PPO(annealed=None, learning_rate=LEARNING_RATE)
    beta: float = BETA
    learning_rate: float = LEARNING_RATE
    steps: int = 60
    candidates: int = 48
    checkpoints: int = 4
    tasks: int = 2
    validation: int = 4
    training: RewardTraining = RewardTraining(steps=60)
    anew: bool = False
    restart: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoints", "tasks", "validation"):
            checks.positive(name, getattr(self, name))
        cells = self.world.prompts * self.world.responses
        if not 1 <= self.candidates <= cells:
            raise InputError("candidates", f"between 1 and {cells}", self.candidates)
        trainable(self.world)

    def collect(self) -> Arrays:
        """What the samples are, and the policy and its Adam at each checkpoint.

        `drawn` (seeds, steps, prompts, draws): every response; `cells`, `visits` and `scores` of
        the samples; `parameters` and both kinds of `MOMENTS` (seeds, checkpoints,
        parameters) and `advantage` (seeds, checkpoints, cells), after `updates` of Adam;
        `log_policy` at the end.
        """
        policy, log_reference, normalised = prepared(self.world, self.seeds)
        due = np.unique(np.linspace(0, self.steps, self.checkpoints + 1).round().astype(int)[1:])
        ppo = Collecting(learning_rate=self.learning_rate, due=tuple(due.tolist()))
        found = ppo.optimise(
            ensemble_mean(self.beta), normalised, log_reference, deepcopy(policy), self.seeds,
            self.steps, self.steps,
        )  # fmt: skip
        *_, (_, log_policy, bound) = found
        drew = ppo.interactions(log_reference, self.seeds)
        visits = torch.nn.functional.one_hot(drew, self.world.responses).sum((1, 3)).flatten(1)
        cells = visits.argsort(dim=-1, descending=True, stable=True)[:, : self.candidates]
        advantage = []
        for state in ppo.states:
            here = state.log_policy
            reward = sample_reward(bound, here - log_reference, normalised)
            advantage.append(reward - (here.exp() * reward).sum(-1, keepdim=True))
        kept = ("parameters", *MOMENTS["adam"], *MOMENTS["as_printed"])
        states = {
            name: torch.stack([getattr(state, name) for state in ppo.states], 1).numpy()
            for name in kept
        }
        scores = fitted_members(self.world, self.seeds).outputs().members.movedim(1, -1)
        return {
            "drawn": drew.numpy().astype(np.int16),
            "cells": cells.numpy(),
            "visits": visits.gather(-1, cells).numpy(),
            "scores": at(scores.flatten(1, 2), cells),
            "log_policy": log_policy.numpy(),
            "advantage": torch.stack(advantage, 1).flatten(2).numpy(),
            "updates": due * ppo.epochs,
            **states,
        }

    def evidence(self, interactions: Arrays, settings: Refinement) -> Arrays:
        """Of the samples; variance is that of the normalised scores."""
        cells = torch.as_tensor(interactions["cells"])
        found: dict[str, np.ndarray] = {}
        if "variance" in settings.needs:
            _, _, normalised = prepared(self.world, self.seeds)
            found["variance"] = normalised.var(0).flatten(1).gather(-1, cells).numpy()
        if "influence" in settings.needs:
            found["influence"] = at(self._influence(interactions, settings), cells)
        if "information" in settings.needs:
            found["information"] = grade_information(
                self.world, self.seeds, cells, settings.kept(self.candidates)
            )
        return found

    def relabel(
        self, interactions: Arrays, chosen: Int[np.ndarray, "runs kept"]
    ) -> Int[np.ndarray, "runs kept"]:
        """What the expert says of the chosen cells, each run's in one question."""
        expert = gold_expert(self.world) if self.expert is None else self.expert
        cells = np.take_along_axis(interactions["cells"], chosen, -1)
        return np.stack([graded(expert, *np.divmod(row, self.world.responses)) for row in cells])

    def refine(
        self,
        interactions: Arrays,
        chosen: Int[np.ndarray, "runs kept"],
        targets: Float[np.ndarray, "runs kept k"],
    ) -> Arrays:
        """`scores` (seeds, prompts, responses, k) of the refined members."""
        picked = np.take_along_axis(interactions["cells"], chosen, -1)
        cells = torch.as_tensor(picked)[:, None]
        wanted = torch.as_tensor(targets, dtype=self.world.gold.dtype).movedim(-1, 1)
        there = wanted.isfinite()
        share = there / there.sum(-1, keepdim=True).clamp(min=1)

        def error(scores: torch.Tensor) -> torch.Tensor:
            said = scores.flatten(-2).gather(-1, cells.expand(-1, scores.shape[1], -1))
            return (share * (said - wanted.nan_to_num()) ** 2).sum()

        if self.anew:
            found = self._anew(error)
        else:
            members = fitted_members(self.world, self.seeds)
            start = [layer.detach().clone() for layer in members.parameters]
            self.training.fit(members.parameters, lambda _: error(members.scores()))
            found = members.outputs().members
            with torch.no_grad():
                for layer, before in zip(members.parameters, start, strict=True):
                    layer.copy_(before)
        return {"scores": found.movedim(1, -1).numpy()}

    def retrain(self, interactions: Arrays, refined: Arrays) -> Arrays:
        """`log_policy` (seeds, prompts, responses)."""
        policy, log_reference, _ = prepared(self.world, self.seeds)
        scores = Scores(torch.as_tensor(refined["scores"])).centred(log_reference)
        policy = deepcopy(policy)
        if not self.restart:
            final = layered(torch.as_tensor(interactions["parameters"][:, -1]), policy.parameters)
            with torch.no_grad():
                for layer, numbers in zip(policy.parameters, final, strict=True):
                    layer.copy_(numbers)
        found = self.optimiser.optimise(
            self.objective, scores, log_reference, policy, self.seeds, self.steps, self.steps
        )
        *_, (_, log_policy, _) = found
        return {"log_policy": log_policy.numpy()}

    def _influence(
        self, interactions: Arrays, settings: Refinement
    ) -> Float[torch.Tensor, "seeds cells tasks"]:
        """Of all cells."""
        policy, _, _ = prepared(self.world, self.seeds)
        moments = MOMENTS["as_printed" if settings.direction == "as_printed" else "adam"]
        numbers = {
            name: torch.as_tensor(interactions[found]).unbind(1)
            for name, found in zip(("first", "second"), moments, strict=True)
        } | {
            name: torch.as_tensor(interactions[name]).unbind(1)
            for name in ("parameters", "advantage")
        }
        points = [
            Checkpoint(updates=int(updates), learning_rate=self.learning_rate,
                       **{name: values[place] for name, values in numbers.items()})
            for place, updates in enumerate(interactions["updates"])
        ]  # fmt: skip
        shares = validation_shares(self.world, self.seeds, self.tasks, self.validation)
        return cell_influence(
            points, policy.network, policy.parameters, self.world.shape, shares, settings
        )

    def _anew(self, error: Loss) -> torch.Tensor:
        """Scores of members trained on comparisons and targets at once."""
        world = self.world
        data = world.comparisons(self.seeds)
        return trainable(world).fitted(data, self.seeds, world.shape, error).outputs().members
