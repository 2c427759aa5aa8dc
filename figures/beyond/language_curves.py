"""Seven objectives on one language model: true reward, what is maximised, and KL along PPO."""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures import language_models
from figures.figure import Figure, Setting
from figures.kept import kept
from figures.study import estimate, study
from theory import style
from theory.presets import PRESETS

OBJECTIVES = (
    "vanilla", "ensemble_mean", "wco", "lcb", "variance_aware", "reward_robust", "adaptive",
)  # fmt: skip
BETA = 0.02
SEEDS = {"toy": 10, "tiny": 10, "full": 30}
"""Preference data sets, each with reward models of its own; fewer order nothing."""
STEPS, EVERY, BATCH, LEARNING_RATE = 40, 5, 128, 6e-4
COLUMNS = ["objective", "seed", "step", "gold", "proxy", "kl", "member_std", "length"]


def compute(setting: Setting) -> pd.DataFrame:
    """Rows along the training of a policy an objective and data set."""
    world = language_models.text_world()
    from llm_bridge.settings import Settings

    seeds = range(setting.seed, setting.seed + setting.count(SEEDS))
    settings = Settings(batch=BATCH, learning_rate=LEARNING_RATE)
    described = ("curves", OBJECTIVES, BETA, STEPS, EVERY, repr(settings), repr(world), seeds)
    out = kept(described, world.train)
    rows = study(
        world, {name: PRESETS[name](BETA) for name in OBJECTIVES}, settings, seeds,
        steps=STEPS, evaluate_every=EVERY, workers=setting.workers, out=out,
    )  # fmt: skip
    ordered = rows.assign(objective=pd.Categorical(rows.objective, OBJECTIVES))
    return ordered.sort_values(["objective", "seed", "step"])[COLUMNS]


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """As `python -m llm_bridge compare` does."""
    from llm_bridge.compare_figure import draw_curves

    draw_curves(table, canvas)


def caption(table: pd.DataFrame) -> str:
    """Over how many data sets, and where the objectives end."""
    last = table[table.step == table.step.max()].groupby("objective", sort=False)
    told = "; ".join(f"{name} {estimate(rows.gold)} at {estimate(rows.kl)}" for name, rows in last)
    sets = table.seed.nunique()
    return (
        "PPO on the embedded language model of 0.1 million parameters under seven objectives at "
        f"β = {BETA:g}. Lines: means of the {BATCH} responses (draws) of an iteration, and range "
        f"over {sets} preference data sets, with five reward models each. Equal β are not equal "
        "distances: where the price is the variance of the members, which is small, the policy "
        "goes furthest. True reward at the last iteration, at KL in nats a response, with 95% "
        f"intervals over data sets: {told}."
    )


FIGURE = Figure(
    "beyond.language_curves", "", "Seven objectives on a language model",
    {"tiny": 1500}, (style.TEXT, 2.6), compute, draw, caption,
)  # fmt: skip
