"""Numbers that banerjee2024 reports: the bandit of Fig. 2, Table 1, and Figs. 7 and 12."""

import math

import numpy as np
from scipy.special import ndtr

from theory.objective import Objective
from theory.optimum import solve
from theory.presets import ensemble_mean, variance_aware, variance_aware_ppo
from theory.scores import Scores
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import all_agree, compared, exact
from theory.theorems.independent import mirror_ascent
from theory.theorems.penalty_claims import detached

PAPER = "banerjee2024"
REWARD, ESTIMATE = np.array([1.0, 2.0, 3.0]), np.array([3.6, 1.8, 2.8])
SIGMA = np.array([2.0, 0.3, 0.3])
"""A bandit like that of Fig. 2, which gives no numbers: the best estimate is of the worst arm."""


@claim(
    PAPER,
    "Fig. 2",
    statement="Trusting the estimates lowers the true return, and weighing them by their uncertainty "
    "raises it above that of pi0.",
    verdict="true if",
    corrected="It depends on the weight: at beta = 1 sigma^2 raises 2 to 2.175, but sigma, the weight of "
    "the paper's PPO, lowers it to 1.939.",
)
def three_armed_bandit(trial: Trial) -> Finding:
    """True returns of each optimum, by mirror ascent and by `solve`, against 2 of the uniform pi0."""
    uniform = np.full(3, 1 / 3)
    scores = Scores.known(ESTIMATE, SIGMA)
    rules: dict[str, tuple[Objective, np.ndarray]] = {
        "naive": (ensemble_mean(1.0), np.ones(3)),
        "weight sigma^2": (variance_aware(1.0), SIGMA**2),
        "weight sigma": (variance_aware_ppo(1.0), SIGMA),
    }
    evidence = []
    for name, (objective, cost) in rules.items():
        reached = mirror_ascent(detached(ESTIMATE, cost), uniform, uniform, rate=0.2)
        ours = float(solve(objective, np.log(uniform), scores).policy @ REWARD)
        evidence.append(exact(f"true return, {name}", float(reached @ REWARD), corrected=ours))
    naive, variance, deviation = (entry.observed for entry in evidence)
    baseline = float(uniform @ REWARD)
    return Finding(
        naive < baseline < min(variance, deviation),
        deviation < baseline < variance and all_agree(evidence, "corrected", 1e-6),
        tuple(evidence),
    )


@claim(
    PAPER,
    "sec. 4, sizes",
    statement="Ten heads of 2048 weights are 20480 parameters; ten models of 9.34 GB are about 90 GB.",
    verdict="true",
)
def sizes_of_the_ensemble(trial: Trial) -> Finding:
    """Products, to the digits printed."""
    heads = np.zeros((10, 2048, 1))
    parameters = exact("parameters of ten heads", heads.size, printed=20_480)
    storage = exact("GB of ten models, to one digit", round(10 * 9.34, -1), printed=90)
    return compared(parameters, storage)


TABLE_1 = {
    "GRM": (74.7, (95.5, 48.7, 80.0, 76.8, 69.8)),
    "baseline": (73.1, (94.1, 46.9, 79.7, 73.8, 69.0)),
    "ours": (69.4, (95.6, 44.5, 55.9, 81.8, 69.0)),
    "Qwen": (68.2, (62.3, 66.0, 72.0, 85.5, 42.3)),
    "MiniCPM": (66.2, (89.1, 49.3, 52.5, 82.3, 49.6)),
    "RM-Gemma": (64.2, (94.4, 40.8, 44.0, 76.4, 66.5)),
}
"""Printed average, and the five scores of each model."""


@claim(
    PAPER,
    "Table 1",
    statement="Its averages give the prior sets half of a weight.",
    verdict="true",
)
def averages_of_table_1(trial: Trial) -> Finding:
    """Weighted means; inputs and average are rounded to .1, so that they may differ by .1."""
    weights = np.array([1, 1, 1, 1, 0.5])
    evidence = tuple(
        exact(f"average, {model}", float(np.average(scores, weights=weights)), printed=average)
        for model, (average, scores) in TABLE_1.items()
    )
    holds = all(abs(e.observed - (e.printed or math.nan)) <= 0.1 for e in evidence)
    return Finding(holds, holds, evidence)


@claim(
    PAPER,
    "sec. 5, Figs. 7 and 12",
    statement="Variance-aware policies fall below the mean of the reference policy less often.",
    verdict="true if",
    corrected="By the normal approximation with the mean .34 of Fig. 7's caption (.118 against .270), and "
    "in Fig. 12 (.020 against .075); with the mean .22 of the text it is .392, more often.",
)
def reported_harm(trial: Trial) -> Finding:
    """P(N(mean, variance) <= reference mean) from the reported means and variances."""
    text = exact("P(below reference), aware, text of sec. 5", _below(0.19, 0.22, 0.012))
    caption = exact("P(below reference), aware, caption of Fig. 7", _below(0.19, 0.34, 0.016))
    vanilla = exact("P(below reference), vanilla, Fig. 7", _below(0.19, 0.34, 0.06))
    aware_12 = exact("P(below reference), aware, Fig. 12", _below(0.15, 0.41, 0.016))
    vanilla_12 = exact("P(below reference), vanilla, Fig. 12", _below(0.15, 0.43, 0.038))
    elsewhere = caption.observed <= vanilla.observed and aware_12.observed <= vanilla_12.observed
    return Finding(
        elsewhere and text.observed <= vanilla.observed,
        elsewhere,
        (text, caption, vanilla, aware_12, vanilla_12),
    )


def _below(threshold: float, mean: float, variance: float) -> float:
    return float(ndtr((threshold - mean) / math.sqrt(variance)))
