"""Supervised fine-tuning: a language model learns responses to prompts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from llm_bridge.lm.actor import response_states
from llm_bridge.lm.head import logits, widened
from llm_bridge.lm.learning_rates import SCHEDULES, rate
from llm_bridge.lm.tokens import Batch, encode
from llm_bridge.seeds import seeded
from theory import checks

POOL = 8
"""Batches that are drawn together and sorted by length, so that little of them is padding."""


@dataclass(frozen=True)
class FineTuning:
    """AdamW on the loss of responses alone."""

    steps: int = 400
    batch: int = 128
    """Texts of a step."""
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    """Of the learning rate: 'constant', or 'cosine' or 'linear' to zero."""
    warm_up: int = 20
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of gradients."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "clip"):
            checks.positive(name, getattr(self, name))
        for name in ("warm_up", "weight_decay"):
            checks.positive(name, getattr(self, name), zero_allowed=True)
        checks.one_of("schedule", self.schedule, SCHEDULES)

    def rate(self, step: int) -> float:
        """Share of the learning rate at one step."""
        return rate(self.schedule, step, self.steps, self.warm_up)


def fine_tune(
    model: Any,
    tokenizer: Any,
    texts: Sequence[tuple[str, str]],
    settings: FineTuning,
    *,
    rng: np.random.Generator,
    limit: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[float]:
    """Minimise the mean of -ln pi(token) over the tokens of responses; losses of all steps.

    texts are (prompt, response) pairs within `limit` tokens; rng: of batches and dropout.
    """
    data = encode(tokenizer, *zip(*texts, strict=True), limit=limit)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, settings.rate)
    losses = []
    model.train()
    batches = bucketed(data, settings.batch, rng)
    with seeded(rng, model.device):
        for _ in progress(range(settings.steps)):
            loss = negative_log_likelihood(model, next(batches).to(model.device))
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
            adam.step()
            schedule.step()
            losses.append(loss.detach())
    model.eval()
    return list(torch.stack(losses).tolist())


def negative_log_likelihood(model: Any, batch: Batch) -> torch.Tensor:
    """Mean of -ln pi(token) over the live tokens."""
    live = batch.live.nonzero(as_tuple=True)
    found = logits(model, response_states(model, batch)[live])
    return torch.nn.functional.cross_entropy(widened(found), batch.responses[live])


def bucketed(data: Batch, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Endless batches of rows of similar length, trimmed to their own width."""
    lengths = data.live.sum(1).numpy()
    while True:
        rows = rng.permutation(len(data))
        for start in range(0, len(rows), POOL * size):
            pool = rows[start : start + POOL * size]
            pool = pool[lengths[pool].argsort(kind="stable")]
            for place in rng.permutation(-(-len(pool) // size)):
                yield data[torch.from_numpy(pool[place * size : (place + 1) * size])].trimmed()
