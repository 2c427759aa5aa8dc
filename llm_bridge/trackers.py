"""Records shown as they come: by TensorBoard, Weights & Biases or Trackio, through accelerate."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from llm_bridge.settings import Settings
from llm_bridge.text_world import slug
from theory import checks
from theory.errors import InputError
from theory.experiment import World
from theory.fingerprint import code_of
from theory.objective import Objective

PROJECT = "rlhf-risk"
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",),
}  # fmt: skip
"""Trackers, and the packages of which each needs one; accelerate's others are named as theirs."""


@dataclass(frozen=True)
class Tracked:
    """A world whose trainings are also followed by a tracker, one run each; its rows are the same.

    Every row goes there with its sampled text, and with each run what it was trained with. Rows
    that a resumed training has already are sent again, so that the curves of its run are whole.

    kind:   one that accelerate knows, e.g. of `PACKAGES`, or a class of one's own after its
            `register_tracker_class`.
    folder: for trackers that write files.
    """

    world: World
    kind: str
    folder: Path

    def __repr__(self) -> str:
        return repr(self.world)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return self.world.name

    @property
    def code(self) -> str:
        """That of the world."""
        return code_of(self.world)

    @property
    def commits(self) -> dict[str, str]:
        """Those of the world."""
        return getattr(self.world, "commits", {})

    def train(
        self,
        objective: Objective,
        optimiser: Settings,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """See `theory.experiment.World`. Raises `InputError` as `check_tracker`."""
        for seed in seeds:
            config = {
                "world": repr(self.world), "objective": repr(objective), "seed": seed,
                "steps": steps, **_flat(asdict(optimiser)),
            }  # fmt: skip
            tracker = _started(self.kind, f"{slug(objective)}-{seed}", self.folder, config)
            try:
                for frame in self.world.train(
                    objective, optimiser, [seed], steps=steps, evaluate_every=evaluate_every
                ):
                    for row in frame.drop(columns="seed").to_dict("records"):
                        tracker.log(row, step=row.pop("step"))
                    yield frame
            finally:
                tracker.finish()


def check_tracker(kind: str) -> None:
    """Raise `InputError` for an unknown tracker, or one whose package is not installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    from accelerate.utils import LoggerType

    checks.one_of("tracker", kind, LOGGER_TYPE_TO_CLASS)
    packages = PACKAGES.get(kind, (kind,))
    if kind in LoggerType.list() and not any(map(find_spec, packages)):
        raise InputError(
            "tracker", f"one whose package is installed ({' or '.join(packages)})", repr(kind),
            f"pip install {packages[-1]}",
        )  # fmt: skip


def _started(kind: str, run: str, folder: Path, config: dict[str, Any]) -> Any:
    """A tracker of one run, which knows what is trained."""
    check_tracker(kind)
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()
    make = LOGGER_TYPE_TO_CLASS[kind]
    if make.requires_logging_directory:
        tracker = make(run, logging_dir=folder)
    elif kind in PACKAGES:
        tracker = make(PROJECT, name=run)
    else:
        tracker = make(run)
    tracker.start()
    tracker.store_init_configuration(config)
    return tracker


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings as one level of plain values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": x for inner, x in _flat(value).items()}
        else:
            flat[name] = value if isinstance(value, bool | int | float | str) else repr(value)
    return flat
