"""Input validation whose messages teach: argument, requirement, what arrived, what to try."""

import difflib
from typing import Any

import numpy as np

from theory.arrays import to_numpy, unmasked
from theory.errors import InputError as InputError

PROBABILITY_TOLERANCE = 1e-6
LISTED = 30
"""Known names that a message lists."""


def real(argument: str, array: Any) -> np.ndarray:
    """Return a NumPy or torch array, or numbers, in float64.

    Raises `InputError` for what are not real numbers, or are masked.
    """
    values = to_numpy(array)
    unmasked(argument, array)
    if values.dtype.kind not in "fiub":
        raise InputError(argument, "real numbers that float64 holds", f"{array!r:.60}")
    return values.astype(float)


def number(argument: str, value: Any) -> float:
    """Return one real number, as Python has it. Raises `InputError` for anything else."""
    if real(argument, value).ndim:
        raise InputError(argument, "one number", f"{value!r:.60}")
    return value if isinstance(value, int | float) else float(value)


def finite(argument: str, array: Any) -> None:
    """Raise unless every entry of a NumPy or torch array is finite."""
    values = to_numpy(array)
    bad = ~np.isfinite(values)
    if bad.any() and values.ndim == 0:
        raise InputError(argument, "finite", values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            argument,
            "finite",
            f"{int(bad.sum())} NaN or infinite of {values.size} entries, first at index {first}",
            "drop or rescore those rows",
        )


def positive(argument: str, value: Any, *, zero_allowed: bool = False, hint: str = "") -> None:
    """Raise unless every entry is > 0 (or >= 0)."""
    values = to_numpy(value)
    ok = values >= 0 if zero_allowed else values > 0
    if not ok.all():
        found = f"{np.min(values):g}"
        raise InputError(
            argument, ">= 0" if zero_allowed else "> 0",
            found if values.ndim == 0 else f"a minimum of {found}", hint,
        )  # fmt: skip


def positive_number(
    argument: str, value: float, *, zero_allowed: bool = False, hint: str = ""
) -> None:
    """Raise unless a strength is finite and > 0 (or >= 0)."""
    number(argument, value)
    finite(argument, value)
    positive(argument, value, zero_allowed=zero_allowed, hint=hint)


def scale(argument: str, value: float, *, power: int = 1) -> None:
    """Raise unless a number is > 0 and float64 holds its power and what is divided by it."""
    positive_number(argument, value)
    least, most = 1e-290 ** (1 / power), 1e290 ** (1 / power)
    if not least <= value <= most:
        raise InputError(
            argument, f"between {least:g} and {most:g}, which float64 can divide by", f"{value:g}",
            "use another unit for scores",
        )  # fmt: skip


def probabilities(argument: str, array: Any) -> None:
    """Raise unless the last axis is a probability distribution."""
    values = to_numpy(array)
    finite(argument, values)
    if (values < 0).any():
        raise InputError(argument, "non-negative probabilities", f"a minimum of {values.min():g}")
    excess = values.sum(-1) - 1
    worst = float(excess.flat[np.argmax(np.abs(excess))]) if excess.size else 0.0
    if abs(worst) > PROBABILITY_TOLERANCE:
        raise InputError(
            argument,
            "probabilities that sum to 1 over the last axis",
            f"a sum off by {worst:+.3g}",
            "divide by the sum, or pass log-softmax of the logits",
        )


def broadcastable(first: str, a: Any, second: str, b: Any) -> None:
    """Raise unless the shapes broadcast to a common one, naming both."""
    try:
        np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
    except ValueError:
        raise InputError(
            second, f"broadcastable with `{first}` of shape {tuple(a.shape)}", tuple(b.shape)
        ) from None


def covariance(argument: str, matrix: Any, *, semidefinite: bool = False) -> None:
    """Raise unless the last two axes hold a symmetric positive definite (or semidefinite) matrix.

    An eigenvalue within 1e-12 of the largest entry counts as zero.
    """
    values = to_numpy(matrix)
    if values.ndim < 2 or values.shape[-1] != values.shape[-2]:
        raise InputError(argument, "square over its last two axes", f"shape {values.shape}")
    finite(argument, values)
    scale = np.abs(values).max((-2, -1))
    asymmetry = np.abs(values - np.swapaxes(values, -1, -2)).max((-2, -1))
    if (asymmetry > 1e-8 * scale).any():
        raise InputError(
            argument, "symmetric", f"max |S - S'| = {asymmetry.max():.3g}", "pass (S + S.T) / 2"
        )
    smallest = np.linalg.eigvalsh(values)[..., 0]
    zero = 1e-12 * scale
    if (smallest < -zero if semidefinite else smallest <= zero).any():
        raise InputError(
            argument,
            "positive semidefinite" if semidefinite else "positive definite",
            f"a smallest eigenvalue of {smallest.min():.3g}",
            "regularise it (S + tau * I, or Scores.covariance(method='ledoit_wolf'))",
        )


def one_of(argument: str, value: str, known: Any) -> None:
    """Raise unless `value` is among the known names; suggest the nearest."""
    names = sorted(known)
    if value in names:
        return
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else "see the list"
    told = names if len(names) <= LISTED else [*names[:LISTED], f"... ({len(names)} in all)"]
    raise InputError(argument, f"one of {', '.join(told)}", repr(value), hint)
