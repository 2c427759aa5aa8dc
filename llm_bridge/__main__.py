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

from llm_bridge.best_of_n import best_of_n
from llm_bridge.compare_figure import draw
from llm_bridge.ensembles import EnsembleSettings
from llm_bridge.pairs import Labelling
from llm_bridge.reward_models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld, default_cache
from theory import checks
from theory.errors import InputError
from theory.experiment import run
from theory.files import output_folder, write
from theory.objective import Objective
from theory.penalties import TargetKL
from theory.presets import PRESETS

STUDY = (
    "vanilla", "ensemble_mean", "wco", "lcb", "variance_aware", "reward_robust", "adaptive",
)  # fmt: skip
METRICS = ["gold", "proxy", "kl", "member_std", "length"]


@dataclass(frozen=True)
class World:
    """Options of the world that all commands share."""

    scale: str = "tiny"
    """tiny: the embedded language (0.1 million parameters); small and medium are larger."""
    objective: tuple[str, ...] = STUDY
    """Presets of theory.presets."""
    seeds: int = 3
    """Preference data sets; each has reward models of its own."""
    pairs: int = 3000
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
    cache: Path = default_cache()
    """Folder of trained models."""

    def world(self) -> TextWorld:
        """The world of these options."""
        ensemble = EnsembleSettings(
            self.ensemble, self.members, self.split, RewardTraining(epochs=2)
        )
        labelling = Labelling(self.pairs, noise=self.noise)
        return TextWorld(self.scale, labelling=labelling, ensemble=ensemble, cache=self.cache)

    def prepared(self) -> TextWorld:
        """The world, its language model and all its reward models trained or taken from the cache.

        Raises `InputError` for unknown objectives.
        """
        checks.positive("seeds", self.seeds)
        for name in self.objective:
            checks.one_of("objective", name, PRESETS)
        world = self.world()
        world.policy()
        print(f"reward models of {self.seeds} preference data sets ...", flush=True)
        Parallel(self.workers)(delayed(prepare)(world, seed) for seed in range(self.seeds))
        return world


@dataclass(frozen=True)
class Compare(World):
    """Train a policy under every objective on several preference data sets, and draw the curves."""

    beta: float = 0.02
    """Strength of the penalty."""
    kl: float | None = None
    """Target KL in nats a response, to which beta is steered, instead of a strength."""
    steps: int = 80
    """PPO iterations."""
    evaluate_every: int = 5
    """Iterations between rows of the records."""
    batch: int = 128
    """Responses of an iteration."""
    learning_rate: float = 3e-4
    """Of PPO."""
    resume: bool = False
    """Go on where an interrupted run stopped."""
    out: Path = Path("out/compare")
    """Folder of the records and the figure."""

    def objectives(self) -> dict[str, Objective]:
        """By name, at beta or at the target KL."""
        strength = self.beta if self.kl is None else TargetKL(self.kl)
        return {name: PRESETS[name](strength) for name in self.objective}


@dataclass(frozen=True)
class BestOfN(World):
    """Choose the best of n responses of the reference under every objective, for every n."""

    samples: int = 64
    """Responses of a prompt, and the largest n."""
    out: Path = Path("out/best-of-n")
    """Folder of the curves."""


def compare(options: Compare) -> None:
    """Records, a table of the ends, and the curves."""
    for name in ("steps", "evaluate_every"):
        checks.positive(name, getattr(options, name))
    world, objectives = options.prepared(), options.objectives()
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


def choose(options: BestOfN) -> None:
    """Curves of best-of-n, and a table of some of them."""
    world = options.prepared()
    objectives = {name: PRESETS[name]() for name in options.objective}
    rows = best_of_n(world, objectives, range(options.seeds), samples=options.samples)
    path = output_folder(options.out) / "best_of_n.csv"
    write(path, lambda file: rows.to_csv(file, index=False))
    shown = rows[rows.n.isin([1, 4, 16, 64, 256, options.samples])]
    table = shown.pivot_table(index="objective", columns="n", values="gold", sort=False)
    print("true reward of the best of n\n" + table.round(3).to_string())
    print(f"curves in {path.resolve()}")


def prepare(world: TextWorld, seed: int) -> None:
    """Train and cache the reward models of a preference data set."""
    torch.set_num_threads(1)
    world.normaliser(seed)


def main() -> int:
    """Exit status: 0, 1 where a run failed, 2 for bad input."""
    torch.set_num_threads(1)
    commands: dict[str, Callable[..., World]] = {"compare": Compare, "best-of-n": BestOfN}
    options = tyro.extras.subcommand_cli_from_dict(commands)
    try:
        if isinstance(options, Compare):
            compare(options)
        elif isinstance(options, BestOfN):
            choose(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
