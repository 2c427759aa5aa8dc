"""Fig. 2: where the product of two Gaussian experts puts the reward."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from scipy import stats

from figures.figure import Figure, Finding, Setting
from theory import style
from theory.binding import Binding
from theory.experts import ExpertMean, ExpertVariance
from theory.scores import Scores

MEANS = (2.0, -1.0)
"""What the reward model and the distance from the reference say."""
REFERENCE_VARIANCE = 1.0
VARIANCES = {"equally sure": 1.0, "less sure": 4.0, "surer": 0.25}
"""Of the reward model; the panels (a), (b) and (c) of the paper."""
REWARDS = np.linspace(-14.0, 15.0, 1161)
SHOWN = slice(360, 782, 2)
"""Of the rewards, -5 to 5.5: what is drawn, and all that is kept."""
MODEL, DISTANCE, PRODUCT, PRINTED = (
    "reward model", "distance expert", "their product", "product as printed",
)  # fmt: skip
STYLES = {
    MODEL: {"color": style.VERMILION, "ls": "-"},
    DISTANCE: {"color": style.BLUE, "ls": "-"},
    PRODUCT: {"color": style.GREEN, "ls": "-"},
    PRINTED: {"color": style.GREEN, "ls": ":"},
}
CLOSE = 1e-6


def compute(setting: Setting) -> pd.DataFrame:
    """Densities of the rewards shown, the mean by a finer grid, and that of precision weights."""
    step, frames = REWARDS[1] - REWARDS[0], []
    for panel, variance in VARIANCES.items():
        model = stats.norm.pdf(REWARDS, MEANS[0], variance**0.5)
        distance = stats.norm.pdf(REWARDS, MEANS[1], REFERENCE_VARIANCE**0.5)
        product = model * distance
        densities = {
            MODEL: model,
            DISTANCE: distance,
            PRODUCT: product / (product.sum() * step),
            PRINTED: product,
        }
        frames += [
            pd.DataFrame(
                {"panel": panel, "variance": variance, "curve": curve, "reward": REWARDS[SHOWN],
                 "density": density[SHOWN], "integral": (REWARDS * density).sum() * step,
                 "weighted": precision_weighted(variance)}
            )
            for curve, density in densities.items()
        ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def precision_weighted(variance: float) -> float:
    """(s2 mu1 + s1 mu2) / (s1 + s2) [adaptive2024, Eq. 3], from the parts of the objective."""
    scores = Scores.known(np.array([MEANS[0]]), np.array([variance**0.5]))
    bound = Binding(mean_variance=np.array([REFERENCE_VARIANCE]))
    reward = ExpertMean(lam=1.0, per="sample")(scores, bound)
    weight = ExpertVariance(lam=1.0, per="sample")(scores, bound)
    return float((reward + weight * MEANS[1])[0])


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a variance; a vertical line at the mean of the normalised product."""
    axes = canvas.subplots(1, len(VARIANCES), sharex=True)
    for ax, (panel, part) in zip(axes, table.groupby("panel", sort=False), strict=True):
        for curve, look in STYLES.items():
            rows = part[part.curve == curve]
            ax.plot(rows.reward, rows.density, label=curve, **look)
        mean, variance = part.weighted.iloc[0], part.variance.iloc[0]
        ax.axvline(mean, color=style.GREEN, lw=0.7, ls="--")
        ax.set(xlabel="reward", ylim=(0, None))
        ax.set_title(f"{panel}: s₁ = {variance:g}, mean {mean:g}")
    axes[0].set_ylabel("density")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(STYLES))


def caption(table: pd.DataFrame) -> str:
    """What is solid, what is dotted, and the three means."""
    product = table[table.curve == PRODUCT].groupby("panel", sort=False)
    means = ", ".join(f"{part.integral.iloc[0]:.2f} at {part.variance.iloc[0]:g}"
                      for _, part in product)  # fmt: skip
    return (
        f"Gaussian experts with means {MEANS[0]:g} (reward model, variance s₁) and {MEANS[1]:g} "
        f"(log-ratio of reference and policy, variance {REFERENCE_VARIANCE:g}). Solid green: their "
        "product as a density, dashed: its mean. Dotted: the product without its constant, as the "
        f"paper's Eq. 3 writes it, which is no density. Means by s₁: {means}. Exact, without draws "
        "or bands."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The direction that the paper draws, and the equation it prints."""
    first = table.groupby(["curve", "variance"]).first().reset_index().sort_values("variance")
    normalised, printed = (first[first.curve == curve] for curve in (PRODUCT, PRINTED))
    falls = bool((np.diff(normalised.integral) < 0).all())
    weighted = np.allclose(normalised.integral, normalised.weighted, atol=CLOSE)
    as_printed = np.allclose(printed.integral, printed.weighted, atol=CLOSE)

    def listed(values: pd.Series) -> str:
        return ", ".join(f"{value:.3f}" for value in values)

    variances = ", ".join(f"{value:g}" for value in normalised.variance)
    return [
        Finding(
            "The surer the reward model, the closer the expected reward is to what it says.",
            f"Mean of the product {listed(normalised.integral)} at s₁ = {variances}.",
            "reproduces" if falls and weighted else "differs",
        ),
        Finding(
            "The integral of r times the product of the experts is their precision-weighted mean.",
            f"Integrals {listed(printed.integral)} against {listed(printed.weighted)}: equal only "
            "after the product is normalised.",
            "reproduces" if as_printed else "in part" if weighted else "differs",
        ),
    ]


FIGURE = Figure(
    "adaptive2024.fig2", "Fig. 2", "The product of two Gaussian experts",
    {"toy": 1}, (style.TEXT, 2.3), compute, draw, caption, findings,
)  # fmt: skip
