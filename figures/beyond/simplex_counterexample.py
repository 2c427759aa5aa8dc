"""Where the ordering of Theorem 3.3 of banerjee2024 fails once policies stay on the simplex."""

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.intervals import paired_difference
from theory.solvers.quadratic import simplex_budget
from theory.style import BLACK, COLUMN

REWARD = np.array([-0.1, 0.0, 0.0])
REFERENCE = np.full(3, 1 / 3)
STORED = (0.01, 1.0, 0.34070, 0.46037)
"""Variance of the third response, eps, and the exact P1 and P2 of the stored counterexample."""
GRID = {"toy": (13, 13, 2000), "tiny": (25, 25, 10_000)}
LEVEL = 0.001


def compute(setting: Setting) -> pd.DataFrame:
    """P2 - P1 on common draws, over the third variance and the budget."""
    columns, rows, draws = GRID[setting.scale]
    noise = setting.rng("simplex counterexample").standard_normal((draws, 3))
    safe = REFERENCE.min() ** 2 * 3 / 2
    records = []
    for variance in np.geomspace(1e-3, 1, columns):
        variances = np.array([1.0, 1.0, variance])
        estimate = REWARD + np.sqrt(variances) * noise
        for eps in np.geomspace(0.02, 2, rows):
            harm = [
                (simplex_budget(estimate, weight, REFERENCE, budget).policy - REFERENCE) @ REWARD
                <= 0
                for weight, budget in ((np.ones(3), eps), (variances, eps * variances.min()))
            ]
            unaware, aware = harm
            paired = paired_difference(
                int((aware & ~unaware).sum()), int((unaware & ~aware).sum()), draws, LEVEL
            )
            records.append(
                {"variance": variance, "eps": eps, "p_unaware": unaware.mean(),
                 "p_aware": aware.mean(), "difference": paired.difference,
                 "significant": paired.p_value < LEVEL, "draws": draws, "safe_eps": safe}
            )  # fmt: skip
    return pd.DataFrame(records)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Difference over the plane; the stored instance and the sufficient condition."""
    ax = canvas.subplots()
    cells = table.pivot(index="eps", columns="variance", values="difference")
    reach = cells.abs().max().max()
    mesh = ax.pcolormesh(
        cells.columns, cells.index, cells, cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -reach, reach), shading="nearest", rasterized=True,
    )  # fmt: skip
    ax.set(xscale="log", yscale="log")
    ax.axhline(table.safe_eps.iloc[0], color=BLACK, lw=0.8, ls="--")
    ax.plot(*STORED[:2], marker="*", ms=9, color=BLACK, mfc="white", clip_on=False)
    ax.set_xlabel(r"variance $S_{33}$ of the third response")
    ax.set_ylabel(r"budget $\epsilon$")
    ax.grid(False)
    canvas.colorbar(mesh, ax=ax, label=r"$P_2 - P_1$ (red: ordering fails)")


def caption(table: pd.DataFrame) -> str:
    """The instance, and how sure the failures are."""
    failing = table[(table.difference > 0) & table.significant]
    below = table[table.eps <= table.safe_eps]
    return (
        "Three responses, r = (-0.1, 0, 0), S = diag(1, 1, S33), pi0 uniform, calibrated budgets. "
        "Colour: P(harm) of the variance-aware minus the unaware policy, "
        f"{int(table.draws.max()):,} common draws a cell. The theorem says it is never positive; "
        f"{len(failing)} of {len(table)} cells are, each at a McNemar p-value below {LEVEL:g}. "
        f"Star: stored instance with exact P1 = {STORED[2]:.4f}, P2 = {STORED[3]:.4f}. "
        "Dashed: eps = min(pi0)^2 n/(n-1), below which positivity never binds: the theorem holds "
        f"(largest difference there {below.difference.max():+.4f})."
    )


FIGURE = Figure(
    "beyond.simplex_counterexample", "", "Where Theorem 3.3 fails on the simplex",
    {"toy": 2, "tiny": 30}, (COLUMN, 2.6), compute, draw, caption,
)  # fmt: skip
