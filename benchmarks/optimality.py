"""How near PPO on the embedded language model comes to the optimum of each objective.

`python -m benchmarks.optimality [OUT.json]` trains and measures every policy, about two minutes
each on one core, and prints the table of the README.
"""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from llm_bridge.optimality import measure
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.files import write_text
from theory.objective import Objective
from theory.presets import (
    adaptive,
    reward_robust,
    vanilla,
    variance_aware,
    variance_aware_kl,
    variance_aware_ppo,
)

SETTINGS = Settings(
    batch=256, minibatches=4, learning_rate=1e-3, lam=1.0, schedule="cosine"
)  # fmt: skip
STEPS, SAMPLES, SEED = 150, 512, 0
SHOWN = [
    "objective", "beta", "kl", "slope", "slope_error", "r_squared", "sharpness", "sharpness_error",
    "kl_to_optimum", "shortfall",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An objective, and where a penalty that depends on the response is charged."""

    objective: Objective
    charge: str = "auto"


CASES = {
    "vanilla": Case(vanilla(1.0)),
    "reward_robust": Case(reward_robust(1.0)),
    "adaptive": Case(adaptive(1.0)),
    "variance_aware": Case(variance_aware(12.5, sigma_min=0.2)),
    "variance_aware, spread": Case(variance_aware(12.5, sigma_min=0.2), "spread"),
    "variance_aware_kl": Case(variance_aware_kl(12.5, sigma_min=0.2)),
    "variance_aware_ppo": Case(variance_aware_ppo(6.0)),
}


def measured(name: str, case: Case) -> dict[str, float | str]:
    """One policy, trained and compared."""
    world = TextWorld(normalise="standardised")
    settings = Settings(**{**vars(SETTINGS), "charge": case.charge})
    trainer = world.trainer(case.objective, settings, SEED)
    for _ in trainer.run(STEPS):
        pass
    generator = torch.Generator().manual_seed(SEED)
    return {"objective": name, **measure(trainer, samples=SAMPLES, generator=generator).row()}


def main() -> None:
    """All cases, one after the other."""
    torch.set_num_threads(1)
    rows = []
    for name, case in CASES.items():
        rows.append(measured(name, case))
        print(pd.DataFrame(rows[-1:])[SHOWN].round(3).to_string(index=False), flush=True)
    if len(sys.argv) > 1:
        about = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__}
        write_text(Path(sys.argv[1]), json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
