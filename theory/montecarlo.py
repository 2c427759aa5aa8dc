"""Streaming Monte Carlo: memory does not grow with the draws, results not change with the workers.

Draws are cut into blocks of fixed size. Block i has its own generator, seeded by (entropy, i), and
is reduced to a few numbers; these are merged in the order of the blocks. So a seed fixes the
result bit by bit for any number of workers, as long as the kernel itself is deterministic (BLAS
products need not be: their rounding can change with the number of threads).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from joblib import Parallel, delayed

from theory import checks
from theory.streaming import Events, Histogram, Moments

Kernel = Callable[[np.random.Generator, int], Mapping[str, Any]]
"""Draws `rows` results, in columns of that length: booleans are events, numbers have moments."""

BLOCK_ROWS = 250
"""A million float32 of a 1000-cell problem: small enough for the cache."""

BLOCKS_PER_TASK = 16


@dataclass(frozen=True)
class Simulation:
    """What a simulation keeps of its draws, by the names of the kernel's columns."""

    events: dict[str, Events] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def merge(self, later: "Simulation") -> "Simulation":
        """Both sets of draws together."""
        return Simulation(
            {name: kept.merge(later.events[name]) for name, kept in self.events.items()},
            {name: kept.merge(later.moments[name]) for name, kept in self.moments.items()},
            {name: kept.merge(later.histograms[name]) for name, kept in self.histograms.items()},
        )


def simulate(
    kernel: Kernel,
    draws: int,
    *,
    rng: np.random.Generator,
    workers: int = 1,
    block_rows: int = BLOCK_ROWS,
    edges: Mapping[str, Float[np.ndarray, " edges"]] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> Simulation:
    """Run `kernel` until it has given `draws` rows, and keep counts, moments and histograms.

    `edges` asks for histograms of the columns that it names. `rng` gives the entropy and moves on.
    Changing `block_rows` changes the draws. Workers are those of joblib: `joblib.parallel_config`
    chooses processes, threads or a cluster; a kernel for processes must be picklable. `progress`
    wraps the iterator over finished tasks, e.g. `functools.partial(tqdm, total=...)`.

    Raises `InputError` for draws or block_rows < 1, edges of a column that the kernel has not, or
    a kernel that returns another number of rows than it was asked for.

    >>> coin = lambda rng, rows: {"heads": rng.random(rows) < 0.5}
    >>> simulate(coin, 1000, rng=np.random.default_rng(0)).events["heads"]
    Events(successes=483, draws=1000)
    """
    checks.positive("draws", draws)
    checks.positive("block_rows", block_rows)
    entropy = rng.integers(2**32, size=4).tolist()
    blocks = -(-draws // block_rows)
    tasks = (
        delayed(_run_blocks)(
            kernel, entropy, range(first, min(first + BLOCKS_PER_TASK, blocks)), draws, block_rows,
            edges or {},
        )
        for first in range(0, blocks, BLOCKS_PER_TASK)
    )  # fmt: skip
    finished = Parallel(n_jobs=workers, return_as="generator")(tasks)
    ordered = progress(finished) if progress else finished
    return reduce(Simulation.merge, (block for task in ordered for block in task))


def normal_rows(rng: np.random.Generator, rows: int, n: int) -> Float32[np.ndarray, "{rows} {n}"]:
    """A block of independent standard normal numbers in float32."""
    return rng.standard_normal((rows, n), dtype=np.float32)


def block_generator(entropy: list[int], block: int) -> np.random.Generator:
    """The generator of one block: SFC64, the fastest bit stream of NumPy."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy, spawn_key=(block,))))


def _run_blocks(
    kernel: Kernel,
    entropy: list[int],
    blocks: range,
    draws: int,
    block_rows: int,
    edges: Mapping[str, np.ndarray],
) -> list[Simulation]:
    """Summaries of consecutive blocks, unmerged: the order of merging is part of the result."""
    sizes = {i: min(block_rows, draws - i * block_rows) for i in blocks}
    return [
        _summary(kernel(block_generator(entropy, i), rows), rows, edges)
        for i, rows in sizes.items()
    ]


def _summary(
    columns: Mapping[str, np.ndarray], rows: int, edges: Mapping[str, np.ndarray]
) -> Simulation:
    for name, values in columns.items():
        if values.shape != (rows,):
            raise checks.InputError("kernel", f"{rows} rows in {name!r}", values.shape)
    for name in edges:
        checks.one_of("edges", name, columns)
    booleans = {name for name, values in columns.items() if values.dtype == bool}
    return Simulation(
        {name: Events.of(columns[name]) for name in columns if name in booleans},
        {name: Moments.of(columns[name]) for name in columns if name not in booleans},
        {name: Histogram.of(columns[name], edges[name]) for name in edges},
    )
