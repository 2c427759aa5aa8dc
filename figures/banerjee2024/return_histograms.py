"""Figs. 3-5: the true return of the variance-unaware and variance-aware policies.

The paper fixes r in 1000 dimensions and draws R ~ N(r, S). It does not give r, pi0, eps or the
number of draws. Two readings are drawn. 'closed form': improvements (pi - pi0)'r of the closed
forms, whose sign is not constrained; with r ~ N(0, 0.3075^2) and eps = 0.1936 six of the eight
numbers of the captions come out. 'simplex': exact solutions on the simplex around a uniform pi0,
r ~ N(4.64, 0.135^2), eps = 1; there the means are equal, as printed. Nothing matches all eight.
"""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy.stats import norm

from figures.figure import Figure, Setting
from theory.montecarlo import simulate
from theory.return_law import aware_return, unaware_return
from theory.return_sampler import return_sampler
from theory.solvers.quadratic import simplex_budget
from theory.streaming import Histogram, Moments
from theory.style import AWARE, BLACK, TEXT, UNAWARE

CELLS = 1000
RANGES = {"high": (3.0, 100.0), "low": (70.0, 100.0)}
REWARD_SD, EPS = 0.3075, 0.1936
SIMPLEX_REWARD_MEAN, SIMPLEX_REWARD_SD, SIMPLEX_EPS = 4.64, 0.135, 1.0
DRAWS = {"toy": 200_000, "tiny": 1_000_000}
SIMPLEX_DRAWS = {"toy": (6, 100), "tiny": (6, 400)}
"""Reward vectors, and estimates for each."""
PRINTED = {
    ("high", "unaware"): (4.643, 0.13),
    ("high", "aware"): (4.644, 0.04),
    ("low", "unaware"): (0.14, 0.14),
    ("low", "aware"): (0.13, 0.12),
}
"""Mean and standard deviation in the captions of [banerjee2024, Figs. 3 and 4]."""
METHODS = ("unaware", "aware")
LEVEL = 0.05


def closed_form(spread: str, setting: Setting) -> pd.DataFrame:
    """Histogram, moments and harm of the closed forms, with the exact laws."""
    rng = setting.rng(f"closed form {spread}")
    reward = rng.standard_normal(CELLS)
    reward *= REWARD_SD / np.sqrt((reward**2).mean())
    variances = np.linspace(*RANGES[spread], CELLS)
    budgets = {"unaware": EPS, "aware": EPS * variances.min()}
    unaware = unaware_return(reward, variances, eps=EPS, equalities=None)
    aware = aware_return(reward, variances, eps=budgets["aware"], equalities=None)
    exact = {"unaware": unaware.moments(), "aware": aware.moments()}
    edges = {
        method: np.linspace(m.mean - 4.5 * m.sd, m.mean + 4.5 * m.sd, 61)
        for method, m in exact.items()
    }
    sampler = return_sampler(
        reward, variances, unaware_eps=budgets["unaware"], aware_eps=budgets["aware"]
    )
    draws = DRAWS[setting.scale]
    found = simulate(sampler, draws, rng=rng, workers=setting.workers, edges=edges)
    rows = []
    for method in METHODS:
        harm = found.events[f"{method}_harm"]
        interval = harm.interval(LEVEL)
        rows += _statistics("closed form", method, found.moments[method], draws)
        rows += _densities("closed form", method, found.histograms[method], draws)
        rows.append(("closed form", method, "P(harm)", np.nan, harm.frequency,
                     float(interval.low), float(interval.high), draws))  # fmt: skip
        for name, value in (("exact mean", exact[method].mean), ("exact sd", exact[method].sd)):
            rows.append(("closed form", method, name, np.nan, value, np.nan, np.nan, 0))
    return _table(rows)


def simplex(spread: str, setting: Setting) -> pd.DataFrame:
    """The same on the simplex, averaged over reward vectors; P(harm) has no simple interval."""
    rng = setting.rng(f"simplex {spread}")
    variances = np.linspace(*RANGES[spread], CELLS)
    reference = np.full(CELLS, 1 / CELLS)
    vectors, estimates = SIMPLEX_DRAWS[setting.scale]
    gains: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    for _ in range(vectors):
        reward = rng.normal(SIMPLEX_REWARD_MEAN, SIMPLEX_REWARD_SD, CELLS)
        estimate = reward + np.sqrt(variances) * rng.standard_normal((estimates, CELLS))
        for method, weight, eps in (
            ("unaware", np.ones(CELLS), SIMPLEX_EPS),
            ("aware", variances, SIMPLEX_EPS * variances.min()),
        ):
            policy = simplex_budget(estimate, weight, reference, eps).policy
            gains[method].append((policy - reference) @ reward)
    low, high = np.quantile(np.concatenate(gains["unaware"]), (0.001, 0.999))
    edges = np.linspace(low - 0.1, high + 0.1, 41)
    rows = []
    for method in METHODS:
        sample = np.concatenate(gains[method])
        rows += _statistics("simplex", method, Moments.of(sample), len(sample))
        rows += _densities("simplex", method, Histogram.of(sample, edges), len(sample))
        harm = float((sample <= 0).mean())
        rows.append(("simplex", method, "P(harm)", np.nan, harm, np.nan, np.nan, len(sample)))
    return _table(rows)


