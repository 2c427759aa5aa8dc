"""Policies of preference data sets: for each member of a reward ensemble, some runs of PPO."""

from functools import lru_cache
from typing import Any

import pandas as pd

from theory.penalties import TargetKL
from theory.presets import ensemble_mean, vanilla, variance_aware_ppo

MEMBERS, DISTANCE, STEPS, EVERY = 10, 1.0, 80, 8
METHODS = {
    "vanilla": vanilla(TargetKL(DISTANCE)),
    "aware": variance_aware_ppo(TargetKL(DISTANCE), member=0),
    "mean": ensemble_mean(TargetKL(DISTANCE)),
}
LABELS = {"vanilla": "vanilla", "aware": "variance-aware", "mean": "mean of members"}
Data = tuple[int, ...]


@lru_cache(maxsize=4)
def trained(data: Data, trials: int, split: str, steps: int) -> pd.DataFrame:
    """Evaluations along PPO of every data set, member and trial.

    Each data set has one reference, from which all of its policies start. A policy is rewarded by
    its member; methods share its rollout seed. split: 'same' trains the members on one data set,
    as the paper does; 'fresh' gives each a data set of its own.
    """
    from bandits.optimisers import PPO

    return _rows(PPO(), data, trials, split, steps)


@lru_cache(maxsize=2)
def optima(data: Data, split: str) -> pd.DataFrame:
    """The exact optimum for every data set and member: what PPO approaches, without trials."""
    from bandits.optimisers import Exact

    return _rows(Exact(), data, 1, split, 1)


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of every policy."""
    return rows[rows.step == rows.step.max()]


def population(scores: Any, log_reference: Any, trials: int) -> tuple[Any, Any]:
    """Scores and reference of every data set, member and trial, the policy's own member first."""
    import torch

    from theory.scores import Scores

    own_first = [scores.members.roll(-member, -1) for member in range(scores.k)]
    members = torch.stack(own_first, dim=1).repeat_interleave(trials, 1).flatten(0, 1)
    return Scores(members), log_reference.repeat_interleave(scores.k * trials, 0)


def _rows(optimiser: Any, data: Data, trials: int, split: str, steps: int) -> pd.DataFrame:
    """Evaluations of all methods, from the reference at step 0."""
    from bandits.ensembles import Independent
    from bandits.evaluate import evaluate
    from bandits.grid import Grid
    from bandits.policies import MlpPolicy
    from theory.optimum import bind

    world = Grid(ensemble=Independent(members=MEMBERS, split=split))
    _, log_reference, scores = world.prepare(data)
    scores, log_reference = population(scores, log_reference, trials)
    seats = [(seed, member, trial) for seed in data for member in range(MEMBERS)
             for trial in range(trials)]  # fmt: skip
    rollouts = [(seed * MEMBERS + member) * trials + trial for seed, member, trial in seats]
    frames = []
    for method, objective in METHODS.items():
        policy = MlpPolicy.initial(world, [seed for seed, *_ in seats])
        start = (0, log_reference, bind(objective, scores, log_reference))
        path = optimiser.optimise(objective, scores, log_reference, policy, rollouts, steps, EVERY)
        for step, log_policy, bound in (start, *path):
            found = evaluate(
                log_policy, bound=bound, step=step, seeds=rollouts, gold=world.gold,
                scores=scores, log_reference=log_reference,
            )  # fmt: skip
            names = pd.DataFrame(seats, columns=["data", "member", "trial"])
            numbers = found[["step", "gold", "proxy", "kl"]]
            frames.append(pd.concat([names, numbers], axis=1).assign(method=method))
    return pd.concat(frames, ignore_index=True)
