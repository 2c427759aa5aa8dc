"""`python -m bandits`: one experiment on the grid world."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from tqdm import tqdm

from bandits.grid import Grid
from bandits.optimisers import PPO, REINFORCE, BestOfN, Exact, Gradient
from theory import checks
from theory.errors import InputError
from theory.experiment import CHUNK, run
from theory.presets import PRESETS

OPTIMISERS = {
    "ppo": PPO(),
    "reinforce": REINFORCE,
    "gradient": Gradient(),
    "exact": Exact(),
    "best_of_n": BestOfN(),
}
METRICS = ["gold", "proxy", "kl", "accuracy", "full", "optimal"]


@dataclass(frozen=True)
class Experiment:
    """Train policies on the grid world under one or several objectives, for many seeds at once."""

    objective: tuple[str, ...] = ("vanilla", "ensemble_mean", "reward_robust")
    """Presets of theory.presets."""
    optimiser: str = "ppo"
    """ppo, reinforce, gradient, exact or best_of_n."""
    beta: float = 0.15
    """Final strength of the penalty."""
    seeds: int = 64
    """Independent runs."""
    steps: int = 60
    """Iterations of the optimiser."""
    evaluate_every: int = 10
    """Iterations between evaluations."""
    pairs: int = 2
    """Comparisons of each prompt."""
    members: int = 4
    """Reward models of a run."""
    device: str = "cpu"
    """cpu or cuda."""
    chunk: int = CHUNK
    """Seeds trained together; memory grows with it."""
    workers: int = 1
    """Processes."""
    resume: bool = False
    """Go on where an interrupted run stopped."""
    out: Path = Path("out/bandits")
    """Folder of the records."""


def main(options: Experiment) -> int:
    """Exit status: 0, 1 where a cell failed, 2 for bad input."""
    try:
        checks.one_of("optimiser", options.optimiser, OPTIMISERS)
        for name in options.objective:
            checks.one_of("objective", name, PRESETS)
        checks.positive("seeds", options.seeds)
        world = Grid(pairs=options.pairs, members=options.members, device=options.device)
        records = run(
            world,
            {name: PRESETS[name](options.beta) for name in options.objective},
            OPTIMISERS[options.optimiser],
            range(options.seeds),
            steps=options.steps,
            evaluate_every=options.evaluate_every,
            out=options.out,
            chunk=options.chunk,
            resume=options.resume,
            workers=options.workers,
            progress=partial(tqdm, unit="cell", disable=None),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = records.rows()
    last = rows[rows.step == rows.step.max()]
    print(last.groupby("objective")[METRICS].mean().round(3).to_string())
    print(f"records in {records.folder.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Experiment)))
