"""What the variance-aware rule gains when both policies move equally far."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from scipy.stats import norm

from figures.figure import Figure, Setting
from theory.montecarlo import simulate
from theory.return_law import aware_return, unaware_return
from theory.streaming import Moments
from theory.style import BLACK, BLUE, ORANGE, TEXT
from theory.variance_spread import heterogeneity, step_ratio

CELLS = 1000
RANGES = {"(3, 100)": (3.0, 100.0), "(70, 100)": (70.0, 100.0)}
CALIBRATIONS = ("matched", "calibrated")
DRAWS = {"toy": (9, 4000), "tiny": (13, 40_000)}
"""Reward scales, and draws at each."""
CURVE_POINTS = 25
LEVEL = 0.05
STATISTICS = {"sd": "sd, aware / unaware", "mean": "mean, aware / unaware"}


@dataclass(frozen=True, eq=False)
class StepSampler:
    """Improvements of the unaware rule and of the aware one in both calibrations, and contrasts.

    Budgets are |d|^2 = 1 for 'unaware' and 'matched', d'S d = lambda_min for 'calibrated'.
    """

    reward: np.ndarray
    variances: np.ndarray

    def __call__(self, rng: np.random.Generator, rows: int) -> Mapping[str, np.ndarray]:
        """Draw `rows` estimates R."""
        noise = rng.standard_normal((rows, len(self.reward)))
        unaware = self.reward + np.sqrt(self.variances) * noise
        aware = unaware / self.variances
        gain = np.einsum("ij,j->i", aware, self.reward)
        spread = np.einsum("ij,ij->i", aware, unaware)
        gains = {
            "unaware": np.einsum("ij,j->i", unaware, self.reward) / _norm(unaware),
            "matched": gain / _norm(aware),
            "calibrated": gain * np.sqrt(self.variances.min() / spread),
        }
        contrasts = {f"{name} difference": gains[name] - gains["unaware"] for name in CALIBRATIONS}
        return gains | contrasts


def compute(setting: Setting) -> pd.DataFrame:
    """Simulated ratios of moments on common draws, and the exact calibrated ones on a finer grid.

    Rewards are +-scale, so that they have no relation to the variances.
    """
    points, draws = DRAWS[setting.scale]
    records = []
    for label, (low, high) in RANGES.items():
        rng = setting.rng(f"matched step {label}")
        variances = np.linspace(low, high, CELLS)
        signs = rng.choice((-1.0, 1.0), CELLS)
        for scale in np.geomspace(0.1, 10, CURVE_POINTS):
            records += _exact(scale * signs, variances)
        for scale in np.geomspace(0.1, 10, points):
            sampler = StepSampler(scale * signs, variances)
            moments = simulate(sampler, draws, rng=rng, workers=setting.workers).moments
            records += _simulated(scale, moments)
        for record in records:
            record.setdefault("variances", label)
            record.setdefault("step_ratio", step_ratio(variances))
            record.setdefault("small_reward_gain", np.sqrt(heterogeneity(variances)))
    return pd.DataFrame(records)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Dispersion on the left, gain on the right."""
    axes = canvas.subplots(1, 2)
    for ax, (statistic, label) in zip(axes, STATISTICS.items(), strict=True):
        part = table[table.statistic == statistic]
        for variances, colour in zip(RANGES, (BLUE, ORANGE), strict=True):
            for calibration, marker, line in zip(CALIBRATIONS, "os", ("-", "--"), strict=True):
                rows = part[(part.variances == variances) & (part.calibration == calibration)]
                exact, seen = rows[rows.draws == 0], rows[rows.draws > 0]
                curve = seen if exact.empty else exact
                ax.plot(curve.scale, curve.value, line, color=colour, lw=1)
                ax.errorbar(seen.scale, seen.value, (seen.value - seen.low, seen.high - seen.value),
                            fmt=marker, color=colour, capsize=2, elinewidth=0.8,
                            label=f"S in {variances}, {calibration}")  # fmt: skip
        ax.axhline(1, color=BLACK, lw=0.6)
        ax.set(xscale="log", ylim=(0, None), ylabel=label)
        ax.set_xticks((0.1, 1, 10), ("0.1", "1", "10"))
        ax.set_xlabel("size of the true reward  [reward]")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1)


def caption(table: pd.DataFrame) -> str:
    """What is matched, and what bands and curves are."""
    steps = " and ".join(f"{r:.3f}" for r in dict.fromkeys(table.step_ratio))
    gains = " and ".join(f"{gain:.3f}" for gain in dict.fromkeys(table.small_reward_gain))
    return (
        "Standard deviation (left) and mean (right) of the improvement over the draw of R, aware "
        f"over unaware, {CELLS} cells, rewards of equal size and random sign. 'calibrated': "
        "budgets eps and lambda_min eps, as in Theorem 3.3, which shorten the aware step to "
        f"{steps} of the other for small rewards; 'matched': equal step length. The smaller "
        "dispersion is the shorter step; what is left at equal length and small rewards is a mean "
        f"{gains} times as large. Points: {int(table.draws.max()):,} common draws each, with 95% "
        "intervals (delta method). Dashed curves: exact moments; solid lines join the points."
    )


def _exact(reward: np.ndarray, variances: np.ndarray) -> list[dict]:
    """Ratios of the exact moments; only the calibrated rule has them."""
    aware = aware_return(reward, variances, eps=variances.min(), equalities=None).moments()
    unaware = unaware_return(reward, variances, eps=1.0, equalities=None).moments()
    ratios = {"mean": aware.mean / unaware.mean, "sd": aware.sd / unaware.sd}
    return [
        {"calibration": "calibrated", "statistic": statistic, "scale": np.abs(reward).max(),
         "value": value, "draws": 0}
        for statistic, value in ratios.items()
    ]  # fmt: skip


def _simulated(scale: float, moments: Mapping[str, Moments]) -> list[dict]:
    """Ratios, with the errors of a ratio of correlated normal samples."""
    base, z, records = moments["unaware"], norm.isf(LEVEL / 2), []
    for calibration in CALIBRATIONS:
        aware, difference = moments[calibration], moments[f"{calibration} difference"]
        mean_ratio, sd_ratio = aware.mean / base.mean, aware.sd() / base.sd()
        covariance = (aware.variance() + base.variance() - difference.variance()) / 2
        correlation = covariance / (aware.sd() * base.sd())
        spreads = aware.sd() / aware.mean, base.sd() / base.mean
        mean_error = spreads[0] ** 2 + spreads[1] ** 2 - 2 * correlation * np.prod(spreads)
        for statistic, ratio, error in (
            ("mean", mean_ratio, np.sqrt(mean_error / base.draws)),
            ("sd", sd_ratio, np.sqrt((1 - correlation**2) / base.draws)),
        ):
            records.append(
                {"calibration": calibration, "statistic": statistic, "scale": scale,
                 "value": ratio, "low": ratio * (1 - z * error), "high": ratio * (1 + z * error),
                 "draws": base.draws}
            )  # fmt: skip
    return records


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))


FIGURE = Figure(
    "beyond.matched_step", "", "Return dispersion at matched step length",
    {"toy": 3, "tiny": 40}, (TEXT, 2.8), compute, draw, caption,
)  # fmt: skip
