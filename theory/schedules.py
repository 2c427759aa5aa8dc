"""How beta moves while a policy is trained: along a schedule, or towards a KL."""

from dataclasses import dataclass

from theory import checks
from theory.arrays import Array, namespace
from theory.errors import InputError


@dataclass(frozen=True)
class Annealed:
    """beta moves geometrically from `start` to the objective's own over a share of the steps.

    A network shared by the prompts saturates early under a small fixed beta.
    """

    start: float = 2.0
    share: float = 0.8

    def __post_init__(self) -> None:
        checks.positive("start", self.start)
        if not 0 < self.share <= 1:
            raise InputError("share", "in (0, 1]", self.share)

    def beta(self, final: float, step: int, steps: int) -> float:
        """beta at one step.

        >>> Annealed(2.0, 0.5).beta(0.02, 5, 20)
        0.2
        """
        done = min(1.0, step / max(1.0, self.share * steps))
        return float(self.start * (final / self.start) ** done)


@dataclass(frozen=True)
class Controller:
    """ln beta moves by gain * clip((KL - target) / target, -1, most) a step, from ln `start`.

    For objectives with a `TargetKL` [ziegler2019, sec. 2.2, with the integral in ln beta].
    """

    start: float = 2.0
    gain: float = 0.1
    most: float = 1.0
    """Largest relative excess of the KL that counts."""

    def __post_init__(self) -> None:
        for name in ("start", "gain", "most"):
            checks.positive(name, getattr(self, name))

    def moved(self, log_beta: Array, kl: Array, target: float) -> Array:
        """ln beta after a step at this KL, elementwise.

        >>> import numpy as np
        >>> Controller(gain=0.1).moved(np.array(0.0), np.array(1.5), 1.0).round(3)
        np.float64(0.05)
        """
        xp = namespace(log_beta, kl)
        return log_beta + self.gain * xp.clip((kl - target) / target, -1.0, self.most)
