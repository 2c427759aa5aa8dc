"""Swap the world, keep the objective: what a world offers, and how experiments run on it."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
from joblib import Parallel, delayed

from theory import checks
from theory.errors import InputError
from theory.objective import Objective
from theory.records import Records

CHUNK = 256
"""Seeds that are trained together by default; memory grows with it, results do not depend on it."""


@runtime_checkable
class World(Protocol):
    """Prompts, a reference policy, reward models and a gold reward, for a population of seeds."""

    @property
    def name(self) -> str:
        """As quoted in records and captions."""
        ...

    def train(
        self,
        objective: Objective,
        optimiser: Any,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """One frame an evaluation: a row a seed, with `seed`, `step`, `gold`, `proxy`, `kl` ...

        A row depends on its seed alone, not on the seeds beside it.
        """
        ...


def run(
    world: World,
    objectives: Mapping[str, Objective],
    optimiser: Any,
    seeds: Sequence[int],
    *,
    steps: int,
    evaluate_every: int,
    out: Path,
    chunk: int = CHUNK,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Records:
    """Train every objective on every seed and record the evaluations.

    Cells (an objective and a chunk of seeds) go through joblib, whose `parallel_config` picks the
    backend. A cell that fails does not stop the others. Raises `InputError` for sizes below 1, no
    seeds or duplicate ones, and after all cells `RuntimeError` naming those that failed.
    """
    for name, size in (("steps", steps), ("evaluate_every", evaluate_every), ("chunk", chunk)):
        checks.positive(name, size)
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise InputError("seeds", "at least one, none twice", list(seeds))
    config = {
        "world": repr(world),
        "objectives": {name: str(objective) for name, objective in objectives.items()},
        "optimiser": repr(optimiser),
        "seeds": list(seeds),
        "steps": steps,
        "evaluate_every": evaluate_every,
        "chunk": chunk,
    }
    records = Records.create(out, config, resume=resume)
    finished = records.finished()
    tasks = [
        delayed(_cell)(world, name, objective, optimiser, part, steps, evaluate_every, records)
        for name, objective in objectives.items()
        for part in (list(seeds[i : i + chunk]) for i in range(0, len(seeds), chunk))
        if _cell_name(name, part) not in finished
    ]
    outcomes = progress(Parallel(n_jobs=workers, return_as="generator")(tasks))
    failures = [failure for failure in outcomes if failure]
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(tasks)} cells failed:\n" + "\n".join(failures))
    return records


def _cell(
    world: World,
    name: str,
    objective: Objective,
    optimiser: Any,
    seeds: Sequence[int],
    steps: int,
    evaluate_every: int,
    records: Records,
) -> str | None:
    """Run and record one cell; the traceback where it failed."""
    try:
        frames = world.train(
            objective, optimiser, seeds, steps=steps, evaluate_every=evaluate_every
        )
        labelled = (frame.assign(objective=name, world=world.name) for frame in frames)
        records.write(_cell_name(name, seeds), labelled)
    except Exception:
        return f"{_cell_name(name, seeds)}: {traceback.format_exc()}"
    return None


def _cell_name(name: str, seeds: Sequence[int]) -> str:
    return f"{name}.{seeds[0]}-{seeds[-1]}"
