"""The product of experts: its parts add up, and `per` says whose variance counts."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.draws import MEMBERS, PROMPTS, RESPONSES, as_torch, log_distribution, scores
from tests.tolerance import EXACT, ROUNDING
from theory.binding import Binding
from theory.errors import InputError, UnboundError
from theory.experts import ExpertMean, ExpertVariance, RelativeVariance
from theory.objective import Objective, value
from theory.optimum import bind
from theory.penalties import SIGMA_MIN, Penalty
from theory.presets import adaptive, adaptive_experts
from theory.scores import Scores

REFERENCE = log_distribution()
PER = ("prompt", "sample")
PARTS = (RelativeVariance, ExpertMean, ExpertVariance)


def binding_of(table, per="prompt", ddof=1):
    return bind(Objective(coefficient=RelativeVariance(per, ddof=ddof)), table, REFERENCE).binding


def variances(table, per):
    """E[s] and each cell's s, by hand."""
    s = table.members.var(-1, ddof=1)
    per_prompt = (np.exp(REFERENCE) * s).sum(-1, keepdims=True)
    return per_prompt.mean(), (per_prompt + 0 * s if per == "prompt" else s)


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("lam", [0.005, 0.05, 2.0])
def test_definitions(per, lam):
    table = scores()
    overall, s = variances(table, per)
    b, binding = overall / lam, binding_of(table)
    for part, expected in [
        (RelativeVariance(per), s / overall),
        (ExpertMean(lam, per), b / (b + s) * table.members.mean(-1)),
        (ExpertVariance(lam, per), s / (b + s)),
    ]:
        np.testing.assert_allclose(part(table, binding), expected, atol=ROUNDING)
        there = part(as_torch(table), as_torch(binding))
        np.testing.assert_allclose(there.numpy(), expected, atol=ROUNDING)


@pytest.mark.parametrize("per", PER)
def test_reward_and_penalty_weights_share_one(per):
    ones = Scores(1 + scores().members - scores().members.mean(-1, keepdims=True))
    binding = binding_of(ones)
    total = ExpertMean(0.3, per)(ones, binding) + ExpertVariance(0.3, per)(ones, binding)
    np.testing.assert_allclose(total, 1, atol=EXACT)


def test_the_product_is_the_adaptive_objective_at_another_prompt_weight():
    """b / (b + s) (E[mean] - s / b KL): the same optimum per prompt [adaptive2024, Eq. 7]."""
    table, lam, log_policy = scores(), 0.4, log_distribution(1)
    plain = bind(adaptive(lam), table, REFERENCE)
    experts = bind(adaptive_experts(lam), table, REFERENCE)
    overall, s = variances(table, "prompt")
    factor = 1 / (1 + lam * s[:, 0] / overall)
    found = value(experts, log_policy, REFERENCE, table)
    expected = factor * value(plain, log_policy, REFERENCE, table)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@settings(max_examples=20)
@given(st.floats(0.1, 100), st.sampled_from(PER))
def test_units_of_the_reward_do_not_matter(scale, per):
    table = scores()
    larger = Scores(scale * table.members)
    found = RelativeVariance(per)(larger, binding_of(larger))
    expected = RelativeVariance(per)(table, binding_of(table))
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


@pytest.mark.parametrize("per", PER)
def test_ddof_cancels(per):
    table = scores()
    found = RelativeVariance(per, ddof=0)(table, binding_of(table, ddof=0))
    np.testing.assert_allclose(
        found, RelativeVariance(per)(table, binding_of(table)), rtol=ROUNDING
    )


@pytest.mark.parametrize(
    ("lam", "ratio", "factor"),
    [(0.005, 1.0, 0.995), (0.005, 4.0, 0.980), (0.005, 200.0, 0.5), (0.05, 20.0, 0.5)],
)
def test_the_prefactor_hardly_moves(lam, ratio, factor):
    """1 / (1 + lam s / E[s]): early stopping needs a variance 200 times the mean one."""
    binding = Binding(mean_variance=np.array(2.0), prompt_variance=np.array([2.0 * ratio]))
    table = Scores(np.ones((1, MEMBERS)))
    assert round(float(ExpertMean(lam)(table, binding)[0]), 3) == factor


