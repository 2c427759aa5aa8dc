"""Reward models that are adapters and heads on one frozen trunk, read and trained in one pass."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.stacked import StackedLora
from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.models import Outputs, Part, RewardModel

ADAPTER = re.compile(r"\d+\.trunk\.(.*)\.lora_(A|B)\.member_(\d+)\.weight")
HEAD = re.compile(r"(\d+)\.head\.(weight|bias)")
TRUNK = re.compile(r"\d+\.(trunk\..*)")


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
        norms = torch.stack([g.reshape(len(g), -1).norm(dim=1) for g in grads]).norm(dim=0)
        share = (limit / (norms + 1e-6)).clamp(max=1)
        for grad in grads:
            grad.mul_(share.view(-1, *[1] * (grad.ndim - 1)))


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of an `AdaptedRewardModel` in a list, from one as it was first written.

    There, each member was a model of its own with the trunk's adapters as peft names them.
    """
    found: dict[str, torch.Tensor] = {}
    stacks: dict[str, dict[int, torch.Tensor]] = {}
    for name, weight in state.items():
        if adapter := ADAPTER.fullmatch(name):
            layer, matrix, member = adapter.groups()
            side = "down" if matrix == "A" else "up"
            key = f"0.adapters.{side}.{layer.replace('.', '/')}"
            stacks.setdefault(key, {})[int(member)] = weight.T
        elif head := HEAD.fullmatch(name):
            stacks.setdefault(f"0.head.{head[2]}", {})[int(head[1])] = weight[0]
        elif trunk := TRUNK.fullmatch(name):
            found["0." + trunk[1].replace(".base_layer", "")] = weight
    for key, members in stacks.items():
        found[key] = torch.stack([members[index] for index in sorted(members)])
    return found
