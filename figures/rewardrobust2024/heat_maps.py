"""Fig. 1: what one reward model teaches an actor on the 8x8 grid, and what four do."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory import style
from theory.intervals import clopper_pearson
from theory.presets import ensemble_mean, reward_robust, vanilla

SEEDS = {"toy": 128, "tiny": 512}
STEPS, BETA, LAM = 60, 0.15, 0.4
PANELS = {
    "gold": ("true reward", "reward"),
    "scores": ("one reward model", "score"),
    "vanilla": ("actor, one reward model", "probability"),
    "robust": (f"actor, robust mix (λ = {LAM:g})", "probability"),
}
ACTORS = {
    "vanilla": vanilla(BETA),
    "robust": reward_robust(BETA, lam=LAM),
    "mean": ensemble_mean(BETA),
}
LEVEL = 0.05


def compute(setting: Setting) -> pd.DataFrame:
    """Cells of the first seed whose single-model actor errs, and shares of seeds without error."""
    from bandits.grid import Grid
    from bandits.optimisers import PPO

    world, seeds = Grid(), list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    gold, actors = world.gold.numpy(), {}
    for name, objective in ACTORS.items():
        policy, log_reference, scores = world.prepare(seeds)
        steps = PPO().optimise(objective, scores, log_reference, policy, seeds, STEPS, STEPS)
        actors[name] = list(steps)[-1][1].exp().numpy()
    right = {name: (p.argmax(-1) == gold.argmax(-1)).all(-1) for name, p in actors.items()}
    shown = int(np.argmin(right["vanilla"]))
    arrays = {
        "gold": gold,
        "scores": scores.members[shown, ..., 0].numpy(),
        "vanilla": actors["vanilla"][shown],
        "robust": actors["robust"][shown],
    }
    cells = [
        {"panel": panel, "prompt": x, "response": y, "value": float(array[x, y]),
         "seed": seeds[shown]}
        for panel, array in arrays.items()
        for x, y in np.ndindex(array.shape)
    ]  # fmt: skip
    shares = []
    for name, hits in right.items():
        interval = clopper_pearson(int(hits.sum()), len(hits), LEVEL)
        shares.append(
            {"panel": f"share {name}", "value": float(hits.mean()), "low": float(interval.low),
             "high": float(interval.high), "seeds": len(hits)}
        )  # fmt: skip
    return pd.DataFrame(cells + shares)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Four heat maps, each on its own scale of values."""
    axes = canvas.subplots(1, len(PANELS))
    for ax, (panel, (title, unit)) in zip(axes, PANELS.items(), strict=True):
        cells = table[table.panel == panel].pivot(
            index="prompt", columns="response", values="value"
        )
        image = ax.imshow(cells, cmap="viridis", vmin=None if panel == "scores" else 0)
        ax.set_title(title)
        ax.set_xlabel("response")
        ax.set_xticks(range(0, 8, 2))
        ax.set_yticks(range(0, 8, 2))
        ax.grid(visible=False)
        canvas.colorbar(image, ax=ax, location="bottom", shrink=0.9, label=unit)
    axes[0].set_ylabel("prompt")


def caption(table: pd.DataFrame) -> str:
    """How often each actor is right for all prompts."""
    shares = table[table.panel.str.startswith("share")].set_index("panel")
    numbers = "; ".join(
        f"{label} {shares.value[f'share {name}']:.3f} "
        f"[{shares.low[f'share {name}']:.3f}, {shares.high[f'share {name}']:.3f}]"
        for label, name in (("one model", "vanilla"), ("robust mix", "robust"), ("mean", "mean"))
    )
    return (
        "Two comparisons a prompt, four reward models, PPO with annealed beta. Heat maps: seed "
        f"{int(table.seed.dropna().iloc[0])}, the first whose single-model actor errs. Share of "
        f"{int(shares.seeds.iloc[0])} seeds (draws) in which the actor is right for all eight "
        f"prompts, with {1 - LEVEL:.0%} Clopper-Pearson intervals: {numbers}. The paper shows one "
        "run and omits the plain mean of the same four models, which does as well as the mix."
    )


FIGURE = Figure(
    "rewardrobust2024.fig1", "Fig. 1", "The 8x8 toy: reward models and actors",
    {"toy": 15, "tiny": 60}, (style.TEXT, 2.6), compute, draw, caption,
)  # fmt: skip
