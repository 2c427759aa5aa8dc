"""All methods on one seed, with what they share done once, as records."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from llm_bridge.refining.experts import EndpointExpert
from llm_bridge.refining.methods import NONE, SFT, Method
from llm_bridge.refining.world import TextRefinement
from theory.files import output_folder
from theory.grades import MISSING
from theory.integrity import has_checksum, kept_arrays
from theory.records import Records
from theory.refinement import Refinement
from theory.refinement_stages import Arrays, run

UNREFINED: Arrays = {}
NOT_LABELLED = {"labels": 0.0, "missing": 0.0}


@dataclass(frozen=True)
class Refining(TextRefinement):
    """The stages that end with the reward models: policies of several objectives share these."""

    def retrain(self, interactions: Arrays, refined: Arrays) -> Arrays:
        """Nothing."""
        return {}


def recorded(
    base: TextRefinement,
    table: Mapping[tuple[str, str], Method],
    seed: int,
    records: Records,
    *,
    tie: float = 0.1,
) -> None:
    """Every method on one seed, in cells that are complete or computed again.

    Interactions are collected, and reward models refined, once for all methods that share them.
    The columns win, tie and lose are shares of responses against those of the first method, to the
    same prompts and drawn by the same random numbers, which makes ties more frequent; true rewards
    at most `tie` apart are a tie.
    """
    torch.set_num_threads(1)
    stages, finished = replace(base, seeds=(seed,)), records.finished()
    cells = {key: _cell(f"{key[0]}.{key[1]}.{seed}") for key in (*table, (SFT, NONE))}
    first = records.folder / "judged" / f"{seed}.npz"
    if finished >= set(cells.values()):
        return
    if not has_checksum(first):
        finished -= {cells[next(iter(table))]}
    came = stages.collect()
    left = {key: one for key, one in table.items() if cells[key] not in finished}
    refined = {
        one: _refined(stages, *one, came, records.folder / "refined" / str(seed))
        for one in dict.fromkeys((m.settings, m.anew) for m in left.values() if m.settings)
    }
    for key, method in left.items():
        own, models, about = stages, UNREFINED, NOT_LABELLED
        if method.settings is not None:
            own, models, about = refined[method.settings, method.anew]
        found = replace(own, objective=method.objective).retrain(came, models)
        if key == next(iter(table)):
            output_folder(first.parent)
            first.unlink(missing_ok=True)
            kept_arrays(first, partial(dict, gold=found["judged"][0]))
        names = [name for name in found if name not in ("judged", "accuracy")]
        curves = pd.DataFrame({name: found[name][0] for name in names})
        last = about | _judged(found["judged"][0], _gold(first), tie)
        last["accuracy"] = float(found["accuracy"][0])
        curves = curves.join(pd.DataFrame([last], index=curves.index[-1:]))
        records.write(cells[key], [_labelled(curves, key, seed, base)])
    if cells[SFT, NONE] not in finished:
        row = {"step": 0, **NOT_LABELLED, **_judged(stages.judge(seed), _gold(first), tie)}
        records.write(cells[SFT, NONE], [_labelled(pd.DataFrame([row]), (SFT, NONE), seed, base)])


def _refined(
    stages: TextRefinement, settings: Refinement, anew: bool, came: Arrays, folder: Path
) -> tuple[TextRefinement, Arrays, dict[str, float]]:
    """Stages with refined reward models of their own, their losses, and what labels they took."""
    told = [*(str(value) for value in vars(settings).values()), str(anew), stages.code]
    name = _cell("-".join(told))
    own = replace(stages, own=folder / name, anew=anew)
    found = run(Refining(**vars(own)), settings, interactions=came, folder=own.own)
    if isinstance(stages.expert, EndpointExpert) and stages.expert.faults:
        print(f"grades that are missing so far: {dict(stages.expert.faults)}", flush=True)
    grades = found["relabel"]["grades"]
    about = {"labels": float(grades.size), "missing": float((grades == MISSING).sum())}
    about |= {name: float(values[0]) for name, values in found["evidence"].items()
              if name in ("overlap", "cosine_std")}  # fmt: skip
    return own, found["refine"], about


def _judged(
    gold: Float[np.ndarray, " responses"], first: Float[np.ndarray, " responses"], tie: float
) -> dict[str, float]:
    gap = gold - first
    return {
        "judged_gold": float(gold.mean()),
        "judged_variance": float(gold.var(ddof=1)),
        "win": float((gap > tie).mean()),
        "tie": float((np.abs(gap) <= tie).mean()),
        "lose": float((gap < -tie).mean()),
    }


def _labelled(
    frame: pd.DataFrame, key: tuple[str, str], seed: int, base: TextRefinement
) -> pd.DataFrame:
    return frame.assign(seed=seed, objective=key[0], share=key[1], world=base.world.name)


def _cell(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _gold(path: Path) -> Float[np.ndarray, " responses"]:
    """True rewards of responses of the first method."""
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["gold"])
