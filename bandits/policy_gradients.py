"""Gradients of a population's policies, one a cell, and the steps that Adam would make of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch.func import jacrev, vmap

from bandits.networks import Layers, PerPrompt
from theory.influence import (
    AdamState,
    adam_step,
    adam_step_as_printed,
    cosine_influence,
    sgd_influence,
)
from theory.projection import SignProjection
from theory.refinement import Refinement

STEPS = {"adam": adam_step, "as_printed": adam_step_as_printed}


class Checkpoint(NamedTuple):
    """A policy in training, as influence needs it.

    first, second: the moment averages of its Adam after `updates` updates, or those of the printed
                   recursion, in float64.
    advantage:     of every cell under this policy.
    """

    parameters: Float[torch.Tensor, "seeds parameters"]
    first: Float[torch.Tensor, "seeds parameters"]
    second: Float[torch.Tensor, "seeds parameters"]
    updates: int
    learning_rate: float
    advantage: Float[torch.Tensor, "seeds cells"]


def flat(layers: Sequence[torch.Tensor]) -> Float[torch.Tensor, "seeds parameters"]:
    """All numbers of each run's network in a row."""
    return torch.cat([layer.detach().flatten(1) for layer in layers], -1)


def layered(numbers: Float[torch.Tensor, "*batch parameters"], template: Layers) -> Layers:
    """The inverse of `flat`, with the layer shapes of `template`."""
    sizes = [layer[0].numel() for layer in template]
    parts = numbers.split(sizes, dim=-1)
    return [p.unflatten(-1, like.shape[1:]) for p, like in zip(parts, template, strict=True)]


def log_likelihood_gradients(
    network: PerPrompt,
    parameters: Float[torch.Tensor, "seeds parameters"],
    template: Layers,
    shape: tuple[int, int],
) -> Float[torch.Tensor, "seeds cells parameters"]:
    """Gradient of ln pi(response | prompt) of every cell, for all runs at once."""

    def cells(numbers: torch.Tensor) -> torch.Tensor:
        logits = network(layered(numbers, template), shape)
        return torch.log_softmax(logits[0], -1).flatten()

    return vmap(jacrev(cells))(parameters)


def cell_influence(
    checkpoints: Sequence[Checkpoint],
    network: PerPrompt,
    template: Layers,
    shape: tuple[int, int],
    validation: Float[torch.Tensor, "seeds tasks cells"],
    settings: Refinement,
) -> Float[torch.Tensor, "seeds cells tasks"]:
    """Influence of training on each cell on the validation loss of each task [ugda2025, Eq. 11].

    `validation` holds the share of each cell among the chosen responses of a task, whose negative
    log-likelihood is the validation loss. Every cell is weighed at every checkpoint, with Adam in
    the state that it has there; the 'ppo' loss is the surrogate at ratio 1, -advantage ln pi.
    """
    influence = cosine_influence if settings.similarity == "cosine" else sgd_influence
    project = None
    if settings.dimension is not None:
        project = SignProjection(settings.dimension, settings.seed)
    total = torch.zeros(())
    for point in checkpoints:
        likelihood = log_likelihood_gradients(network, point.parameters, template, shape)
        aims = -(validation @ likelihood)
        scale = point.advantage[..., None] if settings.loss == "ppo" else 1.0
        steps = -scale * likelihood
        if settings.direction != "sgd":
            state = AdamState(point.first[:, None], point.second[:, None], point.updates)
            steps = STEPS[settings.direction](steps.to(point.first.dtype), state).direction
            aims = aims.to(steps.dtype)
        if project is not None:
            aims, steps = project(aims), project(steps)
        rate = torch.tensor([point.learning_rate], dtype=steps.dtype, device=steps.device)
        found = vmap(influence, in_dims=(0, 0, None))(aims[:, None], steps[:, None], rate)
        total = total + found
    return total
