"""Stacked adapters against the same adapters one by one, as peft reads them."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from llm_bridge.lm.lora import Lora
from llm_bridge.lm.low_rank import adapted_product
from llm_bridge.lm.stacked import STATES, StackedLora
from tests.tolerance import EXACT, FLOAT32
from theory.errors import InputError

pytestmark = pytest.mark.machine

WORDS, MEMBERS, ROWS = 19, 3, 2
ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SMALL = {
    "vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, **ENDS,
}  # fmt: skip
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, **ENDS)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SMALL)),
}
ADAPTERS = Lora(3, 12)
TOKENS = torch.arange(MEMBERS * ROWS * 5).view(MEMBERS * ROWS, 5) * 7 % WORDS


def made(name, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name]().to(dtype).eval()


def stacked(model, adapters=ADAPTERS):
    """With an effect: B is not zero."""
    stack = StackedLora(model, adapters, range(MEMBERS))
    generator = torch.Generator().manual_seed(1)
    for weight in stack.up.values():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return stack


def alone(name, stack, member, dtype=torch.float32):
    """The same adapter in peft's own layers."""
    model = made(name, dtype)
    stack.settings.attach(model, "own", seed=9)
    for key, weight in stack.member_state(member).items():
        layer, matrix, _ = key.rsplit(".", 2)
        parameter = getattr(model.get_submodule(layer), matrix)["own"].weight
        parameter.data = weight.to(dtype)
    return model


def objective(logits, member):
    weights = torch.linspace(-1, 1 + member, WORDS).to(logits.dtype)
    return (logits.log_softmax(-1) * weights).sum()


