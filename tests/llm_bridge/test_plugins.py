"""What functions of a user's own return: the right shape passes, every other is refused by name."""

import datetime
import decimal
import sys
import types
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from llm_bridge.commands.training import Ppo, ppo
from llm_bridge.data.pairs import Checked, Labelling, sample_pairs
from llm_bridge.judging.evaluate import against, measure
from llm_bridge.judging.judges import Verdicts, score_judge
from llm_bridge.judging.named import judge_of, try_judge
from llm_bridge.refining.experts import reward_expert
from llm_bridge.rewards.fusion import Fusion, scored
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.rewards.rewardbench import rewardbench
from llm_bridge.shaping import Shaper
from llm_bridge.sources import Embedded
from llm_bridge.trl.rewards import RewardFunction
from theory.errors import InputError
from theory.grades import MISSING, NoisyExpert, ScoreExpert, graded
from theory.objective import Objective, sample_reward, value
from theory.optimum import solve
from theory.penalties import Coefficient, Penalty
from theory.returned import numbers
from theory.scores import Scores
from theory.utilities import Utility

N = 8
PROMPTS, TEXTS = ["garden :"] * N, [f"text {i}" for i in range(N)]
RIGHT = {
    "array": lambda n: np.arange(n) / 7, "float32": lambda n: np.ones(n, np.float32),
    "half": lambda n: np.ones(n, np.float16), "integers": lambda n: np.arange(n),
    "bytes": lambda n: np.ones(n, np.uint8), "booleans": lambda n: np.arange(n) % 2 == 0,
    "list": lambda n: [0.5] * n, "tuple": lambda n: (1,) * n, "tensor": lambda n: torch.ones(n),
    "half tensor": lambda n: torch.ones(n, dtype=torch.bfloat16),
    "with a gradient": lambda n: torch.ones(n, requires_grad=True) * 2,
    "series": lambda n: pd.Series(np.ones(n), index=range(5, n + 5)),
    "numpy numbers": lambda n: [np.float32(1)] * n, "backwards": lambda n: np.arange(2.0 * n)[::-2],
    "read only": lambda n: np.broadcast_to(1.0, n), "masked, of none": lambda n: np.ma.ones(n),
    "big endian": lambda n: np.ones(n, ">f8"), "range": range,
}  # fmt: skip
WRONG = {
    "none": lambda n: None, "scalar": lambda n: 0.5, "numpy scalar": lambda n: np.float64(1),
    "one": lambda n: np.ones(1), "one short": lambda n: np.ones(n - 1), "empty": lambda n: [],
    "one more": lambda n: np.ones(n + 1), "column": lambda n: np.ones((n, 1)),
    "row": lambda n: np.ones((1, n)), "matrix": lambda n: np.ones((n, n)),
    "two columns": lambda n: np.ones((n, 2)), "0-d": lambda n: np.array(1.0),
    "tensor column": lambda n: torch.ones(n, 1), "tensor scalar": lambda n: torch.tensor(1.0),
    "tensor short": lambda n: torch.ones(n - 1), "no rows": lambda n: np.ones((0, n)),
    "strings": lambda n: ["1.0"] * n, "words": lambda n: ["good"] * n, "string": lambda n: "5" * n,
    "bytes": lambda n: b"1" * n, "complex": lambda n: np.ones(n, complex),
    "complex tensor": lambda n: torch.ones(n, dtype=torch.complex64),
    "dates": lambda n: np.full(n, "2020-01-01", "datetime64[D]"),
    "dict": lambda n: dict.fromkeys(range(n), 1),
    "set": lambda n: set(range(n)), "generator": lambda n: (1.0 for _ in range(n)),
    "ragged": lambda n: [[1.0]] * (n - 1) + [[1.0, 2.0]], "nested": lambda n: [[1.0]] * n,
    "with a none": lambda n: [None, *[1.0] * (n - 1)],
    "frame": lambda n: pd.DataFrame({"a": np.ones(n)}),
    "decimals": lambda n: [decimal.Decimal(1)] * n, "objects": lambda n: np.array([object()] * n),
    "huge integers": lambda n: [10**400] * n, "times": lambda n: [datetime.timedelta(1)] * n,
    "structured": lambda n: np.zeros(n, [("a", float)]), "function": lambda n: len,
    "sparse": lambda n: torch.ones(n, 1).to_sparse(),
    "meta": lambda n: torch.ones(n, device="meta"),
    "text series": lambda n: pd.Series(["a"] * n), "scores": lambda n: Scores(np.ones((n, 1))),
    "list of columns": lambda n: [torch.ones(1)] * n, "3-d": lambda n: np.ones((n, 1, 1)),
    "pair": lambda n: (np.ones(n), np.ones(n)), "categories": lambda n: pd.Categorical(["a"] * n),
}  # fmt: skip
NOT_FINITE = {
    "nan": lambda n: np.full(n, np.nan), "one nan": lambda n: [np.nan] + [1.0] * (n - 1),
    "inf": lambda n: np.full(n, np.inf), "minus inf": lambda n: torch.full((n,), -torch.inf),
    "masked": lambda n: np.ma.masked_equal(np.arange(n), 1),
    "missing": lambda n: pd.Series([None] * n, dtype=float),
}  # fmt: skip


