"""Tables from files and into them: texts as they came, nothing guessed.

A cell of a CSV file is the text that stands there: '007', 'NA', 'None' and '1e5' are texts, and
become numbers only where a number is meant. A missing cell is an empty one, in every kind of file:
null, a key that a line of JSON lacks, and nothing between two commas are all ''. The same table
thus gives the same result from CSV, JSON, JSON lines and Parquet.
"""

import csv
import io
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from theory.errors import InputError
from theory.files import write
from theory.opening import Unreadable, opened
from theory.table_formats import PARSERS

SUFFIXES = tuple(PARSERS)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Characters by which spreadsheets know a formula."""
ESCAPE = "'"
"""What goes before them where a table is to be safe in a spreadsheet."""
DIGITS = 12
"""Significant digits of numbers that are written."""
BLOCK = 4096
"""Rows that are written at once."""


def read_table(path: str | Path, *, argument: str = "path") -> pd.DataFrame:
    """Read CSV, JSON, JSON lines or Parquet (.gz of them too) by the ending of its name.

    argument: what the path is called in messages.

    Columns hold objects; the index is the line that a row begins in (CSV, JSON lines: from 1, named
    'line'), or its place (from 0, named 'row'). `theory.cells` reads cells as texts and numbers.

    Raises `InputError`, naming file and line, for a file that is missing, damaged, not in UTF-8,
    larger than `theory.opening.size_limit()` once decompressed, with rows of another number of
    fields than the header, or with columns of one name or none.
    """
    path = Path(path).expanduser()
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    name = kind.removesuffix(".gz")
    if name not in SUFFIXES:
        raise InputError(argument, f"a file in {', '.join(SUFFIXES)} (or .gz of them)", path.name)
    try:
        if not path.is_file():
            raise InputError(
                argument, "an existing file", str(path), "check the path and the folder"
            )
        with opened(path) as stream:
            parsed = PARSERS[name](io.BytesIO(stream.read()) if name == ".parquet" else stream)
    except Unreadable as error:
        required, arrived, hint = error.args
        raise InputError(
            argument, f"a readable {name} file: {required}", f"{path.name}: {arrived}", hint
        ) from None
    except OSError as error:
        told = error.strerror or str(error)
        raise InputError(argument, "a file that can be read", f"{path} ({told})") from None
    except MemoryError:
        raise InputError(argument, "a file that fits into memory", path.name) from None
    frame = pd.DataFrame(parsed.columns, dtype=object)
    frame.index = pd.Index(list(parsed.starts), name=parsed.unit, dtype="int64")
    frame.attrs["file"] = path.name
    return frame


def write_table(path: Path, frame: pd.DataFrame, *, spreadsheet_safe: bool = False) -> Path:
    """Write a CSV file whose texts are read back as they were, line ends and all.

    Numbers have `DIGITS` significant digits; what is missing is empty. spreadsheet_safe: put an
    apostrophe before texts that begin as a formula does, and before those that begin with an
    apostrophe, so that taking one away gives every text back.

    Raises `InputError` for texts that UTF-8 cannot hold.
    """

    def save(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            _write_rows(file, frame, spreadsheet_safe)

    try:
        return write(path, save)
    except UnicodeEncodeError as error:
        raise InputError("table", "texts that UTF-8 can hold", str(error)) from None


def escaped(text: str) -> str:
    """Make a text harmless in a spreadsheet.

    >>> escaped("=1+1"), escaped("'tis"), escaped("1+1")
    ("'=1+1", "''tis", '1+1')
    """
    return ESCAPE + text if text.startswith((*FORMULA, ESCAPE)) else text


class _PlainEnds:
    """A file in which rows end in a line feed.

    The writer quotes what holds a character of its line end, so it is told that rows end in CR LF.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row[:-2] + "\n")


def _write_rows(file: TextIO, frame: pd.DataFrame, spreadsheet_safe: bool) -> None:
    writer = csv.writer(_PlainEnds(file), lineterminator="\r\n")
    writer.writerow(frame.columns)
    for start in range(0, len(frame), BLOCK):
        block = frame.iloc[start : start + BLOCK]
        columns = [
            [_cell(value, spreadsheet_safe) for value in block.iloc[:, place].astype(object)]
            for place in range(frame.shape[1])
        ]
        writer.writerows(zip(*columns, strict=True))


def _cell(value: Any, spreadsheet_safe: bool) -> str:
    if isinstance(value, str):
        return escaped(value) if spreadsheet_safe else value
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value)
