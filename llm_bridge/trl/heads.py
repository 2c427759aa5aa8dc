"""Several reward heads in TRL's RewardTrainer, each with data of its own."""

from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.lm.head import widened
from llm_bridge.lm.initial import linear
from theory import checks
from theory.errors import InputError
from theory.preferences import preference_loss

COUNTS = "counts"
"""Column of a data set: k numbers a pair, how often each head counts it."""


def with_heads(model: Any, heads: int, *, seed: int) -> Any:
    """A sequence classifier with one label, its `score` replaced by k linear heads, in place.

    Its config keeps `num_labels=1`, without which RewardTrainer refuses a model; transformers can
    not load what that saves, but `llm_bridge.trl.conversion.ensemble_of` keeps the result. TRL's
    own loss then is the mean of k Bradley-Terry losses on the same pairs.

    Raises `InputError` for a model without a linear `score`, or with other than one label.
    """
    checks.positive("heads", heads)
    score = linear_score(model)
    if model.config.num_labels != 1:
        raise InputError("model", "one with num_labels = 1", model.config.num_labels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.score = linear(
            score.in_features, heads, bias=score.bias is not None, dtype=score.weight.dtype,
            device=score.weight.device,
        )  # fmt: skip
    return model


def linear_score(model: Any) -> torch.nn.Linear:
    """The head of a sequence classifier; `InputError` where it is not one linear layer."""
    score = getattr(model, "score", None)
    if not isinstance(score, torch.nn.Linear):
        raise InputError(
            "model", "a sequence classifier with a linear `score`", type(model).__name__,
            "of a PeftModel pass model.merge_and_unload()",
        )  # fmt: skip
    return score


def counted(trainer: type) -> type:
    """TRL's RewardTrainer, or a class of your own below it, with a column `counts` of k numbers.

        counts = split_counts("bootstrap", k, len(dataset), rng=rng)     # of theory.splits
        dataset = dataset.add_column("counts", counts.T.tolist())
        Trainer = counted(RewardTrainer)
        Trainer(model=with_heads(model, k, seed=0), train_dataset=dataset, ...)

    The loss is the mean over heads of `counted_loss`; with ones, or without the column, TRL's own.
    What TRL logs counts all pairs for all heads. Raises `InputError` for another class, in training
    for a `margin` column, and for counts of another number of heads.
    """
    if "RewardTrainer" not in {parent.__name__ for parent in trainer.__mro__}:
        raise InputError("trainer", "TRL's RewardTrainer", trainer.__name__)
    return type(f"Counted{trainer.__name__}", (_Counted, trainer), {})


def counted_loss(
    logits: Float[torch.Tensor, "two_rows k"],
    counts: Float[torch.Tensor, "rows k"],
    *,
    centring: float = 0.0,
) -> Float[torch.Tensor, ""]:
    """Mean over heads of the mean Bradley-Terry loss of the pairs, weighted by their counts.

    logits: of the chosen responses, and below them of the rejected ones. A head that counts no pair
    has loss 0. Raises `InputError` where counts are not of these heads.
    """
    won, lost = widened(logits).chunk(2)
    if won.shape != counts.shape:
        raise InputError(COUNTS, f"{won.shape[1]} numbers a pair, one a head", counts.shape[1])
    losses = preference_loss(won, lost, centring=centring)
    return ((counts * losses).sum(0) / counts.sum(0).clamp(min=1)).mean()


class _Counted:
    data_collator: Any
    args: Any
    _signature_columns: list[str] | None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.data_collator = _WithCounts(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        parent: Any = super()
        parent._set_signature_columns_if_needed()
        assert self._signature_columns is not None
        if COUNTS not in self._signature_columns:
            self._signature_columns.append(COUNTS)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        parent: Any = super()
        if "margin" in inputs:
            raise InputError("margin", "left out where there are several heads", "a column")
        counts = inputs.pop(COUNTS, None)
        loss, outputs = parent.compute_loss(model, inputs, True, num_items_in_batch)
        if counts is not None:
            centring = self.args.center_rewards_coefficient or 0.0
            loss = counted_loss(outputs.logits, counts, centring=centring)
        return (loss, outputs) if return_outputs else loss


class _WithCounts:
    """A collator of pairs that keeps their counts."""

    def __init__(self, collator: Any) -> None:
        self._collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self._collator(examples))
        if COUNTS in examples[0]:
            batch[COUNTS] = torch.tensor([x[COUNTS] for x in examples], dtype=torch.float32)
        return batch
