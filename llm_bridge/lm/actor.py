"""A causal language model as policy and critic: log-probabilities and values of responses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float

from llm_bridge.lm.head import logits
from llm_bridge.lm.tokens import Batch

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
"""Of the matrix products; weights, log-probabilities and values are always float32."""


class Reading(NamedTuple):
    """What a policy says of the tokens of responses; entries beyond their end mean nothing.

    entropy: of the next token's distribution, in nats; value: of the state before the token.
    """

    log_prob: Float[torch.Tensor, "batch time"]
    entropy: Float[torch.Tensor, "batch time"]
    value: Float[torch.Tensor, "batch time"]


class Actor(torch.nn.Module):
    """A language model, and a value head on its last hidden states or on those of a critic.

    The policy is the model's distribution at `temperature`, not truncated. The value head starts
    at zero. critic: a transformer of its own for the values, or None to share the policy's.
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
        self.model, self.critic, self.temperature = model, critic, temperature
        self._dtype = PRECISIONS[precision]
        width = (model if critic is None else critic).config.hidden_size
        self.value_head = torch.nn.Linear(width, 1, device=model.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)

    @property
    def device(self) -> torch.device:
        """Where its model is."""
        return torch.device(self.model.device)

    def autocast(self) -> Any:
        """Its precision, for whatever is to be compared with its log-probabilities."""
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

    def forward(self, batch: Batch) -> Reading:
        """Read responses; the vocabulary is visited on their tokens only."""
        shape = batch.responses.shape
        with self.autocast():
            hidden = response_states(self.model, batch)
            logs = _log_softmax(self.model, hidden, self.temperature)
            seen = hidden if self.critic is None else response_states(self.critic, batch)
        log_prob = logs.gather(-1, batch.responses.reshape(-1, 1))[:, 0]
        entropy = -(logs.exp() * logs).sum(-1).detach()
        with torch.autocast(self.device.type, enabled=False):
            value = self.value_head(seen.float())[..., 0]
        return Reading(log_prob.view(shape), entropy.view(shape), value)


def response_states(model: Any, batch: Batch) -> Float[torch.Tensor, "batch time width"]:
    """Last hidden states before each token of the responses."""
    out = model.base_model(
        input_ids=batch.tokens, attention_mask=batch.mask.long(), position_ids=batch.positions
    )
    first = batch.prompts.shape[1] - 1
    return out.last_hidden_state[:, first:-1]


@torch.no_grad()
def log_probabilities(
    model: Any, batch: Batch, *, temperature: float = 1.0
) -> Float[torch.Tensor, "batch time"]:
    """ln of the probability of every token of the responses, 0 beyond their end."""
    logs = _log_softmax(model, response_states(model, batch), temperature)
    chosen = logs.gather(-1, batch.responses.reshape(-1, 1)).view(batch.responses.shape)
    return chosen * batch.live


@torch.no_grad()
def token_distributions(
    model: Any, batch: Batch, *, temperature: float = 1.0
) -> Float[torch.Tensor, "batch time words"]:
    """ln of the probabilities of all tokens where each token of the responses was drawn."""
    logs = _log_softmax(model, response_states(model, batch), temperature)
    return logs.view(*batch.responses.shape, -1)


def _log_softmax(
    model: Any, hidden: Float[torch.Tensor, "batch time width"], temperature: float
) -> Float[torch.Tensor, "rows words"]:
    rows = hidden.reshape(-1, hidden.shape[-1])
    return torch.log_softmax(logits(model, rows).float() / temperature, -1)


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
