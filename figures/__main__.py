"""`python -m figures`: every figure, its data and a manifest."""

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import tyro
from tqdm import tqdm

from figures.catalogue import FIGURES, chosen
from figures.figure import VERDICTS, Setting
from figures.render import Entry, render_all
from theory.errors import InputError


@dataclass(frozen=True)
class Options:
    """Draw the figures of the papers, and those that go beyond them."""

    only: tuple[str, ...] = ()
    """Figures (banerjee2024.fig3) or papers (banerjee2024) to draw; all when empty."""
    list: bool = False
    """Show all figures with their scales and expected seconds, and stop."""
    scale: str = "toy"
    """toy (tables, seconds), tiny (a small language model, minutes) or full (GPUs)."""
    out: Path = Path("out")
    """Folder for images, data and manifest.json."""
    seed: int = 0
    """Seed of every figure; each has a stream of its own."""
    workers: int = 1
    """Processes of the simulations; results do not depend on it."""


def listing() -> str:
    """One line a figure."""
    lines = [f"{'figure':32s} {'in the paper':14s} {'scale: seconds':22s} title"]
    for figure in FIGURES.values():
        times = ", ".join(f"{scale}: {seconds:g}" for scale, seconds in figure.seconds.items())
        lines.append(f"{figure.key:32s} {figure.number:14s} {times:22s} {figure.title}")
    return "\n".join(lines)


def verdicts(entries: dict[str, Entry]) -> str:
    """How many claims of the papers reproduce, and how many do not."""
    found = [f["verdict"] for entry in entries.values() for f in entry.get("findings", [])]
    return ", ".join(f"{found.count(v)} {v}" for v in VERDICTS if v in found) or "none checked"


def main(options: Options) -> int:
    """Exit status: 0, 1 where a figure failed, 2 for bad options, 130 when interrupted."""
    if options.list:
        print(listing())
        return 0
    try:
        figures = chosen(options.only)
        setting = Setting(options.scale, options.seed, options.workers)
        matplotlib.use("Agg")
        progress = tqdm(figures, unit="figure", disable=None)
        entries = render_all(progress, setting, options.out, tqdm.write)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: what is finished stays in {options.out.resolve()}", file=sys.stderr)
        return 130
    failed = [key for key, entry in entries.items() if entry["status"] != "done"]
    print(f"{len(figures) - len(failed)} figures in {options.out.resolve()}")
    print(f"claims of the papers: {verdicts(entries)} (in the .txt beside each figure)")
    if failed:
        print(f"failed: {', '.join(failed)} (see manifest.json)", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
