"""Adapters of one model in one pass, against peft's switching from one to the next.

Seconds of the processor, medians, the two interleaved; the language-model head reads the positions
of responses alone, as PPO does, unless it says otherwise.
"""

import time
from statistics import median

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.head import chosen_log_probabilities, logits
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.stacked import StackedLora

PROMPT, RESPONSE, WORDS = 8, 10, 50_258
REPEATS = 7


def made():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ends = {"bos_token_id": None, "eos_token_id": None}
    still = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    config = GPT2Config(vocab_size=WORDS, n_embd=256, n_layer=4, n_head=4, **still, **ends)
    return fuse_activations(GPT2LMHeadModel(config)).requires_grad_(False)


@pytest.fixture(scope="module", params=[4, 8, 16])
def adapted(request):
    """A model with stacked adapters, and the same with peft's."""
    stacked, switched = made(), made()
    stack = StackedLora(stacked, Lora(16), range(request.param))
    for index in range(request.param):
        Lora(16).attach(switched, str(index), seed=index)
    return stacked, stack, switched


def loss(model, tokens, *, trunk=False, every=False):
    """Of the responses by the model; of its trunk alone; or with logits that nobody needs."""
    if every:
        return (
            model(tokens)
            .logits[:, PROMPT - 1 : -1]
            .log_softmax(-1)
            .gather(-1, tokens[:, PROMPT:, None])
            .sum()
        )
    hidden = model.base_model(tokens).last_hidden_state
    if trunk:
        return hidden.square().sum()
    rows = hidden[:, PROMPT - 1 : -1].reshape(-1, hidden.shape[-1])
    return chosen_log_probabilities(logits(model, rows), tokens[:, PROMPT:].flatten(), 1.0).sum()


def together(model, stack, tokens, training, **kind):
    stack.zero_grad()
    for members in stack.groups(tokens[0].numel()):
        with stack.only(members), torch.set_grad_enabled(training):
            found = loss(model, tokens[members].flatten(0, 1), **kind)
        if training:
            found.backward()


def switching(model, tokens, training, **kind):
    model.zero_grad()
    for index, own in enumerate(tokens):
        model.set_adapter(str(index))
        with torch.set_grad_enabled(training):
            found = loss(model, own, **kind)
        if training:
            found.backward()


def seconds(act):
    started = time.process_time()
    act()
    return time.process_time() - started


def compared(fast, slow):
    """Seconds of both, after one run of each to warm up."""
    seconds(fast), seconds(slow)
    pairs = [(seconds(fast), seconds(slow)) for _ in range(REPEATS)]
    return tuple(median(side) for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("rows", [2, 8])
@pytest.mark.parametrize("kind", ["forward", "trunk", "training", "every logit"])
def test_stacked_against_switching(adapted, kind, rows, benchmark):
    """kind: the forward pass; forward and backward pass of the trunk, or with the head, or against
    peft with logits at every position, most of which nothing is asked of."""
    model, stack, switched = adapted
    tokens = torch.randint(50_000, (stack.members, rows, PROMPT + RESPONSE))
    training, trunk = kind != "forward", kind == "trunk"

    def stacked():
        together(model, stack, tokens, training, trunk=trunk)

    def one_by_one():
        switching(switched, tokens, training, trunk=trunk, every=kind == "every logit")

    fast, slow = compared(stacked, one_by_one)
    benchmark.pedantic(stacked)
    benchmark.extra_info["ratio"] = slow / fast
    print(
        f"\n{stack.members} members, {rows} rows, {kind}: {slow:.3f} s / {fast:.3f} s = "
        f"{slow / fast:.2f}"
    )


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
        one_head, ten_heads = compared(lambda: one(batch), lambda: ten(batch))
        benchmark(lambda: ten(batch))
    benchmark.extra_info["ratio"] = ten_heads / one_head
    print(f"\nten heads cost {benchmark.extra_info['ratio']:.3f} of one")


def test_batches_by_length_against_the_order_given(benchmark):
    """Texts as uneven as reviews: lengths log-normal around 200 tokens."""
    from llm_bridge.embedded.tiny import build_tokenizer
    from llm_bridge.rewards.models import RewardModel

    tokenizer = build_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=128, n_layer=2, n_head=4, n_positions=1024
    )
    model = RewardModel(GPT2Model(config).eval(), tokenizer, heads=1, limit=1024).eval()
    rng = np.random.default_rng(0)
    lengths = np.exp(np.log(200) + 0.6 * rng.standard_normal(128)).clip(20, 900).astype(int)
    texts, prompts = [" is" * length for length in lengths], ["garden :"] * len(lengths)
    data = model.encode(prompts, texts)

    def in_order():
        with torch.no_grad():
            for rows in torch.arange(len(texts)).split(32):
                model(data[rows].trimmed())

    by_length, as_given = compared(lambda: model.score(prompts, texts), in_order)
    benchmark.pedantic(lambda: model.score(prompts, texts))
    benchmark.extra_info["ratio"] = as_given / by_length
    print(f"\nbatches by length: {as_given / by_length:.2f} times faster")