def compute(setting: Setting, *, spread: str) -> pd.DataFrame:
    """Both readings of one setting, and what the caption prints."""
    printed = [
        ("printed", method, name, np.nan, value, np.nan, np.nan, 0)
        for method in METHODS
        for name, value in zip(("mean", "sd"), PRINTED[spread, method], strict=True)
    ]
    parts = (closed_form(spread, setting), simplex(spread, setting), _table(printed))
    return pd.concat(parts).assign(spread=spread)


def compute_both(setting: Setting) -> pd.DataFrame:
    """Figs. 3 and 4 side by side."""
    return pd.concat([compute(setting, spread=spread) for spread in RANGES])


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a setting, one column a reading."""
    spreads = list(dict.fromkeys(table.spread))
    axes = canvas.subplots(len(spreads), 2, squeeze=False)
    for row, spread in zip(axes, spreads, strict=True):
        for ax, reading in zip(row, ("closed form", "simplex"), strict=True):
            part = table[(table.spread == spread) & (table.reading == reading)]
            _histograms(ax, part)
            low, high = RANGES[spread]
            ax.set_title(f"{reading}; variances in ({low:g}, {high:g})")
            ax.set_xlabel(r"improvement $(\pi-\pi_0)^\top r^*$  [reward]")
            ax.set_ylabel("density  [1 / reward]")


def caption(table: pd.DataFrame) -> str:
    """Numbers of both readings beside the printed ones."""
    sentences = []
    for spread in dict.fromkeys(table.spread):
        for reading in ("closed form", "simplex"):
            part = table[(table.spread == spread) & (table.reading == reading)]
            numbers = "; ".join(
                f"{method} mean {_read(part, method, 'mean'):.3f}, sd "
                f"{_read(part, method, 'sd'):.3f}, P(harm) {_read(part, method, 'P(harm)'):.3f}"
                for method in METHODS
            )
            draws = int(part.draws.max())
            sentences.append(
                f"{spread.capitalize()} variability, {reading}: {numbers} ({draws:,} draws)."
            )
        printed = table[(table.spread == spread) & (table.reading == "printed")]
        sentences.append(
            "Printed: "
            + "; ".join(
                f"{method} mean {_read(printed, method, 'mean'):g}, "
                f"sd {_read(printed, method, 'sd'):g}"
                for method in METHODS
            )
            + "."
        )
    if "high" in set(table.spread):
        sentences.append(
            "The printed means 4.643 and 4.644 cannot be matched together with the printed sds: "
            "closed forms force the means apart, and on the simplex the aware sd is smaller still."
        )
    sentences.append(
        "Dashed: normal density with the exact mean and sd of the closed form. "
        "Improvements are over a reference whose return is not part of the figure."
    )
    return " ".join(sentences)


def _histograms(ax: Axes, part: pd.DataFrame) -> None:
    for method, colour in zip(METHODS, (UNAWARE, AWARE), strict=True):
        bins = part[(part.method == method) & (part.statistic == "density")]
        width = bins.x.diff().median()
        label = f"{method}: sd {_read(part, method, 'sd'):.3f}"
        ax.bar(bins.x, bins.value, width=width, color=colour, alpha=0.45, label=label)
        if (part.statistic == "exact mean").any():
            mean, sd = _read(part, method, "exact mean"), _read(part, method, "exact sd")
            x = np.linspace(bins.x.min(), bins.x.max(), 200)
            ax.plot(x, norm.pdf(x, mean, sd), "--", color=colour, lw=1)
    ax.axvline(0, color=BLACK, lw=0.6)
    ax.legend(loc="upper right")
    ax.set_ylim(top=1.35 * ax.get_ylim()[1])


def _statistics(reading: str, method: str, moments: Moments, draws: int) -> list[tuple]:
    interval, sd = moments.interval(LEVEL), moments.sd()
    half = 1.96 * sd / (2 * draws) ** 0.5
    return [
        (reading, method, "mean", np.nan, moments.mean, interval.low, interval.high, draws),
        (reading, method, "sd", np.nan, sd, sd - half, sd + half, draws),
    ]


def _densities(reading: str, method: str, histogram: Histogram, draws: int) -> list[tuple]:
    centres = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    return [
        (reading, method, "density", x, value, np.nan, np.nan, draws)
        for x, value in zip(centres, histogram.density(), strict=True)
    ]


def _table(rows: list[tuple]) -> pd.DataFrame:
    columns = ["reading", "method", "statistic", "x", "value", "low", "high", "draws"]
    return pd.DataFrame(rows, columns=columns)


def _read(part: pd.DataFrame, method: str, statistic: str) -> float:
    found = part[(part.method == method) & (part.statistic == statistic)].value
    return float(found.iloc[0])


FIGURES = (
    Figure(
        "banerjee2024.fig3", "Fig. 3", "True return of both methods, high variability",
        {"toy": 3, "tiny": 10}, (TEXT, 2.5), partial(compute, spread="high"), draw, caption,
    ),
    Figure(
        "banerjee2024.fig4", "Fig. 4", "True return of both methods, low variability",
        {"toy": 3, "tiny": 10}, (TEXT, 2.5), partial(compute, spread="low"), draw, caption,
    ),
    Figure(
        "banerjee2024.fig5", "Fig. 5", "Policy returns in both settings",
        {"toy": 6, "tiny": 20}, (TEXT, 4.6), compute_both, draw, caption,
    ),
)  # fmt: skip
