"""Failures that no ensemble can see: responses that were never found wanting."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory import style
from theory.intervals import clopper_pearson

SEEDS = {"toy": 128, "tiny": 1024}
MEMBERS = (1, 2, 4, 8)
LEVEL = 0.05
SERIES = {
    "same data": ("response scores shared by prompts, same data", style.VERMILION, "o-"),
    "fresh data": ("the same, fresh data for each member", style.BLUE, "o-"),
    "covered": ("the same, every response has lost once", style.GREEN, "s--"),
    "per prompt": ("scores of each prompt apart, same data", style.BLACK, "^:"),
}


def compute(setting: Setting) -> pd.DataFrame:
    """Share of seeds whose mean ensemble ranks all best responses first, by members and holes."""
    from bandits.ensembles import Independent
    from bandits.grid import Grid
    from bandits.networks import Concatenated
    from bandits.preferences import Preferences
    from bandits.reward_models import RewardTraining

    seeds = list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    shared = Independent(max(MEMBERS), Concatenated(), training=RewardTraining(100))
    worlds = {
        "same data": Grid(ensemble=shared),
        "fresh data": Grid(ensemble=replace(shared, split="fresh")),
        "covered": Grid(preferences=Preferences(covered=True), ensemble=shared),
        "per prompt": Grid(ensemble=Independent(max(MEMBERS))),
    }
    rows: list[dict[str, Any]] = []
    for name, world in worlds.items():
        scores = world.prepare(seeds)[2].members.numpy()
        best = world.gold.numpy().argmax(-1)
        for k in MEMBERS:
            right = (scores[..., :k].mean(-1).argmax(-1) == best).all(-1)
            rows.append({"panel": "members", "series": name, "x": k, **_share(right)})
    rows += _by_hole(worlds["same data"], seeds)
    return pd.DataFrame(rows)


def _by_hole(world: Any, seeds: list[int]) -> list[dict[str, Any]]:
    """Four members on the same data: successes by the number of holes, and where errors sit."""
    scores = world.prepare(seeds)[2].members.numpy()[..., :4]
    mean, best = scores.mean(-1), world.gold.numpy().argmax(-1)
    lost = world.comparisons(seeds).rejected[:, 0].numpy() % world.responses
    hole = np.ones((len(seeds), world.responses), bool)
    np.put_along_axis(hole, lost, False, axis=1)
    chosen = mean.argmax(-1)
    wrong = chosen != best
    on_hole = np.take_along_axis(hole, chosen, axis=1)[wrong]
    std = scores.std(-1, ddof=1)
    spread = np.take_along_axis(std, chosen[..., None], axis=-1)[..., 0]
    counts = hole.sum(-1)
    rows = [
        {"panel": "holes", "series": "same data", "x": float(n),
         **_share(~wrong[counts == n].any(-1))}
        for n in range(4) if (counts == n).any()
    ]  # fmt: skip
    rows.append({"panel": "errors", "series": "on a hole", "x": 4.0, **_share(on_hole)})
    for series, at in (("spread of errors", wrong), ("spread of successes", ~wrong)):
        rows.append({"panel": "spread", "series": series, "x": 4.0,
                     "share": float(spread[at].mean()), "seeds": int(at.sum())})  # fmt: skip
    return rows


def _share(hits: np.ndarray) -> dict[str, float]:
    """A share with its Clopper-Pearson interval."""
    interval = clopper_pearson(int(hits.sum()), len(hits), LEVEL)
    return {"share": float(hits.mean()), "low": float(interval.low),
            "high": float(interval.high), "seeds": len(hits)}  # fmt: skip


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """More members on the left; the number of holes on the right."""
    left, right = canvas.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    members, holes = (table[table.panel == panel] for panel in ("members", "holes"))
    for name, (label, colour, marks) in SERIES.items():
        part = members[members.series == name]
        left.plot(part.x, part.share, marks, color=colour, ms=4, label=label)
        left.fill_between(part.x, part.low, part.high, color=colour, alpha=0.15, lw=0)
    left.set_xscale("log", base=2)
    left.set_xticks(MEMBERS, [str(k) for k in MEMBERS])
    left.set(xlabel="members", ylabel="share of seeds right for all prompts", ylim=(0, 1.02))
    canvas.legend(loc="outside upper center", ncols=2)
    errors = (holes.share - holes.low, holes.high - holes.share)
    right.bar(holes.x, holes.share, yerr=errors, color=style.VERMILION)
    right.set(xlabel="responses that never lost")
    right.set_xticks(holes.x)


def caption(table: pd.DataFrame) -> str:
    """Where the errors sit, and what helps."""
    members = table[table.panel == "members"].set_index(["series", "x"]).share
    errors = table[table.panel == "errors"].iloc[0]
    spread = table[table.panel == "spread"].set_index("series").share
    most = max(MEMBERS)
    return (
        "Greedy choice of the mean ensemble on the 8x8 grid, two comparisons a prompt; bands and "
        "bars are 95% Clopper-Pearson intervals over "
        f"{int(table[table.panel == 'members'].seeds.max())} seeds (draws). A network that shares "
        "response scores between prompts overrates a response that never lost, in every member "
        f"alike: {errors.share:.1%} of the errors of four members sit on such a response, with a "
        f"spread of {spread['spread of errors']:.2f} between members against "
        f"{spread['spread of successes']:.2f} where they are right. From one member to {most}, "
        f"same data: {members['same data', 1]:.2f} to {members['same data', most]:.2f}; fresh data "
        f"for each member: {members['fresh data', 1]:.2f} to {members['fresh data', most]:.2f}; "
        f"data sets in which every response lost once: {members['covered', 1]:.2f} to "
        f"{members['covered', most]:.2f}."
    )


FIGURE = Figure(
    "beyond.data_holes", "", "Which failures are holes in the data",
    {"toy": 8, "tiny": 40}, (style.TEXT, 2.9), compute, draw, caption,
)  # fmt: skip
