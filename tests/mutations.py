"""Files as they come after accidents, and what a strict reader finds in them."""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np

NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
INSERTED = (b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"NA", b"=", b"'", b" ")
Mutation = Callable[[np.random.Generator, bytes], bytes]


def truncate(rng, data):
    return data[: rng.integers(len(data))]


def flip(rng, data):
    changed = bytearray(data)
    for place in rng.integers(len(data), size=rng.integers(1, 4)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def delete(rng, data):
    place = int(rng.integers(len(data)))
    return data[:place] + data[place + int(rng.integers(1, 4)) :]


def insert(rng, data):
    place = int(rng.integers(len(data)))
    return data[:place] + INSERTED[rng.integers(len(INSERTED))] + data[place:]


def _lines(change):
    def mutation(rng, data):
        lines = data.splitlines(keepends=True)
        change(rng, lines)
        return b"".join(lines)

    return mutation


def _repeat(rng, lines):
    lines.append(lines[rng.integers(len(lines))])


def _drop(rng, lines):
    del lines[rng.integers(len(lines))]


def _swap(rng, lines):
    first, second = rng.integers(len(lines), size=2)
    lines[first], lines[second] = lines[second], lines[first]


def _blank(rng, lines):
    lines.insert(int(rng.integers(len(lines) + 1)), b"\n")


def _field(change):
    def mutation(rng, lines):
        row = rng.integers(len(lines))
        fields = lines[row].rstrip(b"\n").split(b",")
        change(rng, fields)
        lines[row] = b",".join(fields) + b"\n"

    return _lines(mutation)


def _double_name(rng, lines):
    names = lines[0].rstrip(b"\n").split(b",")
    names[rng.integers(len(names))] = names[rng.integers(len(names))]
    lines[0] = b",".join(names) + b"\n"


def _no_name(rng, lines):
    names = lines[0].rstrip(b"\n").split(b",")
    names[rng.integers(len(names))] = b""
    lines[0] = b",".join(names) + b"\n"


def encode(encoding):
    return lambda rng, data: data.decode().encode(encoding)


def zipped(rng, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.csv", data)
    return file.getvalue()


TEXT: dict[str, Mutation] = {
    "truncate": truncate, "flip": flip, "delete": delete, "insert": insert,
    "repeat a line": _lines(_repeat), "drop a line": _lines(_drop), "swap lines": _lines(_swap),
    "blank line": _lines(_blank), "one name twice": _lines(_double_name),
    "no name": _lines(_no_name),
    "drop a field": _field(lambda rng, fields: fields.pop(int(rng.integers(len(fields))))),
    "add a field": _field(lambda rng, fields: fields.insert(int(rng.integers(5)), b"7")),
    "UTF-16": encode("utf-16"), "UTF-16 unmarked": encode("utf-16-le"),
    "UTF-32": encode("utf-32"), "byte order mark": encode("utf-8-sig"), "zip": zipped,
    "gzip unnamed": lambda rng, data: gzip.compress(data, mtime=0),
}  # fmt: skip
"""Accidents of a text file."""
GZIP: dict[str, Mutation] = {
    "cut": lambda rng, data: truncate(rng, gzip.compress(data, mtime=0)),
    "flipped": lambda rng, data: flip(rng, gzip.compress(data, mtime=0)),
    "plain": lambda rng, data: data,
    "twice": lambda rng, data: gzip.compress(gzip.compress(data, mtime=0), mtime=0),
    "whole": lambda rng, data: gzip.compress(data, mtime=0),
    "rest": lambda rng, data: gzip.compress(data, mtime=0) + b"rest",
}
"""Accidents of a compressed one."""


def accidents(data: bytes, each: int) -> Iterator[tuple[str, str, bytes]]:
    """Ending, name and content of changed files: `each` of every kind, by seeds."""
    for ending, kinds in ((".csv", TEXT), (".csv.gz", GZIP)):
        for name, mutation in kinds.items():
            for seed in range(each):
                yield ending, f"{name} {seed}", mutation(np.random.default_rng(seed), data)


def strictly_read(ending: str, data: bytes) -> list[dict[str, str]] | None:
    """Rows by RFC 4180; None for what is no such table."""
    try:
        text = (gzip.decompress(data) if ending.endswith(".gz") else data).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (EOFError, OSError, zlib.error, ValueError, csv.Error):
        return None
    while rows and not rows[-1]:
        rows.pop()
    if not rows or len(set(rows[0])) < len(rows[0]) or not all(n.strip() for n in rows[0]):
        return None
    if any(len(row) != len(rows[0]) for row in rows):
        return None
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def number(cell: str) -> float | None:
    """A decimal number; None for any other text."""
    return float(cell) if NUMBER.fullmatch(cell) else None