def mine(make):
    def my_function(prompts, responses):
        return make(len(responses))

    return my_function


@pytest.mark.parametrize("name", RIGHT)
def test_one_number_a_response_passes(name):
    found = Checked(mine(RIGHT[name]))(PROMPTS, TEXTS)
    assert found.shape == (N,)
    assert found.dtype == float
    with torch.no_grad():
        assert np.array_equal(found, np.array([float(x) for x in RIGHT[name](N)]))


@pytest.mark.parametrize("name", WRONG | NOT_FINITE)
def test_anything_else_is_refused_by_name(name):
    judge = Checked(mine((WRONG | NOT_FINITE)[name]), "gold")
    with pytest.raises(InputError, match=r"`gold`.*8 finite numbers.*my_function"):
        judge(PROMPTS, TEXTS)


@settings(max_examples=60, deadline=None)
@given(
    value=arrays.arrays(
        st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes()),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    count=st.integers(0, 4),
)
def test_an_array_passes_if_and_only_if_it_is_one_real_number_a_response(value, count):
    good = value.shape == (count,) and value.dtype.kind in "biuf"
    good = good and bool(np.isfinite(value.astype(float)).all())
    try:
        found = numbers("gold", len, value, count)
    except InputError:
        assert not good
    else:
        assert good
        assert np.array_equal(found, value.astype(float))


ENTRIES = {
    "labels": lambda judge: sample_pairs(
        TEXTS, TEXTS, PROMPTS, judge, Labelling(N), rng=np.random.default_rng(0)
    ),
    "measured": lambda judge: measure({"a": TEXTS}, PROMPTS, gold=judge),
    "compared": lambda judge: score_judge(judge)(PROMPTS, TEXTS, TEXTS),
    "expert": lambda judge: reward_expert(judge, PROMPTS, TEXTS),
    "graded by scores": lambda judge: ScoreExpert(judge, (1, 2, 3, 4))(PROMPTS, TEXTS),
    "graded": lambda judge: graded(judge, PROMPTS, TEXTS),
    "noisy": lambda judge: NoisyExpert(judge, 0.5)(PROMPTS, TEXTS),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "name", ["scalar", "one short", "column", "strings", "none", "two columns"]
)
def test_nothing_is_broadcast_where_a_judge_comes_in(entry, name):
    with pytest.raises(InputError, match="my_function"):
        ENTRIES[entry](mine(WRONG[name]))


@pytest.mark.parametrize("grade", [-1, 6, 2.5, 1e9])
def test_grades_are_grades(grade):
    with pytest.raises(InputError, match=r"1\.\.5.*my_function"):
        graded(mine(lambda n: [grade] * n), PROMPTS, TEXTS)
    assert graded(mine(lambda n: [MISSING] * n), PROMPTS, TEXTS).tolist() == [MISSING] * N


