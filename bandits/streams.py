"""Randomness that belongs to a seed: the same numbers whichever seeds run beside it."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch

Sampler = Callable[[np.random.Generator], np.ndarray]


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one seed for one purpose (data, initial weights, rollouts ...)."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def draw(
    seeds: Sequence[int],
    purpose: str,
    sample: Sampler,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> torch.Tensor:
    """`sample` of every seed's stream, stacked along a leading axis."""
    rows = np.stack([sample(stream(seed, purpose)) for seed in seeds])
    return torch.as_tensor(rows, dtype=dtype, device=device)


def uniform(rng: np.random.Generator, *, size: int | tuple[int, ...]) -> np.ndarray:
    """Numbers on [-1, 1]."""
    return np.asarray(rng.uniform(-1.0, 1.0, size))


def normal(rng: np.random.Generator, *, size: int | tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers."""
    return np.asarray(rng.standard_normal(size))
