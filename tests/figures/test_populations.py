"""Studies on populations: their statistics, and what those beyond the papers say."""

import numpy as np
import pandas as pd
import pytest

from bandits.grid import Grid
from bandits.optimisers import Exact
from figures.beyond import data_holes, frontier, optimiser_gap
from figures.figure import Figure, Finding, Setting
from figures.render import render
from figures.study import curves, difference, estimate, study
from tests.tolerance import EXACT
from theory.errors import InputError
from theory.presets import ensemble_mean, vanilla

SEEDS = range(24)


@pytest.fixture(scope="module")
def rows():
    objectives = {"one": vanilla(0.3), "mean": ensemble_mean(0.3)}
    return study(Grid(), objectives, Exact(), SEEDS, steps=1, evaluate_every=1)


def test_differences_are_paired_by_seed(rows):
    shuffled = rows.sample(frac=1, random_state=0)
    found = difference(shuffled, "mean", "one")
    one, mean = (rows[rows.objective == name].sort_values("seed").gold for name in ("one", "mean"))
    assert abs(found.mean - (mean.to_numpy() - one.to_numpy()).mean()) < EXACT
    unpaired = estimate(mean).high - estimate(mean).low + estimate(one).high - estimate(one).low
    assert found.high - found.low < unpaired


def test_an_interval_covers_the_mean_of_normal_numbers():
    rng = np.random.default_rng(0)
    hits = [low < 1 < high for _, low, high in (estimate(rng.normal(1, 2, 50)) for _ in range(400))]
    assert 0.9 < np.mean(hits) < 0.98


def test_curves_have_a_row_for_each_group_and_metric(rows):
    table = curves(rows, ["gold", "kl"])
    assert len(table) == 4
    assert (table.seeds == len(SEEDS)).all()
    part = table[(table.objective == "mean") & (table.metric == "kl")].iloc[0]
    assert part.low < part["mean"] < part.high


def test_findings_are_stored_and_follow_the_caption(tmp_path):
    finding = Finding("It rises.", "It falls.", "differs")
    figure = Figure(
        "beyond.test", "", "Test", {"toy": 1}, (2, 2), lambda _: pd.DataFrame({"x": [1]}),
        lambda *_: None, lambda _: "One point.", lambda _: [finding],
    )  # fmt: skip
    entry = render(figure, Setting(), tmp_path)
    assert entry["findings"] == [
        {"claim": "It rises.", "measured": "It falls.", "verdict": "differs"}
    ]
    text = (tmp_path / "beyond.test.txt").read_text()
    assert text.splitlines()[1] == (
        "Claim: It rises. Measured: It falls. This does not reproduce it."
    )
    with pytest.raises(InputError, match="verdict"):
        Finding("It rises.", "It falls.", "no")


def test_errors_of_shared_scores_sit_on_responses_that_never_lost(monkeypatch):
    monkeypatch.setattr(data_holes, "SEEDS", {"toy": 32})
    monkeypatch.setattr(data_holes, "MEMBERS", (1, 4))
    table = data_holes.compute(Setting()).set_index(["panel", "series", "x"]).share
    assert table["errors", "on a hole", 4.0] > 0.9
    assert table["holes", "same data", 0.0] > 0.9
    assert table["holes", "same data", 1.0] < 0.1
    members = table["members"]
    assert members["fresh data", 4.0] - members["same data", 4.0] > 0.3
    assert members["covered", 4.0] - members["same data", 4.0] > 0.3


@pytest.mark.slow
def test_no_objective_beats_the_true_reward_and_ppo_is_near_exact(monkeypatch):
    monkeypatch.setattr(frontier, "SEEDS", {"toy": 12})
    monkeypatch.setattr(frontier, "DISTANCES", (0.3,))
    table = frontier.compute(Setting()).set_index(["optimiser", "objective"])["mean"]
    exact, trained = table["exact"], table["PPO"]
    assert (exact.drop(frontier.ORACLE) < exact[frontier.ORACLE]).all()
    assert (trained - exact.reindex(trained.index)).abs().max() < 0.03


@pytest.mark.slow
def test_ppo_stops_at_the_detached_form(monkeypatch):
    monkeypatch.setattr(optimiser_gap, "SEEDS", {"toy": 8})
    monkeypatch.setattr(optimiser_gap, "BETAS", (1.2,))
    table = optimiser_gap.compute(Setting()).set_index(["learner", "objective", "form"])["mean"]
    for learner in optimiser_gap.LEARNERS:
        near, far = (table[learner, "σ-weighted", form] for form in ("bregman", "kl"))
        assert near < 0.5 * far
