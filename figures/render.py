"""compute -> data file -> draw, figure by figure; what is finished stays."""

import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import delayed
from matplotlib import style as matplotlib_style
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.inputs import inputs
from figures.manifest import add_entries, provenance, read_manifest
from theory import checks, style
from theory.backends import connected
from theory.errors import InputError
from theory.files import digest, output_folder, write, write_text

Entry = dict[str, Any]
"""What the manifest says of one figure."""

IMAGES: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200},
    "pdf": {"metadata": {"CreationDate": None}},
}
"""Formats and their options: PNG for screens; without a date, equal numbers give equal files."""


def render(figure: Figure, setting: Setting, out: Path) -> Entry:
    """Compute, store, reload and draw one figure at the scale it reaches.

    Raises `InputError` where it reaches none.
    """
    scale = figure.reached(setting.scale)
    if scale is None:
        raise InputError("scale", f"one of {', '.join(figure.seconds)}", setting.scale)
    reached = replace(setting, scale=scale)
    numbers = figure.compute(reached)
    data = write(out / f"{figure.key}.csv", lambda path: numbers.to_csv(path, index=False))
    table = pd.read_csv(data)
    with matplotlib_style.context(style.PATH):
        canvas = Canvas(figsize=figure.size)
        figure.draw(table, canvas)
        images = [
            write(out / f"{figure.key}.{kind}", partial(canvas.savefig, format=kind, **options))
            for kind, options in IMAGES.items()
        ]
    caption = f"{figure.title}. {figure.caption(table)}"
    if reached.scale != setting.scale:
        caption += f" Drawn at scale '{reached.scale}': it has no scale '{setting.scale}'."
    findings = figure.findings(table)
    sentences = [caption, *map(str, findings)]
    text = write_text(out / f"{figure.key}.txt", "\n".join(sentences) + "\n")
    return {
        "status": "done",
        "caption": caption,
        "findings": [asdict(finding) for finding in findings],
        "files": {path.name: digest(path) for path in (data, *images, text)},
        "setting": asdict(reached),
    }


def render_all(
    figures: Iterable[Figure],
    setting: Setting,
    out: Path,
    report: Callable[[str], None] = print,
    *,
    jobs: int = 1,
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] = iter,
) -> dict[str, Entry]:
    """Render figures in `jobs` processes and return their entries, the manifest always up to date.

    A figure that fails is recorded with its traceback, and the others are still drawn. Entries of
    earlier runs into the same folder stay, each with the provenance of its own run. `progress`
    wraps the iterator over entries.

    Raises `InputError` for a folder that cannot be written to, or processes within processes.
    """
    checks.positive("jobs", jobs)
    if jobs > 1 and setting.workers > 1:
        raise InputError("jobs", "1 where workers are more", jobs, "choose one of the two")
    manifest = output_folder(out) / "manifest.json"
    read_manifest(manifest)
    figures, origin, entries = list(figures), provenance(), {}
    with connected("loky", jobs) as pool, warnings.catch_warnings():
        # Processes grow when they import torch, and joblib then replaces them.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        tasks = (delayed(_attempt)(figure, setting, out) for figure in figures)
        for figure, entry in zip(figures, progress(pool(tasks)), strict=True):
            entries[figure.key] = entry | {"provenance": origin}
            add_entries(manifest, {figure.key: entries[figure.key]})
            told = entry.get("error", figure.title)
            report(f"{figure.key:32s} {entry['seconds']:7.1f} s   {told}")
    return entries


def _attempt(figure: Figure, setting: Setting, out: Path) -> Entry:
    """Render one figure, or tell what went wrong."""
    started = time.perf_counter()
    try:
        made_of = inputs(figure, setting)
        entry = render(figure, setting, out) | {"inputs": made_of}
    except Exception as error:
        entry = {"status": "failed", "error": repr(error), "setting": asdict(setting)}
        entry["traceback"] = traceback.format_exc()
    seconds = round(time.perf_counter() - started, 2)
    return entry | {"title": figure.title, "number": figure.number, "seconds": seconds}
