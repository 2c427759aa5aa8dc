"""What a policy learns from its responses, whatever model it is: PPO but for the models."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from llm_bridge.bias import warn_of_bias
from llm_bridge.data.pairs import Judge
from llm_bridge.divergence import divergence, tell
from llm_bridge.lm.actor import Reading
from llm_bridge.lm.learning_rates import rate
from llm_bridge.lm.sampling import Sampling
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.rollout import Rollout, describe
from llm_bridge.settings import Settings
from llm_bridge.shaping import Shaper
from theory.errors import InputError
from theory.objective import Objective
from theory.penalties import Penalty, TargetKL
from theory.policy_gradient import (
    Advantages,
    Surrogate,
    clipped_surrogate,
    clipped_value_loss,
    gae,
    masked_whiten,
)

MET = ("policy_loss", "value_loss", "clip_fraction")
"""What is recorded of the losses."""


class Asked(NamedTuple):
    """Prompts of a rollout, and the random numbers that decide the responses."""

    prompts: list[str]
    uniforms: Float[torch.Tensor, "prompts time"]


class Learner:
    """The objective of one policy, its settings, its random numbers, and beta as it moves.

    normaliser: scores of the reward models.
    prompts:    drawn from, with replacement.
    sampling:   of responses.
    label:      what messages call the policy, the objective unless given.

    `diverged` says at which step a policy exploded, and how, see `llm_bridge.divergence`.
    """

    def __init__(
        self,
        normaliser: Normaliser,
        prompts: Sequence[str],
        objective: Objective,
        settings: Settings,
        *,
        sampling: Sampling,
        seed: int,
        label: str = "",
    ) -> None:
        self.label, self.diverged = label or objective.name or str(objective), ""
        self.normaliser, self.prompts = normaliser, list(prompts)
        self.settings, self.sampling = settings, sampling
        warn_of_bias(objective, settings, sampling)
        self.shaper = Shaper(objective, normaliser, charge=settings.charge, dual=settings.dual)
        strength = objective.strength
        self.target = strength.kl if isinstance(strength, TargetKL) else None
        start = strength.beta if isinstance(strength, Penalty) else settings.controller.start
        self.log_beta = float(np.log(start))
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng([seed, 0])
        self.step = 0

    def ask(self) -> Asked:
        """For the next rollout."""
        rows = self.rng.integers(len(self.prompts), size=self.settings.batch)
        chosen = [self.prompts[row] for row in rows]
        return Asked(chosen, self.sampling.uniforms(len(chosen), self.generator))

    def minibatches(self) -> tuple[Int[torch.Tensor, " rows"], ...]:
        """Rows of each, for one epoch."""
        order = torch.randperm(self.settings.batch, generator=self.generator)
        return order.chunk(self.settings.minibatches)

    def rate(self, steps: int) -> float:
        """The learning rate of this step; schedules end after so many."""
        settings = self.settings
        share = rate(settings.schedule, self.step, steps, settings.warm_up)
        return settings.learning_rate * share

    def shape(self, rolled: Rollout) -> Float[torch.Tensor, "batch time"]:
        """One reward a token."""
        beta, live = float(np.exp(self.log_beta)), rolled.batch.live
        rewards = self.shaper.rewards(
            rolled.scores, rolled.places, rolled.log_ratio.cpu(), live.cpu(), beta
        )
        return rewards.to(live.device)

    def advantage(self, rolled: Rollout, rewards: torch.Tensor) -> Advantages:
        """Generalised advantages, whitened if asked, and value targets."""
        settings = self.settings
        lam = self.shaper.default_lam if settings.lam is None else settings.lam
        live = rolled.batch.live
        found = gae(rewards, rolled.reading.value * live, settings.gamma, lam, live)
        if not settings.whiten:
            return found
        return Advantages(masked_whiten(found.advantages, live), found.returns)

    def losses(
        self,
        now: Reading,
        before: Reading,
        found: Advantages,
        live: Bool[torch.Tensor, "batch time"],
    ) -> tuple[Surrogate, Float[torch.Tensor, ""]]:
        """Of policy and values, means over tokens."""
        settings = self.settings
        surrogate = clipped_surrogate(
            now.log_prob, before.log_prob, found.advantages, settings.clip, live
        )
        value = clipped_value_loss(
            now.value, before.value, found.returns, settings.value_clip, live
        )
        return surrogate, value

    def part_of_loss(
        self,
        now: Reading,
        before: Reading,
        found: Advantages,
        live: Bool[torch.Tensor, "batch time"],
        total: Int[torch.Tensor, ""],
    ) -> tuple[Float[torch.Tensor, ""], Float[torch.Tensor, " numbers"]]:
        """What part of a minibatch of `total` tokens adds to its loss, and to its `MET`.

        Both stay where they are: looking at a number makes a GPU wait.
        """
        surrogate, value = self.losses(now, before, found, live)
        share = live.sum() / total
        loss = share * (surrogate.loss + self.settings.value_coefficient * value)
        met = torch.stack([surrogate.loss, value, surrogate.clip_fraction]).detach()
        return loss, share * met

    def described(self, rolled: Rollout, gold: Judge | None) -> dict[str, float]:
        """What is recorded of a rollout."""
        utility = self.shaper.utility(rolled.scores, rolled.places)
        return describe(rolled, utility, float(np.exp(self.log_beta)), gold)

    def observe(self, rolled: Rollout, row: dict[str, float]) -> None:
        """End a step: what moves by its records, moves; whether it diverged joins the record."""
        if self.shaper.weights is not None:
            self.shaper.weights.observe(rolled.scores)
        if self.target is not None:
            moved = self.settings.controller.moved(
                np.array(self.log_beta), np.array(row[self.settings.steer_by]), self.target
            )
            self.log_beta = float(moved)
        self.step += 1
        why = divergence(row, self.settings.epochs * self.settings.minibatches)
        if why and not self.diverged:
            self.diverged = f"at step {self.step}: {why}"
            self.tell(why)
        row["diverged"] = bool(self.diverged)

    @property
    def ended(self) -> bool:
        """Whether it diverged, and such trainings are to end."""
        return bool(self.diverged) and self.settings.stop_on_divergence

    def tell(self, why: str) -> None:
        """Say that it diverged."""
        tell(self.label, self.step, why)

    def state(self) -> dict[str, Any]:
        """Everything that learning depends on, beside the models."""
        weights = self.shaper.weights
        return {
            "generator": self.generator.get_state(),
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "diverged": self.diverged,
            "log_beta": self.log_beta,
            "member_weights": None if weights is None else weights.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, to the same numbers as without an interruption."""
        self.generator.set_state(state["generator"].cpu())
        self.rng.bit_generator.state = state["rng"]
        self.step, self.log_beta = int(state["step"]), float(state["log_beta"])
        if not np.isfinite(self.log_beta):
            raise InputError("log_beta", "finite", self.log_beta)
        self.diverged = str(state["diverged"])
        if self.shaper.weights is not None:
            self.shaper.weights.load(state["member_weights"])
