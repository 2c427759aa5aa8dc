"""Where the ordering of Theorem 3.3 of banerjee2024 fails once policies stay on the simplex."""

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.intervals import clopper_pearson, paired_difference
from theory.solvers.quadratic import simplex_budget
from theory.style import BLACK, COLUMN

REWARD = np.array([-0.1, 0.0, 0.0])
REFERENCE = np.full(3, 1 / 3)
SAFE_EPS = REFERENCE.min() ** 2 * 3 / 2
"""min(pi0)^2 n/(n-1): no budget up to here makes positivity bind."""
INSTANCE = (0.01, 1.0)
INSTANCE_HARM = (0.34070, 0.46037)
"""Variance of the third response and eps, and the exact P1 and P2 there."""
GRID = {"toy": (25, 25, 2000), "tiny": (49, 49, 10_000)}
"""Variances, budgets, and draws for each pair; the instance is a point of these grids."""
LEVEL = 0.001


def compute(setting: Setting) -> pd.DataFrame:
    """P(harm) of both rules on common draws, over the third variance and the budget."""
    columns, rows, draws = GRID[setting.scale]
    noise = setting.rng("simplex counterexample").standard_normal((draws, 3))
    return pd.DataFrame(
        [
            compare_harm(float(variance), float(eps), noise)
            for variance in 10 ** np.linspace(-3, 0, columns)
            for eps in 10 ** np.linspace(-1.5, 0.5, rows)
        ]
    )


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Difference over the plane; the instance and the sufficient condition."""
    ax = canvas.subplots()
    cells = table.pivot(index="eps", columns="variance", values="difference")
    reach = cells.abs().max().max()
    mesh = ax.pcolormesh(
        cells.columns, cells.index, cells, cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -reach, reach), shading="nearest", rasterized=True,
    )  # fmt: skip
    ax.set(xscale="log", yscale="log")
    ax.axhline(table.safe_eps.iloc[0], color=BLACK, lw=0.8, ls="--", label="sufficient for Thm 3.3")
    ax.plot(*INSTANCE, "*", ms=9, color=BLACK, mfc="white", mew=0.8, label="exact instance")
    ax.set_xlabel(r"variance $S_{33}$ of the third response  [reward$^2$]")
    ax.set_ylabel(r"budget $\epsilon$")
    ax.grid(visible=False)
    canvas.colorbar(mesh, ax=ax, label=r"$P_2 - P_1$  (red: ordering fails)")
    canvas.legend(loc="outside lower center", ncols=2)


def caption(table: pd.DataFrame) -> str:
    """How sure the failures are, and the exact instance beside its simulation."""
    failing = table[(table.difference > 0) & table.significant]
    within = table[table.eps <= table.safe_eps]
    here = table[np.isclose(table.variance, INSTANCE[0]) & np.isclose(table.eps, INSTANCE[1])]
    simulated = "".join(
        f"; simulated P1 = {row.p_unaware:.4f} ({row.unaware_low:.4f} to {row.unaware_high:.4f}), "
        f"P2 = {row.p_aware:.4f} ({row.aware_low:.4f} to {row.aware_high:.4f})"
        for row in here.itertuples()
    )
    unaware, aware = INSTANCE_HARM
    return (
        "Three responses, r = (-0.1, 0, 0), S = diag(1, 1, S33), pi0 uniform, budgets eps and "
        "lambda_min eps. Colour: P(harm) of the variance-aware minus that of the unaware policy, "
        f"{int(table.draws.max()):,} draws, common to all cells. Theorem 3.3 says that it is never "
        f"positive; in {len(failing)} of {len(table)} cells it is, each at a McNemar p-value below "
        f"{LEVEL:g}. Star: exact P1 = {unaware:.4f}, P2 = {aware:.4f}{simulated} "
        f"({1 - LEVEL:.1%} Clopper-Pearson). Dashed: eps = min(pi0)^2 n/(n-1), up to which "
        "positivity never binds and the theorem holds (largest difference there "
        f"{within.difference.max():+.4f})."
    )


def compare_harm(variance: float, eps: float, noise: np.ndarray) -> dict[str, float]:
    """Count harm by both rules in one cell: a true return that does not exceed the reference's.

    noise: standard normal errors of the estimates, (draws, 3).
    """
    variances = np.array([1.0, 1.0, variance])
    estimate = REWARD + np.sqrt(variances) * noise
    unaware, aware = (_harmed(estimate, weight, eps) for weight in (np.ones(3), variances))
    draws = len(noise)
    paired = paired_difference(
        int((aware & ~unaware).sum()), int((unaware & ~aware).sum()), draws, LEVEL
    )
    limits = clopper_pearson(np.array([unaware.sum(), aware.sum()]), draws, LEVEL)
    return {
        "variance": variance, "eps": eps, "difference": paired.difference,
        "significant": paired.p_value < LEVEL,
        "p_unaware": unaware.mean(), "unaware_low": limits.low[0], "unaware_high": limits.high[0],
        "p_aware": aware.mean(), "aware_low": limits.low[1], "aware_high": limits.high[1],
        "draws": draws, "safe_eps": SAFE_EPS,
    }  # fmt: skip


def _harmed(estimate: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    policy = simplex_budget(estimate, weight, REFERENCE, eps * weight.min()).policy
    return ((policy - REFERENCE) * REWARD).sum(-1) <= 0


FIGURE = Figure(
    "beyond.simplex_counterexample", "", "Where Theorem 3.3 fails on the simplex",
    {"toy": 4, "tiny": 60}, (COLUMN, 2.9), compute, draw, caption,
)  # fmt: skip
