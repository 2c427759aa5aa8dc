"""BRME and maximum-likelihood reward models on comparisons that none of them saw."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from figures.figure import Setting
from figures.rewardrobust2024.head_scores import normalised
from figures.study import estimate
from theory.presets import brme
from theory.utilities import Mean, MinStdHead, Utility

SEEDS = {"toy": 128, "tiny": 512}
LAM = 0.5
ENSEMBLES: dict[str, tuple[str, dict[str, Any]]] = {
    "one": ("independent", {"members": 1}),
    "four": ("independent", {}),
    "brme": ("brme", {}),
    "brme same": ("brme", {"split": "same"}),
    "brme nll": ("brme", {"loss": "nll"}),
    "brme nll same": ("brme", {"loss": "nll", "split": "same"}),
}
READINGS: dict[str, tuple[str, Utility]] = {
    "one": ("one", Mean()),
    "four": ("four", Mean()),
    "brme": ("brme", MinStdHead()),
    "brme mean": ("brme", Mean()),
    "brme mix": ("brme", brme(lam=LAM).utility),
    "brme same": ("brme same", MinStdHead()),
    "brme nll": ("brme nll", MinStdHead()),
    "brme nll same": ("brme nll same", MinStdHead()),
}
"""Ensembles, and what of them is used as the reward."""
BINS = np.linspace(-2, 5, 36)
SHOWN = 4
"""Seeds whose pairs are drawn one by one."""


def compute(setting: Setting) -> pd.DataFrame:
    """Estimates of every reading, minus one model, and what is drawn of margins and pairs."""
    return _computed(range(setting.seed, setting.seed + setting.count(SEEDS))).copy()


@lru_cache(maxsize=2)
def _computed(runs: range) -> pd.DataFrame:
    from bandits.ensembles import ENSEMBLES as KINDS
    from bandits.grid import Grid

    seeds = list(runs)
    tables: list[pd.DataFrame] = []
    single: dict[str, np.ndarray] = {}
    for name, (kind, utility) in READINGS.items():
        ensemble, options = ENSEMBLES[kind]
        world = Grid(ensemble=KINDS[ensemble](**options))
        _, _, scores = world.prepare(seeds)
        numbers, margins, pairs = measure(world, utility(scores), seeds)
        if utility == READINGS[kind][1] and scores.k > 1:
            numbers["correlation"] = _tracked(world, scores, seeds)
        single = single or numbers
        rows = [*_estimates(numbers, single), *_drawn(margins, pairs)]
        tables.append(pd.DataFrame(rows).assign(reading=name, seeds=len(seeds)))
    return pd.concat(tables, ignore_index=True)


def measure(
    world: Any, reward: Any, seeds: list[int]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Measure rewards (seeds, prompts, responses) on comparisons that no seed's data have.

    Numbers of every seed; margins; normalised rewards of the best and of the other response.
    """
    gold, heldout = world.gold.numpy(), ~_shown(world, seeds) & (world.gold.numpy() == 0)
    table = normalised(reward.numpy()[..., None])[..., 0]
    best = np.broadcast_to(table[:, gold == 1][..., None], table.shape)
    found: dict[str, list[float]] = {"accuracy": [], "margin": [], "coverage": []}
    for chosen, rejected, mask in zip(best, table, heldout, strict=True):
        first, second = chosen[mask], rejected[mask]
        found["accuracy"].append(float((first > second).mean()))
        found["margin"].append(float((first - second).mean()))
        found["coverage"].append(float(np.linalg.det(np.cov(first, second)) ** 0.5))
    pairs = np.stack([best[:SHOWN][heldout[:SHOWN]], table[:SHOWN][heldout[:SHOWN]]])
    full = (table.argmax(-1) == gold.argmax(-1)).all(-1).astype(float)
    numbers = {name: np.array(values) for name, values in found.items()} | {"full": full}
    return numbers, (best - table)[heldout], pairs


def _shown(world: Any, seeds: list[int]) -> np.ndarray:
    """Cells that some comparison rejected."""
    shown = np.zeros((len(seeds), world.gold.numel()), bool)
    np.put_along_axis(shown, world.comparisons(seeds).rejected.flatten(1).numpy(), True, -1)
    return shown.reshape(-1, *world.shape)


def _tracked(world: Any, scores: Any, seeds: list[int]) -> np.ndarray:
    """Correlation of ln std with the absolute error over cells that no comparison showed."""
    members, gold = scores.members.numpy(), world.gold.numpy()
    unseen = ~_shown(world, seeds) & (gold == 0)
    truth = normalised(gold[None, ..., None])
    if scores.head_std is None:
        std = scores.std().numpy()[..., None]
        error = np.abs(normalised(members.mean(-1, keepdims=True)) - truth)
    else:
        std, error = scores.head_std.numpy(), np.abs(normalised(members) - truth)
    return np.array(
        [np.corrcoef(np.log(s[mask]).ravel(), e[mask].ravel())[0, 1]
         for s, e, mask in zip(std, error, unseen, strict=True)]
    )  # fmt: skip


def _estimates(
    numbers: dict[str, np.ndarray], single: dict[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    for kind, values in numbers.items():
        yield {"kind": kind, **estimate(values)._asdict()}
        if kind in single:
            yield {"kind": f"{kind} gain", **estimate(values - single[kind])._asdict()}


def _drawn(margins: np.ndarray, pairs: np.ndarray) -> Iterator[dict[str, Any]]:
    density, edges = np.histogram(margins.clip(BINS[0], BINS[-1]), BINS, density=True)
    for x, y in zip((edges[:-1] + edges[1:]) / 2, density, strict=True):
        yield {"kind": "density", "x": x, "y": y}
    for x, y in pairs.T:
        yield {"kind": "pair", "x": x, "y": y}
