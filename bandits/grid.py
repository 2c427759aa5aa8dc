"""The grid world: every prompt has one best response, and only a few comparisons are seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bandits.comparisons import Comparisons
from bandits.ensemble import Ensemble, Outputs
from bandits.ensembles import Independent
from bandits.placement import DTYPES, check_device, check_dtype
from bandits.policies import MlpPolicy
from bandits.preferences import Preferences
from bandits.training import TabularWorld
from theory import checks
from theory.errors import InputError
from theory.memory import Memory, identity
from theory.scores import NORMALISATIONS, Scores


@dataclass(frozen=True)
class Grid(TabularWorld):
    """A prompts x responses world with gold = identity by default [rewardrobust2024, sec. 6].

    gold:        true reward of every cell, row by row (`Grid.with_gold` takes an array), or None
                 for 1 on the diagonal.
    preferences: how comparisons come about.
    ensemble:    which reward models are fitted to them.
    normalise:   'centred' subtracts each member's mean under the reference, which Bradley-Terry
                 leaves open; 'standardised' also divides by its spread (heterologous fusion
                 [rewardrobust2024, Table 8]); 'none' leaves scores as they are.
    hidden:      width of the policy's two hidden layers; the reference is its initial state.
    sft:         probability of the best response to which supervised fine-tuning brings the
                 reference first, or None for random initial weights (nearly uniform).
    device:      'cpu' or 'cuda'; dtype 'float32' or 'float64'.
    memory:      of reward models that are trained, which copies with other settings share.

    Raises `InputError` for sizes that make no sense, unknown names or a device that is absent.
    """

    prompts: int = 8
    responses: int = 8
    gold_rows: tuple[tuple[float, ...], ...] | None = None
    preferences: Preferences = Preferences()
    ensemble: Ensemble = Independent()
    normalise: str = "centred"
    hidden: int = 32
    sft: float | None = None
    device: str = "cpu"
    dtype: str = "float32"
    memory: Memory = field(default_factory=Memory, compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("prompts", "hidden"):
            checks.positive(name, getattr(self, name))
        if self.responses < 2:
            raise InputError("responses", "at least 2", self.responses)
        if self.sft is not None and not 0 < self.sft < 1:
            raise InputError("sft", "a probability between 0 and 1", self.sft)
        checks.one_of("normalise", self.normalise, NORMALISATIONS)
        check_dtype(self.dtype)
        check_device(self.device)
        if self.gold_rows is not None:
            gold = np.array(self.gold_rows)
            if gold.shape != self.shape:
                raise InputError("gold", f"of shape {self.shape}", gold.shape)
            checks.finite("gold", gold)
        self.preferences.check(*self.shape)
        if self.preferences.given is not None and self.ensemble.split == "fresh":
            raise InputError("split", "not 'fresh': the comparisons are given", "'fresh'")

    @classmethod
    def with_gold(cls, gold: Float[np.ndarray, "prompts responses"], **options: Any) -> "Grid":
        """A world of any true rewards.

        >>> Grid.with_gold(np.array([[0.0, 1.0, 0.5]])).shape
        (1, 3)
        """
        prompts, responses = gold.shape
        rows = tuple(tuple(row) for row in gold.tolist())
        return cls(prompts, responses, rows, **options)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return f"grid {self.prompts}x{self.responses}"

    @property
    def shape(self) -> tuple[int, int]:
        """Prompts and responses."""
        return self.prompts, self.responses

    @property
    def gold(self) -> Float[torch.Tensor, "prompts responses"]:
        """True rewards."""
        if self.gold_rows is not None:
            gold = torch.tensor(self.gold_rows, dtype=torch.float64)
        else:
            best = torch.arange(self.prompts) % self.responses
            gold = torch.nn.functional.one_hot(best, self.responses)
        return gold.to(dtype=DTYPES[self.dtype], device=self.device)

    def comparisons(self, seeds: Sequence[int]) -> Comparisons:
        """What the reward models of every seed see."""
        members, split = self.ensemble.members, self.ensemble.split
        return Comparisons.of(self.preferences, self.gold, seeds, members=members, split=split)

    def outputs(self, seeds: Sequence[int]) -> Outputs:
        """Trained reward models, as they are."""
        own = tuple(seeds)
        return self.memory.recall(
            "outputs", (identity(self), own), lambda: self._trained(own), size=4
        )

    def _trained(self, seeds: Sequence[int]) -> Outputs:
        """Reward models do not depend on the objective: trained once for all of them."""
        return self.ensemble.train(self.comparisons(seeds), seeds, self.shape)

    def scores(self, seeds: Sequence[int]) -> Scores:
        """Members (seeds, prompts, responses, k) of trained reward models, not normalised."""
        members, head_std = self.outputs(seeds)
        last = [None if a is None else a.movedim(1, -1).contiguous() for a in (members, head_std)]
        assert last[0] is not None
        return Scores(last[0], head_std=last[1])

    def prepare(self, seeds: Sequence[int]) -> tuple[MlpPolicy, torch.Tensor, Scores]:
        """Initial policy, ln of the reference that it is, and normalised scores."""
        policy = MlpPolicy.initial(self, seeds)
        if self.sft is not None:
            policy.fitted(self._demonstrations(self.sft))
        log_reference = policy.log_probabilities().detach()
        return policy, log_reference, self.scores(seeds).normalised(self.normalise, log_reference)

    def _demonstrations(self, best: float) -> Float[torch.Tensor, "prompts responses"]:
        """`best` on each prompt's best response, the rest spread over the others."""
        target = torch.full_like(self.gold, (1 - best) / (self.responses - 1))
        return target.scatter(-1, self.gold.argmax(-1, keepdim=True), best)

    def sound(self, seeds: Sequence[int]) -> list[int]:
        """Seeds whose reward models are finite; the others are named and left out."""
        members = self.outputs(seeds).members
        broken = (~members.isfinite()).flatten(1).any(-1).tolist()
        for seed, lost in zip(seeds, broken, strict=True):
            if lost:
                print(f"seed {seed} stopped: its reward models are not finite ({self.ensemble})")
        if all(broken):
            raise InputError("reward models", "finite in some run", "NaN or infinite in all")
        return [seed for seed, lost in zip(seeds, broken, strict=True) if not lost]
