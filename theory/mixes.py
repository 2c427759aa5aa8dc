"""Nominal reward against the worst member, per sample and per policy [rewardrobust2024]."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float

from theory import checks
from theory.arrays import Array, namespace
from theory.binding import UNBOUND, Binding
from theory.scores import Scores
from theory.utilities import Member, Utility, check_member


@dataclass(frozen=True)
class WorstMix(Utility):
    """lam * nominal + (1 - lam) * min over members, sample by sample.

    What rewardrobust2024 implements (its toy and sec. 4), a lower bound on the policy-level
    `PolicyWorstMix` of its Eq. 6-7. `over` is 'others' (all but a `Member` nominal) or 'all'.
    """

    lam: float = 0.4
    nominal: Utility = Member(0)
    over: str = "others"

    def __post_init__(self) -> None:
        _check_mix(self.lam, self.nominal, self.over)

    @property
    def symmetric(self) -> bool:
        """Symmetric only if the nominal is and all members are set against it."""
        return _singles_out_no_member(self)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Nominal and worst score, mixed."""
        worst = namespace(scores.members).min(opponents(self, scores), axis=-1)
        return self.lam * self.nominal(scores) + (1 - self.lam) * worst


@dataclass(frozen=True)
class PolicyWorstMix(Utility):
    """lam E_pi[nominal] + (1 - lam) min_w sum_i w_i E_pi[r_i] (+ temperature * KL(w | u)).

    The policy-level objective of [rewardrobust2024, Eq. 5-7]; with lam=0, over='all' and a
    temperature it is global KL-DRO (infinite temperature: the mean). One w for all prompts;
    bound, the utility is linear in the members: lam nominal + (1 - lam) members @ w.
    """

    lam: float = 0.4
    nominal: Utility = Member(0)
    over: str = "others"
    temperature: float = 0.0

    level: ClassVar[str] = "policy"
    needs: ClassVar[tuple[str, ...]] = ("member_weights",)

    def __post_init__(self) -> None:
        _check_mix(self.lam, self.nominal, self.over)
        checks.positive("temperature", self.temperature, zero_allowed=True)

    @property
    def symmetric(self) -> bool:
        """Symmetric only if the nominal is and all members are set against it."""
        return _singles_out_no_member(self)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Nominal and weighted members, mixed at the bound weights."""
        weights, members = binding.need("member_weights", self), opponents(self, scores)
        xp = namespace(members, weights)
        checks.broadcastable("members", members, "member_weights", weights)
        mixed = xp.sum(members * weights, axis=-1)
        return self.lam * self.nominal(scores) + (1 - self.lam) * mixed


def opponents(utility: WorstMix | PolicyWorstMix, scores: Scores) -> Array:
    """The members over which the worst is taken, (*cells, m)."""
    if utility.over == "all":
        return scores.members
    if scores.k < 2:
        raise checks.InputError(
            "members", "at least 2 for over='others'", f"k = {scores.k}", "use over='all'"
        )
    assert isinstance(utility.nominal, Member)
    index = utility.nominal.index
    check_member(index, scores.k)
    return namespace(scores.members).concat(
        [scores.members[..., :index], scores.members[..., index + 1 :]], axis=-1
    )


def _singles_out_no_member(utility: WorstMix | PolicyWorstMix) -> bool:
    return utility.over == "all" and (utility.lam == 0 or utility.nominal.symmetric)


def _check_mix(lam: float, nominal: Utility, over: str) -> None:
    if not 0 <= checks.number("lam", lam) <= 1:
        raise checks.InputError("lam", "between 0 (worst case) and 1 (nominal)", lam)
    checks.one_of("over", over, ("others", "all"))
    if nominal.level == "policy":
        raise checks.InputError("nominal", "a sample-level utility", nominal)
    if over == "others" and not isinstance(nominal, Member):
        raise checks.InputError(
            "over", "'all' when the nominal is not one member", repr(over), "pass over='all'"
        )
