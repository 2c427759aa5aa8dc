"""Figures on language models: their law at the optimum, their verdicts, and what they keep."""

import sys

import numpy as np
import pandas as pd
import pytest

from figures.banerjee2024 import language_population
from figures.beyond import language_curves, unification, unification_runs
from figures.figure import Setting
from figures.kept import kept
from figures.language_models import require_packages
from llm_bridge import caching
from llm_bridge.optimality import predicted
from llm_bridge.tilt import Responses, regress
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.presets import reward_robust, variance_aware

LAWS = {"reward-robust": reward_robust(1.0), "variance-aware": variance_aware(12.5, sigma_min=0.2)}


def on_table(objective, optimiser):
    rng = np.random.default_rng(0)
    return list(unification_runs.on_tables(objective, optimiser, (0, 1), rng))


@pytest.mark.parametrize("name", LAWS)
def test_an_exact_optimum_lies_on_the_line(name):
    from bandits.optimisers import Exact

    for one in on_table(LAWS[name], Exact()):
        assert regress(one.policy, LAWS[name].strength.beta).slope == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(one.predicted, one.policy.log_ratio, atol=10 * FLOAT32)
        assert abs(one.exact) < FLOAT32


@pytest.mark.parametrize("name", LAWS)
def test_sampled_responses_find_the_normaliser(name):
    """What a language model's panel estimates is within a tenth of a nat of what a table knows."""
    from bandits.optimisers import PPO

    for one in on_table(LAWS[name], PPO(samples=64)):
        estimated = predicted(one.policy, one.reference, LAWS[name].strength.beta)
        away = np.abs(estimated - one.predicted).mean(1)
        assert away.max() < 0.5
        assert np.median(away) < 0.1


def test_the_prediction_is_the_law_itself():
    rng = np.random.default_rng(1)
    utility, price = rng.normal(size=(2, 40)), rng.uniform(0.5, 2, (2, 40))
    own, before = (
        Responses(u, c, 0.3 * (u - u.mean(1, keepdims=True)))
        for u, c in ((utility, price), (utility[::-1].copy(), price[::-1].copy()))
    )
    nu = own.utility - 0.7 * own.price * predicted(own, before, 0.7)
    np.testing.assert_allclose(nu, nu[:, :1] + np.zeros_like(nu), atol=1e-6)


def scales(slopes):
    rows = pd.DataFrame({
        "kind": "scale", "objective": "reward-robust", "scale": list(unification.SCALES),
        "mean": slopes, "low": np.array(slopes) - 0.01, "high": np.array(slopes) + 0.01,
    })  # fmt: skip
    return [finding.verdict for finding in unification.findings(rows)]


def test_verdicts_on_the_law():
    assert scales([1.0, 0.99, 0.95]) == ["reproduces"]
    assert scales([1.0, 0.99, 0.6]) == ["in part"]
    assert scales([0.5, 1.3, 0.6]) == ["differs"]


def population_table(ratio, gap, worse):
    spread = pd.DataFrame({
        "kind": "spread", "data": 0, "method": ["vanilla", "variance_aware_ppo"],
        "between": [0.0, 0.05], "true_sd": [0.1, 0.1], "worse": 0.2,
        "worse_low": [0.1, worse], "worse_high": [0.3, worse + 0.05],
    })  # fmt: skip
    contrast = pd.DataFrame({
        "kind": "contrast", "data": 0, "method": "variance_aware_ppo",
        "statistic": ["sd ratio", "true sd ratio", "mean difference"],
        "value": [ratio, ratio, gap], "low": [ratio - 0.1, ratio - 0.1, gap - 0.1],
        "high": [ratio + 0.1, ratio + 0.1, gap + 0.1],
    })  # fmt: skip
    table = pd.concat([spread, contrast], ignore_index=True)
    return [finding.verdict for finding in language_population.findings(table)]


def test_verdicts_on_populations():
    part, unsure = "in part", "cannot be checked here"
    assert population_table(0.5, -0.3, 0.0) == ["reproduces", "reproduces", part, "reproduces"]
    assert population_table(1.5, 0.3, 0.6) == ["differs", "differs", part, "differs"]
    assert population_table(1.0, 0.0, 0.2) == [unsure, unsure, part, unsure]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_population_that_was_cut_off_goes_on(monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("llm_bridge.population_world.PopulationWorld.judge", None)
        with pytest.raises(RuntimeError, match="cells failed"):
            language_population.compute(Setting(seed=9))
    first = language_population.compute(Setting(seed=9))
    monkeypatch.setattr("llm_bridge.population.Population.run", None)
    again = language_population.compute(Setting(seed=9, workers=2))
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_full_seeds_take_three_data_sets(monkeypatch):
    monkeypatch.setattr(language_curves, "OBJECTIVES", ("vanilla",))
    table = language_curves.compute(Setting(full_seeds=True))
    assert set(table.seed) == {0, 1, 2}
    assert "3 preference data sets" in language_curves.caption(table)


def test_what_is_kept_depends_on_description_code_and_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_RISK_CACHE", str(tmp_path))
    first = kept("study", regress)
    assert first == kept("study", regress)
    assert first.parent == tmp_path
    found = {first, kept("other", regress), kept("study", predicted)}
    monkeypatch.setattr(caching, "versions", lambda: {"numpy": "0"})
    assert len({*found, kept("study", regress)}) == 4


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"transformers.*llm"):
        require_packages()
