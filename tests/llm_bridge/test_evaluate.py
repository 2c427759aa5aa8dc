"""Measures of texts, on texts written by hand and on those of real models."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_bridge.data.pairs import respond
from llm_bridge.embedded.language import Gold
from llm_bridge.embedded.tiny import CONTEXT
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.judging.evaluate import against, distinct, measure, side_by_side, summarise
from llm_bridge.judging.judges import EndpointJudge, mean_reward, score_judge
from llm_bridge.judging.markdown import markdown, save_tables
from llm_bridge.lm.sampling import Sampling
from tests.llm_bridge.chat_server import Answer, prompt_of, serving
from tests.tolerance import ALPHA, EXACT
from theory.errors import InputError

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260k"
PROMPTS = ["p", "q", "p", "q"]
TEXTS = {"long": ["a b a b", "c", "d e", ""], "short": ["a", "b", "c", "d"]}


def letters(_, texts):
    return np.array([len(text) for text in texts], dtype=float)


@pytest.fixture
def samples():
    return measure(TEXTS, PROMPTS, gold=letters, ended=lambda text: text.endswith("b"))


@pytest.fixture(scope="module")
def written(quick):
    """Two independent draws of the reference's responses."""
    model, tokenizer = quick.policy()

    def reference(seed):
        generator = torch.Generator().manual_seed(seed)
        return lambda prompts: respond(
            model, tokenizer, prompts, quick.sampling, limit=CONTEXT, generator=generator
        )

    policies = {"reference": reference(0), "again": reference(1)}
    return measure(
        policies, quick.prompts * 40,
        gold=Gold().all, normaliser=quick.normaliser(0), length=lambda text: len(text.split()),
    )  # fmt: skip


def test_measures_of_texts(samples):
    assert samples.columns.tolist() == [
        "policy", "seed", "prompt", "response", "gold", "length", "repetition", "ended",
    ]  # fmt: skip
    own = samples[samples.policy == "long"]
    assert own.length.tolist() == [7, 1, 3, 0]
    assert own.ended.tolist() == [True, False, False, False]
    assert own.repetition.iloc[0] == pytest.approx(1 / 3)
    assert own.repetition.isna().tolist() == [False, True, False, True]


def test_a_policy_may_be_a_function():
    one = measure({"shout": lambda prompts: [p.upper() for p in prompts]}, PROMPTS)
    pd.testing.assert_frame_equal(one, measure({"shout": ["P", "Q", "P", "Q"]}, PROMPTS))


def test_distinct_counts_over_all_texts():
    assert distinct(["a b c", "a b"]) == pytest.approx(2 / 3)
    assert distinct(["a a a a"], 1) == 0.25
    assert np.isnan(distinct(["a", ""]))


def test_summary(samples):
    table = summarise(samples, rng=np.random.default_rng(0), draws=200).set_index("policy")
    row = table.loc["long"]
    assert (row.responses, row.gold, row.length) == (4, 2.75, 2.75)
    assert row.gold_std == pytest.approx(np.std([7, 1, 3, 0], ddof=1))
    assert row.gold_low < row.gold < row.gold_high
    assert row.distinct_2 == pytest.approx(3 / 4)
    assert row.ended == 0.25
    short = table.loc["short"]
    assert short.gold_low == short.gold == short.gold_high == 1


def test_seeds_that_differ_are_what_is_uncertain():
    """Texts of a seed agree: many prompts do not make up for few seeds."""
    frames = [
        measure({"policy": ["x" * length] * 30}, [str(i) for i in range(30)],
                gold=letters, seed=seed)
        for seed, length in enumerate([1, 2, 5, 8])
    ]  # fmt: skip
    table = pd.concat(frames, ignore_index=True)
    width = {}
    for resample in ("seed", "response"):
        rng = np.random.default_rng(0)
        row = summarise(table, resample=resample, rng=rng, draws=400).iloc[0]
        width[resample] = row.gold_high - row.gold_low
    spread = np.std([1, 2, 5, 8])
    assert width["seed"] == pytest.approx(2 * 1.96 * spread / 2, rel=0.25)
    assert width["seed"] > 4 * width["response"]


def test_against_pairs_rows_and_knows_its_baseline(samples):
    rng = np.random.default_rng(0)
    table = against(samples, "short", score_judge(letters), resample="response", rng=rng, draws=20)
    (row,) = table.itertuples()
    assert (row.policy, row.baseline, row.pairs) == ("long", "short", 4)
    assert (row.win, row.tie, row.lose, row.win_rate) == (0.5, 0.25, 0.25, 0.625)
    assert row.longer == 0.5


