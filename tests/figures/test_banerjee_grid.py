"""Figures of banerjee2024 on the grid: numbers against their meaning, verdicts on other numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

from figures.banerjee2024 import (
    head_accuracy,
    head_losses,
    member_scores,
    member_variances,
    policies,
    policy_curves,
    policy_runs,
    policy_spread,
    reward_sets,
)
from tests.figures.recorded import recorded
from tests.tolerance import EXACT, FLOAT32, VALUE
from theory.nested import variance_components

DATA = (0, 1)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(policy_spread, "DRAWS", 50)
    monkeypatch.setattr(policy_runs, "STEPS", 8)


def verdicts(module, table):
    return [finding.verdict for finding in module.FIGURE.findings(table)]


def test_a_policy_is_rewarded_by_its_own_member():
    from bandits.ensembles import Independent
    from bandits.grid import Grid

    world = Grid(ensemble=Independent(members=3))
    _, log_reference, scores = world.prepare(DATA)
    population, reference = policy_runs.population(scores, log_reference, 2)
    assert population.members.shape == (12, 8, 8, 3)
    for policy, (study, member) in enumerate((s, m) for s in DATA for m in (0, 0, 1, 1, 2, 2)):
        assert torch.equal(population.members[policy, ..., 0], scores.members[study, ..., member])
        assert torch.equal(reference[policy], log_reference[study])
    assert torch.allclose(population.std(), scores.std().repeat_interleave(6, 0), atol=FLOAT32)


def test_policies_of_a_data_set_share_a_reference_and_differ_by_rollouts():
    rows = policy_runs.trained(DATA, 2, "same", 4)
    starts = rows[rows.step == 0].groupby("data").gold
    assert (starts.nunique() == 1).all()
    assert (rows.kl[rows.step == 0].abs() < FLOAT32).all()
    ends = policy_runs.final(rows)
    counts = ends.groupby(["method", "data", "member"]).gold.agg(["size", "nunique"])
    assert (counts == 2).all(axis=None)
    assert len(counts) == 3 * 2 * policy_runs.MEMBERS


def test_exact_optima_are_at_the_distance_and_share_the_mean_of_members():
    ends = policy_runs.final(policy_runs.optima(DATA, "same"))
    assert np.allclose(ends.kl, policy_runs.DISTANCE, atol=FLOAT32)
    gold = ends.groupby(["method", "data"]).gold.std()
    assert (gold["mean"] < FLOAT32).all()
    proxy = ends.groupby("method").proxy.mean()
    assert proxy["vanilla"] > proxy["aware"]
    assert (gold["aware"] < gold["vanilla"]).all()


def returns_table(values):
    """Rows of two methods, (methods, data sets, members, trials)."""
    index = pd.MultiIndex.from_product(
        [["vanilla", "aware"], *map(range, values.shape[1:])],
        names=["method", "data", "member", "trial"],
    )
    return pd.DataFrame({"gold": values.ravel()}, index=index).reset_index()


def test_contrasts_of_known_returns():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((5, 4, 3))
    rows = returns_table(np.stack([noise, 0.5 * noise + 1]))
    found = policy_spread.over_data_sets(rows).set_index("statistic")
    np.testing.assert_allclose(found.value["sd ratio"], 0.5, atol=EXACT)
    expected = 1 - 0.5 * noise.mean((1, 2))
    means = found[found.data.notna()].value["mean difference"]
    np.testing.assert_allclose(means, expected, atol=EXACT)
    one = rows[rows.data == 0]
    for found in (policy_spread.within_one(one, rng), policy_spread.redrawn(rows, rng)):
        ratio = found.set_index("statistic").loc["sd ratio"]
        np.testing.assert_allclose(ratio[["value", "low", "high"]].astype(float), 0.5, atol=EXACT)
    summary = policy_spread.summaries(rows).set_index(["method", "statistic"]).value
    parts = variance_components(noise)
    assert abs(summary["vanilla", "between"] - parts.between.mean()) < EXACT
    assert abs(summary["aware", "within"] - parts.within.mean() / 4) < EXACT


@pytest.fixture
def compared():
    return recorded("banerjee2024.fig7")


def test_verdicts_on_policies(compared):
    def verdict(which, doctored):
        return policies.findings(doctored)[which].verdict

    def forced(statistic, value, split=None, method="aware"):
        table = compared.copy()
        at = (table.statistic == statistic) & table.low.notna() & (table.method == method)
        at &= (table.split == split) | (split is None)
        table.loc[at, ["value", "low", "high"]] = (value, value - 0.01, value + 0.01)
        return table

    lower = forced("sd ratio", 0.5)
    assert verdict(0, lower) == "reproduces"
    assert verdict(0, forced("sd ratio", 1.5)) == "differs"
    lower.loc[(lower.split == "fresh") & (lower.statistic == "sd ratio"), "high"] = 2
    assert verdict(0, lower) == "in part"
    assert verdict(1, forced("mean difference", 0.1)) == "differs"
    assert verdict(1, forced("mean difference", 0.0)) == "reproduces"
    assert verdict(1, forced("mean difference", -0.1)) == "reproduces"
    better = forced("mean difference", 9.0, method="mean")
    better.loc[(better.statistic == "sd ratio") & (better.method == "mean"), "value"] = 0.0
    assert verdict(2, better) == "differs"
    alone = compared.copy()
    alone.loc[alone.statistic == "shared", "value"] = 0.0
    assert verdict(3, alone) == "reproduces"
    alone.loc[alone.statistic == "shared", "value"] = 1.0
    assert verdict(3, alone) == "differs"
    assert "as that of 10 independent ones" in policies.findings(alone)[3].measured


def test_the_caption_names_both_designs(compared):
    text = policies.caption(compared)
    assert text.startswith("40 policies")
    assert "Fresh data" in text
    assert "evaluation noise" in text
    hundred = policies.caption(recorded("banerjee2024.fig12"))
    assert hundred.startswith("100 policies")


def test_curves_and_their_verdicts():
    kl_table, proxy_table = (recorded(f"banerjee2024.{name}") for name in ("fig10", "fig11"))
    start = kl_table[kl_table.step == 0]
    assert (start["mean"].abs() < FLOAT32).all()
    assert (start["size"] == 4 * policy_runs.MEMBERS).all()
    doctored = kl_table.assign(inside=1.0, kl=1.0)
    assert policy_curves.matched(doctored)[0].verdict == "reproduces"
    assert policy_curves.matched(doctored.assign(inside=0.5))[0].verdict == "in part"
    moved = doctored.assign(kl=np.where(doctored.method == "aware", 1.5, 1.0))
    assert policy_curves.matched(moved)[0].verdict == "differs"
    assert policy_curves.traded(proxy_table.assign(proxy=0.5))[0].verdict == "reproduces"
    assert policy_curves.traded(proxy_table.assign(proxy=-0.5))[0].verdict == "differs"


def test_unseen_pairs_are_those_that_the_data_lack():
    world = reward_sets.heads("2 pairs a prompt", "same")
    pairs, seeds = reward_sets.unseen(world, DATA), len(DATA)
    assert (np.bincount(pairs.run) == 8 * (7 - 2)).all()
    data = world.comparisons(DATA)
    scores = world.outputs(DATA).members.flatten(-2).numpy()
    for seed in range(seeds):
        seen = set(data.rejected[seed, 0].tolist())
        missing = [
            x * 8 + y for x in range(8) for y in range(8) if x != y and x * 8 + y not in seen
        ]
        np.testing.assert_array_equal(pairs.rejected[pairs.run == seed], scores[seed][:, missing].T)
        best = [cell // 8 * 9 for cell in missing]
        np.testing.assert_array_equal(pairs.chosen[pairs.run == seed], scores[seed][:, best].T)


def test_scores_of_figure_1():
    table = recorded("banerjee2024.fig1")
    assert (table.groupby("kind").score.count() == reward_sets.MEMBERS).all()
    for level, verdict in ((0.2, "reproduces"), (0.05, "differs")):
        assert verdicts(member_scores, table.assign(low=level)) == [verdict]


def test_variances_of_figure_6():
    table = recorded("banerjee2024.fig6")
    shares = table.groupby(["data", "split", "quantity"]).share.sum()
    np.testing.assert_allclose(shares, 1, atol=VALUE)
    large = table.assign(low=4.0, high=5.0, mean=4.5)
    assert verdicts(member_variances, large) == ["reproduces", "reproduces", "reproduces"]
    tiny = table.assign(low=0.0, high=1.0)
    assert verdicts(member_variances, tiny)[:2] == ["differs", "differs"]


def test_losses_of_figure_8():
    curves = head_losses.losses(0)
    assert curves.shape == (2, 50)
    assert (abs(curves[:, 0] - np.log(2)) < 0.3).all()
    assert (np.diff(curves)[:, :5] < 0).all()
    table = recorded("banerjee2024.fig8")
    first = table[table.step == 0].set_index("stage")["mean"]
    expected = np.mean([head_losses.losses(seed)[:, 0] for seed in range(2)], axis=0)
    np.testing.assert_allclose(first, expected, rtol=FLOAT32)
    assert verdicts(head_losses, table) == ["reproduces"]
    table.loc[table.reached.notna() & (table.stage == "heads"), "reached"] = 0.5
    assert verdicts(head_losses, table) == ["in part"]


def test_accuracies_of_figure_9():
    table = recorded("banerjee2024.fig9")
    rows = table.set_index(["data", "split", "what"])["mean"].unstack()
    names = [f"head {i + 1}" for i in range(reward_sets.MEMBERS)]
    np.testing.assert_allclose(rows[names].mean(axis=1), rows["average head"], atol=VALUE)
    gap = rows["average head"] - rows["single"]
    np.testing.assert_allclose(gap, rows["head - single"], atol=VALUE)
    same = table.assign(mean=0.0, low=-0.01, high=0.01)
    assert verdicts(head_accuracy, same) == ["reproduces", "reproduces"]
    apart = table.assign(mean=0.3, low=-0.5, high=-0.3)
    assert verdicts(head_accuracy, apart) == ["differs", "differs"]
