"""Who is compared with whom, who wins, and what each member sees."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bandits.comparisons import SPLITS, Comparisons, split_weights
from bandits.preferences import ANNOTATORS, Preferences
from tests.tolerance import ALPHA, EXACT
from theory.errors import InputError
from theory.intervals import clopper_pearson

GOLD = np.eye(8)
SEEDS = range(40)


def data(preferences=Preferences(), gold=GOLD, seeds=SEEDS, members=3, split="same"):  # noqa: B008
    gold = torch.tensor(gold, dtype=torch.float64)
    return Comparisons.of(preferences, gold, seeds, members=members, split=split)


def test_the_best_response_meets_different_others():
    chosen, rejected = Preferences(pairs=7).sample(GOLD, [0, 1])
    assert (chosen // 8 == rejected // 8).all()
    assert (chosen // 8 == chosen % 8).all()
    assert len(np.unique(rejected[0])) == 56
    two = Preferences().sample(GOLD, SEEDS)[1]
    assert two.shape == (40, 1, 16)
    assert not (two == chosen[0, 0, 0]).any()
    assert not np.array_equal(two[0], two[1])


@given(st.integers(2, 5), st.integers(2, 6), st.integers(1, 9))
def test_any_two_responses_are_compared_by_their_gold(prompts, responses, pairs):
    gold = np.random.default_rng(pairs).normal(size=(prompts, responses))
    chosen, rejected = Preferences(pairs, opponents="any").sample(gold, [3])
    assert (chosen // responses == rejected // responses).all()
    assert (gold.ravel()[chosen] > gold.ravel()[rejected]).all()


def test_ties_are_decided_by_a_coin():
    chosen, rejected = Preferences(500, opponents="any").sample(np.zeros((4, 2)), [0])
    assert 0.5 in clopper_pearson(int((chosen % 2 == 0).sum()), chosen.size, ALPHA)
    assert (chosen != rejected).all()


@pytest.mark.parametrize("noise", [0.1, *ANNOTATORS])
def test_noise_flips_its_share_of_labels(noise):
    share = ANNOTATORS.get(noise, noise)
    chosen, _ = Preferences(7, noise=noise).sample(GOLD, SEEDS)
    flipped = int((chosen // 8 != chosen % 8).sum())
    assert share in clopper_pearson(flipped, chosen.size, ALPHA)


def test_logistic_labels_follow_bradley_terry():
    gold = np.tile([0.0, 0.8], (4, 1))
    chosen, _ = Preferences(1000, opponents="any", logistic=True).sample(gold, [0])
    better = int((chosen % 2 == 1).sum())
    assert 1 / (1 + np.exp(-0.8)) in clopper_pearson(better, chosen.size, ALPHA)


def test_covered_data_sets_leave_no_response_unbeaten():
    for rejected in Preferences(covered=True).sample(GOLD, SEEDS)[1][:, 0]:
        assert set(rejected % 8) == set(range(8))
    plain = Preferences().sample(GOLD, SEEDS)[1][:, 0]
    assert any(set(rejected % 8) != set(range(8)) for rejected in plain)


def test_splits():
    same = split_weights("same", SEEDS, 3, 16)
    assert (same == 1 / 16).all()
    boot = split_weights("bootstrap", SEEDS, 3, 16)
    np.testing.assert_allclose(boot.sum(-1), 1, atol=EXACT)
    assert ((boot * 16) % 1 == 0).all()
    assert not np.array_equal(boot[0, 0], boot[0, 1])
    mean_zero = (boot == 0).mean()
    assert 0.30 < mean_zero < 0.42
    parts = split_weights("disjoint", SEEDS, 3, 16)
    assert ((parts > 0).sum(1) == 1).all()
    np.testing.assert_allclose(parts.sum(-1), 1, atol=EXACT)


def test_fresh_data_give_each_member_a_set_of_its_own():
    fresh = data(split="fresh")
    assert fresh.chosen.shape == (40, 3, 16)
    assert not torch.equal(fresh.rejected[:, 0], fresh.rejected[:, 1])
    assert torch.equal(fresh.rejected[:, :1], data().rejected)
    pooled = fresh.pooled()
    assert pooled.chosen.shape == (40, 1, 48)
    assert float(pooled.weights.sum(-1).max()) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize("split", SPLITS)
def test_margins_are_differences_of_scores(split):
    found = data(split=split)
    scores = torch.randn(40, 3, 8, 8, dtype=torch.float64)
    margins = found.margins(scores)
    copy = min(2, found.chosen.shape[1] - 1)
    chosen, rejected = found.chosen[5, copy, 4], found.rejected[5, copy, 4]
    flat = scores[5, 2].flatten()
    assert margins[5, 2, 4] == flat[chosen] - flat[rejected]
    assert found.margins(scores[:, :1]).shape == margins.shape


def test_given_comparisons_are_read_and_taken_as_they_are(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [(x, a, b) for x in range(2) for a in range(3) for b in range(3) if a != b]
    pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"]).to_csv(path, index=False)
    preferences = Preferences.read(path)
    preferences.check(2, 3)
    chosen, rejected = preferences.sample(np.zeros((2, 3)), [0, 1])
    assert chosen[1, 0].tolist() == [3 * x + a for x, a, _ in rows]
    assert rejected[0, 0].tolist() == [3 * x + b for x, _, b in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,chosen\n0,1\n", "columns rejected, got columns prompt, chosen of pairs.csv"),
        (
            "prompt,chosen,rejected\n0,1,0\n0,x,1\n",
            "whole numbers.*'x' as 'chosen' in line 3 of pairs.csv",
        ),
        ("prompt,chosen,rejected\n0,1.5,1\n", "whole numbers.*'1.5'.*line 2"),
    ],
)
def test_files_that_are_not_comparisons(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Preferences.read(path)


@pytest.mark.parametrize(
    ("preferences", "message"),
    [
        (Preferences(given=((0, 1, 9),)), r"responses below 8.*\(0, 1, 9\) in comparison 0"),
        (Preferences(given=((0, 1, 2), (8, 1, 2))), r"\(8, 1, 2\) in comparison 1"),
        (Preferences(given=((0, -1, 2),)), "comparison 0"),
        (Preferences(given=((0, 1, 1),)), "two different responses"),
        (Preferences(given=()), "at least one comparison"),
        (Preferences(pairs=8), "between 1 and 7"),
    ],
)
def test_comparisons_that_a_world_cannot_hold(preferences, message):
    with pytest.raises(InputError, match=message):
        preferences.check(8, 8)


def test_responses_without_comparisons_are_counted():
    with pytest.warns(UserWarning, match="62 of 64 responses are never compared"):
        Preferences(given=((0, 1, 2), (0, 2, 1))).check(8, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Preferences(pairs=0),
        lambda: Preferences(opponents="worst"),
        lambda: Preferences(noise="experts"),
        lambda: Preferences(noise=1.5),
        lambda: Preferences(1, covered=True).check(2, 8),
        lambda: Preferences(1, covered=True).sample(np.tile(-np.arange(8.0), (8, 1)), [0]),
        lambda: split_weights("own", [0], 2, 4),
        lambda: split_weights("disjoint", [0], 5, 4),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