def test_the_reference_against_itself_is_a_draw(written, quick):
    rng = np.random.default_rng(0)
    for judge in (Gold().all, mean_reward(quick.normaliser(0))):
        table = against(
            written, "reference", score_judge(judge),
            resample="response", level=1 - ALPHA, rng=rng, draws=20,
        )  # fmt: skip
        (row,) = table.itertuples()
        assert row.win_rate_low <= 0.5 <= row.win_rate_high
        assert row.p_value > ALPHA
        assert row.pairs == 240


def test_policies_of_the_embedded_language_are_summarised(written, quick):
    table = summarise(written, resample="response", rng=np.random.default_rng(0), draws=50)
    for name, row in table.set_index("policy").iterrows():
        own = written[written.policy == name]
        scores = quick.normaliser(0)(own.prompt.tolist(), own.response.tolist())
        assert row.proxy == pytest.approx(float(scores.mean().mean()), abs=1e-5)
        assert row.member_std == pytest.approx(float(scores.std().mean()), abs=1e-5)
        assert row.gold == pytest.approx(
            Gold().all(own.prompt.tolist(), own.response.tolist()).mean(), abs=EXACT
        )
        assert 0 <= row.repetition < 1
        assert row.length > 1


@pytest.mark.skipif(not STORIES.is_dir(), reason="needs the stories260k checkpoint")
def test_a_model_that_tells_stories_gives_no_verdicts_and_none_are_made_up(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(STORIES).eval()
    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    generator = torch.Generator().manual_seed(0)

    def answer(asked):
        tokens = tokenizer(prompt_of(asked)).input_ids[-200:]
        tail = tokenizer.decode(tokens, skip_special_tokens=True)
        (reply,) = respond(
            model, tokenizer, [tail], Sampling(asked["max_tokens"], temperature=0.1),
            limit=400, generator=generator,
        )  # fmt: skip
        return Answer(reply)

    samples = measure(TEXTS, PROMPTS)
    with serving(answer) as server:
        judge = EndpointJudge(Endpoint(server.url, "stories260k", tokens=24, cache=tmp_path))
        verdicts = judge(PROMPTS, TEXTS["long"], TEXTS["short"])
        table = against(
            samples, "short", judge, resample="response", rng=np.random.default_rng(0), draws=10
        )
    assert len(server.asked) == 8
    assert np.isnan(verdicts.outcomes).all()
    assert verdicts.faults == {"unparsed": 8}
    (row,) = table.itertuples()
    assert (row.pairs, row.missing) == (0, 4)
    assert np.isnan([row.win_rate, row.win, row.length_controlled, row.disagreement]).all()


def test_texts_side_by_side(samples):
    table = side_by_side(samples)
    assert table.columns.tolist() == ["prompt", "long", "short"]
    assert table.values.tolist() == [["p", "a b a b", "a"], ["q", "c", "b"]]
    assert len(side_by_side(samples, prompts=1)) == 1


def test_markdown_shows_any_text_in_one_cell():
    texts = ["a|b", "one\ntwo\r\nthree", "back\\|slash", "<b>&", ""]
    lines = markdown(pd.DataFrame({"text": texts, "number": [0.5] * 5})).splitlines()
    assert len(lines) == 7
    assert all(line.replace("\\\\", "").replace("\\|", "").count("|") == 3 for line in lines)
    assert lines[3] == "| one<br>two<br>three | 0.500 |"
    assert lines[4] == "| back\\\\\\|slash | 0.500 |"


def test_tables_are_saved_twice_and_read_back(samples, tmp_path):
    paths = save_tables(tmp_path / "out", {"samples": samples, "texts": side_by_side(samples)})
    assert [path.name for path in paths] == ["samples.csv", "samples.md", "texts.csv", "texts.md"]
    read = pd.read_csv(paths[0], keep_default_na=False, na_values={"repetition": [""]})
    pd.testing.assert_frame_equal(read, samples, check_dtype=False)


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda rows, rng: measure({"a": ["x"]}, PROMPTS), "policies"),
        (lambda rows, rng: summarise(rows, resample="word", rng=rng), "resample"),
        (lambda rows, rng: summarise(rows, resample="seed", rng=rng), "clusters"),
        (lambda rows, rng: summarise(rows.assign(gold=np.nan), rng=rng), "gold"),
        (lambda rows, rng: against(rows, "none", score_judge(letters), rng=rng), "baseline"),
        (lambda rows, rng: against(rows[1:], "short", score_judge(letters), rng=rng), "samples"),
        (lambda rows, rng: distinct(["a"], 0), "n"),
    ],
)
def test_bad_input(samples, wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong(samples, np.random.default_rng(0))
