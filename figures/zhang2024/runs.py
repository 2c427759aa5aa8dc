"""Three kinds of ensembles and one model on the same data, under best-of-n and along PPO."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

import pandas as pd

from figures.figure import Setting
from theory.objective import Objective
from theory.presets import ensemble_mean, lcb, vanilla
from theory.scores import Scores

SEEDS = {"toy": 96, "tiny": 512}
MEMBERS, SFT, BETA = 3, 0.3, 0.15
COUNTS = (2, 4, 8, 16, 50, 100, 200)
"""Responses that best-of-n draws; the paper's are the last three."""
STEPS, EVERY, LEARNING_RATE = 60, 10, 1e-3
REPEATS = {"best-of-n": 10, "PPO": 5}
"""Seeds of the paper [zhang2024, sec. 4]."""
SINGLE, INDEPENDENT, LINEAR, LORA, LAPLACE = (
    "one model", "independent", "linear layer", "LoRA", "Laplace",
)  # fmt: skip
KINDS = (INDEPENDENT, LINEAR, LORA)
MEAN = "mean"
AGGREGATIONS: Mapping[str, Objective] = {
    MEAN: ensemble_mean(BETA),
    "LCB 0.1": lcb(BETA, coefficient=0.1),
    "LCB 0.5": lcb(BETA, coefficient=0.5),
}


def seeds(setting: Setting) -> tuple[int, ...]:
    """The seeds of a figure."""
    return tuple(range(setting.seed, setting.seed + setting.count(SEEDS)))


def ensemble(kind: str, split: str = "same") -> Any:
    """k reward models of one kind; trunk and heads of the linear kind are trained together."""
    from bandits.ensembles import Independent, LowRank, SharedTrunk
    from bandits.posteriors import Laplace

    options: dict[str, Any] = {"members": MEMBERS, "split": split}
    if kind == LINEAR:
        return SharedTrunk(**options, frozen=False)
    return {INDEPENDENT: Independent, LORA: LowRank, LAPLACE: Laplace}[kind](**options)


@lru_cache(maxsize=16)
def rows(
    kind: str, split: str, aggregation: str, seeds: tuple[int, ...], counts: tuple[int, ...],
    steps: int,
) -> pd.DataFrame:  # fmt: skip
    """One row a seed and setting: `optimiser`, `effort` (n or iterations), gold and win rate.

    The kind 'one model' is the first of the independent members.
    """
    from bandits.optimisers import PPO, BestOfN

    world, policy, log_reference = _start(seeds)
    scores = _scores(kind, split, seeds)
    objective = vanilla(BETA) if kind == SINGLE else AGGREGATIONS[aggregation]
    searches: list[tuple[str, Any, int]] = [("best-of-n", BestOfN(n), n) for n in counts]
    searches.append(("PPO", PPO(annealed=None, learning_rate=LEARNING_RATE), steps))
    frames = []
    for name, optimiser, effort in searches:
        found: Iterator[Any] = optimiser.optimise(
            objective, scores, log_reference, deepcopy(policy), seeds, effort, EVERY
        )
        frames += [
            pd.DataFrame({"optimiser": name, "effort": step, "seed": seeds,
                          **judge(log_policy.exp(), log_reference.exp(), world.gold)})
            for step, log_policy, _ in found
        ]  # fmt: skip
    labels = {"kind": kind, "split": split, "aggregation": aggregation}
    return pd.concat(frames, ignore_index=True).assign(**labels)


def judge(policy: Any, reference: Any, gold: Any) -> dict[str, Any]:
    """Judge policies: expected true reward, and how often it is above the reference's.

    policy, reference, gold: (seeds, prompts, responses), gold without seeds. A tie counts one half.
    """
    beats = (gold[:, :, None] > gold[:, None, :]).to(gold.dtype)
    ties = (gold[:, :, None] == gold[:, None, :]).to(gold.dtype)
    against = ((beats + ties / 2) * reference[:, :, None, :]).sum(-1)
    return {
        "gold": (policy * gold).sum(-1).mean(-1).numpy(),
        "win": (policy * against).sum(-1).mean(-1).numpy(),
    }


@lru_cache(maxsize=16)
def _scores(kind: str, split: str, seeds: tuple[int, ...]) -> Scores:
    """Trained reward models, centred under the reference."""
    from bandits.grid import Grid

    models = ensemble(INDEPENDENT if kind == SINGLE else kind, split)
    return Grid(ensemble=models).scores(seeds).centred(_start(seeds)[2])


@lru_cache(maxsize=2)
def _start(seeds: tuple[int, ...]) -> tuple[Any, ...]:
    """World, initial policy and ln of the reference that it is, the same for every kind."""
    from bandits.grid import Grid

    world = Grid(sft=SFT)
    policy, log_reference, _ = world.prepare(seeds)
    return world, policy, log_reference
