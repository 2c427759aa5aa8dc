"""Saved tensors back in their places: all of them, and no others."""

from collections.abc import Mapping
from typing import Any

import torch

from theory.errors import InputError


def restored(
    argument: str, found: Any, wanted: Mapping[str, torch.Tensor], *, finite: bool = True
) -> None:
    """Put saved tensors in the place of others of the same names, shapes and kinds.

    Raises `InputError` where they are not the same, or not `finite` though they must be.
    """
    if not isinstance(found, Mapping) or found.keys() != wanted.keys():
        names = set(found) if isinstance(found, Mapping) else {type(found).__name__}
        raise InputError(
            argument, f"{len(wanted)} tensors by name", f"{len(names)}",
            f"not in both: {', '.join(sorted(map(str, names ^ wanted.keys()))[:3])}",
        )  # fmt: skip
    for name, place in wanted.items():
        tensor = found[name]
        if not isinstance(tensor, torch.Tensor) or _kind(tensor) != _kind(place):
            told = _kind(tensor) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise InputError(f"{argument} {name}", f"{_kind(place)}", f"{told}")
        if finite and not bool(tensor.isfinite().all()):
            raise InputError(f"{argument} {name}", "finite", "NaN or infinite numbers")
    with torch.no_grad():
        for name, place in wanted.items():
            place.copy_(found[name])


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
