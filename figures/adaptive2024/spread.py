"""Fig. 6: how far members disagree on what the policy says, against its distance."""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.adaptive2024 import runs
from figures.adaptive2024.claims import spread_findings
from figures.adaptive2024.readings import reading
from figures.adaptive2024.runs import READINGS
from figures.adaptive2024.training import COLOURS
from figures.adaptive2024.worlds import CALIBRATED, MEMBERS, MISCALIBRATED, REFERENCE
from figures.figure import Figure, Setting
from figures.study import curves, estimate
from theory import style


def compute(setting: Setting) -> pd.DataFrame:
    """Spread and KL by iteration in both ensembles; then calibration and growth of the spread."""
    parts, seeds = [], runs.seeds(setting)
    for ensemble in (CALIBRATED, MISCALIBRATED):
        rows = runs.trained(ensemble, seeds, runs.STEPS)
        start = rows[rows.objective == REFERENCE]
        along = curves(rows, ("kl", "member_std")).assign(stage="training")
        at_start = start.sort_values("seed").member_std.to_numpy()
        readings = [
            {"objective": REFERENCE, "metric": "calibration",
             **estimate(start.calibration)._asdict()}
        ]  # fmt: skip
        for method in runs.METHODS:
            end = rows[(rows.objective == method) & (rows.step == rows.step.max())]
            growth = end.sort_values("seed").member_std.to_numpy() / at_start - 1
            readings.append({"objective": method, "metric": "growth", **estimate(growth)._asdict()})
        numbers = pd.DataFrame(readings).assign(stage="reading", seeds=len(seeds))
        parts.append(pd.concat([along, numbers]).assign(ensemble=ensemble))
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel an ensemble, every curve from the reference on."""
    axes = canvas.subplots(1, 2)
    along = table[table.stage == "training"]
    for ax, (ensemble, part) in zip(axes, along.groupby("ensemble", sort=False), strict=True):
        wide = part.pivot(index=["objective", "step"], columns="metric",
                          values=["mean", "low", "high"])  # fmt: skip
        start = wide.loc[REFERENCE]
        for method, colour in COLOURS.items():
            mine = pd.concat([start, wide.loc[method]])
            distance, spread = mine["mean", "kl"], mine["mean", "member_std"]
            ax.plot(distance, spread, color=colour, label=method,
                    ls="--" if method == READINGS[0] else "-")  # fmt: skip
            ax.fill_between(distance, mine["low", "member_std"], mine["high", "member_std"],
                            color=colour, alpha=0.12, lw=0)  # fmt: skip
        ax.set(xlabel="KL from the reference, nats", title=str(ensemble), ylim=(0, None))
    axes[0].set_ylabel("standard deviation of members")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(COLOURS))


def caption(table: pd.DataFrame) -> str:
    """What is averaged, and how the two ensembles differ."""
    calibrated, alike = (
        reading(table[table.ensemble == name], REFERENCE, "calibration")
        for name in (CALIBRATED, MISCALIBRATED)
    )
    return (
        "Expected standard deviation of the members' scores under the policy, at every evaluation "
        f"of the runs at beta {runs.BETA:g}. Left: {MEMBERS} networks of their own, whose "
        f"spread ranks the error of their mean with Spearman correlation {calibrated}. Right: "
        f"heads on one frozen trunk, with {alike}. {int(table.seeds.max())} seeds (draws), bands "
        "are 95% intervals over them. The paper shows one run of each."
    )


FIGURE = Figure(
    "adaptive2024.fig6", "Fig. 6", "Spread of the members against KL",
    {"toy": 8, "tiny": 40}, (style.TEXT, 2.6), compute, draw, caption, spread_findings,
)  # fmt: skip