@pytest.mark.parametrize("per", PER)
def test_no_variance_anywhere_is_a_relative_variance_of_one(per):
    table = Scores(np.full((PROMPTS, RESPONSES, MEMBERS), 3.0))
    binding = binding_of(table)
    np.testing.assert_array_equal(RelativeVariance(per)(table, binding), np.ones((3, 5)))
    np.testing.assert_allclose(ExpertMean(0.5, per)(table, binding), 2.0, atol=EXACT)


@pytest.mark.parametrize("part", PARTS)
def test_a_variance_below_the_floor_counts_as_the_floor(part):
    members = scores().members.copy()
    members[1] = 1.0
    table = Scores(members)
    binding = binding_of(table)
    floored = RelativeVariance()(table, binding)[1]
    np.testing.assert_allclose(floored, SIGMA_MIN**2 / binding.mean_variance.item(), rtol=ROUNDING)
    assert (part()(table, binding) != 0).all()
    assert np.isfinite(part()(table, Binding(np.array(0.0), np.zeros((3, 1))))).all()


@pytest.mark.parametrize("part", PARTS)
def test_per_prompt_variances_need_no_second_member(part):
    one = Scores(scores().members[..., :1])
    assert part()(one, binding_of(scores())).shape == (PROMPTS, RESPONSES)
    with pytest.raises(InputError, match="at least 2 members"):
        part(per="sample")(one, binding_of(scores()))


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("part", PARTS)
def test_bindings_of_tables_runs_and_flat_batches(part, per):
    table = scores()
    binding = binding_of(table)
    here = part(per=per)(table, binding)
    assert here.shape == (PROMPTS, RESPONSES)
    flat = Scores(table.members.reshape(-1, MEMBERS))
    rows = Binding(binding.mean_variance.ravel(), np.repeat(binding.prompt_variance, RESPONSES))
    np.testing.assert_array_equal(part(per=per)(flat, rows), here.ravel())
    # Each run has its own batch statistics.
    runs = Scores(np.stack([table.members, 2 * table.members]))
    own = Binding(
        np.stack([binding.mean_variance, 4 * binding.mean_variance]),
        np.stack([binding.prompt_variance, 4 * binding.prompt_variance]),
    )
    factor = 2 if part is ExpertMean else 1
    found = part(per=per)(runs, own)
    np.testing.assert_allclose(found, np.stack([here, factor * here]), rtol=ROUNDING)


def test_the_variance_of_one_response_or_of_its_prompt():
    """Changing another response matters to its prompt only; per sample it never does."""
    table, other = scores(), scores().members.copy()
    other[0, 0] *= 5
    changed, binding = Scores(other), binding_of(table)
    for per, moved in (("prompt", 0), ("sample", 1)):
        before, after = (RelativeVariance(per)(x, binding) for x in (table, changed))
        assert (before != after).sum() == moved


@pytest.mark.parametrize("part", PARTS)
def test_what_a_part_needs_it_asks_for(part):
    assert set(part().needs) == {"mean_variance", "prompt_variance"}
    assert part(per="sample").needs == ("mean_variance",)
    for per in PER:
        with pytest.raises(UnboundError, match="call bind"):
            part(per=per)(scores())
    with pytest.raises(UnboundError, match=r"RelativeVariance\(.*needs `prompt_variance`"):
        RelativeVariance()(scores(), Binding(mean_variance=np.array(1.0)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelativeVariance("promt"), "`per` must be one of prompt, sample, got 'promt'"),
        (lambda: ExpertMean(0.0), "`lam` must be > 0, got 0"),
        (lambda: ExpertVariance(-1.0), "`lam` must be > 0, got -1"),
        (lambda: ExpertMean(float("inf")), "`lam` must be finite, got inf"),
        (lambda: RelativeVariance(sigma_min=0.0), "`sigma_min` must be > 0"),
        (lambda: RelativeVariance()(scores(), Binding(np.array(1.0), np.ones(3))),
         "`prompt_variance` must be broadcastable with `scores.mean` of shape (3, 5), got (3,)"),
        (lambda: RelativeVariance("sample")(scores(), Binding(np.ones(3))),
         "`mean_variance` must be broadcastable with `scores.mean` of shape (3, 5), got (3,)"),
        (lambda: RelativeVariance()(as_torch(scores()), binding_of(scores())),
         "mix of numpy and torch"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_strength_of_the_product_is_its_own():
    assert adaptive_experts(0.2).strength == Penalty(1.0)
