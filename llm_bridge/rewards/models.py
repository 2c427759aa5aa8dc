"""Reward models on transformers: a trunk, and k linear heads at the last token of a text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.head import wide
from llm_bridge.lm.initial import linear
from llm_bridge.lm.learning_rates import SCHEDULES, rate
from llm_bridge.lm.tokens import Batch, encode
from llm_bridge.rewards.reading import at_the_end, of_similar_length, padded_on_the_left
from llm_bridge.seeds import seeded
from theory import checks
from theory.errors import InputError
from theory.preferences import preference_loss
from theory.scores import Scores

SCORE_BATCH, SCORE_TOKENS = 256, 2**14
"""Most texts that are scored at once, and most tokens of several texts, padding among them."""
ALL = slice(None)
WINDOW = 10
"""Batches over which the loss is averaged to stop early."""


class Part(NamedTuple):
    """Outputs of some heads for the chosen and for the rejected responses of pairs."""

    heads: slice
    chosen: Float[torch.Tensor, "rows outputs"]
    rejected: Float[torch.Tensor, "rows outputs"]


Outputs = Callable[[Int[torch.Tensor, "rows orders"]], Iterable[Part]]
"""Of rows of pairs, the same for all heads or, in as many columns, each head's own."""


class RewardModel(torch.nn.Module):
    """Scores of k heads for whole texts, prompt and response together.

    trunk: a transformer without its language-model head; tokenizer: its own, which may differ from
    the policy's; limit: tokens that a text may have.
    """

    per_head = 1
    """Numbers that a head gives."""

    def __init__(self, trunk: Any, tokenizer: Any, *, heads: int, limit: int) -> None:
        super().__init__()
        checks.positive("heads", heads)
        self.trunk, self.tokenizer, self.limit = trunk, tokenizer, limit
        width = trunk.config.hidden_size
        self.head = linear(
            width, self.per_head * heads, dtype=wide(trunk.dtype), device=trunk.device
        )

    def states(self, batch: Batch) -> Float[torch.Tensor, "batch width"]:
        """What the heads see: the trunk at the last live token of each response."""
        out = self.trunk(
            input_ids=batch.tokens, attention_mask=batch.mask.long(), position_ids=batch.positions
        )
        return at_the_end(out.last_hidden_state, batch)

    def forward(self, batch: Batch) -> Float[torch.Tensor, "batch outputs"]:
        """Outputs of the heads."""
        return self.head(self.states(batch))

    def outputs(self, pairs: Pairs) -> Outputs:
        """A function of rows of pairs, (rows, 1): what the heads say of them, in one part.

        A trunk without trainable parameters reads every text once and for all.
        """
        device, both = self.trunk.device, (pairs.chosen, pairs.rejected)
        if not any(p.requires_grad for p in self.trunk.parameters()):
            self.eval()
            states = [self.read(self.states, pairs.prompts, texts).to(device) for texts in both]
            return lambda rows: [Part(ALL, *(self.head(seen[rows[:, 0]]) for seen in states))]
        sides = [self.encode(pairs.prompts, texts) for texts in both]
        return lambda rows: [
            Part(ALL, *(self(side[rows[:, 0]].trimmed().to(device)) for side in sides))
        ]

    def clip(self, limit: float) -> None:
        """Scale the gradients down to a norm of at most `limit`."""
        torch.nn.utils.clip_grad_norm_(self.parameters(), limit)

    def encode(self, prompts: Sequence[str], responses: Sequence[str]) -> Batch:
        """Tokens of texts, `padded_on_the_left`; an empty response is the end alone."""
        return padded_on_the_left(
            encode(self.tokenizer, prompts, responses, limit=self.limit, empty=True)
        )

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Raw scores of texts, (samples, k); an empty response is the end alone.

        Raises `InputError` where one is not finite.
        """
        return self.scores(self.read(self, prompts, responses))

    def scores(self, outputs: Float[torch.Tensor, "samples outputs"]) -> Scores:
        """What outputs of the heads mean."""
        return Scores(outputs)

    @torch.no_grad()
    def read(
        self,
        function: Callable[[Batch], torch.Tensor],
        prompts: Sequence[str],
        responses: Sequence[str],
    ) -> Float[torch.Tensor, "samples width"]:
        """A function of texts, in batches of similar length, in the order of the texts."""
        data = self.encode(prompts, responses)
        batches = of_similar_length(data, texts=SCORE_BATCH, tokens=SCORE_TOKENS)
        parts = [function(data[rows].trimmed().to(self.trunk.device)).cpu() for rows in batches]
        return torch.cat(parts)[torch.cat(batches).argsort()]


@dataclass(frozen=True)
class RewardTraining:
    """AdamW on the Bradley-Terry loss of every head."""

    epochs: float = 4
    """Passes over the pairs."""
    batch: int = 32
    """Pairs of a step, read in `accumulate` parts."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    centring: float = 0.01
    """Weight of (r_chosen + r_rejected)^2 [adaptive2024, Eq. 1]."""
    stop: float | None = None
    """Loss below which training ends early, averaged over `WINDOW` batches, or None."""
    clip: float = 1.0
    """Largest norm of gradients."""
    accumulate: int = 1
    schedule: str = "constant"
    """Of the learning rate: 'constant', or 'cosine' or 'linear' to zero."""
    warm_up: float = 0.0
    """Share of the steps over which the learning rate rises from zero."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate", "clip", "accumulate"):
            checks.positive(name, getattr(self, name))
        for name in ("weight_decay", "centring"):
            checks.positive(name, getattr(self, name), zero_allowed=True)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        if not 0 <= self.warm_up < 1:
            raise InputError("warm_up", "a share of the steps in [0, 1)", self.warm_up)
        if self.batch % self.accumulate:
            raise InputError("batch", f"a multiple of accumulate ({self.accumulate})", self.batch)

    def rate(self, step: int, steps: int) -> float:
        """Share of the learning rate at one of the steps 0, 1 ..."""
        return rate(self.schedule, step, steps, self.warm_up * steps)


def train(
    model: RewardModel,
    pairs: Pairs,
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    *,
    rng: np.random.Generator | Sequence[np.random.Generator],
) -> Float[np.ndarray, "steps k"]:
    """Fit the trainable parameters of a model to Bradley-Terry labels; see `fit`."""
    outputs = model.outputs(pairs)

    def loss(rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        for heads, won, lost in outputs(rows):
            yield heads, preference_loss(won, lost, centring=settings.centring)

    return fit(model, loss, weights, settings, rng=rng)


def fit(
    model: RewardModel,
    loss: Callable[[torch.Tensor], Iterable[tuple[slice, torch.Tensor]]],
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    *,
    rng: np.random.Generator | Sequence[np.random.Generator],
) -> Float[np.ndarray, "steps k"]:
    """Minimise the sum over heads of the weighted mean loss of pairs; losses of all steps.

    loss:    of rows of pairs, (rows, 1), or (rows, k) where heads have orders of their own: for
             some heads after the other, (rows, heads).
    weights: how often each pair counts for each head, e.g. ones, or counts of a bootstrap resample.
    rng:     of the order of pairs and of dropout; k of them give each head an order of its own.

    Pairs that no head counts are left out, and with orders of its own those that a head does not
    count; the order with most pairs sets the number of steps. A head without a pair in a batch has
    loss NaN there. Raises `InputError` for a loss that is not finite, or where no pair counts.
    """
    rngs = [rng] if isinstance(rng, np.random.Generator) else list(rng)
    counts, device = torch.as_tensor(weights, dtype=model.head.weight.dtype), model.trunk.device
    adam = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=settings.learning_rate,
        weight_decay=settings.weight_decay, fused=True,
    )  # fmt: skip
    losses: list[np.ndarray] = []
    batches = _batches(weights, settings, rngs)
    decay = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: settings.rate(step, len(batches)))
    model.train()
    with seeded(rngs[0], device):
        for step, rows in enumerate(batches):
            total = counts.take_along_dim(rows, 0).sum(0).to(device)
            met = torch.zeros_like(total)
            adam.zero_grad()
            for part in rows.chunk(settings.accumulate):
                counted = counts.take_along_dim(part, 0).to(device)
                for heads, found in loss(part):
                    each = (counted[:, heads] * found).sum(0) / total[heads].clamp(min=1)
                    each.sum().backward()
                    met[heads] += each.detach()
            if not met.isfinite().all():
                raise InputError(
                    "reward model", "a finite loss", f"{met.tolist()} at step {step}",
                    "lower the learning rate",
                )  # fmt: skip
            model.clip(settings.clip)
            adam.step()
            decay.step()
            losses.append(torch.where(total > 0, met, torch.nan).cpu().numpy())
            recent = np.nanmean(losses[-WINDOW:])
            if settings.stop is not None and step + 1 >= WINDOW and recent < settings.stop:
                break
    adam.zero_grad()
    model.eval()
    return np.stack(losses)


def _batches(
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    rngs: Sequence[np.random.Generator],
) -> Sequence[Int[torch.Tensor, "rows orders"]]:
    """Rows of pairs of every step, one column an order."""
    own = [weights] if len(rngs) == 1 else np.split(weights, len(rngs), axis=1)
    kept = [np.flatnonzero(part.sum(1)) for part in own]
    least, most = min(map(len, kept)), max(map(len, kept))
    if least == 0:
        raise InputError("weights", "a pair for each order of pairs", "one without any")
    steps = max(1, round(settings.epochs * most / settings.batch))
    length = min(steps * settings.batch, (int(np.ceil(settings.epochs)) + 1) * most)
    orders = [
        np.concatenate([rng.permutation(rows) for _ in range(-(-length // len(rows)))])[:length]
        for rng, rows in zip(rngs, kept, strict=True)
    ]
    return torch.from_numpy(np.stack(orders, axis=1)).split(settings.batch)
