"""Kinds of reward ensembles: how their models are built, and trained in one stage or two."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.head import at_least_float32
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.stacked import StackedLora
from llm_bridge.rewards.adapted import AdaptedRewardModel
from llm_bridge.rewards.brme import Brme, GaussianRewardModel, train_gaussian
from llm_bridge.rewards.models import RewardModel, RewardTraining, train
from llm_bridge.seeds import hash_seed
from theory import checks
from theory.errors import InputError
from theory.splits import SPLITS, split_counts

ONE_STAGE, TWO_STAGES = ("independent", "shared_trunk"), ("heads", "lora", "brme")
KINDS = ONE_STAGE + TWO_STAGES
Models = tuple[RewardModel, ...]
Losses = dict[str, Float[np.ndarray, "steps heads"]]


@dataclass(frozen=True)
class Recipe:
    """Which reward models are trained. M, L, A: parameters of trunk, head and adapter."""

    kind: str = "independent"
    """What members share: nothing, 'independent', k (M + L) parameters [zhang2024, sec. 3.1];
    'shared_trunk', M + k L, all trained together [zhang2024, linear-layer ensemble]; 'heads' on the
    trunk of a first stage, frozen [banerjee2024, sec. 5]; 'lora', M + k L + k A: adapters and heads
    on a frozen first stage of k heads [zhang2024, Alg. 1]; 'brme', M + 2 k L: means and standard
    deviations that learn from a first stage, whose trunk they move [rewardrobust2024, sec. 5]."""
    members: int = 5
    """Number k of reward models."""
    split: str | None = None
    """What each member sees of the pairs: the 'same', a 'bootstrap' resample, or a 'disjoint' part.
    None takes 'disjoint' for 'brme', else 'bootstrap'. Heads of a frozen trunk that see the same
    pairs agree in the limit."""
    training: RewardTraining = RewardTraining()
    """Of the members."""
    first: RewardTraining | None = None
    """Of the first stage of two; None repeats `training`."""
    first_share: float = 1.0
    """Share of the pairs that is for the first stage alone; with 1 both stages see all."""
    keep_first: bool = False
    """Make the head of the first stage the first of the 'heads'."""
    lora: Lora = Lora()
    brme: Brme = Brme()

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        if self.split is not None:
            checks.one_of("split", self.split, SPLITS)
        checks.positive("members", self.members)
        if not 0 < self.first_share <= 1:
            raise InputError("first_share", "a share of the pairs in (0, 1]", self.first_share)
        if self.kind in ONE_STAGE and self.first_share < 1:
            raise InputError("first_share", f"1 for {self.kind!r} models", self.first_share)
        if self.kind != "heads" and self.keep_first:
            raise InputError("keep_first", "unset unless kind is 'heads'", self.keep_first)

    @property
    def sees(self) -> str:
        """Name of the split."""
        return self.split or ("disjoint" if self.kind == "brme" else "bootstrap")


@dataclass(frozen=True, eq=False)
class Workshop:
    """Where the models of an ensemble are built and trained."""

    recipe: Recipe
    base: Any
    tokenizer: Any
    limit: int
    seed: int

    def untrained(self) -> Models:
        """Models with random heads, on copies of the trunk of `base`."""
        members = self.recipe.members
        if self.recipe.kind == "independent":
            return tuple(self._model(self._trunk(), 1, index) for index in range(members))
        if self.recipe.kind == "lora":
            return (self._adapted(self._trunk()),)
        made = GaussianRewardModel if self.recipe.kind == "brme" else RewardModel
        return (self._model(self._trunk(), members, made=made),)

    def trained(self, pairs: Pairs) -> tuple[Models, Losses]:
        """Models of the kind that is asked for, and the losses of every stage."""
        first, counts = self._counts(len(pairs))
        if self.recipe.kind in ONE_STAGE:
            models, losses = self.untrained(), {}
        else:
            stage = self._model(self._trunk(), self._first_heads, purpose="first")
            losses = {"first": train(
                stage, pairs, np.repeat(first[:, None], self._first_heads, 1),
                self.recipe.first or self.recipe.training, rng=self._rng(4),
            )}  # fmt: skip
            if self.recipe.kind == "brme":
                model = self._model(stage.trunk, self.recipe.members, made=GaussianRewardModel)
                losses["model 0"] = self._gaussian(model, stage, pairs, counts)
                return (model,), losses
            models = self._second(stage)
        settings, members = self.recipe.training, self.recipe.members
        rngs = [self._rng(1, index) for index in range(members)]
        if self.recipe.kind == "lora":
            found = train(models[0], pairs, counts, settings, rng=rngs)
            return models, losses | {f"model {i}": found[:, i : i + 1] for i in range(members)}
        own = np.split(counts, len(models), axis=1)
        for index, model in enumerate(models):
            losses[f"model {index}"] = train(model, pairs, own[index], settings, rng=rngs[index])
        return models, losses

    @property
    def _first_heads(self) -> int:
        return self.recipe.members if self.recipe.kind == "lora" else 1

    def _second(self, stage: RewardModel) -> Models:
        """Heads on the frozen trunk of a first stage, with adapters or without."""
        stage.trunk.requires_grad_(False)
        if self.recipe.kind == "lora":
            adapted = self._adapted(stage.trunk)
            adapted.head.load_state_dict(stage.head.state_dict())
            return (adapted,)
        model = self._model(stage.trunk, self.recipe.members)
        if self.recipe.keep_first:
            model.head.weight.data[0] = stage.head.weight.data[0]
            model.head.bias.data[0] = stage.head.bias.data[0]
        return (model,)

    def _gaussian(
        self, model: GaussianRewardModel, stage: RewardModel, pairs: Pairs, counts: np.ndarray
    ) -> Float[np.ndarray, "steps heads"]:
        won, lost = (stage.score(pairs.prompts, t).members for t in (pairs.chosen, pairs.rejected))
        generator = torch.Generator().manual_seed(hash_seed(self.seed, "reparameterised"))
        return train_gaussian(
            model, pairs, torch.sigmoid(won - lost)[:, 0].double().numpy(), counts,
            self.recipe.training, self.recipe.brme, rng=self._rng(1, 0), generator=generator,
        )  # fmt: skip

    def _counts(
        self, pairs: int
    ) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, "pairs k"]]:
        """How often the first stage and each member count a pair."""
        recipe, rest = self.recipe, np.arange(pairs)
        first, counts = np.ones(pairs), np.zeros((pairs, recipe.members))
        if recipe.first_share < 1:
            most = min(max(1, round(recipe.first_share * pairs)), pairs - 1)
            rest = self._rng(5).permutation(pairs)[most:]
            first[rest] = 0
        counts[rest] = split_counts(recipe.sees, recipe.members, len(rest), rng=self._rng(2)).T
        return first, counts

    def _trunk(self) -> Any:
        return at_least_float32(deepcopy(self.base.base_model)).requires_grad_(True)

    def _adapted(self, trunk: Any) -> AdaptedRewardModel:
        """Adapters of a trunk, and their heads."""
        seeds = [hash_seed(self.seed, "adapter", index) for index in range(self.recipe.members)]
        adapters = StackedLora(trunk, self.recipe.lora, seeds)
        with torch.random.fork_rng():
            torch.manual_seed(hash_seed(self.seed, "reward"))
            return AdaptedRewardModel(trunk, self.tokenizer, adapters=adapters, limit=self.limit)

    def _model(
        self,
        trunk: Any,
        heads: int,
        index: int = 0,
        *,
        purpose: str = "reward",
        made: type[RewardModel] = RewardModel,
    ) -> Any:
        """A model with random heads of its own."""
        with torch.random.fork_rng():
            torch.manual_seed(hash_seed(self.seed, purpose, index))
            return made(trunk, self.tokenizer, heads=heads, limit=self.limit)

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])
