"""Where a penalty is charged, on responses that end at different times.

A policy makes two binary decisions. In the early-stopping tree the first is to go on or to stop, so
that the third response is one token long and the others are two; in the full tree all are two.
"""

from copy import deepcopy
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import root

from llm_bridge.embedded.tiny import build_tokenizer
from llm_bridge.lm.actor import Actor
from llm_bridge.lm.sampling import Sampling
from llm_bridge.optimality import measure
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from llm_bridge.shaping import Shaper
from tests.tolerance import FLOAT32, ROUNDING, VALUE
from theory.optimum import solve
from theory.policy_gradient import clipped_surrogate, gae
from theory.presets import variance_aware
from theory.scores import Scores

OPTIMUM, SPREAD = [0.55174, 0.15037, 0.29789], [0.48796, 0.18639, 0.32565]


def scores(utility, price):
    """Two members of that mean and variance."""
    half = np.sqrt(np.array(price) / 2)
    return Scores(torch.tensor(np.stack([utility + half, utility - half], axis=-1)))


class Tree(NamedTuple):
    """Responses of two tokens at most; a policy has one logit a decision, 0 in the reference.

    decisions: which logit the tokens of each response depend on; signs: its sign, 0 for no token.
    """

    decisions: list[list[int]]
    signs: list[list[int]]
    scores: Scores

    def log_prob(self, theta):
        signs = torch.tensor(self.signs).double()
        return (
            torch.nn.functional.logsigmoid(signs * theta[torch.tensor(self.decisions)])
            * signs.abs()
        )

    def gradient(self, theta, shaper, lam):
        """Expected policy gradient, by enumeration, through the surrogate of PPO; no critic."""
        theta = torch.tensor(theta, requires_grad=True)
        live = torch.tensor(self.signs) != 0
        now = self.log_prob(theta)
        before = now.detach()
        moved = before - self.log_prob(torch.zeros_like(theta))
        rewards = shaper.rewards(self.scores, torch.zeros(len(live)).long(), moved, live, 1.0)
        advantages = gae(rewards, torch.zeros_like(rewards), 1.0, lam, live).advantages
        shares = before.sum(1, keepdim=True).exp()
        clipped_surrogate(now, before, shares * advantages, 0.2, live).loss.backward()
        return -theta.grad.numpy()

    def end(self, charge, lam=1.0):
        """Where expected policy gradients vanish, as probabilities of responses."""
        shaper = Shaper(variance_aware(1.0), normaliser(self.scores), charge=charge)
        theta = np.zeros(1 + np.max(self.decisions))
        for _ in range(60):
            theta += 2 * self.gradient(theta, shaper, lam)
        found = root(self.gradient, theta, args=(shaper, lam), tol=ROUNDING)
        assert found.success
        return self.log_prob(torch.tensor(found.x)).sum(1).exp().numpy()

    def optimum(self):
        reference = self.log_prob(torch.zeros(4).double()).sum(1).numpy()
        return solve(variance_aware(1.0), reference, self.scores.numpy()).policy


def normaliser(table, score=None):
    k = table.k
    return Normaliser(
        score or (lambda *_: table),
        {"b": 0},
        torch.zeros(1, k),
        torch.ones(k),
        Scores(table.members[None]),
    )


UTILITY, PRICE = np.array([1.0, 0.0, 0.4]), [0.3, 1.5, 0.7]
STOPPING = ([[0, 1], [0, 1], [0, 0]], [[1, 1], [1, -1], [-1, 0]])
EARLY = Tree(*STOPPING, scores(UTILITY, PRICE))
FULL = Tree(
    [[0, 1], [0, 1], [0, 2], [0, 2]], [[1, 1], [1, -1], [-1, 1], [-1, -1]],
    scores(np.array([1.0, 0.0, 0.4, 0.7]), [0.3, 1.5, 0.7, 0.2]),
)  # fmt: skip


def test_a_penalty_on_the_last_token_ends_at_the_optimum():
    np.testing.assert_allclose(EARLY.optimum(), OPTIMUM, atol=FLOAT32)
    np.testing.assert_allclose(EARLY.end("last"), EARLY.optimum(), atol=VALUE)
    np.testing.assert_allclose(FULL.end("last"), FULL.optimum(), atol=VALUE)


