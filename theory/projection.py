"""Random sign projections of gradients, and what they cost in accuracy [johnson1984].

Gradients have millions of coordinates; cosines survive in a few thousand random directions.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, like, to_numpy
from theory.errors import InputError

# Part of the definition of the matrix: a seed means another matrix if this number changes.
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class SignProjection:
    """P' g / sqrt(dimension) with independent entries of P equal to +1 or -1 [achlioptas2003].

    Inner products are preserved on average, E<P'u, P'v>/dimension = <u, v>; without the division,
    as in [ugda2025, sec. 4.2], they come out `dimension` times too large (cosines do not care).

    P has one row a coordinate of g and is never held: blocks of rows are drawn from
    (seed, block number), so the result does not depend on how the coordinates are cut into pieces
    and memory stays at one block. Raises `InputError` for a dimension < 1.
    """

    dimension: int
    seed: int

    def __post_init__(self) -> None:
        checks.positive("dimension", self.dimension)

    def __call__(
        self, vectors: Float[Any, "*batch parameters"], *, start: int = 0
    ) -> Float[Any, "*batch {self.dimension}"]:
        """Project vectors whose first coordinate is number `start` of the full gradient.

        Pieces of one gradient are projected one by one and added. NumPy or torch, on its device.
        """
        checks.positive("start", start, zero_allowed=True)
        end = start + vectors.shape[-1]
        edges = range(start - start % _BLOCK_ROWS, end, _BLOCK_ROWS)
        return sum(self._piece(vectors, start, edge, end) for edge in edges) / self.dimension**0.5

    def _piece(self, vectors: Array, start: int, edge: int, end: int) -> Array:
        """Contribution of the block of coordinates that begins at `edge`."""
        low, high = max(start, edge), min(end, edge + _BLOCK_ROWS)
        signs = like(vectors, self._signs(edge // _BLOCK_ROWS)[low - edge : high - edge])
        return vectors[..., low - start : high - start] @ signs

    def _signs(self, block: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, block])
        count = _BLOCK_ROWS * self.dimension
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), dtype=np.uint8), count=count)
        return bits.reshape(_BLOCK_ROWS, self.dimension) * np.float32(2) - np.float32(1)


def inner_product_variance(
    u: Float[Any, " parameters"], v: Float[Any, " parameters"], dimension: int
) -> float:
    """Variance of the projected inner product: (|u|^2 |v|^2 + <u,v>^2 - 2 sum u^2 v^2)/dimension.

    Zero for one-sparse vectors, which a sign matrix projects without error.
    """
    a, b = to_numpy(u), to_numpy(v)
    spread = (a @ a) * (b @ b) + (a @ b) ** 2 - 2 * (a**2 @ b**2)
    return float(spread / dimension)


def cosine_error_std(cosine: float, dimension: int) -> float:
    """Standard deviation (1 - cosine^2)/sqrt(dimension) of a projected cosine.

    For vectors spread over many coordinates and a large dimension (delta method). Raises
    `InputError` unless |cosine| <= 1.

    >>> round(cosine_error_std(0.5, 8192), 5)
    0.00829
    """
    if not -1 <= cosine <= 1:
        raise InputError("cosine", "in [-1, 1]", cosine)
    checks.positive("dimension", dimension)
    return (1 - cosine**2) / math.sqrt(dimension)


def median_split_overlap(cosine_std: float, dimension: int) -> float:
    """Expected share of a top half chosen by projected cosines that the true cosines would choose.

    1/2 + asin(tau / sqrt(tau^2 + 1/dimension)) / pi for true cosines N(0, tau^2), tau small:
    1/2 is chance, so a dimension of 8192 is lossy when cosines are about .01.

    >>> round(median_split_overlap(0.01, 8192), 3)
    0.734
    """
    checks.positive("cosine_std", cosine_std, zero_allowed=True)
    checks.positive("dimension", dimension)
    return 0.5 + math.asin(cosine_std / math.hypot(cosine_std, dimension**-0.5)) / math.pi
