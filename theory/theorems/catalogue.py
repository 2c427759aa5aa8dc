"""All claims by key, in the order of the papers."""

from types import ModuleType

from theory.theorems import (
    adaptive_variance_claims,
    brme_claims,
    constant_reward_claims,
    ensemble_claims,
    estimated_variance_claims,
    heads_claims,
    influence_claims,
    ordering_claims,
    overoptimisation_claims,
    penalty_claims,
    ppo_claims,
    product_claims,
    relabelling_claims,
    reported_claims,
    robust_mean_claims,
    safe_bound_claims,
    sampling_claims,
    tilt_claims,
    variance_claims,
)
from theory.theorems.claim import Claim

MODULES: tuple[ModuleType, ...] = (
    safe_bound_claims,
    ordering_claims,
    variance_claims,
    estimated_variance_claims,
    heads_claims,
    tilt_claims,
    penalty_claims,
    ppo_claims,
    reported_claims,
    ensemble_claims,
    constant_reward_claims,
    brme_claims,
    product_claims,
    adaptive_variance_claims,
    influence_claims,
    relabelling_claims,
    sampling_claims,
    overoptimisation_claims,
    robust_mean_claims,
)
"""One module a subject; a new module of claims joins here."""

CLAIMS = {
    value.key: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Claim)
}
