"""Every figure, against its table, caption, findings and drawing as they were recorded.

A sign or a factor that is wrong anywhere between the draws and the page moves one of these.
"""

import json

import numpy as np
import pandas as pd
import pytest

from figures.agreement import LANGUAGE, SAMPLED, SMALL, TIMED, differences, different
from figures.catalogue import FIGURES
from figures.figure import Setting
from tests.figures.recorded import FOLDER, QUICK, drawn, recorded, said, slow_but
from tests.figures.small import stored

pytestmark = pytest.mark.usefixtures("small")

AGAIN = "if this is meant: python -m tests.figures.recorded KEY, and look at the diff"
EXACT = {"banerjee2024.fig2", "adaptive2024.fig2"}
"""Figures without draws."""
WRONG = {"another sign": -1.0, "twice as large": 2.0}


@pytest.mark.parametrize("key", slow_but(QUICK))
def test_tables_are_as_recorded(key, tables):
    if key in LANGUAGE:
        pytest.skip("trainings of language models part on another processor")
    assert differences(key, recorded(key), tables[key]) == [], AGAIN


@pytest.mark.parametrize("key", slow_but(("banerjee2024.fig1", "beyond.shrinkage")))
def test_data_depend_on_the_seed_and_not_on_the_workers(key, tables):
    def read(table):
        return table.drop(columns=list(TIMED.get(key, ()))).to_csv(index=False)

    once = read(tables[key])
    assert read(stored(FIGURES[key].compute(Setting(workers=2)))) == once
    other = read(stored(FIGURES[key].compute(Setting(seed=4))))
    assert (other == once) == (key in {*EXACT, *TIMED})


@pytest.mark.parametrize("key", FIGURES)
def test_captions_and_findings_are_as_recorded(key):
    assert said(key, recorded(key)) == (FOLDER / f"{key}.txt").read_text(encoding="utf-8"), AGAIN


def same(found, expected):
    """Whether drawings have the same words, and numbers within the width of a line."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return (
        np.isclose(found, expected, rtol=1e-4) if isinstance(expected, float) else found == expected
    )


@pytest.mark.parametrize("key", FIGURES)
def test_drawings_are_as_recorded(key):
    expected = json.loads((FOLDER / f"{key}.json").read_text(encoding="utf-8"))
    assert same(json.loads(json.dumps(drawn(key, recorded(key)))), expected), AGAIN


def kinds(table):
    """A number for the rows of each kind: those with the same words in all columns of words."""
    words = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    if not words:
        return np.zeros(len(table), int)
    return table.groupby(words, dropna=False, sort=False).ngroup().to_numpy()


def floor(key, table):
    """Below it numbers are as good as zero: within tolerance, or within their interval."""
    least = 0.2 if key in LANGUAGE else 2 * SMALL
    if key in SAMPLED and {"low", "high"} <= set(table):
        return 6.1 * ((table.high - table.low) / 2).fillna(np.inf) + least
    return least


@pytest.mark.parametrize("factor", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", FIGURES)
def test_a_wrong_sign_or_factor_in_the_rows_of_any_kind_is_noticed(key, factor):
    """In each column by itself, as far as rows of that kind have numbers that are not near zero."""
    table = recorded(key)
    kind, columns = kinds(table), table.select_dtypes("number").columns
    columns = columns.drop(list(TIMED.get(key, ())))
    wrong = different(key, table, table.assign(**{c: table[c] * factor for c in columns}))
    seen = []
    for column in columns:
        large = table[column].abs().between(floor(key, table), np.inf, inclusive="neither")
        meant = large.groupby(kind).any()
        noticed = wrong[column].groupby(kind).any()
        assert noticed[meant].all(), column
        seen += [meant.sum(), noticed.sum()]
    assert seen[1::2] != [0] * len(columns)
    least = 0.2 if key in SAMPLED else 0.5
    assert sum(seen[::2]) >= least * sum(table[c].groupby(kind).any().sum() for c in columns)


@pytest.mark.parametrize("key", FIGURES)
def test_what_is_said_and_drawn_follows_the_table(key):
    table = recorded(key)
    columns = table.select_dtypes("number").columns
    other = table.assign(**{column: table[column] * 1.5 for column in columns})
    try:
        told, lines = said(key, other), json.loads(json.dumps(drawn(key, other)))
    except (ValueError, KeyError, IndexError, AttributeError):
        return  # it looks for rows by their numbers
    assert told != (FOLDER / f"{key}.txt").read_text(encoding="utf-8")
    assert not same(lines, json.loads((FOLDER / f"{key}.json").read_text(encoding="utf-8")))
