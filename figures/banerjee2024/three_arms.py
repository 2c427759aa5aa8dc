"""Fig. 2: a three-armed bandit whose best estimate belongs to its worst arm."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory import presets
from theory.as_printed import sharpe_tilt_as_printed
from theory.divergences import kl
from theory.objective import Objective
from theory.optimum import solve
from theory.penalties import AT_KL, Budget, Penalty, Strength, TargetKL
from theory.scores import Scores
from theory.style import BLACK, BLUE, GREEN, ORANGE, SKY, TEXT, VERMILION

REWARD = np.array([1.0, 2.0, 3.0])
ESTIMATE = np.array([3.6, 1.8, 2.8])
SIGMA = np.array([2.0, 0.3, 0.3])
LOG_REFERENCE = np.log(np.full(3, 1 / 3))
BETA, EPS, MATCHED_KL = 1.0, 0.5, 0.2126
"""MATCHED_KL is the one that the naive policy reaches at beta = 1."""
HALF_WIDTH = 1.96
"""Of a 95% interval, in standard deviations."""

DIVERGENCES: dict[str, Callable[..., Objective]] = {
    "naive: mean − β KL": presets.ensemble_mean,
    "LCB (1 sd)": presets.lcb,
    "UWO (0.5)": presets.uwo,
    "Bregman, σ (PPO)": presets.variance_aware_ppo,
    "Bregman, σ²": presets.variance_aware,
    "weighted KL, σ²": presets.variance_aware_kl,
}
STRENGTHS: dict[str, Strength] = {
    f"β = {BETA:g}": Penalty(BETA),
    f"KL = {MATCHED_KL}": TargetKL(MATCHED_KL),
}
QUADRATICS: dict[str, tuple[Callable[..., Objective], float]] = {
    "naive: ℓ₂": (presets.variance_unaware_theorem, EPS),
    "σ²-weighted ℓ₂": (presets.variance_aware_theorem, EPS * SIGMA.min() ** 2),
}
"""The budgets of Theorem 3.3: eps, and lambda_min eps."""


def compute(setting: Setting) -> pd.DataFrame:
    """Policies and true returns of every objective; exact, so that the seed plays no role."""
    baseline = float(np.exp(LOG_REFERENCE) @ REWARD)
    rows = [
        {"group": group, "objective": name, "arm": arm + 1, "probability": policy[arm],
         "true_return": policy @ REWARD, "kl": kl, "harm": bool(policy @ REWARD < baseline - 1e-9),
         "reward": REWARD[arm], "estimate": ESTIMATE[arm], "sigma": SIGMA[arm],
         "interval": HALF_WIDTH * SIGMA[arm]}
        for (group, name), (policy, kl) in policies().items()
        for arm in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def policies() -> dict[tuple[str, str], tuple[np.ndarray, float]]:
    """Policy and its KL from the reference, by strength and objective."""
    scores = Scores.known(ESTIMATE, SIGMA)
    found = {}
    for name, preset in DIVERGENCES.items():
        for group, strength in STRENGTHS.items():
            solution = solve(preset(strength), LOG_REFERENCE, scores)
            found[group, name] = solution.policy, float(solution.kl)
    for name, (preset, eps) in QUADRATICS.items():
        solution = solve(preset(Budget(eps)), LOG_REFERENCE, scores)
        found[f"ℓ₂ ball, ε = {EPS:g}", name] = solution.policy, float(solution.kl)
    printed = sharpe_tilt_as_printed(ESTIMATE, SIGMA**2, LOG_REFERENCE, BETA)
    found[f"β = {BETA:g}", "Theorem 3.6 as printed"] = np.exp(printed), kl(printed, LOG_REFERENCE)
    found["reference", "reference π₀"] = np.exp(LOG_REFERENCE), 0.0
    return found


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """The bandit on the left, who gets which probability on the right."""
    left, right = canvas.subplots(1, 2, width_ratios=(1, 2.6))
    arms = table.drop_duplicates("arm")
    left.errorbar(arms.arm, arms.estimate, arms.interval, fmt="o", color=BLUE, ecolor=VERMILION,
                  capsize=3, label="estimate, 95% interval")  # fmt: skip
    left.plot(arms.arm, arms.reward, "D", color=GREEN, label="true reward")
    left.set_xticks((1, 2, 3))
    left.set(xlim=(0.5, 3.5), xlabel="arm", ylabel="reward")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    rows = table.drop_duplicates(["group", "objective"]).iloc[::-1].reset_index(drop=True)
    offset = np.zeros(len(rows))
    for arm, colour in zip((1, 2, 3), (ORANGE, SKY, GREEN), strict=True):
        width = table[table.arm == arm].iloc[::-1].probability.to_numpy()
        right.barh(rows.index, width, left=offset, color=colour, label=f"arm {arm}", height=0.7)
        offset += width
    right.set_yticks(rows.index, [_label(row) for row in rows.itertuples()], fontsize=6.5)
    for row in rows.itertuples():
        right.text(1.03, row.Index, f"{row.true_return:.3f}", va="center", fontsize=6.5,
                   color=VERMILION if row.harm else BLACK)  # fmt: skip
    right.set_title("true return", loc="right")
    right.set(xlim=(0, 1.18), ylim=(-0.6, len(rows) - 0.4), xlabel="probability")
    right.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", ".25", ".5", ".75", "1"))
    right.spines.bottom.set_bounds(0, 1)
    right.grid(visible=False, axis="y")
    right.legend(loc="upper center", bbox_to_anchor=(0.42, -0.13), ncols=3)


def caption(table: pd.DataFrame) -> str:
    """Which objectives do harm."""
    rows = table.drop_duplicates(["group", "objective"])
    baseline = float(rows.true_return[rows.group == "reference"].iloc[0])
    names = "; ".join(
        f"{row.objective} at {row.group} ({row.true_return:.3f})"
        for row in rows[rows.harm].itertuples()
    )
    return (
        f"Left: estimates {ESTIMATE.tolist()} with 95% intervals of sd {SIGMA.tolist()}, true "
        f"rewards {REWARD.tolist()}: numbers of ours, as the paper gives none. Right: exact optima "
        f"from a uniform reference, whose true return is {baseline:g}; returns in red are worse: "
        f"{names}. 'KL = {MATCHED_KL}' brings every policy to the distance that the naive one "
        f"reaches at beta = 1, {AT_KL}; the weighted l2 ball "
        "has the budget lambda_min eps. Theorem 3.6 as printed puts all mass on one vertex: it "
        "divides rewards by variances, so that its answer moves with a "
        "constant added to all rewards. Exact solutions, no draws."
    )


def _label(row: Any) -> str:
    return row.objective if row.group == "reference" else f"{row.objective}  ({row.group})"


FIGURE = Figure(
    "banerjee2024.fig2", "Fig. 2", "A three-armed bandit under every objective",
    {"toy": 1}, (TEXT, 3.8), compute, draw, caption,
)  # fmt: skip
