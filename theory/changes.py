"""What differs between two descriptions of a run, setting by setting."""

import ast
from collections.abc import Mapping
from typing import Any

LONGEST = 40
"""Characters up to which a value is quoted whole."""
ABSENT = object()


def changes(before: Any, now: Any, name: str = "") -> list[str]:
    """List the settings whose values differ, each by its own name and with both values.

    before, now: plain values, mappings of them, or texts; a text that is the printed form of a
    dataclass counts field by field.

    >>> changes({"by": "PPO(clip=0.2, samples=16)"}, {"by": "PPO(clip=0.1, samples=16)"})
    ['by.clip 0.1 (it was 0.2)']
    """
    if before == now:
        return []
    if (parts := _parts(before, now)) is not None:
        first, second = parts
        return [
            told
            for key in dict.fromkeys((*first, *second))
            for told in changes(
                first.get(key, ABSENT), second.get(key, ABSENT), f"{name}.{key}".lstrip(".")
            )
        ]
    if ABSENT in (before, now):
        return [f"{name}, which is {'new' if before is ABSENT else 'gone'}"]
    told, was = _short(now), _short(before)
    known = told != was and max(len(told), len(was)) <= LONGEST
    return [f"{name} {told} (it was {was})" if known else f"another value of {name}"]


def _parts(before: Any, now: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Both values by the names of their parts, where these can be compared."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return before, now
    if isinstance(before, str) and isinstance(now, str):
        (kind, first), (other, second) = _call(before), _call(now)
        if kind is not None and kind == other and first != second:
            return first, second
    return None


def _call(text: str) -> tuple[str | None, dict[str, str]]:
    """Name and arguments of what a text would construct; no name where it is no such text."""
    try:
        tree = ast.parse(text, mode="eval").body
        if isinstance(tree, ast.Call):
            values = [(str(place), value) for place, value in enumerate(tree.args)]
            values += [(str(word.arg), word.value) for word in tree.keywords]
            return ast.unparse(tree.func), {key: ast.unparse(value) for key, value in values}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    return None, {}


def _short(value: Any) -> str:
    if isinstance(value, list) and len(str(value)) > LONGEST:
        return f"{len(value)} values from {value[0]} to {value[-1]}"
    return str(value)
