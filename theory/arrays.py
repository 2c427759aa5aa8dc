"""What NumPy and torch arrays share here.

Dimension names used in shape annotations throughout the project:

=========== ==========================================================
`*batch`    any leading axes; the last of them is the prompt axis
`prompts`   prompts (x)
`n`         responses of one prompt (y), or cells of a flat problem
`k`         reward models (members) of an ensemble
`time`      tokens of one response
=========== ==========================================================
"""

from typing import Any

import array_api_compat
import numpy as np

from theory.errors import InputError

Array = Any
"""A NumPy array or a torch tensor. Functions that take it return the same kind."""

WHOLE = 2**53
"""Integers up to this are float64 numbers."""


def namespace(*arrays: Array) -> Any:
    """The array-API namespace shared by the arguments; `None` and Python scalars are ignored.

    Raises `InputError` when NumPy and torch arrays are mixed, entries masked, or there is no array.
    """
    given = [a for a in arrays if hasattr(a, "shape")]
    for array in given:
        unmasked("arrays", array)
    kinds = {type(a).__module__.split(".")[0] for a in given}
    if not given:
        names = sorted({type(a).__name__ for a in arrays})
        raise InputError(
            "arrays", "NumPy or torch arrays", ", ".join(names), "convert with numpy.asarray"
        )
    if len(kinds) > 1:
        raise InputError(
            "arrays",
            "all NumPy or all torch",
            f"a mix of {' and '.join(sorted(kinds))}",
            "convert with torch.as_tensor or tensor.numpy()",
        )
    return array_api_compat.array_namespace(*given)


def unmasked(argument: str, array: Any) -> None:
    """Raise for masked entries, which some functions of NumPy leave out and others read."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise InputError(argument, "without masked entries", "some", "drop or rescore those rows")


def to_numpy(array: Array) -> np.ndarray:
    """A detached NumPy array on the CPU; half precision becomes float32."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if array.is_floating_point() and array.itemsize < 4:
            array = array.float()
    return np.asarray(array)


def floats(**arrays: Array | None) -> list[Array | None]:
    """Return named arrays in one floating dtype, the narrowest that holds them all.

    Integers and booleans become float64, half precision float32 and extended precision float64;
    an array that has the dtype already is returned as it is, and so is None. Raises `InputError`
    for other dtypes, masked entries, and for an integer beyond 2**53, whose neighbours float64
    cannot tell apart.

    >>> [a.dtype.name for a in floats(x=np.array([1, 2]), y=np.ones(1, np.float32))]
    ['float64', 'float64']
    """
    given = {name: array for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        unmasked(name, array)
    xp = namespace(*given.values())
    dtypes = [xp.float32]
    for name, array in given.items():
        exact = xp.isdtype(array.dtype, ("bool", "integral"))
        if not exact and not xp.isdtype(array.dtype, "real floating"):
            raise InputError(name, "real numbers", f"dtype {array.dtype}")
        if exact and ((to_numpy(array) > WHOLE) | (to_numpy(array) < -WHOLE)).any():
            raise InputError(
                name, "integers up to 2**53, which float64 tells apart", f"dtype {array.dtype}",
                "subtract a constant first",
            )  # fmt: skip
        dtypes.append(xp.float64 if exact or array.dtype.itemsize > 8 else array.dtype)
    widest = xp.result_type(*dtypes)
    return [a if a is None or a.dtype == widest else xp.astype(a, widest) for a in arrays.values()]


def power_of_two(size: np.ndarray | float) -> np.ndarray:
    """Return the largest power of two not above each size, a unit that no digit is lost in.

    >>> power_of_two(np.array([0.0, 0.3, 5.0]))
    array([1.  , 0.25, 4.  ])
    """
    exponent = np.frexp(np.where(np.asarray(size) > 0, size, 1.0))[1]
    return np.asarray(np.ldexp(1.0, exponent - 1))


def like(template: Array, array: np.ndarray) -> Array:
    """A NumPy result as the kind (and dtype and device, for torch) of `template`."""
    return template.new_tensor(array) if hasattr(template, "new_tensor") else array


def logsumexp(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """ln sum exp over one axis; -inf entries count as zero weight.

    >>> float(logsumexp(np.log(np.array([0.25, 0.75]))).round(12))
    0.0
    """
    xp = namespace(x)
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    total = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else xp.squeeze(total, axis=axis)


def safe_sqrt(x: Array) -> Array:
    """Square root of x >= 0 whose gradient at 0 is 0, not infinite; rounding below 0 gives 0."""
    xp = namespace(x)
    zero = x <= 0
    root = xp.sqrt(xp.where(zero, xp.ones_like(x), x))
    return xp.where(zero, xp.zeros_like(x), root)


def expected(probabilities: Array, values: Array) -> Array:
    """Sum of probability times value over the last axis, where probability 0 beats an infinity.

    >>> float(expected(np.array([0.0, 1.0]), np.array([-np.inf, 2.0])))
    2.0
    """
    xp = namespace(probabilities, values)
    kept = xp.where(probabilities > 0, values, xp.zeros_like(values))
    return xp.sum(probabilities * kept, axis=-1)


def log_ratio(log_policy: Array, log_reference: Array) -> Array:
    """ln(pi / pi0), with 0 where the reference has no mass (there the policy has none either)."""
    xp = namespace(log_policy, log_reference)
    zero = xp.zeros_like(log_reference)
    inside = xp.isfinite(log_reference)
    return xp.where(inside, log_policy - xp.where(inside, log_reference, zero), zero)


def weighted_mean(values: Array, weights: Array | None, axis: int = -1) -> Array:
    """Mean over one axis with a weight for each of its entries (normalised), uniform if None."""
    xp = namespace(values, weights)
    if weights is None:
        return xp.mean(values, axis=axis)
    return xp.sum(xp.moveaxis(values, axis, -1) * weights, axis=-1) / xp.sum(weights)
