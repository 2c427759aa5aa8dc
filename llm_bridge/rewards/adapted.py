"""Reward models that are adapters and heads on one frozen trunk, read and trained in one pass."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.stacked import StackedLora
from llm_bridge.lm.stacked_adam import row_norms
from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.models import Outputs, Part, RewardModel


class AdaptedRewardModel(RewardModel):
    """k members, each an adapter of the trunk and a head [zhang2024, Alg. 1].

    Members share the passes that `StackedLora.groups` gives them, and nothing else but the trunk:
    their gradients are those of training them one by one.
    """

    def __init__(self, trunk: Any, tokenizer: Any, *, adapters: StackedLora, limit: int) -> None:
        super().__init__(trunk, tokenizer, heads=adapters.members, limit=limit)
        self.adapters = adapters

    def forward(self, batch: Batch) -> Float[torch.Tensor, "batch k"]:
        """Scores of the same texts by every member."""
        found, rows = [], torch.arange(len(batch), device=batch.tokens.device)
        for members in self.adapters.groups(batch.tokens.numel()):
            repeated = rows.repeat(members.stop - members.start)
            found.append(self.own(batch[repeated], members))
        return torch.cat(found, dim=1)

    def own(self, batch: Batch, members: slice) -> Float[torch.Tensor, "rows members"]:
        """Scores of texts of their own by some members: first all of the first one."""
        weight, bias = self.head.weight[members], self.head.bias[members]
        with self.adapters.only(members):
            states = self.states(batch).unflatten(0, (len(weight), -1))
        return (torch.einsum("mrw,mw->mr", states, weight) + bias[:, None]).T

    def outputs(self, pairs: Pairs) -> Outputs:
        """A function of rows of pairs, (rows, k), each member's own: its outputs for them."""
        sides = [self.encode(pairs.prompts, texts) for texts in (pairs.chosen, pairs.rejected)]
        longest = max(side.tokens.shape[1] for side in sides)

        def found(rows: torch.Tensor) -> Iterator[Part]:
            for members in self.adapters.groups(2 * len(rows) * longest):
                mine = rows[:, members].T.flatten()
                yield Part(
                    members,
                    *(
                        self.own(side[mine].trimmed().to(self.trunk.device), members)
                        for side in sides
                    ),
                )

        return found

    def clip(self, limit: float) -> None:
        """Scale the gradients of each member down to a norm of at most `limit`."""
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        share = (limit / (row_norms(grads) + 1e-6)).clamp(max=1)
        for grad in grads:
            grad.mul_(share.view(-1, *[1] * (grad.ndim - 1)))
