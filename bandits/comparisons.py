"""Comparisons as the reward models of a population see them: all, resampled, or their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from bandits.preferences import Preferences
from bandits.streams import stream
from theory import checks
from theory.splits import SPLITS as SHARED
from theory.splits import split_counts

SPLITS = (*SHARED, "fresh")
"""Of one data set, or with one for each member."""


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
        self, scores: Float[torch.Tensor, " seeds #members prompts responses"]
    ) -> Float[torch.Tensor, "seeds members comparisons"]:
        """Score of the chosen response minus that of the rejected one."""
        return self.gather(scores, self.chosen) - self.gather(scores, self.rejected)

    def gather(
        self,
        scores: Float[torch.Tensor, " seeds #members prompts responses"],
        cells: Int[torch.Tensor, "seeds copies comparisons"],
    ) -> Float[torch.Tensor, "seeds members comparisons"]:
        """Scores of cells, for every member."""
        members = self.weights.shape[1]
        flat = scores.flatten(-2).expand(-1, members, -1)
        return torch.gather(flat, -1, cells.expand(-1, members, -1))


def split_weights(
    split: str, seeds: Sequence[int], members: int, comparisons: int
) -> Float[np.ndarray, "seeds members comparisons"]:
    """`theory.splits.split_counts` of every seed, as shares; 'fresh' data are all used.

    Raises `InputError` as it does.
    """
    checks.one_of("split", split, SPLITS)
    within = "same" if split == "fresh" else split
    counts = np.stack(
        [split_counts(within, members, comparisons, rng=stream(s, "split")) for s in seeds]
    )
    return counts / counts.sum(-1, keepdims=True)
