"""Tables of scores and of grades after accidents: what the file says, or a refusal."""

import itertools
import warnings

import numpy as np
import pytest

from tests.mutations import TEXT, accidents, number, strictly_read
from tests.tolerance import EXACT
from theory.checks import PROBABILITY_TOLERANCE
from theory.errors import InputError
from theory.grades import FileExpert
from theory.score_table import read_scores

SCORES = b"""prompt,response,reference,member_0,member_1,gold,member_id
"Hello, you",=1+1,0.25,1.5,-2,0,101
"Hello, you",None,0.75,0.25,3e-1,1,102
NA,=1+1,0.5,-1.25,.5,1,101
NA,None,0.5,7,1.125,0,102
007,None,1,2.5,-0.75,1,102
007,=1+1,0,-3,4,0.5,101
"""
GRADES = b"""prompt,response,grade
"one, two",NA,4
"one, two",None,
NA,"a ""quoted"" line
of two",1
,007,5
null,-,3.0
"""


def scores_of(rows):
    """(prompt, response) to reference, members and gold; None where the table is refused."""
    if not rows:
        return None
    names = list(rows[0])
    members = sorted((n for n in names if n in ("member_0", "member_1")), key=names.index)
    if not {"prompt", "response", "reference"} <= set(names) or not members:
        return None
    found = {}
    for row in rows:
        key = row["prompt"], row["response"]
        values = [number(row[n]) for n in ("reference", *sorted(members))]
        values += [number(row["gold"])] if "gold" in names else []
        if key in found or "" in key or None in values or not np.isfinite(values).all():
            return None
        found[key] = values
    prompts, responses = ({key[side] for key in found} for side in (0, 1))
    if len(found) != len(prompts) * len(responses):
        return None
    for prompt in prompts:
        reference = [found[prompt, response][0] for response in responses]
        if min(reference) < 0 or abs(sum(reference) - 1) > PROBABILITY_TOLERANCE:
            return None
    return found


def cells_of(table):
    """The same of a table that was read."""
    found = {}
    for (x, prompt), (y, response) in itertools.product(
        enumerate(table.prompts), enumerate(table.responses)
    ):
        gold = [] if table.gold is None else [table.gold[x, y]]
        found[prompt, response] = [table.reference[x, y], *table.scores.members[x, y], *gold]
    return found


def grades_of(rows):
    if rows is None or not rows or not {"prompt", "response", "grade"} <= set(rows[0]):
        return None if rows is None or rows else {}
    found = {}
    for row in rows:
        if row["grade"] == "":
            continue
        grade, key = number(row["grade"]), (row["prompt"], row["response"])
        if grade not in (1, 2, 3, 4, 5) or found.setdefault(key, grade) != grade:
            return None
    return found


@pytest.mark.parametrize(
    ("data", "read", "model"),
    [
        (SCORES, lambda path: cells_of(read_scores(path)), scores_of),
        (GRADES, lambda path: FileExpert.read(path).grades, grades_of),
    ],
    ids=["scores", "grades"],
)
def test_what_the_file_says_or_a_refusal(tmp_path, data, read, model):
    """Some 400 accidents each; a strict reader of the same bytes knows the right answer."""
    accepted = refused = longest = 0
    for ending, name, changed in accidents(data, each=17):
        path = tmp_path / f"table{ending}"
        path.write_bytes(changed)
        rows = strictly_read(ending, changed)
        wanted = None if rows is None else model(rows)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = read(path)
        except InputError as error:
            refused += 1
            longest = max(longest, len(str(error)))
            continue
        assert wanted is not None, name
        assert found.keys() == wanted.keys(), name
        for key, values in wanted.items():
            np.testing.assert_allclose(found[key], values, rtol=EXACT, atol=EXACT, err_msg=name)
        accepted += 1
    assert accepted > 20
    assert refused > 100
    assert longest < 700
    assert accepted + refused == 17 * (len(TEXT) + 6)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_columns_and_rows_and_line_ends_change_nothing(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "scores.csv"
    rows = strictly_read(".csv", SCORES)
    names = rng.permutation(list(rows[0])).tolist()
    lines = [",".join(names)]
    lines += [
        ",".join(f'"{rows[i][n]}"' if rng.random() < 0.5 or "," in rows[i][n] else rows[i][n]
                 for n in names)
        for i in rng.permutation(len(rows))
    ]  # fmt: skip
    end = ["\n", "\r\n"][seed % 2]
    path.write_text(end.join(lines) + end * (seed % 3), encoding="utf-8-sig", newline="")
    with pytest.warns(UserWarning, match=r"not read: member_id.*--members"):
        found = cells_of(read_scores(path))
    wanted = scores_of(rows)
    assert list(found) == sorted(wanted)
    np.testing.assert_allclose(list(found.values()), [wanted[key] for key in found], rtol=EXACT)


def test_long_texts_are_not_printed_whole(tmp_path):
    path = tmp_path / "scores.csv"
    text = "word " * 400
    path.write_text(f"prompt,response,reference,member_0\n{text},{text}1,1,x\n")
    with pytest.raises(InputError, match=r"'x'.*2,000 characters.*line 2 of scores\.csv") as error:
        read_scores(path)
    assert len(str(error.value)) < 400
    path.write_text(
        "prompt,response,reference,member_0\n"
        + "".join(f"{p},{text}{p}{r},.5,1\n" for p in range(40) for r in range(2))
    )
    with pytest.raises(InputError, match="the same 80 responses for every prompt") as error:
        read_scores(path)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("prompt,response,reference,member_0,std_1", "columns std_0.*one for every member"),
        ("prompt,response,reference,member_id,memberships", "columns member_0, member_1"),
        ("prompt,response,reference,member_0,member_0", "two named 'member_0'"),
    ],
)
def test_columns_that_are_no_members(tmp_path, header, message):
    path = tmp_path / "scores.csv"
    path.write_text(f"{header}\na,b,1,2,3\n")
    with pytest.raises(InputError, match=message):
        read_scores(path)


def test_deviations_follow_their_members(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "prompt,response,reference,std_2,member_10,std_10,member_2\na,x,.5,1,2,3,4\na,y,.5,5,6,7,8\n"
    )
    table = read_scores(path)
    assert table.scores.members[0].tolist() == [[4, 2], [8, 6]]
    assert table.scores.head_std[0].tolist() == [[1, 3], [5, 7]]
    named = read_scores(path, members=["member_10"])
    assert named.scores.head_std[0].tolist() == [[3], [7]]
    with pytest.raises(InputError, match=r"members.*different"):
        read_scores(path, members=["member_2", "member_2"])


@pytest.mark.parametrize("key", ["prompt", "response"])
def test_an_empty_label_is_refused(tmp_path, key):
    row = {"prompt": "a", "response": "b"} | {key: ""}
    path = tmp_path / "scores.csv"
    path.write_text(f"prompt,response,reference,member_0\n{row['prompt']},{row['response']},1,1\n")
    with pytest.raises(InputError, match=rf"scores\['{key}'\].*'' in line 2 of scores\.csv"):
        read_scores(path)


def test_words_are_labels(tmp_path):
    """Rows of a prompt called None are checked for the same responses as others."""
    path = tmp_path / "scores.csv"
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("None", "p"), ("None", "q")]
    lines = "".join(f"{prompt},{response},.5,1\n" for prompt, response in rows)
    path.write_text("prompt,response,reference,member_0\n" + lines)
    with pytest.raises(InputError, match=r"the same 4 responses.*first prompt 'None'"):
        read_scores(path)
