"""A causal language model as policy and critic: log-probabilities and values of responses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float

from llm_bridge.arithmetic import PRECISIONS, check_precision
from llm_bridge.lm.head import chosen_log_probabilities, entropies, logits, tempered, wide, widened
from llm_bridge.lm.tokens import Batch


class Reading(NamedTuple):
    """What a policy says of the tokens of responses; entries beyond their end mean nothing.

    entropy: of the next token's distribution, in nats, NaN where it was not asked for; value: of
    the state before the token.
    """

    log_prob: Float[torch.Tensor, "batch time"]
    entropy: Float[torch.Tensor, "batch time"]
    value: Float[torch.Tensor, "batch time"]


class Actor(torch.nn.Module):
    """A language model, and a value head on its last hidden states or on those of a critic.

    The policy is the model's distribution at `temperature`, not truncated. The value head starts
    at zero. critic: a transformer of its own for the values, or None to share the policy's.
    precision: of matrix products; weights, log-probabilities and values are float32 at least.
    Raises `InputError` for bfloat16 products of a float64 model.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float = 1.0,
        critic: Any = None,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        check_precision(precision, model.dtype)
        self.model, self.critic, self.temperature = model, critic, temperature
        self._dtype = PRECISIONS[precision]
        width = (model if critic is None else critic).config.hidden_size
        dtype = wide(model.dtype)
        self.value_head: torch.nn.Module = torch.nn.Linear(
            width, 1, device=model.device, dtype=dtype
        )
        for parameter in self.value_head.parameters():
            torch.nn.init.zeros_(parameter)

    @property
    def device(self) -> torch.device:
        """Where its model is."""
        return torch.device(self.model.device)

    def autocast(self) -> Any:
        """Its precision, for whatever is to be compared with its log-probabilities."""
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

    def forward(self, batch: Batch, *, entropy: bool = False) -> Reading:
        """Read responses; the vocabulary is visited on their live tokens only."""
        live = batch.live.nonzero(as_tuple=True)
        with self.autocast():
            hidden = response_states(self.model, batch)
            found = logits(self.model, hidden[live])
            seen = hidden if self.critic is None else response_states(self.critic, batch)
        spread = torch.full_like(batch.live, torch.nan, dtype=widened(found).dtype)
        if entropy:
            spread = _placed(entropies(found, self.temperature), batch)
        log_prob = chosen_log_probabilities(found, batch.responses[live], self.temperature)
        with torch.autocast(self.device.type, enabled=False):
            value = self.value_head(widened(seen))[..., 0]
        return Reading(_placed(log_prob, batch), spread, value)


def response_states(model: Any, batch: Batch) -> Float[torch.Tensor, "batch time width"]:
    """Last hidden states before each token of the responses."""
    tokens, mask, places = (x[:, :-1] for x in (batch.tokens, batch.mask, batch.positions))
    out = model.base_model(input_ids=tokens, attention_mask=mask.long(), position_ids=places)
    return out.last_hidden_state[:, batch.prompts.shape[1] - 1 :]


@torch.no_grad()
def log_probabilities(
    model: Any, batch: Batch, *, temperature: float = 1.0
) -> Float[torch.Tensor, "batch time"]:
    """ln of the probability of every token of the responses, 0 beyond their end."""
    live = batch.live.nonzero(as_tuple=True)
    found = logits(model, response_states(model, batch)[live])
    return _placed(chosen_log_probabilities(found, batch.responses[live], temperature), batch)


@torch.no_grad()
def token_distributions(
    model: Any, batch: Batch, *, temperature: float = 1.0
) -> Float[torch.Tensor, "batch time words"]:
    """ln of the probabilities of all tokens where each token of the responses was drawn."""
    hidden = response_states(model, batch)
    rows = hidden.reshape(-1, hidden.shape[-1])
    logs = torch.log_softmax(tempered(logits(model, rows), temperature), -1)
    return logs.view(*batch.responses.shape, -1)


def _placed(
    values: Float[torch.Tensor, " tokens"], batch: Batch
) -> Float[torch.Tensor, "batch time"]:
    """Values of the live tokens where these are, 0 elsewhere."""
    return values.new_zeros(batch.live.shape).masked_scatter(batch.live, values)


@contextmanager
def evaluating(*modules: torch.nn.Module) -> Iterator[None]:
    """Without dropout, for the time being."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
