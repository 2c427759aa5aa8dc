"""Adapters of a reward ensemble in one pass, against switching from one to the next."""

import time
from statistics import median

import pytest
import torch
from transformers import GPT2Config, GPT2Model

from llm_bridge.lm.lora import Lora
from llm_bridge.rewards.stacked import stacked

MEMBERS = 8
NAMES = tuple(f"member_{index}" for index in range(MEMBERS))


@pytest.fixture(scope="module")
def trunk():
    torch.set_num_threads(1)
    config = GPT2Config(n_embd=256, n_layer=4, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    made = GPT2Model(config)
    for index, name in enumerate(NAMES):
        Lora(16).attach(made, name, seed=index)
    return made


def together(trunk, tokens):
    with stacked(trunk, NAMES):
        return trunk(tokens.flatten(0, 1)).last_hidden_state.square().sum()


def switching(trunk, tokens):
    total = torch.zeros(())
    for name, own in zip(NAMES, tokens, strict=True):
        trunk.set_adapter(name)
        loss = trunk(own).last_hidden_state.square().sum()
        if torch.is_grad_enabled():
            loss.backward()
        total += loss.detach()
    return total


def seconds(act):
    started = time.process_time()
    act()
    return time.process_time() - started


@pytest.mark.parametrize(("rows", "length"), [(2, 8), (8, 8), (8, 24)])
@pytest.mark.parametrize("training", [False, True])
def test_stacked_against_switching(trunk, training, rows, length, benchmark):
    tokens = torch.randint(50_000, (MEMBERS, rows, length))

    def stack():
        for name, parameter in trunk.named_parameters():
            parameter.requires_grad_("lora_" in name)
        loss = together(trunk, tokens)
        if training:
            loss.backward()

    with torch.set_grad_enabled(training):
        pairs = [(seconds(stack), seconds(lambda: switching(trunk, tokens))) for _ in range(9)]
        benchmark(stack)
    benchmark.extra_info["ratio"] = median(slow for _, slow in pairs) / median(f for f, _ in pairs)
    ratio = benchmark.extra_info["ratio"]
    print(f"\n{rows} rows of {length}, training={training}: {ratio:.2f} times faster")


def test_ten_heads_against_one(benchmark):
    from llm_bridge.embedded.tiny import build_tokenizer
    from llm_bridge.lm.tokens import encode
    from llm_bridge.rewards.models import RewardModel

    tokenizer = build_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=256, n_layer=4, n_head=4)
    trunk = GPT2Model(config).eval()
    one, ten = (RewardModel(trunk, tokenizer, heads=k, limit=64).eval() for k in (1, 10))
    text = "the rose is bright and the pond is kind ."
    batch = encode(tokenizer, ["garden :"] * 64, [text] * 64, limit=64)
    with torch.no_grad():
        pairs = [(seconds(lambda: one(batch)), seconds(lambda: ten(batch))) for _ in range(15)]
        benchmark(lambda: ten(batch))
    benchmark.extra_info["ratio"] = median(b for _, b in pairs) / median(a for a, _ in pairs)
    print(f"\nten heads cost {benchmark.extra_info['ratio']:.3f} of one")
