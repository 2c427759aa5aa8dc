"""Adapters in one pass, against one pass each."""

import pytest
import torch

from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.tokens import encode
from llm_bridge.rewards.models import at_the_end
from llm_bridge.rewards.stacked import stacked, states
from tests.tolerance import FLOAT32
from theory.errors import InputError

NAMES = ("a", "b", "c")
TOKENIZER = build_tokenizer()
BATCH = encode(
    TOKENIZER,
    ["garden :", "music :"],
    ["the rose is bright .", "the song is kind and the choir is calm ."],
    limit=40,
)


@pytest.fixture
def trunk():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_model("tiny", TOKENIZER).base_model.eval()
        for index, name in enumerate(NAMES):
            Lora(4).attach(made, name, seed=index)
        for parameter_name, parameter in made.named_parameters():
            if "lora_" in parameter_name:
                parameter.data.normal_(std=0.2)
    return made


def one_by_one(trunk):
    """`set_adapter` turns off the gradients of the others, which a backward pass needs."""
    found = []
    for name in NAMES:
        trunk.set_adapter(name)
        trunk.requires_grad_(True)
        out = trunk(
            input_ids=BATCH.tokens, attention_mask=BATCH.mask.long(), position_ids=BATCH.positions
        )
        found.append(at_the_end(out.last_hidden_state, BATCH))
    return torch.stack(found)


def gradients(trunk, read):
    trunk.requires_grad_(True).zero_grad()
    weights = torch.linspace(-1, 1, 3 * 2 * 64).view(3, 2, 64)
    (read(trunk) * weights).sum().backward()
    return {n: p.grad.clone() for n, p in trunk.named_parameters() if "lora_" in n}


def test_states_are_those_of_each_adapter(trunk):
    expected = one_by_one(trunk)
    torch.testing.assert_close(states(trunk, NAMES, BATCH), expected, atol=FLOAT32, rtol=FLOAT32)
    assert not torch.allclose(expected[0], expected[1], atol=0.01)
    torch.testing.assert_close(one_by_one(trunk), expected)


def test_so_are_gradients(trunk):
    found = gradients(trunk, lambda t: states(t, NAMES, BATCH))
    expected = gradients(trunk, one_by_one)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=FLOAT32, rtol=FLOAT32)


def test_the_trunk_is_itself_again_afterwards(trunk):
    before = one_by_one(trunk)
    with pytest.raises(RuntimeError, match="stop"), stacked(trunk, NAMES):
        raise RuntimeError("stop")
    assert torch.equal(one_by_one(trunk), before)


def test_adapters_of_different_ranks(trunk):
    Lora(2).attach(trunk, "small", seed=9)
    with pytest.raises(InputError, match="one rank"), stacked(trunk, ("a", "small")):
        pass
