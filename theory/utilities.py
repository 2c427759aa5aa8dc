"""Scores to the reward u(x, y) that is maximised, one number per (prompt, response).

Every class is final, and a strength of zero equals `Mean`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float

from theory import checks
from theory.arrays import namespace
from theory.binding import UNBOUND, Binding
from theory.scores import Scores


class Utility(ABC):
    """Maps scores with members (*cells, k) to utilities (*cells).

    `level` is 'sample', or 'policy' where the utility depends on the whole policy and has to be
    bound first; `needs` names the `Binding` fields used; `symmetric` says whether permuting
    members leaves the utility unchanged.
    """

    level: ClassVar[str] = "sample"
    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def symmetric(self) -> bool:
        """Whether no member is singled out."""
        return True

    @abstractmethod
    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Utility of each cell."""


@dataclass(frozen=True)
class Member(Utility):
    """A single reward model: max E[r_index] (vanilla RLHF)."""

    index: int = 0

    @property
    def symmetric(self) -> bool:
        """A member is singled out."""
        return False

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Score of that member; `InputError` when there is no such member."""
        check_member(self.index, scores.k)
        return scores.members[..., self.index]


@dataclass(frozen=True)
class Mean(Utility):
    """Mean over members [zhang2024, sec. 3; coste2023]."""

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Mean score."""
        return scores.mean()


@dataclass(frozen=True)
class Min(Utility):
    """Worst member of each sample, worst-case optimisation [coste2023]."""

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Smallest score."""
        return namespace(scores.members).min(scores.members, axis=-1)


@dataclass(frozen=True)
class Max(Utility):
    """Best member of each sample: the over-scoring baseline [rewardrobust2024, sec. 6.1]."""

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Largest score."""
        return namespace(scores.members).max(scores.members, axis=-1)


@dataclass(frozen=True)
class LCB(Utility):
    """Lower confidence bound: mean - beta * std [zhang2024, sec. 3]."""

    beta: float = 1.0
    ddof: int = 1

    def __post_init__(self) -> None:
        checks.positive_number("beta", self.beta, zero_allowed=True)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Mean minus beta standard deviations."""
        return scores.mean() - self.beta * scores.std(self.ddof)


@dataclass(frozen=True)
class UWO(Utility):
    """Uncertainty-weighted optimisation: mean - lam * var [coste2023].

    Equals `ChiSquarePenalty(1 / (2 lam))` with ddof=0 while that one's q stays positive.
    """

    lam: float = 0.5
    ddof: int = 1

    def __post_init__(self) -> None:
        checks.positive_number("lam", self.lam, zero_allowed=True)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Mean minus lam variances."""
        return scores.mean() - self.lam * scores.var(self.ddof)


@dataclass(frozen=True)
class MinStdHead(Utility):
    """Mean of the head that reports the smallest std for the sample: BRME's nominal reward.

    [rewardrobust2024, sec. 5]. Needs `Scores.head_std`.
    """

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Score of the most confident head."""
        if scores.head_std is None:
            raise checks.InputError(
                "scores.head_std", "given", None, "train heads that report their std (brme)"
            )
        xp = namespace(scores.members)
        chosen = xp.argmin(scores.head_std, axis=-1, keepdims=True)
        return xp.take_along_axis(scores.members, chosen, axis=-1)[..., 0]


def check_member(index: int, k: int) -> None:
    """Raise unless 0 <= index < k."""
    if not 0 <= index < k:
        raise checks.InputError("index", f"a member between 0 and {k - 1}", index)
