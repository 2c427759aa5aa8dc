"""Reward models on transformers: a trunk, and k linear heads at the last token of a text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.learning_rates import SCHEDULES, rate
from llm_bridge.lm.tokens import Batch, encode
from llm_bridge.seeds import seeded
from theory import checks
from theory.errors import InputError
from theory.preferences import preference_loss
from theory.scores import Scores

SCORE_BATCH = 256
"""Texts that are scored at once."""
WINDOW = 10
"""Batches over which the loss is averaged to stop early."""


class RewardModel(torch.nn.Module):
    """Scores of k heads for whole texts, prompt and response together.

    trunk: a transformer without its language-model head; tokenizer: its own, which may differ from
    the policy's; limit: tokens that a text may have; adapter: that of the trunk under which the
    model reads, where models share a trunk with adapters.
    """

    outputs = 1
    """Numbers that a head gives."""

    def __init__(
        self, trunk: Any, tokenizer: Any, *, heads: int, limit: int, adapter: str | None = None
    ) -> None:
        super().__init__()
        checks.positive("heads", heads)
        self.trunk, self.tokenizer, self.limit, self.adapter = trunk, tokenizer, limit, adapter
        width = trunk.config.hidden_size
        self.head = torch.nn.Linear(width, self.outputs * heads, device=trunk.device)

    def states(self, batch: Batch) -> Float[torch.Tensor, "batch width"]:
        """What the heads see: the trunk at the last live token of each response."""
        self.activate()
        out = self.trunk(
            input_ids=batch.tokens, attention_mask=batch.mask.long(), position_ids=batch.positions
        )
        return at_the_end(out.last_hidden_state, batch)

    def activate(self) -> None:
        """Make the model's adapter that of the trunk; in training it alone is trainable."""
        if self.adapter is not None and self.trunk.active_adapters() != [self.adapter]:
            self.trunk.set_adapter(self.adapter)

    def forward(self, batch: Batch) -> Float[torch.Tensor, "batch outputs"]:
        """Outputs of the heads."""
        return self.head(self.states(batch))

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
        """A function of texts, in batches of similar length."""
        data = encode(self.tokenizer, prompts, responses, limit=self.limit, empty=True)
        order = data.live.sum(1).argsort(stable=True)
        parts = [
            function(data[rows].trimmed().to(self.trunk.device)).cpu()
            for rows in order.split(SCORE_BATCH)
        ]
        return torch.cat(parts)[order.argsort()]


def at_the_end(
    hidden: Float[torch.Tensor, "*members batch time width"], batch: Batch
) -> Float[torch.Tensor, "*members batch width"]:
    """Hidden states at the last live token of each response."""
    last = batch.prompts.shape[1] + batch.live.sum(1) - 1
    rows = torch.arange(len(batch), device=last.device)
    return hidden[..., rows, last, :].float()


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
    rng: np.random.Generator,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Float[np.ndarray, "steps k"]:
    """Fit the trainable parameters of a model to Bradley-Terry labels; see `fit`."""
    outputs = reader(model, pairs)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return preference_loss(*outputs(rows), centring=settings.centring)

    return fit(model, loss, weights, settings, rng=rng, progress=progress)


def reader(
    model: RewardModel, pairs: Pairs
) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Rows of pairs to outputs for the chosen and for the rejected response.

    A trunk without trainable parameters reads every text once and for all.
    """
    device, both = model.trunk.device, (pairs.chosen, pairs.rejected)
    if not any(p.requires_grad for p in model.trunk.parameters()):
        model.eval()
        won, lost = (model.read(model.states, pairs.prompts, t).to(device) for t in both)
        return lambda rows: (model.head(won[rows]), model.head(lost[rows]))
    first, second = (
        encode(model.tokenizer, pairs.prompts, texts, limit=model.limit, empty=True)
        for texts in both
    )
    return lambda rows: (
        model(first[rows].trimmed().to(device)),
        model(second[rows].trimmed().to(device)),
    )


def fit(
    model: RewardModel,
    loss: Callable[[Int[torch.Tensor, "rows"]], Float[torch.Tensor, "rows k"]],
    weights: Float[np.ndarray, "pairs k"],
    settings: RewardTraining,
    *,
    rng: np.random.Generator,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Float[np.ndarray, "steps k"]:
    """Minimise the sum over heads of the weighted mean loss of pairs; losses of all steps.

    loss:    of rows of pairs, for each head.
    weights: how often each pair counts for each head, e.g. ones, or counts of a bootstrap resample.
    rng:     of the order of pairs and of dropout.

    Pairs that no head counts are left out; a head without a pair in a batch has loss NaN there.
    Raises `InputError` for a loss that is not finite.
    """
    kept = np.flatnonzero(weights.sum(1))
    counts = torch.as_tensor(weights, dtype=torch.float32, device=model.trunk.device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    losses: list[np.ndarray] = []
    steps = max(1, round(settings.epochs * len(kept) / settings.batch))
    decay = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: settings.rate(step, steps))
    order = np.concatenate(
        [rng.permutation(kept) for _ in range(int(np.ceil(settings.epochs)) + 1)]
    )
    model.train()
    with seeded(rng, model.trunk.device):
        for step in progress(range(steps)):
            rows = torch.from_numpy(order[step * settings.batch : (step + 1) * settings.batch])
            total = counts[rows].sum(0)
            met = torch.zeros_like(total)
            adam.zero_grad()
            for part in rows.chunk(settings.accumulate):
                each = (counts[part] * loss(part)).sum(0) / total.clamp(min=1)
                each.sum().backward()
                met += each.detach()
            if not met.isfinite().all():
                raise InputError(
                    "reward model", "a finite loss", f"{met.tolist()} at step {step}",
                    "lower the learning rate",
                )  # fmt: skip
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
            adam.step()
            decay.step()
            losses.append(torch.where(total > 0, met, torch.nan).cpu().numpy())
            recent = np.nanmean(losses[-WINDOW:])
            if settings.stop is not None and step + 1 >= WINDOW and recent < settings.stop:
                break
    adam.zero_grad()
    model.eval()
    return np.stack(losses)
