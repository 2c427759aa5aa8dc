"""Responses of a policy in training, what is said of them, and what is recorded of it."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from llm_bridge.data.pairs import Judge
from llm_bridge.lm.actor import Reading
from llm_bridge.lm.tokens import Batch
from theory.kl_estimators import k3
from theory.scores import Scores


class Rollout(NamedTuple):
    """Responses of the current policy.

    reference: ln of the probabilities of their tokens under the reference; token_kl: KL of whole
    token distributions from the reference's, where asked for; places: rows of the prompts in the
    normaliser's table.
    """

    prompts: list[str]
    responses: list[str]
    batch: Batch
    reading: Reading
    reference: Float[torch.Tensor, "batch time"]
    token_kl: Float[torch.Tensor, "batch time"] | None
    scores: Scores
    places: Int[torch.Tensor, "batch"]

    @property
    def log_ratio(self) -> Float[torch.Tensor, "batch time"]:
        """ln(pi / pi0) of every token, 0 beyond the end."""
        return (self.reading.log_prob - self.reference) * self.batch.live


def describe(rolled: Rollout, gold: Judge | None) -> dict[str, float]:
    """Means over responses: true reward where there is one, and what policy and members say.

    In nats a response: kl (k1, ln(pi / pi0)), kl_k3 [schulman2020], kl_exact (sum of the KL of its
    token distributions, which has the same expectation), and entropy.
    """
    live, ratio = rolled.batch.live, rolled.log_ratio
    row = {
        "kl": ratio.sum(1),
        "kl_k3": (k3(ratio) * live).sum(1),
        "entropy": (rolled.reading.entropy * live).sum(1),
        "length": live.sum(1),
    }
    if rolled.token_kl is not None:
        row["kl_exact"] = rolled.token_kl.sum(1)
    if rolled.scores.k > 1:
        row["member_std"] = rolled.scores.std()
    for index in range(rolled.scores.k):
        row[f"member_{index}"] = rolled.scores.members[:, index]
    means = {name: float(values.float().mean()) for name, values in row.items()}
    if gold is not None:
        means["gold"] = float(np.mean(gold(rolled.prompts, rolled.responses)))
    return means
