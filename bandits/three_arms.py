"""The bandit of banerjee2024: known arms, estimates of known spread, drawn anew for every seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from bandits.placement import check_device
from bandits.policies import TabularPolicy
from bandits.streams import draw
from bandits.training import TabularWorld
from theory import checks
from theory.errors import InputError
from theory.scores import Scores


@dataclass(frozen=True)
class ThreeArms(TabularWorld):
    """One prompt, any number of arms, estimates around their true rewards [banerjee2024, Fig. 2].

    reward:  true reward of each arm.
    sigma:   standard deviation of each estimate, known to the learner.
    degrees: of freedom of Student's t for heavy-tailed estimates (> 2; scaled to `sigma`), or None
             for normal ones.

    The reference is uniform. Repeated over seeds it gives the law of the return of an objective.
    Raises `InputError` for lengths that differ, a sigma <= 0 or degrees <= 2.
    """

    reward: tuple[float, ...] = (1.0, 2.0, 3.0)
    sigma: tuple[float, ...] = (2.0, 0.3, 0.3)
    degrees: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if len(self.reward) != len(self.sigma) or len(self.reward) < 2:
            raise InputError(
                "sigma", f"one for each of at least 2 arms ({len(self.reward)})", len(self.sigma)
            )
        checks.positive("sigma", np.array(self.sigma))
        check_device(self.device)
        if self.degrees is not None and self.degrees <= 2:
            raise InputError("degrees", "> 2, for a finite variance", self.degrees)

    @property
    def name(self) -> str:
        """As quoted in records."""
        tails = "normal" if self.degrees is None else f"t({self.degrees:g})"
        return f"bandit of {len(self.reward)} arms, {tails}"

    @property
    def gold(self) -> Float[torch.Tensor, "1 arms"]:
        """True rewards."""
        return torch.tensor([self.reward], dtype=torch.float64, device=self.device)

    def prepare(self, seeds: Sequence[int]) -> tuple[TabularPolicy, torch.Tensor, Scores]:
        """A table of logits at the uniform reference, and one draw of estimates a seed."""
        arms = len(self.reward)
        sample = partial(_noise, arms=arms, degrees=self.degrees)
        noise = draw(seeds, "estimates", sample, dtype=torch.float64, device=self.device)
        sigma = torch.tensor(self.sigma, dtype=torch.float64, device=self.device)
        estimates = self.gold + sigma * noise
        uniform = torch.full_like(estimates, -np.log(arms))
        scores = Scores.known(estimates, sigma.expand_as(estimates))
        return TabularPolicy.at(uniform), uniform, scores


def _noise(rng: np.random.Generator, *, arms: int, degrees: float | None) -> np.ndarray:
    """One prompt's standardised errors."""
    if degrees is None:
        return rng.standard_normal((1, arms))
    return rng.standard_t(degrees, (1, arms)) * np.sqrt((degrees - 2) / degrees)
