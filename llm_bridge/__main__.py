"""`python -m llm_bridge`: the objectives on language models."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import tyro
from joblib import Parallel, delayed
from tqdm import tqdm
from transformers.utils import logging

from llm_bridge.compare_figure import draw
from llm_bridge.ensembles import EnsembleSettings
from llm_bridge.pairs import Labelling
from llm_bridge.ppo import Settings
from llm_bridge.reward_models import RewardTraining
from llm_bridge.text_world import TextWorld, default_cache
from theory import checks
from theory.errors import InputError
from theory.experiment import run
from theory.objective import Objective
from theory.penalties import TargetKL
from theory.presets import PRESETS

STUDY = (
    "vanilla", "ensemble_mean", "wco", "lcb", "variance_aware", "reward_robust", "adaptive",
)  # fmt: skip
METRICS = ["gold", "proxy", "kl", "member_std", "length"]


@dataclass(frozen=True)
class Compare:
    """Train a policy under every objective on several preference data sets, and draw the curves."""

    scale: str = "tiny"
    """tiny: the embedded language (0.1 million parameters); small and medium are larger."""
    objective: tuple[str, ...] = STUDY
    """Presets of theory.presets."""
    beta: float = 0.02
    """Strength of the penalty."""
    kl: float | None = None
    """Target KL in nats a response, to which beta is steered, instead of a strength."""
    seeds: int = 3
    """Preference data sets; each has reward models and a training of its own."""
    steps: int = 80
    """PPO iterations."""
    evaluate_every: int = 5
    """Iterations between rows of the records."""
    batch: int = 128
    """Responses of an iteration."""
    learning_rate: float = 3e-4
    """Of PPO."""
    pairs: int = 4000
    """Comparisons that reward models learn from."""
    noise: float = 0.0
    """Share of their labels that are flipped."""
    members: int = 5
    """Reward models of an ensemble."""
    ensemble: str = "independent"
    """independent or shared_trunk."""
    split: str = "bootstrap"
    """What each member sees: same, bootstrap or disjoint."""
    workers: int = 1
    """Processes; one thread each."""
    resume: bool = False
    """Go on where an interrupted run stopped."""
    cache: Path = default_cache()
    """Folder of trained models."""
    out: Path = Path("out/compare")
    """Folder of the records and the figure."""

    def world(self) -> TextWorld:
        """The world of these options."""
        ensemble = EnsembleSettings(
            self.ensemble, self.members, self.split, RewardTraining(epochs=2)
        )
        labelling = Labelling(self.pairs, noise=self.noise)
        return TextWorld(self.scale, labelling=labelling, ensemble=ensemble, cache=self.cache)

    def objectives(self) -> dict[str, Objective]:
        """By name, at beta or at the target KL."""
        for name in self.objective:
            checks.one_of("objective", name, PRESETS)
        strength = self.beta if self.kl is None else TargetKL(self.kl)
        return {name: PRESETS[name](strength) for name in self.objective}


def compare(options: Compare) -> int:
    """Exit status: 0, 1 where a run failed."""
    for name in ("seeds", "steps", "evaluate_every"):
        checks.positive(name, getattr(options, name))
    world, objectives = options.world(), options.objectives()
    world.policy()
    print(f"training reward models on {options.seeds} preference data sets ...")
    pool = Parallel(options.workers)
    pool(delayed(prepare)(world, seed) for seed in range(options.seeds))
    settings = replace(Settings(), batch=options.batch, learning_rate=options.learning_rate)
    records = run(
        world,
        objectives,
        settings,
        range(options.seeds),
        steps=options.steps,
        evaluate_every=options.evaluate_every,
        out=options.out,
        chunk=1,
        resume=options.resume,
        workers=options.workers,
        progress=partial(tqdm, total=len(objectives) * options.seeds, unit="policy", disable=None),
    )
    last = records.select(step=-1)
    print(last.groupby("objective", sort=False)[METRICS].mean().round(3).to_string())
    print(f"figure: {draw(records.rows(), options.out).resolve()}")
    print(f"records in {records.folder.resolve()}")
    return 0


def prepare(world: TextWorld, seed: int) -> None:
    """Train and cache the reward models of a preference data set."""
    torch.set_num_threads(1)
    world.normaliser(seed)


def main() -> int:
    """Exit status: 0, 1 where a run failed, 2 for bad input."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    commands: dict[str, Callable[..., Compare]] = {"compare": Compare}
    options = tyro.extras.subcommand_cli_from_dict(commands)
    try:
        return compare(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
