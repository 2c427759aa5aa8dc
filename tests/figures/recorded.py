"""Small tables of all figures as they were once, with their captions, findings and drawn numbers.

`python -m tests.figures.recorded [KEYS]` computes and writes them, after a change that is meant to
move numbers; what moved is then seen in the diff.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from figures.catalogue import FIGURES

FOLDER = Path(__file__).with_name("recorded")
DIGITS = "%.7g"
QUICK = (
    "banerjee2024.fig1", "banerjee2024.fig10", "beyond.shrinkage",
    "beyond.harm_bound", "rewardrobust2024.fig3",
    "adaptive2024.fig2", "zhang2024.cost", "ugda2025.table1",
)  # fmt: skip
"""Figures whose small tables take a second or two, at least one of each paper."""


def slow_but(quick):
    """All figures, those that are not among the quick ones marked slow."""
    marks = {key: () if key in quick else pytest.mark.slow for key in FIGURES}
    return [pytest.param(key, marks=mark) for key, mark in marks.items()]


def recorded(key):
    """The table of a figure, as it was recorded."""
    return pd.read_csv(FOLDER / f"{key}.csv")


def said(key, table):
    """The caption and what is found, one a line."""
    figure = FIGURES[key]
    return "\n".join([figure.caption(table), *map(str, figure.findings(table))]) + "\n"


def drawn(key, table):
    """Numbers and words that a figure puts on its axes: a list for each of them."""
    canvas = Canvas(figsize=FIGURES[key].size)
    FIGURES[key].draw(table, canvas)
    return [_on(axes) for axes in canvas.axes]


def _on(axes):
    points = [line.get_xydata() for line in axes.lines]
    points += [patch.get_path().transformed(patch.get_patch_transform()).vertices
               for patch in axes.patches]  # fmt: skip
    for collection in axes.collections:
        points += [path.vertices for path in collection.get_paths()] + [collection.get_offsets()]
        points += (
            [np.atleast_2d(collection.get_array())] if collection.get_array() is not None else []
        )
    points += [np.atleast_2d(image.get_array()) for image in axes.images]
    words = [
        text.get_text() for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
    ]
    legend = axes.get_legend()
    words += [text.get_text() for text in legend.get_texts()] if legend else []
    return {
        "numbers": [_moments(each) for each in points],
        "words": [word for word in words if word],
    }


def _moments(points):
    """Sums of coordinates, plain and by position, in which a sign or a factor is seen."""
    values = np.nan_to_num(np.ma.filled(np.ma.asarray(points, float), 0.0))
    place = np.linspace(1, 2, len(values))[:, None] if len(values) else 0.0
    return [float(f"{number:.6g}") for number in (values.sum(), (values * place).sum())]


def main(keys):
    """Write all, or some."""
    from tests.figures.small import Tables, language, shrink

    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        world = language(Path(cache))
        shrink(patch, world)
        tables = Tables(world)
        for key in keys or FIGURES:
            started = time.process_time()
            tables[key].to_csv(FOLDER / f"{key}.csv", index=False, float_format=DIGITS)
            table = recorded(key)
            (FOLDER / f"{key}.txt").write_text(said(key, table), encoding="utf-8")
            text = json.dumps(drawn(key, table), ensure_ascii=False).replace(
                '{"numbers"', '\n{"numbers"'
            )
            (FOLDER / f"{key}.json").write_text(f"{text}\n", encoding="utf-8")
            print(f"{key:32s} {time.process_time() - started:6.1f} s of a processor", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
