"""Reward ensembles on transformers: what members share, and what each of them sees."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file

from llm_bridge.pairs import Pairs
from llm_bridge.reward_models import RewardModel, RewardTraining, train
from theory import checks
from theory.files import write
from theory.splits import SPLITS, split_counts

KINDS = ("independent", "shared_trunk")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained reward models; each has one head or several."""

    models: tuple[RewardModel, ...]

    def __call__(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> Float[torch.Tensor, "samples k"]:
        """Raw scores of all members, one pass a model."""
        return torch.cat([model.score(prompts, responses) for model in self.models], dim=1)

    def save(self, folder: Path) -> None:
        """Weights of every model, as safetensors."""
        for index, model in enumerate(self.models):
            write(folder / f"model_{index}.safetensors", partial(save_file, model.state_dict()))


@dataclass(frozen=True)
class EnsembleSettings:
    """Which reward models are trained.

    kind:    'independent' models, or heads on a 'shared_trunk', which is trained with them.
    split:   what each member sees of the pairs: the 'same', a 'bootstrap' resample, or a
             'disjoint' part.
    """

    kind: str = "independent"
    members: int = 5
    split: str = "bootstrap"
    training: RewardTraining = RewardTraining()

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.one_of("split", self.split, SPLITS)
        checks.positive("members", self.members)

    def train(self, base: Any, tokenizer: Any, pairs: Pairs, *, limit: int, seed: int) -> Ensemble:
        """Fit all members on copies of the trunk of a language model."""
        rng = np.random.default_rng([seed, 2])
        counts = split_counts(self.split, self.members, len(pairs), rng=rng).T
        models, first = self._fresh(base, tokenizer, limit, seed), 0
        for index, model in enumerate(models):
            heads = model.head.out_features
            rng = np.random.default_rng([seed, 1, index])
            train(model, pairs, counts[:, first : first + heads], self.training, rng=rng)
            model.requires_grad_(False)
            first += heads
        return Ensemble(models)

    def load(self, folder: Path, base: Any, tokenizer: Any, *, limit: int) -> Ensemble:
        """What `Ensemble.save` wrote."""
        models = self._fresh(base, tokenizer, limit, seed=0)
        for index, model in enumerate(models):
            model.load_state_dict(load_file(folder / f"model_{index}.safetensors"))
            model.eval().requires_grad_(False)
        return Ensemble(models)

    def _fresh(self, base: Any, tokenizer: Any, limit: int, seed: int) -> tuple[RewardModel, ...]:
        """Copies of the trunk under random heads."""
        sizes = [self.members] if self.kind == "shared_trunk" else [1] * self.members
        models = []
        for index, heads in enumerate(sizes):
            with torch.random.fork_rng():
                torch.manual_seed(hash_seed(seed, "reward", index))
                trunk = deepcopy(base.base_model).requires_grad_(True)
                models.append(RewardModel(trunk, tokenizer, heads=heads, limit=limit))
        return tuple(models)


def hash_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed for one purpose."""
    words = [seed, index, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0])
