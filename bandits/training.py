"""One loop for all worlds: optimise, and record what became of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch

from bandits.evaluate import evaluate
from theory.errors import InputError
from theory.objective import Objective


def train_population(
    world: Any,
    objective: Objective,
    optimiser: Any,
    seeds: Sequence[int],
    steps: int,
    evaluate_every: int,
) -> Iterator[pd.DataFrame]:
    """Frames of evaluations of a world with `prepare(seeds)` and `gold`.

    Runs whose policy is no longer finite are named and stop being recorded; the others go on.
    Raises `InputError` when none is left.
    """
    policy, log_reference, scores = world.prepare(seeds)
    gold, lost = world.gold, torch.zeros(len(seeds), dtype=torch.bool)
    for step, log_policy, bound in optimiser.optimise(
        objective, scores, log_reference, policy, seeds, steps, evaluate_every
    ):
        broken = torch.isnan(log_policy).any(-1).any(-1).cpu()
        for index in (broken & ~lost).nonzero()[:, 0].tolist():
            print(f"seed {seeds[index]} stopped: its policy is NaN by step {step} ({objective})")
        lost |= broken
        if lost.all():
            raise InputError("policy", "finite in some run", f"NaN in all, by step {step}")
        frame = evaluate(
            log_policy, bound=bound, step=step, seeds=seeds, gold=gold, scores=scores,
            log_reference=log_reference,
        )  # fmt: skip
        yield frame[~lost.numpy()]
