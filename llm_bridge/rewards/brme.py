"""Bayesian reward model ensembles: heads that report a mean and a standard deviation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.initial import normal
from llm_bridge.rewards.models import RewardModel, RewardTraining, fit
from theory import checks
from theory.scores import Scores

LOSSES = ("mse", "nll")
SMALLEST_STD = 1e-3
"""Below every standard deviation, so that the likelihood of an exact fit stays finite."""


@dataclass(frozen=True)
class Brme:
    """Second stage of a Bayesian multi-head reward model [rewardrobust2024, sec. 5, Eq. 8].

    Heads learn the targets alpha (p - 1/2) of the chosen and alpha (1/2 - p) of the rejected
    response, where p = sigma(r_chosen - r_rejected) by the model of the first stage.
    """

    alpha: float = 2.0
    """Range of the targets; the paper gives none."""
    loss: str = "mse"
    """Of the heads: 'mse' of a reparameterised sample, as in the paper, whose minimiser has no
    spread at all: its standard deviation tells how long a direction was trained, not how noisy it
    is; or 'nll' of the Gaussian, whose minimiser has the spread of the targets that the network
    cannot tell apart."""

    def __post_init__(self) -> None:
        checks.positive_number("alpha", self.alpha)
        checks.one_of("loss", self.loss, LOSSES)


class GaussianRewardModel(RewardModel):
    """A reward model whose heads give a mean and a standard deviation each."""

    per_head = 2

    def scores(self, outputs: Float[torch.Tensor, "samples outputs"]) -> Scores:
        """Means as members, and the heads' standard deviations."""
        return Scores(*gaussian(outputs))


def gaussian(
    outputs: Float[torch.Tensor, "rows outputs"],
) -> tuple[Float[torch.Tensor, "rows k"], Float[torch.Tensor, "rows k"]]:
    """Means and standard deviations from the outputs of k heads."""
    mean, raw = outputs.chunk(2, dim=-1)
    return mean, torch.nn.functional.softplus(raw) + SMALLEST_STD


def train_gaussian(
    model: GaussianRewardModel,
    pairs: Pairs,
    preference: Float[np.ndarray, " pairs"],
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    brme: Brme,
    *,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> Float[np.ndarray, "steps k"]:
    """Fit means and standard deviations to targets; losses of all steps, see `fit`.

    preference: p of every pair; generator: of the reparameterised samples, on the CPU.
    """
    outputs, device = model.outputs(pairs), model.trunk.device
    half = torch.as_tensor(
        brme.alpha * (preference - 0.5), dtype=model.head.weight.dtype, device=device
    )[:, None]  # fmt: skip

    def side(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mean, std = gaussian(out)
        if brme.loss == "mse":
            noise = normal(*mean.shape, dtype=mean.dtype, generator=generator).to(device)
            return (mean + noise * std - target) ** 2
        return ((mean - target) / std) ** 2 / 2 + std.log()

    def loss(rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        target = half[rows[:, 0]]
        for heads, won, lost in outputs(rows):
            yield heads, side(won, target) + side(lost, -target)

    return fit(model, loss, weights, settings, rng=rng)
