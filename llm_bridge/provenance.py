"""What a saved policy was trained for: a file beside its weights, and how to read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llm_bridge.learner import Learner
from llm_bridge.lm.snapshots import WEIGHTS
from theory.damage import readable
from theory.files import write_text
from theory.integrity import SUMS, check_sums, write_sums
from theory.objective import Objective
from theory.penalties import Penalty
from theory.presets import PRESETS

FILE = "training.json"


class Provenance(NamedTuple):
    """How a policy came about.

    objective: at unit strength, as printed; beta: its strength at the end; seed: of the preference
    data; world: as printed; member_weights: of a policy-level worst case at the end, or None;
    commits: of the hub, by the names of the models that were loaded from there.
    """

    objective: str
    beta: float
    seed: int
    world: str
    member_weights: list[float] | None
    commits: dict[str, str] | None = None

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
    """Write a trained policy, where it comes from, and checksums.

    world: with `commits`, as `llm_bridge.reward_world.RewardWorld`.
    """
    (folder / SUMS).unlink(missing_ok=True)
    save(folder)
    weights = learner.shaper.weights
    found = Provenance(
        repr(_unit(learner.shaper.objective)), float(np.exp(learner.log_beta)), seed, repr(world),
        None if weights is None else weights.weights.tolist(), world.commits,
    )  # fmt: skip
    write_text(folder / FILE, json.dumps(found._asdict(), indent=2))
    write_sums(folder)


def origin(folder: Path) -> Provenance:
    """What `keep` wrote. Raises `InputError` where it wrote nothing, or something was damaged."""
    check_sums(folder, "policies", skip=WEIGHTS)
    with readable(folder, "policies", f"folders that ppo or compare --keep wrote, with {FILE}"):
        found = Provenance(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        return found._replace(seed=int(found.seed), beta=float(found.beta))


def _unit(objective: Objective) -> Objective:
    return replace(objective, strength=Penalty(1.0))
