"""A user's checkpoints: policies, trunks and judges of several architectures, and refusals."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    Gemma2Config,
    GemmaConfig,
    GemmaForCausalLM,
    GemmaForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    GraniteConfig,
    LlamaConfig,
)

from llm_bridge.data.pairs import Pairs
from llm_bridge.embedded.tiny import build_tokenizer
from llm_bridge.lm.actor import Actor, log_probabilities
from llm_bridge.lm.checkpoints import (
    context_length,
    fuse_activations,
    load_judge,
    load_policy,
    load_trunk,
)
from llm_bridge.lm.head import check_logits, logits
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling, sample
from llm_bridge.lm.sft import negative_log_likelihood
from llm_bridge.lm.tokens import encode, encode_prompts
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardModel, RewardTraining
from tests.tolerance import FLOAT32
from theory.errors import InputError

MODELS = Path(__file__).parents[3] / "shared" / "models"
WORDS = len(build_tokenizer())
PROMPTS = ["garden :", "the rose is garden :", "music :"]
RESPONSES = ["the rose is bright .", "the pond is kind and the lawn is calm .", "the song ."]
TEMPLATE = (
    "{% for m in messages %}<bos> {{ m['role'] == 'user' and 'garden' or 'music' }} : "
    "{{ m['content'] }} {% endfor %}"
)


SIZES = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 1, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def gemma(**changes):
    return GemmaConfig(**{**SIZES, "head_dim": 16, **changes})


SCALED = {
    "gemma2": Gemma2Config(**SIZES, head_dim=16, final_logit_softcapping=0.7),
    "cohere": CohereConfig(**SIZES, logit_scale=3.0),
    "granite": GraniteConfig(**SIZES, logits_scaling=0.3),
}
"""Architectures that do more to logits than a product, here much more than is usual."""


def gpt2(words=WORDS):
    return GPT2Config(vocab_size=words, n_positions=64, n_embd=32, n_layer=2, n_head=4,
                      bos_token_id=1, eos_token_id=2, pad_token_id=0)  # fmt: skip


def saved(folder, model, tokenizer=None):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.save_pretrained(folder)
    (build_tokenizer() if tokenizer is None else tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Random models of all architectures, on disk."""
    made = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, model in (
            ("gemma", GemmaForCausalLM(gemma())),
            ("gpt2", GPT2LMHeadModel(gpt2())),
            ("llama", AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))),
            *((name, AutoModelForCausalLM.from_config(config)) for name, config in SCALED.items()),
        ):
            made[name] = saved(tmp_path_factory.mktemp(name), model)
    return made


@pytest.fixture(params=["gemma", "gpt2", "llama", "gemma2", "cohere", "granite"])
def loaded(request, folders):
    return load_policy(folders[request.param])


def test_a_policy_is_frozen_and_has_no_dropout(loaded):
    model, tokenizer = loaded
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.dtype == torch.float32
    assert context_length(model) == 64
    assert tokenizer.pad_token == "<pad>"


def test_cached_sampling_has_the_probabilities_of_one_pass(loaded):
    """With left padding, tied embeddings, scaled embeddings and shared key-value heads."""
    model, tokenizer = loaded
    tokens, mask = encode_prompts(tokenizer, PROMPTS, limit=20)
    seen, sampling = [], Sampling(12)
    uniforms = sampling.uniforms(len(PROMPTS), torch.Generator().manual_seed(0))
    hook = model.base_model.register_forward_hook(
        lambda *call: seen.append(logits(model, call[2].last_hidden_state[:, -1]))
    )
    batch = sample(model, tokens, mask, sampling, eos=2, pad=0, uniforms=uniforms)
    hook.remove()
    logs = torch.log_softmax(torch.stack(seen, dim=1), -1)
    cached = logs.gather(-1, batch.responses[..., None])[..., 0] * batch.live
    assert logs.exp().std() > 0.005
    found = log_probabilities(model, batch)
    torch.testing.assert_close(found, cached, atol=FLOAT32, rtol=FLOAT32)
    reading = Actor(model)(batch).log_prob * batch.live
    torch.testing.assert_close(reading, cached, atol=FLOAT32, rtol=FLOAT32)


