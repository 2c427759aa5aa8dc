"""`ugda`: reward models refined by relabelled interactions, beside their baselines [ugda2025]."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import delayed
from tqdm import tqdm

from llm_bridge.commands.options import Training
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.judging.markdown import save_tables
from llm_bridge.refining.experts import EndpointExpert, reward_expert
from llm_bridge.refining.members import Refit
from llm_bridge.refining.methods import NONE, SFT, Method, methods
from llm_bridge.refining.world import TextRefinement
from llm_bridge.settings import Settings
from theory import checks
from theory.backends import connected
from theory.errors import InputError
from theory.grades import MISSING, Expert, FileExpert, agreement
from theory.objective import Objective
from theory.presets import ensemble_mean
from theory.records import Records
from theory.refinement import SELECTIONS, Refinement
from theory.refinement_stages import Arrays, run

GOLD = "gold"
NOT_LABELLED = {"labels": 0, "missing": 0}


@dataclass(frozen=True)
class Ugda(Training):
    """Relabel uncertain and influential interactions, refine the reward models, train again."""

    objective: tuple[str, ...] = ("ensemble_mean", "lcb", "uwo")
    """Presets of theory.presets that policies are trained under, without labels and with those of a
    random share; RLR and UGDA are on the first."""
    beta: tuple[float, ...] = (0.1,)
    """Strength of the penalty, one for all objectives or one for each."""
    ppo: Settings = Settings(batch=64, learning_rate=2e-3)
    selections: tuple[str, ...] = ("both",)
    """Which interactions are relabelled: both (UGDA), variance, influence, random (always)."""
    refinement: Refinement = Refinement()
    """How they are selected, and what grades become. --refinement.dimension None is exact, and
    faster unless gradients are asked about again."""
    refit: Refit = Refit()
    """How reward models learn what grades stand for."""
    checkpoints: int = 4
    """Of the policy, at which influence is measured."""
    tasks: int = 2
    """Parts of the validation prompts."""
    validation: int = 128
    """Held-out comparisons whose chosen responses are validated on."""
    judged: int = 512
    """Responses by which a policy is judged."""
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

    def grader(self, name: str) -> Expert | None:
        """The expert of that name; None for the true reward."""
        if name == GOLD:
            return None
        if re.match("https?://", name):
            return EndpointExpert(
                Endpoint(name, self.expert_model, interval=self.expert_interval,
                         cache=self.cache / "answers")
            )  # fmt: skip
        return FileExpert.read(Path(name))


def ugda(options: Ugda) -> None:
    """Records of all methods, and tables of what they reach and of how experts agree."""
    for selection in options.selections:
        checks.one_of("selections", selection, set(SELECTIONS) - {"information"})
    if options.settings().lora is None:
        raise InputError("adapter_rank", "given: influence is of adapters", "none")
    objectives, expert = options.objectives(), options.grader(options.expert)
    if expert is None and options.source().gold() is None:
        raise InputError("expert", "a file or a URL where there is no true reward", GOLD)
    records = Records.create(options.out, _described(options, objectives), resume=options.resume)
    world, table = options.prepared(), methods(objectives, options.refinement, options.selections)
    base = TextRefinement(
        world, (0,), options.out / "collected", options.out / "collected", options.settings(),
        expert, ensemble_mean(next(iter(objectives.values())).strength), steps=options.steps,
        evaluate_every=options.evaluate_every, checkpoints=options.checkpoints,
        tasks=options.tasks, validation=options.validation, refit=options.refit,
        judged=options.judged,
    )  # fmt: skip
    with connected("loky", options.workers) as pool:
        tasks = [delayed(_recorded)(base, table, seed, records) for seed in range(options.seeds)]
        list(tqdm(pool(tasks), total=options.seeds, unit="seed", disable=None))
    print(report(records))
    if options.second is not None:
        found = _agreement(options, base)
        save_tables(options.out, {"agreement": found})
        print(f"\nagreement of {options.expert} with {options.second}\n{found.to_string()}")
    print(f"records in {records.folder.resolve()}")


def report(records: Records) -> str:
    """What methods reach, without labels and with them [ugda2025, Tables 2 and 3].

    By method and share of the interactions that is relabelled, means over seeds: true reward with
    its standard error, variance over responses, labels, those that are missing, and the expected
    overlap of the selection with that by exact gradients. Also written beside the records.
    """
    last = records.rows().dropna(subset="labels")
    found = last.groupby(["objective", "share"], sort=False).agg(
        seeds=("seed", "nunique"), gold=("judged_gold", "mean"), error=("judged_gold", "sem"),
        variance=("judged_variance", "mean"), labels=("labels", "mean"),
        missing=("missing", "mean"), overlap=("overlap", "mean"),
    )  # fmt: skip
    save_tables(records.folder, {"methods": found.reset_index()})
    return found.round(3).to_string()


def _recorded(
    base: TextRefinement, table: Mapping[tuple[str, bool], Method], seed: int, records: Records
) -> None:
    """Every method on one seed, in cells that are complete or computed again."""
    torch.set_num_threads(1)
    stages, finished = replace(base, seeds=(seed,)), records.finished()
    came: Arrays | None = None
    for (name, _), method in table.items():
        cell = re.sub(r"[^\w.-]+", "_", f"{name}.{method.share}.{seed}")
        if cell in finished:
            continue
        came = stages.collect() if came is None else came
        own = replace(
            stages, own=records.folder / "methods" / cell, objective=method.objective,
            refit=replace(stages.refit, replay=method.replay),
        )  # fmt: skip
        labels = {"objective": name, "share": method.share, "world": base.world.name}
        records.write(cell, [_rows(own, method, came).assign(**labels)])
    cell = f"{SFT}.{seed}"
    if cell not in finished:
        labels = {"objective": SFT, "share": NONE, "world": base.world.name}
        row = {"seed": seed, "step": 0, **NOT_LABELLED, **_judged(stages.judge(seed)), **labels}
        records.write(cell, [pd.DataFrame([row])])


def _rows(stages: TextRefinement, method: Method, came: Arrays) -> pd.DataFrame:
    """Rows of one policy in training, its judgement in the last."""
    about: dict[str, float] = dict(NOT_LABELLED)
    if method.settings is None:
        trained = stages.retrain(came, {})
    else:
        found = run(stages, method.settings, interactions=came, folder=stages.own)
        trained, grades = found["retrain"], found["relabel"]["grades"]
        if isinstance(stages.expert, EndpointExpert) and stages.expert.faults:
            print(f"grades that are missing so far: {dict(stages.expert.faults)}", flush=True)
        about = {"labels": grades.size, "missing": int((grades == MISSING).sum())}
        about |= {name: float(values[0]) for name, values in found["evidence"].items()
                  if name in ("overlap", "cosine_std")}  # fmt: skip
    curves = pd.DataFrame({name: v[0] for name, v in trained.items() if name != "judged"})
    last = pd.DataFrame([{**about, **_judged(trained["judged"][0])}], index=curves.index[-1:])
    return curves.join(last).assign(seed=stages.seeds[0])


def _judged(gold: np.ndarray) -> dict[str, float]:
    return {"judged_gold": float(gold.mean()), "judged_variance": float(gold.var(ddof=1))}


def _described(options: Ugda, objectives: Mapping[str, Objective]) -> dict[str, Any]:
    """What the records are of; answers of experts are not in it, but who they are is."""
    names = ("selections", "steps", "evaluate_every", "checkpoints", "tasks", "validation",
             "judged", "expert", "expert_model")  # fmt: skip
    return {
        "world": repr(options.world()), "ppo": repr(options.settings()),
        "objectives": {name: repr(objective) for name, objective in objectives.items()},
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
        grades.append(expert(*texts))
        if isinstance(expert, EndpointExpert) and expert.faults:
            print(f"{name}: no grade from {dict(expert.faults)}")
    return agreement(*grades)
