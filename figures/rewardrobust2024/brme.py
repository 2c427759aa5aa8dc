"""Figs. 6 and 7, Table 5: does BRME tell responses apart better than maximum likelihood does?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, verdict
from figures.rewardrobust2024.brme_models import LAM, SHOWN, compute
from figures.rewardrobust2024.claims import estimates, positive, said
from theory import style

LABELS = {
    "one": "one model",
    "four": "mean of four models",
    "brme": "BRME",
    "brme mean": "BRME, mean of heads",
    "brme mix": f"BRME, mix with λ = {LAM:g}",
    "brme same": "BRME, all data each",
    "brme nll": "BRME, likelihood",
    "brme nll same": "BRME, likelihood, all data each",
}
COLOURS = {"one": style.VERMILION, "four": style.ORANGE, "brme": style.BLUE}
SCATTERED = ("one", "brme mean", "brme mix")
PERFECT = 8 / 7**0.5
"""Margin of a reward of 1 for one of eight responses, in its own standard deviations."""
PRINTED = {"one": 0.745, "brme": 0.756}
"""Accuracy in total [rewardrobust2024, Table 5]."""


def draw_margins(table: pd.DataFrame, canvas: Canvas) -> None:
    """Histograms of margins, and accuracy of all readings."""
    left, right = canvas.subplots(1, 2)
    for name, colour in COLOURS.items():
        rows = table[(table.kind == "density") & (table.reading == name)]
        left.step(rows.x, rows.y, where="mid", color=colour, label=LABELS[name])
    left.set(xlabel="normalised margin, sds of a model's scores", ylabel="density")
    left.set_ylim(0, 1.5 * table.y[table.kind == "density"].max())
    left.legend(loc="upper left")
    rows = table[table.kind == "accuracy"].iloc[::-1]
    errors = np.array([rows["mean"] - rows.low, rows.high - rows["mean"]])
    where = range(len(rows))
    right.errorbar(rows["mean"], where, xerr=errors, fmt="o", color=style.BLUE)
    right.set_yticks(where, [LABELS[name] for name in rows.reading])
    right.set_xlabel("accuracy on held-out comparisons")


def caption_margins(table: pd.DataFrame) -> str:
    """What is held out, and how margins are normalised."""
    return (
        "Pairs of a prompt's best response and one that no comparison showed. Scores of every "
        "model are normalised to mean 0 on each prompt and standard deviation 1 over cells; true "
        f"rewards would have a margin of {PERFECT:.2f}. BRME: the head with the smallest standard "
        "deviation of five; by default trained on disjoint parts with the squared error of a "
        f"sampled score. {int(table.seeds.max())} seeds (draws), 95% intervals over seeds."
    )


def findings_margins(table: pd.DataFrame) -> list[Finding]:
    """Margin and accuracy, BRME against one model."""
    margins, accuracies, full = (
        {LABELS[name]: numbers for name, numbers in estimates(table, "reading", kind=kind).items()}
        for kind in ("margin gain", "accuracy gain", "full")
    )
    best, brme = max(accuracies, key=lambda name: accuracies[name].mean), LABELS["brme"]
    levels = estimates(table, "reading", kind="accuracy")
    return [
        Finding(
            "BRME's nominal head has larger normalised margins than a maximum-likelihood model.",
            f"Margin minus that of one model: {margins[brme]}; the mean of four models "
            f"{margins[LABELS['four']]}.",
            verdict([positive(margins[brme])]),
        ),
        Finding(
            "BRME's nominal head is more accurate on comparisons it has not seen "
            f"({PRINTED['brme']:.1%} against {PRINTED['one']:.1%}).",
            f"Accuracy {levels['brme']} against {levels['one']} of one model, difference "
            f"{accuracies[brme]}; most accurate: {best}, difference {accuracies[best]}. Right for "
            f"all prompts: {full[brme]} against {full[LABELS['one']]} of seeds.",
            verdict([positive(accuracies[brme])]),
        ),
    ]


def draw_coverage(table: pd.DataFrame, canvas: Canvas) -> None:
    """Rewards of both responses of held-out pairs."""
    axes = canvas.subplots(1, len(SCATTERED), sharex=True, sharey=True)
    pairs = table[table.kind == "pair"]
    for ax, name in zip(axes, SCATTERED, strict=True):
        rows = pairs[pairs.reading == name]
        ax.plot(rows.x, rows.y, ".", color=style.BLUE, alpha=0.5, ms=4, mew=0)
        ax.axline((0, 0), slope=1, color=style.REFERENCE, ls=":", lw=1)
        ax.set(title=LABELS[name], xlabel="reward of the best response")
    axes[0].set_ylabel("reward of the other response")


def caption_coverage(table: pd.DataFrame) -> str:
    """Which pairs are drawn."""
    return (
        "Rewards of a prompt's best response and of one that no comparison showed, normalised to "
        f"mean 0 on each prompt and standard deviation 1 over cells; pairs of {SHOWN} seeds. Below "
        "the dotted line a pair is in the right order. Coverage is the square root of the "
        "determinant of the covariance of the two rewards, over all held-out pairs of a seed; "
        f"{int(table.seeds.max())} seeds (draws)."
    )


def findings_coverage(table: pd.DataFrame) -> list[Finding]:
    """Spread of the rewards, and what the heads' standard deviations are worth."""
    gains = estimates(table, "reading", kind="coverage gain")
    tracked = estimates(table, "reading", kind="correlation")
    heads = {name: numbers for name, numbers in tracked.items() if name != "four"}
    return [
        Finding(
            "BRME's rewards cover more than those of a maximum-likelihood model.",
            "Coverage minus that of one model: "
            + said({LABELS[name]: gains[name] for name in (*SCATTERED[1:], "four")})
            + ".",
            verdict(positive(gains[name]) for name in SCATTERED[1:]),
        ),
        Finding(
            "The standard deviation of a head tells how far its mean can be trusted.",
            "Correlation of ln std with the absolute error on cells that no comparison showed: "
            + said({LABELS[name]: numbers for name, numbers in heads.items()})
            + f"; of the spread of four models with the error of their mean: {tracked['four']}.",
            verdict([positive(heads["brme"])]),
        ),
    ]


FIGURES = (
    Figure(
        "rewardrobust2024.fig6", "Fig. 6, Table 5", "BRME: margins and accuracy",
        {"toy": 8, "tiny": 40}, (style.TEXT, 2.6),
        compute, draw_margins, caption_margins, findings_margins,
    ),
    Figure(
        "rewardrobust2024.fig7", "Fig. 7", "BRME: coverage",
        {"toy": 8, "tiny": 40}, (style.TEXT, 2.5),
        compute, draw_coverage, caption_coverage, findings_coverage,
    ),
)  # fmt: skip