def test_the_loss_is_of_the_models_own_logits(loaded):
    model, tokenizer = loaded
    batch = encode(tokenizer, PROMPTS[:1], RESPONSES[:1], limit=40)
    own = model(batch.tokens).logits[0, batch.prompts.shape[1] - 1 : -1]
    expected = torch.nn.functional.cross_entropy(own, batch.responses[0])
    torch.testing.assert_close(
        negative_log_likelihood(model, batch), expected, atol=FLOAT32, rtol=FLOAT32
    )


@pytest.mark.parametrize("name", SCALED)
def test_a_head_without_its_config_would_be_of_another_policy(folders, name):
    model, _ = load_policy(folders[name])
    hidden = model.base_model(torch.arange(5)[None]).last_hidden_state[0]
    plain = model.get_output_embeddings()(hidden)
    moved = logits(model, hidden).log_softmax(-1) - plain.log_softmax(-1)
    assert moved.abs().max() > 0.1


def test_unknown_logits_are_refused(folders):
    model, _ = load_policy(folders["gpt2"])

    def doubled(_, __, out):
        out.logits *= 2
        return out

    model.register_forward_hook(doubled)
    with pytest.raises(InputError, match=r"GPT2LMHeadModel.*not supported yet"):
        check_logits(model)


def test_padding_changes_no_score(loaded):
    model, tokenizer = loaded
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reward = RewardModel(model.base_model, tokenizer, heads=2, limit=40).eval()
    together = reward.score(PROMPTS, RESPONSES).members
    alone = [reward.score([p], [r]).members for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    assert together.std(0).min() > 0.01
    torch.testing.assert_close(together, torch.cat(alone), atol=FLOAT32, rtol=FLOAT32)


def test_reward_models_train_on_a_trunk_without_a_head(folders):
    trunk, tokenizer = load_trunk(folders["gemma"])
    assert not hasattr(trunk, "lm_head")
    pairs = Pairs(tuple(PROMPTS), tuple(RESPONSES), tuple(RESPONSES[::-1]))[[0, 2]]
    settings = EnsembleSettings(members=2, training=RewardTraining(epochs=1, batch=2))
    ensemble = settings.train(trunk, tokenizer, pairs, limit=40, seed=0)
    assert ensemble(PROMPTS, RESPONSES).members.shape == (3, 2)


def test_precision(folders):
    assert load_policy(folders["gpt2"], dtype="bfloat16")[0].dtype == torch.bfloat16


def test_an_adapter_is_merged_into_its_base(folders, tmp_path):
    """So that further adapters, and the reference below them, start from the whole model."""
    base, tokenizer = load_policy(folders["gpt2"])
    Lora(rank=2).attach(base, "policy", seed=0)
    for name, parameter in base.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    batch = encode(tokenizer, PROMPTS, RESPONSES, limit=40)
    expected = log_probabilities(base.eval(), batch)
    base.save_pretrained(tmp_path)
    model, own = load_policy(tmp_path)
    assert own.pad_token == tokenizer.pad_token
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    plain = log_probabilities(load_policy(folders["gpt2"])[0], batch)
    found = log_probabilities(model, batch)
    assert (plain - found).abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=FLOAT32, rtol=FLOAT32)
    assert load_trunk(tmp_path)[0].config.hidden_size == 32


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the shared models")
def test_without_a_padding_token_the_end_pads(tmp_path):
    tokenizer = GPT2TokenizerFast.from_pretrained(MODELS / "gpt2-tokenizer")
    with torch.random.fork_rng():
        saved(tmp_path, GPT2LMHeadModel(gpt2(words=50257)), tokenizer)
    model, tokenizer = load_policy(tmp_path)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"
    batch = encode(tokenizer, ["A film", "I saw"], [" I liked.", " it twice, and again"], limit=40)
    assert (batch.responses == tokenizer.eos_token_id).sum() > 2
    assert batch.live.sum(1).tolist() == [4, 6]
    together = log_probabilities(model, batch)[0]
    alone = log_probabilities(model, encode(tokenizer, ["A film"], [" I liked."], limit=40))[0]
    torch.testing.assert_close(together[:4], alone, atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the shared models")
def test_a_pretrained_checkpoint():
    model, tokenizer = load_policy(MODELS / "stories260k")
    assert context_length(model) == 512
    assert load_trunk(MODELS / "stories260k")[0].config.hidden_size == model.config.hidden_size
    text = "Once upon a time, there was a little girl"
    shares = log_probabilities(model, encode(tokenizer, [text], [" named Lily."], limit=50))
    assert shares[0, :-1].mean() > -2


def judged(folder, labels=1, template=None):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GemmaForSequenceClassification(gemma(num_labels=labels))
        saved(folder, model, tokenizer)
    return model.eval()


def test_a_judge_reads_the_last_token_of_each_text(tmp_path):
    model = judged(tmp_path)
    judge = load_judge(tmp_path, batch=2)
    texts = [f"{p}{r}" for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    tokens = [build_tokenizer()(text, return_tensors="pt").input_ids for text in texts]
    expected = [model(row).logits.item() for row in tokens]
    found = judge(PROMPTS, RESPONSES)
    np.testing.assert_allclose(found, expected, atol=FLOAT32)
    assert found.std() > 0.01


def test_a_judge_uses_the_chat_template(tmp_path):
    model = judged(tmp_path, template=TEMPLATE)
    tokenizer = build_tokenizer()
    text = f"garden : {PROMPTS[0]} <bos> music : {RESPONSES[0]}"
    expected = model(tokenizer(text, return_tensors="pt").input_ids).logits.item()
    found = load_judge(tmp_path)(PROMPTS, RESPONSES)
    assert found[0] == pytest.approx(expected, abs=FLOAT32)


def test_a_judge_that_pools_by_itself(tmp_path):
    """An encoder: padding does not matter to it either."""
    config = DebertaV2Config(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, num_labels=1, pad_token_id=0,
        type_vocab_size=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(2)
        saved(tmp_path, DebertaV2ForSequenceClassification(config))
    judge = load_judge(tmp_path)
    alone = [judge([p], [r])[0] for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    np.testing.assert_allclose(judge(PROMPTS, RESPONSES), alone, atol=FLOAT32)


def test_a_language_model_is_no_judge(folders, tmp_path):
    with pytest.raises(InputError, match=r"num_labels = 1.* with 2"):
        load_judge(folders["gpt2"])
    judged(tmp_path, labels=3)
    with pytest.raises(InputError, match="with 3"):
        load_judge(tmp_path)


def test_weights_that_are_missing_are_not_made_up(folders, tmp_path):
    config = gpt2()
    config.num_labels = 1
    GPT2LMHeadModel(gpt2()).save_pretrained(tmp_path)
    config.save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"score\.weight.*random"):
        load_judge(tmp_path)


def test_long_texts_are_not_cut(tmp_path):
    judged(tmp_path)
    with pytest.raises(InputError, match="1 to 64 tokens for the judge"):
        load_judge(tmp_path)(PROMPTS[:1], ["the rose " * 40])


def test_what_is_refused(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for wrong, message in (
        ("nobody/no-such-model", "hf download nobody/no-such-model --local-dir.*--policy.*HF_HOME"),
        ("/no/such/folder", "an existing folder"),
        (tmp_path, "config.json or adapter_config.json"),
    ):
        with pytest.raises(InputError, match=message):
            load_policy(wrong)
    gpt2().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no weights"):
        load_policy(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(InputError, match=r"safetensors.*pytorch_model\.bin.*save_pretrained"):
        load_policy(tmp_path)
    AutoModelForCausalLM.from_config(gpt2()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="tokenizer"):
        load_policy(tmp_path)
    with pytest.raises(InputError, match="one of bfloat16, float16, float32"):
        load_policy(folders["gpt2"], dtype="float8")


def test_a_tokenizer_that_does_not_fit(folders, tmp_path):
    for change, message in (("eos", "one with a pad_token"), ("size", f"at most {WORDS} tokens")):
        tokenizer = build_tokenizer()
        if change == "eos":
            tokenizer.pad_token = tokenizer.eos_token = None
        else:
            tokenizer.add_tokens(["more"])
        saved(tmp_path, GPT2LMHeadModel(gpt2()), tokenizer)
        with pytest.raises(InputError, match=message):
            load_policy(tmp_path)


def test_fused_activations_are_the_models_own():
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config).eval()
        tokens = torch.randint(50, (2, 8))
    plain = deepcopy(model)
    fuse_activations(model)
    assert model.transformer.h[1].mlp.act.approximate == "tanh"
    found, expected = (m(tokens, labels=tokens) for m in (model, plain))
    torch.testing.assert_close(found.logits, expected.logits, atol=FLOAT32, rtol=FLOAT32)
    found.loss.backward()
    expected.loss.backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=FLOAT32, rtol=FLOAT32)
