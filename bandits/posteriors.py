"""Reward models that report their own uncertainty: heads with a spread, and a posterior."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float

from bandits.comparisons import Comparisons
from bandits.ensemble import Ensemble, Outputs, Parameters, Shared
from bandits.reward_models import RewardTraining
from bandits.streams import normal
from theory import checks
from theory.errors import InputError

NEWTON_STEPS = 20
SMALLEST = 1e-12
"""Curvature below which a comparison says nothing about the posterior."""


@dataclass(frozen=True)
class Brme(Shared):
    """Bayesian multi-head reward model [rewardrobust2024, sec. 5, Eq. 8].

    Stage 1 is a Bradley-Terry model with p = sigma(r_chosen - r_rejected). In stage 2 each head
    learns a mean and a standard deviation from the targets +-alpha (p - 1/2) of its comparisons.

    alpha:  range of the targets; the paper gives none.
    second: training of stage 2, which starts at the trunk of stage 1 and moves it.
    loss:   'mse' of a reparameterised sample, as in the paper, whose minimiser has no spread at
            all; or 'nll' of the Gaussian, whose minimiser has the spread of the targets that the
            network cannot tell apart, which is none for a target that stands alone.
    """

    members: int = 5
    split: str = "disjoint"
    alpha: float = 2.0
    second: RewardTraining = RewardTraining(steps=300)
    loss: str = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("alpha", self.alpha)
        checks.one_of("loss", self.loss, ("mse", "nll"))

    def train(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Outputs:
        """Stage 1, then means and standard deviations."""
        single = self.fit_one(data, seeds, shape)
        half = self.alpha * (torch.sigmoid(data.margins(self.network(single, shape))) - 0.5)
        target = torch.stack([half, -half], dim=-2)
        trunk = [layer.clone().requires_grad_() for layer in single[:-2]]
        means = self._heads(data, seeds, "mean head", shape)
        stds = self._heads(data, seeds, "std head", shape)

        def outputs() -> tuple[torch.Tensor, torch.Tensor]:
            features = self.mlp.trunk([*trunk, *single[-2:]], shape)
            mean, std = (self.mlp.head(features, head, shape) for head in (means, stds))
            return mean, torch.nn.functional.softplus(std)

        noise = None
        if self.loss == "mse":
            size = (self.second.steps, *target.shape[1:])
            noise = self._draw(data, seeds, "reparameterised", partial(normal, size=size))

        def loss(step: int) -> torch.Tensor:
            mean, std = (
                torch.stack([data.gather(o, cells) for cells in (data.chosen, data.rejected)], -2)
                for o in outputs()
            )
            if noise is not None:
                each = (mean + noise[:, step] * std - target) ** 2
            else:
                each = ((mean - target) / std) ** 2 / 2 + std.log()
            return (data.weights[..., None, :] * each).sum()

        self.second.fit([*trunk, *means, *stds], loss)
        with torch.no_grad():
            return Outputs(*outputs())

    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """M + 2 k L."""
        head = self.head_size(shape)
        total = self.size(shape) - head + 2 * self.members * head
        return Parameters(total, total)


@dataclass(frozen=True)
class Laplace(Ensemble):
    """Draws from the Laplace posterior of one reward model's last, linear step.

    Its weights have a normal prior of mean 0 and precision `prior`; the hidden layers are those of
    a fitted model. Disagreement comes from what the comparisons leave open, not from
    initialisation, and how large it is depends on the prior.
    """

    prior: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("prior", self.prior)
        if self.split != "same":
            raise InputError("split", "'same': all draws are of one posterior", self.split)

    def train(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Outputs:
        """A fitted model, and k draws around it."""
        layers = self.fit_one(data, seeds, shape)
        mode, covariance = self.posterior(self.network.kernel(layers, shape), data)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp(min=0).sqrt()[..., None, :]
        size = (self.members, root.shape[-1])
        noise = self._draw(data, seeds, "posterior", partial(normal, size=size))
        return Outputs((mode + noise @ root[:, 0].mT).unflatten(-1, shape))

    def posterior(
        self, kernel: Float[torch.Tensor, "seeds 1 cells cells"], data: Comparisons
    ) -> tuple[Float[torch.Tensor, "seeds 1 cells"], Float[torch.Tensor, "seeds 1 cells cells"]]:
        """Mode and covariance of the scores of all cells.

        With D the comparisons' differences and s = sigma(m) of the fitted margins m, the mode is
        K D' (1 - s) / prior and the covariance (K - K D' (prior / W + D K D')^-1 D K) / prior with
        W = s (1 - s).
        """
        across = _differences(kernel, data)
        among = _differences(across.mT, data)
        share = torch.sigmoid(self._margins(among))
        mode = (across.mT @ (1 - share)[..., None])[..., 0] / self.prior
        inverse = self.prior / (share * (1 - share)).clamp(min=SMALLEST)
        explained = across.mT @ torch.linalg.solve(among + torch.diag_embed(inverse), across)
        return mode, (kernel - explained) / self.prior

    def _margins(
        self, among: Float[torch.Tensor, "seeds 1 comparisons comparisons"]
    ) -> Float[torch.Tensor, "seeds 1 comparisons"]:
        """The root of m = D K D' sigma(-m) / prior, by Newton's method."""
        margins = torch.zeros_like(among[..., 0])
        unit = torch.eye(among.shape[-1], dtype=among.dtype, device=among.device)
        for _ in range(NEWTON_STEPS):
            wrong = torch.sigmoid(-margins)
            residual = margins - (among @ wrong[..., None])[..., 0] / self.prior
            slope = unit + among * (wrong * (1 - wrong))[..., None, :] / self.prior
            margins = margins - torch.linalg.solve(slope, residual)
        return margins

    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """M + L trained and loaded: draws are of scores."""
        size = self.size(shape)
        return Parameters(size, size)


def _differences(
    rows: Float[torch.Tensor, "seeds 1 cells columns"], data: Comparisons
) -> Float[torch.Tensor, "seeds 1 comparisons columns"]:
    """Row of the chosen cell minus row of the rejected one."""
    won, lost = (
        torch.gather(rows, -2, cells[..., None].expand(-1, -1, -1, rows.shape[-1]))
        for cells in (data.chosen, data.rejected)
    )
    return won - lost
