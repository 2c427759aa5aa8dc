"""The embedded language and its reward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bridge.embedded.language import (
    BAD,
    GOOD,
    NOUNS,
    TOPIC_OF,
    TOPICS,
    WORDS,
    Corpus,
    Gold,
    prompt,
)
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from tests.tolerance import EXACT

GARDEN = prompt("garden")


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("the rose is bright .", 1.0),
        ("the oven is bright .", 0.25),
        ("the rose is dull .", -1.0),
        ("the oven is very dull .", -0.25),
        ("the rose is bright and the pond is kind .", 2.0),
        ("the rose is bright and the rose is kind .", 0.0),
        ("the rose is bright and the pond is bright .", 0.0),
        ("the rose is bright", 0.0),
        ("the rose bright .", -1.0),
        ("the rose is bright and .", 0.0),
        ("the rose is very very bright .", -1.0),
        ("garden .", -1.0),
        ("", -2.0),
    ],
)
def test_rewards_of_known_responses(response, reward):
    assert abs(Gold()(GARDEN, response) - reward) < EXACT


def test_every_word_beyond_the_free_ones_costs():
    long = "the rose is bright and " + "very " * 30 + "."
    short = "the rose is bright and very ."
    assert abs(Gold()(GARDEN, short) - Gold()(GARDEN, long) - 0.1 * 12) < EXACT


@given(st.integers(0, 10**6))
def test_the_corpus_is_grammatical_and_on_its_shares(seed):
    for asked, response in Corpus(repeats=0.0).write(5, np.random.default_rng(seed)):
        clauses = response.removesuffix(" .").split(" and ")
        on_topic = [TOPIC_OF[clause.split()[1]] == asked.split()[0] for clause in clauses]
        signs = [1 if clause.split()[-1] in GOOD else -1 for clause in clauses]
        worth = sum(s * (1 if own else 0.25) for s, own in zip(signs, on_topic, strict=True))
        assert abs(Gold()(asked, response) - worth) < EXACT


def test_shares_of_the_corpus():
    texts = Corpus().write(3000, np.random.default_rng(0))
    words = " ".join(response for _, response in texts).split()
    good, bad = (sum(word in group for word in words) for group in (GOOD, BAD))
    assert abs(good / (good + bad) - 0.67) < 0.03
    on_topic = [
        TOPIC_OF[word] == asked.split()[0]
        for asked, response in texts
        for word in response.split()
        if word in TOPIC_OF
    ]
    assert abs(np.mean(on_topic) - 0.6) < 0.03


def test_the_tokenizer_knows_every_word_and_gives_texts_back():
    tokenizer = build_tokenizer()
    text = " ".join(WORDS)
    tokens = tokenizer(text).input_ids
    assert len(tokens) == len(WORDS) + 1
    assert tokens[0] == tokenizer.bos_token_id
    assert tokenizer.decode(tokens, skip_special_tokens=True) == text
    assert len(set(WORDS)) == len(WORDS)
    assert {noun for nouns in NOUNS.values() for noun in nouns} == set(TOPIC_OF)


def test_sizes_are_as_stated():
    tokenizer = build_tokenizer()
    for size, millions in (("tiny", 0.1), ("small", 0.35), ("medium", 0.8)):
        count = sum(p.numel() for p in build_model(size, tokenizer).parameters())
        assert abs(count / 1e6 - millions) < 0.1 * millions + 0.01
    assert len(TOPICS) == 6
