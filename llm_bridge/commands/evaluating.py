"""`evaluate`: trained policies side by side, against the reference, and against the theory."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from llm_bridge.caching import default_cache
from llm_bridge.commands.options import World
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.judging.evaluate import against, measure, side_by_side, summarise
from llm_bridge.judging.judges import EndpointJudge, PairwiseJudge, mean_reward, score_judge
from llm_bridge.judging.markdown import save_tables
from llm_bridge.lm.checkpoints import load_policy
from llm_bridge.optimality import measure as measure_optimality
from llm_bridge.provenance import origin
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.errors import InputError
from theory.files import output_folder

REFERENCE = "reference"
FEW = 20
"""Prompts below which intervals are about these very prompts."""


@dataclass(frozen=True)
class Evaluate(World):
    """Compare trained policies with their reference: rewards, win rates, texts, optimality.

    Each is asked of the reward models that it was trained on; give the options of its training.
    """

    policies: tuple[Path, ...] = ()
    """Folders of policies, as `ppo` and `compare --keep` write them."""
    samples: int = 32
    """Responses to each prompt."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible judge; without one the true reward judges, or the reward
    models."""
    endpoint_model: str = "default"
    """Its model; the key is taken from OPENAI_API_KEY."""
    spreadsheet_safe: bool = False
    """Put an apostrophe before texts in tables that a spreadsheet would take for formulas."""
    out: Path = Path("out/evaluate")
    """Folder of the tables."""


def evaluate(options: Evaluate) -> None:
    """Tables as CSV and Markdown: summary, win rates, texts, and distance from the optimum."""
    checks.positive("samples", options.samples)
    options.check()
    _check_names([folder.name for folder in options.policies])
    endpoint = _endpoint(options)
    output_folder(options.out)
    if endpoint is not None:
        EndpointJudge(endpoint).tried()
    world, by_seed = options.world(), defaultdict(list)
    for folder in options.policies:
        by_seed[origin(folder).seed].append(folder)
        if origin(folder).world != repr(world):
            print(f"warning: {folder} was trained in another world than these options describe")
    found = [
        _evaluated(options, world, endpoint, seed, folders) for seed, folders in by_seed.items()
    ]
    tables = {name: pd.concat([part[name] for part in found]) for name in found[0]}
    save_tables(options.out, tables, spreadsheet_safe=options.spreadsheet_safe)
    for name in ("summary", "win_rates", "optimality"):
        if not tables[name].empty:
            print(f"{name}\n{tables[name].set_index('policy').T.round(3).to_string()}\n")
    print(f"tables in {options.out.resolve()}")


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise InputError(
            "policies", "at least one folder", "none",
            "pass what ppo or compare --keep wrote, e.g. --policies out/ppo/policies/*",
        )  # fmt: skip
    if len({*names, REFERENCE}) <= len(names):
        raise InputError(
            "policies", f"folders, no two of one name and none a {REFERENCE!r}", ", ".join(names),
            "rename some",
        )  # fmt: skip


def _evaluated(
    options: Evaluate,
    world: TextWorld,
    endpoint: Endpoint | None,
    seed: int,
    folders: Sequence[Path],
) -> dict[str, pd.DataFrame]:
    """Tables of the policies of one seed, one of them in memory at a time."""
    prompts = [prompt for prompt in world.prompts for _ in range(options.samples)]
    texts = {REFERENCE: world.respond(prompts, world.generator(seed, "evaluate"))}
    optimality = []
    for folder in tqdm(folders, unit="policy", disable=None):
        model, _ = load_policy(folder, dtype=options.dtype, device=options.device)
        generator = world.generator(seed, f"evaluate {folder.name}")
        texts[folder.name] = world.respond(prompts, generator, model)
        optimality += _optimality(world, folder, model, options.samples)
    tokenizer, rng, resample = world.policy()[1], np.random.default_rng(seed), _resample(world)
    rows = measure(
        texts, prompts, gold=world.gold, normaliser=world.normaliser(seed),
        length=lambda text: len(tokenizer(text, add_special_tokens=False).input_ids), seed=seed,
    )  # fmt: skip
    judge = _judge(endpoint, world, seed)
    tables = {
        "summary": summarise(rows, resample=resample, rng=rng),
        "win_rates": against(rows, REFERENCE, judge, resample=resample, rng=rng),
        "texts": side_by_side(rows, prompts=20),
        "optimality": pd.DataFrame(optimality),
    }
    return {name: table.assign(seed=seed) for name, table in tables.items()}


def _endpoint(options: Evaluate) -> Endpoint | None:
    if options.endpoint is None:
        return None
    return Endpoint(
        options.endpoint, options.endpoint_model, cache=default_cache(options.cache) / "answers"
    )


def _judge(endpoint: Endpoint | None, world: TextWorld, seed: int) -> PairwiseJudge:
    """An endpoint, the true reward, or the reward models, whichever comes first."""
    if endpoint is not None:
        return EndpointJudge(endpoint)
    return score_judge(world.gold or mean_reward(world.normaliser(seed)))


def _resample(world: TextWorld) -> str:
    """Prompts where there are enough to stand for others, else responses."""
    return "prompt" if len(world.prompts) >= FEW else "response"


def _optimality(
    world: TextWorld, folder: Path, model: Any, samples: int
) -> list[dict[str, float | str]]:
    """A row, see `llm_bridge.optimality`; none for an objective that is no preset."""
    found = origin(folder)
    objective = found.preset()
    if objective is None:
        return []
    trainer = world.trainer(objective, Settings(), found.seed)
    trainer.actor.model = model
    found.resume(trainer)
    generator = world.generator(found.seed, f"optimality {folder.name}")
    measured = measure_optimality(trainer, samples=samples, generator=generator)
    return [{"policy": folder.name, **measured.row()}]
