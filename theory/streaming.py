"""Statistics of a stream that is seen in blocks: each knows how to merge with the next block."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from theory.errors import InputError
from theory.intervals import Interval, clopper_pearson, mean_interval


@dataclass(frozen=True)
class Events:
    """How many draws had the event."""

    successes: int
    draws: int

    @classmethod
    def of(cls, happened: Bool[np.ndarray, " draws"]) -> "Events":
        """Count one block."""
        return cls(int(np.count_nonzero(happened)), len(happened))

    def merge(self, later: "Events") -> "Events":
        """Both blocks together."""
        return Events(self.successes + later.successes, self.draws + later.draws)

    @property
    def frequency(self) -> float:
        """Share of the draws with the event."""
        return self.successes / self.draws

    def interval(self, alpha: float) -> Interval:
        """Clopper-Pearson limits of the probability."""
        return clopper_pearson(self.successes, self.draws, alpha)


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations, merged as by Chan, Golub and LeVeque."""

    draws: int
    mean: float
    squared_deviations: float

    @classmethod
    def of(cls, values: Shaped[np.ndarray, " draws"]) -> "Moments":
        """Moments of one block, in float64."""
        mean = float(values.mean(dtype=float))
        deviations = np.subtract(values, mean, dtype=float)
        return cls(len(values), mean, float(np.square(deviations).sum()))

    def merge(self, later: "Moments") -> "Moments":
        """Both blocks together."""
        draws = self.draws + later.draws
        step = later.mean - self.mean
        between = step**2 * self.draws * later.draws / draws
        return Moments(
            draws,
            self.mean + step * later.draws / draws,
            self.squared_deviations + later.squared_deviations + between,
        )

    def variance(self, *, ddof: int = 1) -> float:
        """Sample variance. Raises `InputError` unless there are more than `ddof` draws."""
        if self.draws <= ddof:
            raise InputError("draws", f"> ddof = {ddof}", self.draws)
        return self.squared_deviations / (self.draws - ddof)

    def sd(self, *, ddof: int = 1) -> float:
        """Sample standard deviation."""
        return self.variance(ddof=ddof) ** 0.5

    def interval(self, alpha: float) -> Interval:
        """Normal limits of the mean, with the sample standard deviation."""
        return mean_interval(self.mean, self.sd(), self.draws, alpha)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts between edges; values outside of all edges are counted in `outside`."""

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]
    outside: int

    @classmethod
    def of(
        cls, values: Shaped[np.ndarray, " draws"], edges: Float[np.ndarray, " edges"]
    ) -> "Histogram":
        """Count one block. Bins are closed on the left, the last one on both sides."""
        counts, _ = np.histogram(values, edges)
        return cls(edges, counts, len(values) - int(counts.sum()))

    def merge(self, later: "Histogram") -> "Histogram":
        """Both blocks together."""
        return Histogram(self.edges, self.counts + later.counts, self.outside + later.outside)

    def density(self) -> Float[np.ndarray, " bins"]:
        """Density per unit of the value, draws outside of the edges included in the total."""
        return self.counts / (self.counts.sum() + self.outside) / np.diff(self.edges)
