"""Many scorers as one: members of all of them, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from theory.errors import InputError
from theory.returned import name_of
from theory.scores import Scores

Scorer = Callable[[Sequence[str], Sequence[str]], Scores]
"""Prompts and responses to raw scores of every member, (samples, k)."""


def scored(
    score: Scorer,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    members: int | None = None,
    tensors: bool = True,
) -> Scores:
    """Score texts, (samples, k), and check what the scorer says.

    Raises `InputError`, naming it, for other than `Scores` of that shape, with k = `members` where
    these are told, and of torch tensors unless `tensors` is False.
    """
    found = score(prompts, responses)
    of = f"from {name_of(score)}"
    if not isinstance(found, Scores) or (tensors and not isinstance(found.members, torch.Tensor)):
        kind = type(found.members if isinstance(found, Scores) else found)
        arrived = f"a {kind.__name__} {of}"
        raise InputError(
            "score", f"a function that gives Scores{' of torch tensors' * tensors}", arrived
        )
    k = found.k if members is None else members
    shape = tuple(found.members.shape)
    if shape != (len(responses), k):
        wanted = f"a function that gives members of shape {(len(responses), k)}"
        raise InputError("score", f"{wanted}, one row a response", f"shape {shape} {of}")
    return found


@dataclass(frozen=True)
class Fusion:
    """Scorers of different models as one ensemble [rewardrobust2024, Table 8].

    Raw scores lie on scales of their own. `Normaliser.fit(Fusion(scorers), references)` makes them
    comparable, since it divides each member by its own spread over the reference responses; with
    centring='global' it subtracts each member's own mean over all of them, as the paper does.
    """

    scorers: tuple[Scorer, ...]

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Raw scores, (samples, k), members in the order of the scorers."""
        return side_by_side([scored(score, prompts, responses) for score in self.scorers])


def side_by_side(parts: Sequence[Scores]) -> Scores:
    """Members of all parts, and their own standard deviations.

    Raises `InputError` for none, or where only some of the parts have standard deviations: no
    number stands for one that is not known.
    """
    if not parts:
        raise InputError("scorers", "at least one", "none")
    stds = [part.head_std for part in parts if part.head_std is not None]
    if stds and len(stds) < len(parts):
        raise InputError(
            "scorers", "all with a standard deviation of their own, or none",
            f"{len(stds)} with one of {len(parts)}",
        )  # fmt: skip
    members = torch.cat([part.members for part in parts], dim=-1)
    return Scores(members, torch.cat(stds, dim=-1) if stds else None)
