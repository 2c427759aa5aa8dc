"""What the variance-aware rule gains when both policies move equally far."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.streaming import Moments
from theory.style import BLUE, ORANGE, REFERENCE, TEXT
from theory.variance_spread import matched_step, step_ratio

CELLS = 1000
RANGES = {"(3, 100)": (3.0, 100.0), "(70, 100)": (70.0, 100.0)}
SCALES = {"toy": (7, 2000), "tiny": (13, 20_000)}
"""Reward scales, and draws at each."""
LEVEL = 0.05


def compute(setting: Setting) -> pd.DataFrame:
    """Ratios of mean and sd of the improvement, aware over unaware, in both calibrations."""
    points, draws = SCALES[setting.scale]
    records = []
    for label, (low, high) in RANGES.items():
        rng = setting.rng(f"matched step {label}")
        variances = np.linspace(low, high, CELLS)
        direction = rng.standard_normal(CELLS)
        direction /= np.sqrt((direction**2).mean())
        shrink = step_ratio(variances)
        for scale in np.geomspace(0.1, 10, points):
            reward = scale * direction
            estimate = reward + np.sqrt(variances) * rng.standard_normal((draws, CELLS))
            unaware, aware = estimate, estimate / variances
            gains = [
                Moments.of(step @ reward / np.linalg.norm(step, axis=1))
                for step in (unaware, aware)
            ]
            budgeted = aware @ reward / np.sqrt((estimate * aware).sum(1) / variances.min())
            gains.append(Moments.of(budgeted))
            exact = matched_step(reward, variances)
            base, matched, calibrated = gains
            spread = 1.96 * np.sqrt(1 / draws)  # two independent sds, each with error sd/sqrt(2N)
            for name, moments in (("matched", matched), ("calibrated", calibrated)):
                ratio = moments.sd() / base.sd()
                records.append(
                    {"variances": label, "scale": scale, "calibration": name,
                     "mean_ratio": moments.mean / base.mean, "sd_ratio": ratio,
                     "sd_low": ratio * (1 - spread), "sd_high": ratio * (1 + spread),
                     "mean_exact": exact.mean_ratio, "sd_exact": exact.sd_ratio,
                     "step_ratio": shrink, "draws": draws}
                )  # fmt: skip
    return pd.DataFrame(records)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Dispersion on the left, gain on the right."""
    axes = canvas.subplots(1, 2)
    for ax, what in zip(axes, ("sd", "mean"), strict=True):
        for (label, part), colour in zip(
            table.groupby("variances", sort=False), (BLUE, ORANGE), strict=True
        ):
            for name, marker, line in (("matched", "o", "-"), ("calibrated", "s", ":")):
                rows = part[part.calibration == name]
                ax.plot(rows.scale, rows[f"{what}_ratio"], marker + line, color=colour,
                        label=f"S in {label}, {name}")  # fmt: skip
                if what == "sd":
                    ax.fill_between(rows.scale, rows.sd_low, rows.sd_high, color=colour, alpha=0.2,
                                    lw=0)  # fmt: skip
        ax.axhline(1, color=REFERENCE, lw=0.8)
        ax.set_xscale("log")
        ax.set_xlabel("root mean square of the true reward")
        ax.set_ylabel(f"{what}, aware / unaware")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4)


def caption(table: pd.DataFrame) -> str:
    """What is matched, and the bands."""
    return (
        "Ratio of the standard deviation (left) and mean (right) of the improvement, aware over "
        f"unaware, {CELLS} cells. 'calibrated': budgets eps and lambda_min eps, as in the "
        "theorem, which shortens the aware step to "
        + " and ".join(f"{r:.3f}" for r in dict.fromkeys(table.step_ratio))
        + " of the other; 'matched': equal step length. The smaller dispersion is the shorter "
        "step; what remains at equal length is a larger mean. "
        f"{int(table.draws.max()):,} draws a point; bands are 95% intervals of the ratio of sds."
    )


FIGURE = Figure(
    "beyond.matched_step", "", "Return dispersion at matched step length",
    {"toy": 3, "tiny": 40}, (TEXT, 2.6), compute, draw, caption,
)  # fmt: skip