def gradients(stack, member):
    """Of one member, in peft's names."""
    return {
        f"{key.replace('/', '.')}.{matrix}.weight": weight.grad[member].T
        for matrix, stacks in (("lora_A", stack.down), ("lora_B", stack.up))
        for key, weight in stacks.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_members_start_as_peft_starts_them(name):
    stack = StackedLora(made(name), ADAPTERS, (5, 8))
    for member, seed in enumerate((5, 8)):
        model = made(name)
        ADAPTERS.attach(model, "own", seed=seed)
        for key, weight in stack.member_state(member).items():
            layer, matrix, _ = key.rsplit(".", 2)
            assert torch.equal(weight, getattr(model.get_submodule(layer), matrix)["own"].weight)


@pytest.mark.parametrize(
    ("dtype", "logits_within", "gradients_within"),
    [(torch.float32, 1e-5, 1e-5), (torch.float64, EXACT, EXACT)],
)
@pytest.mark.parametrize("name", MODELS)
def test_a_member_is_the_adapter_alone(name, dtype, logits_within, gradients_within):
    model = made(name, dtype)
    stack = stacked(model)
    logits = model(TOKENS).logits.unflatten(0, (MEMBERS, ROWS))
    torch.stack([objective(own, i) for i, own in enumerate(logits)]).sum().backward()
    for member, rows in enumerate(TOKENS.split(ROWS)):
        single = alone(name, stack, member, dtype)
        expected = single(rows).logits
        assert (logits[member] - expected).abs().max() <= logits_within
        objective(expected, member).backward()
        found, own = gradients(stack, member), []
        for key in found:
            layer, matrix, _ = key.rsplit(".", 2)
            own.append(getattr(single.get_submodule(layer), matrix)["own"].weight.grad.flatten())
            assert own[-1].any()
        apart = torch.cat([weight.flatten() for weight in found.values()]) - torch.cat(own)
        assert apart.norm() <= gradients_within * torch.cat(own).norm()
    assert not torch.allclose(logits[0], logits[1], atol=0.01)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_what_another_member_reads_changes_nothing(name):
    found = []
    for last in (3, 4):
        model = made(name)
        stack = stacked(model)
        tokens = TOKENS.clone()
        tokens[-ROWS:] = last
        logits = model(tokens).logits.unflatten(0, (MEMBERS, ROWS))
        objective(logits, 0).backward()
        found.append((logits.detach(), gradients(stack, 0), gradients(stack, 2)))
    (first, own, last), (other, same, apart) = found
    assert torch.equal(first[:2], other[:2])
    assert not torch.equal(first[2], other[2])
    assert all(torch.equal(own[key], same[key]) for key in own)
    assert not any(torch.equal(last[key], apart[key]) for key in last)


@pytest.mark.parametrize("members", [slice(1, 3), [2, 0]])
def test_some_members_read_as_among_all(members):
    """And their gradients go to their own places."""
    model = made("llama")
    stack = stacked(model)
    whole = model(TOKENS).logits.unflatten(0, (MEMBERS, ROWS))
    chosen = list(range(MEMBERS))[members] if isinstance(members, slice) else members
    objective(whole[chosen], 0).backward()
    expected = [gradients(stack, member) for member in range(MEMBERS)]
    stack.zero_grad()
    with stack.only(members):
        rows = TOKENS.view(MEMBERS, ROWS, -1)[chosen].flatten(0, 1)
        logits = model(rows).logits
    objective(logits, 0).backward()
    torch.testing.assert_close(
        logits.unflatten(0, (-1, ROWS)), whole[chosen], atol=FLOAT32, rtol=FLOAT32
    )
    for member in range(MEMBERS):
        for key, found in gradients(stack, member).items():
            assert bool(found.any()) == (member in chosen)
            torch.testing.assert_close(found, expected[member][key], atol=FLOAT32, rtol=FLOAT32)


def test_the_base_is_below_and_stays():
    model = made("gpt2")
    expected = model(TOKENS[:1]).logits
    stack = stacked(model)
    with stack.off(), stack.only([0]):
        assert not torch.equal(model(TOKENS[:1]).logits, expected)
    with stack.off():
        assert torch.equal(model(TOKENS[:1]).logits, expected)
    with pytest.raises(RuntimeError, match="stop"), stack.off():
        raise RuntimeError("stop")
    assert not torch.equal(model(TOKENS).logits[:1], expected)
    assert not any("/" in name for name in model.state_dict())
    with pytest.raises(InputError, match="stacked adapters"):
        StackedLora(model, ADAPTERS, [0])
    stack.remove()
    assert torch.equal(model(TOKENS[:1]).logits, expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("targets", [(), ("q_proj", "v_proj")])
def test_peft_reads_what_is_saved_and_is_read(name, targets, tmp_path):
    targets = ("c_attn",) if targets and name == "gpt2" else targets
    model = made(name)
    stack = stacked(model, Lora(3, 12, targets=targets))
    expected = model(TOKENS).logits.unflatten(0, (MEMBERS, ROWS))
    folders = [tmp_path / str(member) for member in range(MEMBERS)]
    for member, folder in enumerate(folders):
        stack.save_pretrained(folder, member)
        single = PeftModel.from_pretrained(made(name), folder)
        found = single(TOKENS.split(ROWS)[member]).logits
        torch.testing.assert_close(found, expected[member], atol=FLOAT32, rtol=FLOAT32)
        single.save_pretrained(tmp_path / "again")
        again = StackedLora.from_pretrained(made(name), [tmp_path / "again"])
        for key, weight in again.member_state(0).items():
            assert torch.equal(weight, stack.member_state(member)[key])
    other = made(name)
    StackedLora.from_pretrained(other, folders)
    assert torch.equal(other(TOKENS).logits.unflatten(0, (MEMBERS, ROWS)), expected)


def test_states_of_all_and_of_one():
    first, other = made("gpt2"), made("gpt2")
    stack, fresh = stacked(first), StackedLora(other, ADAPTERS, range(MEMBERS))
    fresh.load_member_state(1, stack.member_state(1))
    with stack.only([1]), fresh.only([1]):
        assert torch.equal(first(TOKENS).logits, other(TOKENS).logits)
    assert not torch.equal(first(TOKENS).logits, other(TOKENS).logits)
    fresh.load_state_dict(stack.state_dict())
    assert torch.equal(first(TOKENS).logits, other(TOKENS).logits)
    wrong = stack.member_state(0)
    wrong.popitem()
    with pytest.raises(InputError, match="layers and rank"):
        fresh.load_member_state(0, wrong)


@pytest.mark.parametrize("base", [torch.float32, torch.bfloat16])
def test_bfloat16_has_float32_adapters(base):
    """On a model in bfloat16 as under autocast."""
    expected = made("llama")
    stacked(expected)
    model = made("llama", base)
    stack = stacked(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=base == torch.float32):
        logits = model(TOKENS).logits
    objective(logits.float(), 0).backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in stack.parameters())
    torch.testing.assert_close(logits.float(), expected(TOKENS).logits, atol=0.05, rtol=0.05)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_gradients_of_the_product_are_its_slopes(members, rows, width, rank, bias, first):
    """Of everything that has one; a first layer needs none of x."""
    generator = torch.Generator().manual_seed(members + 7 * rows + 31 * width + 101 * rank)

    def drawn(*shape, grad=True):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)

    x = drawn(members * rows, 2, width, grad=not first)
    weight, shift = drawn(width, 3, grad=False), drawn(3, grad=False) if bias else None
    down, up = drawn(members, width, rank), drawn(members, rank, 3)

    def product(x, down, up):
        return adapted_product(x, weight, shift, down, up, scale=1.5)

    assert torch.autograd.gradcheck(product, (x, down, up))
    whole = [weight + 1.5 * a @ b for a, b in zip(down, up, strict=True)]
    parts = zip(x.chunk(members), whole, strict=True)
    expected = torch.cat([part @ w for part, w in parts]) + (0 if shift is None else shift)
    torch.testing.assert_close(product(x, down, up), expected, atol=EXACT, rtol=EXACT)


