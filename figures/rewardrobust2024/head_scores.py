"""Scores of heads, their minimum, mean and maximum, against the true reward."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from figures.figure import Setting
from figures.study import estimate

SEEDS = {"toy": 128, "tiny": 512}
ENSEMBLES = ("independent networks", "BRME heads")
COMBINED: dict[str, Callable[..., Any]] = {"smallest": np.min, "mean": np.mean, "largest": np.max}
AGAIN = "smallest, normalised again"
CELLS = ("all", "never compared")
POINTS = (0, 25, 50, 75, 100)
"""Percentiles over the cells of one seed."""


def compute(setting: Setting) -> pd.DataFrame:
    """Percentiles and shares below the true reward, by ensemble and source; paired differences."""
    from bandits.ensembles import Independent
    from bandits.grid import Grid
    from bandits.posteriors import Brme

    seeds = list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    tables = []
    for name, ensemble in zip(ENSEMBLES, (Independent(), Brme()), strict=True):
        world = Grid(ensemble=ensemble)
        data = world.comparisons(seeds)
        compared = np.zeros((len(seeds), world.gold.numel()), bool)
        for cells in (data.chosen, data.rejected):
            np.put_along_axis(compared, cells.flatten(1).numpy(), True, -1)
        heads = normalised(world.scores(seeds).members.numpy())
        gold = normalised(world.gold.numpy()[None, ..., None])[..., 0]
        rows = _rows(heads, gold, ~compared.reshape(heads.shape[:-1]))
        tables.append(pd.DataFrame(rows).assign(ensemble=name, seeds=len(seeds)))
    return pd.concat(tables, ignore_index=True)


def normalised(
    scores: Float[np.ndarray, "seeds prompts responses k"],
) -> Float[np.ndarray, "seeds prompts responses k"]:
    """Every source with mean 0 on each prompt and standard deviation 1 over the cells."""
    from theory.scores import Scores

    uniform = np.full(scores.shape[:-1], -np.log(scores.shape[-2]))
    return Scores(scores.astype(float)).standardised(uniform).members


def _rows(heads: np.ndarray, gold: np.ndarray, unseen: np.ndarray) -> Iterator[dict[str, Any]]:
    """Estimates over seeds."""
    sources = {f"head {1 + i}": heads[..., i] for i in range(heads.shape[-1])}
    sources |= {name: rule(heads, -1) for name, rule in COMBINED.items()}
    sources[AGAIN] = normalised(sources["smallest"][..., None])[..., 0]
    everywhere = np.ones_like(unseen)
    ranges, shares = {}, {}
    for source, scores in sources.items():
        found = np.percentile(scores, POINTS, axis=(1, 2))
        ranges[source] = found[-1] - found[0]
        for point, numbers in zip(POINTS, found, strict=True):
            yield {"kind": "percentile", "source": source, "x": point,
                   **estimate(numbers)._asdict()}  # fmt: skip
        for cells, mask in zip(CELLS, (everywhere, unseen), strict=True):
            below = ((scores < gold) & mask).sum((1, 2)) / mask.sum((1, 2))
            shares[source, cells] = below
            yield {"kind": "share", "source": source, "cells": cells,
                   **estimate(below)._asdict()}  # fmt: skip
    for source in (*COMBINED, AGAIN):
        wider = estimate(np.mean([ranges[s] for s in sources if "head" in s], 0) - ranges[source])
        yield {"kind": "head range minus", "source": source, **wider._asdict()}
        for cells in CELLS:
            single = np.mean([shares[s, cells] for s in sources if "head" in s], 0)
            yield {"kind": "share minus heads", "source": source, "cells": cells,
                   **estimate(shares[source, cells] - single)._asdict()}  # fmt: skip
