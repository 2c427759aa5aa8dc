"""Worlds of a user's own checkpoints and data."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from llm_bridge.commands.training import Compare, compare
from llm_bridge.data.pairs import Checked, Labelling, Pairs
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.judging.kindness import Kindness
from llm_bridge.lm.sampling import Sampling
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.sources import Checkpoint
from llm_bridge.text_world import TextWorld
from theory.errors import InputError
from theory.presets import ensemble_mean
from theory.records import Records

SHARED = Path(__file__).parents[3] / "shared"
STORIES, GPT2_TOKENIZER = SHARED / "models" / "stories260k", SHARED / "models" / "gpt2-tokenizer"
REVIEWS = SHARED / "data" / "imdb_reviews_2500.csv.gz"
QUESTIONS = ("Once upon a time, there was a little", "One day, a big dog", "Tom went to the")
SMALL = EnsembleSettings("heads", 2, training=RewardTraining(epochs=1))
needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="needs the stories260k checkpoint")
needs_reviews = pytest.mark.skipif(
    not (REVIEWS.is_file() and GPT2_TOKENIZER.is_dir()), reason="needs IMDB reviews and a tokenizer"
)


def words(prompts, responses):
    """A judge of one's own."""
    return np.array([float(len(set(text.split()))) for text in responses])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with random weights."""
    path, tokenizer = tmp_path_factory.mktemp("checkpoint"), build_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build_model("tiny", tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def small_world(source, tmp_path):
    return TextWorld(source, Labelling(24), SMALL, 8, sampling=Sampling(8), cache=tmp_path)


@needs_stories
def test_the_comparison_runs_on_a_pretrained_model(tmp_path, capsys):
    prompts = tmp_path / "prompts.csv"
    pd.DataFrame({"prompt": QUESTIONS}).to_csv(prompts, index=False)
    compare(
        Compare(
            policy=str(STORIES),
            reward=(str(STORIES),),
            prompts=str(prompts),
            count=3,
            labelling=Labelling(24),
            ensemble=SMALL,
            references=8,
            sampling=Sampling(8),
            seeds=1,
            objective=("vanilla", "variance_aware"),
            steps=2,
            ppo=Settings(batch=8),
            cache=tmp_path / "cache",
            out=tmp_path / "out",
        )
    )
    rows = Records.open(tmp_path / "out").rows()
    assert set(rows.world) == {"stories260k"}
    assert rows.length.max() <= 8
    assert np.isfinite(rows[["gold", "proxy", "kl"]]).all().all()


@needs_reviews
def test_prompts_of_reviews_and_a_reward_model_of_another_vocabulary(folder, tmp_path):
    """The policy is a GPT-2 of random weights, with that model's own words."""
    tokenizer = GPT2TokenizerFast.from_pretrained(GPT2_TOKENIZER)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    judge = "tests.llm_bridge.test_sources:words"
    source = Checkpoint(
        str(tmp_path / "gpt2"), str(REVIEWS), (str(folder), str(folder)), judge, count=6
    )
    world = small_world(source, tmp_path / "cache")
    lengths = [len(tokenizer(prompt).input_ids) for prompt in world.prompts]
    assert len(set(world.prompts)) == 6
    assert min(lengths) >= 2
    assert max(lengths) <= 8
    assert world.normaliser(0).table.members.shape == (6, 8, 2 * 2)
    score = world.gold(["x"], ["one two two"])
    assert score.tolist() == [2.0]


def test_given_comparisons_are_split_and_flipped(folder, tmp_path):
    rows = [
        {"prompt": "garden :", "chosen": f"the rose is {w} .", "rejected": "the rose is dull ."}
        for w in ("bright", "kind", "fresh", "calm", "clear", "warm", "neat", "brave") * 5
    ]
    file = tmp_path / "pairs.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    source = Checkpoint(str(folder), ("garden :", "music :"), (), None, str(file))
    world = small_world(source, tmp_path / "cache")
    learnt, held_out = world.pairs(0), world.pairs(0, held_out=True)
    assert (len(learnt), len(held_out)) == (24, 5)
    assert not set(learnt.chosen) & set(held_out.chosen)
    assert world.gold is None
    assert set(learnt.rejected) == {"the rose is dull ."}
    noisy = replace(world, labelling=Labelling(24, noise=0.4)).pairs(0)
    assert 0 < sum(text == "the rose is dull ." for text in noisy.chosen) < 24
    assert world.pairs(1).chosen != learnt.chosen
    row = next(
        iter(world.train(ensemble_mean(0.1), Settings(batch=8), [0], steps=1, evaluate_every=1))
    )
    assert "gold" not in row


def test_another_checkpoint_in_the_folder_is_another_world(folder, tmp_path):
    before = Checkpoint(str(folder), QUESTIONS)
    assert before == Checkpoint(str(folder), QUESTIONS)
    (folder / "note.txt").write_text("changed")
    assert before != Checkpoint(str(folder), QUESTIONS)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([1.0], "2 finite numbers"),
        ([1.0, float("nan")], "finite"),
        ([[1.0], [2.0]], r"shape \(2, 1\)"),
    ],
)
def test_judges_that_do_not_judge(rewards, message):
    with pytest.raises(InputError, match=message):
        Checked(lambda *_: rewards)(["a", "b"], ["x", "y"])


def test_a_judge_may_give_a_list():
    assert Checked(lambda *_: [1, 2])(["a", "b"], ["x", "y"]).tolist() == [1.0, 2.0]


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 3), min_size=2), st.integers(0, 9))
def test_parts_of_comparisons_have_nothing_in_common(rows, seed):
    pairs = Pairs(*(tuple(map(str, column)) for column in zip(*rows, strict=True)))
    if len(set(rows)) < 2:
        with pytest.raises(InputError, match="different"):
            pairs.split(0.1, rng=np.random.default_rng(seed))
        return
    parts = pairs.split(0.1, rng=np.random.default_rng(seed))
    keys = [set(zip(p.prompts, p.chosen, p.rejected, strict=True)) for p in parts]
    assert not keys[0] & keys[1]
    assert sum(map(len, parts)) == len(rows)
    assert min(map(len, parts)) > 0
    if len(set(pairs.prompts)) >= 10:
        assert not set(parts[0].prompts) & set(parts[1].prompts)


def test_what_a_judge_says_is_part_of_its_world(folder, tmp_path, monkeypatch):
    module = tmp_path / "mine.py"
    module.write_text("def reward(prompts, responses):\n    return [1.0] * len(responses)\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = Checkpoint(str(folder), QUESTIONS, judge="mine:reward")
    module.write_text("def reward(prompts, responses):\n    return [-1.0] * len(responses)\n")
    importlib.invalidate_caches()
    assert before != Checkpoint(str(folder), QUESTIONS, judge="mine:reward")


def test_kindness():
    judge = Kindness()
    kind = "She was happy and kind. They shared a smile and they shared a hug."
    assert judge("The dog ran away.") == 0
    assert judge(kind) == pytest.approx(0.5 * 4 - 3 * (2 / 13))
    assert judge("happy " * 10) < 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"judge": None}, "name a judge"),
        ({"count": 0}, "count"),
        ({"judge": "no.such.module:judge"}, "importable"),
    ],
)
def test_bad_input(folder, wrong, message):
    with pytest.raises(InputError, match=message):
        Checkpoint(**{"policy_path": str(folder), "questions": QUESTIONS, **wrong}).gold()
