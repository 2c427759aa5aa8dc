"""Runs that the training figures share: two ensembles, six objectives, trained once each."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

import pandas as pd

from figures.adaptive2024.worlds import Prepared, prepare, start
from figures.figure import Setting
from theory.objective import Objective
from theory.penalties import Strength, TargetKL
from theory.presets import adaptive, ensemble_mean, lcb, vanilla, wco

SEEDS = {"toy": 96, "tiny": 512}
STEPS, EVERY, LEARNING_RATE = 60, 3, 2e-3
BETA, LOW_BETA = 0.3, 0.005
"""Where the KL charge is felt and over-optimisation still shows; the paper's smallest lambda."""
DISTANCE = 0.7
"""Nats at which every method is compared: just enough to put everything on the best response."""
METHODS: Mapping[str, Callable[[float | Strength], Objective]] = {
    "standard": vanilla,
    "mean": ensemble_mean,
    "pessimistic": wco,
    "LCB": lcb,
    "adaptive": adaptive,
    "adaptive, per sample": lambda strength: adaptive(strength, per="sample"),
}
READINGS = ("adaptive", "adaptive, per sample")
"""One variance a prompt (the paper's Eq. 6), and that of each response."""


def seeds(setting: Setting) -> tuple[int, ...]:
    """The seeds of a figure."""
    return tuple(range(setting.seed, setting.seed + setting.count(SEEDS)))


@lru_cache(maxsize=4)
def trained(ensemble: str, seeds: tuple[int, ...], steps: int) -> pd.DataFrame:
    """One row a method, seed and evaluation at a constant beta, and the reference at step 0."""
    prepared = prepare(ensemble, seeds)
    rows = _evaluated(prepared, BETA, _ppo(), steps)
    return pd.concat([start(prepared), rows], ignore_index=True)


@lru_cache(maxsize=4)
def matched(ensemble: str, seeds: tuple[int, ...], steps: int) -> pd.DataFrame:
    """The end of training with beta steered to one KL, the exact optima there, and at a low beta.

    `stage` is 'steered', 'exact' or 'low beta'.
    """
    from bandits.optimisers import Exact

    prepared, at = prepare(ensemble, seeds), TargetKL(DISTANCE)
    stages = {
        "steered": _evaluated(prepared, at, _ppo(), steps),
        "exact": _evaluated(prepared, at, Exact(), 1),
        "low beta": _evaluated(prepared, LOW_BETA, Exact(), 1),
    }
    ends = [rows[rows.step == rows.step.max()].assign(stage=name) for name, rows in stages.items()]
    return pd.concat(ends, ignore_index=True)


def _evaluated(
    prepared: Prepared, strength: float | Strength, optimiser: Any, steps: int
) -> pd.DataFrame:
    """One row a method, seed and evaluation; every method starts at the same policy."""
    from bandits.evaluate import evaluate

    frames = []
    for name, method in METHODS.items():
        found = optimiser.optimise(
            method(strength), prepared.scores, prepared.log_reference, deepcopy(prepared.policy),
            prepared.seeds, steps, EVERY,
        )  # fmt: skip
        frames += [
            evaluate(log_policy, bound=bound, step=step, **prepared.facts).assign(objective=name)
            for step, log_policy, bound in found
        ]
    return pd.concat(frames, ignore_index=True)


def _ppo() -> Any:
    from bandits.optimisers import PPO
    from theory.schedules import Controller

    return PPO(annealed=None, learning_rate=LEARNING_RATE, controller=Controller(start=1.0))
