"""How far what was learned is from the exact optimum, and of which of two forms."""

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.study import estimate
from theory import style
from theory.optimum import solve
from theory.penalties import Form
from theory.presets import ensemble_mean, variance_aware_ppo

SEEDS = {"toy": 64, "tiny": 256}
BETAS = (0.15, 0.3, 0.6, 1.2)
STEPS = 120
LEARNERS = {
    "PPO, annealed": ("PPO, annealed β", style.BLUE),
    "PPO, fixed": ("PPO, fixed β", style.VERMILION),
    "gradient, fixed": ("exact gradient, fixed β", style.ORANGE),
    "gradient, table": ("exact gradient, one logit a cell", style.GREEN),
}
PANELS = {
    ("mean", "bregman"): "plain mean",
    ("σ-weighted", "bregman"): "σ-weighted, detached form",
    ("σ-weighted", "kl"): "σ-weighted, weighted KL",
}


def compute(setting: Setting) -> pd.DataFrame:
    """Total variation between the learned policy and exact optima, means over seeds."""
    from bandits.grid import Grid
    from bandits.optimisers import PPO, Gradient
    from bandits.policies import TabularPolicy
    from theory.schedules import Annealed

    world, seeds = Grid(), list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    _, log_reference, scores = world.prepare(seeds)
    learners: dict[str, Any] = {
        "PPO, annealed": PPO(samples=64, annealed=Annealed()),
        "PPO, fixed": PPO(samples=64, annealed=None),
        "gradient, fixed": Gradient(),
        "gradient, table": Gradient(learning_rate=0.05),
    }
    rows = []
    for kind, preset in (("mean", ensemble_mean), ("σ-weighted", variance_aware_ppo)):
        for beta in BETAS:
            objective = preset(beta)
            forms: tuple[Form, ...] = ("bregman", "kl") if kind == "σ-weighted" else ("bregman",)
            optima = {
                form: solve(replace(objective, form=form), log_reference, scores).policy
                for form in forms
            }
            for name, learner in learners.items():
                policy, _, _ = world.prepare(seeds)
                start = TabularPolicy.at(log_reference) if name == "gradient, table" else policy
                steps = STEPS if name.startswith("PPO") else 4 * STEPS
                found = learner.optimise(
                    objective, scores, log_reference, start, seeds, steps, steps
                )
                learned = list(found)[-1][1].exp()
                for form, optimum in optima.items():
                    distance = (learned - optimum).abs().sum(-1).mean(-1).numpy() / 2
                    rows.append({"objective": kind, "form": form, "beta": beta, "learner": name,
                                 **estimate(distance)._asdict(), "seeds": len(seeds)})  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel an objective and form."""
    axes = canvas.subplots(1, len(PANELS), sharey=True)
    for ax, ((kind, form), title) in zip(axes, PANELS.items(), strict=True):
        part = table[(table.objective == kind) & (table.form == form)]
        for name, (label, colour) in LEARNERS.items():
            line = part[part.learner == name]
            ax.plot(line.beta, line["mean"], "o-", ms=3, color=colour, label=label)
            ax.fill_between(line.beta, line.low, line.high, color=colour, alpha=0.2, lw=0)
        ax.set_xscale("log")
        ax.set_xticks(BETAS, [f"{beta:g}" for beta in BETAS])
        ax.minorticks_off()
        ax.set(title=title, xlabel="β")
    axes[0].set_ylabel("total variation to the optimum")
    axes[0].set_ylim(bottom=0)
    canvas.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def caption(table: pd.DataFrame) -> str:
    """Which form PPO stops at, and what a fixed beta costs."""
    means = table.set_index(["objective", "form", "beta", "learner"])["mean"]
    ppo = means.xs("PPO, annealed", level="learner")["σ-weighted"]
    low, high = min(BETAS), max(BETAS)
    return (
        "Distance of learned policies from exact optima on the 8x8 grid, mean over prompts and "
        f"{int(table.seeds.max())} seeds (draws), bands are 95% intervals over seeds. PPO with the "
        f"detached penalty stops near the optimum of the Bregman form ({ppo['bregman'][high]:.3f} "
        f"at β = {high:g}), not of the weighted KL of the same coefficient "
        f"({ppo['kl'][high]:.3f}). A network shared by the prompts that starts at a small fixed β "
        f"saturates: at β = {low:g} {means['mean', 'bregman', low, 'PPO, fixed']:.3f} from the "
        f"optimum against {means['mean', 'bregman', low, 'PPO, annealed']:.3f} with annealing and "
        f"{means['mean', 'bregman', low, 'gradient, table']:.3f} with one logit a cell."
    )


FIGURE = Figure(
    "beyond.optimiser_gap", "", "What was learned against the exact optimum",
    {"toy": 15, "tiny": 60}, (style.TEXT, 2.8), compute, draw, caption,
)  # fmt: skip
