r"""Rows of published data sets as prompts and responses.

| name       | columns                                 | for example                          |
|------------|-----------------------------------------|--------------------------------------|
| preference | chosen, rejected, optionally prompt     | Anthropic/hh-rlhf: transcripts       |
|            |                                         | preference_dataset_mix2: messages    |
| tldr       | subreddit, title, post                  | Reddit TL;DR                         |
| prompt     | prompt                                  | CarperAI/openai_summarize_tldr       |
| imdb       | text or review: its start is the prompt | stanfordnlp/imdb                     |

Responses, where one is asked for, are in the first of `RESPONSES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from theory import cells, checks
from theory.errors import InputError

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
MARKS = {"system": "", "user": f"{HUMAN} ", "assistant": f"{ASSISTANT} "}
"""What precedes a message in a transcript."""
RESPONSES = ("response", "completion", "summary", "label")
REVIEWS = ("text", "review")
REVIEW = " or ".join(REVIEWS)
AMPLE = 16
"""Characters of a token that are enough for most texts; others are read whole."""
Row = Mapping[str, Any]


class Example(NamedTuple):
    """A prompt, and no response, one, or the one that won and the one that lost."""

    prompt: str
    responses: tuple[str, ...]


class UnusableRow(Exception):
    """Why a row can not be used; the reader counts them."""


@dataclass(frozen=True, eq=False)
class Reader:
    """How rows are read: which tokenizer renders messages, and where texts are cut into prompts.

    tokens: shortest and longest prompt, drawn uniformly [banerjee2024]; continuation: tokens that
    follow it, or None for all.
    """

    tokenizer: Any
    tokens: tuple[int, int] = (1, 1)
    continuation: int | None = None
    rng: np.random.Generator | None = None

    def preference(self, row: Row) -> Example:
        """Two responses: texts, or conversations that end in them."""
        sides = [row["chosen"], row["rejected"]]
        asked: Any = row.get("prompt")
        if all(is_conversation(side) for side in sides):
            return self._conversations(asked, sides)
        texts = [_text(side) for side in sides]
        if is_conversation(asked):
            return Example(self.render(list(asked)), tuple(texts))
        return _transcripts(*texts) if asked is None else Example(_text(asked), tuple(texts))

    def tldr(self, row: Row) -> Example:
        """A post to summarise [adaptive2024, A.1]."""
        name = _text(row["subreddit"]).removeprefix("r/")
        post = f"SUBREDDIT: r/{name}\n\nTITLE: {_text(row['title'])}\n\nPOST: {_text(row['post'])}"
        return Example(f"{post}\n\nTL;DR:", _responses(row))

    def prompt(self, row: Row) -> Example:
        """As it stands, or messages."""
        asked = row["prompt"]
        text = self.render(list(asked)) if is_conversation(asked) else _text(asked)
        return Example(text, _responses(row))

    def imdb(self, row: Row) -> Example:
        """The first tokens of a text, and what follows."""
        if self.tokenizer is None or self.rng is None or not self.tokenizer.is_fast:
            raise InputError(
                "tokenizer", "a fast one, and rng, to cut texts into prompts", self.tokenizer
            )
        text = next(_text(row[name]) for name in REVIEWS if name in row)
        shortest, longest = self.tokens
        most = longest + (self.continuation or 0) + 1
        ends = self._ends(text[: AMPLE * most])
        if len(ends) < most:
            ends = self._ends(text)
        if len(ends) <= shortest:
            raise UnusableRow(f"not longer than {shortest} tokens")
        cut = int(self.rng.integers(shortest, min(longest, len(ends) - 1), endpoint=True))
        stop = None
        if self.continuation is not None and cut + self.continuation <= len(ends):
            stop = ends[cut + self.continuation - 1]
        return Example(text[: ends[cut - 1]], (text[ends[cut - 1] : stop],))

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages up to where the assistant answers, by the chat template where there is one.

        Without the token at its start that the tokenizer will add; else a transcript.
        """
        if getattr(self.tokenizer, "chat_template", None) is None:
            return "".join(f"{MARKS[m['role']]}{m['content']}" for m in messages) + ASSISTANT
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise UnusableRow(f"that the chat template refuses ({error})") from error
        first = self.tokenizer.bos_token
        added = self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]
        return str(text.removeprefix(first) if first is not None and added else text)

    def _ends(self, text: str) -> list[int]:
        """Where the tokens of a text end, in characters."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [end for _, end in found["offset_mapping"]]

    def _conversations(self, asked: Any, sides: Sequence[Any]) -> Example:
        before = list(asked) if is_conversation(asked) else []
        if isinstance(asked, str) and len(sides[0]) == 1:
            before = [{"role": "user", "content": asked}]
        won, lost = ([*before, *side] for side in sides)
        if won[:-1] != lost[:-1] or not won[:-1]:
            raise UnusableRow("without a prompt that both responses share")
        if any(side[-1]["role"] != "assistant" for side in (won, lost)):
            raise UnusableRow("not ended by the assistant")
        return Example(self.render(won[:-1]), (won[-1]["content"], lost[-1]["content"]))


FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Reader, Row], Example]]] = {
    "preference": (("chosen", "rejected"), Reader.preference),
    "tldr": (("subreddit", "title", "post"), Reader.tldr),
    "prompt": (("prompt",), Reader.prompt),
    "imdb": ((REVIEW,), Reader.imdb),
}
"""Columns that make a format, and how its rows are read; the first that fits is taken."""


def recognise(columns: Sequence[str], name: str | None = None) -> Callable[[Reader, Row], Example]:
    """How rows with these columns are read, in the named format or the first that fits.

    Raises `InputError` with the known formats where none does.

    >>> recognise(["prompt", "label"]).__name__
    'prompt'
    """
    if name is not None:
        checks.one_of("format", name, FORMATS)
    known = FORMATS if name is None else {name: FORMATS[name]}
    found = {*columns, *([REVIEW] if set(REVIEWS) & set(columns) else [])}
    for needed, read in known.values():
        if found.issuperset(needed):
            return read
    told = "; ".join(f"{kind}: {', '.join(needed)}" for kind, (needed, _) in known.items())
    raise InputError(
        "data", f"a table with the columns of a known format ({told})",
        f"columns {cells.listed(columns)}", "rename the columns",
    )  # fmt: skip


def _transcripts(chosen: str, rejected: str) -> Example:
    """Two transcripts that agree up to the assistant's last turn."""
    both = zip(chosen, rejected, strict=False)
    shared = next((i for i, (a, b) in enumerate(both) if a != b), min(len(chosen), len(rejected)))
    end = chosen.rfind(ASSISTANT, 0, shared) + len(ASSISTANT)
    if end < len(ASSISTANT):
        raise UnusableRow(f"without a shared {ASSISTANT!r}")
    responses = chosen[end:], rejected[end:]
    if any(mark in text for text in responses for mark in (HUMAN, ASSISTANT)):
        raise UnusableRow("with several turns after the last shared one")
    return Example(chosen[:end], responses)


def _responses(row: Row) -> tuple[str, ...]:
    there = [row[name] for name in RESPONSES if name in row]
    return tuple(c[-1]["content"] if is_conversation(c) else _text(c) for c in there[:1])


def is_conversation(cell: Any) -> bool:
    """Tell whether a cell holds messages, each with a role and a content."""
    return isinstance(cell, list | np.ndarray) and len(cell) > 0 and all(
        isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") in MARKS
        for m in cell
    )  # fmt: skip


def _text(cell: Any) -> str:
    """A cell as text, empty where it is missing."""
    found = cells.text(cell)
    if found is None:
        raise UnusableRow("with cells that are neither text nor messages")
    return found
