"""How many numbers each kind of ensemble has [zhang2024, sec. 3.1]."""

from itertools import pairwise
from typing import Any

from figures.zhang2024.runs import INDEPENDENT, LINEAR, LORA, MEMBERS, ensemble

LLAMA_SIZES = (6_738_415_616, 4_096, 4_194_304)
"""M, L and A of Llama-7B with adapters of rank 8 on queries and values [zhang2024, sec. 3.1]."""


def formula(kind: str, trunk: int, head: int, adapter: int) -> int:
    """k (M + L), M + k L or M + k L + k A [zhang2024, sec. 3.1].

    >>> formula("linear layer", 1000, 10, 50)
    1030
    """
    return {
        INDEPENDENT: MEMBERS * (trunk + head),
        LINEAR: trunk + MEMBERS * head,
        LORA: trunk + MEMBERS * (head + adapter),
    }[kind]


def trainable(kind: str, trunk: int, head: int, adapter: int) -> int:
    """Of the last stage: all that is loaded, or without the frozen trunk for LoRA."""
    return formula(kind, 0 if kind == LORA else trunk, head, adapter)


def counted(kind: str) -> tuple[Any, tuple[int, int, int]]:
    """What an ensemble of the grid counts of itself, and its M, L and A."""
    from bandits.ensembles import LowRank
    from bandits.grid import Grid

    shape, adapted = Grid().shape, LowRank()
    *widths, _ = adapted.mlp.sizes(shape)
    adapter = sum(adapted.rank * (inputs + outputs) for inputs, outputs in pairwise(widths))
    head = adapted.head_size(shape)
    return ensemble(kind).parameters(shape), (adapted.size(shape) - head, head, adapter)
