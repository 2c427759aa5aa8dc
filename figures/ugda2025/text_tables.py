"""Tables 2 and 3 on a small language model: true reward by method, clean and flipped labels."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.ugda2025.comparisons import gap, levels
from figures.ugda2025.runs import FLIPPED
from figures.ugda2025.text_runs import (
    LOOK,
    NOISES,
    PPO,
    RANDOM,
    RLR,
    SFT,
    UGDA,
    dots,
    estimates,
    listed,
    note,
    rows,
)
from theory import style

RELABELLED = (RANDOM, "LCB, 25%", "UWO, 25%", RLR)
BASELINES = (PPO, "LCB, 0%", "UWO, 0%", *RELABELLED)


def compute(setting: Setting) -> pd.DataFrame:
    """UGDA minus every baseline on both kinds of data, and what labels are worth."""
    from llm_bridge.refining.report import worth

    frames = []
    for data in NOISES:
        found = rows(setting, data)
        pairs = [(UGDA, other) for other in BASELINES] + [(RANDOM, PPO), (PPO, SFT)]
        told = worth(found)
        told = told[(told.objective + ", " + told.share).isin([UGDA, RANDOM])]
        shares = [
            {"method": f"{row.objective}, {row.share}", "against": PPO, "metric": metric,
             "mean": getattr(row, metric), "low": getattr(row, f"{metric}_low"),
             "high": getattr(row, f"{metric}_high"), "labels": row.labels}
            for row in told.itertuples() for metric in ("per_100", "of_ugda")
        ]  # fmt: skip
        both = pd.concat([estimates(found, pairs), pd.DataFrame(shares)], ignore_index=True)
        frames.append(both.assign(data=data))
    return pd.concat(frames, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Levels of true reward, and UGDA minus each baseline."""
    left, right = canvas.subplots(1, 2, sharey=True)
    order = [SFT, *BASELINES, UGDA]
    for shift, (data, look) in zip((0.15, -0.15), LOOK.items(), strict=True):
        part = table[table.data == data]
        dots(left, levels(part, "gold"), order, look, shift, data)
        beside = part[(part.metric == "gold") & (part.method == UGDA) & (part.against != "")]
        beside = beside.dropna(subset="against").assign(method=lambda found: found.against)
        dots(right, beside, order, look, shift, data)
    right.axvline(0, color=style.BLACK, lw=0.5, ls=":")
    left.set(xlabel="true reward")
    right.set(xlabel="UGDA minus it")
    left.set_yticks(-np.arange(len(order)), order)
    canvas.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def caption(table: pd.DataFrame) -> str:
    """Methods, and what a label brings."""
    told = "; ".join(
        f"{data}: {RANDOM} {_said(table, RANDOM, data, 'per_100')}, UGDA "
        f"{_said(table, UGDA, data, 'per_100')}, the former {_said(table, RANDOM, data, 'of_ugda')}"
        " of the latter"
        for data in NOISES
    )
    return (
        "True reward of policies, without labels (0%) and with a quarter of the interactions "
        "relabelled by the true reward: a random quarter for the baselines, UGDA's own for UGDA; "
        f"'flipped' has {FLIPPED:.0%} of the comparisons flipped. RLR trains the reward models "
        "anew, on comparisons and labels at once. Gain over PPO without labels, by 100 labels "
        f"({told}). " + note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """UGDA against all baselines, against as many labels, and the spread of rewards."""
    every = {f"{name}, {data}": gap(part, UGDA, name) for data, part in _parts(table)
             for name in BASELINES}  # fmt: skip
    fair = {name: one for name, one in every.items() if name.startswith(RELABELLED)}
    spread = [gap(part, UGDA, name, "variance") for _, part in _parts(table)
              for name in RELABELLED]  # fmt: skip
    start = {data: gap(part, PPO, SFT) for data, part in _parts(table)}
    return [
        Finding(
            "UGDA reaches the highest true reward of all methods, also with flipped preferences.",
            f"UGDA minus {listed(every)}.",
            verdict([one.low > 0 for one in every.values()]),
        ),
        Finding(
            "With as many labels, choosing them by variance and influence beats a random quarter.",
            f"UGDA minus {listed(fair)}.",
            verdict([one.low > 0 for one in fair.values()]),
        ),
        Finding(
            "The rewards of UGDA's responses vary less than those of the baselines.",
            f"{sum(one.high < 0 for one in spread)} of {len(spread)} differences in variance to "
            f"baselines with as many labels lie below zero, {sum(one.low > 0 for one in spread)} "
            "above.",
            verdict([one.high < 0 for one in spread]),
        ),
        Finding(
            "PPO on the reward models as they are beats SFT.",
            f"PPO minus SFT {listed(start)}.",
            verdict([one.low > 0 for one in start.values()]),
        ),
    ]


def _parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(data, table[table.data == data]) for data in NOISES]


def _said(table: pd.DataFrame, method: str, data: str, metric: str) -> str:
    return str(gap(table[table.data == data], method, PPO, metric))


FIGURE = Figure(
    "ugda2025.table2_lm", "Tables 2 and 3", "True reward by method, on a language model",
    {"tiny": 2000}, (style.TEXT, 3.0), compute, draw, caption, findings,
)  # fmt: skip
