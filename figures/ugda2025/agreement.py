"""Table 1: how far two experts agree on grades, where one of them errs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting
from figures.study import Estimate, estimate
from theory import style
from theory.grades import GRADES, NoisyExpert, ScoreExpert, agreement

SEEDS = {"toy": 20, "tiny": 64}
SAMPLES = 400
"""Responses that both grade, as many as a quarter of what a run meets."""
ERRORS = (0.05, 0.1, 0.2, 0.4)
"""Shares of the grades that the second expert gives another value, all four alike."""
SPREADS = (0.1, 0.25, 0.5)
"""Standard deviations of what another judge adds to the true reward, which has 1."""
KINDS = {"errs": (style.BLUE, "o"), "sees noise": (style.ORANGE, "s")}
EDGES = (-0.8416, -0.2533, 0.2533, 0.8416)
"""Of the fifths of a normal true reward."""


def compute(setting: Setting) -> pd.DataFrame:
    """Similarity by grade as `theory.grades.agreement` has it, by kind and size of the errors."""
    found = []
    for seed in range(setting.count(SEEDS)):
        rng = np.random.default_rng([setting.seed, seed])
        gold, noise = rng.standard_normal((2, SAMPLES))
        prompts = np.arange(SAMPLES)
        expert = ScoreExpert(lambda _, scores: np.asarray(scores), EDGES)
        first = expert(prompts, gold)
        others = {("errs", e): NoisyExpert(expert, e, seed)(prompts, gold) for e in ERRORS}
        others |= {("sees noise", s): expert(prompts, gold + s * noise) for s in SPREADS}
        for (kind, size), second in others.items():
            table = agreement(first, second).assign(kind=kind, size=size, seed=seed)
            found.append(table[["kind", "size", "grade", "similarity", "seed"]])
    rows = []
    for key, group in pd.concat(found).groupby(["kind", "size", "grade"], sort=False):
        labels = dict(zip(("kind", "size", "grade"), key, strict=True))
        rows.append({**labels, **estimate(group.similarity)._asdict(), "seeds": len(group)})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a kind of error, one line a size."""
    axes = canvas.subplots(1, len(KINDS), sharey=True)
    for ax, (kind, (colour, marker)) in zip(axes, KINDS.items(), strict=True):
        part = table[table.kind == kind]
        sizes = sorted(part["size"].unique())
        for place, size in enumerate(sizes):
            own = part[part["size"] == size]
            ax.errorbar(
                own.grade, own["mean"], yerr=[own["mean"] - own.low, own.high - own["mean"]],
                color=colour, marker=marker, alpha=1 - 0.7 * place / len(sizes), label=f"{size:g}",
            )  # fmt: skip
        ax.set(title=f"second expert {kind}", xlabel="grade", ylim=(0, 1))
        ax.set_xticks(range(1, GRADES + 1))
        ax.legend(loc="lower center", ncols=len(sizes))
    axes[0].set_ylabel("first agrees")


def caption(table: pd.DataFrame) -> str:
    """What the second expert is, and over how many draws."""
    return (
        "Of the responses to which the second expert gave a grade, the share to which the first, "
        "the true reward, gave the same [ugda2025, Table 1]. Left: the second gives another grade, "
        "all alike, to the share of responses that the legend names; right: it grades the true "
        "reward plus normal noise of so many of its standard deviations, so that errors are next "
        f"to the grade. {SAMPLES} responses, {int(table.seeds.max())} draws, 95% intervals."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """What is printed cannot be measured here; what an agreement says of errors can."""
    even = table[(table.kind == "errs") & (table["size"] == ERRORS[1])]
    beside = table[(table.kind == "sees noise") & (table["size"] == SPREADS[1])]
    ends, middle = beside[beside.grade.isin((1, GRADES))], beside[beside.grade == 3].iloc[0]
    return [
        Finding(
            "Labels of a language model agree with those of people, by grade.",
            f"No labels of people or of that model are here. A second expert who errs on "
            f"{ERRORS[1]:.0%} agrees on {even['mean'].min():.2f} to {even['mean'].max():.2f} by "
            f"grade; one who sees noise of {SPREADS[1]:g} sds on {ends['mean'].min():.2f} at the "
            f"ends and {Estimate(middle['mean'], middle.low, middle.high)} in the middle: "
            "similarity that falls in the middle is no sign of bias.",
            "cannot be checked here",
        )
    ]


FIGURE = Figure(
    "ugda2025.table1", "Table 1", "Agreement of two experts by grade", {"toy": 2, "tiny": 4},
    (style.TEXT, 2.2), compute, draw, caption, findings,
)  # fmt: skip
