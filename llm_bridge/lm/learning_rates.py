"""Learning rates along a training: a warm-up, then a schedule."""

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1.0 - done,
}
"""Share of the learning rate after a share of the steps."""


def rate(schedule: str, step: int, steps: int, warm_up: float) -> float:
    """Share of the learning rate at one of the steps 0, 1 ..., of which `warm_up` rise from zero.

    >>> [round(rate("cosine", step, 4, warm_up=2), 2) for step in range(4)]
    [0.5, 0.85, 0.5, 0.15]
    """
    warm = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
    return warm * SCHEDULES[schedule](step / steps)
