"""`ugda`: reward models refined by relabelled interactions, beside their baselines [ugda2025]."""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed
from tqdm import tqdm

from llm_bridge.caching import default_cache
from llm_bridge.commands.options import Training
from llm_bridge.data.pairs import Labelling
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.judging.markdown import save_tables
from llm_bridge.lm.sampling import Sampling
from llm_bridge.refining.experts import EndpointExpert, reward_expert
from llm_bridge.refining.members import Refit
from llm_bridge.refining.methods import SELECTIONS, Method, methods
from llm_bridge.refining.recording import recorded
from llm_bridge.refining.report import differences, levels, worth
from llm_bridge.refining.world import TextRefinement
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.backends import connected
from theory.errors import InputError
from theory.grades import Expert, FileExpert, agreement, graded
from theory.presets import ensemble_mean
from theory.records import Records, alone
from theory.refinement import Refinement

GOLD = "gold"


@dataclass(frozen=True)
class Ugda(Training):
    """Relabel uncertain and influential interactions, refine the reward models, train again."""

    objective: tuple[str, ...] = ("ensemble_mean", "lcb", "uwo")
    """Presets of theory.presets that policies are trained under, without labels and with those of a
    random share; RLR and UGDA are on the first."""
    beta: tuple[float, ...] = (0.3,)
    """Strength of the penalty, one for all objectives or one for each."""
    ppo: Settings = Settings(batch=64, learning_rate=2e-3)
    labelling: Labelling = Labelling(1000)
    ensemble: EnsembleSettings = EnsembleSettings("lora", 3, training=RewardTraining(epochs=2))
    sampling: Sampling = Sampling(tokens=32)
    steps: int = 16
    evaluate_every: int = 4
    selections: tuple[str, ...] = ("both",)
    """Which interactions are relabelled: both (UGDA), variance, influence, information; random
    always. both_size and influence_size take influence by its size, whatever its sign."""
    refinement: Refinement = Refinement(dimension=None)
    """How they are selected, and what grades become; dimension None is exact, and faster than
    projections unless gradients are asked about again."""
    labels: tuple[str, ...] = ()
    """Other rules from grades to rewards (mid_rank, as_printed, anchored), for UGDA and random."""
    gammas: tuple[float, ...] = ()
    """Other shares dropped by variance, for UGDA and as many random labels."""
    etas: tuple[float, ...] = ()
    """Other shares dropped by influence, likewise."""
    dimensions: tuple[int | None, ...] = ()
    """Other dimensions of projected gradients, for UGDA."""
    refit: Refit = Refit(RewardTraining(epochs=4, learning_rate=2e-3))
    """How reward models learn what grades stand for."""
    checkpoints: int = 4
    """Of the policy, at which influence is measured."""
    tasks: int = 2
    """Parts of the validation prompts."""
    validation: int = 128
    """Held-out comparisons whose chosen responses are validated on."""
    judged: int = 512
    """Responses by which a policy is judged."""
    compared: int = 512
    """Held-out comparisons by which reward models are judged."""
    tie: float = 0.1
    """Difference in true reward up to which a response ties with that of the first objective
    without labels."""
    expert: str = GOLD
    """Who grades: gold, the true reward; a table with prompt, response and grade; or the URL of an
    OpenAI-compatible model."""
    second: str | None = None
    """Another expert, asked about the same interactions to see how far the two agree."""
    expert_model: str = "default"
    """Model behind a URL; the key is taken from OPENAI_API_KEY."""
    expert_interval: float = 0.0
    """Least seconds between two questions."""
    adapter_rank: int | None = 8
    """Of the adapters that are trained, whose gradients influence is of."""
    out: Path = Path("out/ugda")
    """Folder of the records, the tables and everything to go on from."""

    @property
    def methods(self) -> dict[tuple[str, str], Method]:
        """What is trained, besides the reference. Raises `InputError` for unknown selections."""
        for selection in self.selections:
            checks.one_of("selections", selection, SELECTIONS)
        lists = {"labels": self.labels, "gamma": self.gammas, "eta": self.etas,
                 "dimension": self.dimensions}  # fmt: skip
        changes = [{name: value} for name, values in lists.items() for value in values]
        return methods(self.objectives(), self.refinement, self.selections, changes)

    @property
    def policies(self) -> int:
        """Trainings of PPO: the first without labels is that which is collected from."""
        return self.seeds * len(self.methods)

    @property
    def refits(self) -> tuple[int, int]:
        """Refinements of trained reward models, and trainings anew, over all seeds."""
        found = {(one.settings, one.anew) for one in self.methods.values() if one.settings}
        anew = sum(one for _, one in found)
        return self.seeds * (len(found) - anew), self.seeds * anew

    @property
    def projections(self) -> int:
        """Times that the gradients of a run's interactions are computed, over all seeds."""
        asked = {
            (s.direction, s.loss, s.dimension, s.seed)
            for s in (one.settings for one in self.methods.values())
            if s is not None and "influence" in s.needs
        }
        return self.seeds * len(asked)

    @property
    def everywhere(self) -> bool:
        """Whether methods ask for the influence of different samples, so that all are measured."""
        found = {
            (one.settings.selection == "both", one.settings.gamma)
            for one in self.methods.values()
            if one.settings is not None and "influence" in one.settings.needs
        }
        return len(found) > 1

    def grader(self, name: str) -> Expert | None:
        """The expert of that name; None for the true reward."""
        if name == GOLD:
            return None
        if re.match(r"https?:|[\w+.-]+://", name, re.IGNORECASE):
            return EndpointExpert(
                Endpoint(name, self.expert_model, interval=self.expert_interval,
                         cache=default_cache(self.cache) / "answers")
            )  # fmt: skip
        return FileExpert.read(Path(name))


