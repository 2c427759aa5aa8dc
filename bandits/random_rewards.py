"""PPO whose rewards are noise: what is left of a policy when reward models say nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int

from bandits.optimiser import Evaluation, Task
from bandits.optimisers import PPO
from bandits.rollouts import drawn, rollout_dice, whitened
from bandits.streams import draw
from theory import checks
from theory.errors import InputError
from theory.schedules import Annealed

RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": lambda heads: np.zeros(heads.shape[:-1]),
    "random": lambda heads: heads[..., 0],
    "min": lambda heads: heads.min(-1),
    "max": lambda heads: heads.max(-1),
    "mean": lambda heads: heads.mean(-1),
}
"""Heads, on the last axis, to one reward."""
DESCENTS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class RandomRewards(PPO):
    """PPO on the objective's reward plus noise [rewardrobust2024, sec. 6.2].

    Noise of every head is standard normal, and the same for all rules. Scores of zero leave noise
    minus beta ln(pi / pi0).

    rules:   how the heads become one reward: 'constant' (0), 'random' (the first head), 'min',
             'max' or 'mean'. Several rules share out the runs, in equal consecutive parts.
    heads:   how many there are.
    fixed:   draw noise once for each cell instead of anew for each sample.
    descent: 'adam', whose steps do not depend on the scale of rewards, or 'sgd'.

    Samples of one cell differ in advantage, so counts do not suffice. But the clipped surrogate is
    positively homogeneous: for A >= 0 it is A min(ratio, trusted), and for A <= 0 it is
    -A min(-ratio, -trusted). Per cell the sums of positive and of negative advantages are enough.
    """

    annealed: Annealed | None = None
    rules: tuple[str, ...] = ("random",)
    heads: int = 5
    fixed: bool = False
    descent: str = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        for rule in self.rules:
            checks.one_of("rules", rule, RULES)
        checks.positive("heads", self.heads)
        checks.one_of("descent", self.descent, DESCENTS)

    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """`steps` iterations; evaluations every `evaluate_every`, and at the end."""
        descent = DESCENTS[self.descent](task.policy.parameters, lr=self.learning_rate)
        moving = task.moving(self.annealed, self.controller)
        critic = torch.full_like(task.log_reference[..., :1], self.critic_start)
        dice = rollout_dice(task.log_reference, task.seeds, task.steps, self.samples)
        noise = self.draw_noise(task.log_reference, task.seeds, task.steps)
        for step in range(task.steps):
            current = task.policy.log_probabilities()
            with torch.no_grad():
                before = current.detach()
                chosen = drawn(before, dice[:, step])
                reward = moving.reward(step, before)
                paid = torch.gather(reward, -1, chosen)
                paid += torch.gather(noise, -1, chosen) if self.fixed else noise[:, step]
                advantage = paid - critic
                critic = critic + self.critic_rate * (paid.mean(-1, keepdim=True) - critic)
                if self.whiten:
                    advantage = whitened(advantage, torch.ones_like(advantage))
                signed = signed_sums(advantage, chosen, like=before) / self.samples
            self._improve(descent, task.policy, current, signed)
            yield from task.evaluation(step)

    def draw_noise(
        self, log_reference: torch.Tensor, seeds: Sequence[int], steps: int
    ) -> Float[torch.Tensor, " seeds *places"]:
        """Draw one reward a cell, or one a step, prompt and sample.

        Raises `InputError` where seeds are no multiple of the rules.
        """
        prompts, responses = log_reference.shape[-2:]
        places = (prompts, responses) if self.fixed else (steps, prompts, self.samples)
        share, rest = divmod(len(seeds), len(self.rules))
        if rest:
            raise InputError("seeds", f"a multiple of {len(self.rules)} rules", len(seeds))
        parts = [
            draw(
                seeds[index * share : (index + 1) * share], "random rewards",
                partial(_reduced, rule=rule, size=(*places, self.heads)),
                dtype=log_reference.dtype, device=str(log_reference.device),
            )
            for index, rule in enumerate(self.rules)
        ]  # fmt: skip
        return torch.cat(parts)


def _reduced(
    rng: np.random.Generator, *, rule: str, size: tuple[int, ...]
) -> Float[np.ndarray, "*places"]:
    """One reward of standard normal heads, which lie on the last axis of `size`."""
    return RULES[rule](rng.standard_normal(size))


def signed_sums(
    advantage: Float[torch.Tensor, "seeds prompts samples"],
    chosen: Int[torch.Tensor, "seeds prompts samples"],
    like: Float[torch.Tensor, "seeds prompts responses"],
) -> Float[torch.Tensor, "2 seeds prompts responses"]:
    """Sum of the positive and sum of the negative advantages of every cell."""
    parts = (advantage.clamp(min=0), advantage.clamp(max=0))
    return torch.stack([torch.zeros_like(like).scatter_add_(-1, chosen, part) for part in parts])
