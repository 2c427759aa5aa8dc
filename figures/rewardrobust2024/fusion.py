"""Table 8: reward models on different scales, normalised before they are combined or not."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.rewardrobust2024.claims import estimates, positive, said
from figures.study import curves, difference
from theory import style
from theory.intervals import clopper_pearson
from theory.optimum import solve
from theory.penalties import TargetKL
from theory.presets import ensemble_mean, lcb, reward_robust, uwo, wco

SEEDS = {"toy": 256, "tiny": 512}
DISTANCE, SCALE, OFFSET, LEVEL = 1.5, 1.0, 2.0, 0.05
MARGIN = 0.01
"""Loss of true return that counts as none."""
OBJECTIVES = {
    "mean": ensemble_mean, "min": wco, "LCB": lcb, "UWO": uwo, "robust mix": reward_robust,
}  # fmt: skip
LOOKS = {
    "one scale": (style.BLACK, "D", "one scale"),
    "none": (style.VERMILION, "^", "many scales"),
    "centred": (style.ORANGE, "s", "many scales, centred"),
    "standardised": (style.BLUE, "o", "many scales, standardised"),
}
"""Scores as trained and centred; then the same on different scales, by how they are normalised."""


def compute(setting: Setting) -> pd.DataFrame:
    """True return and share of flawless actors, by normalisation and objective."""
    from bandits.grid import Grid

    world, seeds = Grid(), list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    _, log_reference, trained = world.prepare(seeds)
    mixed = rescaled(world.scores(seeds), seeds)
    tables = {
        "one scale": trained,
        "none": mixed,
        "centred": mixed.centred(log_reference),
        "standardised": mixed.standardised(log_reference),
    }
    gold, frames = world.gold.numpy(), []
    for normalised, scores in tables.items():
        for name, preset in OBJECTIVES.items():
            solution = solve(preset(TargetKL(DISTANCE)), log_reference, scores)
            policy = solution.policy_or_nan.numpy()
            solved = solution.solved
            frames.append(
                {"normalised": normalised, "objective": name, "seed": np.array(seeds)[solved],
                 "gold": (policy * gold).sum(-1).mean(-1)[solved],
                 "full": (policy.argmax(-1) == gold.argmax(-1)).all(-1)[solved].astype(float)}
            )  # fmt: skip
    return _summary(pd.concat(map(pd.DataFrame, frames), ignore_index=True), len(seeds))


def rescaled(scores: Any, seeds: list[int]) -> Any:
    """Members times lognormal factors plus normal offsets, drawn for each member of each seed."""
    from bandits.streams import draw
    from theory.scores import Scores

    size = (1, 1, scores.k)
    factors = draw(seeds, "scales", lambda rng: rng.lognormal(0.0, SCALE, size))
    offsets = draw(seeds, "offsets", lambda rng: rng.normal(0.0, OFFSET, size))
    return Scores(scores.members * factors + offsets)


def _summary(rows: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Levels, and gains of standardised scores over every alternative on the same seeds."""
    levels = curves(rows, ("gold", "full"), by=("normalised", "objective")).assign(kind="level")
    share = levels.metric == "full"
    counts = levels.loc[share, "seeds"].to_numpy()
    hits = (levels.loc[share, "mean"].to_numpy() * counts).round()
    levels.loc[share, ["low", "high"]] = np.stack(clopper_pearson(hits, counts, LEVEL), -1)
    gains = [
        {"objective": name, "normalised": other, "metric": metric, "kind": "gain",
         **difference(part.assign(objective=part.normalised), "standardised", other,
                      metric)._asdict()}
        for name, part in rows.groupby("objective", sort=False)
        for other in LOOKS if other != "standardised"
        for metric in ("gold", "full")
    ]  # fmt: skip
    table = pd.concat([levels, pd.DataFrame(gains)], ignore_index=True)
    return table.assign(drawn=seeds)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """True return on the left, share of flawless actors on the right."""
    axes = canvas.subplots(1, 2, sharey=True)
    levels, where = table[table.kind == "level"], np.arange(len(OBJECTIVES))[::-1]
    labels = {"gold": "true return", "full": "share of seeds right for all prompts"}
    for ax, (metric, label) in zip(axes, labels.items(), strict=True):
        part = levels[levels.metric == metric]
        for place, (name, (colour, marker, meaning)) in enumerate(LOOKS.items()):
            rows = part[part.normalised == name]
            errors = np.array([rows["mean"] - rows.low, rows.high - rows["mean"]])
            ax.errorbar(
                rows["mean"], where + 0.24 - 0.16 * place, xerr=errors, fmt=marker, color=colour,
                label=meaning,
            )  # fmt: skip
        ax.set_xlabel(label)
    axes[0].set_yticks(where, list(OBJECTIVES))
    canvas.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS)
    )


def caption(table: pd.DataFrame) -> str:
    """How scales differ, and how they are undone."""
    missing = int((table.drawn - table.seeds).max())
    return (
        f"Exact optima at {DISTANCE:g} nats of KL, four reward models. Black: as trained, centred. "
        f"Others: each model times a lognormal({SCALE:g}) factor plus a normal offset of sd "
        f"{OFFSET:g}; then as they are, with each model's mean under the reference "
        "subtracted on each prompt ('centred'), or also divided by its standard deviation "
        f"('standardised'). {int(table.drawn.max())} seeds (draws); left 95% intervals over seeds, "
        f"right 95% Clopper-Pearson intervals."
        + (f" Up to {missing} seeds had no policy at this distance." if missing else "")
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """What normalising each source restores."""
    over_none, over_centred, over_trained = (
        estimates(table, "objective", kind="gain", metric="gold", normalised=other)
        for other in ("none", "centred", "one scale")
    )
    return [
        Finding(
            "Reward models on different scales should be normalised, each by its own mean and "
            "standard deviation, before they are combined (announced, not tried, in the paper).",
            f"True return, standardised minus scores as they are: {said(over_none)}; minus centred "
            f"only: {said(over_centred)}.",
            verdict(map(positive, (*over_none.values(), *over_centred.values()))),
        ),
        Finding(
            "Normalised sources combine as fairly as if they had one scale.",
            f"True return, standardised minus models of one scale: {said(over_trained)}; a "
            f"loss below {MARGIN:g} counts as none.",
            verdict(numbers.low > -MARGIN for numbers in over_trained.values()),
        ),
    ]


FIGURE = Figure(
    "rewardrobust2024.table8", "Table 8", "Heterologous fusion", {"toy": 8, "tiny": 30},
    (style.TEXT, 3.0), compute, draw, caption, findings,
)  # fmt: skip
