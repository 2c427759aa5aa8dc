"""All claims by key, in the order of the papers."""

from types import ModuleType

from theory.theorems import (
    heads_claims,
    ordering_claims,
    ppo_claims,
    safe_bound_claims,
    tilt_claims,
    variance_claims,
)
from theory.theorems.claim import Claim

MODULES: tuple[ModuleType, ...] = (
    safe_bound_claims,
    ordering_claims,
    variance_claims,
    heads_claims,
    tilt_claims,
    ppo_claims,
)
"""One module a subject; a new module of claims joins here."""

CLAIMS = {
    value.key: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Claim)
}
