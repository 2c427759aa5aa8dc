"""Arithmetic of the benchmark's sections and total."""

import numpy as np
import pandas as pd
import pytest

from llm_bridge.rewards.rewardbench import COLUMNS, PLACES, SECTIONS, rewardbench, summarise, total
from tests.tolerance import EXACT
from theory.errors import InputError
from theory.scores import Scores


def results(**right):
    """A row a pair from shares such as 'x': (2, 5), with dashes written as underscores."""
    rows = [
        {"subset": name.replace("_", "-"), "right": i < wins}
        for name, (wins, size) in right.items()
        for i in range(size)
    ]
    return pd.DataFrame(rows)


def test_the_benchmark_has_its_subsets():
    """Four sections of 5, 6, 5 and 7 subsets, and four prior sets."""
    counts = [sum(map(len, groups.values())) for groups in SECTIONS.values()]
    assert counts == [5, 6, 5, 7, 4]
    assert len(PLACES) == sum(counts)


def test_pairs_of_a_section_count_alike():
    found = summarise(results(alpacaeval_easy=(10, 10), mt_bench_easy=(0, 30)))
    assert found.sections == {"Chat": 0.25}
    assert found.total == 0.25
    assert found.missing == ("Chat Hard", "Safety", "Reasoning", "Prior Sets")


def test_mathematics_and_code_count_alike():
    found = summarise(results(math_prm=(1, 2), hep_cpp=(10, 10), hep_go=(10, 10)))
    assert found.sections["Reasoning"] == pytest.approx(0.75, abs=EXACT)


def test_prior_sets_count_alike_and_half():
    rows = pd.DataFrame(
        {
            "subset": ["shp"] * 4 + ["anthropic_hhh"] + ["donotanswer"] * 2,
            "right": [True, False, False, False, True, True, True],
        }
    )
    found = summarise(rows)
    assert found.sections == {"Safety": 1.0, "Prior Sets": 0.625}
    assert found.total == pytest.approx((1.0 + 0.5 * 0.625) / 1.5, abs=EXACT)


def test_a_published_total():
    """[banerjee2024, Table 1]."""
    sections = dict(zip(SECTIONS, (95.6, 44.5, 55.9, 81.8, 69.0), strict=True))
    assert round(total(sections), 1) == 69.4


def test_unknown_subsets_have_rows_of_their_own():
    found = summarise(results(mine=(1, 2), hep_js=(1, 1)))
    assert found.subsets.section.to_dict() == {"hep-js": "Reasoning", "mine": ""}
    assert found.subsets.accuracy["mine"] == 0.5
    assert found.subsets.loc["mine", "low"] < 0.5 < found.subsets.loc["mine", "high"]
    assert found.sections == {"Reasoning": 1.0}
    assert summarise(results(mine=(1, 2))).total is None


def test_a_tie_is_wrong_and_the_mean_decides_unless_told():
    rows = pd.DataFrame(
        {
            "prompt": ["p"] * 3,
            "chosen": ["aa", "a", "aaa"],
            "rejected": ["b", "b", "bb"],
            "subset": ["shp", "shp", "summarize"],
        },
        index=[7, 8, 9],
    )

    def score(_, texts):
        return Scores(np.array([[float(len(t)), -3.0 * len(t)] for t in texts]))

    def first(scores):
        return scores.members[..., 0]

    assert rewardbench(score, rows).subsets.accuracy.tolist() == [0.0, 0.0]
    found = rewardbench(score, rows, utility=first)
    assert found.subsets.accuracy.to_dict() == {"shp": 0.5, "summarize": 1.0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"prompt": ["p"]}, "columns chosen, rejected, subset, got columns prompt"),
        ({name: [] for name in COLUMNS}, "none of 0"),
    ],
)
def test_bad_input(rows, message):
    with pytest.raises(InputError, match=message):
        rewardbench(lambda *_: Scores(np.zeros((1, 1))), pd.DataFrame(rows))
