"""Tables for readers: CSV and Markdown of the same frame."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from theory.files import output_folder, write_text
from theory.tables import write_table


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """A frame as a table of GitHub's Markdown, one line a row; texts are shown as they are.

    Pipes, backslashes, line breaks and angle brackets of texts are escaped, numbers that are not
    whole are rounded, and what is missing is left empty.

    >>> print(markdown(pd.DataFrame({"a|b": ["one\\n<two>", None], "c": [0.12345, 2]})))
    | a\\|b | c |
    | --- | --- |
    | one<br>&lt;two&gt; | 0.123 |
    |  | 2.000 |
    <BLANKLINE>
    """
    rows = [[_cell(str(name), digits) for name in frame.columns], ["---"] * frame.shape[1]]
    rows += [[_cell(value, digits) for value in row] for row in frame.itertuples(index=False)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def save_tables(
    folder: Path, tables: Mapping[str, pd.DataFrame], *, spreadsheet_safe: bool = False
) -> list[Path]:
    """Write `NAME.csv` (by `theory.tables.write_table`) and `NAME.md` of every table; their paths.

    Raises `InputError` for a folder that cannot be written to.
    """
    output_folder(folder)
    paths = []
    for name, frame in tables.items():
        path = folder / f"{name}.csv"
        paths.append(write_table(path, frame, spreadsheet_safe=spreadsheet_safe))
        paths.append(write_text(folder / f"{name}.md", markdown(frame)))
    return paths


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        text = html.escape(value, quote=False).replace("\\", "\\\\").replace("|", "\\|")
        return "<br>".join(text.splitlines())
    if pd.isna(value):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)
