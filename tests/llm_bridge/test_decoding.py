"""Steps of fixed shape give the responses of a cache that grows."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
)

from llm_bridge.actors import make_actor
from llm_bridge.lm.actor import log_probabilities
from llm_bridge.lm.decoding import Decoder
from llm_bridge.lm.head import logits
from llm_bridge.lm.lora import Lora, without_adapters
from llm_bridge.lm.recording import RECORDINGS, stamp
from llm_bridge.lm.sampling import Sampling, sample
from llm_bridge.settings import Settings
from tests.tolerance import FLOAT32
from theory.errors import InputError

pytestmark = pytest.mark.machine

WORDS, EOS, PAD, CONTEXT = 40, 2, 0, 40
SIZES = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": EOS,
}  # fmt: skip
CONFIGS = {
    "gpt2": GPT2Config(
        vocab_size=WORDS, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=4, bos_token_id=1,
        eos_token_id=EOS, pad_token_id=PAD,
    ),
    "llama": LlamaConfig(**SIZES),
    "gemma": GemmaConfig(**{**SIZES, "head_dim": 16, "num_key_value_heads": 1}),
    "gemma2": Gemma2Config(**SIZES, head_dim=16, sliding_window=8),
}  # fmt: skip


def built(name):
    """With weights so large that probabilities are far from equal."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.fixture(params=["gpt2", "llama", "gemma"])
def model(request):
    return built(request.param)


def asked(rows=12, width=7):
    """Prompts of 1 to `width` tokens."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(width) >= (torch.arange(rows) % width)[:, None]
    return torch.randint(3, WORDS, (rows, width), generator=generator) * mask, mask


def drawn(model, sampling, decoding, rows=12):
    uniforms = sampling.uniforms(rows, torch.Generator().manual_seed(0))
    prompts, mask = asked(rows)
    return sample(
        model, prompts, mask, sampling, eos=EOS, pad=PAD, uniforms=uniforms, decoding=decoding
    )


@pytest.mark.parametrize(
    "sampling", [Sampling(1), Sampling(14), Sampling(33, 0.7), Sampling(20, top_k=5)]
)
def test_fixed_shapes_draw_the_same_tokens(model, sampling):
    """To the last position that the model has; where every response ends early, too."""
    eager, fixed = (drawn(model, sampling, decoding) for decoding in ("eager", "graphs"))
    assert torch.equal(eager.responses, fixed.responses)
    assert torch.equal(eager.live, fixed.live)
    if sampling.tokens > 8:
        assert (eager.responses == EOS).any()
        assert len(set(map(tuple, eager.responses.tolist()))) > 5


def test_fixed_shapes_have_the_probabilities_of_one_pass(model):
    seen = []
    hook = model.base_model.register_forward_hook(
        lambda *call: seen.append(logits(model, call[2].last_hidden_state[:, -1]))
    )
    batch = drawn(model, Sampling(12), "graphs")
    hook.remove()
    logs = torch.log_softmax(torch.stack(seen, dim=1), -1)[:, : batch.live.shape[1]]
    found = logs.gather(-1, batch.responses[..., None])[..., 0] * batch.live
    assert logs.exp().std() > 0.005
    torch.testing.assert_close(found, log_probabilities(model, batch), atol=FLOAT32, rtol=FLOAT32)


def test_any_attention_takes_the_masks(model):
    expected = drawn(model, Sampling(14), "graphs")
    model.set_attn_implementation("eager")
    found = drawn(model, Sampling(14), "graphs")
    assert torch.equal(found.responses, expected.responses)


def test_weights_in_bfloat16(model):
    model.bfloat16()
    eager, fixed = (drawn(model, Sampling(1), decoding) for decoding in ("eager", "graphs"))
    assert (eager.responses == fixed.responses).float().mean() > 0.75


def test_fixed_shapes_in_bfloat16(model):
    """Rotary positions leave keys wider than values there. Rounding may turn a token, and so all
    that follow it."""
    with torch.autocast("cpu", torch.bfloat16):
        eager, fixed = (drawn(model, Sampling(12), decoding) for decoding in ("eager", "graphs"))
    width = min(eager.live.shape[1], fixed.live.shape[1])
    same = eager.responses[:, :width] == fixed.responses[:, :width]
    assert same.float().mean() > 0.75


def test_buffers_serve_again(model):
    """What one batch left in them is no part of the next."""
    prompts, mask = asked()
    sampling = Sampling(14)
    decoder = Decoder(model, sampling, 12, 8, eos=EOS, pad=PAD)
    found = []
    for seed in (5, 0, 5):
        uniforms = sampling.uniforms(12, torch.Generator().manual_seed(seed))
        decoder.load(prompts, mask, uniforms)
        with torch.no_grad():
            found.append(decoder.run(lambda: decoder.first(model), lambda: decoder.next(model)))
    assert torch.equal(found[1].tokens, drawn(model, sampling, "eager").responses)
    assert torch.equal(found[0].tokens, found[2].tokens)
    assert not torch.equal(found[0].tokens[:, :5], found[1].tokens[:, :5])


class Operations(TorchDispatchMode):
    """Names of those that run."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.seen.add(function.overloadpacket.__name__)
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("sampling", [Sampling(3), Sampling(3, top_k=5, top_p=0.9)])
def test_steps_ask_nothing_of_the_host(model, sampling):
    """No number is looked at, nothing is made there and sent: a GPU could not record it."""
    prompts, mask = asked()
    decoder = Decoder(model, sampling, 12, 8, eos=EOS, pad=PAD)
    uniforms = sampling.uniforms(12, torch.Generator().manual_seed(0))
    decoder.load(prompts, mask, uniforms)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        decoder.first(model)
        with Operations() as operations:
            decoder.first(model)
            decoder.next(model)
    assert {"index_copy_", "searchsorted", "masked_fill"} <= operations.seen
    assert not operations.seen & {
        "_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "scalar_tensor", "where",
        "is_nonzero", "equal", "item", "unique", "bincount", "repeat_interleave",
    }  # fmt: skip


