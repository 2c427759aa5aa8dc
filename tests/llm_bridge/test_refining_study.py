"""UGDA on texts as a study: variations, information, models anew, and what labels are worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from llm_bridge.commands import options
from llm_bridge.commands.planning import plan
from llm_bridge.commands.refining import Ugda, study
from llm_bridge.data.pairs import Labelling
from llm_bridge.lm.lora import Lora
from llm_bridge.refining.information import Features, head_information, head_posterior
from llm_bridge.refining.members import Refit, untaught
from llm_bridge.refining.methods import SELECTIONS, methods
from llm_bridge.refining.report import differences, levels, worth
from llm_bridge.refining.world import TextRefinement
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.evaluation import margins
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from tests.tolerance import EXACT
from theory.errors import InputError
from theory.information import information_gains
from theory.presets import ensemble_mean, lcb
from theory.refinement import Refinement
from theory.refinement_stages import run

EXACTLY = Refinement(dimension=None)
PPO = Settings(batch=16, learning_rate=2e-3, lora=Lora(4))
BRIEF = {
    "steps": 2, "evaluate_every": 2, "checkpoints": 1, "validation": 12, "judged": 12,
    "compared": 20, "refit": Refit(RewardTraining(epochs=1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def stages(quick, tmp_path_factory):
    """Stages of one seed."""
    folder = tmp_path_factory.mktemp("study")
    return TextRefinement(quick, (3,), folder / "common", folder / "own", PPO, **BRIEF)


@pytest.fixture(scope="module")
def came(stages):
    """What was collected."""
    return stages.collect()


def features(seed):
    rng = np.random.default_rng(seed)
    return Features(*(rng.standard_normal((n, 5)) for n in (30, 40, 40)))


@pytest.mark.parametrize("count", [1, 12, 30])
def test_information_of_a_head_is_that_of_its_scores(count):
    known = features(count)
    covariance = head_posterior(known, np.linspace(-1, 3, 40), 0.7)
    scores = known.samples @ covariance @ known.samples.T
    found = head_information(known.samples, covariance, 0.5, count)
    np.testing.assert_allclose(found, information_gains(scores, 0.5, count), atol=1e-9)


def test_a_posterior_of_a_head_starts_at_its_prior_and_narrows():
    known = features(0)
    none = Features(known.samples, known.chosen[:0], known.rejected[:0])
    prior = head_posterior(none, np.zeros(0), 1.0)
    variance = np.einsum("si,ij,sj->s", known.samples, prior, known.samples)
    assert abs(variance.mean() - 1) < EXACT
    sure, unsure = (head_posterior(known, np.full(40, margin), 1.0) for margin in (8.0, 0.0))
    assert np.linalg.eigvalsh(prior - sure).min() > 0
    assert np.linalg.eigvalsh(sure - unsure).min() > 0
    with pytest.raises(InputError, match="scale"):
        head_posterior(known, np.zeros(40), 0.0)
    with pytest.raises(InputError, match="count"):
        head_information(known.samples, prior, 1.0, 31)


@pytest.mark.parametrize("kind", ["independent", "lora"])
def test_information_of_texts_is_finite_and_falls(stages, came, quick, kind):
    recipe = EnsembleSettings(kind, 2, training=RewardTraining(epochs=1), lora=Lora(2))
    own = stages if kind == "independent" else replace(
        stages, world=replace(quick, ensemble=recipe)
    )  # fmt: skip
    found = own.evidence(came, replace(EXACTLY, selection="information"))["information"][0]
    assert found.shape == came["scores"].shape[1:2]
    assert found.min() >= 0
    assert found.max() > found.min()


def test_influence_everywhere_holds_that_of_what_is_uncertain(stages, came):
    some = stages.evidence(came, EXACTLY)["influence"]
    every = replace(stages, everywhere=True).evidence(came, EXACTLY)["influence"]
    assert np.isfinite(every).all()
    there = np.isfinite(some)
    assert 0 < there.mean() < 1
    np.testing.assert_allclose(some[there], every[there], atol=1e-4 * np.abs(every).max())


@pytest.mark.parametrize("kind", ["shared_trunk", "lora"])
def test_models_anew_begin_untaught_and_learn_comparisons(quick, kind):
    recipe = EnsembleSettings(kind, 2, training=RewardTraining(epochs=1), lora=Lora(2))
    (known,) = replace(quick, ensemble=recipe).ensembles(0)
    start = untaught(known, quick.policy()[0], 0)
    assert not torch.equal(start.models[0].head.weight, known.models[0].head.weight)
    trunks = [one.models[0].trunk.state_dict() for one in (start, known)]
    same = all(torch.equal(value, trunks[1][name]) for name, value in trunks[0].items())
    assert same == (kind == "lora")


def test_rlr_learns_from_comparisons_and_labels(stages, came, quick, tmp_path):
    again = replace(stages, anew=True, own=tmp_path)
    found = run(again, replace(EXACTLY, selection="random"), interactions=came)
    assert np.isfinite(found["refine"]["loss"]).all()
    assert 0 <= found["retrain"]["accuracy"][0] <= 1
    before, after = (world.ensembles(3)[0] for world in (quick, _refined(quick, tmp_path)))
    pairs = quick.pairs(3)
    assert not np.allclose(margins(before, pairs), margins(after, pairs))


def _refined(world, folder):
    from llm_bridge.refining.members import RefinedWorld

    return RefinedWorld.of(world, folder)


def test_ppo_without_labels_is_the_collection(stages, came):
    objective = stages.collected
    first = replace(stages, objective=objective).retrain(came, {})
    apart = replace(stages, collected=ensemble_mean(9.0), objective=objective).retrain(came, {})
    np.testing.assert_array_equal(first["judged"], apart["judged"])
    np.testing.assert_array_equal(first["kl"], apart["kl"])


def test_variations_have_names_and_as_many_random_labels():
    made = methods(
        {"ensemble_mean": ensemble_mean(0.3), "lcb": lcb(0.3)}, EXACTLY, SELECTIONS,
        [{"labels": "anchored"}, {"gamma": 0.8}, {"eta": 0.2}, {"dimension": 64}, {"eta": 0.5}],
    )  # fmt: skip
    assert ("UGDA, labels anchored", "25%") in made
    assert ("PPO, labels anchored", "25%") in made
    for share in ("10%", "40%"):
        assert made["PPO", share].settings.selection == "random"
    assert made["UGDA, dimension 64", "25%"].settings.dimension == 64
    assert made["influence by size", "25%"].settings.sign == "either"
    assert len(set(made.values())) == len(made)
    assert ("UGDA, eta 0.5", "25%") not in made


@pytest.fixture
def small(quick, monkeypatch):
    """A command that finds the quick world whatever its options."""
    monkeypatch.setattr(options.World, "world", lambda _: quick)
    return {**BRIEF, "seeds": 1, "adapter_rank": 4, "ppo": replace(PPO, lora=None),
            "objective": ("ensemble_mean",)}  # fmt: skip


@pytest.mark.slow
def test_a_study_shares_what_methods_have_in_common(small, tmp_path):
    wanted = Ugda(
        **small, selections=("both", "information"), gammas=(0.75,), dimensions=(32,), out=tmp_path
    )  # fmt: skip
    records = study(wanted, start=3)
    last = records.rows().dropna(subset="labels").set_index(["objective", "share"])
    assert set(last.seed) == {3}
    assert set(last.index) == {*wanted.methods, ("SFT", "0%")}
    assert last.labels["UGDA, gamma 0.75", "12%"] == 4
    assert last.overlap["UGDA, dimension 32", "25%"] < 1
    assert wanted.everywhere
    assert wanted.refits == (6, 1)
    assert len(list((tmp_path / "refined" / "3").iterdir())) == sum(wanted.refits)
    assert len(list((tmp_path / "collected").glob("gradients-*"))) == wanted.projections == 2


def records_of(seeds, **gold):
    """Records of a few methods at the end of training."""
    keys = {"PPO": ("PPO", "0%"), "random": ("PPO", "25%"), "UGDA": ("UGDA", "25%")}
    return pd.DataFrame([
        {"objective": keys[name][0], "share": keys[name][1], "seed": seed,
         "labels": 0 if name == "PPO" else 50, "judged_gold": value + own, "accuracy": 0.5,
         "judged_variance": 1.0}
        for name, value in gold.items() for seed, own in enumerate(seeds)
    ])  # fmt: skip


def test_labels_are_worth_what_they_bring_by_seed():
    rows = records_of([0.0, 5.0, -3.0], PPO=0.0, random=0.3, UGDA=0.4)
    found = worth(rows).set_index(["objective", "share"])
    np.testing.assert_allclose(found.per_100["UGDA", "25%"], 0.8)
    np.testing.assert_allclose(found.over_random["UGDA", "25%"], 0.2)
    np.testing.assert_allclose(
        found.loc[("PPO", "25%"), ["of_ugda", "of_ugda_low", "of_ugda_high"]].astype(float), 0.75
    )
    gaps = differences(rows).query("metric == 'gold'").set_index("share")
    np.testing.assert_allclose(gaps["mean"][["0%", "25%"]], [0.4, 0.1])
    np.testing.assert_allclose(gaps.low, gaps.high)
    assert levels(rows).seeds.tolist() == [3, 3, 3]
    alone = worth(records_of([0.0], PPO=0.0, random=0.3, UGDA=0.4))
    assert alone.of_ugda_low.isna().all()


def test_a_plan_counts_every_training():
    wanted = Ugda(seeds=2, selections=("both", "influence"), dimensions=(64,),
                  labelling=Labelling(100))  # fmt: skip
    said = plan(wanted)
    assert len(wanted.methods) == 10
    assert "PPO x 20" in said
    assert "gradients x 4" in said
    assert "refits x 8" in said
    assert "reward models anew x 2" in said
