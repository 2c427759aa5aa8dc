"""Weights of members that a policy-level worst case sets against the policy while it trains.

max_pi min_w E_pi[sum_i w_i r_i] has one w for all prompts [rewardrobust2024, Eq. 6]. The policy
ascends at the w of the moment; w descends by exponentiated gradient on running means of the
members' scores. The smallest mean of a batch, which the formula suggests, is a biased estimate.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.mixes import PolicyWorstMix, opponents
from theory.scores import Scores

SMALLEST = 0.01
"""Weight that every member has at the start."""
KINDS = ("dual", "batch_argmin")


@dataclass(frozen=True)
class MemberDual:
    """How weights move."""

    kind: str = "dual"
    """What moves them: 'dual', or 'batch_argmin': all weight on the smallest mean of each batch."""
    rate: float = 0.3
    """Of the exponentiated gradient, in nats a unit of reward."""
    memory: float = 0.8
    """Share of the running means that a new batch leaves in place."""

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.positive_number("rate", self.rate)
        if not 0 <= self.memory < 1:
            raise InputError("memory", "in [0, 1)", self.memory)


class MemberWeights:
    """w of one training, at first `start` but for weights too small to grow again."""

    def __init__(self, utility: PolicyWorstMix, start: Any, settings: MemberDual) -> None:
        self._utility, self._settings = utility, settings
        self.set(torch.as_tensor(start, dtype=torch.float64).clamp(min=SMALLEST))
        self._means: Float[torch.Tensor, " m"] | None = None

    def set(self, weights: Any) -> None:
        """Go on from these weights."""
        known = torch.as_tensor(weights, dtype=torch.float64).reshape(-1)
        self._log_weights = known.log().log_softmax(0)

    @property
    def weights(self) -> Float[torch.Tensor, " m"]:
        """On the simplex."""
        return self._log_weights.softmax(0)

    def observe(self, scores: Scores) -> None:
        """Move by the scores of a batch of the policy's responses.

        A mirror step on sum_i w_i m_i + temperature * KL(w | uniform), m the running means.
        """
        settings, batch = self._settings, opponents(self._utility, scores).double().mean(0).cpu()
        if settings.kind == "batch_argmin":
            self._log_weights = torch.full_like(batch, -torch.inf)
            self._log_weights[batch.argmin()] = 0.0
            return
        old = batch if self._means is None else self._means
        self._means = settings.memory * old + (1 - settings.memory) * batch
        kept = 1 / (1 + settings.rate * self._utility.temperature)
        moved = kept * (self._log_weights - settings.rate * self._means)
        self._log_weights = moved.log_softmax(0)

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        return {"log_weights": self._log_weights, "means": self._means}

    def load(self, state: dict[str, Any]) -> None:
        """Put a state back. Raises `InputError` for one of other members."""
        means, weights = state["means"], state["log_weights"]
        for name, numbers in (("log_weights", weights), ("means", means)):
            if numbers is not None and numbers.shape != self._log_weights.shape:
                wanted = f"of shape {tuple(self._log_weights.shape)}"
                raise InputError(name, wanted, tuple(numbers.shape))
        self._log_weights = weights.cpu()
        self._means = None if means is None else means.cpu()
