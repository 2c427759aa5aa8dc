"""AdamW on stacked parameters: one row a policy, each with its own rate, clipping and clock."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.lm.restoring import restored

Rows = slice | Sequence[int]
BETAS = (0.9, 0.999)


class StackedAdamW:
    """AdamW [loshchilov2019] on tensors whose first axis is the policy, in place.

    Row i moves as it would under an optimiser of its own: nothing is shared between rows.

    weight_decay, clip_norm, eps: one a row; inf clips nothing. Factors of steps are computed in
    float64, as an optimiser of numbers would.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        *,
        weight_decay: Sequence[float],
        clip_norm: Sequence[float],
        eps: Sequence[float],
        device: Any = "cpu",
    ) -> None:
        self.parameters = list(parameters)
        self._device = device
        self.weight_decay, self.clip_norm = self._numbers(weight_decay), self._numbers(clip_norm)
        self.eps = self._numbers(eps)
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = torch.zeros_like(self.weight_decay)

    def norms(self, rows: Rows) -> Float[torch.Tensor, " rows"]:
        """Of the gradients of some policies, over all of their parameters."""
        places = self._places(rows)
        return row_norms([_grad(p)[places] for p in self.parameters])

    @torch.no_grad()
    def step(
        self,
        rows: Rows,
        rates: Sequence[float],
        moving: Sequence[bool],
        norms: Float[torch.Tensor, " rows"],
    ) -> None:
        """Move those of some policies that are `moving`; rates, norms: of each of them.

        Gradients are read and left as they are.
        """
        places = self._places(rows)
        scale = (self.clip_norm[places] / (norms + 1e-6)).clamp(max=1.0)
        going, rate, eps = self._numbers(moving), self._numbers(rates), self.eps[places]
        self.steps[places] += going
        clock = self.steps[places].clamp(min=1)
        kept = 1 - rate * self.weight_decay[places]
        left = [1 - beta**clock for beta in BETAS]
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            on, before = _over(going, p).bool(), p[places]
            g = torch.where(on, _grad(p)[places] * _over(scale, p), 0.0)
            m = first[places].lerp(g, 1 - BETAS[0])
            v = (second[places] * BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            root = (v / _over(left[1], p)).sqrt_().add_(_over(eps, p))
            moved = before * _over(kept, p) - m / root * _over(rate / left[0], p)
            first[places], second[places] = m, v
            p[places] = torch.where(on, moved, before)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, beside the parameters."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`. Raises `InputError` for one of other parameters."""
        for name in ("first", "second"):
            mine = {str(place): tensor for place, tensor in enumerate(getattr(self, name))}
            saved = {str(place): tensor for place, tensor in enumerate(state[name])}
            restored(f"adam's {name}", saved, mine, finite=False)
        restored("adam's", {"steps": state["steps"]}, {"steps": self.steps})

    def _places(self, rows: Rows) -> slice | torch.Tensor:
        """Indices where the parameters are: a list would be sent there for each of them."""
        return rows if isinstance(rows, slice) else torch.tensor(rows, device=self._device)

    def _numbers(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)


def row_norms(tensors: Sequence[torch.Tensor]) -> Float[torch.Tensor, " rows"]:
    """Of all numbers of each row, over several tensors."""
    return torch.stack([x.reshape(len(x), -1).norm(dim=1) for x in tensors]).norm(dim=0)


def _grad(parameter: torch.Tensor) -> torch.Tensor:
    grad = parameter.grad
    assert grad is not None
    return grad


def _over(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One number a row, against tensors with more axes."""
    return values.view(-1, *[1] * (like.ndim - 1)).to(like.dtype)
