"""The stages of UGDA in any world that has them [ugda2025, Alg. 1].

A stage's result is a dictionary of arrays that lead with `runs` (independent runs side by side; a
single run is a population of one), so that it can be kept and taken up again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from theory.integrity import kept_arrays
from theory.records import Records
from theory.refinement import Refinement, chosen, targets

Arrays = Mapping[str, np.ndarray]
"""What a stage found, by name."""


@runtime_checkable
class RefinementWorld(Protocol):
    """What a world does at each stage of [ugda2025, Alg. 1]; the choices between are `run`'s."""

    @property
    def seeds(self) -> Sequence[int]:
        """One a run: its random choices do not depend on which others are beside it."""
        ...

    def collect(self) -> Arrays:
        """PPO on the ensemble mean, and what came by: every interaction.

        `scores` (runs, samples, k), and whatever the later stages need to know the samples again.
        Stages may also keep files of their own (weights, projected gradients).
        """
        ...

    def evidence(self, interactions: Arrays, settings: Refinement) -> Arrays:
        """What `settings.needs`, by name.

        `variance` (runs, samples) of the members; `influence` (runs, samples, tasks), which for
        selection 'both' is read of the samples of large variance only and may be NaN elsewhere;
        `information` (runs, samples) that a label is expected to bring.
        """
        ...

    def relabel(
        self, interactions: Arrays, chosen: Int[np.ndarray, "runs kept"]
    ) -> Int[np.ndarray, "runs kept"]:
        """Grades of an expert, `theory.grades.MISSING` where there is none."""
        ...

    def refine(
        self,
        interactions: Arrays,
        chosen: Int[np.ndarray, "runs kept"],
        targets: Float[np.ndarray, "runs kept k"],
    ) -> Arrays:
        """Reward models after MSE on the targets [ugda2025, Eq. 14]; those of NaN do not count."""
        ...

    def retrain(self, interactions: Arrays, refined: Arrays) -> Arrays:
        """Policies on the refined reward models."""
        ...


def run(
    world: RefinementWorld,
    settings: Refinement,
    *,
    interactions: Arrays | None = None,
    folder: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Arrays]:
    """All stages in order: collect, evidence, select, relabel, targets, refine, retrain.

    `interactions` were collected before: many settings can share one collection.

    With a `folder`, each stage's arrays are kept there when it ends, and a run that was interrupted
    goes on after the last stage that is there. `config` says what the world is: raises `InputError`
    for a folder that was started with another, or with other settings.
    """
    keep = _Kept.start(folder, {"settings": asdict(settings), **(config or {})})
    came = keep("collect", world.collect) if interactions is None else interactions
    evidence = keep("evidence", lambda: world.evidence(came, settings))
    picked = keep(
        "select",
        lambda: {"chosen": chosen(evidence, settings, world.seeds, came["scores"].shape[1])},
    )
    graded = keep("relabel", lambda: {"grades": world.relabel(came, picked["chosen"])})
    wanted = targets(came["scores"], picked["chosen"], graded["grades"], settings.labels)
    refined = keep("refine", lambda: world.refine(came, picked["chosen"], wanted))
    return {
        "collect": came,
        "evidence": evidence,
        "select": picked,
        "relabel": graded,
        "targets": {"targets": wanted},
        "refine": refined,
        "retrain": keep("retrain", lambda: world.retrain(came, refined)),
    }


@dataclass(frozen=True)
class _Kept:
    """Results of stages, in a folder if there is one."""

    folder: Path | None

    @classmethod
    def start(cls, folder: Path | None, config: Mapping[str, Any]) -> "_Kept":
        if folder is not None:
            Records.create(folder, config, resume=True)
        return cls(folder)

    def __call__(self, stage: str, compute: Callable[[], Arrays]) -> Arrays:
        if self.folder is None:
            return compute()
        return kept_arrays(self.folder / f"{stage}.npz", compute)