@pytest.mark.parametrize(
    "outcomes", [np.ones(N - 1), np.ones((N, 1)), np.full(N, 0.3), np.full(N, 2.0), np.array(1.0)]
)
def test_verdicts_are_verdicts(outcomes):
    rows = measure({"a": TEXTS, "b": TEXTS}, PROMPTS)
    for judge in (lambda *_: Verdicts(outcomes, None, {}), lambda *_: outcomes):
        with pytest.raises(InputError, match="`judge`"):
            against(rows, "a", judge, resample="response", rng=np.random.default_rng(0))


def test_policies_write_texts_and_lengths_are_numbers():
    with pytest.raises(InputError, match="`policies` must be texts"):
        measure({"a": lambda prompts: [b"x"] * len(prompts)}, PROMPTS)
    with pytest.raises(InputError, match="`length`"):
        measure({"a": TEXTS}, PROMPTS, length=str)


def scores_of(rows, k=2):
    return lambda prompts, responses: Scores(torch.ones(rows, k))


REFERENCES = {"garden :": [f"a {i}" for i in range(N)], "music :": [f"b {i}" for i in range(N)]}
SCORERS = {
    "one row": scores_of(1), "one short": scores_of(N - 1), "one more": scores_of(N + 1),
    "one column": scores_of(N, 1), "three columns": scores_of(N, 3), "none": lambda *_: None,
    "flat": lambda *_: Scores(torch.ones(N)), "deep": lambda *_: Scores(torch.ones(N, 2, 2)),
    "a tensor": lambda *_: torch.ones(N, 2), "numpy": lambda *_: Scores(np.ones((N, 2))),
    "turned": lambda *_: Scores(torch.ones(2, N)), "a list": lambda *_: [[1.0, 2.0]] * N,
}  # fmt: skip


@pytest.mark.parametrize("name", SCORERS)
def test_scores_of_another_shape_are_refused(name):
    good = Normaliser.fit(lambda p, _: Scores(torch.randn(len(p), 2)), REFERENCES)
    changed = replace(good, score=SCORERS[name])
    with pytest.raises(InputError, match=r"`score`.*from .*lambda"):
        changed(PROMPTS, TEXTS)
    if "column" not in name:
        with pytest.raises(InputError, match="`score`"):
            Normaliser.fit(SCORERS[name], REFERENCES)
        with pytest.raises(InputError, match="`score`"):
            Fusion((good.score, SCORERS[name]))(PROMPTS, TEXTS)


@pytest.mark.parametrize("name", ["one row", "one short", "a tensor"])
def test_a_benchmark_reads_scores_of_the_right_shape_only(name):
    worse = [f"{text} ." for text in TEXTS]
    rows = pd.DataFrame({"prompt": PROMPTS, "chosen": TEXTS, "rejected": worse, "subset": "x"})
    with pytest.raises(InputError, match="`score`"):
        rewardbench(SCORERS[name], rows)
    with pytest.raises(InputError, match="`utility`"):
        rewardbench(scores_of(N), rows, utility=lambda scores: scores.members)


@pytest.mark.parametrize("members", [2, 3])
def test_the_right_scores_pass(members):
    assert scored(scores_of(N, members), PROMPTS, TEXTS, members=members).k == members


@dataclass(frozen=True)
class Mine(Utility):
    """Of a shape of one's own."""

    shape: str = "cells"

    def __call__(self, scores, binding=None):
        """It."""
        mean = scores.members.mean(-1)
        return {"cells": mean, "column": mean[..., None], "scalar": mean.mean(),
                "members": scores.members, "float": 0.5, "short": mean[..., 1:],
                "one": mean[..., :1], "turned": mean[None]}[self.shape]  # fmt: skip


