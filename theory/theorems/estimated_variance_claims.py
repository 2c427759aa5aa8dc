"""Theorem 3.3 of banerjee2024 in practice: variances estimated from a few reward models."""

import numpy as np

from theory.harm import harm_probability
from theory.shrinkage import shrink_variance
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import at_most, sample_mean
from theory.theorems.variance_claims import CELLS, HIGH, LOW
from theory.variance_spread import plug_in_wins

PAPER = "banerjee2024"


def _harms(trial: Trial, key: str, low: float, high: float, members: int) -> dict[str, np.ndarray]:
    """Exact P(harm) of each rule over random problems of 1000 cells."""
    rng, dof = trial.rng(key), members - 1
    repeats = max(100, trial.draws // 200)
    harms: dict[str, list[float]] = {}
    for _ in range(repeats):
        variances, reward = rng.uniform(low, high, CELLS), rng.normal(0, 0.3, CELLS)
        estimate = variances * rng.chisquare(dof, CELLS) / dof
        weights = {
            "unaware": np.ones(CELLS),
            "plug-in": 1 / estimate,
            "shrunken": 1 / shrink_variance(estimate, dof),
            "known": 1 / variances,
        }
        for rule, weight in weights.items():
            harms.setdefault(rule, []).append(harm_probability(weight, reward, variances))
    return {rule: np.array(values) for rule, values in harms.items()}


@claim(
    PAPER,
    "Thm 3.3, practice",
    statement="The ordering carries over to variances estimated from the ensemble (k = 10).",
    verdict="true if",
    corrected="Only if E[S] E[1/S] > (k-3)/(k-5): with variances in (70, 100) the plug-in rule is worse "
    "than ignoring them; empirical-Bayes shrinkage is not, and keeps the gain in (3, 100).",
)
def plug_in_variance(trial: Trial) -> Finding:
    """Paired differences of exact P(harm), k = 10, both ranges."""
    evidence: list[Evidence] = []
    low = _harms(trial, "plug-in low", 70, 100, 10)
    high = _harms(trial, "plug-in high", 3, 100, 10)
    for name, harms in (("(70,100)", low), ("(3,100)", high)):
        for rule in ("plug-in", "shrunken"):
            difference = harms[rule] - harms["unaware"]
            evidence.append(sample_mean(f"P(harm) {rule} - unaware, S in {name}", difference))
    plugged, shrunken, plugged_high, shrunken_high = evidence
    assert plugged_high.interval is not None
    assert shrunken_high.interval is not None
    predicted = not plug_in_wins(LOW, 10) and plug_in_wins(HIGH, 10)
    gains = max(plugged_high.interval.high, shrunken_high.interval.high) < 0
    repaired = abs(shrunken.observed) < 1e-3
    return Finding(at_most(plugged, 0.0), predicted and gains and repaired, tuple(evidence))
