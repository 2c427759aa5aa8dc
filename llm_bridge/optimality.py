"""Whether a trained language model is where the theory says it should be, and how far off.

The regression of `llm_bridge.tilt` has slope 1 and R^2 1 at the optimum. A policy that cannot
express the optimum has less of both; that it has come to rest shows in the sharpness, which is then
1. How far off it is follows from the responses themselves. Half of them come from pi and half from
pi0, so that weights for either, 2 / (1 + pi0 / pi) and 2 / (1 + pi / pi0), are at most 2: a table
on which `theory.optimum.solve` finds the optimum. Responses of pi0 alone would not do: among n of
them no policy is further than ln n nats away, and few of them carry all weight long before.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.data.pairs import decode
from llm_bridge.lm.actor import evaluating, log_probabilities
from llm_bridge.lm.sampling import draw
from llm_bridge.ppo import Trainer
from llm_bridge.tilt import Regression, Responses, regress
from theory import checks
from theory.arrays import expected, to_numpy
from theory.errors import InputError
from theory.kl_estimators import exact_kl
from theory.objective import Objective, value
from theory.optimum import solve
from theory.penalties import Form, Penalty, TargetKL, Variance
from theory.scores import Scores
from theory.solution import Solution
from theory.utilities import Member

BATCH = 256
"""Responses that are drawn at once."""


@dataclass(frozen=True)
class Distance:
    """How far a policy is from the optimum.

    kl_to_optimum: KL(pi | pi*) in nats, pi* the optimum at the policy's beta.
    gap:       value of pi* less that of pi, in units of reward; >= 0.
    shortfall: share of the gain in utility that is lacking, (u_best - u) / (u_best - u_reference),
               u_best at the strength whose optimum has the policy's own KL: 0 where only beta is
               off, 1 at no gain. NaN where no strength has that KL. With a varying price an optimum
               is not the largest utility at its KL, so the share may be below 0.
    support:   how many responses of a prompt pi* rests on, 1 / sum p^2 of the 2n, in the prompt
               where they are fewest. Where they are few the other numbers are mostly too small: the
               table does not contain what the optimum would choose.
    """

    kl_to_optimum: float
    gap: float
    shortfall: float
    support: float


def distance(policy: Responses, reference: Responses, beta: float) -> Distance:
    """From as many responses of the policy as of the reference; see `Distance`.

    Raises `InputError` where the two differ in shape.
    """
    table = _Table.of(policy, reference)
    log_policy, log_reference, utility = table.log_policy, table.log_reference, table.utility
    best = table.optimum(Penalty(beta))
    charged = table.objective(Penalty(beta))
    gap = best.value - value(charged, log_policy, log_reference, table.scores).mean()
    moved = float(exact_kl(log_policy, log_reference).mean())
    at_policy, at_reference = (
        expected(np.exp(weights), utility).mean() for weights in (log_policy, log_reference)
    )
    alike = table.optimum(TargetKL(moved))
    shortfall = (alike.expected_utility - at_policy) / (alike.expected_utility - at_reference)
    return Distance(
        kl_to_optimum=float(exact_kl(log_policy, best.log_policy).mean()),
        gap=float(gap),
        shortfall=float(shortfall),
        support=float((1 / np.square(best.policy).sum(1)).min()),
    )


def predicted(
    policy: Responses, reference: Responses, beta: float
) -> Float[np.ndarray, "prompts n"]:
    """ln(pi* / pi0) of the policy's responses, pi* the optimum at beta: (u - nu) / (beta c), less 1
    for the `kl` form, with the nu of each prompt that normalises pi*.

    From as many responses of the policy as of the reference. Raises `InputError` where the two
    differ in shape.
    """
    table = _Table.of(policy, reference)
    moved = table.optimum(Penalty(beta)).log_policy - table.log_reference
    return np.asarray(moved[:, : policy.utility.shape[1]])


class _Table(NamedTuple):
    """Responses of pi and pi0 together, weighted so that they stand for either; (prompts, 2n)."""

    log_policy: np.ndarray
    log_reference: np.ndarray
    utility: np.ndarray
    scores: Scores
    form: Form

    @classmethod
    def of(cls, policy: Responses, reference: Responses) -> "_Table":
        if policy.utility.shape != reference.utility.shape:
            raise InputError(
                "reference", f"of shape {policy.utility.shape}, as `policy`",
                reference.utility.shape,
            )  # fmt: skip
        both = policy.joined(reference)
        return cls(
            _normalised(-np.logaddexp(0.0, -both.log_ratio)),
            _normalised(-np.logaddexp(0.0, both.log_ratio)),
            both.utility,
            Scores(both.utility[..., None], known_variance=both.price),
            both.form,
        )

    def objective(self, strength: Penalty | TargetKL) -> Objective:
        """What the utility and price of the table make, at a strength."""
        assert self.scores.known_variance is not None
        floor = float(np.sqrt(self.scores.known_variance.min()))
        return Objective(Member(0), Variance(sigma_min=floor), self.form, strength)

    def optimum(self, strength: Penalty | TargetKL) -> Solution:
        """Exactly, on the table."""
        return solve(self.objective(strength), self.log_reference, self.scores)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    return log_weights - np.logaddexp.reduce(log_weights, axis=1, keepdims=True)


@dataclass(frozen=True)
class Optimality:
    """A trained policy against the optimum of its objective.

    beta: strength at the time; beta_effective: beta / slope on responses of the policy, the
    strength whose optimum it resembles, for a run that was stopped early; kl: KL(pi | pi0) in nats
    a response; utility, reference_utility: means of u; policy, reference: regressions on the
    responses of either; distance: of the policy.
    """

    beta: float
    beta_effective: float
    kl: float
    utility: float
    reference_utility: float
    policy: Regression
    reference: Regression
    distance: Distance

    def row(self) -> dict[str, float]:
        """Flat, for a table of records; numbers on reference responses end in `_reference`."""
        found = asdict(self)
        on_policy, on_reference = found.pop("policy"), found.pop("reference")
        renamed = {f"{name}_reference": number for name, number in on_reference.items()}
        return {**on_policy, **renamed, **found.pop("distance"), **found}


def compare(policy: Responses, reference: Responses, beta: float) -> Optimality:
    """Regressions and distance from responses of the policy and of the reference."""
    on_policy = regress(policy, beta)
    return Optimality(
        beta=beta,
        beta_effective=beta / on_policy.slope,
        kl=float(policy.log_ratio.mean()),
        utility=float(policy.utility.mean()),
        reference_utility=float(reference.utility.mean()),
        policy=on_policy,
        reference=regress(reference, beta),
        distance=distance(policy, reference, beta),
    )


def measure(trainer: Trainer, *, samples: int = 256, generator: torch.Generator) -> Optimality:
    """Draw `samples` responses a prompt of a trainer's policy and of its reference, and compare.

    Utility and price are those that it trains on: normalised scores, the binding of its shaper, and
    for a policy-level worst case the member weights of the moment. The policy is the untruncated
    distribution at the temperature of training.
    """
    checks.positive("samples", samples)
    policy, reference = (
        respond(trainer, samples, model, generator=generator) for model in ("policy", "reference")
    )
    return compare(policy, reference, float(np.exp(trainer.log_beta)))


@torch.no_grad()
def respond(trainer: Trainer, samples: int, model: str, *, generator: torch.Generator) -> Responses:
    """Responses of a trainer's 'policy' or 'reference' to each of its prompts."""
    checks.one_of("model", model, ("policy", "reference"))
    asked = [prompt for prompt in trainer.prompts for _ in range(samples)]
    parts = [
        _read(trainer, asked[start : start + BATCH], model, generator)
        for start in range(0, len(asked), BATCH)
    ]
    utility, price, log_ratio = (
        to_numpy(torch.cat(column)).astype(float).reshape(-1, samples)
        for column in zip(*parts, strict=True)
    )
    return Responses(utility, price, log_ratio, trainer.shaper.objective.form)


def _read(
    trainer: Trainer, prompts: Sequence[str], model: str, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Utility, price and log-ratio of one response to each prompt."""
    actor, temperature = trainer.actor, trainer.sampling.temperature
    uniforms = trainer.sampling.uniforms(len(prompts), generator)
    with evaluating(actor), actor.autocast():
        with nullcontext(actor.model) if model == "policy" else trainer.reference_model() as source:
            batch = draw(
                source, trainer.tokenizer, prompts, trainer.sampling,
                limit=trainer.limit, uniforms=uniforms,
            )  # fmt: skip
        now = log_probabilities(actor.model, batch, temperature=temperature)
        with trainer.reference_model() as reference:
            before = log_probabilities(reference, batch, temperature=temperature)
    scores = trainer.normaliser(prompts, decode(trainer.tokenizer, batch))
    utility, _, price = trainer.shaper.parts(scores, trainer.normaliser.places(prompts))
    return utility, price, (now - before).sum(1).cpu()
