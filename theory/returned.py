"""What functions of a user's own return, checked where it comes in, before it is broadcast."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from theory.arrays import to_numpy
from theory.errors import InputError

TWO = (["What is a tree?", "Who wrote this?"], ["A large plant.", "I do not know."])
"""Prompts and responses on which a function is tried before anything depends on it."""


def name_of(function: Any) -> str:
    """A function as messages call it: its module and name, or its class."""
    function = getattr(function, "judge", function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def numbers(
    argument: str, function: Any, value: Any, count: int, *, finite: bool = True
) -> np.ndarray:
    """One number a response, (count,), of what a function returned: an array or a list.

    finite: refuse NaN and infinite numbers. Raises `InputError`, naming the function, for another
    shape, and for what are no real numbers.
    """
    wanted = f"a function that gives {count} {'finite ' if finite else ''}numbers, one a response"

    def refusal(arrived: str) -> InputError:
        return InputError(argument, wanted, f"{arrived} from {name_of(function)}")

    try:
        if isinstance(value, np.ma.MaskedArray):
            value = np.ma.filled(value.astype(float), np.nan)
        array = to_numpy(value) if hasattr(value, "detach") else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0][:80]
        raise refusal(f"a {type(value).__name__} ({said})") from None
    if array.dtype.kind not in "biuf":
        raise refusal(f"a {type(value).__name__} of dtype {array.dtype}")
    if array.shape != (count,):
        raise refusal(f"shape {array.shape}")
    found = array.astype(float)
    if finite and not np.isfinite(found).all():
        raise refusal(f"{int((~np.isfinite(found)).sum())} NaN or infinite ones")
    return found


def tried(
    argument: str,
    function: Callable[[Sequence[str], Sequence[str]], Any],
    texts: tuple[Sequence[str], Sequence[str]] = TWO,
) -> None:
    """Call a function of prompts and responses on two of each; `InputError` where it fails."""
    try:
        function(*texts)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            argument, "a function that can be called with lists of prompts and of responses",
            f"{type(error).__name__} ({str(error)[:200]}) from {name_of(function)}",
        ) from error  # fmt: skip


def of_cells(part: Any, scores: Any, binding: Any, *, broadcast: bool = False) -> Any:
    """What a utility or a coefficient says of scores: one finite number a response.

    broadcast: or fewer, which stand for several. Raises `InputError` for another shape.
    """
    found, cells = part(scores, binding), tuple(scores.members.shape[:-1])
    shape = getattr(found, "shape", None)
    if shape is None or (tuple(shape) != cells and not (broadcast and _spreads(shape, cells))):
        arrived = f"a {type(found).__name__}" if shape is None else f"shape {tuple(shape)}"
        raise InputError(
            "objective", f"made of parts that give an array of shape {cells}, one number a "
            "response", f"{arrived} from {name_of(part)}",
        )  # fmt: skip
    return found


def _spreads(shape: Sequence[int], cells: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(tuple(shape), cells) == cells
    except ValueError:
        return False
