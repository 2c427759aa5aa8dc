"""Seeds for one purpose each, so that what is drawn for one never depends on another."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def hash_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed for one purpose."""
    words = [seed, index, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


@contextmanager
def seeded(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Dropout, and what else draws from torch's global generators, by the seed of `rng`.

    Neither the numbers of `rng` nor the global generators move; a second use of the same `rng`
    draws other numbers.
    """
    seed = int(rng.spawn(1)[0].integers(2**63))
    with torch.random.fork_rng(() if device.type == "cpu" else (device,), device_type=device.type):
        torch.manual_seed(seed)
        yield
