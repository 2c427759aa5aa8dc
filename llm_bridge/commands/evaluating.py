"""`evaluate`: trained policies side by side, against the reference, and against the theory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from llm_bridge.commands.options import World, presets
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.judging.evaluate import against, measure, side_by_side, summarise
from llm_bridge.judging.judges import EndpointJudge, PairwiseJudge, mean_reward, score_judge
from llm_bridge.judging.markdown import save_tables
from llm_bridge.lm.checkpoints import load_policy
from llm_bridge.optimality import measure as measure_optimality
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.errors import InputError

REFERENCE = "reference"
FEW = 20
"""Prompts below which intervals are about these very prompts."""


@dataclass(frozen=True)
class Evaluate(World):
    """Compare trained policies with the reference: rewards, win rates, texts.

    With --trained-under, also measure how far each is from the optimum of what it was trained for.
    """

    policies: tuple[Path, ...] = ()
    """Folders of policies, as `ppo` and `compare --keep` write them."""
    seed: int = 0
    """Preference data set whose reward models are asked."""
    samples: int = 32
    """Responses to each prompt."""
    trained_under: str | None = None
    """Preset that the policies were trained under, to be held against its optimum ..."""
    strength: float | None = None
    """... at this beta; the preset's own unless given."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible judge; without one the true reward judges, or the reward
    models."""
    endpoint_model: str = "default"
    """Its model; the key is taken from OPENAI_API_KEY."""
    out: Path = Path("out/evaluate")
    """Folder of the tables."""


def evaluate(options: Evaluate) -> None:
    """Tables as CSV and Markdown: summary, win rates, texts, and optimality where asked for."""
    checks.positive("samples", options.samples)
    names = [folder.name for folder in options.policies]
    if not names or len({*names, REFERENCE}) <= len(names):
        raise InputError("policies", "at least one folder, no two of one name", names)
    world = replace(options, seeds=options.seed + 1).world()
    loaded = {folder.name: load_policy(folder)[0] for folder in options.policies}
    prompts = [prompt for prompt in world.prompts for _ in range(options.samples)]
    texts = {
        name: world.respond(prompts, world.generator(options.seed, f"evaluate {name}"), model)
        for name, model in {REFERENCE: None, **loaded}.items()
    }
    tokenizer = world.policy()[1]
    rows = measure(
        texts, prompts, gold=world.gold, normaliser=world.normaliser(options.seed),
        length=lambda text: len(tokenizer(text, add_special_tokens=False).input_ids),
        seed=options.seed,
    )  # fmt: skip
    rng, resample = np.random.default_rng(options.seed), _resample(world.prompts)
    tables = {
        "summary": summarise(rows, resample=resample, rng=rng),
        "win_rates": against(
            rows, REFERENCE, _judge(options, world), resample=resample, rng=rng,
            progress=partial(tqdm, unit="policy", disable=None),
        ),
        "texts": side_by_side(rows, prompts=20),
    }  # fmt: skip
    if options.trained_under is not None:
        tables["optimality"] = _optimality(options, world, loaded)
    save_tables(options.out, tables)
    for name in ("summary", "win_rates", "optimality"):
        if name in tables:
            print(f"{name}\n{tables[name].set_index('policy').T.round(3).to_string()}\n")
    print(f"tables in {options.out.resolve()}")


def _judge(options: Evaluate, world: TextWorld) -> PairwiseJudge:
    """An endpoint, the true reward, or the reward models, whichever comes first."""
    if options.endpoint is not None:
        return EndpointJudge(
            Endpoint(options.endpoint, options.endpoint_model, cache=options.cache / "answers")
        )
    return score_judge(world.gold or mean_reward(world.normaliser(options.seed)))


def _resample(prompts: Sequence[str]) -> str:
    """Prompts where there are enough to stand for others, else responses."""
    return "prompt" if len(prompts) >= FEW else "response"


def _optimality(options: Evaluate, world: TextWorld, models: Mapping[str, Any]) -> pd.DataFrame:
    """A row a policy, see `llm_bridge.optimality`."""
    assert options.trained_under is not None
    strengths = () if options.strength is None else (options.strength,)
    objective = presets((options.trained_under,), strengths)[options.trained_under]
    rows = []
    for name, model in models.items():
        trainer = world.trainer(objective, Settings(), options.seed)
        trainer.actor.model = model
        generator = world.generator(options.seed, f"optimality {name}")
        found = measure_optimality(trainer, samples=options.samples, generator=generator)
        rows.append({"policy": name, **found.row()})
    return pd.DataFrame(rows)
