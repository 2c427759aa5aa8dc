"""What the tests of the building blocks draw: scores with and without ties, and distributions."""

from dataclasses import fields

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from theory.scores import Scores

PROMPTS, RESPONSES, MEMBERS = 3, 5, 4
TIED = st.integers(-3, 3).map(float)
SMOOTH = st.floats(-10, 10, width=32)


def arrays(*shape):
    """Float64 arrays of one shape, some of them full of ties."""
    return st.sampled_from([TIED, SMOOTH]).flatmap(
        lambda elements: hnp.arrays(np.float64, shape, elements=elements)
    )


def tables():
    """Members (prompts, n, k)."""
    sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 6))
    return sizes.flatmap(lambda shape: arrays(*shape))


def scores(seed=0, shape=(PROMPTS, RESPONSES, MEMBERS)):
    """A table without ties, whose heads report a standard deviation."""
    rng = np.random.default_rng(seed)
    return Scores(rng.normal(size=shape), head_std=np.exp(rng.normal(size=shape)))


def log_distribution(seed=0, shape=(PROMPTS, RESPONSES)):
    """Log-probabilities over the last axis."""
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def as_torch(record, **options):
    """The same `Scores` or `Binding` as tensors."""
    given = {field.name: getattr(record, field.name) for field in fields(record)}
    return type(record)(
        **{name: None if a is None else torch.tensor(a, **options) for name, a in given.items()}
    )
