"""Cells of a table as texts and as numbers, by one rule for files and frames of every kind."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from theory.errors import InputError, quoted
from theory.opening import Unreadable
from theory.table_formats import check_names

SHOWN = 30
"""Names of columns that a message lists."""


def text(cell: Any) -> str | None:
    """Read a cell as text: '' where it is missing, numbers as Python writes them.

    None for what is no text: lists, objects, bytes, and strings that UTF-8 cannot hold. Words such
    as NA, None and null are texts.

    >>> text("NA"), text(None), text(7), text(["a"])
    ('NA', '', '7', None)
    """
    if isinstance(cell, str):
        return cell if cell.isascii() or _encodable(cell) else None
    if cell is None:
        return ""
    if isinstance(cell, list | tuple | dict | set | bytes | np.ndarray):
        return None
    return "" if pd.isna(cell) else str(cell)


def number(cell: Any) -> float:
    """Read a cell as a number, NaN where it is none; decimal digits, point and exponent only.

    >>> number("007"), number("1e5"), number("1_0"), number(True)
    (7.0, 100000.0, nan, nan)
    """
    if isinstance(cell, str) and ("_" in cell or not cell.isascii()):
        return math.nan
    if isinstance(cell, bool | np.bool_ | bytes | np.ndarray):
        return math.nan
    try:
        return float(cell)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def numbers(column: pd.Series) -> Float[np.ndarray, " rows"]:
    """Read every cell of a column by `number`."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return column.to_numpy(dtype=float)
    return np.array([number(cell) for cell in column], float)


def require(
    frame: pd.DataFrame, needed: Sequence[str], *, argument: str, more: str = "", hint: str = ""
) -> None:
    """Check that a table has these columns, and none of its columns twice or without a name.

    more: what the message adds to the names of the columns that are wanted.

    Raises `InputError` with the columns that there are, and those that may be meant.
    """
    names = list(frame.columns)
    try:
        check_names(names)
    except Unreadable as error:
        required, arrived, way = error.args
        raise InputError(argument, required, arrived + of_file(frame), way) from None
    missing = [name for name in needed if name not in names]
    if missing:
        tail = "; ".join(filter(None, [_nearest(missing, names), hint]))
        raise InputError(
            argument, f"a table with columns {', '.join(missing)}{more}",
            f"columns {listed(names)}{of_file(frame)}", f"rename them{tail and ' '}{tail}",
        )  # fmt: skip


def labels(frame: pd.DataFrame, column: str, *, argument: str, empty: bool = False) -> list[str]:
    """Read a column as texts, by `text`.

    Raises `InputError` for a cell that is no text, or is empty where `empty` ones are not allowed.
    """
    found = []
    for place, cell in enumerate(frame[column]):
        label = text(cell)
        if label is None or not (label or empty):
            raise InputError(
                f"{argument}[{column!r}]", "a text or a number in every row",
                f"{quoted(cell)} in {row_name(frame, place)}",
            )  # fmt: skip
        found.append(label)
    return found


def row_name(frame: pd.DataFrame, place: int) -> str:
    """Say where a row is: its line in a CSV or JSON lines file, else its place, from 0."""
    return f"{frame.index.name or 'row'} {frame.index[place]}{of_file(frame)}"


def of_file(frame: pd.DataFrame) -> str:
    """Say which file a table was read from, with ' of ' before it; '' for none."""
    name = frame.attrs.get("file")
    return f" of {name}" if name else ""


def listed(names: Iterable[Any]) -> str:
    """Join names of columns for a message, shortened, at most `SHOWN` of them."""
    every = list(names)
    told = [quoted(name).strip("'") for name in every[:SHOWN]]
    return ", ".join([*told, *([f"and {len(every) - SHOWN} more"] if every[SHOWN:] else [])])


def _nearest(wanted: Sequence[str], names: Sequence[Any]) -> str:
    there = {str(name).lower(): str(name) for name in names}
    pairs = [
        f"{quoted(there[near[0]])} to {name!r}"
        for name in wanted
        if (near := difflib.get_close_matches(name, there, n=1))
    ]
    return f"({', '.join(pairs)}?)" if pairs else ""


def _encodable(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
