"""Gradients of a policy's adapters, one a sample, from one forward and one backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.lm.actor import response_states
from llm_bridge.lm.head import chosen_log_probabilities, logits
from llm_bridge.lm.tokens import Batch
from theory.errors import InputError

Tapes = list[list[tuple[torch.Tensor, torch.Tensor]]]
"""By matrix: what went in and what came out, each time that it was used."""


def adapter_matrices(model: Any) -> list[torch.nn.Linear]:
    """A and B of every adapted layer, in the order of the model, as peft keeps them [hu2021].

    Raises `InputError` for a model without adapters.
    """
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and (".lora_A." in name or ".lora_B." in name)
    ]
    if not found:
        raise InputError(
            "model", "with low-rank adapters", "none", "train them with --adapter-rank"
        )
    return found


def flat(tensors: Sequence[torch.Tensor]) -> Float[torch.Tensor, " parameters"]:
    """All their numbers in a row."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@torch.no_grad()
def put(numbers: Float[torch.Tensor, " parameters"], weights: Sequence[torch.Tensor]) -> None:
    """The inverse of `flat`, in place. Raises `InputError` for another count of numbers."""
    sizes = [weight.numel() for weight in weights]
    if len(numbers) != sum(sizes):
        raise InputError("numbers", f"{sum(sizes)}, as adapters of this model have", len(numbers))
    for weight, part in zip(weights, numbers.split(sizes), strict=True):
        weight.copy_(part.view_as(weight))


def sample_gradients(
    model: Any,
    batch: Batch,
    weights: Float[torch.Tensor, "batch time"] | None = None,
    *,
    temperature: float = 1.0,
) -> Float[torch.Tensor, "batch parameters"]:
    """Gradient of each sample's own loss, -mean over its tokens of w ln pi(token).

    In the order of `adapter_matrices`. weights: w, of tokens; 1 for the likelihood, the advantage
    for PPO's surrogate where the ratio is 1.

    A matrix that maps x_t to y_t has the gradient sum over t of dL/dy_t x_t', so x and dL/dy of a
    batch give those of all samples in one product: nothing is run once a sample. Dropout must be
    off. Raises `InputError` for layers that mix the rows of a batch.
    """
    matrices = adapter_matrices(model)
    with _taped(matrices) as tapes:
        hidden = response_states(model, batch)
        found = logits(model, hidden[batch.live])
        log_prob = chosen_log_probabilities(found, batch.responses[batch.live], temperature)
        share = batch.live / batch.live.sum(1, keepdim=True)
        if weights is not None:
            share = share * weights
        loss = -(log_prob * share[batch.live]).sum()
    outputs = [out for tape in tapes for _, out in tape]
    slopes = iter(torch.autograd.grad(loss, outputs, allow_unused=True))
    parts = []
    for matrix, tape in zip(matrices, tapes, strict=True):
        products = []
        for x, out in tape:
            slope = next(slopes)
            if x.ndim != 3 or len(x) != len(batch):
                raise InputError(
                    "model", f"layers that see rows of {len(batch)} samples", tuple(out.shape)
                )
            if slope is not None:
                kind = matrix.weight.dtype
                products.append(torch.bmm(slope.to(kind).mT, x.to(kind)))
        if not products:
            products = [matrix.weight.new_zeros(len(batch), *matrix.weight.shape)]
        total = products[0] if len(products) == 1 else torch.stack(products).sum(0)
        parts.append(total.flatten(1))
    return torch.cat(parts, 1)


@contextmanager
def _taped(matrices: Sequence[torch.nn.Linear]) -> Iterator[Tapes]:
    """What goes in and out of matrices, for the time being."""
    tapes: Tapes = [[] for _ in matrices]
    handles = [
        matrix.register_forward_hook(
            lambda _, seen, out, tape=tape: tape.append((seen[0].detach(), out))
        )
        for matrix, tape in zip(matrices, tapes, strict=True)
    ]
    try:
        yield tapes
    finally:
        for handle in handles:
            handle.remove()
