"""`python -m figures`: every figure, its data, a manifest, the audit and the report."""

import os
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import tyro
from tqdm import tqdm

from figures.catalogue import FIGURES, chosen
from figures.figure import SCALES, VERDICTS, Figure, Setting
from figures.inputs import inputs, unchanged
from figures.manifest import read_manifest
from figures.render import render_all
from figures.report.page import write_report
from figures.results import redrawn
from theory.commands import audit
from theory.ending import check_arguments, ended
from theory.errors import InputError
from theory.files import output_folder

LONG = 60.0
"""Expected seconds above which a figure is announced, and drawn after the others."""


@dataclass(frozen=True)
class Options:
    """Draw the figures of the papers, and those that go beyond them, and report on them.

    A figure is drawn again only where its setting or the code that it imports has changed.
    """

    only: tuple[str, ...] = ()
    """Figures (banerjee2024.fig3) or papers (banerjee2024); all, and the audit, when empty."""
    list: bool = False
    """Show all figures with their scales and expected seconds, and stop."""
    slow: bool = False
    """Compute also what takes more than five minutes: studies of many language models. Without it
    these are drawn from the tables in docs/results, where they are kept."""
    scale: str = "toy"
    """toy (tables, seconds), tiny (a small language model, minutes) or full (GPUs)."""
    out: Path = Path("out")
    """Folder for images, data, manifest.json and index.html."""
    seed: int = 0
    """Seed of every figure; each has a stream of its own."""
    full_seeds: bool = False
    """As many seeds as a study is ever given, at any scale; takes several times as long."""
    workers: int = 1
    """Processes of the simulations of one figure; results do not depend on it."""
    jobs: int = 1
    """Figures drawn at once, in a process of one thread each; results do not depend on it."""
    force: bool = False
    """Draw again what did not change."""


def listing() -> str:
    """One line a figure."""
    lines = [f"{'figure':32s} {'in the paper':14s} {'scale: seconds':22s} title"]
    slow = {key for key, figure in FIGURES.items() if figure.slow(SCALES[0])}
    for figure in FIGURES.values():
        times = ", ".join(f"{scale}: {seconds:g}" for scale, seconds in figure.seconds.items())
        lines.append(f"{figure.key:32s} {figure.number:14s} {times:22s} {figure.title}")
        lines[-1] += " (with --slow)" if figure.key in slow else ""
    return "\n".join(lines)


def main(options: Options) -> int:
    """Exit status: 1 where a figure or the audit failed, otherwise as `theory.ending.ended`."""
    if options.list:
        print(listing())
        return 0
    stays = f"what is finished stays in {options.out.absolute()}"
    return ended(partial(_run, options), kept=stays)


def _run(options: Options) -> int:
    setting = Setting(options.scale, options.seed, options.workers, options.full_seeds)
    figures = [
        figure if options.slow or not figure.slow(setting.scale) else redrawn(figure)
        for figure in chosen(options.only)
    ]
    matplotlib.use("Agg")
    due = outdated(figures, setting, options)
    progress = partial(tqdm, total=len(due), unit="figure", disable=None)
    render_all(due, setting, options.out, tqdm.write, jobs=options.jobs, progress=progress)
    audited = bool(options.only) or _audit(options)
    report = write_report(FIGURES, options.out)
    entries = read_manifest(options.out / "manifest.json")
    drawn = {figure.key: entries[figure.key] for figure in figures if figure.key in entries}
    failed = [key for key, entry in drawn.items() if entry["status"] != "done"]
    print(f"{len(drawn) - len(failed)} figures in {options.out.resolve()}")
    print(f"claims of the papers: {verdicts(drawn)}")
    print(f"report: {report.resolve()}")
    if failed:
        print(f"failed: {', '.join(failed)} (see the report)", file=sys.stderr)
    return 1 if failed or not audited else 0


def outdated(figures: list[Figure], setting: Setting, options: Options) -> list[Figure]:
    """The figures that have to be drawn, slow ones last, with a word on all the others."""
    entries = read_manifest(output_folder(options.out) / "manifest.json")
    scale = setting.scale
    reached = [f for f in figures if f.reached(scale) and (options.slow or not f.slow(scale))]
    due = [
        figure
        for figure in reached
        if options.force
        or not unchanged(entries.get(figure.key), inputs(figure, setting), options.out)
    ]
    for figure in figures:
        if figure not in reached:
            needed = "--slow" if figure.reached(scale) else f"--scale {next(iter(figure.seconds))}"
            print(f"{figure.key:32s} not drawn: it needs {needed}")
    if len(due) < len(reached):
        print(f"{len(reached) - len(due)} figures are unchanged (--force draws them again)")
    due.sort(key=lambda figure: max(LONG, figure.expected(scale)))
    for figure in due:
        if (seconds := figure.expected(scale)) > LONG:
            print(f"{figure.key:32s} will take about {seconds:.0f} s, after the others")
    return due


def verdicts(entries: dict[str, Any]) -> str:
    """How many claims of the papers reproduce, and how many do not."""
    papers = [entry for key, entry in entries.items() if not key.startswith("beyond.")]
    found = [f["verdict"] for entry in papers for f in entry.get("findings", [])]
    return ", ".join(f"{found.count(v)} {v}" for v in VERDICTS if v in found) or "none checked"


def _audit(options: Options) -> bool:
    """Whether all theorems were checked and confirmed; what goes wrong does not stop the report."""
    try:
        workers = max(options.workers, options.jobs)
        return audit.run(audit.Audit(workers=workers, out=options.out)) == 0
    except (InputError, OSError) as error:
        print(f"no audit: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    return False


if __name__ == "__main__":
    # Torch is imported on use: one thread, since more of them wait for each other on busy cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(ended(lambda: check_arguments(sys.argv[1:])) or main(tyro.cli(Options)))