def test_a_penalty_over_all_tokens_ends_elsewhere():
    """Rewards to go drop the charge on the first token, whose price the second one decides."""
    np.testing.assert_allclose(EARLY.end("spread"), SPREAD, atol=FLOAT32)
    assert np.abs(FULL.end("spread") - FULL.optimum()).max() > 0.05


def test_a_price_that_is_the_same_for_all_responses_may_be_charged_anywhere():
    alike = EARLY._replace(scores=scores(UTILITY, [0.7] * 3))
    for charge in ("last", "spread"):
        np.testing.assert_allclose(alike.end(charge), alike.optimum(), atol=VALUE)


def test_only_responses_of_different_lengths_tell_lambda_one_from_others():
    """Without a critic, lambda < 1 discounts the reward of whoever goes on."""
    np.testing.assert_allclose(FULL.end("last", 0.5), FULL.optimum(), atol=VALUE)
    assert np.abs(EARLY.end("last", 0.5) - EARLY.optimum()).max() > 0.05


FORBIDDEN = -30.0


class Bigram(torch.nn.Module):
    """A causal language model, as transformers have them, whose logits depend on the last word."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, words):
        super().__init__()
        self.head = torch.nn.Linear(words, words, bias=False)
        self.config = SimpleNamespace(hidden_size=words)

    def base_model(self, input_ids, **_):
        hidden = torch.nn.functional.one_hot(input_ids, self.config.hidden_size).float()
        return SimpleNamespace(last_hidden_state=hidden, past_key_values=None)

    def get_output_embeddings(self):
        return self.head


def bigram(tokenizer):
    """After the prompt `b` it goes on with `a` or ends; after `a` come `a` or `b`."""
    a, b, eos = (tokenizer.convert_tokens_to_ids(word) for word in ("a", "b", "<eos>"))
    model = Bigram(len(tokenizer))
    with torch.no_grad():
        model.head.weight.fill_(FORBIDDEN)
        model.head.weight[[a, eos], b] = 0.0
        model.head.weight[[a, b], a] = 0.0
    return model


def trained(charge):
    """A trainer with the mean of its policies over the second half of the training."""
    tokenizer = build_tokenizer(("a", "b"))
    texts = ["a a", "a b", ""]

    def judge(_, responses):
        return Scores(EARLY.scores.members[[texts.index(r.strip()) for r in responses]].float())

    reference = bigram(tokenizer)
    settings = Settings(batch=256, learning_rate=0.02, charge=charge, lam=1.0)
    trainer = Trainer(
        Actor(deepcopy(reference)), reference.requires_grad_(False), tokenizer,
        normaliser(EARLY.scores, judge), None, ["b"], variance_aware(1.0), settings,
        sampling=Sampling(2), limit=8, seed=0,
    )  # fmt: skip
    weight = trainer.actor.model.head.weight
    path = [weight.detach().clone() for _ in trainer.run(STEPS)]
    with torch.no_grad():
        weight.copy_(torch.stack(path[STEPS // 2 :]).mean(0))
    return trainer


STEPS = 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:a price that depends on the response")
@pytest.mark.parametrize(
    ("charge", "expected", "slope"), [("last", OPTIMUM, 1.0), ("spread", SPREAD, 0.785)]
)
def test_a_language_model_ends_there_too(charge, expected, slope):
    """A coefficient that is off by a quarter would show in the law and in the slope."""
    trainer = trained(charge)
    a, b = (trainer.tokenizer.convert_tokens_to_ids(word) for word in ("a", "b"))
    shares = trainer.actor.model.head.weight.detach().double().softmax(0)
    go, word = float(shares[a, b]), float(shares[a, a])
    law = [go * word, go * (1 - word), 1 - go]
    np.testing.assert_allclose(law, expected, atol=0.02)
    found = measure(trainer, samples=512, generator=torch.Generator().manual_seed(0))
    assert abs(found.policy.slope - slope) < 0.05
