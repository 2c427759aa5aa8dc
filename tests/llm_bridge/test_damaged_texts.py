"""Prompts, comparisons and benchmarks after accidents: what the file says, or a refusal."""

import json

import numpy as np
import pytest

from llm_bridge.data.reading import load_rows, read_pairs, read_prompts, read_texts
from llm_bridge.rewards.rewardbench import Questions, rewardbench
from tests.mutations import TEXT, accidents, strictly_read
from theory.errors import InputError
from theory.scores import Scores

TEXTS = b"""prompt,chosen,rejected,subset,id
"Hello, there",None,NA,shp,1
Dear you,"=1+1, indeed","a ""quoted"" line
of two",,2
007,1e5,1e6,hep-js,3
NA,good,bad,,4
null,fine,poor,mine,5
"""


def usable(rows, names):
    """Rows as tuples; None where one is refused."""
    if not rows or not set(names) <= set(rows[0]):
        return None
    found = [tuple(row[name] for name in names) for row in rows]
    sound = all(cell.strip() for row in found for cell in row)
    apart = "rejected" not in names or all(row[1] != row[2] for row in found)
    return found if sound and apart else None


def pairs(path):
    found = read_pairs(path)
    return list(zip(found.prompts, found.chosen, found.rejected, strict=True))


def longer(prompts, texts):
    return Scores(np.array([[float(len(text))] for text in texts]))


def benchmark(path):
    return rewardbench(longer, load_rows(path)).subsets.pairs.to_dict()


def subsets_of(rows):
    if (
        not rows
        or "subset" not in rows[0]
        or usable(rows, ("prompt", "chosen", "rejected")) is None
    ):
        return None
    names = [row["subset"] or "(none)" for row in rows]
    return {name: names.count(name) for name in names}


JSON_ACCIDENTS = ("truncate", "flip", "insert", "drop a line", "swap lines")
READERS = {
    "prompts": (
        lambda path: [(p,) for p in read_prompts(path, format="prompt")],
        lambda rows: usable(rows, ("prompt",)),
    ),
    "pairs": (pairs, lambda rows: usable(rows, ("prompt", "chosen", "rejected"))),
    "texts": (
        lambda path: read_texts(path, format="preference"),
        lambda rows: usable(rows, ("prompt", "chosen"))
        if rows and "rejected" in rows[0] else None,
    ),
    "rewardbench": (benchmark, subsets_of),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_what_the_file_says_or_a_refusal(tmp_path, kind):
    """Some 200 accidents each; a strict reader of the same bytes knows the right answer."""
    read, model = READERS[kind]
    accepted = total = longest = 0
    for ending, name, changed in accidents(TEXTS, each=9):
        path, total = tmp_path / f"data{ending}", total + 1
        path.write_bytes(changed)
        rows = strictly_read(ending, changed)
        names = set(rows[0]) if rows else set()
        if kind != "prompts" and "prompt" not in names:
            rows = None  # comparisons without prompts are transcripts, and here there are none
        try:
            found = read(path)
        except InputError as error:
            longest = max(longest, len(str(error)))
            continue
        wanted = model(rows)
        assert wanted is not None, name
        assert found == wanted, name
        accepted += 1
    assert 15 < accepted < total - 50
    assert longest < 900
    assert total == 9 * (len(TEXT) + 6)


@pytest.mark.parametrize("kind", ["pairs", "rewardbench"])
def test_lines_of_json_after_accidents(tmp_path, kind):
    rows = strictly_read(".csv", TEXTS)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = tmp_path / "data.jsonl"
    read, model = READERS[kind]
    accepted = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        changed = TEXT[JSON_ACCIDENTS[seed % len(JSON_ACCIDENTS)]](rng, data)
        path.write_bytes(changed)
        try:
            found = read(path)
        except InputError:
            continue
        lines = [json.loads(line) for line in changed.decode().splitlines() if line.strip()]
        names = {name for line in lines for name in line}
        filled = [{name: str(line.get(name, "")) for name in names} for line in lines]
        assert found == model(filled), seed
        accepted += 1
    assert accepted > 20


def write(tmp_path, rows):
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def question(chosen="right", rejected="no", subset="shp", prompt="why"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset}


def test_rows_without_a_subset_are_a_group(tmp_path):
    rows = [question(), question(), *[question(subset=None)] * 2, *[question("a", subset="")] * 6]
    asked = Questions.of(load_rows(write(tmp_path, rows)))
    assert asked.told() == "10 rows scored, 8 of them without a subset"
    found = rewardbench(longer, asked)
    assert found.subsets.pairs.to_dict() == {"(none)": 8, "shp": 2}
    assert found.subsets.accuracy["(none)"] == 0.25
    assert found.sections == {"Prior Sets": 1.0}


def test_lists_are_right_where_all_chosen_are_above_all_rejected(tmp_path):
    rows = [
        question(["right"], ["no", "nay", "nil"], "Math"),
        question(["right"], ["no", "longer"], "Math"),
        question(["right", "rightly"], ["no", "nay"], "Focus"),
        question(["right", "a"], ["no"], "Focus"),
        question(["right"], ["wrong"], "Safety"),
        question(["red", "blue"], ["seven"], "Ties"),
    ]
    asked = Questions.of(load_rows(write(tmp_path, rows)))
    assert asked.told() == "5 rows scored, 1 of Ties not scored"
    found = rewardbench(longer, asked)
    assert found.subsets.accuracy.to_dict() == {"Focus": 0.5, "Math": 0.5, "Safety": 0.0}
    assert found.not_scored == {"Ties": 1}
    with pytest.raises(InputError, match=r"none of 1 .*1 of the subset Ties"):
        Questions.of(load_rows(write(tmp_path, rows[-1:])))


def test_messages_and_numbers_go_through_the_reader_of_comparisons(tmp_path):
    said = [{"role": "assistant", "content": "right"}], [{"role": "assistant", "content": "no"}]
    rows = [question(*said), question([said[0]], [said[1], said[1]]), question(1000, 7)]
    asked = Questions.of(load_rows(write(tmp_path, rows)))
    assert asked.chosen == (("right",), ("right",), ("1000",))
    assert asked.rejected == (("no",), ("no", "no"), ("7",))
    assert asked.prompts[0] == "\n\nHuman: why\n\nAssistant:"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (question(chosen=""), "1 with an empty response"),
        (question(rejected=None), "1 with an empty response"),
        (question(prompt=" "), "1 with an empty prompt"),
        (question(chosen="no"), "1 with equal responses"),
        (question(chosen=["right", "no"]), "1 with equal responses"),
        (question(chosen=[]), "1 with an empty list"),
        (question(chosen={"a": 1}), "1 with cells that are neither"),
        (question(chosen=[["x"]]), "1 with cells that are neither"),
    ],
)
def test_rows_that_cannot_be_scored_are_counted(tmp_path, row, message):
    rows = load_rows(write(tmp_path, [question(), row]))
    with pytest.raises(InputError, match=rf"{message}.*line 2.*of 2 rows of bench\.jsonl"):
        Questions.of(rows)
    with pytest.warns(UserWarning, match=message):
        assert len(Questions.of(rows, drop_bad=True)) == 1
