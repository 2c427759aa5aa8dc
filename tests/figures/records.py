"""Records of UGDA on language models that were not trained."""

import numpy as np
import pandas as pd

from figures.ugda2025 import text_ablation, text_runs, text_tables

GOLD = {text_runs.SFT: -0.3, text_runs.PPO: 0.0, text_runs.UGDA: 0.5, text_runs.RANDOM: 0.4}
"""True reward of some methods; 0.2 of the others."""


def records(setting, data):
    """As the study writes them, of five seeds."""
    names = [text_runs.SFT, *text_tables.BASELINES, *text_ablation.ABLATION]
    rng, rows = np.random.default_rng([setting.seed, len(data)]), []
    for seed in range(setting.seed, setting.seed + 5):
        level = rng.standard_normal()
        for name in dict.fromkeys(names):
            objective, _, share = name.rpartition(", ")
            rows += [
                {"objective": objective, "share": share, "seed": seed, "step": step,
                 "labels": end * (256 if share == "25%" else 0),
                 "judged_gold": end * (GOLD.get(name, 0.2) + level + rng.normal() / 50),
                 "judged_variance": end, "accuracy": end * (np.nan if objective == "SFT" else 0.6),
                 "win": end * 0.5, "tie": end * 0.2, "lose": end * 0.3}
                for step, end in ((1, np.nan), (2, 1))
            ]  # fmt: skip
    return pd.DataFrame(rows)