@dataclass(frozen=True)
class Price(Coefficient):
    """Of a shape of one's own."""

    shape: str = "cells"

    def __call__(self, scores, binding=None):
        """It."""
        return 1 + 0 * Mine(self.shape)(scores)


SHAPES = ["column", "members", "float", "short", "turned"]


@pytest.mark.parametrize("shape", [*SHAPES, "scalar", "one"])
def test_utilities_of_another_shape_are_refused(shape):
    normaliser = Normaliser.fit(lambda p, _: Scores(torch.randn(len(p), 2)), REFERENCES)
    objective = Objective(Mine(shape), strength=Penalty(0.1))
    shaper, places = Shaper(objective, normaliser), torch.zeros(N, dtype=torch.long)
    with pytest.raises(InputError, match=r"`objective`.*Mine"):
        shaper.utility(Scores(torch.randn(N, 2)), places)
    with pytest.raises(InputError, match=r"`objective`.*Mine"):
        RewardFunction(objective, normaliser)(PROMPTS, TEXTS)
    table, uniform = (
        Scores(np.random.default_rng(0).normal(size=(3, 4, 2))),
        np.full((3, 4), -np.log(4)),
    )
    for use in (
        lambda: solve(objective, uniform, table),
        lambda: value(objective, uniform, uniform, table),
        lambda: sample_reward(objective, uniform * 0, table),
    ):
        with pytest.raises(InputError, match=r"`objective`.*Mine"):
            use()


@pytest.mark.parametrize("shape", SHAPES)
def test_prices_of_another_shape_are_refused(shape):
    objective = Objective(Mine(), Price(shape), strength=Penalty(0.1))
    table, uniform = (
        Scores(np.random.default_rng(0).normal(size=(3, 4, 2))),
        np.full((3, 4), -np.log(4)),
    )
    with pytest.raises(InputError, match=r"`objective`.*Price"):
        sample_reward(objective, uniform * 0, table)


@dataclass(frozen=True)
class Mistaken(Embedded):
    """With a true reward of one's own."""

    wrong: str = "scalar"
    asked: list = field(default_factory=list, compare=False, repr=False)

    def gold(self):
        """It."""

        def my_function(prompts, responses):
            self.asked.append(len(responses))
            return (WRONG | NOT_FINITE)[self.wrong](len(responses))

        return my_function


@pytest.mark.parametrize("wrong", ["scalar", "one short", "column", "nan"])
def test_the_true_reward_of_a_source_is_tried_before_anything_is_trained(wrong, quick):
    source = Mistaken(sft=quick.source.sft, wrong=wrong)
    world = replace(quick, source=source)
    with pytest.raises(InputError, match=r"`gold`.*my_function"):
        world.ensembles(0)
    assert source.asked == [2]


def fails(prompts, responses):
    raise KeyError(prompts[0])


MODULE = {
    "scalar": lambda prompts, responses: 0.5, "fails": fails, "no_arguments": lambda: 1,
    "column": lambda prompts, responses: np.ones((len(prompts), 1)), "number": 5,
    "nan": lambda prompts, responses: [np.nan] * len(prompts), "good": lambda p, r: [1.0] * len(r),
}  # fmt: skip


@pytest.fixture
def module(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_rewards", types.SimpleNamespace(**MODULE))


@pytest.mark.parametrize("name", [*MODULE, "absent"])
def test_functions_of_modules_are_tried_on_two_texts_before_anything_is_loaded(
    name, module, tmp_path, monkeypatch
):
    if name == "good":
        try_judge("my_rewards:good")
        assert judge_of("my_rewards:good")(PROMPTS, TEXTS).tolist() == [1.0] * N
        return
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt\nHello\n")
    with pytest.raises(InputError, match="`judge`") as raised:
        ppo(Ppo(policy=str(tmp_path / "none"), prompts=str(prompts), judge=f"my_rewards:{name}",
                out=tmp_path / "out"))  # fmt: skip
    assert name in str(raised.value) or "lambda" in str(raised.value)
