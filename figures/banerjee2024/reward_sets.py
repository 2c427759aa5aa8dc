"""Reward models on four kinds of preference data, and what they say of unseen comparisons."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

MEMBERS = 10
DATA: dict[str, dict[str, Any]] = {
    "2 pairs a prompt": {},
    "5 pairs a prompt": {"pairs": 5},
    "23% of labels flipped": {"noise": "external"},
    "full coverage": {"covered": True},
}
"""Options of `bandits.preferences.Preferences`, in place of the paper's four test sets."""
SPLITS = {"same": "heads share the data", "bootstrap": "a bootstrap resample each"}
NOTABLE = 0.1
"""Sd across reward models, relative to what they agree on, from which they disagree."""


class Unseen(NamedTuple):
    """Comparisons of a prompt's best response with one that the data do not have."""

    run: Int[np.ndarray, " pairs"]
    chosen: Float[np.ndarray, "pairs members"]
    rejected: Float[np.ndarray, "pairs members"]


def heads(data: str, split: str) -> Any:
    """A world of ten heads on the frozen trunk of one model."""
    from bandits.ensembles import SharedTrunk
    from bandits.grid import Grid
    from bandits.preferences import Preferences

    return Grid(
        preferences=Preferences(**DATA[data]), ensemble=SharedTrunk(members=MEMBERS, split=split)
    )


def unseen(world: Any, seeds: Sequence[int]) -> Unseen:
    """Scores, as trained, of both responses of every unseen comparison of every seed."""
    data, gold = world.comparisons(seeds), world.gold.numpy()
    scores = world.outputs(seeds).members.numpy()
    best = gold.argmax(-1)
    open_ = np.ones((len(seeds), gold.size), bool)
    for cells in (data.chosen, data.rejected):
        np.put_along_axis(open_, cells.flatten(1).numpy(), False, axis=1)
    open_ = open_.reshape(len(seeds), *gold.shape)
    open_[:, np.arange(len(best)), best] = False
    run, prompt, response = open_.nonzero()
    return Unseen(run, scores[run, :, prompt, best[prompt]], scores[run, :, prompt, response])
