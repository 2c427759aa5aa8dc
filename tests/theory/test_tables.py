"""One table gives one result from every kind of file, and a wrong one is refused by line."""

import csv
import gzip
import io
import json
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT
from theory import opening
from theory.cells import number, numbers, text
from theory.errors import InputError
from theory.score_table import read_scores
from theory.tables import FORMULA, read_table, write_table

HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text("a,\"'\n\r\t=+-@;| ", max_size=12),
    st.sampled_from(
        ["NA", "None", "null", "nan", "", "007", "1e5", "-1", "True", "\ufeffx", "=1+1|cmd", "\0",
         "-", "#N/A", "inf", "1_0", " a ", "\r", "\r\n", "\n", '"', '""', "'", "\u2028", "\x1a"]
    ),
)  # fmt: skip
TABLES = st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=5)
NAMES = ["prompt", "chosen", "rejected"]


def frame_of(rows):
    return pd.DataFrame(rows, columns=NAMES, dtype=object)


def write_json(path, frame):
    path.write_text(json.dumps(frame.to_dict("records")), encoding="utf-8")


def write_json_columns(path, frame):
    path.write_text(json.dumps(frame.to_dict("list")), encoding="utf-8")


def write_json_lines(path, frame):
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in frame.to_dict("records")]
    path.write_text("".join(lines), encoding="utf-8", newline="")


def write_csv(path, frame):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([list(frame), *frame.to_numpy().tolist()])


def compress(path, frame):
    plain = path.with_suffix("")
    write_csv(plain, frame)
    path.write_bytes(gzip.compress(plain.read_bytes()))


WRITERS = {
    "ours.csv": write_table,
    "quoted.csv": write_csv,
    "packed.csv.gz": compress,
    "records.json": write_json,
    "columns.json": write_json_columns,
    "lines.jsonl": write_json_lines,
    "pyarrow.parquet": lambda path, frame: frame.astype("str").to_parquet(path, index=False),
}


@settings(max_examples=80)
@given(rows=TABLES)
def test_texts_come_back_as_they_were(tmp_path_factory, rows):
    folder, frame = tmp_path_factory.mktemp("tables"), frame_of(rows)
    for name, write in WRITERS.items():
        write(folder / name, frame)
        found = read_table(folder / name)
        assert list(found) == NAMES, name
        assert found.to_numpy().tolist() == frame.to_numpy().tolist(), name


@settings(max_examples=60)
@given(rows=TABLES)
def test_a_table_that_is_safe_in_a_spreadsheet_gives_its_texts_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("safe") / "table.csv"
    write_table(path, frame_of(rows), spreadsheet_safe=True)
    found = read_table(path).to_numpy().tolist()
    assert not any(cell.startswith(FORMULA) for row in found for cell in row)
    assert [[cell.removeprefix("'") for cell in row] for row in found] == [list(r) for r in rows]


def test_numbers_have_twelve_digits_and_texts_none_of_the_writer(tmp_path):
    frame = pd.DataFrame({"text": ["0.10", "1e5"], "x": [1 / 6 + 3e-17, 5e-53], "n": [1, 2]})
    path = write_table(tmp_path / "table.csv", frame)
    assert path.read_text() == "text,x,n\n0.10,0.166666666667,1\n1e5,5e-53,2\n"


LABELS = st.lists(
    st.sampled_from(["NA", "None", "null", "nan", "007", "7", "1e5", "=1", "a,b", 'q"', "x\r\ny"]),
    min_size=2, max_size=4, unique=True,
)  # fmt: skip


