"""Theorem 2.2 of banerjee2024 against simulation: as printed, inverted, and sharp."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.intervals import clopper_pearson
from theory.safe_bound import sharp_bound, theorem_22_as_printed, theorem_22_inverted
from theory.solvers.ellipsoid import steepest
from theory.solvers.quadratic import simplex_norm
from theory.style import BLACK, BLUE, ORANGE, TEXT, VERMILION

RESPONSES = (3, 10, 50)
VARIANCE_RANGE = (1.0, 10.0)
SIGNAL = 1.0
"""sqrt(r'M r) of the rewards under which harm is counted: how far r stands out of the noise."""
DRAWS = {"toy": (12, 2000), "tiny": (24, 20_000)}
"""Radii, and draws for each."""
LEVEL = 0.001
ROUNDING = 1e-12
STYLES = {
    "as printed": (VERMILION, "--"),
    "exponent inverted": (ORANGE, "-."),
    "sharp": (BLUE, "-"),
}
EVENTS = {"event": "P(event of Theorem 2.2)", "harm": "P(harm)"}


def compute(setting: Setting) -> pd.DataFrame:
    """Frequencies with exact limits, and what each statement claims of them on a finer grid."""
    points, draws = DRAWS[setting.scale]
    parts = []
    for n in RESPONSES:
        rng = setting.rng(f"harm bound {n}")
        reach = 1.6 * np.sqrt(n) + 1
        parts += [_claimed(n, np.linspace(0.02, 1, 80) * reach)]
        variances = np.linspace(*VARIANCE_RANGE, n)
        reward = rng.standard_normal(n)
        reward *= SIGNAL / np.sqrt(steepest(reward, variances)[1])
        noise = np.sqrt(variances) * rng.standard_normal((draws, n))
        for beta in np.linspace(1 / points, 1, points) * reach:
            step = _step(noise, variances, beta)
            promised = (step * noise).sum(-1) - beta * np.sqrt((variances * step**2).sum(-1))
            gain = (_step(reward + noise, variances, beta) * reward).sum(-1)
            happened = {"event": promised <= ROUNDING, "harm": gain < -ROUNDING}
            parts += [_counted(n, beta, event, hits) for event, hits in happened.items()]
    return pd.concat(parts)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row an event, one column a number of responses."""
    axes = canvas.subplots(len(EVENTS), len(RESPONSES), sharey=True, sharex="col")
    for row, (event, label) in zip(axes, EVENTS.items(), strict=True):
        row[0].set_ylabel(label)
        for ax, n in zip(row, RESPONSES, strict=True):
            _panel(ax, table[(table.event == event) & (table.n == n)])
    for ax, n in zip(axes[0], RESPONSES, strict=True):
        ax.set_title(f"n = {n} responses")
    for ax in axes[-1]:
        ax.set_xlabel(r"radius $\beta$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4)


def caption(table: pd.DataFrame) -> str:
    """The two events, and how many draws."""
    seen = table[table.curve == "simulated"]
    low, high = VARIANCE_RANGE
    return (
        "The policy that maximises R'd - beta |d|_S over the simplex around a uniform reference, "
        f"S diagonal from {low:g} to {high:g}. Top: probability that the maximum does not exceed "
        "the best true gain, for r = 0, where the sharp bound F_(n-1)(beta^2) is exact; the "
        "printed bound 1 - exp(-n/beta^2) is refuted where it lies above the points. Bottom: "
        "probability that the chosen policy is worse than the reference, with sqrt(r'Mr) = "
        f"{SIGNAL:g}; the curves are what each bound leaves for harm, refuted where they lie below "
        f"the points. Points: {int(seen.draws.max()):,} draws, the same ones for every beta, with "
        f"{1 - LEVEL:.1%} Clopper-Pearson intervals of each."
    )


def _step(estimate: np.ndarray, variances: np.ndarray, beta: float) -> np.ndarray:
    """pi - pi0 of the policy that maximises the lower bound of its gain."""
    reference = np.full(len(variances), 1 / len(variances))
    return simplex_norm(estimate, variances, reference, beta).policy - reference


def _claimed(n: int, beta: np.ndarray) -> pd.DataFrame:
    """The three lower bounds, and their complements as upper bounds of harm."""
    bounds = {
        "as printed": theorem_22_as_printed(n, beta),
        "exponent inverted": theorem_22_inverted(n, beta),
        "sharp": sharp_bound(n - 1, beta),
    }
    return pd.concat(
        pd.DataFrame({"event": event, "n": n, "beta": beta, "curve": name, "value": value})
        for name, bound in bounds.items()
        for event, value in (("event", bound), ("harm", 1 - bound))
    )


def _counted(n: int, beta: float, event: str, happened: np.ndarray) -> pd.DataFrame:
    successes, draws = int(happened.sum()), len(happened)
    low, high = clopper_pearson(successes, draws, LEVEL)
    row = {"event": event, "n": n, "beta": beta, "curve": "simulated", "value": successes / draws,
           "low": float(low), "high": float(high), "draws": draws}  # fmt: skip
    return pd.DataFrame([row])


def _panel(ax: Axes, part: pd.DataFrame) -> None:
    for name, (colour, line) in STYLES.items():
        curve = part[part.curve == name]
        ax.plot(curve.beta, curve.value, line, color=colour, label=name)
    seen = part[part.curve == "simulated"]
    ax.errorbar(seen.beta, seen.value, (seen.value - seen.low, seen.high - seen.value), fmt=".",
                color=BLACK, elinewidth=0.8, capsize=1.5, ms=3, label="simulated")  # fmt: skip


FIGURE = Figure(
    "beyond.harm_bound", "", "Theorem 2.2 against simulation",
    {"toy": 6, "tiny": 120}, (TEXT, 3.8), compute, draw, caption,
)  # fmt: skip
