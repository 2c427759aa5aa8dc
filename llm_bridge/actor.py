"""A causal language model as policy and critic: log-probabilities and values of responses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float

from llm_bridge.tokens import Batch


class Reading(NamedTuple):
    """What a policy says of the tokens of responses; entries beyond their end mean nothing.

    entropy: of the next token's distribution, in nats; value: of the state before the token.
    """

    log_prob: Float[torch.Tensor, "batch time"]
    entropy: Float[torch.Tensor, "batch time"]
    value: Float[torch.Tensor, "batch time"]


class Actor(torch.nn.Module):
    """A language model, and a value head on its last hidden states.

    The policy is the model's distribution at `temperature`, not truncated. The value head starts
    at zero.
    """

    def __init__(self, model: Any, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature
        width = model.get_output_embeddings().weight.shape[1]
        self.value_head = torch.nn.Linear(width, 1, device=model.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)

    def forward(self, batch: Batch) -> Reading:
        """Read responses; the vocabulary is visited on their tokens only."""
        hidden = response_states(self.model, batch)
        rows = hidden.reshape(-1, hidden.shape[-1])
        logits = self.model.get_output_embeddings()(rows).float() / self.temperature
        logs = torch.log_softmax(logits, -1)
        log_prob = logs.gather(-1, batch.responses.reshape(-1, 1))[:, 0]
        entropy = -(logs.exp() * logs).sum(-1).detach()
        value = self.value_head(rows.float())[:, 0]
        shape = batch.responses.shape
        return Reading(*(x.view(shape) for x in (log_prob, entropy, value)))


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
    hidden = response_states(model, batch)
    logits = model.get_output_embeddings()(hidden.reshape(-1, hidden.shape[-1])).float()
    logs = torch.log_softmax(logits / temperature, -1)
    chosen = logs.gather(-1, batch.responses.reshape(-1, 1)).view(batch.responses.shape)
    return chosen * batch.live


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
