"""What each member of a reward ensemble sees of the preference data."""

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError

SPLITS = ("same", "bootstrap", "disjoint")


def split_counts(
    split: str, members: int, comparisons: int, *, rng: np.random.Generator
) -> Float[np.ndarray, "members comparisons"]:
    """How often each comparison counts for each member.

    'same': once for all; 'bootstrap': as often as a resample of the same size has it; 'disjoint':
    once for one member, in parts as equal as they can be. Raises `InputError` for another name, and
    for 'disjoint' with fewer comparisons than members.

    >>> split_counts("disjoint", 2, 4, rng=np.random.default_rng(0)).sum(1)
    array([2., 2.])
    """
    checks.one_of("split", split, SPLITS)
    if split == "bootstrap":
        uniform = np.full(comparisons, 1 / comparisons)
        return rng.multinomial(comparisons, uniform, size=members).astype(float)
    if split == "disjoint":
        if comparisons < members:
            raise InputError(
                "split", f"not 'disjoint' with {comparisons} comparisons", f"{members} members"
            )
        owner = rng.permutation(comparisons) % members
        return (np.arange(members)[:, None] == owner).astype(float)
    return np.ones((members, comparisons))
