"""compute -> data file -> draw, one figure after the other; what is finished stays."""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.manifest import provenance, write_manifest
from theory import style
from theory.files import output_folder, write


def render(figure: Figure, setting: Setting, out: Path) -> dict[str, Any]:
    """Compute, store, reload and draw one figure; returns its entry in the manifest."""
    started = time.perf_counter()
    reached = replace(setting, scale=figure.reached(setting.scale))
    numbers = figure.compute(reached)
    data = write(out / f"{figure.key}.csv", lambda path: numbers.to_csv(path, index=False))
    table = pd.read_csv(data, keep_default_na=True)
    canvas = Canvas(figsize=figure.size)
    figure.draw(table, canvas)
    images = [
        write(out / f"{figure.key}.{kind}", partial(canvas.savefig, format=kind))
        for kind in ("png", "pdf")
    ]
    caption = f"{figure.title}. {figure.caption(table)}"
    if reached.scale != setting.scale:
        caption += f" Drawn at scale '{reached.scale}': it has no scale '{setting.scale}'."
    return {
        "status": "done",
        "title": figure.title,
        "number": figure.number,
        "scale": reached.scale,
        "caption": caption,
        "files": [path.name for path in (data, *images)],
        "seconds": round(time.perf_counter() - started, 2),
    }


def render_all(
    figures: Iterable[Figure],
    setting: Setting,
    out: Path,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Render figures one by one, the manifest always up to date with what is on disk.

    A figure that fails is recorded with its traceback, and the others are still drawn.
    """
    output_folder(out)
    style.use()
    manifest = {**provenance(), "setting": asdict(setting), "figures": {}}
    for figure in figures:
        try:
            entry = render(figure, setting, out)
            report(f"{figure.key:32s} {entry['seconds']:7.1f} s   {entry['title']}")
        except Exception as error:
            entry = {"status": "failed", "error": repr(error), "traceback": traceback.format_exc()}
            report(f"{figure.key:32s}  FAILED    {error!r}")
        manifest["figures"][figure.key] = entry
        write_manifest(out / "manifest.json", manifest)
    return manifest
