"""Reward models on transformers: a trunk, and k linear heads at the last token of a text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.pairs import Pairs
from llm_bridge.tokens import Batch, encode
from theory import checks
from theory.errors import InputError
from theory.preferences import preference_loss

SCORE_BATCH = 256
"""Texts that are scored at once."""
WINDOW = 10
"""Batches over which the loss is averaged to stop early."""


class RewardModel(torch.nn.Module):
    """Scores of k heads for whole texts, prompt and response together.

    trunk: a transformer without its language-model head; tokenizer: its own, which may differ from
    the policy's; limit: tokens that a text may have.
    """

    def __init__(self, trunk: Any, tokenizer: Any, *, heads: int, limit: int) -> None:
        super().__init__()
        checks.positive("heads", heads)
        self.trunk, self.tokenizer, self.limit = trunk, tokenizer, limit
        self.head = torch.nn.Linear(trunk.config.hidden_size, heads, device=trunk.device)

    def forward(self, batch: Batch) -> Float[torch.Tensor, "batch k"]:
        """Scores at the last live token of each response."""
        out = self.trunk(
            input_ids=batch.tokens, attention_mask=batch.mask.long(), position_ids=batch.positions
        )
        last = batch.prompts.shape[1] + batch.live.sum(1) - 1
        rows = torch.arange(len(batch), device=last.device)
        return self.head(out.last_hidden_state[rows, last].float())

    @torch.no_grad()
    def score(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> Float[torch.Tensor, "samples k"]:
        """Raw scores of texts, in batches of similar length; an empty response is the end alone."""
        data = encode(self.tokenizer, prompts, responses, limit=self.limit, empty=True)
        scores = torch.zeros(len(data), self.head.out_features)
        order = data.live.sum(1).argsort(stable=True)
        for rows in order.split(SCORE_BATCH):
            scores[rows] = self(data[rows].trimmed().to(self.trunk.device)).cpu()
        if not scores.isfinite().all():
            raise InputError("reward model", "finite scores", "NaN or infinite ones")
        return scores


@dataclass(frozen=True)
class RewardTraining:
    """AdamW on the Bradley-Terry loss of every head.

    centring: weight of (r_chosen + r_rejected)^2 [adaptive2024, Eq. 1].
    stop:     loss below which training ends early, averaged over `WINDOW` batches, or None.
    """

    epochs: float = 4
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    centring: float = 0.01
    stop: float | None = None
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate", "clip"):
            checks.positive(name, getattr(self, name))


def train(
    model: RewardModel,
    pairs: Pairs,
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    *,
    rng: np.random.Generator,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[float]:
    """Fit the trainable parameters of a model; losses of all steps.

    weights: how often each pair counts for each head, e.g. ones, or counts of a bootstrap resample.
    Pairs that no head counts are left out.
    """
    kept = np.flatnonzero(weights.sum(1))
    sides = [
        encode(model.tokenizer, pairs.prompts, texts, limit=model.limit, empty=True)
        for texts in (pairs.chosen, pairs.rejected)
    ]
    counts = torch.as_tensor(weights, dtype=torch.float32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    losses: list[float] = []
    steps = round(settings.epochs * len(kept) / settings.batch)
    order = np.concatenate(
        [rng.permutation(kept) for _ in range(int(np.ceil(settings.epochs)) + 1)]
    )
    model.train()
    for step in progress(range(max(1, steps))):
        rows = torch.from_numpy(order[step * settings.batch : (step + 1) * settings.batch])
        won, lost = (model(side[rows].trimmed().to(model.trunk.device)) for side in sides)
        share = counts[rows].to(won.device)
        each = preference_loss(won, lost, centring=settings.centring)
        loss = (share * each).sum(0) / share.sum(0).clamp(min=1)
        adam.zero_grad()
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        adam.step()
        losses.append(loss.mean().item())
        if not np.isfinite(losses[-1]):
            raise InputError("reward model", "a finite loss", f"{losses[-1]} at step {step}")
        recent = losses[-WINDOW:]
        if settings.stop is not None and len(recent) == WINDOW and np.mean(recent) < settings.stop:
            break
    model.eval()
    return losses


def accuracy(
    score: Callable[[Sequence[str], Sequence[str]], Any], pairs: Pairs
) -> Float[np.ndarray, "k"]:
    """Share of comparisons that each member decides as labelled."""
    won, lost = (np.asarray(score(pairs.prompts, t)) for t in (pairs.chosen, pairs.rejected))
    return (won > lost).mean(0)