@settings(max_examples=60)
@given(prompts=LABELS, responses=LABELS, seed=st.integers(0, 99))
def test_scores_are_the_same_from_every_kind_of_file(tmp_path_factory, prompts, responses, seed):
    folder, rng = tmp_path_factory.mktemp("scores"), np.random.default_rng(seed)
    rows = [
        {"prompt": p, "response": r, "reference": 1 / len(responses), "member_10": rng.normal(),
         "member_9": rng.normal(), "gold": rng.normal()}
        for p in prompts for r in responses
    ]  # fmt: skip
    frame = pd.DataFrame(rows).sample(frac=1, random_state=seed)
    frame.to_parquet(folder / "a.parquet", index=False)
    write_json_lines(folder / "a.jsonl", frame)
    write_json(folder / "a.json", frame)
    frame[rng.permutation(list(frame))].to_csv(folder / "a.csv", index=False, lineterminator="\r\n")
    found = [read_scores(folder / f"a.{kind}") for kind in ("csv", "json", "jsonl", "parquet")]
    wanted = {(row["prompt"], row["response"]): row for row in rows}
    for table in found:
        assert table.members == ["member_9", "member_10"]
        for x, prompt in enumerate(table.prompts):
            for y, response in enumerate(table.responses):
                row = wanted[prompt, response]
                np.testing.assert_allclose(
                    [*table.scores.members[x, y], table.gold[x, y]],
                    [row["member_9"], row["member_10"], row["gold"]], rtol=EXACT, atol=0,
                )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\nHello, there,x\n", "2 fields in every row.*3 in line 2"),
        (b'a,b\n"x\ny",z\nonly\n', "1 in line 4"),
        (b"a,a\n1,2\n", "two named 'a'"),
        (b",".join(b"a%d" % i for i in range(200_000)), "at most 10,000 columns.*200,000"),
        (b",a\n0,1\n", "none for column 1.*index=False"),
        (b"a,b\n1,2\n\n3,4\n", "empty line between rows.*line 3"),
        (b'a,b\n"x,1\n', "quotes.*line 2"),
        (b'a,b\n"x"y,1\n', "quotes.*line 2"),
        (b"", "names of columns in its first line"),
        ("a\nx\n".encode("utf-16"), "UTF-16"),
        ("a\nx\n".encode("utf-16-be"), "UTF-16"),
        ("a\nx\n".encode("utf-32"), "UTF-32"),
        ("a\nné\n".encode("latin-1"), "UTF-8.*0xe9 in line 2"),
        (gzip.compress(b"a\nx\n", mtime=0), "gzip.*add .gz"),
        (b"PK\x03\x04rest", "zip"),
        (b"PAR1\x15rest", r"Parquet.*\.parquet"),
    ],
)
def test_files_that_are_no_table(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_table(path)
    assert "table.csv: " in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": 2, "a": 3}\n', "line 2: 'a' twice"),
        ('{"a": NaN}\n', "line 1: NaN"),
        ('{"a": -Infinity}\n', "line 1: -Infinity"),
        ('{"a": 1e999}\n', "line 1: '1e999'"),
        ('{"a": 1}\n[2]\n', "line 2: "),
        ('{"a": ' + "[" * 100_000, "nested this deeply"),
        ('{"a": "\\ud800"}\n', "surrogate"),
        ('{"a": [{"content": "\\udfff"}]}\n', "surrogate"),
        ('{"a": ' + "9" * 5000 + "}\n", "line 1: Exceeds"),
        ('{"": 1}\n', "none for column 1"),
        ('{"a": 1}\n{"a": \n', "line 2: "),
    ],
)
def test_lines_of_json_that_are_no_table(tmp_path, content, message):
    path = tmp_path / "table.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_table(path)
    if content.count("\n") <= 1:
        (tmp_path / "table.json").write_text(f"[{content}]")
        with pytest.raises(InputError, match=message.removeprefix("line 1: ")):
            read_table(tmp_path / "table.json")


@pytest.mark.parametrize("content", ["3", '"a"', '{"a": 1}', "[1]", '{"a": [1], "b": [1, 2]}'])
def test_json_that_is_no_table(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"list of objects.*\.jsonl"):
        read_table(path)


