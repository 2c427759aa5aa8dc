"""How PPO trains a language model."""

from dataclasses import dataclass

from llm_bridge.arithmetic import PRECISIONS
from llm_bridge.lm.learning_rates import SCHEDULES
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import DECODINGS
from llm_bridge.member_weights import MemberDual
from llm_bridge.shaping import CHARGES
from theory import checks
from theory.errors import InputError
from theory.schedules import Controller

CRITICS = ("shared", "separate")
ESTIMATES = ("kl", "kl_k3", "kl_exact")


@dataclass(frozen=True)
class Settings:
    """How PPO trains [schulman2017]."""

    batch: int = 128
    """Responses of an iteration; `epochs` passes over them in `minibatches` steps each, every one
    in `accumulate` parts."""
    epochs: int = 2
    """Passes over the responses of an iteration."""
    minibatches: int = 2
    accumulate: int = 1
    learning_rate: float = 2e-4
    schedule: str = "constant"
    """Of the learning rate: 'constant', or 'cosine' or 'linear' to zero at the last step."""
    warm_up: int = 0
    """Steps over which the learning rate rises from zero."""
    clip: float = 0.2
    """Half-width of the trusted interval of probability ratios."""
    value_clip: float = 0.2
    """Half-width of the trusted interval of values."""
    value_coefficient: float = 0.1
    """Weight of the loss of values."""
    gamma: float = 1.0
    """Discount of a token."""
    lam: float | None = None
    """Of generalised advantages; None takes 1 where the penalty is charged on the last token, else
    0.95."""
    whiten: bool = True
    """Advantages to mean 0 and spread 1 over the tokens of an iteration."""
    clip_norm: float | None = 1.0
    """Largest norm of gradients, or None."""
    weight_decay: float = 0.0
    eps: float = 1e-8
    """Added by Adam to the root of its second moment: gradients below it make no whole steps. At
    1e-5, as in OpenAI's baselines, rounding moves weights 100 times less."""
    charge: str = "auto"
    """Where penalties are charged: 'last' token, 'spread', or 'auto', which spreads what may be
    spread without bias."""
    critic: str = "shared"
    """Where values come from: a head on the trunk 'shared' with the policy, or a 'separate' one."""
    lora: Lora | None = None
    """Adapters to train in place of all weights; the reference is the model below them."""
    precision: str = "float32"
    """Of matrix products: 'bfloat16', or 'float32', which leaves them in that of the weights."""
    decoding: str = "eager"
    """How responses are computed: 'eager', or as CUDA 'graphs', recorded once and replayed."""
    exact_kl: bool = False
    """Record the KL of whole token distributions too, at twice the cost of the
    reference."""
    controller: Controller = Controller(start=0.1, most=5.0)
    """Of beta, for objectives with a `TargetKL`."""
    steer_by: str = "kl"
    """Estimate of the KL that the controller is fed: 'kl' (k1), 'kl_k3', or 'kl_exact'."""
    dual: MemberDual = MemberDual()
    """Of member weights, for policy-level worst cases."""
    stop_on_divergence: bool = False
    """End a training that explodes, see `llm_bridge.divergence`, in place of going on."""

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "minibatches", "accumulate", "learning_rate", "clip",
                     "value_clip", "eps"):  # fmt: skip
            checks.positive(name, getattr(self, name))
        if self.clip_norm is not None:
            checks.positive("clip_norm", self.clip_norm)
        for name in ("weight_decay", "warm_up", "value_coefficient"):
            checks.positive(name, getattr(self, name), zero_allowed=True)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        for name, share in (("gamma", self.gamma), ("lam", self.lam)):
            if share is not None and not 0 <= share <= 1:
                raise InputError(name, "in [0, 1]", share)
        checks.one_of("charge", self.charge, CHARGES)
        checks.one_of("critic", self.critic, CRITICS)
        checks.one_of("steer_by", self.steer_by, ESTIMATES)
        if self.steer_by == "kl_exact" and not self.exact_kl:
            raise InputError("steer_by", "'kl' or 'kl_k3' without exact_kl", self.steer_by)
        checks.one_of("precision", self.precision, PRECISIONS)
        checks.one_of("decoding", self.decoding, DECODINGS)
        if self.batch % (self.minibatches * self.accumulate):
            raise InputError(
                "batch", f"a multiple of minibatches x accumulate "
                f"({self.minibatches} x {self.accumulate})", self.batch,
            )  # fmt: skip

    @property
    def scheduled(self) -> str | None:
        """What ends with the last step, so that it depends on how many there are; None if none."""
        return None if self.schedule == "constant" else f"{self.schedule} schedule"
