"""`python -m llm_bridge`, on a world that is barely trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llm_bridge import __main__ as command
from llm_bridge.__main__ import BestOfN, Compare
from llm_bridge.best_of_n import best_of_n
from tests.tolerance import ROUNDING
from theory.errors import InputError
from theory.presets import ensemble_mean, lcb, vanilla
from theory.records import Records


@pytest.fixture
def small(quick, monkeypatch):
    """Commands that find the quick world whatever their options."""
    monkeypatch.setattr(command.World, "world", lambda _: quick)
    return {"objective": ("vanilla", "variance_aware"), "seeds": 2}


def test_best_of_one_is_the_reference_and_more_is_better_by_the_proxy(quick):
    rows = best_of_n(quick, {"mean": ensemble_mean(), "lcb": lcb()}, [0, 1], samples=12)
    assert len(rows) == 2 * 2 * 12
    first = rows[rows.n == 1].set_index(["objective", "seed"])
    assert np.allclose(first.gold["mean"], first.gold["lcb"], atol=ROUNDING)
    assert (first.kl == 0).all()
    proxies = rows.pivot_table(index="n", columns=["objective", "seed"], values="proxy")
    assert (proxies.diff().dropna() > -ROUNDING).all().all()
    again = best_of_n(quick, {"lcb": lcb()}, [1], samples=12)
    part = rows[(rows.objective == "lcb") & (rows.seed == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, again)
    with pytest.raises(InputError, match="samples"):
        best_of_n(quick, {"one": vanilla()}, [0], samples=0)


def test_best_of_n_command(small, tmp_path, capsys):
    command.choose(BestOfN(**small, samples=4, out=tmp_path))
    assert "true reward of the best of n" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "best_of_n.csv")) == 2 * 2 * 4


def test_compare_command(small, tmp_path, capsys):
    options = Compare(**small, steps=2, batch=8, evaluate_every=1, out=tmp_path)
    command.compare(options)
    assert "variance_aware" in capsys.readouterr().out
    assert (tmp_path / "compare.png").stat().st_size > 0
    assert len(Records.open(tmp_path).rows()) == 2 * 2 * 2
    command.compare(replace(options, resume=True))
    with pytest.raises(InputError, match="empty folder"):
        command.compare(options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": ("lbc",)}, "did you mean 'lcb'"),
        ({"seeds": 0}, "seeds"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_input(small, wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        command.compare(Compare(**{**small, **wrong}, out=tmp_path))


@pytest.mark.parametrize("wrong", [{"scale": "huge"}, {"ensemble": "lora"}, {"noise": 0.7}])
def test_worlds_that_there_are_not(wrong):
    with pytest.raises(InputError):
        Compare(**wrong).world()


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["llm_bridge", "compare", "--scale", "huge"])
    assert command.main() == 2
    assert "tiny" in capsys.readouterr().err
