"""Any objective as a reward function of TRL's GRPO and RLOO trainers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.data.formats import Reader, UnusableRow
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.shaping import Shaper, check_trainable
from theory.errors import InputError
from theory.mixes import PolicyWorstMix
from theory.objective import Objective
from theory.penalties import Constant, Penalty


class RewardFunction:
    """Utility of responses under an objective, sample by sample, called as TRL calls it.

        reward = RewardFunction(lcb(0.05), normaliser)
        args = RLOOConfig(beta=reward.beta, ...)
        RLOOTrainer(model, reward_funcs=reward, args=args, train_dataset=dataset)

    normaliser: fitted for every prompt of the data set. tokenizer: whose chat template renders
                prompts that are messages, as in `llm_bridge.data.reading.read_prompts`.
    priced:     that the trainer is made by `llm_bridge.trl.prices.priced`, which charges beta times
                a price a response. TRL's own charge one beta for all, so without it the objective
                needs a `Constant` coefficient.

    The returned numbers leave out the penalty but for the fixed charge of the 'kl' form, see
    `Shaper.parts`. The text of a response is what TRL decodes: tokenizers in the manner of
    SentencePiece lose its first space.

    Raises `InputError` for a strength that is no `Penalty` (TRL's beta is fixed), a policy-level
    worst case (its member weights move while the policy trains, and are part of its state), a price
    that nobody would charge, and an objective that these reward models can not be trained on.
    """

    def __init__(
        self,
        objective: Objective,
        normaliser: Normaliser,
        *,
        tokenizer: Any = None,
        priced: bool = False,
    ) -> None:
        if not isinstance(objective.strength, Penalty):
            raise InputError("objective.strength", "a Penalty for TRL", objective.strength)
        if isinstance(objective.utility, PolicyWorstMix):
            raise InputError(
                "objective.utility", "of one sample at a time for TRL", objective.utility,
                "python -m llm_bridge ppo trains it; per sample it is theory.mixes.WorstMix",
            )  # fmt: skip
        table = normaliser.table
        check_trainable(objective, members=table.k, spread=table.head_std is not None)
        if not priced and not isinstance(objective.coefficient, Constant):
            raise InputError(
                "objective.coefficient", "Constant() for a trainer with one beta",
                objective.coefficient, "pass priced=True, and train with priced(RLOOTrainer)",
            )  # fmt: skip
        self.objective, self.normaliser, self.priced = objective, normaliser, priced
        self.beta = objective.strength.beta
        self.prices: Float[torch.Tensor, " samples"] | None = None
        """Of the last responses."""
        self.__name__ = (objective.name or "utility").replace(" ", "_")
        self._shaper, self._reader = Shaper(objective, normaliser), Reader(tokenizer)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """One number a response; prompts and completions are texts or lists of messages.

        Logs `member_std`, the mean disagreement of members, and `price` where there is one.
        """
        asked, said = self._texts(prompts, completions)
        scores = self.normaliser(asked, said)
        utility, fixed, self.prices = self._shaper.parts(scores, self.normaliser.places(asked))
        if log_metric is not None and scores.k > 1:
            log_metric("member_std", float(scores.std().mean()))
        if log_metric is not None and self.priced:
            log_metric("price", float(self.prices.mean()))
        return list((utility - self.beta * fixed).tolist())

    def _texts(
        self, prompts: Sequence[Any], completions: Sequence[Any]
    ) -> tuple[list[str], list[str]]:
        if len(completions) != len(prompts):
            sizes = f"{len(completions)} to {len(prompts)} prompts"
            raise InputError("completions", "one for each prompt", sizes)
        try:
            found = [
                self._reader.prompt({"prompt": prompt, "completion": completion})
                for prompt, completion in zip(prompts, completions, strict=True)
            ]
        except UnusableRow as reason:
            raise InputError("prompts", "texts or messages", f"some {reason}") from None
        return [x.prompt for x in found], [x.responses[0] for x in found]
