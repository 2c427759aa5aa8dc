"""What PPO makes of each way to combine reward models: curves, differences, late declines."""

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from figures.figure import Setting
from figures.rewardrobust2024.populations import repeated
from figures.study import curves, difference, estimate
from theory.presets import best_case, ensemble_mean, reward_robust, vanilla, wco

SEEDS = {"toy": 48, "tiny": 256}
SFT, BETA, STEPS, EVERY, LAM = 0.35, 0.1, 240, 5, 0.6
DISTANCE = 0.7
"""Nats of KL at which exact optima are compared."""
PRESETS = {
    "min": wco,
    "mix": lambda strength: reward_robust(strength, lam=LAM),
    "mean": ensemble_mean,
    "one": vanilla,
    "max": best_case,
}
WORLDS = ("seed noise", "data hole")
"""Networks that share nothing between responses, and networks that share a gap in the data."""


def compute(setting: Setting) -> pd.DataFrame:
    """Estimates over seeds, of every world and objective: curves, declines, paired differences."""
    return _computed(range(setting.seed, setting.seed + setting.count(SEEDS))).copy()


@lru_cache(maxsize=2)
def _computed(runs: range) -> pd.DataFrame:
    from bandits.ensembles import Independent
    from bandits.grid import Grid
    from bandits.networks import Concatenated

    seeds = list(runs)
    ensembles = (Independent(), Independent(network=Concatenated()))
    tables = []
    for name, ensemble in zip(WORLDS, ensembles, strict=True):
        world = Grid(sft=SFT, ensemble=ensemble)
        trained, exact = train_side_by_side(world, seeds), solve_at_distance(world, seeds)
        tables += [curves(trained, ("gold", "kl")).assign(kind="curve", world=name)]
        tables += [declines(trained).assign(world=name)]
        for kind, rows in (("end", trained[trained.step == STEPS]), ("matched", exact)):
            tables += [_differences(rows).assign(kind=kind, world=name)]
    return pd.concat(tables, ignore_index=True)


def train_side_by_side(world: Any, seeds: list[int]) -> pd.DataFrame:
    """Train all objectives in one population: gold and KL by seed, objective and iteration."""
    import torch

    from bandits.optimisers import PPO
    from theory.scores import Scores

    policy, log_reference, scores = world.prepare(seeds)
    copies = len(PRESETS)
    utilities = [preset(BETA).utility(scores) for preset in PRESETS.values()]
    found = PPO(annealed=None).optimise(
        vanilla(BETA), Scores(torch.cat(utilities)[..., None]), log_reference.repeat(copies, 1, 1),
        repeated(policy, copies), seeds * copies, STEPS, EVERY,
    )  # fmt: skip
    steps = ((step, log_policy.unflatten(0, (copies, -1))) for step, log_policy, _ in found)
    frames = [
        _measured(world, log_policy, log_reference, seeds, step) for step, log_policy in steps
    ]
    return pd.concat(frames, ignore_index=True)


def solve_at_distance(world: Any, seeds: list[int]) -> pd.DataFrame:
    """Solve all objectives at `DISTANCE` nats from the reference: gold and KL by seed."""
    import torch

    from theory.optimum import solve
    from theory.penalties import TargetKL

    _, log_reference, scores = world.prepare(seeds)
    optima = [
        solve(preset(TargetKL(DISTANCE)), log_reference, scores).log_policy
        for preset in PRESETS.values()
    ]
    return _measured(world, torch.stack(optima), log_reference, seeds, STEPS)


def _measured(
    world: Any, log_policies: Any, log_reference: Any, seeds: list[int], step: int
) -> pd.DataFrame:
    """One row a seed and objective; policies are (objectives, seeds, prompts, responses)."""
    from theory.divergences import kl

    gold = (log_policies.exp() * world.gold).sum(-1).mean(-1)
    distance = kl(log_policies, log_reference).mean(-1)
    return pd.DataFrame(
        {"objective": [name for name in PRESETS for _ in seeds], "seed": seeds * len(PRESETS),
         "step": step, "gold": gold.flatten().numpy(), "kl": distance.flatten().numpy()}
    )  # fmt: skip


def declines(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimate peak minus end, a seed's peak placed by the other seeds; and middle minus end.

    rows: seed, objective, step and gold of training, as `train_side_by_side` gives them.
    """
    found = []
    for name, part in rows.groupby("objective", sort=False):
        table = part.pivot(index="seed", columns="step", values="gold")
        peaks = (table.sum() - table).idxmax(axis=1)
        best = table.to_numpy()[np.arange(len(table)), table.columns.get_indexer(pd.Index(peaks))]
        falls = best - table[STEPS]
        peak, label = table.mean().idxmax(), {"objective": name, "metric": "gold"}
        late = estimate(table[STEPS // 2] - table[STEPS])
        found.append({**label, **estimate(falls)._asdict(), "step": peak, "kind": "decline"})
        found.append({**label, **late._asdict(), "step": STEPS // 2, "kind": "late decline"})
    return pd.DataFrame(found).assign(seeds=rows.seed.nunique())


def _differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Every pair of objectives on the same seeds, in gold and in KL."""
    found = [
        {"objective": f"{first} − {second}", "metric": metric,
         **difference(rows, first, second, metric)._asdict(), "seeds": rows.seed.nunique()}
        for first in PRESETS for second in PRESETS if first != second
        for metric in ("gold", "kl")
    ]  # fmt: skip
    return pd.DataFrame(found)
