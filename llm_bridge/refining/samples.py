"""Interactions and validation comparisons as batches of tokens."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn.utils.rnn import pad_sequence

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.tokens import Batch, encode, encode_prompts
from llm_bridge.refining.collecting import Interactions
from llm_bridge.refining.influence import Samples
from theory.errors import InputError
from theory.relabelling import top_fraction


def encoded(
    own: Interactions, rows: Int[np.ndarray, " rows"], tokenizer: Any, limit: int, loss: str
) -> Samples:
    """Some interactions as they were drawn; for the 'ppo' loss with the advantages of their tokens.

    limit: tokens of prompt and response together.
    """
    prompts, mask = encode_prompts(tokenizer, [own.prompts[row] for row in rows], limit=limit)
    drawn = [torch.tensor(own.tokens[row]) for row in rows]
    responses = pad_sequence(drawn, batch_first=True, padding_value=tokenizer.pad_token_id)
    live = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in drawn], batch_first=True)
    batch = Batch(prompts, mask, responses, live)
    if loss != "ppo":
        return Samples(batch)
    known = [torch.tensor(own.advantages[row]) for row in rows]
    return Samples(batch, pad_sequence(known, batch_first=True))


def validation_batches(pairs: Pairs, tasks: int, tokenizer: Any, limit: int) -> list[Batch]:
    """Chosen responses of each task: prompts in alphabetical order, in as many equal parts.

    Raises `InputError` for fewer prompts than tasks.
    """
    known = sorted(set(pairs.prompts))
    if len(known) < tasks:
        raise InputError("tasks", f"at most {len(known)}, as validation prompts", tasks)
    task = {prompt: place * tasks // len(known) for place, prompt in enumerate(known)}
    parts = [[row for row, p in enumerate(pairs.prompts) if task[p] == one] for one in range(tasks)]
    return [
        encode(tokenizer, some.prompts, some.chosen, limit=limit + 1, empty=True)
        for some in (pairs[part] for part in parts)
    ]


def top_rows(variance: Float[np.ndarray, " samples"], gamma: float) -> Int[np.ndarray, " rows"]:
    """Samples that a selection may keep by their variance, whichever way ties are broken."""
    kept = top_fraction(variance, gamma)
    return np.flatnonzero(variance >= variance[kept].min())
