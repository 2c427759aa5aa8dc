"""Fig. 4b: what noise in place of rewards does to an actor, and why the smallest does less."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.rewardrobust2024.claims import estimates, positive
from figures.rewardrobust2024.noise_runs import NO_BETA, SFT, STEPS, differences, trained
from figures.study import curves
from theory import style

SEEDS = {"toy": 56, "tiny": 256}
BETA, EVERY, HEADS = 0.05, 5, 5
WRONG = 2.0
"""What a wrong critic expects of a constant reward of 0."""
LOOKS = {
    "constant": (style.BLACK, ":", "constant"),
    "mean": (style.ORANGE, "--", f"mean of {HEADS}"),
    "max": (style.VERMILION, "-.", f"largest of {HEADS}"),
    "min": (style.BLUE, "-", f"smallest of {HEADS}"),
    "random": (style.PURPLE, "-", "one"),
}
CRITICS = {"with KL": BETA, "without KL": NO_BETA}


def compute(setting: Setting) -> pd.DataFrame:
    """Curves of every rule and of a wrong critic; paired differences between rules at the end."""
    from bandits.random_rewards import RandomRewards

    seeds = range(setting.seed, setting.seed + setting.count(SEEDS))
    rules = tuple(LOOKS)
    noisy = trained(RandomRewards(rules=rules, heads=HEADS), BETA, list(seeds), EVERY)
    wrong = RandomRewards(rules=("constant",), critic_start=WRONG)
    alone = [
        trained(wrong, beta, list(seeds)[: max(2, len(seeds) // 4)], EVERY).assign(objective=name)
        for name, beta in CRITICS.items()
    ]
    drawn = curves(pd.concat([noisy, *alone]), ("drop", "kl"))
    return pd.concat([drawn.assign(kind="curve"), differences(noisy)], ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Falls and distances of all rules, and the distance under a wrong critic."""
    left, middle, right = canvas.subplots(1, 3)
    part = table[table.kind == "curve"]
    for name, (colour, line, label) in LOOKS.items():
        _curve(left, part, name, "drop", color=colour, ls=line, label=label)
        _curve(middle, part, name, "kl", color=colour, ls=line)
    for name, line in zip(CRITICS, ("-", "--"), strict=True):
        _curve(right, part, name, "kl", color=style.BLACK, ls=line, label=name)
    left.set(ylabel="fall of probability", title="noise for rewards")
    middle.set(ylabel="KL to the reference, nats", title="noise for rewards")
    right.set(ylabel="KL to the reference, nats", title="constant reward, wrong critic")
    right.legend()
    for ax in (left, middle, right):
        ax.set_xlabel("PPO iterations")
    canvas.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))


def caption(table: pd.DataFrame) -> str:
    """How noise is drawn."""
    seeds = table[table.kind == "curve"].groupby("objective").seeds.first()
    return (
        f"Fall of the best response's probability and KL under PPO (Adam) for {STEPS} iterations "
        f"with beta {BETA:g} from a reference that gives that response {SFT:g}. Left and middle: "
        f"the reward of each sample is drawn anew, standard normal for each of {HEADS} heads, and "
        f"combined; {seeds['random']} seeds (draws), bands are 95% intervals over seeds. The "
        "critic starts at 0, the mean of one head and not of the smallest or the largest, which "
        "costs the smallest most at first. Right: every reward is 0, the critic expects "
        f"{WRONG:g} at first; {seeds['with KL']} seeds."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The order of the rules, and what becomes of a constant reward."""
    falls = estimates(table, "objective", kind="curve", metric="drop", step=STEPS)
    ends, apart = (
        estimates(table, "objective", kind="end", metric=metric) for metric in ("drop", "kl")
    )
    right = table[(table.kind == "curve") & (table.metric == "kl")].groupby("objective")["mean"]
    peak, stays = right.max().to_dict(), right.last().to_dict()
    return [
        Finding(
            "Constant rewards harm least, random ones most, the smallest of several in between.",
            f"Fall of probability after {STEPS} iterations: "
            + ", ".join(f"{LOOKS[n][2]} {falls[n]}" for n in ("constant", "min", "random"))
            + f"; one minus smallest {ends['random − min']}, in KL {apart['random − min']} nats.",
            verdict(map(positive, (falls["min"], ends["random − min"]))),
        ),
        Finding(
            "It is taking the smallest that keeps the actor near its start.",
            f"Fall under the largest minus that under the smallest {ends['max − min']}, under the "
            f"mean minus that under the smallest {ends['mean − min']}; in KL "
            f"{apart['max − min']} and {apart['mean − min']} nats.",
            verdict(
                positive(found[name])
                for found in (ends, apart)
                for name in ("max − min", "mean − min")
            ),
        ),
        Finding(
            "A constant reward does not move the actor (Lemma 1).",
            f"Largest KL {peak['constant']:.2g} nats with a critic that is right, "
            f"{peak['with KL']:.2g} with one that is wrong by {WRONG:g}.",
            verdict(peak[name] < 1e-6 for name in ("constant", "with KL")),
        ),
        Finding(
            "The KL penalty brings back an actor that a wrong critic has moved (Remark 1).",
            f"KL from {peak['with KL']:.2g} at its largest to {stays['with KL']:.2g} at the end "
            f"with beta {BETA:g}, from {peak['without KL']:.2g} to {stays['without KL']:.2g} "
            "without a KL penalty.",
            verdict(
                (stays["with KL"] < peak["with KL"] / 20, stays["without KL"] > peak["with KL"] / 2)
            ),
        ),
    ]


def _curve(ax: Axes, part: pd.DataFrame, name: str, metric: str, **options: Any) -> None:
    rows = part[(part.objective == name) & (part.metric == metric)]
    ax.plot(rows.step, rows["mean"], **options)
    ax.fill_between(rows.step, rows.low, rows.high, color=options["color"], alpha=0.12, lw=0)


FIGURE = Figure(
    "rewardrobust2024.fig4b", "Fig. 4b", "Random rewards", {"toy": 8, "tiny": 30},
    (style.TEXT, 2.7), compute, draw, caption, findings,
)  # fmt: skip
