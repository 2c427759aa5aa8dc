"""How reward models read texts: with little padding, and at their end."""

import torch
from jaxtyping import Float, Int

from llm_bridge.lm.head import widened
from llm_bridge.lm.tokens import Batch


def padded_on_the_left(batch: Batch) -> Batch:
    """The same texts without padding after them: the last token of each stands for its response.

    Prompts and responses that are padded apart are as wide as the longest of both together.
    """
    tokens, mask = batch.tokens, batch.mask
    width = tokens.shape[1]
    places = torch.arange(width, device=tokens.device) - (~batch.live).sum(1, keepdim=True)
    tokens, mask = tokens.gather(1, places % width), mask.gather(1, places % width)
    return Batch(tokens[:, :-1], mask[:, :-1], tokens[:, -1:], mask[:, -1:])


def of_similar_length(batch: Batch, *, texts: int, tokens: int) -> list[Int[torch.Tensor, " _"]]:
    """Rows, shortest first, in parts of so many texts and tokens at most, padding among them.

    A text of more tokens than that is a part of its own.
    """
    lengths = batch.mask.sum(1)
    order = lengths.argsort(stable=True)
    sizes: list[int] = []
    for length in lengths[order].tolist():
        if sizes and sizes[-1] < texts and (sizes[-1] + 1) * length <= tokens:
            sizes[-1] += 1
        else:
            sizes.append(1)
    return list(order.split(sizes))


def at_the_end(
    hidden: Float[torch.Tensor, "*members batch time width"], batch: Batch
) -> Float[torch.Tensor, "*members batch width"]:
    """Hidden states at the last live token of each response."""
    last = batch.prompts.shape[1] + batch.live.sum(1) - 1
    rows = torch.arange(len(batch), device=last.device)
    return widened(hidden[..., rows, last, :])
