"""From hidden states to logits, as each architecture makes them."""

from typing import Any

import torch
from jaxtyping import Float

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


def _numbers(config: Any, names: tuple[str, ...]) -> list[float]:
    """What a config sets of them."""
    values = (getattr(config, name, None) for name in names)
    return [value for value in values if isinstance(value, int | float)]
