"""Padded batches, sampling on a cache, and log-probabilities: padding changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2TokenizerFast

from llm_bridge.data.pairs import decode
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.lm.actor import Actor, log_probabilities
from llm_bridge.lm.sampling import Sampling, choose, draw, sample
from llm_bridge.lm.tokens import Batch, encode, encode_prompts, positions
from tests.tolerance import ALPHA, FLOAT32
from theory.errors import InputError
from theory.intervals import clopper_pearson

MODELS = Path(__file__).parents[3] / "shared" / "models"
TOKENIZER = build_tokenizer()
PROMPTS = ["garden :", "the rose is garden :", "music :"]
RESPONSES = ["the rose is bright .", "the pond is kind and the lawn is calm .", "the song ."]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("tiny", TOKENIZER).eval()


def drawn(model, sampling, prompts=PROMPTS, seed=0):
    tokens, mask = encode_prompts(TOKENIZER, prompts, limit=20)
    uniforms = sampling.uniforms(len(prompts), torch.Generator().manual_seed(seed))
    return sample(
        model, tokens, mask, sampling, eos=TOKENIZER.eos_token_id, pad=TOKENIZER.pad_token_id,
        uniforms=uniforms,
    )  # fmt: skip


def test_prompts_stand_right_and_responses_left():
    batch = encode(TOKENIZER, PROMPTS, RESPONSES, limit=40)
    assert batch.prompt_mask[:, -1].all()
    assert batch.live[:, 0].all()
    assert batch.responses[0, 5] == TOKENIZER.eos_token_id
    assert batch.positions[0].tolist()[:4] == [0, 0, 0, 0]
    assert batch.positions[1].tolist() == list(range(batch.tokens.shape[1]))


def test_prompt_and_response_are_the_text_that_was_written(model):
    """And are read as the tokens that were drawn, which the tokenizer's words determine."""
    batch = drawn(model, Sampling(12), PROMPTS * 20)
    texts = decode(TOKENIZER, batch)
    written = TOKENIZER.batch_decode(batch.tokens, skip_special_tokens=True)
    assert [p + t for p, t in zip(PROMPTS * 20, texts, strict=True)] == written
    usual = encode(TOKENIZER, PROMPTS, RESPONSES, limit=40)
    assert decode(TOKENIZER, usual) == [f" {text}" for text in RESPONSES]
    again = encode(TOKENIZER, PROMPTS, decode(TOKENIZER, usual), limit=40)
    assert torch.equal(again.responses, usual.responses)


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the shared models")
@pytest.mark.parametrize("prompt", ["One day, a big dog", "One day, a big d", "A story.\n"])
def test_a_tokenizer_that_puts_a_space_before_a_text(prompt):
    """Tokens come back wherever they are those that the tokenizer makes of their text."""
    model = AutoModelForCausalLM.from_pretrained(MODELS / "stories260k").eval()
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "stories260k")
    prompts, sampling = [prompt] * 60, Sampling(8, 0.5)
    uniforms = sampling.uniforms(60, torch.Generator().manual_seed(0))
    batch = draw(model, tokenizer, prompts, sampling, limit=100, uniforms=uniforms)
    texts = decode(tokenizer, batch)
    again = encode(tokenizer, prompts, texts, limit=100, empty=True)
    assert decode(tokenizer, again) == texts
    before, same = tokenizer(prompt).input_ids, []
    for row, text in enumerate(texts):
        tokens, found = (
            b.responses[row][b.live[row] & (b.responses[row] != tokenizer.eos_token_id)].tolist()
            for b in (batch, again)
        )
        same.append(tokens == found)
        assert same[-1] or tokenizer(prompt + text).input_ids != before + tokens
    assert np.mean(same) > 0.7


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the shared models")
def test_a_tokenizer_that_puts_no_space_before_a_text():
    tokenizer = GPT2TokenizerFast.from_pretrained(MODELS / "gpt2-tokenizer")
    tokenizer.pad_token = tokenizer.eos_token
    texts = [" was here.", "ily", "\n\nThen", "\n  x", "  two", "caf\u00e9 \U0001f600", ""]
    batch = encode(tokenizer, ["The girl L"] * len(texts), texts, limit=40, empty=True)
    assert decode(tokenizer, batch) == texts
    for row, live, text in zip(batch.responses, batch.live, texts, strict=True):
        assert row[live].tolist() == [*tokenizer(text).input_ids, tokenizer.eos_token_id]


def test_positions_count_what_is_not_padding():
    mask = torch.tensor([[False, True, True], [True, True, False]])
    assert positions(mask).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_padding_changes_no_probability(model):
    """On either side: a batch says of each text what the text alone says."""
    together = log_probabilities(model, encode(TOKENIZER, PROMPTS, RESPONSES, limit=40))
    for row in range(3):
        alone = encode(TOKENIZER, PROMPTS[row : row + 1], RESPONSES[row : row + 1], limit=40)
        width = alone.responses.shape[1]
        expected = log_probabilities(model, alone)[0]
        torch.testing.assert_close(together[row, :width], expected, atol=FLOAT32, rtol=FLOAT32)
        assert (together[row, width:] == 0).all()


