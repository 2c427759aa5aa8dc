"""`compare` on the embedded language, on the CPU and on a device: the same curves."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import pandas as pd

from benchmarks.gpu_models import Context
from llm_bridge import ppo
from llm_bridge.data.pairs import Labelling
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.sft import FineTuning
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.sources import Embedded
from llm_bridge.text_world import TextWorld
from theory.experiment import run
from theory.objective import Objective
from theory.presets import PRESETS

OBJECTIVES = ("vanilla", "variance_aware")
CURVES = ["gold", "proxy", "kl"]


def compare(context: Context) -> Iterator[tuple[str, Any]]:
    """Largest differences of the curves at every step, and the table of the ends."""
    scale, little = context.scale, context.scale.compare_steps < 5
    world = TextWorld(
        Embedded(sft=FineTuning(steps=20 if little else 200)),
        labelling=Labelling(40 if little else 400),
        ensemble=EnsembleSettings(members=2, training=RewardTraining(epochs=1)),
        references=8, sampling=Sampling(12), normalise="standardised",
        cache=context.scratch / "cache",
    )  # fmt: skip
    settings = Settings(batch=scale.compare_batch, learning_rate=3e-4)
    there = str(context.device)
    cases = {
        "CPU": (world, settings),
        there: (replace(world, source=replace(world.source, device=there)), settings),
    }
    cases[f"{there}, graphs"] = (cases[there][0], replace(settings, decoding="graphs"))
    curves = {}
    objectives: dict[str, Objective] = {name: PRESETS[name]() for name in OBJECTIVES}
    for name, (case, how) in cases.items():
        with patch.object(ppo, "draw", partial(ppo.draw, decoding=how.decoding)):
            records = run(
                case, objectives, how, range(1), steps=scale.compare_steps,
                evaluate_every=1, out=context.scratch / f"records {len(curves)}",
            )  # fmt: skip
        curves[name] = records.rows().set_index(["objective", "step"])
        yield "ends", _ends(curves)
    differences = []
    for name in list(cases)[1:]:
        differences += _differences(curves["CPU"], curves[name], name)
        yield "differences", differences


def _ends(curves: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Last rows."""
    return [
        {"on": name, "objective": objective,
         **{key: round(float(rows[key].iloc[-1]), 5) for key in (*CURVES, "length")}}
        for name, found in curves.items() for objective, rows in found.groupby("objective")
    ]  # fmt: skip


def _differences(one: pd.DataFrame, other: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """Of curves, step by step; texts are the same where their true rewards and lengths are."""
    both = one[[*CURVES, "length"]].astype(float) - other[[*CURVES, "length"]].astype(float)
    apart = both.abs().groupby("step").max()
    return [
        {"on": name, "step": int(step), **{key: float(row[key]) for key in CURVES},
         "same texts": bool(row["gold"] == 0 and row["length"] == 0)}
        for step, row in apart.iterrows()
    ]  # fmt: skip
