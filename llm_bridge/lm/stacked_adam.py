"""AdamW on stacked parameters: one row a policy, each with its own rate, clipping and clock."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float

BETAS, EPS = (0.9, 0.999), 1e-8


class StackedAdamW:
    """AdamW [loshchilov2019] on tensors whose first axis is the policy, in place.

    Row i moves as it would under an optimiser of its own: nothing is shared between rows.

    rates, weight_decay, clip_norm: one a row; clip_norm inf clips nothing.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        rates: Float[torch.Tensor, "policies"],
        *,
        weight_decay: Float[torch.Tensor, "policies"],
        clip_norm: Float[torch.Tensor, "policies"],
    ) -> None:
        self.parameters = list(parameters)
        self.rates, self.weight_decay, self.clip_norm = rates, weight_decay, clip_norm
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = torch.zeros_like(rates)

    def norms(self, rows: slice) -> Float[torch.Tensor, "rows"]:
        """Of the gradients of some policies, over all of their parameters."""
        squares = [p.grad[rows].flatten(1).square().sum(1) for p in self.parameters]
        return torch.stack(squares).sum(0).sqrt()

    @torch.no_grad()
    def step(
        self, rows: slice, moving: Bool[torch.Tensor, "rows"], shares: Float[torch.Tensor, "rows"]
    ) -> Float[torch.Tensor, "rows"]:
        """Move those of some policies that are `moving`, at shares of their rates.

        Gradients are read and left as they are. Returns their norms before clipping.
        """
        norms = self.norms(rows)
        scale = (self.clip_norm[rows] / (norms + 1e-6)).clamp(max=1.0)
        self.steps[rows] += moving
        clock = self.steps[rows].clamp(min=1)
        rates = self.rates[rows] * shares
        first_left, second_left = (1 - beta**clock for beta in BETAS)
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            grad = parameter.grad
            assert grad is not None
            on = _over(moving, parameter)
            g = torch.where(on, grad[rows] * _over(scale, parameter), 0.0)
            p, m, v = parameter[rows], first[rows], second[rows]
            m.lerp_(g, 1 - BETAS[0])
            v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            root = (v / _over(second_left, parameter)).sqrt_().add_(EPS)
            kept = 1 - rates * self.weight_decay[rows]
            moved = p * _over(kept, parameter) - m / root * _over(rates / first_left, parameter)
            p.copy_(torch.where(on, moved, p))
        return norms

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, beside the parameters."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for name in ("first", "second"):
            for mine, saved in zip(getattr(self, name), state[name], strict=True):
                mine.copy_(saved)
        self.steps.copy_(state["steps"])


def _over(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One number a row, against tensors with more axes."""
    return values.view(-1, *[1] * (like.ndim - 1))
