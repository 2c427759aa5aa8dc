"""Two ensembles on the same data: one whose spread tells where it errs, one whose does not."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from theory.optimum import bind
from theory.presets import ensemble_mean
from theory.scores import Scores

MEMBERS, SFT, PAIRS = 5, 0.5, 2
REFERENCE = "reference"
CALIBRATED, MISCALIBRATED = "calibrated", "miscalibrated"


class Prepared(NamedTuple):
    """Reference, its network and reward models of one ensemble."""

    seeds: tuple[int, ...]
    gold: Any
    policy: Any
    log_reference: Any
    scores: Scores

    @property
    def facts(self) -> dict[str, Any]:
        """What an evaluation needs besides a policy."""
        return {"seeds": self.seeds, "gold": self.gold, "scores": self.scores,
                "log_reference": self.log_reference}  # fmt: skip


@lru_cache(maxsize=2)
def prepare(ensemble: str, seeds: tuple[int, ...]) -> Prepared:
    """Members differ in all weights, or only in heads on one frozen trunk."""
    from bandits.ensembles import Independent, SharedTrunk
    from bandits.grid import Grid
    from bandits.networks import Concatenated
    from bandits.preferences import Preferences

    kind = {CALIBRATED: Independent, MISCALIBRATED: SharedTrunk}[ensemble]
    models = kind(members=MEMBERS, network=Concatenated(activation="tanh"))
    world = Grid(sft=SFT, preferences=Preferences(pairs=PAIRS), ensemble=models)
    return Prepared(seeds, world.gold, *world.prepare(seeds))


def start(prepared: Prepared) -> pd.DataFrame:
    """Where training starts, with how well the members' spread ranks the error of their mean."""
    from bandits.evaluate import evaluate

    bound = bind(ensemble_mean(), prepared.scores, prepared.log_reference)
    row = evaluate(prepared.log_reference, bound=bound, step=0, **prepared.facts)
    share = prepared.log_reference.exp()
    gold = prepared.gold - (share * prepared.gold).sum(-1, keepdim=True)
    scores = prepared.scores.numpy()
    ranks = calibration(scores.mean(), scores.std(), gold.numpy())
    return row.assign(objective=REFERENCE, calibration=ranks)


def calibration(mean: np.ndarray, std: np.ndarray, gold: np.ndarray) -> list[float]:
    """Rank correlation over cells of std with |error of the mean|, a number a seed.

    Scores have no unit: each seed's mean is first rescaled to fit the gold best.
    """
    both = (-2, -1)
    scale = (mean * gold).sum(both, keepdims=True) / (mean**2).sum(both, keepdims=True)
    errors = np.abs(scale * mean - gold)
    return [float(spearmanr(s.ravel(), e.ravel())[0]) for s, e in zip(std, errors, strict=True)]
