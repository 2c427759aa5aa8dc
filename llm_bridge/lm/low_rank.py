"""x W + b + s x A B for many pairs A, B at once: one product by W of all rows."""

from typing import Any

import torch
from jaxtyping import Float
from torch.autograd.function import once_differentiable


def adapted_product(
    x: Float[torch.Tensor, "*rows in"],
    weight: Float[torch.Tensor, "in out"],
    bias: Float[torch.Tensor, " out"] | None,
    down: Float[torch.Tensor, " P in rank"],
    up: Float[torch.Tensor, "P rank out"],
    *,
    scale: float,
    dropout: float = 0.0,
) -> Float[torch.Tensor, "*rows out"]:
    """x_i W + b + s dropped(x_i) A_i B_i for the i-th of P equal parts x_i of the rows [hu2021].

    W and b get no gradients; the sum, and that of the gradients of x, are made in place.
    """
    dropped = torch.nn.functional.dropout(x, dropout) if dropout else None
    return _AdaptedProduct.apply(x, dropped, weight, bias, down, up, scale)  # type: ignore[no-any-return]


class _AdaptedProduct(torch.autograd.Function):
    """x W + b + scale x A B: one product of all rows by W, in place of which A B is added.

    dropped: what the adapters see of x, or None for all of it. W and b have no gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
        rows = (x if dropped is None else dropped).reshape(len(down), -1, x.shape[-1])
        low = torch.bmm(rows, down).mul_(scale)
        out.view(len(down), -1, out.shape[-1]).baddbmm_(low, up)
        ctx.save_for_backward(rows, low, weight, down, up)
        ctx.scale, ctx.dropped = scale, dropped is not None
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, low, weight, down, up = ctx.saved_tensors
        shape, grad = (*grads[0].shape[:-1], -1), grads[0].reshape(-1, grads[0].shape[-1])
        own = grad.view(len(down), -1, grad.shape[-1])
        grad_low = torch.bmm(own, up.mT).mul_(ctx.scale)
        grad_x = grad_dropped = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight.T
            if ctx.dropped:
                grad_dropped = torch.bmm(grad_low, down.mT).view(shape)
            else:
                grad_x.view(len(down), -1, grad_x.shape[-1]).baddbmm_(grad_low, down.mT)
            grad_x = grad_x.view(shape)
        grad_down, grad_up = torch.bmm(rows.mT, grad_low), torch.bmm(low.mT, own)
        return grad_x, grad_dropped, None, None, grad_down, grad_up, None
