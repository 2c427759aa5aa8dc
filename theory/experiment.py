"""Swap the world, keep the objective: what a world offers, and how experiments run on it."""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pandas as pd
from joblib import delayed

from theory import checks
from theory.backends import connected
from theory.errors import InputError
from theory.files import WriteError
from theory.fingerprint import code_of, digest_of
from theory.objective import Objective
from theory.records import Records, alone

CHUNK = 256
"""Seeds that are trained together by default; memory grows with it, results do not depend on it."""


@runtime_checkable
class World(Protocol):
    """Prompts, a reference policy, reward models and a gold reward, for a population of seeds.

    A world may also have `code`, its own `theory.fingerprint.stamp`, and `commits`, what names on a
    hub stand for; both go into the manifest of records.
    """

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
    world: World | Mapping[str, World],
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
    backend: str = "loky",
    address: str | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    prepare: Callable[[], object] = lambda: None,
    accept_code: bool = False,
) -> Records:
    """Train every objective on every seed, in one world or in several by name, and record it.

    Cells (a world, an objective and a chunk of seeds) go through joblib; `backend`, `workers` and
    `address` as in `theory.backends.connected`. The workers of a cluster must see the folder `out`.
    A cell that fails does not stop the others.

    resume:  go on with what an earlier run of the same settings left; with more steps than it had,
             every cell is run to them, and its rows are those of a run of so many from the start.
    prepare: called before the first cell that is to be trained, once `out` is this run's alone and
             the settings are those it was started with: loads what all cells share.
    accept_code: go on with cells though other code made those that are finished; rows then have a
             column `code`.

    Raises `InputError` for sizes below 1, no seeds or duplicate ones, other settings or code than
    those of the folder, and one in which another process is at work, `WriteError` where rows cannot
    be written, and after all cells `RuntimeError` naming those that failed.
    """
    for name, size in (("steps", steps), ("evaluate_every", evaluate_every), ("chunk", chunk)):
        checks.positive(name, size)
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise InputError("seeds", "at least one, none twice", list(seeds))
    seeds = [int(seed) for seed in seeds]
    worlds = world if isinstance(world, Mapping) else {world.name: world}
    files = [_Cell(w, o, seeds).file for w in worlds for o in objectives]
    if len(set(files)) < len(files):
        raise InputError("objectives", "names that differ in letters and digits", sorted(files))
    config = _described(worlds, objectives, optimiser) | {
        "seeds": seeds, "evaluate_every": evaluate_every, "chunk": chunk,
    }  # fmt: skip
    cells = [
        _Cell(setting, name, part)
        for setting in worlds
        for part in (seeds[i : i + chunk] for i in range(0, len(seeds), chunk))
        for name in objectives
    ]
    files = [cell.file for cell in cells]
    with alone(out):
        records = Records.create(out, config, steps=steps, cells=files, resume=resume)
        finished = records.finished(steps)
        tasks = [
            delayed(_run_cell)(
                cell, worlds[cell.world], objectives[cell.objective], optimiser, steps,
                evaluate_every, records,
            )
            for cell in cells if cell.file not in finished
        ]  # fmt: skip
        if tasks:
            records.made_by(_code(worlds, objectives, optimiser), accept=accept_code)
            prepare()
        with connected(backend, workers, address) as pool:
            outcomes = list(progress(pool(tasks)))
    failures = [failure for failure in outcomes if failure]
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(tasks)} cells failed:\n" + "\n".join(failures))
    return records


class _Cell(NamedTuple):
    """What is computed and recorded in one go."""

    world: str
    objective: str
    seeds: Sequence[int]

    @property
    def file(self) -> str:
        """Its name in the folder of records."""
        world, objective = (re.sub(r"[^\w=.-]+", "_", s) for s in (self.world, self.objective))
        return f"{world}.{objective}.{self.seeds[0]}-{self.seeds[-1]}"


def _described(
    worlds: Mapping[str, World], objectives: Mapping[str, Objective], optimiser: Any
) -> dict[str, Any]:
    """What is trained, in what and by what, as printed; and what names on a hub stand for."""
    found: dict[str, Any] = {
        "worlds": {name: repr(setting) for name, setting in worlds.items()},
        "objectives": {name: repr(objective) for name, objective in objectives.items()},
        "optimiser": repr(optimiser),
    }
    commits = {name: getattr(here, "commits", {}) for name, here in worlds.items()}
    return found | ({"commits": commits} if any(commits.values()) else {})


def _code(worlds: Mapping[str, World], objectives: Mapping[str, Objective], optimiser: Any) -> str:
    """That of all that is trained, in what and by what."""
    others = [optimiser, *(objective.utility for objective in objectives.values())]
    codes = sorted({code_of(world, *others) for world in worlds.values()})
    return codes[0] if len(codes) == 1 else digest_of(codes)


def _run_cell(
    cell: _Cell,
    world: World,
    objective: Objective,
    optimiser: Any,
    steps: int,
    evaluate_every: int,
    records: Records,
) -> str | None:
    """Run and record one cell; what went wrong where it failed."""
    try:
        frames = world.train(
            objective, optimiser, cell.seeds, steps=steps, evaluate_every=evaluate_every
        )
        labels = {"objective": cell.objective, "world": cell.world}
        records.write(cell.file, (frame.assign(**labels) for frame in frames), steps=steps)
    except WriteError:
        raise
    except InputError as error:
        return f"{cell.file}: {error}"
    except Exception:
        return f"{cell.file}: {traceback.format_exc()}"
    return None