def ugda(options: Ugda) -> None:
    """Records of all methods, and tables of what they reach and of how experts agree."""
    records = study(options)
    print(report(records))
    if options.second is not None:
        found = _agreement(options, _stages(options, options.world()))
        save_tables(options.out / "tables", {"agreement": found})
        print(f"\nagreement of {options.expert} with {options.second}\n{found.to_string()}")
    print(f"records in {records.folder.resolve()}")


def study(options: Ugda, *, start: int = 0) -> Records:
    """Records of all methods in the folder `out`, on the seeds from `start` on.

    Raises `InputError` for options that do not go together.
    """
    if options.settings().stop_on_divergence:
        raise InputError("stop_on_divergence", "off: refinement needs whole trainings", True)
    if options.settings().lora is None:
        raise InputError("adapter_rank", "given: influence is of adapters", "none")
    table, expert = options.methods, options.grader(options.expert)
    second = None if options.second is None else options.grader(options.second)
    for asked in (expert, second):
        if isinstance(asked, EndpointExpert):
            asked.tried()
    if expert is None and options.source().gold() is None:
        raise InputError("expert", "a file or a URL where there is no true reward", GOLD)
    with alone(options.out):
        records = Records.create(options.out, _described(options), resume=options.resume)
        world = replace(options.world(), accept_code=options.accept_code)
        base = _stages(options, world)
        records.made_by(base.code, accept=options.accept_code)
        world.policy()
        with connected("loky", options.workers) as pool:
            tasks = [
                delayed(recorded)(base, table, seed, records, tie=options.tie)
                for seed in range(start, start + options.seeds)
            ]
            list(tqdm(pool(tasks), total=options.seeds, unit="seed", disable=None))
    return records


def report(records: Records) -> str:
    """Tables of [ugda2025, Tables 2 and 3], and of what labels are worth.

    Also written beside the records: `methods`, `differences` and `worth`, see
    `llm_bridge.refining.report`.
    """
    rows = records.rows()
    found = levels(rows)
    tables = {"differences": differences(rows), "worth": worth(rows)}
    save_tables(records.folder / "tables", {"methods": found.reset_index(), **tables})
    parts = [found.round(3).dropna(axis=1, how="all").to_string()]
    parts += [f"{name}\n{one.round(3).to_string(index=False)}" for name, one in tables.items()
              if len(one)]  # fmt: skip
    return "\n\n".join(parts)


def _stages(options: Ugda, world: TextWorld) -> TextRefinement:
    collected = ensemble_mean(next(iter(options.objectives().values())).strength)
    return TextRefinement(
        world, (0,), options.out / "collected", options.out / "collected", options.settings(),
        options.grader(options.expert), collected, steps=options.steps,
        evaluate_every=options.evaluate_every, checkpoints=options.checkpoints,
        tasks=options.tasks, validation=options.validation, refit=options.refit,
        everywhere=options.everywhere, judged=options.judged, compared=options.compared,
    )  # fmt: skip


def _described(options: Ugda) -> dict[str, Any]:
    """What the records are of; answers of experts are not in it, but who they are is."""
    names = ("selections", "labels", "gammas", "etas", "dimensions", "steps", "evaluate_every",
             "checkpoints", "tasks", "validation", "judged", "compared", "tie", "expert",
             "expert_model")  # fmt: skip
    return {
        "world": repr(options.world()), "ppo": repr(options.settings()),
        "objectives": {name: repr(objective) for name, objective in options.objectives().items()},
        "refinement": asdict(options.refinement), "refit": asdict(options.refit),
        **{name: getattr(options, name) for name in names},
    }  # fmt: skip


def _agreement(options: Ugda, stages: TextRefinement) -> pd.DataFrame:
    """Of both experts on the interactions of the first seed that would be relabelled at random."""
    assert options.second is not None
    own = stages.interactions(0)
    rows = np.random.default_rng(0).permutation(len(own.step))
    rows = np.sort(rows[: options.refinement.kept(len(rows))])
    texts = [[side[row] for row in rows] for side in (own.prompts, own.responses)]
    grades = []
    for name in (options.expert, options.second):
        expert = options.grader(name)
        if expert is None:
            assert stages.world.gold is not None
            expert = reward_expert(stages.world.gold, own.prompts, own.responses)
        grades.append(graded(expert, *texts))
        if isinstance(expert, EndpointExpert) and expert.faults:
            print(f"{name}: no grade from {dict(expert.faults)}")
    return agreement(*grades)
