"""Responses that policies draw, by uniform numbers of each seed, and the advantages of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int

from bandits.streams import draw


def drawn(
    log_policy: Float[torch.Tensor, "seeds prompts responses"],
    dice: Float[torch.Tensor, "seeds prompts samples"],
) -> Int[torch.Tensor, "seeds prompts samples"]:
    """Responses, by inverting the cumulative probabilities."""
    edges = log_policy.exp().cumsum(-1)
    return torch.searchsorted(edges, dice.contiguous()).clamp(max=log_policy.shape[-1] - 1)


def rollout_dice(
    log_reference: Float[torch.Tensor, "seeds prompts responses"],
    seeds: Sequence[int],
    steps: int,
    samples: int,
) -> Float[torch.Tensor, "seeds steps prompts samples"]:
    """Uniform numbers of every seed's rollouts."""
    size = (steps, log_reference.shape[-2], samples)
    return draw(
        seeds, "rollouts", lambda rng: rng.random(size),
        dtype=log_reference.dtype, device=str(log_reference.device),
    )  # fmt: skip


def whitened(
    advantage: Float[torch.Tensor, "seeds prompts places"],
    weights: Float[torch.Tensor, "seeds prompts places"],
) -> Float[torch.Tensor, "seeds prompts places"]:
    """Advantages of each seed with weighted mean 0 and standard deviation 1."""
    share = weights / weights.sum((-1, -2), keepdim=True)
    mean = (share * advantage).sum((-1, -2), keepdim=True)
    variance = (share * (advantage - mean) ** 2).sum((-1, -2), keepdim=True)
    return (advantage - mean) / (variance.sqrt() + 1e-8)
