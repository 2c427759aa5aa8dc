"""Normalised scores agree with the exact centring of tables; scorers of many models are one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.grid import Grid
from llm_bridge.rewards.fusion import Fusion
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.text_world import TextWorld
from tests.laws import TRAINABLE, penalised
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.optimum import bind
from theory.scores import NORMALISATIONS, Scores

PROMPTS, RESPONSES = ("a", "b", "c"), 9


class Table:
    """A world small enough to be enumerated: a score for every prompt and response."""

    def __init__(self, k: int = 4, *, seed: int = 0, std: bool = True, scale: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        shape = (len(PROMPTS), RESPONSES, k)
        prompt, member = rng.normal(size=(3, 1, k)) * 5, np.exp(rng.normal(size=k))
        members = torch.tensor(rng.normal(size=shape) * member * scale + prompt).float()
        head_std = torch.tensor(rng.uniform(0.1, 1, shape)).float() if std else None
        self.scores = Scores(members, head_std)

    def __call__(self, prompts, responses) -> Scores:
        rows = [PROMPTS.index(p) for p in prompts], [int(r) for r in responses]
        std = self.scores.head_std
        return Scores(self.scores.members[rows], None if std is None else std[rows])


REFERENCES = {prompt: [str(i) for i in range(RESPONSES)] for prompt in PROMPTS}
LOG_UNIFORM = torch.full((len(PROMPTS), RESPONSES), -float(np.log(RESPONSES)))
EVERY = (
    [p for p in PROMPTS for _ in range(RESPONSES)],
    [r for p in PROMPTS for r in REFERENCES[p]],
)


def assert_same(found: Scores, expected: Scores) -> None:
    for a, b in ((found.members, expected.members), (found.head_std, expected.head_std)):
        torch.testing.assert_close(a.reshape(b.shape), b, atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_prompts_are_normalised_as_in_a_table(normalise):
    """The reference responses enumerate the policy, alike."""
    table = Table()
    normaliser = Normaliser.fit(table, REFERENCES, normalise=normalise)
    expected = table.scores.normalised(normalise, LOG_UNIFORM)
    assert_same(normaliser.table, expected)
    assert_same(normaliser(*EVERY), expected)


@pytest.mark.parametrize("name", TRAINABLE)
def test_one_objective_has_one_utility_in_every_world(name):
    """By default: a table, the grid, and texts that are scored as they come."""
    table = Table()
    assert TextWorld().normalise == Grid().normalise == "centred"
    normaliser = Normaliser.fit(table, REFERENCES)
    exact = table.scores.normalised(Grid().normalise, LOG_UNIFORM)
    objective = penalised(name)
    bound = bind(objective, exact, LOG_UNIFORM)
    there = normaliser.table
    again = bind(objective, there, normaliser.log_reference())
    for part in (objective.utility, objective.coefficient):
        torch.testing.assert_close(
            part(there, again.binding), part(exact, bound.binding), atol=FLOAT32, rtol=FLOAT32
        )


def test_a_global_mean_is_that_of_one_large_prompt():
    """It leaves the constants of prompts in, and needs none of them."""
    table = Table()
    normaliser = Normaliser.fit(table, REFERENCES, centring="global", normalise="standardised")
    flat = Scores(
        table.scores.members.reshape(1, -1, table.scores.k),
        table.scores.head_std.reshape(1, -1, table.scores.k),
    )
    expected = flat.standardised(LOG_UNIFORM.reshape(1, -1) - float(np.log(len(PROMPTS))))
    assert_same(normaliser.table, expected)
    assert_same(normaliser(*EVERY), expected)
    assert normaliser.table.members.mean(1).abs().max() > 0.1
    elsewhere = Normaliser(
        lambda *_: table(["a"], ["0"]), {}, normaliser.offset, normaliser.scale,
        normaliser.table, "global",
    )  # fmt: skip
    torch.testing.assert_close(elsewhere(["new"], ["0"]).members, normaliser(["a"], ["0"]).members)


def test_a_member_without_spread_stays_at_zero():
    table = Table(2, std=False)
    flat = torch.full((len(PROMPTS), RESPONSES, 1), 1 / 3)
    table.scores = Scores(torch.cat([table.scores.members, flat], -1))
    normaliser = Normaliser.fit(table, REFERENCES, normalise="standardised")
    assert normaliser.table.members[..., 2].abs().max() < FLOAT32
    assert normaliser(*EVERY).head_std is None


@settings(max_examples=30)
@given(shift=st.floats(-50, 50), scale=st.floats(0.01, 100))
def test_offset_and_scale_of_a_member_do_not_matter(shift, scale):
    table, moved = Table(seed=3), Table(seed=3)
    factor = torch.tensor([1.0, scale, 1.0, 1.0])
    moved.scores = Scores(
        table.scores.members * factor + shift * scale * torch.tensor([0.0, 1.0, 0.0, 0.0]),
        table.scores.head_std * factor,
    )
    found, expected = (
        Normaliser.fit(t, REFERENCES, normalise="standardised")(*EVERY) for t in (moved, table)
    )
    torch.testing.assert_close(found.members, expected.members, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.head_std, expected.head_std, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("centring", ["prompt", "global"])
def test_fused_scorers_are_standardised_each_on_its_own(centring):
    tables = [Table(2, seed=1), Table(3, seed=2, scale=100.0)]
    fused = Normaliser.fit(
        Fusion(tuple(tables)), REFERENCES, centring=centring, normalise="standardised"
    )(*EVERY)
    alone = [
        Normaliser.fit(t, REFERENCES, centring=centring, normalise="standardised")(*EVERY)
        for t in tables
    ]
    torch.testing.assert_close(fused.members, torch.cat([a.members for a in alone], -1))
    torch.testing.assert_close(fused.head_std, torch.cat([a.head_std for a in alone], -1))
    if centring == "prompt":
        together = Scores(torch.cat([t.scores.members for t in tables], -1))
        expected = together.standardised(LOG_UNIFORM).members
        torch.testing.assert_close(
            fused.members.reshape(expected.shape), expected, atol=FLOAT32, rtol=FLOAT32
        )


@pytest.mark.parametrize(
    ("scorers", "message"),
    [((), "at least one"), ((Table(2), Table(2, std=False)), "1 with one of 2")],
)
def test_what_cannot_be_fused(scorers, message):
    with pytest.raises(InputError, match=message):
        Fusion(scorers)(*EVERY)


def test_another_centring_is_refused():
    with pytest.raises(InputError, match="centring"):
        Normaliser.fit(Table(), REFERENCES, centring="policy")
