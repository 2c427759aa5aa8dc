"""Prompts, comparisons and demonstrations from files or the Hugging Face hub."""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from llm_bridge.data.formats import RESPONSES, Example, Reader, UnusableRow, recognise
from llm_bridge.data.pairs import Pairs
from theory import cells, checks
from theory.errors import InputError
from theory.tables import SUFFIXES, read_table

PROMPT, TEXT, PAIR = 0, 1, 2
"""What is read of a row, as its number of responses."""
Item = TypeVar("Item")


def read_prompts(
    source: str | Path,
    *,
    tokenizer: Any = None,
    tokens: tuple[int, int] = (2, 8),
    count: int | None = None,
    rng: np.random.Generator | None = None,
    split: str = "train",
    format: str | None = None,
    limit: int | None = None,
    drop_bad: bool = False,
) -> list[str]:
    """Prompts of a file (CSV, JSON, JSON lines, Parquet) or data set, one a row.

    format:    one of `llm_bridge.data.formats`, recognised by the columns unless given.
    tokenizer: renders messages, counts tokens, and cuts texts that are no prompts into some of
               `tokens` length, drawn by rng [banerjee2024].
    count:     how many distinct prompts are drawn by rng, or None for all rows in their order.
    limit:     tokens that a prompt may have.
    drop_bad:  leave out rows that can not be used, with a warning that counts them.

    Raises `InputError` for unknown columns and for rows that can not be used: empty, missing,
    beyond the limit, or not of the format; it counts them and names the first.
    """
    reader = Reader(tokenizer, _lengths(tokens), rng=rng)
    found = _examples(
        source, PROMPT, reader, split=split, format=format, limit=limit, drop_bad=drop_bad
    )
    prompts = [example.prompt for example in found]
    return prompts if count is None else _drawn(list(dict.fromkeys(prompts)), count, rng)


def read_pairs(
    source: str | Path,
    *,
    tokenizer: Any = None,
    split: str = "train",
    limit: int | None = None,
    drop_bad: bool = False,
) -> Pairs:
    """Comparisons; see `read_prompts`.

    A row with equal responses can not be used either. limit: tokens of a prompt with its longer
    response and an end-of-sequence token.
    """
    found = _examples(
        source, PAIR, Reader(tokenizer), split=split, format="preference", limit=limit,
        drop_bad=drop_bad,
    )  # fmt: skip
    return Pairs(
        tuple(example.prompt for example in found),
        tuple(example.responses[0] for example in found),
        tuple(example.responses[1] for example in found),
    )


def read_texts(
    source: str | Path,
    *,
    tokenizer: Any = None,
    tokens: tuple[int, int] = (2, 8),
    continuation: int | None = None,
    count: int | None = None,
    rng: np.random.Generator | None = None,
    split: str = "train",
    format: str | None = None,
    limit: int | None = None,
    drop_bad: bool = False,
) -> list[tuple[str, str]]:
    """Prompts and responses for supervised fine-tuning; of comparisons the chosen ones.

    See `read_prompts` and `read_pairs`. continuation: tokens of the response where texts are cut,
    or None for all that follows.
    """
    if continuation is not None:
        checks.positive("continuation", continuation)
    reader = Reader(tokenizer, _lengths(tokens), continuation, rng)
    found = _examples(
        source, TEXT, reader, split=split, format=format, limit=limit, drop_bad=drop_bad
    )
    texts = [(example.prompt, example.responses[0]) for example in found]
    return texts if count is None else _drawn(texts, count, rng)


