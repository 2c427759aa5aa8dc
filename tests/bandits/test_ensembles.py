"""Kinds of ensembles: what is shared, what is counted, and what their spread means."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bandits.comparisons import Comparisons
from bandits.ensembles import ENSEMBLES, Brme, Independent, Laplace, LowRank, SharedTrunk
from bandits.networks import Concatenated, PerPrompt, Table
from bandits.preferences import Preferences
from bandits.reward_models import RewardTraining
from tests.tolerance import FLOAT32
from theory.errors import InputError

SEEDS, SHAPE = [3, 8], (8, 8)
KINDS = {name: kind() for name, kind in ENSEMBLES.items()}
SMALL = PerPrompt((4, 6))


def data(ensemble, seeds=SEEDS, dtype=torch.float64, preferences=Preferences()):  # noqa: B008
    gold = torch.eye(8, dtype=dtype)
    members, split = ensemble.members, ensemble.split
    return Comparisons.of(preferences, gold, seeds, members=members, split=split)


def train(ensemble, seeds=SEEDS, **options):
    return ensemble.train(data(ensemble, seeds, **options), seeds, SHAPE)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_learns_its_comparisons(name):
    ensemble = KINDS[name]
    members, head_std = train(ensemble)
    assert members.shape == (2, ensemble.members, *SHAPE)
    assert not members.requires_grad
    assert (head_std is not None) == (name == "brme")
    everything = replace(ensemble, split="same")
    margins = data(everything).margins(members)
    assert float((margins > 0).double().mean()) > 0.8


@pytest.mark.parametrize("name", KINDS)
def test_a_seed_does_not_depend_on_those_beside_it(name):
    alone, together = (train(KINDS[name], seeds) for seeds in ([8], SEEDS))
    torch.testing.assert_close(alone.members[0], together.members[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["independent", "shared_trunk", "low_rank"])
@pytest.mark.parametrize("split", ["same", "bootstrap", "fresh"])
def test_a_member_does_not_depend_on_those_beside_it(name, split):
    """Except through the first stage that it shares, which pools the comparisons of all."""
    few, many = (train(ENSEMBLES[name](members, split=split)).members for members in (2, 4))
    if name == "independent" or split != "fresh":
        torch.testing.assert_close(few, many[:, :2])
    else:
        assert not torch.allclose(few, many[:, :2])


def test_independent_members_equal_a_plain_loop():
    """One member and seed, trained by `torch.nn` on its comparisons."""
    ensemble = Independent(3, SMALL, training=RewardTraining(20))
    comparisons = data(ensemble)
    batched = ensemble.train(comparisons, SEEDS, SHAPE).members[1, 2]
    layers = SMALL.init(SEEDS, "reward", SHAPE, members=3, dtype=torch.float64)
    weights = [layer[1, 2].detach().clone().requires_grad_() for layer in layers]
    adam = torch.optim.Adam(weights, lr=1e-2)
    chosen, rejected = comparisons.chosen[1, 0], comparisons.rejected[1, 0]

    def scores():
        hidden = torch.tanh(weights[0] + weights[1])
        hidden = torch.tanh(hidden @ weights[2] + weights[3])
        return (hidden @ weights[4] + weights[5]).flatten()

    for _ in range(20):
        loss = -torch.nn.functional.logsigmoid(scores()[chosen] - scores()[rejected]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    torch.testing.assert_close(batched.flatten(), scores().detach())


def test_bootstrap_members_ignore_what_they_did_not_draw():
    ensemble = Independent(3, Table(), "bootstrap")
    comparisons = data(ensemble)
    before = Table().init(SEEDS, "reward", SHAPE, members=3, dtype=torch.float64)[0]
    moved = (train(ensemble).members != before).flatten(-2)
    for seed in range(2):
        for member in range(3):
            drawn = comparisons.weights[seed, member] > 0
            cells = torch.cat([comparisons.chosen[seed, 0], comparisons.rejected[seed, 0]])
            expected = torch.zeros(64, dtype=torch.bool)
            expected[cells[drawn.repeat(2)]] = True
            assert torch.equal(moved[seed, member], expected)


def test_heads_on_a_frozen_trunk_share_their_features():
    """Scores of all heads lie in the span of the trunk's features: width + 1 < prompts."""
    members = train(SharedTrunk(6, SMALL)).members
    wide = members[0].movedim(0, 1).flatten(1)
    assert int(torch.linalg.matrix_rank(wide, rtol=1e-9)) == 7
    free = train(Independent(6, SMALL)).members[0].movedim(0, 1).flatten(1)
    assert int(torch.linalg.matrix_rank(free, rtol=1e-9)) == 8


def test_heads_on_a_frozen_trunk_agree_in_the_limit():
    """The best response wins two of three comparisons: one finite optimum, margins of ln 2."""
    pairs = [(x, y) for x in range(8) for y in range(8) if x != y]
    wins = [(x, x, y) for x, y in pairs]
    contested = Preferences(given=(*wins, *wins, *((x, y, x) for x, y in pairs)))
    spread = []
    for steps in (20, 600):
        ensemble = SharedTrunk(4, training=RewardTraining(steps, 0.02))
        members = train(ensemble, preferences=contested).members
        margins = data(ensemble, preferences=contested).margins(members)[..., : len(wins)]
        spread.append(float(margins.std(1).mean()))
    assert spread[1] < 0.02 * spread[0]
    assert float((margins - np.log(2)).abs().max()) < 0.05


