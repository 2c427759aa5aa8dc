"""Figs. 4a, 5a and 9, Table 4: training on the smallest, largest, mean and mixed score."""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.rewardrobust2024 import scoring_runs
from figures.rewardrobust2024.claims import estimates, positive, said
from figures.rewardrobust2024.scoring_runs import BETA, DISTANCE, LAM, SFT, STEPS, WORLDS
from figures.study import Estimate
from theory import style

LOOKS = {
    "min": (style.BLUE, "-", "smallest"),
    "mix": (style.GREEN, "-.", f"mix, λ = {LAM:g}"),
    "mean": (style.ORANGE, "--", "mean"),
    "one": (style.BLACK, ":", "one model"),
    "max": (style.VERMILION, "-", "largest"),
}
METRICS = {"gold": "true return", "kl": "KL to the reference, nats"}
TICKS = (5, 10, 20, 50, 100, 200)
DIRECTIONS = ("min", "one", "max")


def compute(setting: Setting, names: tuple[str, ...]) -> pd.DataFrame:
    """What concerns these objectives, of numbers that both figures share."""
    table = scoring_runs.compute(setting)
    concerned = table.objective.str.split(" − ").map(set(names).issuperset)
    return table[concerned].reset_index(drop=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a world: true return on the left, distance on the right."""
    axes = canvas.subplots(len(WORLDS), len(METRICS), sharex=True)
    curves = table[table.kind == "curve"]
    for row, world in zip(axes, WORLDS, strict=True):
        for ax, (metric, label) in zip(row, METRICS.items(), strict=True):
            part = curves[(curves.world == world) & (curves.metric == metric)]
            for name, rows in part.groupby("objective", sort=False):
                colour, line, meaning = LOOKS[str(name)]
                ax.plot(rows.step, rows["mean"], line, color=colour, label=meaning)
                ax.fill_between(rows.step, rows.low, rows.high, color=colour, alpha=0.1, lw=0)
            ax.set(xscale="log", ylabel=label, title=world)
            ax.set_xticks(TICKS, TICKS)
            ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("PPO iterations")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def caption(table: pd.DataFrame) -> str:
    """What is trained where, and what the bands are."""
    return (
        f"PPO with fixed beta {BETA:g} for {STEPS} iterations from a reference that gives the best "
        f"response probability {SFT:g}; four reward models, {int(table.seeds.max())} seeds "
        "(draws), bands are 95% intervals over seeds. Top: a network for each prompt, errors "
        "differ between members; bottom: networks that read prompt and response side by side, "
        "where responses never seen to lose are overrated by all members alike. The iterations "
        "are on a logarithmic scale. Differences are paired by seed."
    )


def findings_direction(table: pd.DataFrame) -> list[Finding]:
    """Smallest against largest."""
    ends, matched = (_each(table, kind, "min − max") for kind in ("end", "matched"))
    kept = _each(table, "decline", "min")
    distance = _each(table, "end", "min − max", "kl")
    return [
        Finding(
            "Training on the smallest score beats training on the largest.",
            f"True return, smallest minus largest: {said(ends)} after {STEPS} iterations, where "
            f"their KL differs by {said(distance)} nats; {said(matched)} at the exact optima at "
            f"{DISTANCE:g} nats. Largest minus one model, which averages nothing: "
            f"{said(_each(table, 'end', 'max − one'))}.",
            verdict(positive(e) for e in (*ends.values(), *matched.values())),
        ),
        _decline(table, "Training on the largest score declines late.", "max"),
        Finding(
            "Training on the smallest score does not decline.",
            f"Peak minus end {said(kept)}.",
            verdict(not positive(numbers) for numbers in kept.values()),
        ),
    ]


def findings_mean(table: pd.DataFrame) -> list[Finding]:
    """The mean against the others."""
    above, below, mixed = (
        {kind: _each(table, kind, name) for kind in ("end", "matched")}
        for name in ("min − mean", "mean − max", "mix − mean")
    )
    return [
        Finding(
            "The mean lies between the smallest and the largest score.",
            f"True return after {STEPS} iterations: smallest minus mean {said(above['end'])}, "
            f"mean minus largest {said(below['end'])}; at {DISTANCE:g} nats "
            f"{said(above['matched'])} and {said(below['matched'])}.",
            verdict(positive(e) for e in (*above["end"].values(), *below["end"].values())),
        ),
        _decline(table, "Training on the mean declines late.", "mean"),
        Finding(
            f"The mix with λ = {LAM:g} beats the mean.",
            f"True return, mix minus mean: {said(mixed['end'])} after {STEPS} iterations, "
            f"{said(mixed['matched'])} at {DISTANCE:g} nats.",
            verdict(map(positive, (*mixed["end"].values(), *mixed["matched"].values()))),
        ),
    ]


def _decline(table: pd.DataFrame, claim: str, name: str) -> Finding:
    """Whether it falls below its peak at all, and whether it still falls in the second half."""
    falls, late = (_each(table, kind, name) for kind in ("decline", "late decline"))
    rows = table[(table.kind == "decline") & (table.objective == name)]
    peaks = ", ".join(f"{s:g} ({w})" for s, w in zip(rows.step, rows.world, strict=True))
    return Finding(
        claim,
        f"True return, peak minus end, the peak of a seed placed by the other seeds: "
        f"{said(falls)}, best at iteration {peaks}; iteration {STEPS // 2} minus end: "
        f"{said(late)}.",
        verdict(map(positive, (*falls.values(), *late.values()))),
    )


def _each(table: pd.DataFrame, kind: str, name: str, metric: str = "gold") -> dict[str, Estimate]:
    """One estimate a world."""
    return estimates(table, "world", kind=kind, objective=name, metric=metric)


FIGURES = tuple(
    Figure(
        f"rewardrobust2024.{key}", number, title, {"toy": 8, "tiny": 40}, (style.TEXT, 4.0),
        partial(compute, names=names), draw, caption, findings,
    )
    for key, number, title, names, findings in (
        ("fig4a", "Figs. 4a and 5a, Table 4", "Over-scoring against under-scoring", DIRECTIONS,
         findings_direction),
        ("fig9", "Fig. 9", "The mean against other ways to combine", tuple(LOOKS), findings_mean),
    )
)  # fmt: skip
