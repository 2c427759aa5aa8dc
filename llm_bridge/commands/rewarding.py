"""`reward`: reward models trained on comparisons, kept, and examined on others."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_bridge.commands.options import World, check_file
from llm_bridge.data.reading import load_rows
from llm_bridge.judging.markdown import save_tables
from llm_bridge.rewards.evaluation import evaluate, margins
from llm_bridge.rewards.rewardbench import Questions, rewardbench
from llm_bridge.text_world import TextWorld

LOGITS = ["loss", "brier", "ece"]
"""Columns that mean something for margins that are logits of the labels, as BRME's are not."""


@dataclass(frozen=True)
class Reward(World):
    """Train reward ensembles, keep them, and evaluate them on comparisons that they have not seen.

    Their quality is that of the mean over members unless a row says which.
    """

    rewardbench: str | None = None
    """File of the RewardBench format: prompt, chosen, rejected, subset. Where chosen or rejected
    are lists (RewardBench 2) all chosen texts have to be above all rejected ones; its subset Ties
    is not scored."""
    spreadsheet_safe: bool = False
    """Put an apostrophe before texts in tables that a spreadsheet would take for formulas."""
    out: Path = Path("out/reward")
    """Folder of the ensembles, one a preference data set, and of the tables."""


def reward(options: Reward) -> None:
    """Ensembles as `Ensemble.from_pretrained` loads them, and what they are worth."""
    check_file("rewardbench", options.rewardbench)
    questions, world = _questions(options)
    options.prepared(world)
    tables = defaultdict(list)
    for seed in range(options.seeds):
        for index, ensemble in enumerate(world.ensembles(seed)):
            ensemble.save(options.out / f"ensemble-{seed}-{index}")
        for name, frame in _examined(world, seed, questions).items():
            tables[name].append(frame.assign(seed=seed))
    found = {name: pd.concat(frames) for name, frames in tables.items()}
    save_tables(options.out, found, spreadsheet_safe=options.spreadsheet_safe)
    print(
        found["members"]
        .drop(columns="seed")
        .groupby("member", sort=False)
        .mean()
        .round(3)
        .to_string()
    )
    print(found["summary"].drop(columns="seed").mean().round(3).to_string())
    if questions is not None:
        print(f"rewardbench: {questions.told()}")
        print(
            found["rewardbench"].groupby("section", sort=False).accuracy.mean().round(3).to_string()
        )
    print(f"ensembles and tables in {options.out.resolve()}")


def _questions(options: Reward) -> tuple[Questions | None, TextWorld]:
    """The benchmark, checked before anything is trained, and the world with its policy loaded."""
    if options.rewardbench is None:
        return None, options.loaded()
    rows = load_rows(options.rewardbench, argument="rewardbench")
    world = options.loaded()
    asked = Questions.of(rows, tokenizer=world.policy()[1], drop_bad=options.drop_bad)
    return asked, world


def _examined(world: TextWorld, seed: int, questions: Questions | None) -> dict[str, pd.DataFrame]:
    """Tables of one preference data set."""
    score, pairs = world.normaliser(seed).score, world.pairs(seed, held_out=True)
    known, logits = None, world.ensemble.kind != "brme"
    if world.source.labels and world.gold is not None and logits:
        won, lost = (world.gold(pairs.prompts, texts) for texts in (pairs.chosen, pairs.rejected))
        known = (won - lost) / world.labelling.temperature
    found = evaluate(margins(score, pairs), known=known)
    summary: dict[str, Any] = {"pairs": len(pairs)}
    if found.disagreement is not None:
        summary["auc_of_std_for_errors"] = found.disagreement.value
    if found.error_rank is not None:
        summary["rank_correlation_of_std_and_error"] = found.error_rank
    if found.coverage is not None:
        for row in found.coverage.itertuples():
            summary[f"coverage_at_{row.nominal:g}"] = row.covered
    tables = {
        "members": found.members.drop(columns=[] if logits else LOGITS).reset_index(),
        "reliability": found.reliability,
        "summary": pd.DataFrame([summary]),
    }
    if questions is not None:
        scored = rewardbench(score, questions)
        rows = [*scored.sections.items(), ("total", scored.total)]
        rows += [(name, np.nan) for name in scored.missing]
        tables["rewardbench"] = pd.DataFrame(rows, columns=["section", "accuracy"])
        tables["rewardbench_subsets"] = scored.subsets.reset_index()
    return tables
