"""`population`: the distribution of outcomes over independently trained policies."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from llm_bridge.commands.options import Training, presets
from llm_bridge.divergence import check_ends
from llm_bridge.lm.lora import Lora
from llm_bridge.population_figure import draw_population
from llm_bridge.population_report import contrasts, spread
from llm_bridge.population_world import PopulationWorld
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from theory import checks
from theory.errors import InputError
from theory.experiment import run
from theory.matching import matched_beta
from theory.objective import Objective
from theory.records import Records
from theory.tables import write_table


@dataclass(frozen=True)
class PopulationStudy(Training):
    """Train many policies an objective as one program, each rewarded by one member in some trials.

    Their final KL is matched by a scan of beta, unless --beta says which to take.
    """

    objective: tuple[str, ...] = ("vanilla", "variance_aware_ppo")
    """Presets of theory.presets; those that reward one member are given each in turn."""
    ensemble: EnsembleSettings = EnsembleSettings("heads", 10, training=RewardTraining(epochs=2))
    trials: int = 4
    """Policies a member, of different random numbers."""
    kl: float | None = 1.3
    """KL at which the policies are to end, in nats a response; of several beta, the largest."""
    scan: tuple[float, ...] = (0.05, 0.15, 0.5, 1.5, 5.0)
    """beta at which a few policies are trained first, to find the one that ends at --kl."""
    scan_members: int = 2
    """Policies of each of them."""
    judged: int = 512
    """Responses by which a final policy is judged."""
    fresh: bool = False
    """Give every member a preference data set of its own, of --labelling.pairs each; members are
    then independent reward models."""
    group: int = 8
    """Policies that are trained as one program; memory grows with it, results do not change."""
    keep: bool = False
    """Keep the policies."""
    stop_on_divergence: bool = False
    """End policies that explode; the rows so far are kept, and the command ends with status 1."""
    ppo: Settings = Settings(batch=64, learning_rate=3e-3, lora=Lora(16, 32))
    adapter_rank: int | None = 16
    """Of the policies, which share all other weights."""
    out: Path = Path("out/population")
    """Folder of the records, tables and the figure."""

    def settings(self) -> Settings:
        """Of PPO."""
        found = super().settings()
        return replace(
            found, stop_on_divergence=self.stop_on_divergence or found.stop_on_divergence
        )

    @property
    def data_sets(self) -> int:
        """One, or parts of one."""
        return 1

    @property
    def policies(self) -> int:
        """Of the study, and of the scan before it."""
        scanned = 0 if self.beta else len(self.scan) * self.scan_members
        return len(self.objective) * (self.ensemble.members * self.trials + scanned)


class Studied(NamedTuple):
    """What a study found.

    rows: of the records. reference: judgements of the reference, a row each time. strengths: beta
    of each objective.
    """

    rows: pd.DataFrame
    reference: pd.DataFrame
    strengths: dict[str, float]


def population(options: PopulationStudy) -> None:
    """Records, tables of spread and contrasts, and the figure."""
    studied = study(options)
    _tell(options, *studied)
    check_ends(studied.rows, options.settings().stop_on_divergence)


def study(options: PopulationStudy, *, data: int = 0) -> Studied:
    """Scan, train and judge all policies, with records in `out`; data: seed of the preferences."""
    for name in ("trials", "group", "judged", "scan_members"):
        checks.positive(name, getattr(options, name))
    world, members = replace(_world(options), data=data), options.ensemble.members
    strengths = options.beta or _matched(options, world)
    if len(strengths) == 1:
        strengths = strengths * len(options.objective)
    objectives = presets(options.objective, strengths)
    kept = replace(world, policies=options.out / "policies" if options.keep else None)
    records = _run(options, kept, objectives, members * options.trials, "runs")
    reference = world.reference(options.settings(), members * options.trials)
    write_table(options.out / "reference.csv", reference)
    return Studied(records.rows(), reference, dict(zip(objectives, strengths, strict=True)))


def _world(options: PopulationStudy) -> PopulationWorld:
    """Its reward models learn from one data set, or each from one of its own."""
    if options.fresh:
        pairs = options.labelling.pairs * options.ensemble.members
        options = replace(
            options, labelling=replace(options.labelling, pairs=pairs),
            ensemble=replace(options.ensemble, kind="independent", split="disjoint"),
        )  # fmt: skip
    options.check()
    return PopulationWorld(
        options.world(), options.trials, judged=options.judged, group=options.group,
        states=options.out / "states", accept_code=options.accept_code,
    )  # fmt: skip


def _matched(options: PopulationStudy, world: PopulationWorld) -> tuple[float, ...]:
    """The beta of each objective at which its policies end at the KL that is asked for."""
    if options.kl is None:
        raise InputError("kl", "a number, or beta given", None)
    made = {
        (name, beta): presets((name,), (beta,))[name]
        for name in options.objective for beta in options.scan
    }  # fmt: skip
    named = {f"{name} {beta:g}": objective for (name, beta), objective in made.items()}
    records = _run(options, replace(world, trials=1), named, options.scan_members, "scan")
    grid = records.rows().groupby("objective", sort=False).agg(
        kl=("judged_kl", "mean"), kl_low=("judged_kl", "min"), kl_high=("judged_kl", "max"),
        gold=("judged_gold", "mean"),
        gold_low=("judged_gold", "min"), gold_high=("judged_gold", "max"),
    )  # fmt: skip
    write_table(options.out / "scan.csv", grid.reset_index())
    reached = grid.kl
    found = []
    for name in options.objective:
        ends = np.array([reached[f"{name} {beta:g}"] for beta in options.scan])
        found.append(matched_beta(np.array(options.scan), ends, options.kl))
        told = ", ".join(f"{k:.2f} at {b:g}" for b, k in zip(options.scan, ends, strict=True))
        print(f"{name}: KL {told}; beta {found[-1]:.3g} for {options.kl:g}", flush=True)
    return tuple(found)


def _run(
    options: PopulationStudy,
    world: PopulationWorld,
    objectives: dict[str, Objective],
    policies: int,
    folder: str,
) -> Records:
    cells = len(objectives) * -(-policies // options.group)
    return run(
        world, objectives, options.settings(), range(policies), steps=options.steps,
        evaluate_every=options.evaluate_every, out=options.out / folder, chunk=options.group,
        resume=options.resume, workers=options.workers,
        progress=partial(tqdm, total=cells, unit="group", desc=folder, disable=None),
        prepare=partial(replace(options, seeds=1).prepare, world.world),
        accept_code=options.accept_code,
    )  # fmt: skip


def _tell(
    options: PopulationStudy,
    rows: pd.DataFrame,
    reference: pd.DataFrame,
    strengths: dict[str, float],
) -> None:
    """Print and write the tables, name policies that diverged, and draw."""
    last, rng = rows[rows.judged_gold.notna()], np.random.default_rng(0)
    tables = {"spread": spread(last, reference, rng)}
    tables["spread"].insert(1, "beta", [strengths[name] for name in tables["spread"].method])
    if len(strengths) > 1:
        tables["contrasts"] = contrasts(last, options.objective[0], rng)
    for name, table in tables.items():
        write_table(options.out / f"{name}.csv", table)
        print(f"\n{table.round(3).to_string(index=False)}")
    diverged = rows[rows.stopped.notna()].drop_duplicates(["objective", "seed"])
    for stopped in diverged.itertuples():
        print(f"diverged: {stopped.objective}, seed {stopped.seed}, {stopped.stopped}")
    judged = reference.judged_gold
    print(f"\nreference, judged {len(judged)} times: {judged.mean():.3f}, sd {judged.std():.3f}")
    print(f"records in {options.out.resolve()}")
    print(f"figure: {draw_population(rows, reference, options.out).resolve()}")
