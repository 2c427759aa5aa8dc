"""UGDA and its baselines on the grid: worlds, methods, and one row a run and method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from figures.figure import Setting
from figures.ugda2025.readings import accuracy, returns
from theory.objective import Objective
from theory.presets import ensemble_mean, lcb, uwo
from theory.refinement import Refinement
from theory.refinement_stages import Arrays, run

WORLDS = 3
SEEDS = {"toy": 20, "tiny": 64}
"""Runs of each world."""
MEMBERS, PAIRS, SFT, BETA = 3, 4, 0.3, 0.5
STEPS, REFINING = 60, 60
"""Iterations of PPO, and of Adam on the targets."""
FLIPPED = 0.2
TASKS = ("helpful", "harmless")
"""The two halves of the prompts bear the names of the paper's test sets."""
MEAN, LCB, UWO = ensemble_mean(BETA), lcb(BETA), uwo(BETA)
EXACT = Refinement(dimension=None)
RANDOM = replace(EXACT, selection="random")


@dataclass(frozen=True)
class Method:
    """What is done after PPO on the ensemble mean has been collected from.

    settings:  of the refinement, or None for the reward models as they are.
    objective: of the policy.
    anew, restart, error: see `bandits.refinement.GridRefinement`; the expert's share of errors.
    exact:     the policy is the exact optimum of its objective instead of one that PPO finds.
    """

    settings: Refinement | None = EXACT
    objective: Objective = MEAN
    anew: bool = False
    restart: bool = True
    error: float = 0.0
    exact: bool = False


PPO, UGDA, RLR, RANDOM_QUARTER = (
    Method(None), Method(), Method(RANDOM, anew=True), Method(RANDOM),
)  # fmt: skip
REFERENCE = "SFT"
NONE, QUARTER = "0%", "25%"
TABLE: Mapping[tuple[str, str], Method] = {
    ("PPO", NONE): PPO,
    ("LCB", NONE): Method(None, LCB),
    ("UWO", NONE): Method(None, UWO),
    ("PPO", QUARTER): RANDOM_QUARTER,
    ("LCB", QUARTER): Method(RANDOM, LCB),
    ("UWO", QUARTER): Method(RANDOM, UWO),
    ("RLR", QUARTER): RLR,
    ("UGDA", QUARTER): UGDA,
}
"""Methods of [ugda2025, Table 2] by name and share relabelled; SFT is the reference."""


def seeds(setting: Setting) -> tuple[tuple[int, ...], ...]:
    """The seeds of each world."""
    count = setting.count(SEEDS)
    starts = (setting.seed + 1000 * world for world in range(WORLDS))
    return tuple(tuple(range(start, start + count)) for start in starts)


def rows(setting: Setting, method: Method, noise: float = 0.0) -> pd.DataFrame:
    """One row a run: `returns` and `accuracy` of each task, relabelled samples and their number."""
    found = [_outcome(*one, method, noise)[0] for one in _populations(setting)]
    return pd.concat(found, ignore_index=True)


def policies(setting: Setting, method: Method | None, noise: float = 0.0) -> list[Any]:
    """Gold (prompts, responses) and policies (runs, prompts, responses) of each world.

    None is the reference.
    """
    found = []
    for index, own in _populations(setting):
        if method is None:
            from bandits.refinement_parts import prepared

            policy = prepared(_grid(index, noise), own)[1].exp().numpy()
        else:
            policy = _outcome(index, own, method, noise)[1]
        found.append((_gold(index), policy))
    return found


def reference_rows(setting: Setting, noise: float = 0.0) -> pd.DataFrame:
    """`rows` of the reference, which has no reward model."""
    found = []
    for (index, own), (gold, policy) in zip(
        _populations(setting), policies(setting, None, noise), strict=True
    ):
        found.append(_frame(index, own, returns(policy, gold, TASKS)))
    return pd.concat(found, ignore_index=True)


def _populations(setting: Setting) -> list[tuple[int, tuple[int, ...]]]:
    return list(enumerate(seeds(setting)))


def _gold(index: int) -> np.ndarray:
    """True rewards of a world: independent normal numbers."""
    return np.random.default_rng([8, index]).standard_normal((8, 8))


@lru_cache(maxsize=16)
def _grid(index: int, noise: float) -> Any:
    """A world, which remembers its reward models."""
    from bandits.ensembles import LowRank
    from bandits.grid import Grid
    from bandits.preferences import Preferences

    return Grid.with_gold(
        _gold(index), preferences=Preferences(pairs=PAIRS, opponents="any", noise=noise),
        ensemble=LowRank(members=MEMBERS), sft=SFT,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _outcome(
    index: int, seeds: tuple[int, ...], method: Method, noise: float
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and policies of one world."""
    from bandits.optimisers import Exact
    from bandits.refinement import GridRefinement
    from bandits.refinement_parts import fitted_members, gold_expert
    from bandits.reward_models import RewardTraining
    from theory.grades import NoisyExpert

    world, gold = _grid(index, noise), _gold(index)
    stages = GridRefinement(
        world, seeds, objective=method.objective, anew=method.anew, restart=method.restart,
        steps=STEPS, training=RewardTraining(steps=REFINING),
    )  # fmt: skip
    if method.error:
        stages = replace(stages, expert=NoisyExpert(gold_expert(world), method.error))
    if method.exact:
        stages = replace(stages, optimiser=Exact())
    came = _collected(index, seeds, noise)
    if method.settings is None:
        members = fitted_members(world, seeds).outputs().members
        scores, kept = members.movedim(1, -1).numpy(), 0
        policy = stages.retrain(came, {"scores": scores})["log_policy"]
    else:
        found = run(_sharing(stages, index, noise), method.settings, interactions=came)
        scores, policy = found["refine"]["scores"], found["retrain"]["log_policy"]
        kept = found["select"]["chosen"].shape[1]
    policy = np.exp(policy)
    table = returns(policy, gold, TASKS) | accuracy(scores, gold, TASKS)
    return _frame(index, seeds, table).assign(labels=kept), policy


def _sharing(stages: Any, index: int, noise: float) -> Any:
    """The stages of a world, with evidence that methods share."""

    def evidence(interactions: Arrays, settings: Refinement) -> Arrays:
        if settings.selection == "random":
            return {}
        same = settings
        if settings.selection != "information":
            same = replace(settings, gamma=0.5, eta=0.5, labels="mid_rank", tasks="max",
                           sign="helpful", selection="both")  # fmt: skip
        return _evidence(index, stages.seeds, noise, same)

    return SimpleNamespace(
        seeds=stages.seeds, collect=stages.collect, evidence=evidence, relabel=stages.relabel,
        refine=stages.refine, retrain=stages.retrain,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _evidence(index: int, seeds: tuple[int, ...], noise: float, settings: Refinement) -> Arrays:
    from bandits.refinement import GridRefinement

    stages = GridRefinement(_grid(index, noise), seeds, steps=STEPS)
    return stages.evidence(_collected(index, seeds, noise), settings)


@lru_cache(maxsize=16)
def _collected(index: int, seeds: tuple[int, ...], noise: float) -> Arrays:
    """PPO on the ensemble mean is the same for all methods."""
    from bandits.refinement import GridRefinement

    return GridRefinement(_grid(index, noise), seeds, steps=STEPS).collect()


def _frame(index: int, seeds: tuple[int, ...], table: Mapping[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({"world": index, "seed": seeds, **table})
