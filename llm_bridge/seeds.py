"""Seeds for one purpose each, so that what is drawn for one never depends on another."""

import numpy as np


def hash_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed for one purpose."""
    words = [seed, index, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0])
