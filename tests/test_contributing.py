"""The steps of CONTRIBUTING, taken with its own code."""

import re
from pathlib import Path

import numpy as np
import pytest

from bandits.optimisers import PPO
from figures import catalogue
from figures.figure import Setting
from figures.render import render
from tests.laws import Draw, penalised
from tests.theory import test_laws as laws
from theory.comparison import choose
from theory.experiment import World, run
from theory.optimum import solve
from theory.presets import PRESETS, lcb
from theory.theorems.audit import CLAIMS, Trial, audit, chosen, table

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
LINES, WIDTH = 30, 104
OBEYED = (
    laws.test_numpy_and_torch_agree,
    laws.test_torch_gradient_is_the_numerical_one,
    laws.test_sample_reward_has_the_gradient_of_the_value,
    laws.test_infinite_strength_stays_at_the_reference,
    laws.test_a_prompt_constant_changes_nothing,
    laws.test_identical_members_are_that_member,
    laws.test_permuting_members_changes_nothing,
    laws.test_one_run_does_not_depend_on_the_others,
)


def step(what):
    """What the code under '**An objective**' ... defines, as a module would."""
    code = re.search(rf"\*\*{what}\*\*.*?```python\n(.*?)```", TEXT, re.S).group(1)
    assert len(code.strip().splitlines()) <= LINES
    names = {"__name__": f"contributed.{what.split()[-1]}"}
    exec(compile(code, f"CONTRIBUTING.md, {what}", "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def preset(monkeypatch):
    made = step("An objective")["trimmed_mean"]
    monkeypatch.setitem(PRESETS, made.__name__, made)
    return made.__name__


@pytest.mark.parametrize("law", OBEYED, ids=lambda law: law.__name__)
def test_a_new_objective_obeys_the_laws(preset, law):
    law(preset)


def test_a_new_objective_is_solved_and_known_by_name(preset):
    for seed in laws.SEEDS:
        laws.test_solve_agrees_with_cvxpy(preset, seed)
        laws.test_solve_certifies_itself(preset, seed)
    assert choose([preset]) == [preset]
    draw = Draw(0)
    middle = np.sort(draw.scores.members, axis=-1)[..., 1:-1].mean(-1)
    found = solve(penalised(preset), draw.log_reference, draw.scores)
    gained = (found.policy * middle).sum(-1) - (np.exp(draw.log_reference) * middle).sum(-1)
    assert (gained > 0).all()


def test_a_new_world_runs_with_any_objective_and_optimiser(tmp_path):
    world = step("A world")["TwoDoors"](sigma=0.2)
    assert isinstance(world, World)
    times = {"steps": 20, "evaluate_every": 10}
    optimiser = PPO(learning_rate=0.1)
    rows = run(world, {"lcb": lcb(0.1)}, optimiser, range(8), out=tmp_path, **times).rows()
    assert sorted(zip(rows.seed, rows.step, strict=True)) == [
        (seed, done) for seed in range(8) for done in (10, 20)
    ]
    assert rows[rows.step == 20].gold.mean() > 0.6
    assert set(rows.world) == {"two doors"}


def test_a_new_figure_is_drawn_from_its_data(tmp_path, monkeypatch):
    figure = step("A figure")["FIGURE"]
    monkeypatch.setitem(catalogue.FIGURES, figure.key, figure)
    assert catalogue.chosen(("beyond.smallest",)) == [figure]
    entry = render(figure, Setting(), tmp_path)
    assert "at the lowest" in entry["caption"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".png", ".pdf", ".txt"}
    assert all((tmp_path / name).stat().st_size for name in entry["files"])


def test_a_new_theorem_is_audited(monkeypatch):
    claim = step("A theorem")["smallest_of_two"]
    monkeypatch.setitem(CLAIMS, claim.key, claim)
    assert chosen(["smallest_of_two"]) == [claim]
    (result,) = audit([claim], Trial(20_000))
    assert result.confirmed
    assert "smallest_of_two" in table([result])
    assert claim.verdict in table([result])


def test_it_is_short_and_names_what_is_there():
    assert len(TEXT.splitlines()) <= 180
    assert max(map(len, TEXT.splitlines())) <= WIDTH
    root = Path(__file__).parents[1]
    for path in re.findall(r"`((?:tests|theory|bandits|llm_bridge|figures)/[\w/.]+)`", TEXT):
        assert (root / path).exists(), path
