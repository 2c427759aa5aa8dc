"""UGDA on the grid: gradients, planted holes, and stages that are taken up again."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from bandits.ensembles import Brme, Fitted, Independent, LowRank, no_loss
from bandits.grid import Grid
from bandits.optimisers import Exact
from bandits.policy_gradients import flat, layered, log_likelihood_gradients
from bandits.preferences import Preferences
from bandits.refinement import GridRefinement
from bandits.refinement_parts import prepared, validation_shares
from bandits.reward_models import RewardTraining
from tests.tolerance import ALPHA, FLOAT32
from theory.errors import InputError
from theory.grades import MISSING
from theory.intervals import clopper_pearson
from theory.refinement import Refinement
from theory.refinement_stages import run

SEEDS = tuple(range(128))
GOLD = np.random.default_rng(3).standard_normal((8, 8))
HOLE = (0, int(GOLD[0].argmax()))
WORST = (0, int(GOLD[0].argmin()))
EXACT = Refinement(dimension=None)


@dataclass(frozen=True)
class Holed(Independent):
    """Members that are wrong about one response, and not in the same way."""

    cell: tuple[int, int] = HOLE
    shift: float = -9.0

    def fitted(self, data, seeds, shape, extra=no_loss):
        members = super().fitted(data, seeds, shape, extra)
        plant = torch.zeros(self.members, *shape)
        plant[:, self.cell[0], self.cell[1]] = self.shift * torch.linspace(0.5, 1.5, self.members)
        return Fitted(members.parameters, lambda: members.scores() + plant)


def stages(ensemble, seeds=SEEDS, **options):
    preferences = Preferences(pairs=4, opponents="any")
    world = Grid.with_gold(GOLD, preferences=preferences, ensemble=ensemble, sft=0.3)
    return GridRefinement(
        world, seeds, candidates=64, steps=40, optimiser=Exact(),
        training=RewardTraining(steps=40), **options,
    )  # fmt: skip


def found(refinement, settings, interactions, cell):
    """Limits of the share of runs that relabel a cell."""
    result = run(refinement, settings, interactions=interactions)
    cells = np.take_along_axis(interactions["cells"], result["select"]["chosen"], -1)
    hits = int((cells == cell[0] * 8 + cell[1]).any(-1).sum())
    return clopper_pearson(hits, len(cells), ALPHA)


@pytest.mark.slow
def test_a_planted_hole_is_found_by_variance_and_influence_and_not_at_random():
    refinement = stages(Holed(members=3))
    came = refinement.collect()
    ours = found(refinement, EXACT, came, HOLE)
    by_luck = found(refinement, replace(EXACT, selection="random"), came, HOLE)
    assert ours.low > by_luck.high
    assert 0.25 in by_luck


@pytest.mark.slow
def test_signed_influence_drops_an_overrated_hole_that_variance_has_found():
    refinement = stages(Holed(members=3, cell=WORST, shift=6.0))
    came = refinement.collect()
    signed = found(refinement, EXACT, came, WORST)
    uncertain = found(refinement, replace(EXACT, selection="variance"), came, WORST)
    assert uncertain.low > signed.high


def test_gradients_are_those_of_each_cell():
    refinement = stages(LowRank(members=2), seeds=(0, 1))
    policy, _, _ = prepared(refinement.world, refinement.seeds)
    numbers = flat(policy.parameters)
    for layer, again in zip(policy.parameters, layered(numbers, policy.parameters), strict=True):
        torch.testing.assert_close(layer.detach(), again)
    found = log_likelihood_gradients(policy.network, numbers, policy.parameters, (8, 8))
    assert found.shape == (2, 64, 1608)
    own = torch.autograd.grad(policy.log_probabilities()[1, 2, 5], policy.parameters)
    torch.testing.assert_close(found[1, 21], flat(own)[1], atol=FLOAT32, rtol=FLOAT32)


def test_every_choice_of_gradients_gives_finite_influence():
    refinement = stages(LowRank(members=2), seeds=(0, 1))
    came = refinement.collect()
    for change in (
        {}, {"direction": "as_printed"}, {"direction": "sgd"}, {"loss": "ppo"},
        {"similarity": "raw"}, {"dimension": 32},
    ):  # fmt: skip
        influence = refinement.evidence(came, replace(EXACT, **change))["influence"]
        assert influence.shape == (2, 64, 2)
        assert np.isfinite(influence).all()
        assert influence.std() > 0


def test_runs_do_not_depend_on_which_are_beside_them():
    few = run(stages(LowRank(members=2), seeds=(5, 6)), EXACT)
    many = run(stages(LowRank(members=2), seeds=(4, 5, 6)), EXACT)
    np.testing.assert_array_equal(few["select"]["chosen"], many["select"]["chosen"][1:])
    one, other = (r["retrain"]["log_policy"] for r in (few, many))
    np.testing.assert_allclose(np.exp(one), np.exp(other[1:]), atol=FLOAT32)


def test_what_is_drawn_is_what_is_sampled_from():
    came = stages(LowRank(members=2), seeds=(0, 1)).collect()
    assert came["drawn"].shape == (2, 40, 8, 16)
    assert (came["visits"].sum(-1) == 40 * 8 * 16).all()
    assert (np.diff(came["visits"]) <= 0).all()


def test_members_are_put_back_after_refinement():
    refinement = stages(LowRank(members=2), seeds=(0, 1))
    first, again = (run(refinement, EXACT)["refine"]["scores"] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_an_interrupted_run_goes_on_after_the_last_stage(tmp_path, monkeypatch):
    refinement = stages(LowRank(members=2), seeds=(0, 1))
    whole = run(refinement, EXACT)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GridRefinement, "refine", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(refinement, EXACT, folder=tmp_path, config={"world": "grid"})
    assert {path.stem for path in tmp_path.glob("*.npz")} == {
        "collect", "evidence", "select", "relabel",
    }  # fmt: skip
    with monkeypatch.context() as patch:
        for name in ("collect", "evidence", "relabel"):
            patch.setattr(GridRefinement, name, interrupted)
        resumed = run(refinement, EXACT, folder=tmp_path, config={"world": "grid"})
    for stage in whole:
        for name, values in whole[stage].items():
            np.testing.assert_allclose(values, resumed[stage][name], atol=FLOAT32)
    with pytest.raises(InputError, match="resume"):
        run(refinement, replace(EXACT, eta=0.2), folder=tmp_path, config={"world": "grid"})


def test_without_grades_nothing_is_learnt():
    refinement = stages(
        LowRank(members=2), seeds=(0, 1), expert=lambda p, _: np.full(len(p), MISSING)
    )
    result = run(refinement, EXACT)
    assert np.isnan(result["targets"]["targets"]).all()
    before = refinement.world.outputs((0, 1)).members.movedim(1, -1).numpy()
    np.testing.assert_allclose(result["refine"]["scores"], before, atol=FLOAT32)


def test_validation_responses_are_chosen_ones_of_their_own_prompts():
    refinement = stages(LowRank(members=2), seeds=(0, 1))
    shares = validation_shares(refinement.world, (0, 1), 2, 4)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 2))
    assert not shares[:, 0, 32:].any()
    assert not shares[:, 1, :32].any()
    worst = torch.tensor([8 * p + int(row.argmin()) for p, row in enumerate(GOLD)])
    assert not shares[..., worst].any()


def test_bad_input():
    with pytest.raises(InputError, match="ensemble"):
        stages(Brme(members=2))
    with pytest.raises(InputError, match="candidates"):
        replace(stages(LowRank(members=2)), candidates=65)
