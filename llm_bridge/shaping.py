"""From an objective to one reward a token: where the penalty is charged, and on which samples."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int

from llm_bridge.member_weights import MemberDual, MemberWeights
from llm_bridge.rewards.normalise import Normaliser
from theory import checks
from theory.binding import Binding
from theory.errors import InputError
from theory.mixes import PolicyWorstMix
from theory.objective import Objective
from theory.optimum import bind
from theory.penalties import Constant, Penalty, TargetKL
from theory.returned import of_cells
from theory.scores import Scores

CHARGES = ("auto", "last", "spread")
SAMPLED = ("bregman", "kl")
"""Forms that have a sample reward."""


def response_level(objective: Objective) -> bool:
    """Whether the price of moving probability depends on the response.

    Such a penalty is charged whole on the last token: spread over tokens it is biased, since a
    reward-to-go drops earlier charges whose price depends on later tokens.
    """
    return not (
        isinstance(objective.coefficient, Constant)
        or getattr(objective.coefficient, "per", None) == "prompt"
    )


def check_form(objective: Objective) -> None:
    """Raise unless the penalty is an expectation under the policy, which a sample can stand for."""
    if objective.form not in SAMPLED:
        raise InputError(
            "objective", "of the form 'bregman' or 'kl' for a policy that is trained on samples",
            f"{objective.name or objective}, of the form {objective.form!r}",
            "train a divergence, or solve it exactly on a table: python -m theory solve",
        )  # fmt: skip


def check_trainable(objective: Objective, *, members: int, spread: bool) -> None:
    """Raise unless an objective can be trained on so many members.

    spread: whether they report standard deviations of their own.
    """
    check_form(objective)
    zeros = torch.zeros(1, members)
    scores = Scores(zeros, torch.ones_like(zeros) if spread else None)
    one = torch.ones(1)
    binding = Binding(mean_variance=one, prompt_variance=one, member_weights=zeros)
    try:
        objective.coefficient(scores, binding)
        if not isinstance(objective.utility, PolicyWorstMix):
            objective.utility(scores, binding)
    except InputError as error:
        argument, required, arrived, _ = error.args
        plural = "s" if members > 1 else ""
        raise InputError(
            "objective", f"one that {members} reward model{plural} of this kind can serve",
            f"{objective.name or objective} (`{argument}` must be {required}, got {arrived})",
            "change --ensemble.members or --ensemble.kind",
        ) from error  # fmt: skip


class Shaper:
    """Rewards of sampled responses under one objective.

    beta is that of a `Penalty`, or set from outside where the strength is a `TargetKL`. charge:
    'last', 'spread', or 'auto', which spreads what may be spread. weights: of members under a
    policy-level worst case, which move as the policy's responses are observed, else None.

    Raises `InputError` for another strength; `rewards` for a form without a sample reward.
    """

    def __init__(
        self,
        objective: Objective,
        normaliser: Normaliser,
        *,
        charge: str = "auto",
        dual: MemberDual = MemberDual(),
    ) -> None:
        checks.one_of("charge", charge, CHARGES)
        if not isinstance(objective.strength, Penalty | TargetKL):
            raise InputError(
                "objective.strength", "a Penalty or a TargetKL to be trained", objective.strength
            )
        self.objective, self._normaliser = objective, normaliser
        self.spread = charge == "spread" or (charge == "auto" and not response_level(objective))
        self._table = bind(objective, normaliser.table, normaliser.log_reference()).binding
        self.weights: MemberWeights | None = None
        if isinstance(objective.utility, PolicyWorstMix):
            self.weights = MemberWeights(objective.utility, self._table.member_weights, dual)

    @property
    def default_lam(self) -> float:
        """GAE's lambda: 1 where the penalty is charged on the last token, which is then exact."""
        return 0.95 if self.spread else 1.0

    def utility(
        self, scores: Scores, places: Int[torch.Tensor, " samples"]
    ) -> Float[torch.Tensor, " samples"]:
        """What the objective maximises, sample by sample."""
        return of_cells(self.objective.utility, scores, self._flat(places))

    def rewards(
        self,
        scores: Scores,
        places: Int[torch.Tensor, " samples"],
        log_ratio: Float[torch.Tensor, "samples time"],
        live: Bool[torch.Tensor, "samples time"],
        beta: float,
    ) -> Float[torch.Tensor, "samples time"]:
        """One reward a token; their sum is `sample_reward` of the response in either case."""
        total = (log_ratio * live).sum(1)
        parts = (part.to(log_ratio.dtype) for part in self.parts(scores, places))
        utility, fixed, price = parts
        fixed = beta * fixed
        rewards = torch.zeros_like(log_ratio)
        last = live.sum(1, keepdim=True) - 1
        if self.spread:
            rewards = -beta * price[:, None] * log_ratio * live
            return rewards.scatter_add(1, last, (utility - fixed)[:, None])
        return rewards.scatter(1, last, (utility - fixed - beta * price * total)[:, None])

    def parts(
        self, scores: Scores, places: Int[torch.Tensor, " samples"]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Utility u, and what beta multiplies: a fixed charge, and the price c of the log-ratio.

        `sample_reward` is u - beta * (fixed + c * ln(pi / pi0)); fixed is 0 for the Bregman form
        and c for the `kl` form. (samples,) each.
        """
        check_form(self.objective)
        binding = self._flat(places)
        utility = of_cells(self.objective.utility, scores, binding)
        price = of_cells(self.objective.coefficient, scores, binding)
        fixed = price if self.objective.form == "kl" else torch.zeros_like(price)
        return utility, fixed, price

    def _flat(self, places: Int[torch.Tensor, " samples"]) -> Binding:
        """The binding of a table of prompts, for samples of some of them."""
        table, dtype = self._table, self._normaliser.table.members.dtype
        flat: dict[str, Any] = {}
        if table.mean_variance is not None:
            flat["mean_variance"] = table.mean_variance.reshape(1).to(dtype)
        if table.prompt_variance is not None:
            flat["prompt_variance"] = table.prompt_variance[places, 0].to(dtype)
        if self.weights is not None:
            flat["member_weights"] = self.weights.weights.to(dtype)[None]
        return Binding(**flat)
