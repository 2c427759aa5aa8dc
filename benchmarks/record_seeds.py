"""Over-optimisation, and learning from the true reward, over seeds: where tests have limits from.

`OMP_NUM_THREADS=1 python -m benchmarks.record_seeds STUDY FIRST LAST [EPS]` measures a study of
`STUDIES` for the seeds FIRST, ..., LAST - 1 and writes a row each into
`tests/llm_bridge/data/seeds.csv`, in place of those that were there. Ten seconds a seed.

A row has means over the responses of an early and of a late window of iterations: one run is not
the same on another processor, but the law of these numbers over seeds is.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from llm_bridge.data.pairs import Labelling
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.files import write_text
from theory.presets import vanilla
from theory.scores import Scores

OUT = Path(__file__).parents[1] / "tests/llm_bridge/data/seeds.csv"
KEY = ["study", "eps", "seed"]
EARLY, LATE, STEPS = slice(0, 4), slice(14, 20), 20
"""Iterations of 64 responses."""
SETTINGS = Settings(batch=64, learning_rate=1e-3)
SINGLE = EnsembleSettings(members=1, split="same", training=RewardTraining(epochs=2))


def make_world(**more):
    """One reward model, that learnt from 300 comparisons."""
    return TextWorld(
        labelling=Labelling(300), ensemble=SINGLE, references=16, normalise="standardised", **more
    )


def over_optimised(world, seed, eps):
    """Almost without a penalty: gold rises and falls, the proxy goes on."""
    return _windows(world.trainer(vanilla(0.003), replace(SETTINGS, eps=eps), seed))


def paid_the_truth(world, seed, eps):
    """The same, paid the true reward: gold rises and stays."""
    trainer = world.trainer(vanilla(0.003), replace(SETTINGS, eps=eps), seed)
    known = trainer.normaliser
    zeros = torch.zeros_like(known.offset)
    trainer.normaliser = Normaliser(
        lambda *texts: Scores(torch.tensor(world.gold(*texts)).to(zeros)[:, None]),
        known.index, zeros, torch.ones_like(known.scale), known.table,
    )  # fmt: skip
    return _windows(trainer)


STUDIES = {"over-optimised": over_optimised, "paid the truth": paid_the_truth}


def measured(study, world, seeds, eps=1e-8):
    """A row a seed."""
    rows = []
    for seed in seeds:
        rows.append({"study": study, "eps": eps, "seed": seed, **STUDIES[study](world, seed, eps)})
    return pd.DataFrame(rows)


def _windows(trainer):
    rows = [row for _, row, _ in trainer.run(STEPS)]
    return {
        f"{name}_{when}": round(float(np.mean([row[name] for row in rows[part]])), 6)
        for name in ("gold", "proxy", "kl") for when, part in (("early", EARLY), ("late", LATE))
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    study, first, last, *eps = sys.argv[1:]
    world = make_world()
    for seed in range(int(first), int(last)):
        found = measured(study, world, [seed], *map(float, eps))
        before = pd.read_csv(OUT) if OUT.exists() else found.head(0)
        table = pd.concat([before, found]).drop_duplicates(KEY, keep="last").sort_values(KEY)
        write_text(OUT, table.to_csv(index=False))
        print(found.to_string(index=False, header=False), flush=True)
