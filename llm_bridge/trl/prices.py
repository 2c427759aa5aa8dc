"""A price of KL for each response in TRL's RLOO and GRPO, which know one beta for all."""

import warnings
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.lm.head import widened
from llm_bridge.shaping import response_level
from llm_bridge.trl.rewards import RewardFunction
from theory.errors import InputError


def priced(trainer: type) -> type:
    """TRL's trainer, or a class of your own below it, with beta times a price a response.

        reward = RewardFunction(variance_aware(0.05), normaliser, priced=True)
        Trainer = priced(RLOOTrainer)
        Trainer(model, reward_funcs=reward, args=RLOOConfig(beta=reward.beta, ...), ...)

    RLOO subtracts beta * price * ln(pi / pi0) of the whole response from its reward, before the
    leave-one-out baseline: on-policy that is the gradient of `theory.objective.value`, without
    bias. Several steps on the same responses are clipped as ever.

    GRPO adds beta * price * k3 [schulman2020] of every token to the loss, its price spread over
    them. With `use_bias_correction_kl` (TRL's default) the expectation of k3 has the gradient of
    the KL of each token's distribution, but no credit for the KL of the tokens that follow; a price
    that depends on the response correlates with them, and is biased in addition, which is warned
    of. `scale_rewards="none"` keeps the proportion of utility and penalty; by default TRL divides
    the utility alone by its spread in a group.

    A constant price c is a scalar beta * c, bit for bit. Raises `InputError` for another class; the
    new one raises it unless exactly one of its reward functions is priced, at the beta of its args.
    """
    names = {parent.__name__ for parent in trainer.__mro__}
    kinds = {"RLOOTrainer": _RLOO, "GRPOTrainer": _GRPO}
    for name, kind in kinds.items():
        if name in names:
            return type(f"Priced{trainer.__name__}", (kind, trainer), {})
    raise InputError("trainer", f"TRL's {' or '.join(kinds)}", trainer.__name__)


class _PerSample:
    """In place of TRL's beta, which it compares with 0 and multiplies with KL."""

    def __init__(self, betas: torch.Tensor) -> None:
        self._betas = betas

    def __ne__(self, other: object) -> bool:
        return True

    def __mul__(self, kl: torch.Tensor) -> torch.Tensor:
        return self._betas * kl


class _Priced:
    """What both trainers have in common."""

    args: Any
    accelerator: Any
    reward_funcs: list[Any]
    beta: Any

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        found = [f for f in self.reward_funcs if isinstance(f, RewardFunction) and f.priced]
        if len(found) != 1:
            raise InputError(
                "reward_funcs", "exactly one RewardFunction(..., priced=True)", f"{len(found)}"
            )
        self._priced = found[0]
        if self.args.beta != self._priced.beta:
            raise InputError(
                "args.beta", f"{self._priced.beta}, that of the objective", self.args.beta,
                "pass beta=reward.beta",
            )  # fmt: skip

    def _betas(self) -> Float[torch.Tensor, " samples"]:
        """Of the responses that were rewarded last, on this process."""
        prices = self._priced.prices
        assert prices is not None
        return (self._priced.beta * widened(prices)).to(self.accelerator.device)


class _RLOO(_Priced):
    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        parent: Any = super()
        rewards = parent._calculate_rewards(*args)
        self.beta = _PerSample(self.accelerator.gather(self._betas()))
        return rewards


class _GRPO(_Priced):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if response_level(self._priced.objective):
            warnings.warn(
                "a price that depends on the response is biased in GRPO, which spreads it over "
                "tokens: RLOO charges it whole", stacklevel=2,
            )  # fmt: skip

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        parent: Any = super()
        return {**parent._generate_and_score_completions(inputs), "betas": self._betas()}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        parent: Any = super()
        scalar, self.beta = self.beta, _PerSample(inputs["betas"][:, None])
        try:
            return parent._compute_loss(model, inputs)
        finally:
            self.beta = scalar
