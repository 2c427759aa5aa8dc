"""Tables for readers: CSV and Markdown of the same frame."""

import html
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from theory.files import output_folder, write, write_text


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


def save_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """`NAME.csv` and `NAME.md` of every table; the paths written.

    Raises `InputError` for a folder that cannot be written to.
    """
    output_folder(folder)
    paths = []
    for name, frame in tables.items():
        paths.append(write(folder / f"{name}.csv", partial(frame.to_csv, index=False)))
        paths.append(write_text(folder / f"{name}.md", markdown(frame)))
    return paths


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        text = html.escape(value, quote=False).replace("\\", "\\\\").replace("|", "\\|")
        return "<br>".join(text.splitlines())
    if pd.isna(value):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)
