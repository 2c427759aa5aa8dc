"""How expensive it is to move probability, the form that cost multiplies, and its strength."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float

from theory import checks
from theory.arrays import Array, like, namespace
from theory.binding import UNBOUND, Binding
from theory.covariance import METHODS
from theory.scores import Scores

Form = Literal["bregman", "kl", "quadratic", "norm"]
FORMS = ("bregman", "kl", "norm", "quadratic")
SIGMA_MIN = 1e-3
"""Default floor of a member standard deviation, in reward units."""


class Coefficient(ABC):
    """Maps scores to c(x, y) > 0, one cost per cell.

    `needs` names the `Binding` fields used; `matrix` says that `metric` is a full matrix.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    matrix: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Coefficient of each cell."""


@dataclass(frozen=True)
class Constant(Coefficient):
    """c = 1: the variance-unaware penalty."""

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Ones."""
        return namespace(scores.members).ones_like(scores.members[..., 0])


@dataclass(frozen=True)
class StdDev(Coefficient):
    """c = max(sigma, sigma_min): the PPO penalty of [banerjee2024, sec. 5]."""

    sigma_min: float = SIGMA_MIN
    ddof: int = 1

    def __post_init__(self) -> None:
        checks.scale("sigma_min", self.sigma_min, power=2)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Floored standard deviation."""
        return namespace(scores.members).clip(scores.std(self.ddof), self.sigma_min, None)


@dataclass(frozen=True)
class Variance(Coefficient):
    """c = max(sigma, sigma_min)^2: the weight of [banerjee2024, Thm 3.3 and 3.6]."""

    sigma_min: float = SIGMA_MIN
    ddof: int = 1

    def __post_init__(self) -> None:
        checks.scale("sigma_min", self.sigma_min, power=2)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Floored variance."""
        return namespace(scores.members).clip(scores.var(self.ddof), self.sigma_min**2, None)


@dataclass(frozen=True)
class Covariance(Coefficient):
    """Full covariance across the responses of a prompt, a matrix metric of quadratic forms.

    `method` and `rank` as in `Scores.covariance` (ignored where the covariance is known).
    """

    method: str = "ledoit_wolf"
    rank: int = 1
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.one_of("method", self.method, METHODS)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """A matrix has no value per cell."""
        raise checks.InputError(
            "form",
            "'quadratic' or 'norm' with a Covariance coefficient",
            "another form",
            "use Variance() for weighted divergences",
        )


@dataclass(frozen=True)
class Fisher(Coefficient):
    """Diagonal 1 / pi0, the second-order form of KL (TRPO) [banerjee2024, Rem. 2.3]."""

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """The Fisher metric depends on the reference, not on scores."""
        raise checks.InputError(
            "form",
            "'quadratic' or 'norm' with a Fisher coefficient",
            "another form",
            "use Constant() for a divergence",
        )


def metric(
    coefficient: Coefficient,
    scores: Scores,
    log_reference: Float[Any, "*batch n"],
    binding: Binding = UNBOUND,
) -> Array:
    """Metric of a quadratic form: diagonal (*batch, n), or matrix (*batch, n, n) for Covariance."""
    if isinstance(coefficient, Covariance):
        matrix = scores.covariance(coefficient.method, rank=coefficient.rank)
        checks.covariance("scores.covariance", matrix)
        return like(scores.members, matrix)
    if isinstance(coefficient, Fisher):
        reference = namespace(log_reference).exp(log_reference)
        checks.positive("reference", reference)
        return 1 / reference
    return coefficient(scores, binding)


@dataclass(frozen=True)
class Penalty:
    """Strength as a multiplier: maximise utility - beta * penalty."""

    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.number("beta", self.beta))
        checks.positive_number("beta", self.beta, hint="1e-3 is hardly a penalty at all")
        checks.scale("beta", self.beta)


@dataclass(frozen=True)
class Budget:
    """Strength as a bound: maximise utility s.t. mean over prompts of the penalty <= eps.

    `per_prompt=True` bounds every prompt by itself instead.
    """

    eps: float
    per_prompt: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checks.number("eps", self.eps))
        checks.finite("eps", self.eps)


AT_KL = "where several beta have that KL, at the largest"
"""The choice of `TargetKL`, for captions and messages."""


@dataclass(frozen=True)
class TargetKL:
    """Strength as a distance: the largest beta at which the mean KL(pi || pi0) is `kl` nats.

    With a coefficient that varies over responses plain KL is not monotone in beta, and several
    beta may have the same KL: on utilities (1, .95, 0) with coefficients (5, .02, 1) there are
    three at .42 nats. The largest is the one that is reached from the reference as the penalty is
    weakened: by annealing, by a `Controller`, which starts at a strong penalty, and by a scan. It
    has the smallest penalty of them, is a stable point of every controller (KL falls with beta
    there, for the forms that are smallest at pi0), and no stronger penalty exceeds the KL. The
    smallest beta would have the largest expected utility, that is, trust the reward models most.
    `Solution.crossings` lists all.
    """

    kl: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "kl", checks.number("kl", self.kl))
        checks.positive_number("kl", self.kl)


Strength = Penalty | Budget | TargetKL


def short(strength: Strength) -> str:
    """A strength in a label.

    >>> short(Penalty(0.05)), short(TargetKL(3.0)), short(Budget(0.1))
    ('0.05', 'kl3', 'eps0.1')
    """
    if isinstance(strength, Penalty):
        return f"{strength.beta:g}"
    if isinstance(strength, TargetKL):
        return f"kl{strength.kl:g}"
    return f"eps{strength.eps:g}"
