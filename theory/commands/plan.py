"""`python -m theory plan`: sizes of a study."""

from dataclasses import dataclass

from theory.errors import InputError
from theory.planning import (
    members_for_variance,
    members_to_win,
    policies_for_harm,
    policies_for_variance_ratio,
)


@dataclass(frozen=True)
class Plan:
    """How many policies and reward models a study needs; give at least one effect to detect."""

    variance_ratio: float | None = None
    """Ratio of the return variances of two methods."""
    harm: tuple[float, float] | None = None
    """Two probabilities of doing worse than the reference."""
    heterogeneity: float | None = None
    """mean(S) * mean(1/S) of the reward variances S, for the number of reward models."""
    variance_error: float | None = None
    """Relative error allowed in one reward variance, for the number of reward models."""
    alpha: float = 0.05
    """Level of the test."""
    power: float = 0.8
    """Probability of detecting the effect."""


def run(options: Plan) -> int:
    """Print one line an effect."""
    how = f"(level {options.alpha:g}, power {options.power:g})"
    lines = []
    if options.variance_ratio is not None:
        n = policies_for_variance_ratio(
            options.variance_ratio, alpha=options.alpha, power=options.power
        )
        lines.append(
            f"{n} policies a method for a variance ratio of {options.variance_ratio:g} {how}"
        )
    if options.harm is not None:
        n = policies_for_harm(*options.harm, alpha=options.alpha, power=options.power)
        first, second = options.harm
        lines.append(f"{n} policies a method for P(harm) {first:g} against {second:g} {how}")
    if options.heterogeneity is not None:
        k = members_to_win(options.heterogeneity)
        lines.append(f"{k} reward models before plug-in variances beat ignoring them")
    if options.variance_error is not None:
        k = members_for_variance(options.variance_error, alpha=options.alpha)
        lines.append(f"{k} reward models for a variance within +{options.variance_error:.0%}")
    if not lines:
        raise InputError(
            "effect", "given", "none", "for instance --variance-ratio 2, or --harm 0.1 0.05"
        )
    print("\n".join(lines))
    return 0
