"""Published data formats, and rows that must not be used silently."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2TokenizerFast

from llm_bridge.data.formats import ASSISTANT, HUMAN, Reader
from llm_bridge.data.reading import read_pairs, read_prompts, read_texts
from llm_bridge.embedded.tiny import build_tokenizer
from theory.errors import InputError

SHARED = Path(__file__).parents[3] / "shared"
REVIEWS = SHARED / "data" / "imdb_reviews_2500.csv.gz"
GPT2 = SHARED / "models" / "gpt2-tokenizer"
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "json": lambda frame, path: frame.to_json(path, orient="records"),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path),
}
TEMPLATE = (
    "{{ bos_token }} {% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def file(tmp_path):
    def write(kind="jsonl", **columns):
        path = tmp_path / f"data.{kind}"
        WRITERS[kind](pd.DataFrame(columns), path)
        return path

    return write


def said(role, content):
    return {"role": role, "content": content}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_kind_of_file(file, kind):
    """Words that pandas would take for numbers or missing values stay words."""
    path = file(kind, prompt=["a :", "b :"], chosen=["None", "007"], rejected=["NA", "7"])
    pairs = read_pairs(path)
    assert (pairs.prompts, pairs.chosen, pairs.rejected) == (
        ("a :", "b :"),
        ("None", "007"),
        ("NA", "7"),
    )
    assert read_prompts(path) == ["a :", "b :"]
    assert read_texts(path) == [("a :", "None"), ("b :", "007")]


WORDS = st.text("ab :\n", min_size=1, max_size=8).filter(str.strip)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS, WORDS)
def test_transcripts_are_cut_at_the_last_turn_that_both_share(turns, chosen, rejected):
    """However much the two responses have in common."""
    prompt = "".join(f"{HUMAN} {turn}{ASSISTANT} {turn}" for turn in turns)
    prompt += f"{HUMAN} again{ASSISTANT}"
    row = {"chosen": prompt + chosen, "rejected": prompt + rejected}
    found = Reader(None, (1, 1), None, None).preference(row)
    assert found.prompt == prompt
    assert found.responses == (chosen, rejected)


def test_transcripts_of_hh_rlhf(file):
    start = f"{HUMAN} Hi{ASSISTANT} Hello.{HUMAN} Why?{ASSISTANT}"
    pairs = read_pairs(file(chosen=[f"{start} I can."], rejected=[f"{start} I will not."]))
    assert pairs.prompts == (start,)
    assert pairs.chosen == (" I can.",)
    assert pairs.rejected == (" I will not.",)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_conversations(file, kind):
    """Implicit prompt, explicit prompt, and a prompt in text, as TRL has them."""
    talk = [said("user", "a"), said("assistant", "b"), said("user", "c")]
    good, bad = said("assistant", "good"), said("assistant", "bad")
    rendered = f"{HUMAN} a{ASSISTANT} b{HUMAN} c{ASSISTANT}"
    for columns, prompt in (
        ({"chosen": [[*talk, good]], "rejected": [[*talk, bad]]}, rendered),
        ({"prompt": [talk], "chosen": [[good]], "rejected": [[bad]]}, rendered),
        ({"prompt": ["c"], "chosen": [[good]], "rejected": [[bad]]}, f"{HUMAN} c{ASSISTANT}"),
        (
            {
                "prompt": ["c"],
                "chosen": [[said("user", "c"), good]],
                "rejected": [[said("user", "c"), bad]],
            },
            f"{HUMAN} c{ASSISTANT}",
        ),
    ):
        pairs = read_pairs(file(kind, **columns))
        assert (pairs.prompts, pairs.chosen, pairs.rejected) == ((prompt,), ("good",), ("bad",))
    assert read_prompts(file(kind, prompt=[talk])) == [rendered]
    assert read_texts(file(kind, prompt=[talk], completion=[[good]])) == [(rendered, "good")]


def test_a_chat_template_starts_a_text_once(file):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    talk = [said("user", "the rose")]
    prompt = read_prompts(file(prompt=[talk]), tokenizer=tokenizer)[0]
    assert prompt.strip() == "user the rose assistant :"
    whole = tokenizer.apply_chat_template(talk, add_generation_prompt=True).input_ids
    assert tokenizer(prompt).input_ids == whole
    tokenizer.chat_template = "{{ raise_exception('no such role') }}"
    with pytest.raises(InputError, match=r"template refuses .no such role"):
        read_prompts(file(prompt=[talk]), tokenizer=tokenizer)


def test_posts_to_summarise(file):
    path = file(subreddit=["r/pets"], title=["A dog"], post=["It barks."], summary=[" It does."])
    prompt = "SUBREDDIT: r/pets\n\nTITLE: A dog\n\nPOST: It barks.\n\nTL;DR:"
    assert read_texts(path) == [(prompt, " It does.")]
    path = file(prompt=[prompt], label=["It does."])
    assert read_prompts(path) == [prompt]
    assert read_texts(path) == [(prompt, "It does.")]


@pytest.mark.skipif(not (REVIEWS.is_file() and GPT2.is_dir()), reason="needs reviews and tokenizer")
def test_prompts_are_the_start_of_reviews(file):
    tokenizer = GPT2TokenizerFast.from_pretrained(GPT2)
    reviews = pd.read_csv(REVIEWS, nrows=700).review
    path = file("csv.gz", review=reviews, sentiment="positive")
    texts = read_texts(path, tokenizer=tokenizer, rng=rng(), continuation=10)
    assert all(
        review.startswith(prompt + response)
        for review, (prompt, response) in zip(reviews, texts, strict=True)
    )
    prompts, responses = zip(*texts, strict=True)
    lengths = np.array([len(row) for row in tokenizer(list(prompts)).input_ids])
    counts = np.bincount(lengths, minlength=10)
    assert counts[:2].sum() == 0
    assert np.abs(counts[2:9] - len(texts) / 7).max() < 5 * np.sqrt(len(texts) / 7)
    assert counts[9:].sum() <= 2
    after = [len(row) for row in tokenizer(list(responses)).input_ids]
    assert np.mean(np.equal(after, 10)) > 0.99
    drawn = read_prompts(path, tokenizer=tokenizer, rng=rng(), count=300)
    assert len(set(drawn)) == 300
    assert drawn == read_prompts(path, tokenizer=tokenizer, rng=rng(), count=300)


def test_bad_rows_are_counted_or_dropped_aloud(file):
    path = file(
        prompt=["a", " ", "c", "d", "e", None],
        chosen=["x", "x", None, "x", "long " * 12, "x"],
        rejected=["y", "y", "y", "x", "y", "y"],
    )
    message = (
        r"2 with an empty prompt .first: line 2.; 1 with an empty response .first: line 3.; "
        r"1 with equal responses .first: line 4.; 1 beyond 12 tokens .first: line 5., "
        r"of 6 rows of data.jsonl"
    )
    tokenizer = build_tokenizer()
    with pytest.raises(InputError, match=message + ".*drop_bad=True"):
        read_pairs(path, tokenizer=tokenizer, limit=12)
    with pytest.warns(UserWarning, match=message):
        pairs = read_pairs(path, tokenizer=tokenizer, limit=12, drop_bad=True)
    assert pairs.prompts == ("a",)


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        ("Good.", "Bad.", "without a shared"),
        (f"{HUMAN} a{ASSISTANT} b", f"{HUMAN} c{ASSISTANT} b", "without a shared"),
        (
            f"{HUMAN} a{ASSISTANT} b",
            f"{HUMAN} a{ASSISTANT} b{HUMAN} c{ASSISTANT} d",
            "with several turns",
        ),
        ([said("assistant", "a")], [said("assistant", "b")], "without a prompt"),
        (
            [said("user", "a"), said("assistant", "b")],
            [said("user", "c"), said("assistant", "d")],
            "that both responses share",
        ),
        (
            [said("user", "a"), said("user", "b")],
            [said("user", "a"), said("assistant", "d")],
            "not ended by the assistant",
        ),
        ([1, 2], [3, 4], "neither text nor messages"),
    ],
)
def test_rows_that_are_no_comparison(file, chosen, rejected, message):
    with pytest.raises(InputError, match=f"1 .*{message}.*line 1"):
        read_pairs(file(chosen=[chosen], rejected=[rejected]))


def test_unknown_columns_are_named(file):
    with pytest.raises(InputError, match=r"preference: chosen, rejected.*columns question, answer"):
        read_prompts(file(question=["a"], answer=["b"]))
    with pytest.raises(InputError, match=r"chosen, rejected.*columns text"):
        read_pairs(file(text=["a"]))
    with pytest.raises(InputError, match=r"tldr: subreddit, title, post.*columns prompt"):
        read_prompts(file(prompt=["a"]), format="tldr")
    with pytest.raises(InputError, match=r"format.*imdb"):
        read_prompts(file(prompt=["a"]), format="imbd")
    with pytest.raises(
        InputError, match="1 without a column response, completion, summary or label"
    ):
        read_texts(file(prompt=["a"]))


def test_what_is_asked_must_be_possible(file):
    path = file(text=["the rose is bright"], prompt=["a"])
    tokenizer = build_tokenizer()
    for options, message in (
        ({"count": 2, "rng": rng()}, "at most the 1 there are"),
        ({"count": 1}, "rng.*given"),
        ({"format": "imdb"}, "tokenizer.*fast"),
        ({"limit": 3}, "tokenizer.*count tokens"),
        ({"tokens": (4, 2)}, "tokens"),
        (
            {"format": "imdb", "tokenizer": tokenizer, "rng": rng(), "tokens": (4, 9)},
            "longer than 4",
        ),
    ):
        with pytest.raises(InputError, match=message):
            read_prompts(path, **options)
    with (
        pytest.warns(UserWarning, match="rows left out"),
        pytest.raises(InputError, match="none of"),
    ):
        read_prompts(file(prompt=[" "]), drop_bad=True)
    with pytest.raises(InputError, match="existing file"):
        read_prompts("no-such.csv")


def test_data_sets_of_the_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"\.jsonl.*stanfordnlp/imdb.*pip install datasets"):
        read_prompts("stanfordnlp/imdb")

    def load_dataset(name, split, revision):
        if name != "some/prompts":
            raise ConnectionError("no route")
        told = split if revision is None else f"{split} of {revision}"
        return SimpleNamespace(to_pandas=lambda: pd.DataFrame({"prompt": [told]}))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert read_prompts("some/prompts", split="test") == ["test"]
    assert read_prompts("some/prompts@v1", split="test") == ["test of v1"]
    with pytest.raises(InputError, match=r"no route.*to_parquet"):
        read_prompts("some/other")
