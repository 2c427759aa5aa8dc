"""Choosing samples to relabel, what grades become, experts, and expected information."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerance import EXACT, mc
from theory.errors import InputError
from theory.grades import (
    MISSING,
    FileExpert,
    NoisyExpert,
    ScoreExpert,
    agreement,
    quantile_edges,
)
from theory.information import information_gains
from theory.refinement import SELECTIONS, Refinement, chosen, targets
from theory.relabelling import quantile_targets, select

RNG = np.random.default_rng(0)
EVIDENCE = {
    "variance": RNG.random((3, 40)),
    "influence": RNG.standard_normal((3, 40, 2)),
    "information": RNG.random((3, 40)),
}
SEEDS = (4, 5, 6)


@given(st.sampled_from(SELECTIONS), st.floats(0, 0.95), st.floats(0, 0.95))
def test_every_selection_takes_as_many(selection, gamma, eta):
    settings = Refinement(selection, gamma, eta)
    found = chosen(EVIDENCE, settings, SEEDS, 40)
    assert found.shape == (3, settings.kept(40))
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_both_is_the_papers_selection_by_the_largest_influence():
    found = chosen(EVIDENCE, Refinement(), SEEDS, 40)
    for run in range(3):
        own = select(EVIDENCE["variance"][run], EVIDENCE["influence"][run].max(-1))
        assert set(found[run]) == set(own)


def test_the_size_of_the_influence_counts_harmful_samples():
    harmful = {"influence": -(EVIDENCE["influence"][:1, :, :1] ** 2)}
    signed, sized = (
        chosen(harmful, Refinement("influence", sign=sign), (0,), 40)
        for sign in ("helpful", "either")
    )
    assert not set(signed[0]) & set(sized[0])


def test_influence_is_read_of_uncertain_samples_only():
    influence = EVIDENCE["influence"].copy()
    certain = EVIDENCE["variance"] < np.median(EVIDENCE["variance"], -1, keepdims=True)
    influence[certain] = np.nan
    found = chosen({**EVIDENCE, "influence": influence}, Refinement(), SEEDS, 40)
    np.testing.assert_array_equal(found, chosen(EVIDENCE, Refinement(), SEEDS, 40))


def test_ties_and_random_choices_belong_to_a_seed():
    tied = {"variance": np.zeros((2, 30))}
    for settings in (Refinement("variance"), Refinement("random")):
        rows = chosen(tied, settings, (7, 8), 30)
        assert set(rows[0]) != set(rows[1])
        np.testing.assert_array_equal(rows[1:], chosen(tied, settings, (8,), 30))


def test_targets_are_each_members_quantiles_and_missing_grades_have_none():
    scores = RNG.standard_normal((1, 50, 3))
    picked = np.arange(10, 30)[None]
    grades = RNG.integers(1, 6, (1, 20))
    grades[0, :4] = MISSING
    found = targets(scores, picked, grades)
    assert np.isnan(found[0, :4]).all()
    expected = quantile_targets(scores[0, 14:30], grades[0, 4:])
    np.testing.assert_allclose(found[0, 4:], expected, atol=EXACT)
    anchored = targets(scores, picked, np.full((1, 20), 3), "anchored")
    np.testing.assert_allclose(anchored[0], np.median(scores[0], 0)[None].repeat(20, 0), atol=EXACT)


def test_anchored_targets_lower_what_is_overrated_as_a_whole_and_mid_ranks_do_not():
    scores = np.sort(RNG.standard_normal((1, 100, 1)), axis=1)
    top, low = np.arange(80, 100)[None], np.ones((1, 20), int)
    kept, lowered = (targets(scores, top, low, name).mean() for name in ("mid_rank", "anchored"))
    assert kept == pytest.approx(np.median(scores[0, 80:]))
    assert lowered == pytest.approx(np.quantile(scores[0], 0.1))


def test_gold_grades_are_given_equally_often_and_nan_is_missing():
    gold = RNG.standard_normal(1000)
    expert = ScoreExpert(lambda p, r: gold[r], quantile_edges(gold))
    np.testing.assert_array_equal(
        np.bincount(expert([0] * 1000, np.arange(1000)))[1:], np.full(5, 200)
    )
    unread = ScoreExpert(lambda p, r: np.array([np.nan, 9.0]), (1, 2, 3, 4))
    np.testing.assert_array_equal(unread("ab", "cd"), [MISSING, 5])


def test_a_noisy_expert_errs_as_often_as_said_and_always_alike():
    sure = ScoreExpert(lambda p, r: np.full(len(r), 2.5), (1, 2, 3, 4))
    noisy = NoisyExpert(sure, 0.2)
    grades = noisy(range(4000), range(4000))
    wrong = grades != 3
    assert wrong.mean() == pytest.approx(0.2, abs=mc(0.4, 4000))
    assert set(grades) == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(grades[10:20], noisy(range(10, 20), range(10, 20)))
    missing = NoisyExpert(lambda p, r: np.zeros(len(r), int), 1.0)
    np.testing.assert_array_equal(missing("a", "b"), [MISSING])


def test_grades_from_a_file(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text("prompt,response,grade\na,b,4\na,c,\n")
    np.testing.assert_array_equal(FileExpert.read(path)("aaa", "bcd"), [4, MISSING, MISSING])
    for rows in ("a,b,6\n", "a,b,1\na,b,2\n", "a,b,good\n"):
        path.write_text("prompt,response,grade\n" + rows)
        with pytest.raises(InputError, match="grade"):
            FileExpert.read(path)
    path.write_text("prompt,response\na,b\n")
    with pytest.raises(InputError, match="grade"):
        FileExpert.read(path)


def test_agreement_is_by_the_second_experts_grade():
    first, second = np.array([1, 1, 2, 5, 3, MISSING]), np.array([1, 2, 2, 5, MISSING, 4])
    table = agreement(first, second).set_index("grade")
    assert table.similarity[[1, 2, 5]].tolist() == [1.0, 0.5, 1.0]
    assert np.isnan(table.similarity[3])
    assert table["first"].sum() == pytest.approx(1)
    assert (table.samples == 4).all()


def test_information_falls_with_duplicates_and_sums_to_the_joint_one():
    root = RNG.standard_normal((6, 3))
    covariance = root @ root.T
    gains = information_gains(covariance, 0.7, 6)
    joint = np.linalg.slogdet(np.eye(6) + covariance / 0.49)[1] / 2
    assert gains.sum() == pytest.approx(joint, abs=EXACT * 100)
    twice = np.kron(np.ones((2, 2)), covariance)
    picks = set(np.argsort(-information_gains(twice, 0.01, 3))[:3] % 6)
    assert len(picks) == 3
    batch = information_gains(np.stack([covariance, 2 * covariance]), 0.7, 2)
    np.testing.assert_allclose(batch[0], information_gains(covariance, 0.7, 2), atol=EXACT)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: Refinement("best"), "selection"),
        (lambda: Refinement(gamma=1.0), "gamma"),
        (lambda: Refinement(dimension=0), "dimension"),
        (lambda: chosen({}, Refinement(), (0,), 4), "evidence"),
        (lambda: targets(np.zeros((1, 2, 1)), np.zeros((1, 1), int), np.ones((1, 1), int), "x"),
         "labels"),
        (lambda: ScoreExpert(lambda p, r: np.zeros(1), (1.0, 0.0, 2.0, 3.0)), "edges"),
        (lambda: NoisyExpert(FileExpert({}), 2.0), "error"),
        (lambda: information_gains(np.eye(2), 0.0, 1), "noise"),
        (lambda: information_gains(np.eye(2), 1.0, 3), "count"),
    ],
)  # fmt: skip
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()
