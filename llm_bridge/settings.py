"""How PPO trains a language model."""

from dataclasses import dataclass

from llm_bridge.sampling import Sampling
from theory import checks
from theory.errors import InputError
from theory.schedules import Controller


@dataclass(frozen=True)
class Settings:
    """How PPO trains [schulman2017].

    batch:      responses of an iteration; `epochs` passes over them in `minibatches` steps each,
                every one in `accumulate` parts.
    lam:        of GAE; None takes 1 where the penalty is charged on the last token, else 0.95.
    charge:     'auto', 'last' or 'spread', see `llm_bridge.shaping`.
    value_clip: half-width of the trusted interval of values.
    controller: of beta, for objectives with a `TargetKL`.
    """

    batch: int = 128
    epochs: int = 2
    minibatches: int = 2
    accumulate: int = 1
    learning_rate: float = 2e-4
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    lam: float | None = None
    whiten: bool = True
    clip_norm: float = 1.0
    charge: str = "auto"
    controller: Controller = Controller(start=0.1)
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "minibatches", "accumulate", "learning_rate", "clip",
                     "value_clip", "clip_norm"):  # fmt: skip
            checks.positive(name, getattr(self, name))
        if self.batch % (self.minibatches * self.accumulate):
            raise InputError(
                "batch", f"a multiple of minibatches x accumulate "
                f"({self.minibatches} x {self.accumulate})", self.batch,
            )  # fmt: skip
