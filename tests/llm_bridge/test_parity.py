"""One objective on three substrates: tables in NumPy, the toy's tensors, and a language model."""

import numpy as np
import pytest
import torch

from bandits.moving_objective import MovingObjective
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.shaping import Shaper
from tests.laws import BETA, POLICY_LEVEL, PROMPTS, RESPONSES, TRAINABLE, Draw, penalised
from tests.tolerance import FLOAT32, ROUNDING
from theory.objective import Bound, sample_reward, value
from theory.optimum import bind
from theory.schedules import Controller
from theory.scores import Scores

UNIFORM = np.full((PROMPTS, RESPONSES), -np.log(RESPONSES))


def torches(scores, *lead):
    """The same numbers as tensors, with leading axes."""
    arrays = (scores.members, scores.head_std)
    members, head_std = (torch.tensor(a).reshape(*lead, a.shape[-1]) for a in arrays)
    return Scores(members, head_std=head_std)


class Substrates:
    """The same table of scores and the same policy, three times; each cell is a response."""

    def __init__(self, name):
        draw, self.objective = Draw(0), penalised(name)
        cells = (PROMPTS, RESPONSES)
        self.scores, self.log_policy = draw.scores, draw.log_policy
        self.ratio = draw.log_policy - UNIFORM
        table = torches(draw.scores, *cells)
        k = table.k
        read = Normaliser(
            lambda *_: table, {str(x): x for x in range(PROMPTS)}, torch.zeros(PROMPTS, k),
            torch.ones(k), table,
        )  # fmt: skip
        self.shaper = Shaper(self.objective, read)
        self.places = torch.arange(PROMPTS).repeat_interleave(RESPONSES)
        self.flat = torches(draw.scores, PROMPTS * RESPONSES)
        self.toy = torches(draw.scores, 1, *cells)

    def bound(self, scores, reference):
        """Bound to the table; weights of members are those that the shaper starts from."""
        found = bind(self.objective, scores, reference)
        if self.shaper.weights is None:
            return found
        weights = self.shaper.weights.weights
        kind = weights.numpy() if isinstance(reference, np.ndarray) else weights
        cells = (None,) * (scores.members.ndim - 1)
        return Bound(self.objective, found.binding.__class__(member_weights=kind[(*cells, ...)]))

    def rewards(self):
        """Sample rewards of a table, of the toy and of a language model."""
        table = sample_reward(self.bound(self.scores, UNIFORM), self.ratio, self.scores)
        reference = torch.tensor(UNIFORM)[None]
        moving = MovingObjective(
            self.bound(self.toy, reference), self.toy, reference, 1, None, Controller()
        )
        toy = moving.reward(0, torch.tensor(self.log_policy)[None])
        halves = torch.tensor(self.ratio).reshape(-1, 1).expand(-1, 2) / 2
        tokens = self.shaper.rewards(
            self.flat, self.places, halves, torch.ones_like(halves).bool(), BETA
        )
        return table, toy[0].numpy(), tokens.sum(1).reshape(table.shape).numpy()


@pytest.mark.parametrize("name", TRAINABLE)
def test_sample_rewards_agree(name):
    table, toy, text = Substrates(name).rewards()
    np.testing.assert_allclose(toy, table, atol=ROUNDING)
    np.testing.assert_allclose(text, table, atol=FLOAT32)


@pytest.mark.parametrize("name", TRAINABLE)
def test_utilities_and_coefficients_agree(name):
    on = Substrates(name)
    bound = on.bound(on.scores, UNIFORM)
    utility, fixed, price = on.shaper.parts(on.flat, on.places)
    coefficient = on.objective.coefficient(on.scores, bound.binding)
    coefficient = np.broadcast_to(coefficient, UNIFORM.shape)
    found = on.objective.utility(on.scores, bound.binding)
    np.testing.assert_allclose(utility.reshape(UNIFORM.shape), found, atol=FLOAT32)
    np.testing.assert_allclose(price.reshape(UNIFORM.shape), coefficient, atol=FLOAT32)
    charged = coefficient * (on.objective.form == "kl")
    np.testing.assert_allclose(fixed.reshape(UNIFORM.shape), charged, atol=FLOAT32)


@pytest.mark.parametrize("name", [name for name in TRAINABLE if name not in POLICY_LEVEL])
def test_rewards_of_a_language_model_have_the_gradient_of_the_value(name):
    """E_pi[reward * grad ln pi] with the rewards of tokens, against the value of a table."""
    on = Substrates(name)
    logits = torch.tensor(on.log_policy, requires_grad=True)
    log_policy = logits.log_softmax(-1)
    reference = torch.tensor(UNIFORM)
    scores = torches(on.scores, *UNIFORM.shape)
    exact = value(bind(on.objective, scores, reference), log_policy, reference, scores).sum()
    expected = torch.autograd.grad(exact, logits, retain_graph=True)[0]
    rewards = torch.tensor(on.rewards()[2])
    sampled = (log_policy.exp().detach() * rewards * log_policy).sum()
    torch.testing.assert_close(
        torch.autograd.grad(sampled, logits)[0], expected, atol=FLOAT32, rtol=FLOAT32
    )
