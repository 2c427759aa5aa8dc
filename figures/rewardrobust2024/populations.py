"""Several copies of one population of actors, to be trained side by side."""

from dataclasses import replace
from typing import Any


def repeated(policy: Any, copies: int) -> Any:
    """A policy whose runs appear `copies` times in a row, each with parameters of its own."""
    layers = (layer.detach().repeat(copies, 1, 1, 1) for layer in policy.parameters)
    return replace(policy, parameters=[layer.requires_grad_() for layer in layers])
