"""compute -> data file -> draw, one figure after the other; what is finished stays."""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style as matplotlib_style
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.manifest import provenance, read_manifest, write_manifest
from theory import style
from theory.files import output_folder, write, write_text

Entry = dict[str, Any]
"""What the manifest says of one figure."""

IMAGES: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"metadata": {"CreationDate": None}}}
"""Formats and their options: without a date, equal numbers give equal files."""


def render(figure: Figure, setting: Setting, out: Path) -> Entry:
    """Compute, store, reload and draw one figure at the scale it reaches."""
    reached = replace(setting, scale=figure.reached(setting.scale))
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
        "files": [path.name for path in (data, *images, text)],
        "setting": asdict(reached),
    }


def render_all(
    figures: Iterable[Figure],
    setting: Setting,
    out: Path,
    report: Callable[[str], None] = print,
) -> dict[str, Entry]:
    """Render figures one by one and return their entries, the manifest always up to date.

    A figure that fails is recorded with its traceback, and the others are still drawn. Entries of
    earlier runs into the same folder stay, each with the provenance of its own run.

    Raises `InputError` for a folder that cannot be written to.
    """
    recorded = read_manifest(output_folder(out) / "manifest.json")
    origin, entries = provenance(), {}
    for figure in figures:
        started = time.perf_counter()
        try:
            entry = render(figure, setting, out)
        except Exception as error:
            entry = {"status": "failed", "error": repr(error), "setting": asdict(setting)}
            entry["traceback"] = traceback.format_exc()
        entry |= {"title": figure.title, "number": figure.number, "provenance": origin}
        entry["seconds"] = round(time.perf_counter() - started, 2)
        entries[figure.key] = entry
        write_manifest(out / "manifest.json", {**recorded, **entries})
        report(f"{figure.key:32s} {entry['seconds']:7.1f} s   {entry.get('error', figure.title)}")
    return entries
