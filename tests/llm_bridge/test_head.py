"""Log-probabilities made in parts and in place, against the plain formula."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GPT2Config, LlamaConfig

from llm_bridge.lm import head
from llm_bridge.lm.actor import Actor, log_probabilities, response_states, token_distributions
from llm_bridge.lm.head import chosen_log_probabilities, entropies, logits
from llm_bridge.lm.tokens import Batch
from tests.tolerance import FLOAT32

pytestmark = pytest.mark.machine

WORDS, TEMPERATURE, BFLOAT16 = 90, 0.7, 0.01
SIZES = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, bos_token_id=1,
                       eos_token_id=2, pad_token_id=0),
    "llama": LlamaConfig(**SIZES),
    "gemma2, capped": Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.7),
    "cohere, scaled": CohereConfig(**SIZES, logit_scale=3.0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """So that several parts are met, the last of them shorter."""
    monkeypatch.setitem(head.PART, "cpu", 4 * WORDS + 1)


@pytest.fixture(params=CONFIGS)
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(CONFIGS[request.param]).eval()


def batch():
    """Prompts and responses of different lengths."""
    generator = torch.Generator().manual_seed(0)
    prompts, responses = (torch.randint(3, WORDS, (3, n), generator=generator) for n in (4, 5))
    starts, ends = torch.tensor([0, 2, 1]), torch.tensor([5, 1, 3])
    return Batch(prompts, torch.arange(4) >= starts[:, None], responses,
                 torch.arange(5) < ends[:, None])  # fmt: skip


def plain_logs(model, batch):
    """Of all words, of a whole pass of the model itself."""
    out = model(batch.tokens, attention_mask=batch.mask.long(), position_ids=batch.positions)
    first = batch.prompts.shape[1] - 1
    return torch.log_softmax(out.logits[:, first:-1].float() / TEMPERATURE, -1)


def gradients(model, log_prob, batch):
    """Of a sum that weighs each token differently."""
    model.zero_grad()
    weights = torch.linspace(-1, 2, batch.live.numel()).view(batch.live.shape) * batch.live
    (log_prob * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@given(
    st.integers(1, 11), st.integers(2, 40), st.floats(0.3, 3.0), st.floats(0.1, 30.0),
    st.integers(0, 2**31),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_formula(rows, words, temperature, size, seed):
    generator = torch.Generator().manual_seed(seed)
    found = size * torch.randn(rows, words, generator=generator)
    chosen = torch.randint(words, (rows,), generator=generator)
    weights = torch.randn(rows, generator=generator)
    exact = found.double().requires_grad_()
    logs = torch.log_softmax(exact / temperature, -1)
    expected = logs.gather(-1, chosen[:, None])[:, 0]
    (expected * weights).sum().backward()
    leaf = found.clone().requires_grad_()
    log_prob = chosen_log_probabilities(leaf * 1, chosen, temperature)
    (log_prob * weights).sum().backward()
    tolerance = {"atol": FLOAT32, "rtol": FLOAT32, "check_dtype": False}
    torch.testing.assert_close(log_prob, expected, **tolerance)
    torch.testing.assert_close(leaf.grad, exact.grad, **tolerance)
    spread = -(logs.exp() * logs).sum(-1)
    torch.testing.assert_close(entropies(found, temperature), spread, **tolerance)


def test_an_actor_reads_what_its_model_says(model):
    texts = batch()
    actor = Actor(model, temperature=TEMPERATURE)
    logs = plain_logs(model, texts)
    expected = logs.gather(-1, texts.responses[..., None])[..., 0] * texts.live
    reading = actor(texts, entropy=True)
    tolerance = {"atol": FLOAT32, "rtol": FLOAT32}
    torch.testing.assert_close(reading.log_prob, expected, **tolerance)
    spread = -(logs.exp() * logs).sum(-1) * texts.live
    torch.testing.assert_close(reading.entropy, spread, **tolerance)
    assert actor(texts).entropy.isnan().all()
    before = gradients(model, expected, texts)
    after = gradients(model, reading.log_prob, texts)
    assert before.keys() == after.keys()
    assert min(float(g.abs().max()) for g in before.values()) > 0
    torch.testing.assert_close(after, before, **tolerance)
    frozen = log_probabilities(model.requires_grad_(False), texts, temperature=TEMPERATURE)
    torch.testing.assert_close(frozen, expected.detach(), **tolerance)
    every = token_distributions(model, texts, temperature=TEMPERATURE)
    torch.testing.assert_close(every[texts.live], logs.detach()[texts.live], **tolerance)


def test_half_precision_is_that_of_the_formula(model):
    """The same logits in bfloat16: only the last rounding of their gradient may differ."""
    texts = batch()
    actor = Actor(model, temperature=TEMPERATURE, precision="bfloat16")
    with actor.autocast():
        found = logits(model, response_states(model, texts)[texts.live])
    assert found.dtype == torch.bfloat16
    logs = torch.log_softmax(found.float() / TEMPERATURE, -1)
    expected = torch.zeros(texts.live.shape).masked_scatter(
        texts.live, logs.gather(-1, texts.responses[texts.live][:, None])
    )
    reading = actor(texts)
    assert reading.log_prob.dtype == torch.float32
    torch.testing.assert_close(reading.log_prob, expected, atol=FLOAT32, rtol=FLOAT32)
    before = gradients(model, expected, texts)
    after = gradients(model, reading.log_prob, texts)
    for name, gradient in before.items():
        apart = (after[name] - gradient).norm()
        assert apart <= BFLOAT16 * gradient.norm(), name


def test_the_last_token_of_a_response_is_not_read_on():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS["gpt2"]).eval()
    texts = batch()
    seen = []
    model.base_model.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["input_ids"].shape), with_kwargs=True
    )
    assert response_states(model, texts).shape == (3, 5, 32)
    assert seen == [(3, 8)]
    changed = replace(texts, responses=texts.responses.clone())
    changed.responses[~texts.live] = 7
    assert torch.equal(log_probabilities(model, texts), log_probabilities(model, changed))


def test_a_second_backward_pass_is_refused():
    """The logits are no more."""
    leaf = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = chosen_log_probabilities(leaf * 1, torch.arange(5), 1.0).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()