def test_dropout_is_for_the_adapters_alone():
    """At a rate of nearly one nothing is left of them in training."""
    model = made("gpt2")
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    plain = model(TOKENS).logits
    stacked(model, Lora(3, 12, dropout=1 - 1e-9))
    assert not torch.allclose(model(TOKENS).logits, plain)
    torch.testing.assert_close(model.train()(TOKENS).logits, plain, atol=FLOAT32, rtol=FLOAT32)
    x, weight = torch.ones(2, 4000), torch.zeros(4000, 1)
    x.requires_grad_(True)
    down, up = torch.ones(2, 4000, 1), torch.ones(2, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = adapted_product(x, weight, None, down, up, scale=1.0, dropout=0.5)
    out.sum().backward()
    torch.testing.assert_close(x.grad.sum(1), out.detach()[:, 0])
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


@given(st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_groups_hold_each_member_once(members, tokens):
    model = made("gpt2")
    stack = StackedLora(model, Lora(1), range(members))
    groups = stack.groups(tokens)
    assert [i for group in groups for i in range(members)[group]] == list(range(members))
    sizes = [group.stop - group.start for group in groups]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or max(sizes) * tokens * 2 * 16 <= STATES["cpu"]


def test_bad_input(tmp_path):
    model = made("gpt2")
    stack = stacked(model)
    with pytest.raises(InputError, match="multiple of the 3 members"):
        model(TOKENS[:4])
    with pytest.raises(InputError, match="targets"):
        StackedLora(deepcopy(made("llama")), Lora(targets=("c_attn",)), [0])
    with pytest.raises(InputError, match="members"):
        StackedLora(made("llama"), ADAPTERS, [])
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        StackedLora.from_pretrained(made("gpt2"), [tmp_path])
    stack.save_pretrained(tmp_path / "three", 0)
    StackedLora(made("gpt2"), Lora(2), [0]).save_pretrained(tmp_path / "two", 0)
    with pytest.raises(InputError, match="of one kind"):
        StackedLora.from_pretrained(made("gpt2"), [tmp_path / "three", tmp_path / "two"])
    config = tmp_path / "three" / "adapter_config.json"
    config.write_text(config.read_text().replace('"use_dora": false', '"use_dora": true'))
    with pytest.raises(InputError, match="use_dora"):
        StackedLora.from_pretrained(made("gpt2"), [tmp_path / "three"])
