"""Figs. 10 and 11: KL and proxy reward along PPO, of the policies that Fig. 7 compares."""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024 import policies, policy_runs
from figures.banerjee2024.policies import COLOURS
from figures.banerjee2024.policy_runs import DISTANCE, LABELS, MEMBERS, final, trained
from figures.banerjee2024.policy_spread import over_sets
from figures.figure import Figure, Finding, Setting
from theory.style import BLACK, COLUMN

TRIALS = 4
BAND = 0.1 / 1.3
"""Half-width of the printed range of final KLs, 1.2 to 1.4, relative to its middle."""
QUANTITIES = {"kl": "KL to the reference  [nat]", "proxy": "proxy reward"}


def compute(setting: Setting, *, quantity: str) -> pd.DataFrame:
    """Mean and sd over the policies of the first data set, and final values of all data sets."""
    data = tuple(range(setting.seed, setting.seed + policies.SETS[TRIALS]))
    rows = trained(data, TRIALS, "same", policy_runs.STEPS)
    shown = rows[rows.data == data[0]].groupby(["method", "step"], sort=False)[quantity]
    curve = shown.agg(["mean", "std", "size"]).reset_index().assign(kind="curve")
    last = final(rows).assign(inside=lambda row: (row.kl / DISTANCE - 1).abs() <= BAND)
    ends = last.groupby(["method", "data"], sort=False)[["kl", "proxy", "gold", "inside"]].mean()
    return pd.concat([curve, ends.reset_index().assign(kind="end")], ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas, *, quantity: str) -> None:
    """Means with one sd on both sides."""
    ax = canvas.subplots()
    for method, colour in COLOURS.items():
        part = table[(table.kind == "curve") & (table.method == method)]
        ax.plot(part.step, part["mean"], color=colour, label=LABELS[method])
        ax.fill_between(part.step, part["mean"] - part["std"], part["mean"] + part["std"],
                        color=colour, alpha=0.2, lw=0)  # fmt: skip
    if quantity == "kl":
        ax.axhline(DISTANCE, color=BLACK, ls=":", lw=1, label="target")
    ax.set(xlabel="PPO iterations", ylabel=QUANTITIES[quantity], ylim=(0, None))
    ax.legend(loc="lower right")


def caption(table: pd.DataFrame, *, quantity: str) -> str:
    """Whose mean and sd, and how the distances were matched."""
    curve = table[table.kind == "curve"]
    last = curve[curve.step == curve.step.max()].set_index("method")
    numbers = "; ".join(
        f"{LABELS[str(method)]} {row['mean']:.3f} (sd {row['std']:.3f})"
        for method, row in last.iterrows()
    )
    what = {
        "kl": "Exact KL to the reference. The paper tunes one beta a method; here that of each run "
        "is steered to the target, which the policies overshoot before beta has settled",
        "proxy": "Expected reward by the model that the policy is trained on, centred under the "
        "reference, so that training begins at 0",
    }[quantity]
    return (
        f"{what}. Lines and bands: mean and one sd on both sides over {int(curve['size'].max())} "
        f"policies of one data set ({MEMBERS} reward models, {TRIALS} trials each: draws that are "
        f"not independent). Last iteration: {numbers}."
    )


def matched(table: pd.DataFrame) -> list[Finding]:
    """Whether both methods end at one distance."""
    ends = table[table.kind == "end"].set_index(["method", "data"])
    shares = {method: ends.inside[method].astype(float).min() for method in COLOURS}
    gap = over_sets(ends.kl["aware"] - ends.kl["vanilla"])
    measured = "; ".join(f"{LABELS[method]} {share:.3f}" for method, share in shares.items())
    same = abs(gap.mean) < BAND * DISTANCE
    good = same and min(shares["vanilla"], shares["aware"]) >= 0.9
    return [
        Finding(
            "Both methods end at about the same KL with high probability (1.2 to 1.4 nat).",
            f"Policies that end within {BAND:.1%} of the target, the relative width of that range, "
            f"as their smallest share in a data set: {measured}; KL of variance-aware less vanilla "
            f"{gap} (means over {len(ends.loc['aware'])} data sets).",
            "reproduces" if good else "in part" if same else "differs",
        )
    ]


def traded(table: pd.DataFrame) -> list[Finding]:
    """Whether both methods gain proxy reward, and which of them gains more."""
    ends = table[table.kind == "end"].set_index(["method", "data"])
    gains = {method: over_sets(ends.proxy[method]) for method in COLOURS}
    proxy, gold = (
        over_sets(ends[column]["aware"] - ends[column]["vanilla"]) for column in ("proxy", "gold")
    )
    rises = [gains[method].low > 0 for method in ("vanilla", "aware")]
    measured = "; ".join(f"{LABELS[method]} {gain}" for method, gain in gains.items())
    return [
        Finding(
            "Both methods raise the proxy reward along training.",
            f"Gain over the reference: {measured}. At equal KL no policy gains more of its own "
            "proxy reward than vanilla's optimum: variance-aware less vanilla "
            f"{proxy} in proxy reward and {gold} in true reward (means over "
            f"{len(ends.loc['aware'])} data sets).",
            "reproduces" if all(rises) else "in part" if any(rises) else "differs",
        )
    ]


FIGURES = (
    Figure(
        "banerjee2024.fig10", "Fig. 10", "KL to the reference along PPO",
        {"toy": 5}, (COLUMN, 2.4), partial(compute, quantity="kl"),
        partial(draw, quantity="kl"), partial(caption, quantity="kl"), matched,
    ),
    Figure(
        "banerjee2024.fig11", "Fig. 11", "Proxy reward along PPO",
        {"toy": 5}, (COLUMN, 2.4), partial(compute, quantity="proxy"),
        partial(draw, quantity="proxy"), partial(caption, quantity="proxy"), traded,
    ),
)  # fmt: skip
