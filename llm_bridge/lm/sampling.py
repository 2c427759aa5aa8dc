"""Responses of a causal language model, token by token on a key-value cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int

from llm_bridge.lm import head
from llm_bridge.lm.decoding import STRIDE
from llm_bridge.lm.loading import check_weights
from llm_bridge.lm.recording import recorded
from llm_bridge.lm.tokens import Batch, encode_prompts, positions
from theory import checks
from theory.errors import InputError

DECODINGS = ("eager", "graphs")
"""How tokens are computed: 'eager' on a cache that grows, or in steps of fixed shape, which on a
GPU are recorded as CUDA 'graphs' and replayed. Both give the same tokens, but for rounding."""
NONE = -1
"""In place of a token whose probabilities are not finite."""


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Log-probabilities are always those of the distribution at `temperature` before top-k and top-p
    cut it: with a cut, ratios and KL are of a policy that was not sampled from.
    """

    tokens: int = 48
    """Largest number of tokens of a response."""
    temperature: float = 1.0
    top_k: int = 0
    """Draw among the k most probable tokens; 0 for all."""
    top_p: float = 1.0
    """Draw among the most probable tokens of this probability together."""

    def __post_init__(self) -> None:
        checks.positive("tokens", self.tokens)
        checks.positive_number("temperature", self.temperature)
        checks.positive("top_k", self.top_k, zero_allowed=True)
        if not 0 < self.top_p <= 1:
            raise InputError("top_p", "in (0, 1]", self.top_p)

    @property
    def truncated(self) -> bool:
        """Whether the policy differs from what is sampled."""
        return self.top_k > 0 or self.top_p < 1

    def uniforms(self, rows: int, generator: torch.Generator) -> Float[torch.Tensor, "rows time"]:
        """The random numbers in [0, 1) that decide so many responses, on the CPU.

        A response is thus the same on any device, and whatever others are drawn beside it.
        """
        return torch.rand(rows, self.tokens, generator=generator)

    def cut(self, logits: Float[torch.Tensor, "batch words"]) -> Float[torch.Tensor, "batch words"]:
        """Logits at the temperature, -inf beyond the top k and the nucleus."""
        logits = head.tempered(logits, self.temperature)
        if self.top_k:
            smallest = logits.topk(min(self.top_k, logits.shape[-1])).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(descending=True)
            before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            outside = torch.zeros_like(before, dtype=torch.bool)
            outside.scatter_(1, order, before >= self.top_p)
            logits = logits.masked_fill(outside, -torch.inf)
        return logits

    def pick(
        self, logits: Float[torch.Tensor, "batch words"], uniforms: Float[torch.Tensor, "batch 1"]
    ) -> Int[torch.Tensor, "batch 1"]:
        """The tokens that numbers in [0, 1) decide."""
        found = [
            choose(self.cut(logits[rows]).softmax(-1), uniforms[rows])
            for rows in head.parts(logits)
        ]
        return torch.cat(found)


def draw(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    limit: int,
    uniforms: Float[torch.Tensor, "batch time"],
    decoding: str = "eager",
    finite: bool = True,
) -> Batch:
    """A response to each prompt; limit: tokens of prompt and response together.

    Raises `InputError` as `encode_prompts` and `sample`.
    """
    tokens, mask = encode_prompts(tokenizer, prompts, limit=limit - sampling.tokens)
    return sample(
        model, tokens.to(model.device), mask.to(model.device), sampling,
        eos=tokenizer.eos_token_id, pad=tokenizer.pad_token_id, uniforms=uniforms,
        decoding=decoding, finite=finite,
    )  # fmt: skip


@torch.no_grad()
def sample(
    model: Any,
    prompts: Int[torch.Tensor, "batch prompt_time"],
    prompt_mask: Bool[torch.Tensor, "batch prompt_time"],
    sampling: Sampling,
    *,
    eos: int,
    pad: int,
    uniforms: Float[torch.Tensor, "batch time"],
    decoding: str = "eager",
    finite: bool = True,
) -> Batch:
    """Responses up to and with their first `eos`, or cut at `sampling.tokens`.

    uniforms: of `sampling.uniforms`, which decide the tokens; decoding: one of `DECODINGS`. Stops
    early when every response has ended. finite: refuse probabilities that are not; otherwise such
    tokens are the first of the vocabulary.

    Raises `InputError` for these, naming a weight that is not finite where there is one, and for
    'graphs' of a model with layers of a sliding window.
    """
    checks.one_of("decoding", decoding, DECODINGS)
    uniforms = uniforms.to(prompts.device)
    if decoding == "graphs":
        found = recorded(model, prompts, prompt_mask, sampling, eos=eos, pad=pad, uniforms=uniforms)
        return Batch(prompts, prompt_mask, _checked(found.tokens, model, finite), found.live)
    mask, cache, drawn, live = prompt_mask, None, [], []
    tokens, places = prompts, positions(prompt_mask)
    going = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    stride = 1 if prompts.device.type == "cpu" else STRIDE
    for step, uniform in enumerate(uniforms.unbind(1), 1):
        out = model.base_model(
            input_ids=tokens, attention_mask=mask.long(), position_ids=places,
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        cache = out.past_key_values
        chosen = sampling.pick(head.logits(model, out.last_hidden_state[:, -1]), uniform[:, None])
        drawn.append(chosen.masked_fill(~going[:, None], pad))
        live.append(going[:, None])
        going = going & (chosen[:, 0] != eos)
        if step % stride == 0 and not going.any():
            break
        mask = torch.cat([mask, live[-1]], dim=1)
        tokens, places = drawn[-1].clamp(min=0), (places.max(-1, keepdim=True).values + 1)
    counted = torch.cat(live, dim=1)
    width = int(counted.sum(1).max())
    chosen = _checked(torch.cat(drawn, dim=1)[:, :width], model, finite)
    return Batch(prompts, prompt_mask, chosen, counted[:, :width])


def _checked(
    tokens: Int[torch.Tensor, "batch time"], model: Any, finite: bool
) -> Int[torch.Tensor, "batch time"]:
    """The tokens, of which none may be `NONE`."""
    if finite and (tokens == NONE).any():
        hint = "lower the learning rate, or see where the weights come from"
        check_weights(model, "model", type(model).__name__, hint)
        raise InputError("model", "one of finite probabilities", "NaN or infinite ones", hint)
    return tokens.clamp(min=0)


def choose(
    shares: Float[torch.Tensor, "batch words"], uniforms: Float[torch.Tensor, "batch 1"]
) -> Int[torch.Tensor, "batch 1"]:
    """The word at which the cumulative shares pass each number in [0, 1), never one of share 0.

    `NONE` where shares are not finite.
    """
    passed = shares.cumsum(-1)
    total = passed[:, -1:]
    sought = torch.minimum(uniforms * total, total.nextafter(torch.zeros_like(total)))
    found = torch.searchsorted(passed, sought, right=True)
    return found.masked_fill(~total.isfinite(), NONE)
