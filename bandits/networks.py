"""Small networks as tensors with leading population axes: one multiplication trains them all."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from bandits.streams import draw

Layers = list[torch.Tensor]
"""Weights (*population, inputs, outputs) and biases (*population, 1, outputs), alternating."""


def init_layers(
    seeds: Sequence[int],
    purpose: str,
    sizes: Sequence[int],
    *,
    members: int = 1,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Layers:
    """Weights and biases uniform on +-1/sqrt(inputs), population (seeds, members).

    Each member of each seed has numbers of its own, which do not depend on how many members or
    seeds there are.
    """
    total = parameter_count(sizes)
    each = [
        draw(seeds, f"{purpose} {member}", partial(_uniform, count=total), dtype=dtype,
             device=device)
        for member in range(members)
    ]  # fmt: skip
    numbers, layers, start = torch.stack(each, dim=1), [], 0
    for inputs, outputs in pairwise(sizes):
        for rows in (inputs, 1):
            part = numbers[..., start : start + rows * outputs] * inputs**-0.5
            layers.append(part.unflatten(-1, (rows, outputs)).contiguous().requires_grad_())
            start += rows * outputs
    return layers


def forward(
    layers: Layers, inputs: Float[torch.Tensor, "..."] | None = None
) -> Float[torch.Tensor, "*population rows outputs"]:
    """A tanh network applied to (rows, inputs), or to (*population, rows, inputs).

    Without `inputs` it is applied to every one-hot input, whose products with the first weights
    are those weights.
    """
    hidden = (layers[0] if inputs is None else inputs @ layers[0]) + layers[1]
    for index in range(2, len(layers), 2):
        hidden = torch.tanh(hidden) @ layers[index] + layers[index + 1]
    return hidden


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of one network.

    >>> parameter_count((8, 32, 32, 8))
    1608
    """
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def _uniform(rng: np.random.Generator, *, count: int) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, count)
