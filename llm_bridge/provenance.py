"""What a saved policy was trained for: a file beside its weights, and how to read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llm_bridge.learner import Learner
from theory.errors import InputError
from theory.files import write_text
from theory.objective import Objective
from theory.penalties import Penalty
from theory.presets import PRESETS

FILE = "training.json"


class Provenance(NamedTuple):
    """How a policy came about.

    objective: at unit strength, as printed; beta: its strength at the end; seed: of the preference
    data; world: as printed; member_weights: of a policy-level worst case at the end, or None.
    """

    objective: str
    beta: float
    seed: int
    world: str
    member_weights: list[float] | None

    def preset(self) -> Objective | None:
        """The objective at its last strength, where it is a preset of `theory.presets`."""
        for make in PRESETS.values():
            made = make(1.0)
            if repr(_unit(made)) == self.objective:
                return replace(made, strength=Penalty(self.beta))
        return None

    def resume(self, learner: Learner) -> None:
        """Give a learner of that objective the member weights of the end."""
        weights = learner.shaper.weights
        if weights is not None and self.member_weights is not None:
            weights.set(self.member_weights)


def keep(
    folder: Path, save: Callable[[Path], None], learner: Learner, *, seed: int, world: Any
) -> None:
    """Write a trained policy and where it comes from."""
    save(folder)
    weights = learner.shaper.weights
    found = Provenance(
        repr(_unit(learner.shaper.objective)), float(np.exp(learner.log_beta)), seed, repr(world),
        None if weights is None else weights.weights.tolist(),
    )  # fmt: skip
    write_text(folder / FILE, json.dumps(found._asdict(), indent=2))


def origin(folder: Path) -> Provenance:
    """What `keep` wrote. Raises `InputError` where it wrote nothing."""
    try:
        return Provenance(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "policies", f"folders that ppo or compare --keep wrote, with {FILE}",
            f"{folder} ({error})",
        ) from None  # fmt: skip


def _unit(objective: Objective) -> Objective:
    return replace(objective, strength=Penalty(1.0))