def test_a_recording_is_of_one_state_of_a_model():
    """Training in place leaves it; adapters, precision and other weights do not."""
    settings = Settings(lora=Lora(rank=2))
    model = make_actor(built("llama"), settings, temperature=1.0, seed=0).model.eval()
    before = stamp(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert stamp(model) == before
    with without_adapters(model):
        assert stamp(model) != before
    with torch.autocast("cpu", torch.bfloat16):
        assert stamp(model) != before
    assert stamp(model.train()) != before
    assert stamp(built("llama")) != before


def test_what_is_refused():
    with pytest.raises(InputError, match="sliding window"):
        drawn(built("gemma2"), Sampling(4), "graphs")
    with pytest.raises(InputError, match="one of eager, graphs"):
        drawn(built("llama"), Sampling(4), "static")
    with pytest.raises(InputError, match="one of eager, graphs"):
        Settings(decoding="static")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recordings_follow_the_weights(model, precision):
    """On a GPU: as the steps themselves, after training in place, and for several shapes."""
    sampling = Sampling(14)
    model.to("cuda").requires_grad_(True)
    for shift in (0.0, 0.02):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(shift)
        for rows in (12, 5, 12):
            found = []
            uniforms = sampling.uniforms(rows, torch.Generator().manual_seed(rows))
            prompts, mask = (x.cuda() for x in asked(rows))
            for decoding in ("eager", "graphs"):
                with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
                    found.append(sample(
                        model, prompts, mask, sampling, eos=EOS, pad=PAD, uniforms=uniforms,
                        decoding=decoding,
                    ))  # fmt: skip
            width = min(batch.live.shape[1] for batch in found)
            same = found[0].responses[:, :width] == found[1].responses[:, :width]
            assert same.float().mean() > (0.97 if precision == "float32" else 0.75)
    assert len(RECORDINGS[model]) == 2
