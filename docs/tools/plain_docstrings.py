"""Docstrings here are plain text for a terminal: this makes Markdown of them, for the site."""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"[\w'`][\w'`, .-]*:\s")
INLINE_CODE = re.compile(r"(`[^`]+`)")


class PlainDocstrings(griffe.Extension):
    """Paragraphs stay; examples, lists of fields and other aligned text are shown as written."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrite the docstring of a package."""
        self.on_object(obj=pkg)

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of anything in it."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Plain text to Markdown, paragraph by paragraph."""
    return "\n\n".join(map(_block, re.split(r"\n\s*\n", text)))


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines[0].lstrip().startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if lines[0].startswith("|"):
        return block
    if _aligned(lines):
        return f"```text\n{block}\n```"
    return "".join(
        part if INLINE_CODE.fullmatch(part) else _escaped(part) for part in INLINE_CODE.split(block)
    )


def _aligned(lines: list[str]) -> bool:
    """Whether line breaks or spaces mean something: indented, tabular, or a list of fields."""
    listed = len(lines) > 1 and all(ENTRY.match(line) for line in lines)
    return listed or any(re.match(r"\s", line) or re.search(r"\S {2,}\S", line) for line in lines)


def _escaped(text: str) -> str:
    return re.sub(r"([*_|\[\]\\])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")
