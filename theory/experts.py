"""The product of Gaussian experts of adaptive2024: reward and KL weights from relative variance.

With b = E[s] / lam, relative variance s / E[s] and its multiple rho = lam s / E[s] = s / b, the
objective b / (b + s) E[mean] - s / (b + s) KL has utility mean / (1 + rho) and coefficient
rho / (1 + rho). `per` says what s is: 'prompt' (one variance per prompt, the paper's Eq. 7) or
'sample' (that of each response, what one response a prompt amounts to).
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from theory import checks
from theory.arrays import Array, namespace
from theory.binding import UNBOUND, Binding
from theory.penalties import SIGMA_MIN, Coefficient
from theory.scores import Scores
from theory.utilities import Utility


@dataclass(frozen=True)
class RelativeVariance(Coefficient):
    """c = s / E[s], at beta = lam the adaptive KL coefficient sigma^2 / b [adaptive2024, Eq. 7]."""

    per: str = "prompt"
    sigma_min: float = SIGMA_MIN
    ddof: int = 1

    def __post_init__(self) -> None:
        _check_parts(self)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Binding fields used."""
        return _needs(self.per)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Relative variance of each cell."""
        return _relative_variance(self, scores, binding)


@dataclass(frozen=True)
class ExpertMean(Utility):
    """u = mean / (1 + lam s / E[s]), the reward side of the product; goes with `ExpertVariance`."""

    lam: float = 0.05
    per: str = "prompt"
    sigma_min: float = SIGMA_MIN
    ddof: int = 1

    def __post_init__(self) -> None:
        _check_parts(self)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Binding fields used."""
        return _needs(self.per)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Shrunk mean of each cell."""
        return scores.mean() / (1 + self.lam * _relative_variance(self, scores, binding))


@dataclass(frozen=True)
class ExpertVariance(Coefficient):
    """c = rho / (1 + rho), rho = lam s / E[s], the KL side of the product, used at beta = 1."""

    lam: float = 0.05
    per: str = "prompt"
    sigma_min: float = SIGMA_MIN
    ddof: int = 1

    def __post_init__(self) -> None:
        _check_parts(self)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Binding fields used."""
        return _needs(self.per)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """KL weight of each cell."""
        rho = self.lam * _relative_variance(self, scores, binding)
        return rho / (1 + rho)


_Part = RelativeVariance | ExpertMean | ExpertVariance


def _relative_variance(part: _Part, scores: Scores, binding: Binding) -> Array:
    cells, floor = scores.members[..., 0], part.sigma_min**2
    mean_variance = binding.need("mean_variance", part)
    s = binding.need("prompt_variance", part) if part.per == "prompt" else scores.var(part.ddof)
    xp = namespace(cells, s, mean_variance)
    checks.broadcastable("scores.mean", cells, "prompt_variance", s)
    checks.broadcastable("scores.mean", cells, "mean_variance", mean_variance)
    return xp.clip(s, floor, None) / xp.clip(mean_variance, floor, None) + xp.zeros_like(cells)


def _needs(per: str) -> tuple[str, ...]:
    return ("mean_variance", "prompt_variance") if per == "prompt" else ("mean_variance",)


def _check_parts(part: _Part) -> None:
    checks.one_of("per", part.per, ("prompt", "sample"))
    checks.scale("sigma_min", part.sigma_min, power=2)
    if not isinstance(part, RelativeVariance):
        checks.scale("lam", part.lam)
