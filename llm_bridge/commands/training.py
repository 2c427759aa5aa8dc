"""`ppo` and `compare`: policies trained under objectives, with records and figures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from llm_bridge.commands.options import Training
from llm_bridge.compare_figure import draw
from llm_bridge.divergence import check_ends
from llm_bridge.launching import launched
from llm_bridge.leading import follow, leading
from llm_bridge.processes import Processes
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from llm_bridge.trackers import Tracked, check_tracker
from theory.errors import InputError
from theory.experiment import World, run
from theory.records import Records

STUDY = (
    "vanilla", "ensemble_mean", "wco", "lcb", "variance_aware", "reward_robust", "adaptive",
)  # fmt: skip
METRICS = ["gold", "proxy", "kl", "member_std", "length"]


@dataclass(frozen=True)
class Tracking(Training):
    """Training whose rows can be watched."""

    tracker: str | None = None
    """Where rows are shown as they come, too: tensorboard, wandb or trackio."""
    stop_on_divergence: bool = False
    """End trainings that explode; the rows so far are kept, and the command ends with status 1."""

    def settings(self) -> Settings:
        """Of PPO."""
        found = super().settings()
        return replace(
            found, stop_on_divergence=self.stop_on_divergence or found.stop_on_divergence
        )


@dataclass(frozen=True)
class Ppo(Tracking):
    """Train policies, and keep them."""

    objective: tuple[str, ...] = ("variance_aware",)
    """Presets of theory.presets."""
    seeds: int = 1
    out: Path = Path("out/ppo")
    """Folder of the records and of the policies, as transformers or peft load them."""


@dataclass(frozen=True)
class Compare(Tracking):
    """Train a policy under every objective on several preference data sets, and draw the curves."""

    objective: tuple[str, ...] = STUDY
    """Presets of theory.presets."""
    beta: tuple[float, ...] = (0.02,)
    """Strength of the penalty, one for all objectives or one for each."""
    keep: bool = False
    """Keep the policies."""
    out: Path = Path("out/compare")
    """Folder of the records and the figure."""


def ppo(options: Ppo) -> None:
    """Records, and a folder for each policy."""
    records = _trained(options, options.out, keep=True)
    if records is not None:
        _show(records, by=["objective", "seed"])
        print(f"policies in {(options.out / 'policies').resolve()}")
        check_ends(records.rows(), options.settings().stop_on_divergence)


def compare(options: Compare) -> None:
    """Records, a table of the ends, and the curves."""
    records = _trained(options, options.out, keep=options.keep)
    if records is not None:
        _show(records, by=["objective"])
        print(f"figure: {draw(records.rows(), options.out).resolve()}")
        check_ends(records.rows(), options.settings().stop_on_divergence)


def _trained(options: Tracking, out: Path, *, keep: bool) -> Records | None:
    """Every objective on every seed, in cells that can be cut off and resumed.

    Of several processes the first alone has the records; the others only take part.
    """
    with launched(options.device) as processes:
        if not processes.main:
            follow(processes)
            return None
        with leading(processes) as lead:
            return _run(options, out, keep, processes, lead)


def _run(
    options: Tracking,
    out: Path,
    keep: bool,
    processes: Processes,
    lead: Callable[[TextWorld], World],
) -> Records:
    objectives, settings = options.objectives(), options.settings()
    processes.check(settings)
    if processes.count > 1 and options.workers > 1:
        raise InputError(
            "workers", f"1 where {processes.count} processes train a policy", options.workers
        )
    if options.tracker is not None:
        check_tracker(options.tracker)
    options.check()
    own = replace(
        options.world(),
        states=out / "states",
        policies=out / "policies" if keep else None,
        accept_code=options.accept_code,
    )
    world = lead(own)
    return run(
        world if options.tracker is None else Tracked(world, options.tracker, out / "tracker"),
        objectives,
        settings,
        range(options.seeds),
        steps=options.steps,
        evaluate_every=options.evaluate_every,
        out=out,
        chunk=1,
        resume=options.resume,
        workers=options.workers,
        progress=partial(tqdm, total=len(objectives) * options.seeds, unit="policy", disable=None),
        prepare=partial(options.prepare, own),
        accept_code=options.accept_code,
    )


def _show(records: Records, *, by: list[str]) -> None:
    rows = records.rows()
    last = rows[rows.step == rows.groupby("cell").step.transform("max")]
    shown = [name for name in METRICS if name in last]
    print(last.groupby(by, sort=False)[shown].mean().round(3).to_string())
    print(f"records in {records.folder.resolve()}")
