"""One objective object on three scales: solved on a table, trained on it, and trained on a
language model."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures import language_models
from figures.beyond.unification_runs import Measured, on_language_models, on_tables
from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate, Z, estimate
from theory import style
from theory.penalties import Penalty
from theory.presets import reward_robust, variance_aware

OBJECTIVES = {
    "reward-robust": reward_robust(Penalty(1.0)),
    "variance-aware": variance_aware(Penalty(12.5), sigma_min=0.2),
}
LAW = {
    "reward-robust": "one price for all responses",
    "variance-aware": "price σ² of each response",
}
SCALES = {
    "exact": "8x8 table, exact optimum",
    "PPO": "8x8 table, PPO",
    "language model": "language model, PPO",
}
COLOURS = {"exact": style.GREEN, "PPO": style.BLUE, "language model": style.VERMILION}
TABLES = 16
"""Policies on tables."""
SEEDS = {"toy": 10, "tiny": 10, "full": 30}
"""Policies of language models, of a preference data set each."""
SHOWN = 600
"""Responses in a panel."""
NEAR = 0.1
"""Distance of a slope from 1 up to which the law counts as obeyed."""


def compute(setting: Setting) -> pd.DataFrame:
    """Slopes and distances of each policy and of each scale, and some responses."""
    language_models.require_packages()
    frames = []
    for name, objective in OBJECTIVES.items():
        for scale in SCALES:
            rng = setting.rng(f"unification {name} {scale}")
            found = list(_policies(setting, objective, scale, rng))
            parts = _tables(found, objective, rng)
            frames += [part.assign(objective=name, scale=scale) for part in parts]
    return pd.concat(frames, ignore_index=True)


def _policies(
    setting: Setting, objective: Any, scale: str, rng: np.random.Generator
) -> Iterable[Measured]:
    """Of one objective on one scale."""
    from bandits.optimisers import PPO, Exact

    if scale == "language model":
        seeds = range(setting.seed, setting.seed + setting.count(SEEDS))
        return on_language_models(objective, seeds)
    optimiser = Exact() if scale == "exact" else PPO(samples=64)
    return on_tables(objective, optimiser, range(setting.seed, setting.seed + TABLES), rng)


def _tables(
    found: list[Measured], objective: Any, rng: np.random.Generator
) -> tuple[pd.DataFrame, ...]:
    """A row a policy, one for all of them, and some of their responses."""
    from llm_bridge.optimality import compare

    beta = objective.strength.beta
    rows = [
        {"seed": one.seed, "exact": one.exact, **compare(one.policy, one.reference, beta).row()}
        for one in found
    ]
    policies = pd.DataFrame(rows).assign(kind="policy")
    if len(policies) > 1:
        slope = estimate(policies.slope)
    else:
        half = Z * policies.slope_error[0]
        slope = Estimate(policies.slope[0], policies.slope[0] - half, policies.slope[0] + half)
    means = policies[["kl", "kl_to_optimum", "exact", "shortfall", "r_squared"]].mean()
    overall = pd.DataFrame([{**slope._asdict(), **means, "policies": len(policies)}])
    points = pd.DataFrame({
        "x": np.concatenate([one.predicted.ravel() for one in found]),
        "y": np.concatenate([one.policy.log_ratio.ravel() for one in found]),
    }).drop_duplicates(ignore_index=True)  # fmt: skip
    chosen = rng.permutation(len(points))[:SHOWN]
    return policies, overall.assign(kind="scale"), points.iloc[chosen].assign(kind="response")


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """A row an objective, a column a scale, each panel with axes of its own."""
    grid = canvas.subplots(len(OBJECTIVES), len(SCALES), squeeze=False)
    for axes, name in zip(grid, OBJECTIVES, strict=True):
        part = table[table.objective == name]
        for ax, scale in zip(axes, SCALES, strict=True):
            _panel(ax, part[part.scale == scale], COLOURS[scale])
        axes[0].set_ylabel(f"{name}\nln(π/π₀)  [nat]")
    for ax, title in zip(grid[0], SCALES.values(), strict=True):
        ax.set_title(title)
    for ax in grid[-1]:
        ax.set_xlabel("(u − ν) / (β c)  [nat]")


def _panel(ax: Axes, part: pd.DataFrame, colour: str) -> None:
    """Responses, the law, the fitted line through their middle, and what was measured."""
    points, found = part[part.kind == "response"], part[part.kind == "scale"].iloc[0]
    ends = np.quantile(points[["x", "y"]], (0.002, 0.998)) + np.array([-0.2, 0.2])
    ax.plot(points.x, points.y, "o", color=colour, ms=2, mew=0, alpha=0.35, rasterized=True)
    ax.plot(ends, ends, color=style.BLACK, lw=0.8, label="slope 1")
    fitted = points.y.mean() + found["mean"] * (ends - points.x.mean())
    ax.plot(ends, fitted, "--", color=style.BLACK, lw=1.1, label="fit")
    ax.set(xlim=ends, ylim=ends)
    told = f"slope {_slope(found)}\nR² {found.r_squared:.2f}\nKL(π|π*) {_distance(found):.3f} nat"
    ax.text(0.97, 0.04, told, transform=ax.transAxes, ha="right", fontsize=6.5)


def _slope(found: Any) -> str:
    return f"{found['mean']:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _distance(found: Any) -> float:
    """KL(pi | pi*) in nats: exactly on a table."""
    away = found.kl_to_optimum if np.isnan(found.exact) else found.exact
    return max(float(away), 0.0)


def caption(table: pd.DataFrame) -> str:
    """The law, what points and intervals are, and the numbers."""
    overall = table[table.kind == "scale"].set_index(["objective", "scale"])
    models = int(overall.policies.xs("language model", level="scale").max())
    told = "; ".join(
        f"{name}: " + ", ".join(
            f"{scale} {_slope(row)}, KL(π|π*) {_distance(row):.3f} nat at {row.kl:.2f} from the "
            f"reference, {round(100 * row.shortfall)}% of the attainable gain lacking"
            for scale, row in rows.droplevel("objective").iterrows()
        )
        for name, rows in overall.groupby(level="objective", sort=False)
    )  # fmt: skip
    trained = "one policy" if models == 1 else f"{models} policies"
    over = (
        f"on the language model {trained} with a 95% jackknife interval over responses"
        if models == 1
        else f"on the language model {trained} with a 95% interval over them"
    )
    return (
        "The same objective objects solved exactly, trained by PPO on the 8x8 grid, and trained by "
        "PPO on the embedded language model of 0.1 million parameters. At the optimum "
        "ln(π/π₀) = (u − ν)/(βc), u the utility, c the price of the response, ν one normalising "
        "number a prompt. Points are responses that the policies drew; solid: the law; dashed: the "
        "slope of βc ln(π/π₀) on u within prompts, of responses that weigh 1/c². Tables: mean over "
        f"{int(overall.policies.max())} seeds (draws of data, reward "
        f"models and policies) with 95% intervals over them; {over}. Slopes: {told}. A policy that "
        "cannot express the optimum, or was stopped early, has a slope below 1."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether the slope is near 1 on all scales, of each objective."""
    found = []
    for name, rows in table[table.kind == "scale"].groupby("objective", sort=False):
        measured = ", ".join(f"{row['scale']} {_slope(row)}" for _, row in rows.iterrows())
        found.append(
            Finding(
                f"One objective object obeys one law on all scales, βc ln(π/π₀) = u − ν: {name}, "
                f"{LAW[str(name)]}.",
                f"Slope, 1 by the law: {measured}.",
                verdict((rows["mean"] - 1).abs() < NEAR),
            )
        )
    return found


FIGURE = Figure(
    "beyond.unification", "", "One objective object on a table and on a language model",
    {"tiny": 1000}, (style.TEXT, 4.4), compute, draw, caption, findings,
)  # fmt: skip
