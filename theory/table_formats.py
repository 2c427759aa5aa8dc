"""Tables in CSV, JSON, JSON lines and Parquet, every cell as it stands in the file."""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from theory.errors import quoted
from theory.first_contact import install
from theory.opening import LONGEST, Unreadable, lines, size_limit, too_large

BATCH = 256
"""Rows of Parquet that are decoded at once."""
COLUMNS = 10_000
"""Columns that a table may have."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Parsed(NamedTuple):
    """Columns of a file, missing cells as ''.

    starts: where each row begins: its line, from 1, or its place among the rows, from 0.
    unit:   'line' or 'row'.
    """

    columns: dict[str, list[Any]]
    starts: Sequence[int]
    unit: str


def check_names(names: Sequence[Any]) -> None:
    """Raise `Unreadable` for columns without a name, two of one name, and more than `COLUMNS`."""
    if len(names) > COLUMNS:
        raise Unreadable(f"at most {COLUMNS:,} columns", f"{len(names):,}")
    for place, name in enumerate(names):
        if not str(name).strip():
            raise Unreadable(
                "a name for every column", f"none for column {place + 1}",
                "leave the index out where pandas wrote it: to_csv(index=False)",
            )  # fmt: skip
    if len(set(names)) < len(names):
        raise Unreadable("one column of each name", f"two named {quoted(_repeated(names))}")


def parse_csv(stream: io.BufferedReader) -> Parsed:
    """Read commas and quotes as RFC 4180 has them; every row has as many fields as the header.

    Texts are left as they are, with their spaces, line ends and words such as NA. Raises
    `Unreadable`, naming the line.
    """
    rows, starts, end, blank = [], [], 1, 0
    with _long_cells():
        reader = csv.reader(lines(stream), strict=True)
        try:
            header = next(reader, [])
            if not header:
                raise Unreadable("a table with names of columns in its first line", "none there")
            check_names(header)
            end = reader.line_num
            for row in reader:
                start, end = end + 1, reader.line_num
                if row and blank:
                    raise Unreadable("no empty line between rows", f"one in line {blank}")
                if row and len(row) != len(header):
                    raise Unreadable(
                        f"{len(header)} fields in every row, as in the header",
                        f"{len(row)} in line {start}", 'quote texts that hold commas: "a, b"',
                    )  # fmt: skip
                if row:
                    rows.append(row)
                    starts.append(start)
                blank = blank or (0 if row else start)
        except csv.Error as error:
            raise Unreadable(
                "fields whose quotes open and close", f"line {end + 1}: {error}",
                'quote texts that hold quotes, each of them doubled: "so ""called"""',
            ) from None  # fmt: skip
    cells: Iterable[Any] = zip(*rows, strict=True) if rows else ([] for _ in header)
    return Parsed(dict(zip(header, map(list, cells), strict=True)), starts, "line")


def parse_json_lines(stream: io.BufferedReader) -> Parsed:
    """Read one object a line; a key that a line lacks is a missing cell."""
    records, starts = [], []
    for number, line in enumerate(lines(stream), 1):
        if not line.strip(" \t\r\n"):
            continue
        try:
            record = _decoded(line)
        except Unreadable as error:
            required, arrived, hint = error.args
            raise Unreadable(required, f"line {number}: {arrived}", hint) from None
        if not isinstance(record, dict):
            raise Unreadable("an object {...} in every line", f"line {number}: {quoted(record)}")
        records.append(record)
        starts.append(number)
    return Parsed(_columns(records), starts, "line")


def parse_json(stream: io.BufferedReader) -> Parsed:
    """Read a list of objects, or an object of columns (lists, or objects as pandas writes them)."""
    found = _decoded("".join(lines(stream, size_limit())))
    if isinstance(found, list) and all(isinstance(record, dict) for record in found):
        return Parsed(_columns(found), range(len(found)), "row")
    if isinstance(found, dict):
        columns = {
            name: list(cells.values()) if isinstance(cells, dict) else cells
            for name, cells in found.items()
        }
        keys = {tuple(c) if isinstance(c, dict) else None for c in found.values()}
        lists = all(isinstance(cells, list) for cells in columns.values())
        if lists and len(keys) <= 1 and len({len(cells) for cells in columns.values()}) <= 1:
            check_names(list(columns))
            length = len(next(iter(columns.values()), []))
            filled = {name: list(map(_filled, cells)) for name, cells in columns.items()}
            return Parsed(filled, range(length), "row")
    raise Unreadable(
        "a list of objects [{...}, {...}], one a row", quoted(found),
        "name a file with one object a line .jsonl",
    )  # fmt: skip


def parse_parquet(source: Any) -> Parsed:
    """Read a Parquet file; checksums are verified where it has them.

    Raises `Unreadable` for whatever pyarrow raises, and without pyarrow.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise Unreadable("of another kind, or pyarrow", "no pyarrow", install("tables")) from None
    limit, size = size_limit(), 0
    try:
        file = ParquetFile(source, page_checksum_verification=True)
        names = list(file.schema_arrow.names)
        check_names(names)
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for batch in file.iter_batches(batch_size=BATCH):
            batch.validate(full=True)
            size += batch.nbytes
            if size > limit:
                raise too_large(limit)
            for name, cells in zip(names, batch.columns, strict=True):
                columns[name] += map(_filled, cells.to_pylist())
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("a whole Parquet file", f"a damaged one ({_brief(error)})") from None
    rows = file.metadata.num_rows
    if any(len(cells) != rows for cells in columns.values()):
        raise Unreadable("a whole Parquet file", f"other than {rows} rows")
    return Parsed(columns, range(rows), "row")


def _columns(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for record in records for name in record))
    check_names(names)
    return {name: [_filled(record.get(name)) for record in records] for name in names}


def _filled(cell: Any) -> Any:
    return "" if cell is None else cell


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def _decoded(text: str) -> Any:
    """One value of JSON; `Unreadable` for what is none."""
    try:
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise Unreadable("JSON", f"{error.msg}, at character {error.pos + 1}") from None
    except UnicodeEncodeError:
        raise Unreadable("text that UTF-8 can hold", "half a surrogate pair (\\ud...)") from None
    except RecursionError:
        raise Unreadable("JSON that is not nested this deeply", "too many brackets") from None
    except ValueError as error:
        raise Unreadable("JSON", str(error)[:120]) from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = _repeated([name for name, _ in pairs])
        raise Unreadable("each key of an object once", f"{quoted(twice)} twice")
    return found


def _repeated(names: Sequence[Any]) -> Any:
    """The first name that stands in more than one place."""
    counts = Counter(names)
    return next(name for name in names if counts[name] > 1)


def _constant(name: str) -> NoReturn:
    raise Unreadable("finite numbers, or null where there is none", name)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        _constant(quoted(digits))
    return number


@contextmanager
def _long_cells() -> Iterator[None]:
    """Cells of up to `LONGEST` characters, which are 131,072 by default."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
PARSERS: dict[str, Callable[[Any], Parsed]] = {
    ".csv": parse_csv, ".parquet": parse_parquet, ".jsonl": parse_json_lines, ".json": parse_json,
}  # fmt: skip