def test_what_is_missing_is_empty_everywhere(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": null, "b": "x"}\n\n{"b": ""}\n')
    (tmp_path / "a.csv").write_text("a,b\n,x\n,\n")
    pd.DataFrame({"a": [None, None], "b": ["x", None]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"a": [None, None], "b": ["x", None]}).to_json(tmp_path / "a.json")
    for kind in ("jsonl", "csv", "parquet", "json"):
        assert read_table(tmp_path / f"a.{kind}").to_numpy().tolist() == [["", "x"], ["", ""]]


def test_cells():
    told = {7: "7", 1.5: "1.5", True: "True", np.float32(0.5): "0.5", pd.NA: "", np.nan: ""}
    told |= {b"x": None, (1,): None, "\ud800": None, "NA": "NA"}
    assert [text(cell) for cell in told] == list(told.values())
    assert [number(c) for c in ("007", " 1e5\t", "-.5", 3, np.int8(3))] == [7, 1e5, -0.5, 3, 3]
    bad = ("", "1_0", "0x1", "١", "1,5", None, True, [1], pd.NaT, 10**400, "inf", "NA")
    assert not np.isfinite([number(cell) for cell in bad]).any()
    assert numbers(pd.Series([1, None], dtype="Int64")).tolist()[0] == 1


def test_a_bomb_is_refused_with_little_memory(tmp_path, monkeypatch):
    """One line without an end, and many short ones beyond the limit."""
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a\n")
        for _ in range(40):
            file.write(bytes(2**20).replace(b"\0", b"x"))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"bomb\.csv\.gz: more in line 2"):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * opening.LONGEST
    finally:
        tracemalloc.stop()
    many = tmp_path / "many.csv.gz"
    many.write_bytes(gzip.compress(b"a\n" * 100_000))
    monkeypatch.setenv(opening.LIMIT_VARIABLE, "100000")
    with pytest.raises(InputError, match=r"100,000 bytes.*many\.csv\.gz.*RLHF_RISK_TABLE_LIMIT"):
        read_table(many)
    frame = pd.DataFrame({"a": ["x" * 500] * 1000})
    frame.to_parquet(tmp_path / "many.parquet")
    with pytest.raises(InputError, match=r"100,000 bytes.*many\.parquet"):
        read_table(tmp_path / "many.parquet")
    monkeypatch.setenv(opening.LIMIT_VARIABLE, "200000")
    assert len(read_table(many)) == 99_999
    monkeypatch.setenv(opening.LIMIT_VARIABLE, "much")
    with pytest.raises(InputError, match=r"RLHF_RISK_TABLE_LIMIT.*number of bytes"):
        read_table(many)


def test_cells_may_be_long(tmp_path):
    path = write_table(tmp_path / "long.csv", pd.DataFrame({"a": ["x" * 300_000]}))
    before = csv.field_size_limit()
    assert len(read_table(path).a.iloc[0]) == 300_000
    assert csv.field_size_limit() == before


def test_without_pyarrow_it_says_how_to_install_it(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"no pyarrow; pip install -e '.\[tables\]'"):
        read_table(path)


def test_parquet_with_flipped_bits_is_read_as_pyarrow_reads_it_or_refused(tmp_path):
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"prompt": ["a", "b"] * 8, "n": range(16), "m": [[{"x": 1.5}]] * 16})
    frame.to_parquet(path, write_page_checksum=True)
    whole, outcomes = path.read_bytes(), []
    for seed in range(200):
        rng, changed = np.random.default_rng(seed), bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found = read_table(path)
        except InputError:
            outcomes.append(False)
            continue
        model = parquet.ParquetFile(io.BytesIO(changed)).read().to_pylist()
        assert found.to_dict("records") == [
            {name: "" if cell is None else cell for name, cell in row.items()} for row in model
        ]
        outcomes.append(True)
    assert sum(outcomes) < len(outcomes) / 2
