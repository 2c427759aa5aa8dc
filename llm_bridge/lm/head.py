"""From hidden states to logits, as each architecture makes them, and to log-probabilities."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch.autograd.function import once_differentiable

from theory.errors import InputError

FACTORS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
"""Names in configs of what multiplies logits: Cohere, Falcon-H1, Muse."""
DIVISORS = ("logits_scaling",)
"""Of what divides them: Granite, MiniCPM3."""
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Of c in c tanh(logits / c), which comes last: Gemma, RecurrentGemma, xLSTM."""
PROBE = 4
"""Tokens on which a model is compared with `logits`."""
TOLERANCE = 1e-4
"""Largest difference, as a share of the largest logit; 4 units of rounding where that is more."""
PART = {"cpu": 2**18}
"""Logits that are worked on at once, by device: what stays in the cache of a processor."""
PART_ELSEWHERE = 2**27
"""512 MiB in float32."""


def logits(
    model: Any, hidden: Float[torch.Tensor, "rows width"]
) -> Float[torch.Tensor, "rows words"]:
    """Logits of a causal language model at last hidden states, in the precision of its head.

    The output embedding, and what the config says is done to its products.
    """
    config, found = model.config, model.get_output_embeddings()(hidden)
    for factor in _numbers(config, FACTORS):
        found = found * factor
    for divisor in _numbers(config, DIVISORS):
        found = found / divisor
    for cap in _numbers(config, CAPS):
        found = torch.tanh(found / cap) * cap
    return found


@torch.no_grad()
def check_logits(model: Any) -> None:
    """Raise `InputError` for an architecture whose logits are not those of `logits`.

    Log-probabilities, KL and losses would silently be of another model than the sampled one.
    """
    words = model.get_input_embeddings().weight.shape[0]
    tokens = torch.arange(PROBE, device=model.device)[None] % words
    expected = model(input_ids=tokens).logits[0]
    found = logits(model, model.base_model(input_ids=tokens).last_hidden_state[0])
    share = max(TOLERANCE, 4 * torch.finfo(expected.dtype).eps)
    apart = (found - expected).abs().max()
    if not apart <= share * expected.abs().max():
        raise InputError(
            "checkpoint", "an architecture whose logits are known here: the output embedding's, "
            "scaled or capped by its config", type(model).__name__, "it is not supported yet",
        )  # fmt: skip


def widened(values: torch.Tensor) -> torch.Tensor:
    """In float32, or in their own precision where that is more."""
    return values.to(wide(values.dtype))


def wide(dtype: torch.dtype) -> torch.dtype:
    """float32, or this one where that is more: in which sums are taken and weights are trained."""
    return torch.promote_types(dtype, torch.float32)


def at_least_float32(model: Any) -> Any:
    """Widen the weights of a model to float32 where they are smaller, in place."""
    return model.to(wide(model.dtype))


def product_dtype(weights: Any) -> torch.dtype:
    """Of matrix products with the weights of a model, or a tensor: theirs, or that of autocast."""
    kind = weights.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weights.dtype


def tempered(
    logits: Float[torch.Tensor, "rows words"], temperature: float
) -> Float[torch.Tensor, "rows words"]:
    """Logits / temperature, `widened`; at a temperature of 1 they may be the same array."""
    return widened(logits) if temperature == 1 else widened(logits) / temperature


def chosen_log_probabilities(
    logits: Float[torch.Tensor, "rows words"],
    chosen: Int[torch.Tensor, " rows"],
    temperature: float,
) -> Float[torch.Tensor, " rows"]:
    """ln softmax(logits / temperature) of one word a row, in float32 at least.

    Takes the logits over: its backward pass turns them into their gradient where they are, so no
    second array of their size is ever made. They must be of no further use to anyone.
    """
    return _Chosen.apply(logits, chosen, temperature)


@torch.no_grad()
def entropies(
    logits: Float[torch.Tensor, "rows words"], temperature: float
) -> Float[torch.Tensor, " rows"]:
    """Of softmax(logits / temperature), in nats, in float32 at least, without gradients."""
    found = (tempered(logits[part], temperature) for part in parts(logits))
    logs = (torch.log_softmax(part, -1) for part in found)
    return torch.cat([-(part.exp() * part).sum(-1) for part in logs])


class _Chosen(torch.autograd.Function):
    """d ln p(chosen) / d logits = (1[chosen] - p) / temperature."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, chosen: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        found = (tempered(logits[part], temperature) for part in parts(logits))
        total = torch.cat([torch.logsumexp(part, -1) for part in found])
        ctx.save_for_backward(logits, chosen, total)
        ctx.temperature = temperature
        return widened(logits.gather(-1, chosen[:, None])[:, 0]) / temperature - total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, chosen, total = ctx.saved_tensors
        grad = grads[0] / ctx.temperature
        for part in parts(logits):
            shares = (tempered(logits[part], ctx.temperature) - total[part, None]).exp_()
            found = shares.mul_(-grad[part, None])
            logits[part] = found.scatter_add_(-1, chosen[part, None], grad[part, None])
        return logits, None, None


def parts(logits: torch.Tensor) -> list[slice]:
    """Some rows at a time."""
    rows, words = logits.shape
    some = max(1, PART.get(logits.device.type, PART_ELSEWHERE) // words)
    return [slice(start, start + some) for start in range(0, rows, some)]


def _numbers(config: Any, names: tuple[str, ...]) -> list[float]:
    """What a config sets of them."""
    values = (getattr(config, name, None) for name in names)
    return [value for value in values if isinstance(value, int | float)]