def test_trimming_takes_padding_only(model):
    batch = encode(TOKENIZER, PROMPTS, RESPONSES, limit=40)
    part = batch[torch.tensor([2])].trimmed()
    assert part.tokens.shape[1] == int(part.mask.sum())
    whole = log_probabilities(model, batch)[2]
    torch.testing.assert_close(
        log_probabilities(model, part)[0], whole[: part.live.shape[1]], atol=FLOAT32, rtol=FLOAT32
    )


def test_log_probabilities_are_those_of_the_model_as_it_stands(model):
    batch = encode(TOKENIZER, PROMPTS[:1], RESPONSES[:1], limit=40)
    logits = model(batch.tokens).logits[0]
    expected = torch.log_softmax(logits / 0.7, -1)[2:-1]
    expected = expected.gather(-1, batch.responses[0][:, None])[:, 0]
    found = log_probabilities(model, batch, temperature=0.7)[0]
    torch.testing.assert_close(found, expected.detach(), atol=FLOAT32, rtol=FLOAT32)
    reading = Actor(model, temperature=0.7)(batch)
    torch.testing.assert_close(reading.log_prob[0].detach(), found, atol=FLOAT32, rtol=FLOAT32)
    assert (reading.value == 0).all()


def test_responses_end_at_their_first_end(model):
    batch = drawn(model, Sampling(12), PROMPTS * 20)
    for tokens, live in zip(batch.responses, batch.live, strict=True):
        ends = (tokens == TOKENIZER.eos_token_id).nonzero()[:, 0]
        length = int(ends[0]) + 1 if len(ends) else 12
        assert int(live.sum()) == min(length, batch.live.shape[1])
        assert (tokens[length:] == TOKENIZER.pad_token_id).all()


def test_cached_sampling_follows_the_model(model):
    """Frequencies of the second token, which the cache predicts, given the first."""
    batch = drawn(model, Sampling(2, temperature=1.3), ["garden :"] * 6000)
    first = batch.responses[:, 0].mode().values
    rows = batch.responses[:, 0] == first
    prompt = TOKENIZER("garden :").input_ids
    logits = model(torch.tensor([[*prompt, int(first)]])).logits[0, -1] / 1.3
    shares = logits.softmax(-1)
    counts = torch.bincount(batch.responses[rows, 1], minlength=len(shares))
    for share, count in zip(shares.tolist(), counts.tolist(), strict=True):
        assert share in clopper_pearson(count, int(rows.sum()), ALPHA)


def test_a_response_does_not_depend_on_those_beside_it(model):
    together = drawn(model, Sampling(12), PROMPTS[:1] * 9)
    uniforms = Sampling(12).uniforms(9, torch.Generator().manual_seed(0))
    alone = draw(model, TOKENIZER, PROMPTS[:1], Sampling(12), limit=40, uniforms=uniforms[4:5])
    width = alone.responses.shape[1]
    assert torch.equal(alone.responses[0], together.responses[4, :width])
    assert len(set(map(tuple, together.responses.tolist()))) > 5


@given(
    st.lists(st.sampled_from([0.0, 1e-30, 0.1, 1.0]), min_size=1, max_size=9).filter(any),
    st.sampled_from([0.0, 0.1, 0.5, 1 - 2**-24]),
)
def test_words_stand_where_their_shares_add_up(weights, uniform):
    shares = torch.tensor([weights]) / sum(weights)
    word = int(choose(shares, torch.tensor([[uniform]])))
    assert shares[0, word] > 0
    before, after = shares[0, :word].sum().item(), shares[0, : word + 1].sum().item()
    assert before - FLOAT32 <= uniform <= after + FLOAT32


def test_cuts_keep_the_most_likely():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    assert Sampling(top_k=2).cut(logits).isfinite().tolist() == [[True, True, False, False]]
    assert Sampling(top_p=0.6).cut(logits).isfinite().tolist() == [[True, True, False, False]]
    assert Sampling(top_p=0.5).cut(logits).isfinite().tolist() == [[True, False, False, False]]
    assert Sampling().cut(logits).isfinite().all()
    assert Sampling(top_k=1).truncated
    assert not Sampling().truncated


def test_moving_and_choosing_rows():
    batch = encode(TOKENIZER, PROMPTS, RESPONSES, limit=40)
    assert len(batch[torch.tensor([0, 2])]) == 2
    assert isinstance(batch.to("cpu"), Batch)


class Unpadded:
    pad_token, eos_token = None, "</s>"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: encode_prompts(Unpadded(), ["a"], limit=4), "one with a pad_token"),
        (lambda: encode_prompts(TOKENIZER, ["garden :", " "], limit=9), "not empty"),
        (lambda: encode_prompts(TOKENIZER, PROMPTS, limit=4), "at most 4 tokens.*6 tokens"),
        (lambda: encode(TOKENIZER, PROMPTS[:1], [""], limit=9), "responses.*not empty"),
        (lambda: encode(TOKENIZER, PROMPTS, RESPONSES, limit=12), "within 12 tokens"),
        (lambda: Sampling(tokens=0), "tokens"),
        (lambda: Sampling(temperature=0.0), "temperature"),
        (lambda: Sampling(top_p=0.0), "top_p"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