def test_adapters_start_at_the_trunk():
    """Before a step of the second stage only heads differ: scores are those of a frozen trunk."""
    untrained = RewardTraining(1, 1e-12)
    adapted, shared = (
        train(kind(3, SMALL, training=untrained)).members for kind in (LowRank, SharedTrunk)
    )
    torch.testing.assert_close(adapted, shared, atol=1e-6, rtol=1e-6)
    adapted = train(LowRank(3, SMALL, training=RewardTraining(30))).members
    wide = adapted[0].movedim(0, 1).flatten(1)
    assert int(torch.linalg.matrix_rank(wide, rtol=1e-9)) == 8


@pytest.mark.slow
def test_gaussian_heads_find_the_spread_of_their_targets_and_mse_none():
    """At the minimum of a reparameterised squared error the heads' own std is zero."""
    long = RewardTraining(3000)
    noisy = Preferences(7, noise=0.3)
    mse, nll = (Brme(split="same", loss=loss, second=long, members=2) for loss in ("mse", "nll"))
    seen = data(mse, preferences=noisy)
    cells = seen.chosen.expand(-1, 2, -1)
    spread = {}
    for model in (mse, nll):
        std = train(model, preferences=noisy).head_std
        spread[model.loss] = float(torch.gather(std.flatten(-2), -1, cells).mean())
    assert spread["mse"] < 0.02
    assert spread["nll"] > 5 * spread["mse"]


def test_laplace_is_the_posterior_of_the_last_layer():
    """Against its weights, fitted and spread without any kernel."""
    prior, network = 0.5, Concatenated((3,))
    comparisons = data(Laplace())
    layers = network.init(SEEDS, "reward", SHAPE, dtype=torch.float64)
    found = Laplace(prior=prior).posterior(network.kernel(layers, SHAPE), comparisons)
    features = network.trunk(layers, SHAPE)[1, 0].detach()
    inputs = torch.cat([features, torch.ones(64, 1, dtype=torch.float64)], dim=1)
    contrast = inputs[comparisons.chosen[1, 0]] - inputs[comparisons.rejected[1, 0]]
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    newton = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-12)

    def loss():
        newton.zero_grad()
        log_posterior = torch.nn.functional.logsigmoid(contrast @ weights).sum()
        total = prior * weights @ weights / 2 - log_posterior
        total.backward()
        return total

    newton.step(loss)
    mode = weights.detach()
    share = torch.sigmoid(contrast @ mode)
    precision = prior * torch.eye(4, dtype=torch.float64)
    precision += contrast.mT @ ((share * (1 - share))[:, None] * contrast)
    covariance = inputs @ torch.linalg.solve(precision, inputs.mT)
    torch.testing.assert_close(found[0][1, 0].detach(), inputs @ mode, atol=FLOAT32, rtol=FLOAT32)
    torch.testing.assert_close(found[1][1, 0].detach(), covariance, atol=FLOAT32, rtol=FLOAT32)


def test_laplace_draws_have_its_moments():
    ensemble = Laplace(4000)
    comparisons = data(ensemble)
    members = ensemble.train(comparisons, SEEDS, SHAPE).members.flatten(-2)
    layers = ensemble.fit_one(comparisons, SEEDS, SHAPE)
    mode, covariance = ensemble.posterior(ensemble.network.kernel(layers, SHAPE), comparisons)
    std = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    assert float(((members.mean(1) - mode[:, 0]) / std[:, 0]).abs().max()) < 6 / 4000**0.5
    assert float((members.std(1) / std[:, 0] - 1).abs().max()) < 6 / 8000**0.5


def test_laplace_is_least_sure_where_nothing_was_compared():
    members = train(Laplace(400)).members
    comparisons = data(Laplace())
    seen = torch.zeros(2, 64, dtype=torch.bool)
    seen.scatter_(1, torch.cat([comparisons.chosen, comparisons.rejected], -1)[:, 0], True)
    spread = members.std(1).flatten(1)
    assert float(spread[seen].mean()) < 0.95 * float(spread[~seen].mean())


@pytest.mark.parametrize(
    ("ensemble", "trainable", "loaded"),
    [
        (Independent(3), 3 * 1608, 3 * 1608),
        (SharedTrunk(3), 3 * 264, 1344 + 3 * 264),
        (SharedTrunk(3, frozen=False), 1344 + 3 * 264, 1344 + 3 * 264),
        (LowRank(3, rank=2), 3 * (264 + 2 * 40 + 2 * 64), 1344 + 3 * (264 + 208)),
        (Brme(3), 1344 + 6 * 264, 1344 + 6 * 264),
        (Laplace(3), 1608, 1608),
        (Independent(3, Table()), 192, 192),
    ],
)
def test_parameters_are_counted(ensemble, trainable, loaded):
    assert ensemble.parameters(SHAPE) == (trainable, loaded)


def test_a_centring_term_pins_the_free_constant():
    free, pinned = (
        train(Independent(2, training=RewardTraining(400, centring=centring))).members
        for centring in (0.0, 0.1)
    )
    seen = data(Independent(2))
    sums = [
        float((seen.gather(m, seen.chosen) + seen.gather(m, seen.rejected)).abs().mean())
        for m in (free, pinned)
    ]
    assert sums[1] < 0.2 * sums[0]


def test_float32_and_float64_agree():
    single, double = (
        train(Independent(2), dtype=d).members for d in (torch.float32, torch.float64)
    )
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, double, atol=100 * FLOAT32)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Independent(0),
        lambda: Independent(split="boot"),
        lambda: SharedTrunk(network=Table()),
        lambda: LowRank(rank=0),
        lambda: Brme(alpha=0.0),
        lambda: Brme(loss="crps"),
        lambda: Laplace(prior=0.0),
        lambda: Laplace(split="bootstrap"),
        lambda: RewardTraining(steps=0),
        lambda: RewardTraining(centring=-1.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
