"""Trainings that explode say so: in a line, in a column, and in how a command ends."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_bridge.commands import options
from llm_bridge.commands.training import Compare, Ppo, compare
from llm_bridge.divergence import LEAST_ENTROPY, MOST_CLIPPED, MOST_KL, check_ends, divergence
from llm_bridge.lm.lora import Lora
from llm_bridge.population_world import PopulationWorld
from llm_bridge.settings import Settings
from theory.errors import InputError
from theory.experiment import run
from theory.presets import lcb, vanilla
from theory.records import Records

SOUND = {"kl": 10.0, "entropy": 20.0, "length": 40.0, "clip_fraction": 0.3, "policy_loss": 0.0}
WILD = Settings(batch=16, learning_rate=10.0, clip_norm=None)


@given(
    kl=st.floats(-100, 1e4), entropy=st.floats(0, 200), length=st.floats(1, 1e3),
    clipped=st.sampled_from([0.0, 0.5, 0.98, 1.0]),
)  # fmt: skip
def test_a_policy_diverged_exactly_beyond_its_bounds(kl, entropy, length, clipped):
    row = {"kl": kl, "entropy": entropy, "length": length, "clip_fraction": clipped}
    beyond = kl / length > MOST_KL or entropy / length < LEAST_ENTROPY or clipped > MOST_CLIPPED
    assert bool(divergence(row, 1)) == beyond
    assert bool(divergence({**row, "clip_fraction": clipped * 3 / 4}, 4)) == beyond


@pytest.mark.parametrize("name", ["kl", "entropy", "clip_fraction", "policy_loss"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_diverged(name, value):
    assert name in divergence({**SOUND, name: value}, 4)
    assert divergence(SOUND, 4) == ""


def rows_of(world, settings, steps=4, seed=0):
    return list(world.trainer(vanilla(0.01), settings, seed).run(steps))


def test_a_sound_training_says_nothing(quick, brief, capsys):
    assert not any(row["diverged"] for _, row, _ in rows_of(quick, brief, 2))
    assert "diverged" not in capsys.readouterr().err


def test_a_training_that_explodes_says_so_once_and_goes_on(quick, capsys):
    found = [row["diverged"] for _, row, _ in rows_of(quick, WILD)]
    assert len(found) == 4
    assert found[-1]
    assert found == sorted(found)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "diverged" in line] == said[-1:]
    assert "vanilla, seed 0 diverged at step" in said[-1]


def test_it_ends_where_asked(quick, capsys):
    found = rows_of(quick, replace(WILD, stop_on_divergence=True))
    assert len(found) < 4
    assert [row["diverged"] for _, row, _ in found] == [False] * (len(found) - 1) + [True]


def test_a_cell_that_ended_is_whole_and_stays_so(quick, tmp_path):
    world = replace(quick, states=tmp_path / "states", policies=tmp_path / "policies")
    settings = replace(WILD, stop_on_divergence=True)
    first = {}
    for resume in (False, True):
        records = run(
            world, {"vanilla": vanilla(0.01)}, settings, [0], steps=6, evaluate_every=6,
            out=tmp_path / "out", resume=resume,
        )  # fmt: skip
        first[resume] = records.rows()
    assert first[False].equals(first[True])
    assert first[False].diverged.iloc[-1]
    assert first[False].step.max() < 6


@pytest.fixture
def small(quick, monkeypatch):
    monkeypatch.setattr(options.World, "world", lambda _: quick)


@pytest.mark.parametrize("stop", [False, True])
def test_a_command_ends_with_a_sentence(stop, small, tmp_path, capsys):
    asked = Compare(
        objective=("vanilla",), beta=(0.01,), seeds=1, steps=5, evaluate_every=5, ppo=WILD,
        out=tmp_path, stop_on_divergence=stop,
    )  # fmt: skip
    if stop:
        with pytest.raises(RuntimeError, match="1 of 1 policies diverged: vanilla seed 0 by step"):
            compare(asked)
    else:
        compare(asked)
        assert "1 of 1 policies diverged" in capsys.readouterr().err
    rows = Records.open(tmp_path).rows()
    assert (rows.step.max() < 5) == stop
    assert (tmp_path / "compare.png").is_file()


def test_the_policies_of_a_population_end_each_by_itself(quick, capsys):
    world = PopulationWorld(quick, trials=1, judged=16)
    sound = Settings(batch=16, lora=Lora(2, 4), stop_on_divergence=True)
    made = world.population(lcb(0.1), sound, [0, 1])
    made.learners[1].settings = replace(sound, learning_rate=1e4)
    found = [done for _, done in made.run(4)]
    assert list(made.stopped) == [1]
    assert "seed 1 diverged" in capsys.readouterr().err
    assert [0 in done for done in found] == [True] * 4
    assert 1 not in found[-1]
    last = max(step for step, done in enumerate(found) if 1 in done)
    assert found[last][1].row["diverged"]


@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_weights_beyond_numbers_are_named(rate, quick):
    settings = Settings(batch=16, epochs=1, minibatches=1, learning_rate=rate)
    with pytest.raises(InputError, match=r"(finite).*learning rate"):
        rows_of(quick, settings)


def test_a_policy_of_nan_is_named_before_it_writes(quick, brief):
    trainer = quick.trainer(vanilla(), brief, 0)
    trainer.parameters[0].data.fill_(torch.nan)
    with pytest.raises(InputError, match=r"weights of .* are not finite"):
        next(trainer.run(1))


def test_ends_are_told_apart():
    rows = pd.DataFrame({"objective": ["a", "a", "b"], "seed": [0, 0, 0], "step": [1, 2, 2]})
    check_ends(rows.assign(diverged=False), True)
    for marks in ([False, True, False], ["False", "True", "False"]):
        with pytest.raises(RuntimeError, match=r"1 of 2 policies diverged: a seed 0 by step 2"):
            check_ends(rows.assign(diverged=marks), True)


def test_options_reach_the_settings():
    assert Ppo(stop_on_divergence=True).settings().stop_on_divergence
    assert not Ppo().settings().stop_on_divergence
