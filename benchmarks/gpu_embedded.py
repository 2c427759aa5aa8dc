"""The embedded language from stored weights, on the CPU and on a device: the same trainings."""

from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.gpu_models import Context
from benchmarks.record_exact import CASES, KEPT, WEIGHTS, rows

PRECISIONS = {
    "float64": (torch.float64, {}),
    "float32": (torch.float32, {}),
    "bfloat16": (torch.float32, {"precision": "bfloat16"}),
}
"""Of the weights, and what that of the products is."""
WITHIN = {"float64": 1e-10, "float32": 1e-3}
"""Largest differences while no response differs: of rounding alone."""


def embedded(context: Context) -> Iterator[tuple[str, Any]]:
    """Of each case and precision: steps with the same responses, and differences until then."""
    stored, found, steps = load_file(WEIGHTS), [], context.scale.embedded_steps
    for name in CASES:
        for precision, (dtype, changed) in PRECISIONS.items():
            here, there = (
                rows(stored, name, steps=steps, dtype=dtype, device=device, **changed)
                for device in ("cpu", context.device)
            )
            found.append({"case": name, "precision": precision, **compared(here, there, precision)})
            yield "trainings", found
    judged = [row["within"] for row in found if row["within"] is not None]
    yield "float64 and float32 within tolerance", all(judged)


def compared(here: list[Any], there: list[Any], precision: str) -> dict[str, Any]:
    """Where two trainings part, and by how much they differ before."""
    told = [one["responses"] == other["responses"] for one, other in zip(here, there, strict=True)]
    same = told.index(False) if False in told else len(told)
    apart = {
        key: max((_apart(here[i][key], there[i][key]) for i in range(same)), default=None)
        for key in KEPT
    }
    most = max((x for x in apart.values() if x is not None), default=None)
    limit = WITHIN.get(precision)
    within = None if limit is None else same > 0 and most is not None and most <= limit
    return {"steps": len(told), "the same responses": same, **apart, "within": within}


def _apart(one: float, other: float) -> float:
    return abs(one - other) / (1 + abs(one))
