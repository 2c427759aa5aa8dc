"""Rows of numbers that are computed part by part, and on disk as soon as a part is complete."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.integrity import kept_arrays
from theory.records import Records


@dataclass(frozen=True)
class GradientStore:
    """`samples` rows in parts of `size`, one file each; memory is that of one part.

    What was interrupted goes on after the parts that are there. Raises `InputError` for numbers
    below 1.
    """

    folder: Path
    samples: int
    size: int

    def __post_init__(self) -> None:
        checks.positive("samples", self.samples)
        checks.positive("size", self.size)

    @classmethod
    def start(
        cls, folder: Path, samples: int, size: int, described: Mapping[str, Any]
    ) -> "GradientStore":
        """A folder for rows of this description, or one that was started for them.

        Raises `InputError` for a folder that was started for others.
        """
        Records.create(folder, {"samples": samples, "size": size, **described}, resume=True)
        return cls(folder, samples, size)

    def parts(
        self, compute: Callable[[range], Float[np.ndarray, "rows columns"]]
    ) -> Iterator[tuple[range, Float[np.ndarray, "rows columns"]]]:
        """Numbers of rows and the rows, in order; those that are not there yet are computed."""
        for start in range(0, self.samples, self.size):
            rows = range(start, min(start + self.size, self.samples))
            path = self.folder / f"rows-{start:09d}.npz"
            yield rows, kept_arrays(path, partial(_computed, compute, rows))["rows"]


def _computed(
    compute: Callable[[range], Float[np.ndarray, "rows columns"]], rows: range
) -> dict[str, np.ndarray]:
    return {"rows": compute(rows)}
