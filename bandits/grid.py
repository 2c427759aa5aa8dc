"""The grid world: every prompt has one best response, and only a few comparisons are seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from bandits.networks import init_layers
from bandits.policies import MlpPolicy
from bandits.reward_models import RewardTraining, train_reward_models
from bandits.streams import stream
from bandits.training import train_population
from theory import checks
from theory.errors import InputError
from theory.objective import Objective
from theory.scores import Scores


@dataclass(frozen=True)
class Grid:
    """A prompts x responses world with gold = identity [rewardrobust2024, sec. 6].

    pairs:   comparisons of each prompt: its best response against that many others, drawn without
             replacement. With all others compared nothing is left to chance.
    members: reward models; each starts from weights of its own and sees the same comparisons.
    rewards: how they are trained.
    hidden:  width of the policy's two hidden layers; the reference is its initial state.
    device:  'cpu' or 'cuda'.

    Raises `InputError` for sizes that make no sense or a device that is absent.
    """

    prompts: int = 8
    responses: int = 8
    pairs: int = 2
    members: int = 4
    rewards: RewardTraining = RewardTraining()
    hidden: int = 32
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("prompts", "members", "hidden"):
            checks.positive(name, getattr(self, name))
        if self.responses < 2:
            raise InputError("responses", "at least 2", self.responses)
        if not 1 <= self.pairs < self.responses:
            raise InputError("pairs", f"between 1 and {self.responses - 1}", self.pairs)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device", "available", "'cuda'", "use device='cpu'")

    @property
    def name(self) -> str:
        """As quoted in records."""
        return f"grid {self.prompts}x{self.responses}"

    @property
    def gold(self) -> Float[torch.Tensor, "prompts responses"]:
        """True rewards: 1 for the best response of each prompt, else 0."""
        best = torch.arange(self.prompts) % self.responses
        gold = torch.nn.functional.one_hot(best, self.responses)
        return gold.to(torch.float32).to(self.device)

    def rejected(self, seeds: Sequence[int]) -> Int[torch.Tensor, "seeds prompts pairs"]:
        """The responses that each prompt's best one was compared with."""
        rows = np.stack([self._others(stream(seed, "comparisons")) for seed in seeds])
        return torch.as_tensor(rows, device=self.device)

    def scores(self, seeds: Sequence[int]) -> Scores:
        """Members (seeds, prompts, responses, k) of trained reward models, uncentred."""
        return _trained(self, tuple(seeds))

    def prepare(self, seeds: Sequence[int]) -> tuple[MlpPolicy, torch.Tensor, Scores]:
        """Initial policy, ln of the reference that it is, and scores centred under it."""
        policy = MlpPolicy.initial(self, seeds)
        log_reference = policy.log_probabilities().detach()
        return policy, log_reference, self.scores(seeds).centred(log_reference)

    def train(
        self,
        objective: Objective,
        optimiser: Any,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """Reward models, then a policy, for all seeds at once; see `theory.experiment.World`."""
        return train_population(self, objective, optimiser, seeds, steps, evaluate_every)

    def _others(self, rng: np.random.Generator) -> np.ndarray:
        best = np.arange(self.prompts) % self.responses
        ranks = rng.random((self.prompts, self.responses))
        ranks[np.arange(self.prompts), best] = np.inf
        return ranks.argsort(-1)[:, : self.pairs]


@lru_cache(maxsize=4)
def _trained(world: Grid, seeds: tuple[int, ...]) -> Scores:
    """Reward models do not depend on the objective: trained once for all of them."""
    sizes = (world.prompts, world.hidden, world.hidden, world.responses)
    layers = init_layers(seeds, "reward", sizes, members=world.members, device=world.device)
    chosen = world.gold.argmax(-1)
    return train_reward_models(layers, chosen, world.rejected(seeds), world.rewards)
