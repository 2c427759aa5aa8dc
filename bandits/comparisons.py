"""Comparisons as the reward models of a population see them: all, resampled, or their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from bandits.preferences import Preferences
from bandits.streams import stream
from theory import checks
from theory.errors import InputError

SPLITS = ("same", "bootstrap", "disjoint", "fresh")


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Who beat whom, for the members of every seed; cells are prompt * responses + response.

    chosen, rejected: cells that were compared; one copy for all members, or one each.
    weights:          how much each comparison counts for each member; they sum to 1.
    """

    chosen: Int[torch.Tensor, "seeds copies comparisons"]
    rejected: Int[torch.Tensor, "seeds copies comparisons"]
    weights: Float[torch.Tensor, "seeds members comparisons"]

    @classmethod
    def of(
        cls,
        preferences: Preferences,
        gold: Float[torch.Tensor, "prompts responses"],
        seeds: Sequence[int],
        *,
        members: int,
        split: str,
    ) -> "Comparisons":
        """What the members of every seed see."""
        copies = members if split == "fresh" else 1
        chosen, rejected = preferences.sample(gold.cpu().numpy(), seeds, copies)
        weights = split_weights(split, seeds, members, chosen.shape[-1])
        return cls(
            torch.as_tensor(chosen, device=gold.device),
            torch.as_tensor(rejected, device=gold.device),
            torch.as_tensor(weights, dtype=gold.dtype, device=gold.device),
        )

    def pooled(self) -> "Comparisons":
        """All comparisons of a seed, alike, for one model."""
        chosen, rejected = (cells.flatten(-2)[:, None] for cells in (self.chosen, self.rejected))
        uniform = torch.full_like(chosen, 1 / chosen.shape[-1], dtype=self.weights.dtype)
        return Comparisons(chosen, rejected, uniform)

    def margins(
        self, scores: Float[torch.Tensor, "seeds #members prompts responses"]
    ) -> Float[torch.Tensor, "seeds members comparisons"]:
        """Score of the chosen response minus that of the rejected one."""
        return self.gather(scores, self.chosen) - self.gather(scores, self.rejected)

    def gather(
        self,
        scores: Float[torch.Tensor, "seeds #members prompts responses"],
        cells: Int[torch.Tensor, "seeds copies comparisons"],
    ) -> Float[torch.Tensor, "seeds members comparisons"]:
        """Scores of cells, for every member."""
        members = self.weights.shape[1]
        flat = scores.flatten(-2).expand(-1, members, -1)
        return torch.gather(flat, -1, cells.expand(-1, members, -1))


def split_weights(
    split: str, seeds: Sequence[int], members: int, comparisons: int
) -> Float[np.ndarray, "seeds members comparisons"]:
    """What each member sees: all ('same', 'fresh'), a bootstrap resample, or a part of its own.

    Raises `InputError` for an unknown split, and for 'disjoint' with fewer comparisons than
    members.
    """
    checks.one_of("split", split, SPLITS)
    if split == "disjoint" and comparisons < members:
        raise InputError("split", f"not 'disjoint' with {comparisons} comparisons", members)
    return np.stack([_weights(split, stream(s, "split"), members, comparisons) for s in seeds])


def _weights(
    split: str, rng: np.random.Generator, members: int, comparisons: int
) -> Float[np.ndarray, "members comparisons"]:
    if split == "bootstrap":
        uniform = np.full(comparisons, 1 / comparisons)
        return rng.multinomial(comparisons, uniform, size=members) / comparisons
    if split == "disjoint":
        mine = np.arange(members)[:, None] == rng.permutation(comparisons) % members
        return mine / mine.sum(-1, keepdims=True)
    return np.full((members, comparisons), 1 / comparisons)
