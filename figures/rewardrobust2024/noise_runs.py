"""Actors that are trained on noise: how far they fall, and on which rule they fall further."""

from typing import Any

import pandas as pd

from figures.rewardrobust2024.populations import repeated
from figures.study import difference
from theory.presets import vanilla

SFT, NO_BETA, STEPS = 0.6, 1e-9, 200


def trained(optimiser: Any, beta: float, seeds: list[int], every: int) -> pd.DataFrame:
    """Fall of the best response's probability and KL, of every rule of `optimiser` and seed."""
    import torch

    from bandits.grid import Grid
    from theory.divergences import kl
    from theory.scores import Scores

    world, rules = Grid(sft=SFT), optimiser.rules
    policy, log_reference, _ = world.prepare(seeds)
    start = log_reference.repeat(len(rules), 1, 1)
    found = optimiser.optimise(
        vanilla(beta), Scores(torch.zeros_like(start)[..., None]), start,
        repeated(policy, len(rules)), seeds * len(rules), STEPS, every,
    )  # fmt: skip
    frames = []
    for step, log_policy, _ in found:
        lost = ((start.exp() - log_policy.exp()) * world.gold).sum(-1).mean(-1)
        frames.append(
            {"objective": [rule for rule in rules for _ in seeds], "seed": seeds * len(rules),
             "step": step, "drop": lost.numpy(), "kl": kl(log_policy, start).mean(-1).numpy()}
        )  # fmt: skip
    return pd.concat(map(pd.DataFrame, frames), ignore_index=True)


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of fall and KL at the end, between any two rules."""
    last = rows[rows.step == STEPS]
    names = list(dict.fromkeys(last.objective))
    found = [
        {"objective": f"{first} − {second}", "metric": metric,
         **difference(last, first, second, metric)._asdict()}
        for first in names for second in names if first != second
        for metric in ("drop", "kl")
    ]  # fmt: skip
    return pd.DataFrame(found).assign(kind="end", seeds=last.seed.nunique())
