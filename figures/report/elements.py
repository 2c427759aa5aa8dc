"""Markup from Python: text is escaped unless it is markup already."""

import base64
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

VOID = {"img", "input", "meta"}
"""Elements without content."""
BADGES = {
    "reproduces": ("good", "✓"), "in part": ("part", "◐"), "differs": ("bad", "✗"),
    "cannot be checked here": ("open", "?"),
    "true": ("good", "✓"), "true if": ("part", "◐"), "false": ("bad", "✗"),
    "failed": ("bad", "✗"),
}  # fmt: skip
"""Class and sign of each verdict: no verdict is told by its colour alone."""


class Markup(str):
    """Text that is markup already."""


class Cell(NamedTuple):
    """Content of a table's cell, and what its column is sorted by where that is something else."""

    content: str
    order: int | str


Row = tuple[Sequence[str | Cell], dict[str, str]]
"""Cells of a row, and its attributes."""


def element(name: str, *content: str, **attributes: str | int | bool | None) -> Markup:
    """An element; all content but `Markup` is escaped, and every attribute.

    `class_` gives class, `data_paper` data-paper; True a bare attribute, None or False none.

    >>> element("p", "a < b ", element("b", "c"), class_="note")
    '<p class="note">a &lt; b <b>c</b></p>'
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(content)}</{name}>")


def joined(content: Iterable[str], between: str = "") -> Markup:
    """Pieces one after the other, escaped where they are plain text."""
    return Markup(
        between.join(
            piece if isinstance(piece, Markup) else escape(piece, quote=False) for piece in content
        )
    )


def link(target: str, text: str) -> Markup:
    """A link to a part of the page."""
    return element("a", text, href=f"#{target}")


def badge(verdict: str, text: str | None = None) -> Markup:
    """A verdict as a sign and a word."""
    kind, sign = BADGES[verdict]
    return element(
        "span", element("span", f"{sign} ", aria_hidden="true"), text or verdict,
        class_=f"badge {kind}",
    )  # fmt: skip


def badges(found: Mapping[str, int]) -> Markup:
    """How often each verdict was found, but for those that never were."""
    return joined(
        [badge(verdict, f"{number} {verdict}") for verdict, number in found.items() if number], " "
    )


def data_uri(path: Path) -> str:
    """A whole file inside of a link."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def download(path: Path) -> Markup:
    """A link that saves a copy of a file, with its size."""
    kind, kilobytes = path.suffix[1:].upper(), max(1, round(path.stat().st_size / 1000))
    return element("a", f"{kind} ({kilobytes} kB)", href=data_uri(path), download=path.name)


def table(
    name: str,
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Row],
) -> Markup:
    """A table that scrolls in a box of its own and can be sorted."""
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    body = (
        element("tr", *(_cell(cell, first=not i) for i, cell in enumerate(cells)), **marks)
        for cells, marks in rows
    )
    return element(
        "div",
        element(
            "table",
            element("caption", caption, id=f"{name}-caption"),
            element("thead", head),
            element("tbody", *body),
            id=name,
            data_sortable=True,
        ),
        class_="scroll", role="region", tabindex=0, aria_labelledby=f"{name}-caption",
    )  # fmt: skip


def _cell(cell: str | Cell, first: bool) -> Markup:
    """The first cell of a row is its head."""
    content, order = cell if isinstance(cell, Cell) else (cell, None)
    if first:
        return element("th", content, scope="row", data_order=order)
    return element("td", content, data_order=order)


def filters(name: str, what: str, choices: dict[str, dict[str, str]]) -> Markup:
    """Controls over the rows of a table: one choice an attribute, and words to search for.

    choices: attribute of rows to its values, each with the text that is shown.
    """
    chosen = (
        element(
            "label",
            f"{label} ",
            element(
                "select",
                element("option", "all", value=""),
                *(element("option", text, value=value) for value, text in values.items()),
                data_attribute=label.lower(),
            ),
        )
        for label, values in choices.items()
    )
    words = element("label", "Words ", element("input", type="search"))
    said = element("span", role="status")
    return element("form", *chosen, words, said, data_filters=name, data_what=what, hidden=True)
