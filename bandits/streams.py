"""Randomness that belongs to a seed: the same numbers whichever seeds run beside it."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one seed for one purpose (data, initial weights, rollouts ...)."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def draw(
    seeds: Sequence[int],
    purpose: str,
    sample: Callable[[np.random.Generator], np.ndarray],
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> torch.Tensor:
    """`sample` of every seed's stream, stacked along a leading axis."""
    rows = np.stack([sample(stream(seed, purpose)) for seed in seeds])
    return torch.as_tensor(rows, dtype=dtype, device=device)
