"""Tied entries of sorted rows, treated as one level each."""

import numpy as np
from jaxtyping import Float


class Levels:
    """The runs of equal values along the last axis of ascending rows.

    `total` and `end` replace each entry by a number of its level, so every result keeps the shape
    of the rows.
    """

    def __init__(self, ascending: Float[np.ndarray, "*batch n"]) -> None:
        opens = np.ones(ascending.shape, dtype=bool)
        opens[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
        self._shape = ascending.shape
        self._first = np.flatnonzero(opens)
        self._last = np.append(self._first[1:], opens.size) - 1
        self._level = np.cumsum(opens) - 1

    def total(self, values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Sum of the values in each entry's level."""
        return np.add.reduceat(values.ravel(), self._first)[self._level].reshape(self._shape)

    def mean(self, values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Mean of the values in each entry's level."""
        size = (self._last - self._first + 1)[self._level].reshape(self._shape)
        return self.total(values) / size

    def end(self, values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """The value at the last entry of each entry's level."""
        return values.ravel()[self._last][self._level].reshape(self._shape)
