"""The command of `python -m bandits`: an experiment, or a sweep of them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bandits.ensembles import ENSEMBLES
from bandits.grid import Grid
from bandits.networks import NETWORKS
from bandits.optimisers import OPTIMISERS
from bandits.preferences import ANNOTATORS, Preferences
from bandits.three_arms import ThreeArms
from theory import checks
from theory.errors import InputError
from theory.experiment import CHUNK, World, run
from theory.objective import Objective
from theory.penalties import TargetKL
from theory.presets import preset

WORLDS = ("grid", "three_arms")
DEFAULTS = {
    "grid": ("vanilla", "ensemble_mean", "reward_robust"),
    "three_arms": ("ensemble_mean", "lcb", "variance_aware"),
}
NEAR = 0.1
"""Relative distance from a target KL beyond which the command says so."""
METRICS = ["gold", "proxy", "kl", "accuracy", "full", "optimal"]


@dataclass(frozen=True)
class Experiment:
    """Train policies under one or several objectives, for many seeds at once.

    Several values of pairs, members, ensemble, split, noise or normalise are swept over; they are
    options of the world 'grid', as arm_rewards, arm_sigmas and degrees are of 'three_arms'.
    """

    objective: tuple[str, ...] = ()
    """Presets of theory.presets; by default three that suit the world."""
    optimiser: str = "ppo"
    """ppo, reinforce, gradient, exact or best_of_n."""
    world: str = "grid"
    """grid (8 prompts x 8 responses, reward models) or three_arms (known estimates)."""
    beta: float = 0.15
    """Final strength of the penalty."""
    kl: float | None = None
    """Target KL in nats, to which beta is steered from above, instead of a strength."""
    n: int | None = None
    """Of best_of_n."""
    samples: int | None = None
    """Responses that PPO and REINFORCE draw for each prompt and iteration."""
    learning_rate: float | None = None
    """Of ppo, reinforce and gradient."""
    sft: float | None = None
    """Probability of the best response that the reference is fine-tuned to first."""
    seeds: int = 64
    """Independent runs."""
    steps: int = 60
    """Iterations of the optimiser."""
    evaluate_every: int = 10
    """Iterations between evaluations."""
    pairs: tuple[int, ...] = (2,)
    """Comparisons of each prompt."""
    preferences: Path | None = None
    """CSV of comparisons (prompt, chosen, rejected; numbers from 0) instead of sampled ones."""
    noise: tuple[str, ...] = ("0",)
    """Share of flipped labels, or expert, opposite, external or ai."""
    covered: bool = False
    """Only data sets in which every response has lost somewhere."""
    ensemble: tuple[str, ...] = ("independent",)
    """independent, shared_trunk, low_rank, brme or laplace."""
    members: tuple[int, ...] = (4,)
    """Reward models of a run."""
    network: str = "per_prompt"
    """per_prompt, concatenated or table."""
    split: tuple[str, ...] = ("same",)
    """What each member sees: same, bootstrap, disjoint or fresh."""
    normalise: tuple[str, ...] = ("centred",)
    """none, centred or standardised."""
    arm_rewards: tuple[float, ...] = (1.0, 2.0, 3.0)
    """True rewards of three_arms, one an arm."""
    arm_sigmas: tuple[float, ...] = (2.0, 0.3, 0.3)
    """Standard deviations of its estimates."""
    degrees: float | None = None
    """Degrees of freedom of heavy-tailed estimates (Student's t), instead of normal ones."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """float32 or float64."""
    chunk: int = CHUNK
    """Seeds trained together; memory grows with it."""
    workers: int = 1
    """Processes."""
    backend: str = "loky"
    """loky, threading, dask or ray."""
    address: str | None = None
    """Of a dask or ray cluster; one is started here if unset."""
    resume: bool = False
    """Go on where an interrupted run stopped."""
    accept_code: bool = False
    """Go on though the code, or a package, is another than that of the run; rows say which."""
    out: Path = Path("out/bandits")
    """Folder of the records."""

    def worlds(self) -> dict[str, World]:
        """One for every combination of the swept options, named by those that vary."""
        checks.one_of("world", self.world, WORLDS)
        if self.world == "three_arms":
            arms = ThreeArms(self.arm_rewards, self.arm_sigmas, self.degrees, self.device)
            return {self.world: arms}
        swept = {
            name: getattr(self, name)
            for name in ("pairs", "noise", "ensemble", "members", "split", "normalise")
        }
        varied = [name for name, choices in swept.items() if len(choices) > 1]
        found: dict[str, World] = {}
        for choice in product(*swept.values()):
            values = dict(zip(swept, choice, strict=True))
            label = ", ".join(f"{name}={values[name]}" for name in varied)
            found[label or "grid"] = self._grid(**values)
        return found

    def objectives(self) -> dict[str, Objective]:
        """By name, at beta or at the target KL."""
        strength = self.beta if self.kl is None else TargetKL(self.kl)
        names = self.objective or DEFAULTS[self.world]
        return {name: preset(name, strength) for name in names}

    def tuned_optimiser(self) -> Any:
        """The optimiser with the options that were set; `InputError` for one that it has not."""
        checks.one_of("optimiser", self.optimiser, OPTIMISERS)
        if self.optimiser == "best_of_n" and self.kl is not None:
            raise InputError("kl", "unset for best_of_n", self.kl, "choose n")
        chosen: Any = OPTIMISERS[self.optimiser]
        for name in ("n", "samples", "learning_rate"):
            number = getattr(self, name)
            if number is None:
                continue
            if not hasattr(chosen, name):
                raise InputError(name, f"unset for {self.optimiser}", number)
            chosen = replace(chosen, **{name: number})
        return chosen

    def _grid(
        self, *, pairs: int, noise: str, ensemble: str, members: int, split: str, normalise: str
    ) -> Grid:
        checks.one_of("ensemble", ensemble, ENSEMBLES)
        checks.one_of("network", self.network, NETWORKS)
        if self.preferences is not None:
            if (self.pairs, self.noise, self.covered) != ((2,), ("0",), False):
                raise InputError("preferences", "without pairs, noise or covered", "both")
            preferences = Preferences.read(self.preferences)
        else:
            preferences = Preferences(pairs, noise=_noise(noise), covered=self.covered)
        kind = ENSEMBLES[ensemble](members, NETWORKS[self.network](), split)
        return Grid(
            preferences=preferences, ensemble=kind, normalise=normalise, sft=self.sft,
            device=self.device, dtype=self.dtype,
        )  # fmt: skip


def run_experiment(options: Experiment) -> int:
    """Exit status: 0, 1 where a cell failed, 2 for bad input."""
    try:
        for name in ("seeds", "chunk", "workers", "beta"):
            checks.positive(name, getattr(options, name))
        worlds, objectives = options.worlds(), options.objectives()
        optimiser = options.tuned_optimiser()
        print(announced(options, worlds, objectives))
        cells = len(worlds) * len(objectives) * -(-options.seeds // options.chunk)
        records = run(
            worlds,
            objectives,
            optimiser,
            range(options.seeds),
            steps=options.steps,
            evaluate_every=options.evaluate_every,
            out=options.out,
            chunk=options.chunk,
            resume=options.resume,
            accept_code=options.accept_code,
            workers=options.workers,
            backend=options.backend,
            address=options.address,
            progress=partial(tqdm, total=cells, unit="cell", disable=None),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    last = records.select(step=-1)
    groups = ["world", "objective"] if len(worlds) > 1 else ["objective"]
    print(last.groupby(groups)[METRICS].mean().round(3).to_string())
    if options.kl is not None and abs(last.kl.mean() / options.kl - 1) > NEAR:
        print(f"note: KL ended at {last.kl.mean():.3g} and not at {options.kl:g}: out of reach, or "
              "too few steps")  # fmt: skip
    print(f"records in {records.folder.resolve()}")
    return 0


def announced(
    options: Experiment, worlds: Mapping[str, World], objectives: Mapping[str, Objective]
) -> str:
    """What is about to be done, in a line or two."""
    world = next(iter(worlds.values())).name if len(worlds) == 1 else f"{len(worlds)} worlds"
    strength = f"beta {options.beta:g}" if options.kl is None else f"KL {options.kl:g}"
    return (
        f"{options.optimiser} on {world}: {', '.join(objectives)} at {strength}, "
        f"{options.seeds} seeds, {options.steps} steps, into {options.out} "
        "(--help lists what can be chosen)"
    )


def _noise(text: str) -> float | str:
    """A share, or the name of an annotator."""
    try:
        return float(text)
    except ValueError:
        checks.one_of("noise", text, ANNOTATORS)
        return text