def load_rows(source: str | Path, *, split: str = "train", argument: str = "data") -> pd.DataFrame:
    """Read a table from a file, or from a data set of the hub where `datasets` is installed.

    source: a file, a folder, or name@revision, a branch, tag or commit; the main branch unless
    given.
    """
    if str(source).removesuffix(".gz").endswith(SUFFIXES):
        return read_table(source, argument=argument)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise InputError(
            argument, f"a file in {', '.join(SUFFIXES)} (or .gz of them)", repr(str(source)),
            "for a data set of the hub, pip install datasets",
        ) from None  # fmt: skip
    name, revision = str(source), None
    if not Path(name).exists():
        name, _, revision = name.partition("@")
    try:
        found = datasets.load_dataset(name, split=split, revision=revision or None)
        return pd.DataFrame(found.to_pandas())
    except (OSError, ValueError) as error:
        raise InputError(
            argument, "a file, or a data set that can be downloaded", f"{source} ({error})",
            "save it with to_parquet on a connected machine, and give that file",
        ) from error  # fmt: skip


def _examples(
    source: str | Path,
    responses: int,
    reader: Reader,
    *,
    split: str,
    format: str | None,
    limit: int | None,
    drop_bad: bool,
) -> list[Example]:
    """What can be used of a table; a complaint, or a warning, about the rest."""
    if limit is not None and reader.tokenizer is None:
        raise InputError("tokenizer", "given, to count tokens", None)
    frame = load_rows(source, split=split)
    read, kept = recognise(list(frame.columns), format), []
    faults: dict[str, list[int]] = {}
    for index, row in enumerate(frame.to_dict("records")):
        try:
            example = read(reader, {str(name): cell for name, cell in row.items()})
            kept.append(checked(example, responses, reader.tokenizer, limit))
        except UnusableRow as reason:
            faults.setdefault(str(reason), []).append(index)
    report(faults, frame, drop_bad=drop_bad)
    if not kept:
        raise InputError("data", "some rows that can be used", f"none of {len(frame)} in {source}")
    return kept


def checked(
    example: Example, responses: int = PAIR, tokenizer: Any = None, limit: int | None = None
) -> Example:
    """Check what was read of a row, and drop responses beyond those that are asked for.

    Raises `UnusableRow` for what is empty, equal, lacking, or beyond the limit.
    """
    example = Example(example.prompt, example.responses[:responses])
    if not example.prompt.strip():
        raise UnusableRow("with an empty prompt")
    if len(example.responses) < responses:
        raise UnusableRow(f"without a column {', '.join(RESPONSES[:-1])} or {RESPONSES[-1]}")
    if not all(text.strip() for text in example.responses):
        raise UnusableRow("with an empty response")
    if responses == PAIR and example.responses[0] == example.responses[1]:
        raise UnusableRow("with equal responses")
    if limit is not None:
        tokens = len(tokenizer(example.prompt).input_ids)
        if example.responses:
            sides = tokenizer(list(example.responses), add_special_tokens=False).input_ids
            tokens += max(map(len, sides)) + 1
        if tokens > limit:
            raise UnusableRow(f"beyond {limit} tokens")
    return example


def report(faults: Mapping[str, Sequence[int]], frame: pd.DataFrame, *, drop_bad: bool) -> None:
    """Raise, or warn, with what is wrong with how many rows, and the first of them.

    faults: places of rows by reason. Raises `InputError` unless `drop_bad`.
    """
    if not faults:
        return
    unit = frame.index.name or "row"
    told = "; ".join(
        f"{len(at)} {why} (first: {unit} {frame.index[at[0]]})" for why, at in faults.items()
    )
    told += f", of {len(frame)} rows{cells.of_file(frame)}"
    if not drop_bad:
        raise InputError(
            "data", "rows that can all be used", told,
            "correct them, or leave them out with drop_bad=True (--drop-bad)",
        )  # fmt: skip
    warnings.warn(f"rows left out: {told}", stacklevel=4)


def _drawn(items: Sequence[Item], count: int, rng: np.random.Generator | None) -> list[Item]:
    checks.positive("count", count)
    if rng is None:
        raise InputError("rng", "given, to draw rows", None)
    if count > len(items):
        raise InputError("count", f"at most the {len(items)} there are", count)
    return [items[place] for place in rng.choice(len(items), size=count, replace=False)]


def _lengths(tokens: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= tokens[0] <= tokens[1]:
        raise InputError("tokens", "a shortest and a longest length, at least 1", tokens)
    return tokens
